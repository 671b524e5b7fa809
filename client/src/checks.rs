//! Checked messages whose senders wait for the outcome.

use std::collections::VecDeque;

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use waddell_core::{Delivery, Ticket, Undelivered};

/// Where the outcome of a checked message goes. It is dropped if the client is closed before.
#[derive(Debug)]
pub(crate) struct Reply {
    sender: oneshot::Sender<Outcome>,
    /// A place among the messages without an outcome.
    _place: OwnedSemaphorePermit,
}

/// What became of a checked message.
pub(crate) type Outcome = Result<Delivery, Undelivered>;

impl Reply {
    pub(crate) fn new(place: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender, _place: place }, receiver)
    }

    /// Returns whether the sender has stopped waiting.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.sender.is_closed()
    }

    pub(crate) fn send(self, outcome: Outcome) {
        // Fails if the sender has stopped waiting.
        let _ = self.sender.send(outcome);
    }
}

/// The replies that are due, in the order of their tickets.
#[derive(Debug, Default)]
pub(crate) struct Checks(VecDeque<(Ticket, Reply)>);

impl Checks {
    /// Adds a reply. Its ticket is higher than all before.
    pub(crate) fn insert(&mut self, ticket: Ticket, reply: Reply) {
        self.0.push_back((ticket, reply));
    }

    /// Removes a reply and sends the outcome to it.
    pub(crate) fn decide(&mut self, ticket: Ticket, outcome: Outcome) {
        let found = self.0.binary_search_by_key(&ticket, |(ticket, _)| *ticket);
        if let Some((_, reply)) = found.ok().and_then(|index| self.0.remove(index)) {
            reply.send(outcome);
        }
    }
}

/// Most messages without an outcome, as in the core.
pub(crate) const MAX_CHECKS: usize = 16_384;
