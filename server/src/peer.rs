//! What all workers may do with a connected peer: put frames into its outbox, and write them.

use std::io::{self, IoSlice, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::ServerConnection;
use serde::Serialize;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;
use waddell_core::PeerId;

use crate::connection::Short;
use crate::memory::{Memory, NoMemory, Share};
use crate::outbox::{Framing, Outbox, Refused};
use crate::spares::Spares;
use crate::supplies::{Moment, Supplies};
use crate::transport::{TransportKind, tls};

/// A connected peer, as the registry holds it.
#[derive(Debug)]
pub(crate) struct Peer {
    id: PeerId,
    connected_at: Moment,
    /// What came from it; its connection alone adds to these.
    frames_in: AtomicU64,
    bytes_in: AtomicU64,
    link: Mutex<Link>,
}

/// A peer as operators see it.
#[derive(Debug, Serialize)]
pub(crate) struct PeerReport {
    /// Enough to find it in the log, too little to write to it.
    id: String,
    transport: &'static str,
    pub(crate) connected_seconds: u64,
    /// Whole frames that came from it.
    pub(crate) frames_in: u64,
    pub(crate) bytes_in: u64,
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

impl Peer {
    pub(crate) fn new(
        id: PeerId,
        socket: OwnedWriteHalf,
        tls: Option<Box<ServerConnection>>,
        framing: Framing,
        connected_at: Moment,
    ) -> Self {
        let link = Link {
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
        };
        Self {
            id,
            connected_at,
            frames_in: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            link: Mutex::new(link),
        }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.id
    }

    /// Takes note of what came from this peer; for its connection alone, which needs no locked
    /// instruction for it.
    pub(crate) fn count_in(&self, frames: u64, bytes: u64) {
        self.frames_in.store(self.frames_in.load(Relaxed) + frames, Relaxed);
        self.bytes_in.store(self.bytes_in.load(Relaxed) + bytes, Relaxed);
    }

    /// Says what the peer's connection is doing.
    pub(crate) fn report(&self, now: Moment) -> PeerReport {
        let link = self.link();
        PeerReport {
            id: Short(self.id).to_string(),
            transport: TransportKind::new(link.outbox.framing(), link.tls.is_some()).as_str(),
            connected_seconds: now.since(self.connected_at).as_secs(),
            frames_in: self.frames_in.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            frames_out: link.frames_out,
            bytes_out: link.bytes_out,
            outbox_bytes: link.outbox.len(),
            flow: link.flow.as_str(),
            stalled_seconds: link.stalled_since.map(|since| since.elapsed().as_secs()),
        }
    }

    /// Puts a frame into the outbox that was read at that moment.
    pub(crate) fn push(
        &self,
        frame: &[u8],
        read_at: Moment,
        supplies: &mut Supplies,
    ) -> Result<Pushed, Refused> {
        let mut link = self.link();
        if link.closing || link.flow.has_ended() {
            return Ok(Pushed::Gone);
        }
        if let Err(refused) = link.push(frame, read_at, supplies) {
            if link.flow == Flow::Blocked {
                return Err(refused);
            }
            // What waits may only be waiting for the end of the turn.
            link.write_and_wake(supplies);
            if link.flow.has_ended() {
                return Ok(Pushed::Gone);
            }
            link.push(frame, read_at, supplies)?;
        }
        if link.outbox.len() >= WRITE_AT {
            link.write_and_wake(supplies);
            if link.flow == Flow::Idle {
                return Ok(Pushed::Written);
            }
        }
        Ok(link.queue())
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// Any worker may: the one that put something in usually does, which saves waking the owner.
    /// The owner is woken when it has to wait for the socket, or when the socket is broken.
    /// How long it took is for [`Supplies::measure_written`] to say, once all are flushed.
    pub(crate) fn flush(&self, supplies: &mut Supplies) {
        let mut link = self.link();
        if link.flow == Flow::Queued {
            link.write_to(Asking::WhenReady, supplies);
            link.wake_if_needed();
        }
    }

    /// Hangs up, if something still waits, to make room for others.
    pub(crate) fn crowd_out(&self, supplies: &mut Supplies) {
        let mut link = self.link();
        if link.flow == Flow::Blocked {
            link.end(Flow::CrowdedOut, supplies);
            link.wake_if_needed();
        }
    }

    /// Wakes the task that owns the connection.
    pub(crate) fn wake_owner(&self) {
        if let Some(owner) = &self.link().owner {
            owner.wake_by_ref();
        }
    }

    pub(crate) fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
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
    oldest: Option<Moment>,
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

impl Link {
    /// Puts a frame into the outbox that was read at that moment.
    fn push(
        &mut self,
        frame: &[u8],
        read_at: Moment,
        supplies: &mut Supplies,
    ) -> Result<(), Refused> {
        let Supplies { shared, spares, .. } = supplies;
        let limit = shared.settings.outbox_bytes.get();
        if self.flow == Flow::Blocked {
            let Self { outbox, share, .. } = self;
            let grant = |more| shared.memory.grow(share, more);
            let pushed = outbox.push(frame, limit, spares, grant);
            self.update_share(&shared.memory);
            pushed?;
        } else {
            self.outbox.push(frame, limit, spares, |_| Ok(()))?;
        }
        self.oldest.get_or_insert(read_at);
        self.frames_out += 1;
        self.bytes_out += frame.len() as u64;
        Ok(())
    }

    /// Puts the greeting into the outbox, which is empty.
    pub(crate) fn push_greeting(&mut self, frame: &[u8], supplies: &mut Supplies) {
        let pushed = self.outbox.push(frame, usize::MAX, &mut supplies.spares, |_| Ok(()));
        debug_assert_eq!(pushed, Ok(()), "this limit has room for a greeting");
    }

    /// Puts a WebSocket control frame into the outbox, unless so much waits already that it makes
    /// no difference, or there is no memory for it.
    pub(crate) fn push_control(&mut self, frame: &[u8], supplies: &mut Supplies) -> Pushed {
        let Supplies { shared, spares, .. } = supplies;
        if self.flow.has_ended() || self.outbox.len() >= shared.settings.outbox_bytes.get() {
            return Pushed::Gone;
        }
        let Self { outbox, share, .. } = self;
        let pushed = if self.flow == Flow::Blocked {
            let grant = |more| shared.memory.grow(share, more);
            let pushed = outbox.push_control(frame, spares, grant);
            self.update_share(&shared.memory);
            pushed
        } else {
            outbox.push_control(frame, spares, |_| Ok(()))
        };
        match pushed {
            Ok(()) => self.queue(),
            Err(NoMemory) => Pushed::Gone,
        }
    }

    /// Forgets all that waits, for good.
    pub(crate) fn abandon(&mut self, supplies: &mut Supplies) {
        self.end(Flow::Broken, supplies);
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
        supplies: &mut Supplies,
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
                    Poll::Ready(Ok(())) => self.write(supplies),
                    Poll::Ready(Err(_)) => self.end(Flow::Broken, supplies),
                    Poll::Pending if since.elapsed() < write_timeout => {
                        return LinkStatus::Stalled(since);
                    }
                    Poll::Pending => {
                        self.write_to(Asking::Always, supplies);
                        supplies.measure_written();
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
    pub(crate) fn write_now(&mut self, supplies: &mut Supplies) {
        if matches!(self.flow, Flow::Idle | Flow::Queued) {
            self.write(supplies);
        }
    }

    /// Ends the stream towards the peer, after all that was written.
    pub(crate) fn shut_down(&mut self) {
        // A peer that has hung up already needs no telling.
        let _ = SockRef::from(self.tcp()).shutdown(std::net::Shutdown::Write);
    }

    /// Writes, unless the owner waits for the socket; wakes the owner if it has to from here on.
    fn write_and_wake(&mut self, supplies: &mut Supplies) {
        if matches!(self.flow, Flow::Idle | Flow::Queued) {
            self.write(supplies);
            self.wake_if_needed();
        }
    }

    /// Wakes the owner if it is for the owner to go on.
    fn wake_if_needed(&self) {
        if (self.flow == Flow::Blocked || self.flow.has_ended())
            && let Some(owner) = &self.owner
        {
            owner.wake_by_ref();
        }
    }

    /// Writes until nothing waits or the socket takes no more.
    fn write(&mut self, supplies: &mut Supplies) {
        self.write_to(Asking::WhenReady, supplies);
        supplies.measure_written();
    }

    fn write_to(&mut self, asking: Asking, supplies: &mut Supplies) {
        let spares = &mut supplies.spares;
        let mut progress = false;
        let mut socket = NonBlocking { socket: self.socket.as_ref(), asking };
        let result = match &mut self.tls {
            None => write_plain(&mut socket, &mut self.outbox, spares, &mut progress),
            Some(tls) => tls::write(&mut socket, tls, &mut self.outbox, spares, &mut progress),
        };
        match result {
            Ok(()) => {
                self.flow = Flow::Idle;
                self.stalled_since = None;
                supplies.shared.memory.release(&mut self.share);
                if let Some(oldest) = self.oldest.take() {
                    supplies.written(oldest);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if progress || self.stalled_since.is_none() {
                    self.stalled_since = Some(Instant::now());
                }
                self.wait(supplies);
            }
            Err(_) => self.end(Flow::Broken, supplies),
        }
    }

    /// Leaves what is left to the owner, once the socket is writable again.
    fn wait(&mut self, supplies: &mut Supplies) {
        let memory = &supplies.shared.memory;
        if self.flow == Flow::Blocked {
            self.update_share(memory);
            return;
        }
        self.flow = Flow::Blocked;
        self.outbox.settle();
        let holds = self.holds();
        if memory.begin_wait(&mut self.share, holds).is_err() {
            self.end(Flow::CrowdedOut, supplies);
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
    fn end(&mut self, flow: Flow, supplies: &mut Supplies) {
        self.flow = flow;
        self.oldest = None;
        self.outbox.clear(&mut supplies.spares);
        supplies.shared.memory.release(&mut self.share);
    }

    fn tcp(&self) -> &TcpStream {
        self.socket.as_ref()
    }
}

fn write_plain(
    socket: &mut NonBlocking<'_>,
    outbox: &mut Outbox,
    spares: &mut Spares,
    progress: &mut bool,
) -> io::Result<()> {
    while !outbox.is_empty() {
        let len = socket.write(outbox.sealed())?;
        *progress = true;
        outbox.advance(len, spares);
    }
    Ok(())
}

/// Writes to a socket without waiting.
pub(crate) struct NonBlocking<'a> {
    socket: &'a TcpStream,
    asking: Asking,
}

/// When the system is asked whether a socket has room.
#[derive(Clone, Copy, Debug)]
enum Asking {
    /// Unless it has said that there is none, and not yet that there is some again.
    WhenReady,
    Always,
}

impl Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.asking {
            Asking::WhenReady => self.socket.try_write(bytes),
            Asking::Always => SockRef::from(self.socket).send(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.asking {
            Asking::WhenReady => self.socket.try_write_vectored(parts),
            Asking::Always => SockRef::from(self.socket).send_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
