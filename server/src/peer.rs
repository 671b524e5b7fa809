//! What all workers may do with a connected peer: put frames into its outbox, and write them.

use std::io::{self, IoSlice, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustls::ServerConnection;
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::Instant;
use waddell_core::PeerId;

use crate::outbox::{Framing, Outbox, OutboxFull, Spares};
use crate::transport::tls;

/// A connected peer, as the registry holds it.
#[derive(Debug)]
pub(crate) struct Peer {
    id: PeerId,
    link: Mutex<Link>,
}

impl Peer {
    pub(crate) fn new(
        id: PeerId,
        socket: OwnedWriteHalf,
        tls: Option<Box<ServerConnection>>,
        framing: Framing,
    ) -> Self {
        let link = Link {
            outbox: Outbox::new(framing),
            socket,
            tls,
            owner: None,
            flow: Flow::Idle,
            closing: false,
            stalled_since: None,
        };
        Self { id, link: Mutex::new(link) }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.id
    }

    /// Puts a frame into the outbox.
    pub(crate) fn push(
        &self,
        frame: &[u8],
        limit: usize,
        spares: &mut Spares,
    ) -> Result<Pushed, OutboxFull> {
        let mut link = self.link();
        if link.closing {
            return Ok(Pushed::Gone);
        }
        if link.outbox.push(frame, limit, spares).is_err() {
            // What waits may only be waiting for the end of the turn.
            link.write_and_wake(spares);
            link.outbox.push(frame, limit, spares)?;
        }
        if link.outbox.len() >= WRITE_AT {
            link.write_and_wake(spares);
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
    pub(crate) fn flush(&self, spares: &mut Spares) {
        let mut link = self.link();
        if link.flow == Flow::Queued {
            link.write_and_wake(spares);
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
    pub(crate) outbox: Outbox,
    socket: OwnedWriteHalf,
    pub(crate) tls: Option<Box<ServerConnection>>,
    /// Wakes the task that owns the connection.
    owner: Option<Waker>,
    flow: Flow,
    /// Nothing more is taken for this peer.
    closing: bool,
    /// Since when the socket has taken nothing.
    stalled_since: Option<Instant>,
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
}

impl Link {
    /// Takes note that something waits to be written.
    pub(crate) fn queue(&mut self) -> Pushed {
        match self.flow {
            Flow::Idle => {
                self.flow = Flow::Queued;
                Pushed::Flush
            }
            Flow::Queued | Flow::Blocked => Pushed::Waits,
            Flow::Broken => Pushed::Gone,
        }
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
        spares: &mut Spares,
    ) -> LinkStatus {
        match &mut self.owner {
            Some(owner) => owner.clone_from(cx.waker()),
            None => self.owner = Some(cx.waker().clone()),
        }
        loop {
            match (self.flow, self.stalled_since) {
                (Flow::Broken, _) => return LinkStatus::Broken,
                (Flow::Blocked, Some(since)) => match self.tcp().poll_write_ready(cx) {
                    Poll::Ready(Ok(())) => self.write(spares),
                    Poll::Ready(Err(_)) => self.flow = Flow::Broken,
                    Poll::Pending if since.elapsed() < write_timeout => {
                        return LinkStatus::Stalled(since);
                    }
                    Poll::Pending => {
                        self.write_to(Asking::Always, spares);
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
    pub(crate) fn write_now(&mut self, spares: &mut Spares) {
        if matches!(self.flow, Flow::Idle | Flow::Queued) {
            self.write(spares);
        }
    }

    /// Ends the stream towards the peer, after all that was written.
    pub(crate) fn shut_down(&mut self) {
        // A peer that has hung up already needs no telling.
        let _ = SockRef::from(self.tcp()).shutdown(std::net::Shutdown::Write);
    }

    /// Writes, unless the owner waits for the socket; wakes the owner if it has to from here on.
    fn write_and_wake(&mut self, spares: &mut Spares) {
        if !matches!(self.flow, Flow::Idle | Flow::Queued) {
            return;
        }
        self.write(spares);
        if matches!(self.flow, Flow::Blocked | Flow::Broken)
            && let Some(owner) = &self.owner
        {
            owner.wake_by_ref();
        }
    }

    /// Writes until nothing waits or the socket takes no more.
    fn write(&mut self, spares: &mut Spares) {
        self.write_to(Asking::WhenReady, spares);
    }

    fn write_to(&mut self, asking: Asking, spares: &mut Spares) {
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
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.flow = Flow::Blocked;
                if progress || self.stalled_since.is_none() {
                    self.stalled_since = Some(Instant::now());
                }
            }
            Err(_) => {
                self.flow = Flow::Broken;
                self.outbox.clear(spares);
            }
        }
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
