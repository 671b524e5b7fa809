//! Checked messages whose outcome is not known yet.
//!
//! ```text
//!   send_checked -> undecided: [ 7 8 12 15 ]      numbers of frames, in order
//!
//!   what is told of number n, the first that holds        outcome
//!   an exact DROPPED entry has n                           Dropped
//!   a summary spans n, and HANDLED >= n or the end came    MaybeDropped
//!   HANDLED >= n, complete                                 Forwarded
//!   HANDLED >= n, not complete                             ConnectionLost
//!   without verdicts: a probe after n came back            Sent
//!   the connection ended, and CLOSING < n                  NotHandled
//!   the connection ended                                   ConnectionLost
//! ```

use alloc::collections::VecDeque;
use core::time::Duration;

use super::outcome::{Delivery, Ticket, Undelivered};
use super::output::{ClientEvent, Output};
use crate::control::dropped::Dropped;
use crate::control::notice::Handled;
use crate::time::Instant;

/// Checked messages whose outcome is not known yet, and the question that asks for it.
#[derive(Debug)]
pub(super) struct Checked {
    /// Sorted by number.
    undecided: VecDeque<Undecided>,
    asked: Option<Asked>,
    /// The latest time that is known.
    now: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Undecided {
    number: u64,
    /// Whether a summary spans it.
    maybe_dropped: bool,
}

/// A question that the server has not answered yet.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Sync {
        number: u64,
    },
    /// A server drops a probe if this client's own outbox is full. Then it is sent again.
    Probe {
        number: u64,
        again_at: Instant,
    },
}

impl Checked {
    pub(super) fn new() -> Self {
        Self { undecided: VecDeque::new(), asked: None, now: Instant::EPOCH }
    }

    /// Adds a message that was sent as the frame with that number, the highest so far.
    pub(super) fn insert(&mut self, number: u64) -> Ticket {
        self.undecided.push_back(Undecided { number, maybe_dropped: false });
        Ticket(number)
    }

    /// Returns whether there are as many messages as one client may have.
    pub(super) fn is_full(&self) -> bool {
        self.undecided.len() >= MAX_UNDECIDED
    }

    /// Records the time. Times never go backwards.
    pub(super) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// Returns whether the server is to be asked.
    pub(super) fn must_ask(&self) -> bool {
        !self.undecided.is_empty() && self.asked.is_none()
    }

    /// Records that SYNC was sent as the frame with that number.
    pub(super) fn asked_by_sync(&mut self, number: u64) {
        self.asked = Some(Asked::Sync { number });
    }

    /// Records that a probe was sent as the frame with that number.
    pub(super) fn asked_by_probe(&mut self, number: u64) {
        self.asked = Some(Asked::Probe { number, again_at: self.now + PROBE_INTERVAL });
    }

    /// Forgets a probe that is on its way: SYNC asks better.
    pub(super) fn cancel_probe(&mut self) {
        if let Some(Asked::Probe { .. }) = self.asked {
            self.asked = None;
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.asked {
            Some(Asked::Probe { again_at, .. }) => Some(again_at),
            Some(Asked::Sync { .. }) | None => None,
        }
    }

    /// Asks again if a probe has not come back in time.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.poll_timeout().is_some_and(|at| now >= at) {
            self.asked = None;
        }
    }

    pub(super) fn handle_dropped(&mut self, entry: &Dropped, outputs: &mut VecDeque<Output>) {
        let last = entry.last();
        let start = self.undecided.partition_point(|it| it.number < entry.first);
        let end = self.undecided.partition_point(|it| it.number <= last);
        if entry.is_exact() {
            for undecided in self.undecided.drain(start..end) {
                undecided.decide(Err(Undelivered::Dropped(entry.reason)), outputs);
            }
        } else {
            for undecided in self.undecided.range_mut(start..end) {
                undecided.maybe_dropped = true;
            }
        }
    }

    pub(super) fn handle_handled(&mut self, handled: Handled, outputs: &mut VecDeque<Output>) {
        let Handled { upto, complete } = handled;
        if let Some(Asked::Sync { number }) = self.asked
            && upto >= number.saturating_sub(1)
        {
            self.asked = None;
        }
        let otherwise =
            if complete { Ok(Delivery::Forwarded) } else { Err(Undelivered::ConnectionLost) };
        while let Some(undecided) = self.undecided.pop_front_if(|it| it.number <= upto) {
            undecided.decide(otherwise, outputs);
        }
    }

    /// Handles a probe that came back: the server has handled every frame before it.
    pub(super) fn handle_probe(&mut self, probe: u64, outputs: &mut VecDeque<Output>) {
        if let Some(Asked::Probe { number, .. }) = self.asked
            && probe >= number
        {
            self.asked = None;
        }
        while let Some(undecided) = self.undecided.pop_front_if(|it| it.number < probe) {
            undecided.decide(Ok(Delivery::Sent), outputs);
        }
    }

    /// Decides all messages at the end of their connection. `handled` is the number of the last
    /// frame that the server has handled, if it has said so.
    pub(super) fn end(&mut self, handled: Option<u64>, outputs: &mut VecDeque<Output>) {
        self.asked = None;
        for undecided in core::mem::take(&mut self.undecided) {
            let was_handled = handled.is_none_or(|handled| undecided.number <= handled);
            let outcome =
                if was_handled { Undelivered::ConnectionLost } else { Undelivered::NotHandled };
            undecided.decide(Err(outcome), outputs);
        }
    }
}

impl Undecided {
    /// Emits the outcome. That of a message which a summary spans is known already.
    fn decide(self, outcome: Result<Delivery, Undelivered>, outputs: &mut VecDeque<Output>) {
        let outcome = match outcome {
            Err(Undelivered::Dropped(_)) => outcome,
            Ok(_) | Err(_) if self.maybe_dropped => Err(Undelivered::MaybeDropped),
            Ok(_) | Err(_) => outcome,
        };
        let ticket = Ticket(self.number);
        outputs.push_back(Output::Event(ClientEvent::Checked { ticket, outcome }));
    }
}

/// Most messages without an outcome. A server that never answers costs 256 KiB at most.
const MAX_UNDECIDED: usize = 16_384;

/// Longest time to wait for a probe.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
