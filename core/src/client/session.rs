//! The extension on the client's side: HELLO, WELCOME, and the numbers of frames.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::control::Capabilities;
use crate::control::hello::{Hello, Welcome, WelcomeRate};
use crate::control::request::Request;

/// What the server of a connection grants, and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The version of the extension on this connection.
    pub version: u8,
    /// The parts of the extension that the client has.
    pub granted: Capabilities,
    /// Longest payload of a frame that the server takes, in bytes.
    pub max_payload: u16,
    /// How fast the client may send, if the server has told.
    pub rate: Option<WelcomeRate>,
}

/// What the client knows of the extension on the present connection, and over all of them.
#[derive(Debug)]
pub(super) struct Session {
    /// Number of the next frame after HELLO. It goes on over all connections, so a number names
    /// one frame of a client.
    next_number: u64,
    /// Whether HELLO was sent on the latest connection.
    said_hello: bool,
    /// `None` before WELCOME.
    extension: Option<Extension>,
    /// `upto` of the last HANDLED on this connection; 0 before.
    seen: u64,
    /// Number of connections in a row that were lost soon after HELLO and without WELCOME.
    hung_up_on: u8,
}

impl Session {
    pub(super) fn new() -> Self {
        Self { next_number: 1, said_hello: false, extension: None, seen: 0, hung_up_on: 0 }
    }

    /// Begins a connection. Returns the HELLO to send, if there is to be one.
    ///
    /// A server may hang up on HELLO because it takes no frame as long. After two such connections
    /// every other one goes without.
    pub(super) fn begin(&mut self, extension: bool) -> Option<Bytes> {
        self.end();
        let in_turns = self.hung_up_on >= MAX_HUNG_UP_ON;
        self.said_hello = extension && !(in_turns && self.said_hello);
        self.said_hello.then(|| {
            let first_number = self.next_number;
            encode(&Request::Hello(Hello { first_number, ..Hello::new(WANTS) }))
        })
    }

    /// Records that the connection was lost, and whether it was soon after its beginning.
    pub(super) fn lose(&mut self, soon: bool) {
        if self.said_hello {
            let hung_up_on = soon && self.extension.is_none();
            self.hung_up_on = if hung_up_on { self.hung_up_on.saturating_add(1) } else { 0 };
        }
        self.end();
    }

    /// Returns whether control frames from the server are to be read.
    pub(super) fn said_hello(&self) -> bool {
        self.said_hello
    }

    /// Returns the number of the next frame.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Takes the number of a frame that is emitted after HELLO.
    pub(super) fn take_number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        number
    }

    /// Returns whether a frame with that number was emitted.
    pub(super) fn is_emitted(&self, number: u64) -> bool {
        number < self.next_number
    }

    /// Handles WELCOME. Returns what it grants, unless it came before on this connection.
    pub(super) fn handle_welcome(&mut self, welcome: &Welcome<'_>) -> Option<Extension> {
        if self.extension.is_some() {
            return None;
        }
        let Welcome { version, granted, max_payload, rate, .. } = *welcome;
        self.extension = Some(Extension { version, granted: granted & WANTS, max_payload, rate });
        self.extension
    }

    /// Records HANDLED up to that number.
    pub(super) fn handle_handled(&mut self, upto: u64) {
        let last = self.next_number.saturating_sub(1);
        self.seen = self.seen.max(upto.min(last));
    }

    pub(super) fn extension(&self) -> Option<Extension> {
        self.extension
    }

    pub(super) fn has(&self, part: Capabilities) -> bool {
        self.extension.is_some_and(|extension| extension.granted.contains(part))
    }

    /// Returns the frame that asks what became of the frames so far.
    pub(super) fn sync(&self) -> Bytes {
        encode(&Request::Sync { seen: self.seen })
    }

    fn end(&mut self) {
        self.extension = None;
        self.seen = 0;
    }
}

fn encode(request: &Request<'_>) -> Bytes {
    let mut frame = Vec::new();
    request.encode(&mut frame);
    frame.into()
}

/// The parts of the extension that this client uses.
const WANTS: Capabilities = Capabilities::VERDICTS;

/// Number of connections in a row that end at HELLO, after which some go without.
const MAX_HUNG_UP_ON: u8 = 2;
