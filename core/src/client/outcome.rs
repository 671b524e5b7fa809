//! What became of a checked message.

use core::fmt;

use crate::control::DropReason;

/// Names a message of [`Client::send_checked`](crate::Client::send_checked). No two messages of a
/// client have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

impl Ticket {
    /// Returns a number that names the message: those of later messages are higher.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// How far a checked message has come. No server says whether a peer has received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The server has put it into the recipient's outbox.
    Forwarded,
    /// The server has handled it, and does not say whether a peer has that id.
    Sent,
}

/// Why a checked message was not delivered, or may not have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undelivered {
    /// The server dropped it.
    Dropped(DropReason),
    /// The server dropped some messages, and only counted them. This may be one of them.
    MaybeDropped,
    /// The server accepted it and could not pass it on: the peer's connection broke.
    Lost,
    /// The connection ended before the server handled it. Sending it again makes no duplicate.
    NotHandled,
    /// The connection ended, and it is not known whether the server had handled it.
    ConnectionLost,
}

impl Undelivered {
    /// Returns the text that `Display` writes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dropped(DropReason::UnknownRecipient) => {
                "no peer has this id; ask the peer for its present one"
            }
            Self::Dropped(DropReason::RecipientAway) => {
                "the peer has lost its connection, and may come back; send again in a moment"
            }
            Self::Dropped(DropReason::RecipientFull) => {
                "the peer does not read fast enough; send again more slowly"
            }
            Self::Dropped(DropReason::ServerFull) => {
                "the server has no memory for more waiting messages; send again later"
            }
            Self::Dropped(DropReason::TooFast) => {
                "the server dropped the message: messages came too fast; send more slowly"
            }
            Self::Dropped(DropReason::ReservedRecipient) => {
                "the nil id is reserved; use the id of a peer"
            }
            Self::Dropped(DropReason::Refused) => {
                "the server does not allow messages to this peer; ask its operator"
            }
            Self::Dropped(DropReason::NodeUnreachable) => {
                "the server of the peer cannot be reached; send again later"
            }
            Self::Dropped(DropReason::Various | DropReason::ShortFrame) => {
                "the server dropped the message, and does not say why"
            }
            Self::MaybeDropped => {
                "the server dropped some messages, and this may be one of them; ask the peer, and \
                 send more slowly"
            }
            Self::Lost => {
                "the peer's connection broke before the message left the server; send it again \
                 when the peer is back"
            }
            Self::NotHandled => {
                "the connection ended before the server handled the message; send it again"
            }
            Self::ConnectionLost => {
                "it is not known whether the server took the message: the connection was lost; \
                 ask the peer before sending it again"
            }
        }
    }
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for Undelivered {}
