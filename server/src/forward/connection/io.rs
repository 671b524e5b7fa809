//! A connection's socket, timer and worker.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;
use waddell_core::{Instant, PeerId};

use super::timer::Timer;
use crate::forward::link::Lost;
use crate::forward::link::extension::News;
use crate::forward::peer::Peer;
use crate::forward::registry::Registration;
use crate::forward::worker::WorkerSlot;

/// A connection's socket, timer and worker, and its place in the registry.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) worker: WorkerSlot,
    pub(super) registration: Registration,
    socket: OwnedReadHalf,
    timer: Timer,
}

impl Io {
    pub(super) fn new(
        worker: WorkerSlot,
        registration: Registration,
        socket: OwnedReadHalf,
    ) -> Self {
        Self { worker, registration, socket, timer: Timer::default() }
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        self.registration.peer()
    }

    pub(super) fn id(&self) -> PeerId {
        self.registration.id()
    }

    pub(super) fn now(&self) -> Instant {
        self.worker.shared.clock.now()
    }

    /// Returns the address of the other end of the socket, which may be a proxy's.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.socket.peer_addr().ok().map(|address| address.ip())
    }

    /// Reads into `space`. Returns the number of bytes; 0 means the end of the stream.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(space);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Returns whether the runtime knows of bytes to read. If not, the task is woken when it does.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> bool {
        self.socket.as_ref().poll_read_ready(cx).is_ready()
    }

    /// Returns whether the socket has bytes to read, even if the runtime does not know of them.
    pub(super) fn has_arrived(&self) -> bool {
        let mut first = [MaybeUninit::uninit()];
        SockRef::from(self.socket.as_ref()).peek(&mut first).is_ok_and(|len| len > 0)
    }

    /// Continues writing where the socket had no room; see [`poll_blocked`]. Returns the news of
    /// the link besides.
    ///
    /// [`poll_blocked`]: crate::forward::link::Link::poll_blocked
    pub(super) fn poll_blocked(
        &self,
        cx: &mut Context<'_>,
    ) -> Result<(Option<Instant>, News<Peer>), Lost> {
        let write_timeout = self.worker.config().timeouts.write;
        self.worker.with_buffers(|buffers| {
            let mut link = self.peer().link();
            let stalled_since = link.poll_blocked(cx, write_timeout, buffers)?;
            Ok((stalled_since, link.take_news()))
        })
    }

    /// Ready at `due`; otherwise the task is woken then, or earlier.
    pub(super) fn poll_until(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        self.timer.poll_until(cx, self.worker.shared.clock.timer(due))
    }

    /// Makes sure that the task is woken at `due`, or earlier.
    pub(super) fn wake_by(&mut self, cx: &mut Context<'_>, due: Instant) {
        self.timer.wake_by(cx, self.worker.shared.clock.timer(due));
    }

    /// Releases the timer: no deadline is set.
    pub(super) fn release_timer(&mut self) {
        self.timer.release();
    }
}
