//! The writing side of a connection: the outbox, the socket, and the duty to write.

pub(crate) mod extension;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use extension::Extension;
use rustls::ServerConnection;
use serde::Serialize;
use waddell_core::Instant;

use crate::forward::budget::{Charge, NoMemory};
use crate::forward::buffer_pool::BufferPool;
use crate::forward::fate::DropReason;
use crate::forward::outbox::{Framing, Item, Outbox};
use crate::forward::transport::socket::{Attempt, WriteHalf};
use crate::forward::transport::tls;
use crate::forward::worker_buffers::WorkerBuffers;

/// The writing side of a connection. It is locked for as long as one write to the socket takes. `P`
/// is the peer that owns such a link.
#[derive(Debug)]
pub(crate) struct Link<S, P> {
    outbox: Outbox,
    socket: S,
    pub(crate) tls: Option<Box<ServerConnection>>,
    /// Wakes the task that owns the connection.
    owner: Option<Waker>,
    flow: Flow,
    /// Further frames are dropped: the connection is ending.
    closing: bool,
    extension: Option<Box<Extension<P>>>,
    /// When the oldest frame in the outbox was read.
    oldest: Option<Instant>,
    /// Frames and their bytes that were put into the outbox since the peer connected.
    frames_out: u64,
    bytes_out: u64,
}

/// The next writer of the outbox.
///
/// ```text
///           push               flush, all written
///   Idle ---------> Queued ----------------------> Idle
///                     |
///                     | the socket has no room
///                     v    the owner has written all
///                  Blocked ----------------------> Idle
///                     |
///                     | an error, or no memory: from any state
///                     v
///                   Ended
/// ```
#[derive(Debug)]
enum Flow {
    /// None: the outbox is empty.
    Idle,
    /// A worker, at the end of its turn.
    Queued,
    /// The owner, when the socket has room again.
    Blocked(Blocked),
    /// None: the connection is lost.
    Ended(Lost),
}

/// A link that waits for room in its socket.
#[derive(Debug)]
struct Blocked {
    /// Since when the socket has taken no byte.
    since: Instant,
    /// The memory that the outbox holds meanwhile.
    charge: Charge,
}

/// Why nothing is written to a link any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The socket is broken.
    Broken,
    /// The outboxes' budget has no memory for its outbox.
    CrowdedOut,
}

/// Who has to see to it that an outbox is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Pushed {
    /// The caller, who has to flush the link by the end of the turn.
    NeedsFlush,
    /// Not the caller: another worker or the owner does, or there is nothing to write.
    Handled,
}

/// The writing side of a peer as operators see it.
#[derive(Debug, Serialize)]
pub(crate) struct LinkReport {
    /// Frames put into its outbox.
    pub(crate) frames_out: u64,
    pub(crate) bytes_out: u64,
    /// Bytes in its outbox.
    pub(crate) outbox_bytes: usize,
    /// The next writer: none (idle), a worker (queued), the owner once the socket has room
    /// (blocked), or none ever again (broken, crowded out).
    flow: &'static str,
    /// For how long its socket has taken no byte, if it has no room.
    stalled_seconds: Option<u64>,
}

impl<S: WriteHalf, P> Link<S, P> {
    pub(crate) fn new(socket: S, tls: Option<Box<ServerConnection>>, framing: Framing) -> Self {
        Self {
            outbox: Outbox::new(framing),
            socket,
            tls,
            owner: None,
            flow: Flow::Idle,
            closing: false,
            extension: None,
            oldest: None,
            frames_out: 0,
            bytes_out: 0,
        }
    }

    /// Puts a frame into the outbox that was read at that time.
    pub(crate) fn push(
        &mut self,
        frame: &[u8],
        read_at: Instant,
        buffers: &mut WorkerBuffers,
    ) -> Result<Pushed, DropReason> {
        if self.closing {
            return Err(DropReason::UnknownRecipient);
        }
        match self.append(Item::Frame(frame), buffers) {
            Ok(()) => {}
            Err(_) if matches!(self.flow, Flow::Queued) => {
                // The outbox may only be waiting for the end of the turn.
                self.write_and_wake(buffers);
                self.append(Item::Frame(frame), buffers)?;
            }
            Err(reason) => return Err(reason),
        }
        self.oldest.get_or_insert(read_at);
        self.frames_out += 1;
        self.bytes_out += frame.len() as u64;
        if self.outbox.len() >= WRITE_AT {
            self.write_and_wake(buffers);
            match self.flow {
                Flow::Idle => return Ok(Pushed::Handled),
                Flow::Ended(_) => {
                    // The frame is gone with the outbox.
                    self.forget_lost(frame);
                    return Err(DropReason::UnknownRecipient);
                }
                Flow::Queued | Flow::Blocked(_) => {}
            }
        }
        Ok(self.queue())
    }

    /// Puts the greeting into the outbox, which is empty.
    pub(crate) fn push_greeting(&mut self, frame: &[u8], buffers: &mut WorkerBuffers) {
        let pushed = self.append(Item::Own(frame), buffers);
        debug_assert_eq!(pushed, Ok(()), "the link is new");
    }

    /// Puts a frame into the outbox that comes before all others to this peer but the greeting. It
    /// is written at the end of the turn.
    pub(crate) fn push_first(
        &mut self,
        frame: &[u8],
        buffers: &mut WorkerBuffers,
    ) -> Result<Pushed, DropReason> {
        self.append(Item::Own(frame), buffers)?;
        Ok(self.queue())
    }

    /// Puts frames from the server itself into the outbox, unless that holds `most` bytes or more,
    /// or there is no memory for them.
    ///
    /// If they are refused, the link is blocked or ended, and its owner is woken when that changes.
    pub(crate) fn push_own(
        &mut self,
        frames: &[u8],
        most: usize,
        buffers: &mut WorkerBuffers,
    ) -> Result<Pushed, DropReason> {
        if self.outbox.len() >= most {
            self.write_and_wake(buffers);
        }
        if self.outbox.len() >= most {
            return Err(DropReason::OutboxFull);
        }
        self.append(Item::Own(frames), buffers)?;
        Ok(self.queue())
    }

    /// Puts a WebSocket control frame into the outbox, unless that is so full that the control
    /// frame makes no difference, or there is no memory for it.
    pub(crate) fn push_control(&mut self, frame: &[u8], buffers: &mut WorkerBuffers) -> Pushed {
        if self.outbox.len() >= buffers.outbox_limit
            || self.append(Item::Control(frame), buffers).is_err()
        {
            return Pushed::Handled;
        }
        self.queue()
    }

    /// Appends an item to the outbox, and charges what that grows by while the link is blocked.
    fn append(&mut self, item: Item<'_>, buffers: &mut WorkerBuffers) -> Result<(), DropReason> {
        let WorkerBuffers { pool, outbox_limit, .. } = buffers;
        match &mut self.flow {
            Flow::Idle | Flow::Queued => self.outbox.push(item, *outbox_limit, pool, None),
            Flow::Blocked(blocked) => {
                let charge = &mut blocked.charge;
                let pushed = self.outbox.push(item, *outbox_limit, pool, Some(charge));
                charge.set(memory(&self.outbox, self.tls.as_deref()));
                pushed
            }
            Flow::Ended(_) => Err(DropReason::UnknownRecipient),
        }
    }

    /// Records that there are bytes to write.
    pub(crate) fn queue(&mut self) -> Pushed {
        match self.flow {
            Flow::Idle => {
                self.flow = Flow::Queued;
                Pushed::NeedsFlush
            }
            Flow::Queued | Flow::Blocked(_) | Flow::Ended(_) => Pushed::Handled,
        }
    }

    /// Writes a queued outbox, as far as the socket takes it.
    ///
    /// Any worker may do so. Usually it is the one that filled the outbox, which saves waking the
    /// owner. The owner is woken when it has to wait for the socket, and when the socket is broken.
    /// Call [`WorkerBuffers::measure_written`] after all links are flushed.
    pub(crate) fn flush(&mut self, buffers: &mut WorkerBuffers) {
        if matches!(self.flow, Flow::Queued) {
            self.write(Attempt::IfReady, buffers);
            self.wake_if_needed();
        }
    }

    /// Ends the link if it is blocked, to make room for other outboxes. Returns how many bytes that
    /// gives back.
    pub(crate) fn crowd_out(&mut self, buffers: &mut WorkerBuffers) -> usize {
        let bytes = self.charged();
        if bytes > 0 {
            self.end_crowded_out(buffers);
        }
        bytes
    }

    /// Ends the link, so that its owner gives up the connection and all its memory.
    pub(crate) fn end_crowded_out(&mut self, buffers: &mut WorkerBuffers) {
        if !matches!(self.flow, Flow::Ended(_)) {
            self.end(Lost::CrowdedOut, buffers);
            self.wake_owner();
        }
    }

    /// The owner's part: goes on writing when the socket has room.
    ///
    /// Returns since when the socket has taken no byte, if it has no room; the owner is woken when
    /// it has. After `write_timeout` a write is attempted whatever the socket says: it announces
    /// room only when a third of its buffer is free, which takes longer than that if a peer reads
    /// slowly but steadily.
    pub(crate) fn poll_blocked(
        &mut self,
        cx: &mut Context<'_>,
        write_timeout: Duration,
        buffers: &mut WorkerBuffers,
    ) -> Result<Option<Instant>, Lost> {
        match &mut self.owner {
            Some(owner) => owner.clone_from(cx.waker()),
            None => self.owner = Some(cx.waker().clone()),
        }
        loop {
            self.tell_missed_notice(buffers);
            let Some(since) = self.blocked_since()? else { return Ok(None) };
            match self.socket.poll_writable(cx) {
                Poll::Ready(Ok(())) => self.write_measured(Attempt::IfReady, buffers),
                Poll::Ready(Err(_)) => self.end(Lost::Broken, buffers),
                Poll::Pending if buffers.clock.now() - since < write_timeout => {
                    return Ok(Some(since));
                }
                Poll::Pending => {
                    self.write_measured(Attempt::Always, buffers);
                    if self.blocked_since() == Ok(Some(since)) {
                        return Ok(Some(since));
                    }
                }
            }
        }
    }

    /// Writes at once, without waiting for the end of the turn.
    pub(crate) fn write_now(&mut self, buffers: &mut WorkerBuffers) {
        if matches!(self.flow, Flow::Idle | Flow::Queued) {
            self.write_measured(Attempt::IfReady, buffers);
        }
    }

    /// Drops further frames and all bytes in the outbox.
    pub(crate) fn abandon(&mut self, buffers: &mut WorkerBuffers) {
        self.closing = true;
        self.end(Lost::Broken, buffers);
    }

    /// Ends the stream towards the peer, after all bytes that were written.
    pub(crate) fn shut_down(&mut self) {
        self.socket.shut_down();
    }

    /// Wakes the task that owns the connection.
    pub(crate) fn wake_owner(&self) {
        if let Some(owner) = &self.owner {
            owner.wake_by_ref();
        }
    }

    /// Returns how many bytes of the outboxes' budget the link holds.
    pub(crate) fn charged(&self) -> usize {
        match &self.flow {
            Flow::Blocked(blocked) => blocked.charge.bytes(),
            Flow::Idle | Flow::Queued | Flow::Ended(_) => 0,
        }
    }

    pub(crate) fn report(&self, now: Instant) -> LinkReport {
        let (flow, stalled) = match &self.flow {
            Flow::Idle => ("idle", None),
            Flow::Queued => ("queued", None),
            Flow::Blocked(blocked) => ("blocked", Some(now - blocked.since)),
            Flow::Ended(Lost::Broken) => ("broken", None),
            Flow::Ended(Lost::CrowdedOut) => ("crowded out", None),
        };
        LinkReport {
            frames_out: self.frames_out,
            bytes_out: self.bytes_out,
            outbox_bytes: self.outbox.len(),
            flow,
            stalled_seconds: stalled.map(|time| time.as_secs()),
        }
    }

    fn blocked_since(&self) -> Result<Option<Instant>, Lost> {
        match &self.flow {
            Flow::Idle | Flow::Queued => Ok(None),
            Flow::Blocked(blocked) => Ok(Some(blocked.since)),
            Flow::Ended(lost) => Err(*lost),
        }
    }

    /// Writes, and wakes the owner if it has to go on.
    fn write_and_wake(&mut self, buffers: &mut WorkerBuffers) {
        if matches!(self.flow, Flow::Idle | Flow::Queued) {
            self.write_measured(Attempt::IfReady, buffers);
            self.wake_if_needed();
        }
    }

    fn wake_if_needed(&self) {
        match self.flow {
            Flow::Blocked(_) | Flow::Ended(_) => self.wake_owner(),
            Flow::Idle | Flow::Queued => {}
        }
    }

    fn write_measured(&mut self, attempt: Attempt, buffers: &mut WorkerBuffers) {
        self.write(attempt, buffers);
        buffers.measure_written();
    }

    /// Writes until the outbox is empty or the socket has no room.
    fn write(&mut self, attempt: Attempt, buffers: &mut WorkerBuffers) {
        let mut progress = false;
        let mut writer = self.socket.writer(attempt);
        let pool = &mut buffers.pool;
        let result = match &mut self.tls {
            None => write_plain(&mut writer, &mut self.outbox, pool, &mut progress),
            Some(tls) => tls::write(&mut writer, tls, &mut self.outbox, pool, &mut progress),
        };
        drop(writer);
        match result {
            Ok(()) => {
                self.flow = Flow::Idle;
                if let Some(oldest) = self.oldest.take() {
                    buffers.record_written(oldest);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.block(progress, buffers);
            }
            Err(_) => self.end(Lost::Broken, buffers),
        }
    }

    /// Leaves the rest of the outbox to the owner, and charges its memory.
    fn block(&mut self, progress: bool, buffers: &mut WorkerBuffers) {
        if let Flow::Blocked(blocked) = &mut self.flow {
            if progress {
                blocked.since = buffers.clock.now();
            }
            blocked.charge.set(memory(&self.outbox, self.tls.as_deref()));
            return;
        }
        self.outbox.shrink();
        match buffers.budget.charge(memory(&self.outbox, self.tls.as_deref())) {
            Ok(charge) => {
                self.flow = Flow::Blocked(Blocked { since: buffers.clock.now(), charge });
            }
            Err(NoMemory) => self.end(Lost::CrowdedOut, buffers),
        }
    }

    /// Drops all bytes in the outbox; nothing is written any more.
    fn end(&mut self, lost: Lost, buffers: &mut WorkerBuffers) {
        self.note_lost();
        self.flow = Flow::Ended(lost);
        self.oldest = None;
        self.outbox.clear(&mut buffers.pool);
    }
}

/// Returns how many bytes of memory a blocked link holds.
fn memory(outbox: &Outbox, tls: Option<&ServerConnection>) -> usize {
    let of_tls = match tls {
        Some(tls) if tls.wants_write() => tls::MAX_HELD,
        Some(_) | None => 0,
    };
    outbox.capacity() + of_tls
}

fn write_plain(
    writer: &mut impl Write,
    outbox: &mut Outbox,
    pool: &mut BufferPool,
    progress: &mut bool,
) -> io::Result<()> {
    while !outbox.is_empty() {
        let len = writer.write(outbox.sealed())?;
        *progress = true;
        outbox.advance(len, pool);
    }
    Ok(())
}

/// An outbox of this many bytes is written without waiting for the end of the turn. By then they
/// would have left the processor's cache, and a larger write is no cheaper.
const WRITE_AT: usize = 64 * 1024;
