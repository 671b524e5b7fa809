//! The writing side of a connection: the outbox, the socket, and who is to write next.

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::ServerConnection;
use serde::Serialize;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use waddell_core::Instant;

use crate::forward::buffer_pool::BufferPool;
use crate::forward::memory::{Memory, NoMemory, Share};
use crate::forward::outbox::{Framing, Outbox, Refused};
use crate::forward::transport::socket::{Asking, NonBlocking};
use crate::forward::transport::tls;
use crate::forward::worker_buffers::WorkerBuffers;
use crate::labels::TransportKind;

/// The writing side of a connection; held for as long as one write to the socket takes at most.
#[derive(Debug)]
pub(crate) struct Link {
    outbox: Outbox,
    socket: OwnedWriteHalf,
    pub(crate) tls: Option<Box<ServerConnection>>,
    /// Wakes the task that owns the connection.
    owner: Option<Waker>,
    flow: Flow,
    /// Nothing more is taken for this peer.
    closing: bool,
    /// When the oldest frame that waits was read.
    oldest: Option<Instant>,
    /// Since when the socket has taken nothing.
    stalled_since: Option<Instant>,
    /// What it has of the memory for outboxes that wait for their socket.
    share: Share,
    /// What was put into the outbox since the peer connected.
    frames_out: u64,
    bytes_out: u64,
}

/// Who is to write next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// Nobody: nothing waits.
    Idle,
    /// A worker has it on its list.
    Queued,
    /// The owner, once the socket is writable again.
    Blocked,
    /// Nobody: the socket is broken.
    Broken,
    /// Nobody: there is no memory to let it wait.
    CrowdedOut,
}

impl Flow {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Queued => "queued",
            Self::Blocked => "blocked",
            Self::Broken => "broken",
            Self::CrowdedOut => "crowded out",
        }
    }

    /// Nothing is written any more.
    const fn has_ended(self) -> bool {
        match self {
            Self::Broken | Self::CrowdedOut => true,
            Self::Idle | Self::Queued | Self::Blocked => false,
        }
    }
}

/// What the owner learns about its connection's writing side.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinkStatus {
    /// All is written, or somebody is about to write it.
    Flowing,
    /// The socket has taken nothing since then; the owner will be woken when it does.
    Stalled(Instant),
    /// The socket is broken.
    Broken,
    /// There is no memory to let what waits wait.
    CrowdedOut,
}

/// A peer's writing side as operators see it.
#[derive(Debug, Serialize)]
pub(crate) struct LinkReport {
    transport: &'static str,
    /// Frames put into its outbox.
    pub(crate) frames_out: u64,
    pub(crate) bytes_out: u64,
    /// What waits for it.
    pub(crate) outbox_bytes: usize,
    /// Who writes next: nobody (idle), a worker (queued), the socket has to take more first
    /// (blocked), or nobody ever again (broken, crowded out).
    flow: &'static str,
    /// For how long its socket has taken nothing, if something waits for it.
    stalled_seconds: Option<u64>,
}

impl Link {
    pub(crate) fn new(
        socket: OwnedWriteHalf,
        tls: Option<Box<ServerConnection>>,
        framing: Framing,
    ) -> Self {
        Self {
            outbox: Outbox::new(framing),
            socket,
            tls,
            owner: None,
            flow: Flow::Idle,
            closing: false,
            oldest: None,
            stalled_since: None,
            share: Share::default(),
            frames_out: 0,
            bytes_out: 0,
        }
    }

    /// Puts a frame into the outbox that was read at that moment.
    pub(crate) fn push(
        &mut self,
        frame: &[u8],
        read_at: Instant,
        buffers: &mut WorkerBuffers,
    ) -> Result<Pushed, Refused> {
        if self.closing || self.flow.has_ended() {
            return Ok(Pushed::Gone);
        }
        if let Err(refused) = self.put(frame, read_at, buffers) {
            if self.flow == Flow::Blocked {
                return Err(refused);
            }
            // What waits may only be waiting for the end of the turn.
            self.write_and_wake(buffers);
            if self.flow.has_ended() {
                return Ok(Pushed::Gone);
            }
            self.put(frame, read_at, buffers)?;
        }
        if self.outbox.len() >= WRITE_AT {
            self.write_and_wake(buffers);
            if self.flow == Flow::Idle {
                return Ok(Pushed::Written);
            }
        }
        Ok(self.queue())
    }

    /// Puts a frame into the outbox, whoever is to write it.
    fn put(
        &mut self,
        frame: &[u8],
        read_at: Instant,
        buffers: &mut WorkerBuffers,
    ) -> Result<(), Refused> {
        let WorkerBuffers { shared, pool, outbox_limit, .. } = buffers;
        let limit = *outbox_limit;
        if self.flow == Flow::Blocked {
            let Self { outbox, share, .. } = self;
            let grant = |more| shared.memory.grow(share, more);
            let pushed = outbox.push(frame, limit, pool, grant);
            self.update_share(&shared.memory);
            pushed?;
        } else {
            self.outbox.push(frame, limit, pool, |_| Ok(()))?;
        }
        self.oldest.get_or_insert(read_at);
        self.frames_out += 1;
        self.bytes_out += frame.len() as u64;
        Ok(())
    }

    /// Puts the greeting into the outbox, which is empty.
    pub(crate) fn push_greeting(&mut self, frame: &[u8], buffers: &mut WorkerBuffers) {
        let pushed = self.outbox.push(frame, usize::MAX, &mut buffers.pool, |_| Ok(()));
        debug_assert_eq!(pushed, Ok(()), "this limit has room for a greeting");
    }

    /// Puts a WebSocket control frame into the outbox, unless so much waits already that it makes
    /// no difference, or there is no memory for it.
    pub(crate) fn push_control(&mut self, frame: &[u8], buffers: &mut WorkerBuffers) -> Pushed {
        let WorkerBuffers { shared, pool, outbox_limit, .. } = buffers;
        if self.flow.has_ended() || self.outbox.len() >= *outbox_limit {
            return Pushed::Gone;
        }
        let Self { outbox, share, .. } = self;
        let pushed = if self.flow == Flow::Blocked {
            let grant = |more| shared.memory.grow(share, more);
            let pushed = outbox.push_control(frame, pool, grant);
            self.update_share(&shared.memory);
            pushed
        } else {
            outbox.push_control(frame, pool, |_| Ok(()))
        };
        match pushed {
            Ok(()) => self.queue(),
            Err(NoMemory) => Pushed::Gone,
        }
    }

    /// Writes what waits for a worker to do so; see [`Peer::flush`](crate::forward::peer::Peer::flush).
    pub(crate) fn flush(&mut self, buffers: &mut WorkerBuffers) {
        if self.flow == Flow::Queued {
            self.write_to(Asking::WhenReady, buffers);
            self.wake_if_needed();
        }
    }

    /// Hangs up, if something still waits, to make room for others.
    pub(crate) fn crowd_out(&mut self, buffers: &mut WorkerBuffers) {
        if self.flow == Flow::Blocked {
            self.end(Flow::CrowdedOut, buffers);
            self.wake_if_needed();
        }
    }

    /// Wakes the task that owns the connection.
    pub(crate) fn wake_owner(&self) {
        if let Some(owner) = &self.owner {
            owner.wake_by_ref();
        }
    }

    /// Says what the link is doing.
    pub(crate) fn report(&self, now: Instant) -> LinkReport {
        LinkReport {
            transport: TransportKind::new(
                self.outbox.framing() == Framing::WebSocket,
                self.tls.is_some(),
            )
            .as_str(),
            frames_out: self.frames_out,
            bytes_out: self.bytes_out,
            outbox_bytes: self.outbox.len(),
            flow: self.flow.as_str(),
            stalled_seconds: self.stalled_since.map(|since| (now - since).as_secs()),
        }
    }

    /// Forgets all that waits, for good.
    pub(crate) fn abandon(&mut self, buffers: &mut WorkerBuffers) {
        self.end(Flow::Broken, buffers);
    }

    /// Takes note that something waits to be written.
    pub(crate) fn queue(&mut self) -> Pushed {
        match self.flow {
            Flow::Idle => {
                self.flow = Flow::Queued;
                Pushed::Flush
            }
            Flow::Queued | Flow::Blocked => Pushed::Waits,
            Flow::Broken | Flow::CrowdedOut => Pushed::Gone,
        }
    }

    /// Returns how many bytes of memory are held while what waits has to wait for the socket.
    pub(crate) fn held(&self) -> usize {
        self.share.held()
    }

    /// Takes nothing more for this peer.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    /// The owner's part in writing: goes on where the socket had no room.
    ///
    /// Once that has been so for `write_timeout` the socket is asked again, whatever it says: it
    /// says that it has room only when a third of what it holds is gone, for which a peer that
    /// reads slowly but steadily may need longer.
    pub(crate) fn poll_blocked(
        &mut self,
        cx: &mut Context<'_>,
        write_timeout: Duration,
        buffers: &mut WorkerBuffers,
    ) -> LinkStatus {
        match &mut self.owner {
            Some(owner) => owner.clone_from(cx.waker()),
            None => self.owner = Some(cx.waker().clone()),
        }
        loop {
            match (self.flow, self.stalled_since) {
                (Flow::Broken, _) => return LinkStatus::Broken,
                (Flow::CrowdedOut, _) => return LinkStatus::CrowdedOut,
                (Flow::Blocked, Some(since)) => match self.tcp().poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => self.write(buffers),
                    Poll::Ready(Err(_)) => self.end(Flow::Broken, buffers),
                    Poll::Pending if buffers.shared.clock.now() - since < write_timeout => {
                        return LinkStatus::Stalled(since);
                    }
                    Poll::Pending => {
                        self.write_to(Asking::Always, buffers);
                        buffers.measure_written();
                        if self.stalled_since == Some(since) {
                            return LinkStatus::Stalled(since);
                        }
                    }
                },
                (Flow::Idle | Flow::Queued | Flow::Blocked, _) => return LinkStatus::Flowing,
            }
        }
    }

    /// Writes at once, without waiting for the socket to say that it is ready.
    pub(crate) fn write_now(&mut self, buffers: &mut WorkerBuffers) {
        if matches!(self.flow, Flow::Idle | Flow::Queued) {
            self.write(buffers);
        }
    }

    /// Ends the stream towards the peer, after all that was written.
    pub(crate) fn shut_down(&mut self) {
        // A peer that has hung up already needs no telling.
        let _ = SockRef::from(self.tcp()).shutdown(std::net::Shutdown::Write);
    }

    /// Writes, unless the owner waits for the socket; wakes the owner if it has to from here on.
    fn write_and_wake(&mut self, buffers: &mut WorkerBuffers) {
        if matches!(self.flow, Flow::Idle | Flow::Queued) {
            self.write(buffers);
            self.wake_if_needed();
        }
    }

    /// Wakes the owner if it is for the owner to go on.
    fn wake_if_needed(&self) {
        if self.flow == Flow::Blocked || self.flow.has_ended() {
            self.wake_owner();
        }
    }

    /// Writes until nothing waits or the socket takes no more.
    fn write(&mut self, buffers: &mut WorkerBuffers) {
        self.write_to(Asking::WhenReady, buffers);
        buffers.measure_written();
    }

    fn write_to(&mut self, asking: Asking, buffers: &mut WorkerBuffers) {
        let pool = &mut buffers.pool;
        let mut progress = false;
        let mut socket = NonBlocking { socket: self.socket.as_ref(), asking };
        let result = match &mut self.tls {
            None => write_plain(&mut socket, &mut self.outbox, pool, &mut progress),
            Some(tls) => tls::write(&mut socket, tls, &mut self.outbox, pool, &mut progress),
        };
        match result {
            Ok(()) => {
                self.flow = Flow::Idle;
                self.stalled_since = None;
                buffers.shared.memory.release(&mut self.share);
                if let Some(oldest) = self.oldest.take() {
                    buffers.written(oldest);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if progress || self.stalled_since.is_none() {
                    self.stalled_since = Some(buffers.shared.clock.now());
                }
                self.wait(buffers);
            }
            Err(_) => self.end(Flow::Broken, buffers),
        }
    }

    /// Leaves what is left to the owner, once the socket is writable again.
    fn wait(&mut self, buffers: &mut WorkerBuffers) {
        let memory = &buffers.shared.memory;
        if self.flow == Flow::Blocked {
            self.update_share(memory);
            return;
        }
        self.flow = Flow::Blocked;
        self.outbox.shrink();
        let holds = self.holds();
        if memory.begin_wait(&mut self.share, holds).is_err() {
            self.end(Flow::CrowdedOut, buffers);
        }
    }

    /// Accounts for the memory that waits for the socket.
    fn update_share(&mut self, memory: &Memory) {
        let holds = self.holds();
        memory.update(&mut self.share, holds);
    }

    /// Returns how many bytes of memory what waits takes up.
    fn holds(&self) -> usize {
        let of_tls = match &self.tls {
            Some(tls) if tls.wants_write() => tls::MOST_HELD,
            Some(_) | None => 0,
        };
        self.outbox.capacity() + of_tls
    }

    /// Forgets all that waits; nothing is written any more.
    fn end(&mut self, flow: Flow, buffers: &mut WorkerBuffers) {
        self.flow = flow;
        self.oldest = None;
        self.outbox.clear(&mut buffers.pool);
        buffers.shared.memory.release(&mut self.share);
    }

    fn tcp(&self) -> &TcpStream {
        self.socket.as_ref()
    }
}

/// Bytes that are written at once, without waiting for the end of the turn: by then they would
/// have left the cache, and a larger write is no cheaper.
const WRITE_AT: usize = 64 * 1024;

/// What became of a frame that was to be pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits, and nobody is about to write it: flush the peer by the end of the turn.
    Flush,
    /// It waits, and somebody will write it.
    Waits,
    /// It is written.
    Written,
    /// The peer is on its way out.
    Gone,
}

fn write_plain(
    socket: &mut NonBlocking<'_>,
    outbox: &mut Outbox,
    pool: &mut BufferPool,
    progress: &mut bool,
) -> io::Result<()> {
    while !outbox.is_empty() {
        let len = socket.write(outbox.sealed())?;
        *progress = true;
        outbox.advance(len, pool);
    }
    Ok(())
}
