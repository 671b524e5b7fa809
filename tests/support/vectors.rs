//! The golden bytes of `core/testdata/vectors.json`.

pub mod control;

use serde::Deserialize;
use waddell_core::{PeerId, TopicId};

use control::ControlVector;

/// The whole file. Its parts are in the order of the file.
#[derive(Debug)]
pub struct Vectors {
    /// Id of the connection of every vector.
    pub own_id: PeerId,
    /// Frames of waddell.
    pub vectors: Vec<Vector>,
    /// Control frames that a client sends.
    pub requests: Vec<ControlVector>,
    /// Control frames that a server sends.
    pub notices: Vec<ControlVector>,
}

/// One frame of waddell: bytes and their meaning.
#[derive(Debug)]
pub struct Vector {
    /// Name, unique in the file.
    pub name: String,
    /// The side that reads the bytes.
    pub to: Side,
    /// The frame, prefix included.
    pub wire: Vec<u8>,
    /// The effect on the reader.
    pub outcome: Outcome,
    /// The message in the frame, if there is one.
    pub message: Option<Message>,
}

/// The side that reads a vector's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The server: a client sent the bytes.
    Server,
    /// The client: a server sent the bytes.
    Client,
}

/// The effect of a vector's bytes on the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The server forwards the frame to the message's peer.
    Forward,
    /// The server counts a keep-alive.
    KeepAlive,
    /// The server rejects the frame as too short.
    ShortFrame,
    /// The server rejects the frame, because its recipient is the nil id.
    ReservedRecipient,
    /// The client learns its own id.
    Greeting,
    /// The client receives a message.
    Message,
    /// The client hangs up.
    HangUp,
}

/// The message in a vector's frame.
#[derive(Debug)]
pub struct Message {
    /// The recipient in a frame to the server, the sender in a frame from it.
    pub peer: PeerId,
    /// The topic.
    pub topic: TopicId,
    /// The pieces of the body.
    pub parts: Vec<Vec<u8>>,
}

impl Vectors {
    /// Reads the file.
    ///
    /// # Panics
    ///
    /// If the file breaks its own format.
    pub fn read() -> Self {
        let text = include_str!("../../core/testdata/vectors.json");
        let raw: RawFile = serde_json::from_str(text).expect("vectors.json is well formed");
        let own_id = parse_id(&raw.own_id);
        let (vectors, requests, notices) = (Vec::new(), Vec::new(), Vec::new());
        let mut file = Self { own_id, vectors, requests, notices };
        for vector in raw.vectors {
            match vector {
                RawAnyVector::Server(raw) => file.vectors.push(Vector::new(Side::Server, raw)),
                RawAnyVector::Client(raw) => file.vectors.push(Vector::new(Side::Client, raw)),
                RawAnyVector::Request(raw) => file.requests.push(raw.into()),
                RawAnyVector::Notice(raw) => file.notices.push(raw.into()),
            }
        }
        file
    }

    /// Returns the name and the bytes of every vector, control frames included.
    pub fn wires(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let vectors = self.vectors.iter().map(|vector| (&*vector.name, &*vector.wire));
        let requests = self.requests.iter().map(|vector| (&*vector.name, &*vector.wire));
        let notices = self.notices.iter().map(|vector| (&*vector.name, &*vector.wire));
        vectors.chain(requests).chain(notices)
    }

    /// Returns the vector of that name.
    ///
    /// # Panics
    ///
    /// If there is no such vector.
    pub fn get(&self, name: &str) -> &Vector {
        let found = self.vectors.iter().find(|vector| vector.name == name);
        found.unwrap_or_else(|| panic!("no vector is called {name}"))
    }
}

impl Message {
    /// Returns the whole body.
    pub fn body(&self) -> Vec<u8> {
        self.parts.concat()
    }
}

impl Vector {
    fn new(to: Side, raw: RawVector) -> Self {
        let message = raw.message.map(|message| Message {
            peer: parse_id(&message.peer),
            topic: TopicId(message.topic),
            parts: message.parts.iter().map(RawBytes::expand).collect(),
        });
        Self { name: raw.name, to, wire: expand(&raw.wire), outcome: raw.outcome, message }
    }
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(rename = "self")]
    own_id: String,
    vectors: Vec<RawAnyVector>,
}

#[derive(Deserialize)]
#[serde(tag = "to")]
enum RawAnyVector {
    #[serde(rename = "server")]
    Server(RawVector),
    #[serde(rename = "client")]
    Client(RawVector),
    #[serde(rename = "server control")]
    Request(control::Raw),
    #[serde(rename = "client control")]
    Notice(control::Raw),
}

#[derive(Deserialize)]
struct RawVector {
    name: String,
    wire: Vec<RawBytes>,
    outcome: Outcome,
    message: Option<RawMessage>,
}

#[derive(Deserialize)]
struct RawMessage {
    peer: String,
    topic: u16,
    parts: Vec<RawBytes>,
}

#[derive(Deserialize)]
struct RawBytes {
    /// Spaced hex.
    hex: String,
    times: Option<usize>,
}

impl RawBytes {
    fn expand(&self) -> Vec<u8> {
        let byte = |hex| u8::from_str_radix(hex, 16).expect("two hexadecimal digits");
        let bytes: Vec<u8> = self.hex.split_whitespace().map(byte).collect();
        bytes.repeat(self.times.unwrap_or(1))
    }
}

fn expand(pieces: &[RawBytes]) -> Vec<u8> {
    pieces.iter().flat_map(RawBytes::expand).collect()
}

fn parse_id(text: &str) -> PeerId {
    text.parse().expect("a UUID")
}
