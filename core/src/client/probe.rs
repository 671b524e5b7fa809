//! Probes: messages of a client to itself, which every server returns.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{PeerId, TopicId};
use crate::message::{MessageIn, MessageOut};

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Whether the server is still there. The body is empty: no frame is shorter, so a server
    /// that takes any frame takes this one.
    Silence,
    /// Whether the server has handled the frames before this one. The body is the number of the
    /// probe's own frame, a u64: an answer that comes late is not taken for that of a later probe.
    Checked(u64),
}

impl Probe {
    /// Returns the frame of the probe of the client with that id.
    pub(super) fn encode(self, id: PeerId) -> Bytes {
        let body = match self {
            Self::Silence => Bytes::new(),
            Self::Checked(number) => Bytes::copy_from_slice(&number.to_le_bytes()),
        };
        let message = MessageOut::new(id, TOPIC, body);
        let mut frame = Vec::with_capacity(message.frame_len());
        message.encode(&mut frame).expect("the body fits");
        frame.into()
    }

    /// Returns the probe that a message is, if it is one of the client with that id.
    pub(super) fn decode(message: &MessageIn, id: PeerId) -> Option<Self> {
        if message.topic != TOPIC || message.from != id {
            return None;
        }
        match (message.body.len(), message.body.first_chunk()) {
            (0, _) => Some(Self::Silence),
            (8, Some(number)) => Some(Self::Checked(u64::from_le_bytes(*number))),
            _other => None,
        }
    }
}

/// Topic of messages that test connections. See PROTOCOL.md.
pub(super) const TOPIC: TopicId = TopicId(0xfffe);
