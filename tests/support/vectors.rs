//! The golden bytes of `core/testdata/vectors.json`.

use serde::Deserialize;
use waddell_core::{PeerId, TopicId};

/// The whole file.
#[derive(Debug)]
pub struct Vectors {
    /// Id of the connection that every vector is about.
    pub own_id: PeerId,
    /// In the order of the file.
    pub vectors: Vec<Vector>,
}

/// One exchange: bytes, and what they mean.
#[derive(Debug)]
pub struct Vector {
    /// Unique in the file.
    pub name: String,
    /// Who reads the bytes.
    pub to: Side,
    /// The frame, prefix included.
    pub wire: Vec<u8>,
    /// What the reader makes of it.
    pub outcome: Outcome,
    /// What it carries, where it carries anything.
    pub message: Option<Message>,
}

/// Who reads a vector's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// A client sent them.
    Server,
    /// A server sent them.
    Client,
}

/// What the reader makes of a vector's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The server passes the frame on to the message's peer.
    Forward,
    /// The server notes that the peer lives.
    KeepAlive,
    /// The server ignores and counts it.
    ShortFrame,
    /// The server ignores and counts it.
    ReservedRecipient,
    /// The client learns its id.
    Greeting,
    /// The client gets a message.
    Message,
    /// The client hangs up.
    HangUp,
}

/// What a vector's frame carries.
#[derive(Debug)]
pub struct Message {
    /// Recipient on the way to the server, sender on the way from it.
    pub peer: PeerId,
    /// What it is about.
    pub topic: TopicId,
    /// The pieces that the body is given in.
    pub parts: Vec<Vec<u8>>,
}

impl Vectors {
    /// Reads the file.
    ///
    /// # Panics
    ///
    /// If the file is not what it says it is.
    pub fn read() -> Self {
        let text = include_str!("../../core/testdata/vectors.json");
        let file: RawFile = serde_json::from_str(text).expect("vectors.json is well formed");
        Self {
            own_id: parse_id(&file.own_id),
            vectors: file.vectors.into_iter().map(Vector::from).collect(),
        }
    }

    /// Returns the vector of that name.
    ///
    /// # Panics
    ///
    /// If there is none.
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

impl From<RawVector> for Vector {
    fn from(raw: RawVector) -> Self {
        let message = raw.message.map(|message| Message {
            peer: parse_id(&message.peer),
            topic: TopicId(message.topic),
            parts: message.parts.iter().map(RawBytes::expand).collect(),
        });
        Self {
            name: raw.name,
            to: raw.to,
            wire: raw.wire.iter().flat_map(|field| field.bytes.expand()).collect(),
            outcome: raw.outcome,
            message,
        }
    }
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(rename = "self")]
    own_id: String,
    vectors: Vec<RawVector>,
}

#[derive(Deserialize)]
struct RawVector {
    name: String,
    to: Side,
    wire: Vec<RawField>,
    outcome: Outcome,
    message: Option<RawMessage>,
}

#[derive(Deserialize)]
struct RawField {
    #[serde(flatten)]
    bytes: RawBytes,
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

fn parse_id(text: &str) -> PeerId {
    text.parse().expect("a UUID")
}
