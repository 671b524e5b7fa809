//! One peer, seen from the server.

use core::fmt;
use core::time::Duration;

use crate::frame::{Frame, PREFIX_LEN};
use crate::id::{PeerId, TopicId};
use crate::message::{HEADER_LEN, KEEP_ALIVE};
use crate::time::Instant;

/// Length of the greeting, prefix included, in bytes.
pub const GREETING_LEN: usize = PREFIX_LEN + HEADER_LEN;

/// How the server treats one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Longest time without a frame (a keep-alive counts) before the peer counts as gone.
    /// `None`: for ever, as in waddell.
    pub idle_timeout: Option<Duration>,
}

/// The server's side of one connection: decides what becomes of each frame.
///
/// One input, at most one output: the decision is the return value, so there is no queue to
/// drain. The driver sends [`greeting`](Self::greeting) first, then passes in each frame that
/// the peer sends.
#[derive(Debug)]
pub struct ServerConnection {
    id: PeerId,
    idle_timeout: Option<Duration>,
    last_heard: Instant,
}

impl ServerConnection {
    /// Takes on a peer that has just connected and is to be known as `id`.
    pub fn new(id: PeerId, config: ConnectionConfig, now: Instant) -> Self {
        Self { id, idle_timeout: config.idle_timeout, last_heard: now }
    }

    /// Returns the first frame that the peer is sent: its own id, topic 0, no body.
    pub fn greeting(&self) -> [u8; GREETING_LEN] {
        let mut frame = [0; GREETING_LEN];
        let (prefix, header) = frame.split_at_mut(PREFIX_LEN);
        prefix.copy_from_slice(&(HEADER_LEN as u16).to_le_bytes());
        let (id, topic) = header.split_at_mut(PeerId::LEN);
        id.copy_from_slice(self.id.as_bytes());
        topic.copy_from_slice(&TopicId::UNKNOWN.0.to_le_bytes());
        frame
    }

    /// Decides on one frame from the peer.
    ///
    /// `Some(to)`: deliver the frame to `to`; its header bears this peer's id as the sender from
    /// here on. `None`: a keep-alive, which is for nobody.
    ///
    /// # Errors
    ///
    /// [`Rejected`] for a frame that is for nobody by mistake. Count it and keep reading: the
    /// connection stays, as in waddell.
    pub fn handle_frame(
        &mut self,
        frame: &mut Frame<'_>,
        now: Instant,
    ) -> Result<Option<PeerId>, Rejected> {
        self.last_heard = now;
        let payload = frame.payload_mut();
        let len = payload.len();
        let Some((header, _body)) = payload.split_first_chunk_mut::<HEADER_LEN>() else {
            return if payload == KEEP_ALIVE {
                Ok(None)
            } else {
                Err(Rejected::ShortFrame { len })
            };
        };
        let [recipient @ .., _, _] = header;
        let to = PeerId::from_bytes(*recipient);
        if to.is_nil() {
            return Err(Rejected::ReservedRecipient);
        }
        *recipient = *self.id.as_bytes();
        Ok(Some(to))
    }

    /// Says whether the peer still counts as connected; ask when
    /// [`poll_timeout`](Self::poll_timeout) has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Liveness {
        match self.poll_timeout() {
            Some(at) if at <= now => Liveness::Expired,
            Some(_) | None => Liveness::Alive,
        }
    }

    /// Returns when the peer will have been silent for too long; `None` if there is no limit.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.idle_timeout.map(|timeout| self.last_heard + timeout)
    }

    /// Returns the peer's id.
    pub fn id(&self) -> PeerId {
        self.id
    }
}

/// Whether a peer still counts as connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Heard from in time.
    Alive,
    /// Silent for longer than [`ConnectionConfig::idle_timeout`]: hang up.
    Expired,
}

/// A frame that the peer should not have sent. It goes nowhere; the connection stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejected {
    /// Shorter than a header and no keep-alive.
    ///
    /// waddell forwards payloads of 16 and 17 bytes, and its clients hang up when they get one.
    /// No client ever sends one, so they are not forwarded here.
    ShortFrame {
        /// Length of the payload, in bytes.
        len: usize,
    },
    /// Addressed to [`PeerId::NIL`], which is nobody's.
    ReservedRecipient,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortFrame { len } => {
                write!(f, "frame of {len} bytes is shorter than the {HEADER_LEN}-byte header")
            }
            Self::ReservedRecipient => f.write_str("frame is addressed to the nil peer id"),
        }
    }
}

impl core::error::Error for Rejected {}
