//! The outcome of forwarding a frame: forwarded, or dropped and why.

use crate::forward::budget::NoMemory;

/// What the server did with a frame for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Fate {
    /// It is in the recipient's outbox, or written.
    Forwarded,
    Dropped(DropReason),
}

/// Why a frame was not put into its recipient's outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// No peer has that id, or its connection is ending.
    UnknownRecipient,
    /// The recipient has lost its connection, and may come back under the same id.
    RecipientAway,
    /// The recipient's outbox has no room for it.
    OutboxFull,
    /// The outboxes' budget has no memory for it.
    NoMemory,
}

impl DropReason {
    /// Every reason, in the order of declaration.
    pub(crate) const ALL: [Self; 4] =
        [Self::UnknownRecipient, Self::RecipientAway, Self::OutboxFull, Self::NoMemory];

    /// Returns the word that metrics use.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownRecipient => "unknown recipient",
            Self::RecipientAway => "recipient away",
            Self::OutboxFull => "outbox full",
            Self::NoMemory => "no memory",
        }
    }
}

impl From<DropReason> for waddell_core::DropReason {
    fn from(reason: DropReason) -> Self {
        match reason {
            DropReason::UnknownRecipient => Self::UnknownRecipient,
            DropReason::RecipientAway => Self::RecipientAway,
            DropReason::OutboxFull => Self::RecipientFull,
            DropReason::NoMemory => Self::ServerFull,
        }
    }
}

impl From<NoMemory> for DropReason {
    fn from(NoMemory: NoMemory) -> Self {
        Self::NoMemory
    }
}
