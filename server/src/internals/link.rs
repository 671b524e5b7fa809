//! The writing side of a connection over any socket, in virtual time.

use std::io::{self, Write};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use waddell_core::Instant;

use crate::clock::Clock;
use crate::forward::budget::Budget;
use crate::forward::fate;
use crate::forward::lease::Lease;
use crate::forward::link;
use crate::forward::outbox::Framing;
use crate::forward::transport::socket::{Attempt, WriteHalf};
use crate::forward::worker_buffers::WorkerBuffers;
use crate::metrics::Metrics;

/// A simulated socket. No method waits.
pub trait Socket {
    /// Writes some bytes; fails with [`io::ErrorKind::WouldBlock`] if there is no room. With
    /// `always`, room counts that the socket has not announced yet.
    ///
    /// # Errors
    ///
    /// Any other error means that the socket is broken.
    fn write(&mut self, bytes: &[u8], always: bool) -> io::Result<usize>;

    /// Returns whether the socket has announced room; if not, wakes the task when it does.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the stream after all bytes that were written.
    fn shut_down(&mut self);
}

/// The memory and the clock of a worker.
#[derive(Debug)]
pub struct Worker {
    clock: Clock,
    budget: Arc<Budget>,
    buffers: WorkerBuffers,
}

impl Worker {
    /// Makes a worker whose clock shows the epoch. The limits are those of one outbox and of all
    /// outboxes that wait for their socket, in bytes; 0 is no limit on all.
    pub fn new(outbox_limit: usize, total_limit: usize) -> Self {
        let clock = Clock::by_hand();
        let budget = Budget::with_reserve(total_limit);
        let metrics = Metrics::default().add_worker();
        let buffers = WorkerBuffers::new(clock.clone(), outbox_limit, Arc::clone(&budget), metrics);
        Self { clock, budget, buffers }
    }

    /// Sets the clock.
    pub fn set_now(&mut self, now: Instant) {
        self.clock.set(now);
    }

    /// Ends a turn, after all links are flushed.
    pub fn end_turn(&mut self) {
        self.buffers.measure_written();
    }

    /// Returns how many bytes of memory and how many outboxes wait for their socket.
    pub fn waiting(&self) -> (usize, usize) {
        (self.budget.held(), self.budget.charges())
    }
}

/// Why a frame is not in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The connection is ending.
    UnknownRecipient,
    /// The outbox has no room.
    OutboxFull,
    /// There is no memory for the outbox to grow.
    NoMemory,
}

/// Who has to see to it that an outbox is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// The caller, who has to flush the link by the end of the turn.
    NeedsFlush,
    /// Not the caller.
    Handled,
}

/// Why nothing is written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The socket is broken.
    Broken,
    /// There is no memory for the outbox to wait.
    CrowdedOut,
}

/// The writing side of a raw connection.
#[derive(Debug)]
pub struct Link<S>(link::Link<Half<S>, ()>);

impl<S: Socket> Link<S> {
    /// Makes the writing side of a connection, with the greeting in its outbox.
    pub fn new(socket: S, greeting: &[u8], worker: &mut Worker) -> Self {
        let mut link = link::Link::new(Half(socket), None, Framing::Raw);
        link.push_greeting(greeting, &mut worker.buffers);
        Self(link)
    }

    /// Puts a frame that was read at that time into the outbox.
    ///
    /// # Errors
    ///
    /// [`DropReason`] if the frame is dropped.
    pub fn push(
        &mut self,
        frame: &[u8],
        read_at: Instant,
        worker: &mut Worker,
    ) -> Result<Pushed, DropReason> {
        outcome(self.0.push(frame, read_at, &mut worker.buffers))
    }

    /// Puts WELCOME into the outbox, before everything that comes later.
    pub fn push_first(&mut self, frame: &[u8], worker: &mut Worker) {
        let pushed = self.0.push_first(frame, &mut worker.buffers);
        debug_assert!(pushed.is_ok(), "a link that was just made has room");
    }

    /// Puts frames of the server's own into the outbox, if that holds less than half of its limit.
    /// If it does not, the owner is woken when there is room.
    ///
    /// # Errors
    ///
    /// [`DropReason`] if there is no room.
    pub fn push_own(&mut self, frames: &[u8], worker: &mut Worker) -> Result<Pushed, DropReason> {
        let buffers = &mut worker.buffers;
        outcome(self.0.push_own(frames, buffers.outbox_limit / 2, buffers))
    }

    /// Moves the frames that were not written to a newer connection of the same client. From then
    /// on this one drops frames.
    ///
    /// # Panics
    ///
    /// If this connection has handed over before, or the newer one has ended.
    pub fn hand_over(&mut self, to: &mut Self, worker: &mut Worker) -> Pushed {
        let (link, now) = (&mut self.0, worker.clock.now());
        link.set_lease(Some(Lease::new(0)));
        let asked = link.request_takeover(0, &Arc::new(()), now);
        asked.expect("it is the first that asks, and the connection is open");
        let pushed = link.hand_over(&mut to.0, || None, &mut worker.buffers);
        to.0.take_inheritance();
        pushed.expect("the newer connection waits").into()
    }

    /// Writes a queued outbox, at the end of the turn.
    pub fn flush(&mut self, worker: &mut Worker) {
        self.0.flush(&mut worker.buffers);
    }

    /// Writes without waiting for the end of the turn.
    pub fn write_now(&mut self, worker: &mut Worker) {
        self.0.write_now(&mut worker.buffers);
    }

    /// The owner's part: returns since when the socket has taken no byte, if it has no room.
    ///
    /// # Errors
    ///
    /// [`Lost`] if nothing is written any more.
    pub fn poll_blocked(
        &mut self,
        cx: &mut Context<'_>,
        write_timeout: Duration,
        worker: &mut Worker,
    ) -> Result<Option<Instant>, Lost> {
        self.0.poll_blocked(cx, write_timeout, &mut worker.buffers).map_err(|lost| match lost {
            link::Lost::Broken => Lost::Broken,
            link::Lost::CrowdedOut => Lost::CrowdedOut,
        })
    }

    /// Drops further frames, and all bytes in the outbox.
    pub fn abandon(&mut self, worker: &mut Worker) {
        self.0.abandon(&mut worker.buffers);
    }
}

fn outcome(pushed: Result<link::Pushed, fate::DropReason>) -> Result<Pushed, DropReason> {
    match pushed {
        Ok(pushed) => Ok(pushed.into()),
        Err(fate::DropReason::UnknownRecipient | fate::DropReason::RecipientAway) => {
            Err(DropReason::UnknownRecipient)
        }
        Err(fate::DropReason::OutboxFull) => Err(DropReason::OutboxFull),
        Err(fate::DropReason::NoMemory) => Err(DropReason::NoMemory),
    }
}

impl From<link::Pushed> for Pushed {
    fn from(pushed: link::Pushed) -> Self {
        match pushed {
            link::Pushed::NeedsFlush => Self::NeedsFlush,
            link::Pushed::Handled => Self::Handled,
        }
    }
}

#[derive(Debug)]
struct Half<S>(S);

impl<S: Socket> WriteHalf for Half<S> {
    type Writer<'a>
        = Writer<'a, S>
    where
        S: 'a;

    fn writer(&mut self, attempt: Attempt) -> Writer<'_, S> {
        Writer { socket: &mut self.0, attempt }
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_writable(cx)
    }

    fn shut_down(&mut self) {
        self.0.shut_down();
    }
}

struct Writer<'a, S> {
    socket: &'a mut S,
    attempt: Attempt,
}

impl<S: Socket> Write for Writer<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let always = match self.attempt {
            Attempt::IfReady => false,
            Attempt::Always => true,
        };
        self.socket.write(bytes, always)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
