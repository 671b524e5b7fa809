//! Outcomes of checked messages, compared with what the server did.

use std::collections::HashMap;

use waddell_core::{
    Capabilities, Client, ClientConfig, ClientEvent, ConnectionConfig, Decision, Delivery,
    DropReason, FrameDecoder, HEADER_LEN, Instant, MessageOut, Notice, Output, PeerId, Request,
    ServerConnection, Session, Ticket, TopicId, Undelivered, Welcome,
};

/// A step of a client, its server or the network between them.
#[derive(Clone, Debug)]
pub enum Step {
    /// The client sends a checked message; whether the server drops it.
    Send(bool),
    /// The client sends a message that is not checked; whether the server drops it.
    SendUnchecked(bool),
    /// The client sends a keep-alive.
    KeepAlive,
    /// So many bytes arrive at the server, in one read.
    Up(u16),
    /// So many bytes arrive at the client.
    Down(u16),
    /// The connection breaks, and the bytes on their way are lost. The client dials again.
    Cut(Memory),
}

/// What the server remembers of a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Its session.
    Session,
    /// Nothing, but it accepts the token.
    Token,
    /// Nothing.
    Nothing,
}

/// Performs the steps, and then lets everything arrive.
///
/// # Panics
///
/// If a message does not get exactly one outcome, or one that is not true.
pub fn outcomes(steps: &[Step]) {
    let mut world = World::new();
    world.connect();
    for step in steps {
        match *step {
            Step::Send(is_dropped) => world.send(is_dropped, true),
            Step::SendUnchecked(is_dropped) => world.send(is_dropped, false),
            // The client decides whether it can be sent.
            Step::KeepAlive => drop(world.client.send_keep_alive()),
            Step::Up(len) => world.up(len.into()),
            Step::Down(len) => world.down(len.into()),
            Step::Cut(memory) => world.cut(memory),
        }
        world.drain();
    }
    while !world.up.is_empty() || !world.down.is_empty() {
        world.up(usize::MAX);
        world.down(usize::MAX);
        world.drain();
    }
    assert!(world.waiting.is_empty(), "they have no outcome: {:?}", world.waiting);
}

struct World {
    client: Client,
    /// Bytes on their way to the server, and to the client.
    up: Vec<u8>,
    down: Vec<u8>,
    connection: ServerConnection,
    decoder: FrameDecoder,
    is_first: bool,
    connections: u8,
    /// What the server remembers of the connection before.
    memory: Memory,
    /// Of the client that had this id.
    former: Option<(PeerId, Session)>,
    /// Number of the next message, which is its body.
    message: u64,
    /// What the server did with each message: whether it dropped it.
    handled: HashMap<u64, bool>,
    waiting: HashMap<Ticket, u64>,
}

impl World {
    fn new() -> Self {
        let config = ClientConfig { resume: true, ..ClientConfig::default() };
        Self {
            client: Client::new(config, NOW),
            up: Vec::new(),
            down: Vec::new(),
            connection: connection(0),
            decoder: FrameDecoder::new(),
            is_first: true,
            connections: 0,
            memory: Memory::Nothing,
            former: None,
            message: 0,
            handled: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    fn connect(&mut self) {
        self.connections = self.connections.wrapping_add(1);
        self.connection = connection(self.connections);
        self.decoder = FrameDecoder::new();
        self.is_first = true;
        self.down.extend_from_slice(&self.connection.greeting());
        self.client.handle_connected(NOW);
        self.drain();
    }

    fn send(&mut self, is_dropped: bool, is_checked: bool) {
        let to = if is_dropped { STRANGER } else { FRIEND };
        let message = MessageOut::new(to, TopicId(7), self.message.to_le_bytes().to_vec());
        if is_checked {
            let Ok(ticket) = self.client.send_checked(&message, NOW) else { return };
            assert_eq!(self.waiting.insert(ticket, self.message), None, "tickets differ");
        } else if self.client.send(&message).is_err() {
            return;
        }
        self.message += 1;
    }

    fn up(&mut self, len: usize) {
        let mut read: Vec<u8> = self.up.drain(..len.min(self.up.len())).collect();
        let mut input = &mut read[..];
        while let Ok(Some(mut frame)) = self.decoder.next_frame(&mut input) {
            let is_first = std::mem::take(&mut self.is_first);
            let body = frame.payload().get(HEADER_LEN..).unwrap_or_default().to_vec();
            match self.connection.handle_frame(&mut frame, NOW) {
                Decision::Control => {
                    let request = self.connection.handle_control(&body, is_first);
                    if let Ok(Request::Hello(hello)) = request {
                        self.welcome(&hello);
                    }
                }
                Decision::Forward(to) | Decision::FirstContact(to) => {
                    // Probes have another recipient.
                    if to == STRANGER || to == FRIEND {
                        let message = body.as_chunks().0[0];
                        self.handled.insert(u64::from_le_bytes(message), to == STRANGER);
                    }
                    if to == self.connection.id() {
                        self.down.extend_from_slice(frame.as_bytes());
                    }
                    if to == STRANGER {
                        let reason = DropReason::UnknownRecipient;
                        self.connection.note_dropped(to, &frame, reason);
                    }
                }
                Decision::KeepAlive | Decision::Reject(_) => {}
            }
        }
        if self.connection.has_notice() {
            self.connection.encode_notices(&mut self.down);
            self.connection.notices_sent();
        }
    }

    fn welcome(&mut self, hello: &waddell_core::Hello<'_>) {
        let granted = hello.wants & Capabilities::VERDICTS.with(Capabilities::RESUME);
        // A token is the id itself.
        let token = hello.resume_token;
        let is_of = |id: &PeerId| token == Some(&id.as_bytes()[..]);
        let resumed = match self.memory {
            Memory::Session => self.former.as_ref().is_some_and(|(id, _)| is_of(id)),
            Memory::Token => token.is_some(),
            Memory::Nothing => false,
        };
        if let Some(token) = token.filter(|_| resumed) {
            self.connection.rename(PeerId::from_bytes(token.try_into().expect("it is an id")));
        }
        let own = self.connection.id();
        let resume_token = Some(&own.as_bytes()[..]);
        let welcome = Welcome::new(granted, self.connection.id(), u16::MAX);
        Notice::Welcome(Welcome { resumed, resume_token, ..welcome }).encode(&mut self.down);
        self.connection.extend(hello, granted);
        if resumed {
            self.connection.resume(self.former.take().map(|(_, session)| session));
        }
    }

    fn down(&mut self, len: usize) {
        let mut read: Vec<u8> = self.down.drain(..len.min(self.down.len())).collect();
        self.client.handle_bytes(&mut read, NOW);
    }

    fn cut(&mut self, memory: Memory) {
        self.up.clear();
        self.down.clear();
        // A connection without HELLO changes nothing about the one before.
        if let Some(session) = self.connection.split_off_session() {
            self.former = Some((self.connection.id(), session));
            self.memory = Memory::Session;
        }
        if memory != Memory::Session {
            self.former = None;
            self.memory = memory;
        }
        self.client.handle_disconnected(NOW);
        self.client.retry_now(NOW);
        self.drain();
        self.connect();
    }

    fn drain(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Transmit(frame) => self.up.extend_from_slice(&frame),
                Output::Event(ClientEvent::Checked { ticket, outcome }) => {
                    let message = self.waiting.remove(&ticket).expect("one outcome each");
                    self.check(message, outcome);
                }
                Output::HangUp => panic!("there is no reason"),
                Output::Dial | Output::Event(_) => {}
            }
        }
    }

    fn check(&self, message: u64, outcome: Result<Delivery, Undelivered>) {
        let is_dropped = self.handled.get(&message).copied();
        match outcome {
            Ok(Delivery::Forwarded) => assert_eq!(is_dropped, Some(false), "{message}"),
            Ok(Delivery::Sent) => assert!(is_dropped.is_some(), "{message}"),
            Err(Undelivered::Dropped(reason)) => {
                assert_eq!((is_dropped, reason), (Some(true), DropReason::UnknownRecipient));
            }
            Err(Undelivered::NotHandled) => assert_eq!(is_dropped, None, "{message}"),
            Err(Undelivered::Lost) => panic!("{message}: this server loses none"),
            Err(Undelivered::MaybeDropped | Undelivered::ConnectionLost) => {}
        }
    }
}

fn connection(number: u8) -> ServerConnection {
    ServerConnection::new(PeerId::from_random([number; 16]), ConnectionConfig::default(), NOW)
}

const NOW: Instant = Instant::EPOCH;
const FRIEND: PeerId = PeerId::from_bytes([0xf0; 16]);
const STRANGER: PeerId = PeerId::from_bytes([0xf1; 16]);
