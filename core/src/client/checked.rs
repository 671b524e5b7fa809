//! Checked messages whose outcome is not known yet.
//!
//! ```text
//!   send_checked -> undecided: [ 7 8 12 15 ]      numbers of frames, in order
//!
//!   what is told of number n, the first that holds        outcome
//!   an exact DROPPED entry has n                           Dropped
//!   PEER counts it as lost, and HANDLED >= n               Lost
//!   a summary spans n, and HANDLED >= n or the end came    MaybeDropped
//!   HANDLED >= n, complete                                 Forwarded
//!   HANDLED >= n, not complete                             ConnectionLost
//!   without verdicts: a probe after n came back            Sent
//!   the connection ended, and CLOSING < n                  NotHandled
//!   resumed, and HANDLED about the connection before < n   NotHandled
//!   the connection ended, and is not resumed               ConnectionLost
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
    /// Number of the first frame on this connection. Messages before it are undecided only if the
    /// server may still tell of them, because the client resumes.
    first: u64,
    /// Whether the next HANDLED is about the connections before.
    resumed: bool,
    /// Whether frames were lost before this connection, and the server does not know yet that the
    /// client knows. Until it does, it cannot tell exactly about a further loss.
    must_confirm: bool,
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
        Self {
            undecided: VecDeque::new(),
            asked: None,
            first: 1,
            resumed: false,
            must_confirm: false,
            now: Instant::EPOCH,
        }
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

    /// Begins a connection whose first frame has that number.
    pub(super) fn begin(&mut self, first: u64) {
        self.first = first;
        self.asked = None;
        self.resumed = false;
        self.must_confirm = false;
    }

    /// Records that the client has resumed: the next HANDLED is about the connections before.
    pub(super) fn resume(&mut self) {
        self.resumed = true;
    }

    /// Returns whether the server is to be asked: there are messages on this connection without
    /// an outcome, or it is to learn that the client knows of a loss.
    pub(super) fn is_due(&self) -> bool {
        self.must_confirm || self.undecided.back().is_some_and(|last| last.number >= self.first)
    }

    /// Returns whether the server has not answered yet.
    pub(super) fn has_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Records that SYNC was sent as the frame with that number.
    pub(super) fn asked_by_sync(&mut self, number: u64) {
        self.asked = Some(Asked::Sync { number });
        self.must_confirm = false;
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
        let (first, last) = (entry.first, entry.last());
        if entry.is_exact() {
            self.decide(first, last, Err(Undelivered::Dropped(entry.reason)), outputs);
        } else {
            let (start, end) = (self.position(first), self.position(last.saturating_add(1)));
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
        self.decide(0, upto, otherwise, outputs);
        if core::mem::take(&mut self.resumed) {
            self.must_confirm = upto < self.first.saturating_sub(1);
            self.end_before(self.first, Undelivered::NotHandled, outputs);
        }
    }

    /// Decides a message that the server accepted and could not pass on.
    pub(super) fn handle_lost(&mut self, number: u64, outputs: &mut VecDeque<Output>) {
        self.decide(number, number, Err(Undelivered::Lost), outputs);
    }

    /// Handles a probe that came back: the server has handled every frame before it.
    pub(super) fn handle_probe(&mut self, probe: u64, outputs: &mut VecDeque<Output>) {
        if let Some(Asked::Probe { number, .. }) = self.asked
            && probe >= number
        {
            self.asked = None;
        }
        self.decide(0, probe.saturating_sub(1), Ok(Delivery::Sent), outputs);
    }

    /// Decides the messages after the last frame that the server has handled, as CLOSING says.
    pub(super) fn handle_closing(&mut self, handled: u64, outputs: &mut VecDeque<Output>) {
        let first = handled.saturating_add(1);
        self.decide(first, u64::MAX, Err(Undelivered::NotHandled), outputs);
    }

    /// Decides the messages of the connections before: the server will not tell of them.
    pub(super) fn end_former(&mut self, outputs: &mut VecDeque<Output>) {
        self.end_before(self.first, Undelivered::ConnectionLost, outputs);
    }

    /// Decides all messages: no server will tell of them.
    pub(super) fn end(&mut self, outputs: &mut VecDeque<Output>) {
        self.asked = None;
        self.end_before(u64::MAX, Undelivered::ConnectionLost, outputs);
    }

    fn end_before(&mut self, number: u64, why: Undelivered, outputs: &mut VecDeque<Output>) {
        self.decide(0, number.saturating_sub(1), Err(why), outputs);
    }

    /// Decides the messages with the numbers `first` to `last`.
    // Out of line: it has many callers.
    #[inline(never)]
    fn decide(
        &mut self,
        first: u64,
        last: u64,
        outcome: Result<Delivery, Undelivered>,
        outputs: &mut VecDeque<Output>,
    ) {
        let (start, end) = (self.position(first), self.position(last.saturating_add(1)));
        for undecided in self.undecided.drain(start..end) {
            undecided.decide(outcome, outputs);
        }
    }

    /// Returns how many messages have a lower number.
    fn position(&self, number: u64) -> usize {
        self.undecided.partition_point(|it| it.number < number)
    }
}

impl Undecided {
    /// Emits the outcome. That of a message which a summary spans is known already.
    fn decide(self, outcome: Result<Delivery, Undelivered>, outputs: &mut VecDeque<Output>) {
        let outcome = match outcome {
            Err(Undelivered::Dropped(_) | Undelivered::Lost) => outcome,
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
