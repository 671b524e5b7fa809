//! What all workers may do with a connected peer: put frames into its outbox, and write them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::ServerConnection;
use serde::Serialize;
use tokio::net::tcp::OwnedWriteHalf;
use waddell_core::{Instant, PeerId};

use crate::forward::link::{Link, LinkReport, Pushed};
use crate::forward::outbox::{Framing, Refused};
use crate::forward::worker_buffers::WorkerBuffers;
use crate::ids::Short;

/// A connected peer, as the registry holds it.
#[derive(Debug)]
pub(crate) struct Peer {
    id: PeerId,
    connected_at: Instant,
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
    pub(crate) connected_seconds: u64,
    /// Whole frames that came from it.
    pub(crate) frames_in: u64,
    pub(crate) bytes_in: u64,
    #[serde(flatten)]
    pub(crate) link: LinkReport,
}

impl Peer {
    pub(crate) fn new(
        id: PeerId,
        socket: OwnedWriteHalf,
        tls: Option<Box<ServerConnection>>,
        framing: Framing,
        connected_at: Instant,
    ) -> Self {
        let link = Link::new(socket, tls, framing);
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
    pub(crate) fn report(&self, now: Instant) -> PeerReport {
        PeerReport {
            id: Short(self.id).to_string(),
            connected_seconds: (now - self.connected_at).as_secs(),
            frames_in: self.frames_in.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            link: self.link().report(now),
        }
    }

    /// Puts a frame into the outbox that was read at that moment.
    pub(crate) fn push(
        &self,
        frame: &[u8],
        read_at: Instant,
        buffers: &mut WorkerBuffers,
    ) -> Result<Pushed, Refused> {
        self.link().push(frame, read_at, buffers)
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// Any worker may: the one that put something in usually does, which saves waking the owner.
    /// The owner is woken when it has to wait for the socket, or when the socket is broken.
    /// How long it took is for [`WorkerBuffers::measure_written`] to say, once all are flushed.
    pub(crate) fn flush(&self, buffers: &mut WorkerBuffers) {
        self.link().flush(buffers);
    }

    /// Hangs up, if something still waits, to make room for others.
    pub(crate) fn crowd_out(&self, buffers: &mut WorkerBuffers) {
        self.link().crowd_out(buffers);
    }

    /// Wakes the task that owns the connection.
    pub(crate) fn wake_owner(&self) {
        self.link().wake_owner();
    }

    pub(crate) fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
