//! Control frames: what clients and the server of the extension tell each other.
//!
//! ```text
//!   0      2                 18      20     21
//!   +------+-----------------+-------+------+---------------------------+
//!   |length|     nil id      | ff ff | kind |  the kind's bytes         |
//!   +------+-----------------+-------+------+---------------------------+
//!                                    |<-- body, at most 4,608 bytes --->|
//!
//!   fields, at the end of some kinds:  [ tag u8 | length u16 | value ] ...
//! ```
//!
//! A client sends control frames to the nil id, which servers without the extension ignore. The
//! server sends them from the nil id, which no peer has. All integers are little-endian.
//!
//! [`Request`](crate::Request) is what a client sends, [`Notice`](crate::Notice) what the server
//! sends.

pub(crate) mod bytes;
pub(crate) mod dropped;
pub(crate) mod hello;
pub(crate) mod notice;
pub(crate) mod peer;
pub(crate) mod request;

use alloc::vec::Vec;
use core::fmt;
use core::ops::BitAnd;

use ::bytes::BufMut;

use crate::frame::PREFIX_LEN;
use crate::id::{PeerId, TopicId};
use crate::message::HEADER_LEN;

/// Longest body of a control frame, in bytes, its kind included. HELLO fits into the head of an
/// HTTP request even in base64.
pub const MAX_CONTROL_BODY: usize = 4_608;

/// The version of the extension.
pub const EXTENSION_VERSION: u8 = 2;

/// Most entries of one control frame: ids in WATCH and UNWATCH, entries in DROPPED and PEER.
pub const MAX_ENTRIES: usize = 64;

/// Parts of the extension: what a client wants, and what the server grants.
///
/// On the wire: a u32. Unknown bits have no meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u32);

impl Capabilities {
    /// No part.
    pub const NONE: Self = Self(0);
    /// DROPPED for frames that the server drops, and HANDLED as the answer to SYNC.
    pub const VERDICTS: Self = Self(1);
    /// PEER notices, WATCH and UNWATCH.
    pub const PEERS: Self = Self(2);
    /// A token with which the next connection keeps the id.
    pub const RESUME: Self = Self(4);
    /// RESTARTING before the server stops.
    pub const RESTART: Self = Self(8);
    /// ICE servers for WebRTC.
    pub const ICE: Self = Self(0x10);
    /// A new id for the connection.
    pub const RENEW: Self = Self(0x20);
    /// New credentials while connected.
    pub const AUTH: Self = Self(0x40);

    /// Makes a set from its bits on the wire.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns the bits on the wire.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns whether this set has every part of `other`.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns this set with every part of `other` added.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Capabilities {
    type Output = Self;

    /// Returns the parts that both sets have.
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// Why the server dropped a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// Several reasons: the entry is a summary. Codes that are not listed here count as this.
    Various = 0,
    /// No peer has the recipient's id.
    UnknownRecipient = 1,
    /// The recipient's connection is lost. It may come back under the same id.
    RecipientAway = 2,
    /// The recipient's outbox has no room.
    RecipientFull = 3,
    /// The server has no memory for the recipient's outbox.
    ServerFull = 4,
    /// The sender exceeds its rate. Reserved: this server reads more slowly instead.
    TooFast = 5,
    /// The frame is shorter than a header and no keep-alive.
    ShortFrame = 6,
    /// The frame is for the nil id and no control frame that the server knows.
    ReservedRecipient = 7,
    /// The sender may not write to the recipient. Reserved.
    Refused = 8,
    /// The server to which the recipient is connected does not answer.
    NodeUnreachable = 9,
}

impl DropReason {
    /// Returns the code on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the reason with that code on the wire.
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::UnknownRecipient,
            2 => Self::RecipientAway,
            3 => Self::RecipientFull,
            4 => Self::ServerFull,
            5 => Self::TooFast,
            6 => Self::ShortFrame,
            7 => Self::ReservedRecipient,
            8 => Self::Refused,
            9 => Self::NodeUnreachable,
            _ => Self::Various,
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Various => "the server dropped messages for various reasons",
            Self::UnknownRecipient => "no peer has this id",
            Self::RecipientAway => "the peer has lost its connection, and may come back",
            Self::RecipientFull => "the peer does not read fast enough",
            Self::ServerFull => "the server has no memory for more waiting messages",
            Self::TooFast => "messages came too fast",
            Self::ShortFrame => "the frame is too short for a message",
            Self::ReservedRecipient => "the nil id is reserved",
            Self::Refused => "the server does not allow it",
            Self::NodeUnreachable => "the server of the peer cannot be reached",
        })
    }
}

/// Why the server ends a connection, and whether the client is to connect again.
///
/// On the wire: a u16, the same number as a WebSocket close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The server restarts.
    pub const RESTARTING: Self = Self(4000);
    /// The client was silent for too long, or did not complete a frame in time.
    pub const TIMED_OUT: Self = Self(4001);
    /// The client's credentials have expired.
    pub const CREDENTIALS_EXPIRED: Self = Self(4002);
    /// The server cannot check credentials at the moment.
    pub const BUSY: Self = Self(4003);
    /// There are too many connections with the same subject.
    pub const TOO_MANY: Self = Self(4004);
    /// Another connection has taken over the id.
    pub const SUPERSEDED: Self = Self(4010);
    /// The credentials are missing or wrong.
    pub const UNAUTHORIZED: Self = Self(4500);
    /// The server serves only clients that say HELLO. Only as a WebSocket close code.
    pub const HELLO_REQUIRED: Self = Self(4501);
    /// An operator has ended the connection.
    pub const ENDED: Self = Self(4502);

    /// Returns whether the client is to connect again: the code is 4499 or less.
    pub const fn may_reconnect(self) -> bool {
        self.0 < 4500
    }
}

/// The body is no control frame of this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The kind is unknown: ignore the frame.
    UnknownKind(u8),
    /// The body is too short or too long for its kind, or a length in it is wrong.
    Malformed,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "control frame of unknown kind {kind:#04x}"),
            Self::Malformed => f.write_str("malformed control frame"),
        }
    }
}

impl core::error::Error for ControlError {}

/// Returns the body of a control frame with that payload; `None` if it is not addressed like one.
pub(crate) fn control_body(payload: &[u8]) -> Option<&[u8]> {
    payload.strip_prefix(&HEADER)
}

/// Appends a control frame of that kind to `out`; `write` appends what comes after the kind.
pub(crate) fn put_frame(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u16_le(0);
    out.put_slice(&HEADER);
    out.put_u8(kind);
    write(out);
    let len = out.len() - start - PREFIX_LEN;
    debug_assert!(len <= HEADER_LEN + MAX_CONTROL_BODY, "{len} bytes of kind {kind:#04x}");
    if let Some(prefix) = out.get_mut(start..start + PREFIX_LEN) {
        prefix.copy_from_slice(&(len as u16).to_le_bytes());
    }
}

/// The nil id and the topic of control frames.
const HEADER: [u8; HEADER_LEN] = {
    let mut header = [0; HEADER_LEN];
    let [low, high] = TopicId::CONTROL.0.to_le_bytes();
    header[PeerId::LEN] = low;
    header[PeerId::LEN + 1] = high;
    header
};
