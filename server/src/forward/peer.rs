//! A connected peer, which all workers share.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::ServerConnection;
use serde::Serialize;
use tokio::net::tcp::OwnedWriteHalf;
use waddell_core::{Instant, PeerId};

use crate::forward::link::{Link, LinkReport};
use crate::forward::outbox::Framing;
use crate::ids::Short;
use crate::labels::TransportKind;

/// A connected peer, which all workers share.
#[derive(Debug)]
pub(crate) struct Peer {
    connected_at: Instant,
    transport: TransportKind,
    /// How many bytes of memory its incomplete frame holds; 0 without one. Only its connection sets
    /// this.
    partial_bytes: AtomicU32,
    /// When that frame began, in seconds since the server's start.
    partial_begun: AtomicU32,
    /// Frames and their bytes that were read from it. Only its connection adds to them.
    frames_in: AtomicU64,
    bytes_in: AtomicU64,
    link: Mutex<Link<OwnedWriteHalf, Self>>,
}

/// A peer as operators see it.
#[derive(Debug, Serialize)]
pub(crate) struct PeerReport {
    /// The beginning of its id: enough to find it in the log, too little to send to it.
    id: String,
    transport: &'static str,
    pub(crate) connected_seconds: u64,
    /// Whole frames read from it.
    pub(crate) frames_in: u64,
    pub(crate) bytes_in: u64,
    #[serde(flatten)]
    pub(crate) link: LinkReport,
}

impl Peer {
    pub(crate) fn new(
        socket: OwnedWriteHalf,
        tls: Option<Box<ServerConnection>>,
        framing: Framing,
        connected_at: Instant,
    ) -> Self {
        let transport = TransportKind::new(framing == Framing::WebSocket, tls.is_some());
        Self {
            connected_at,
            transport,
            partial_bytes: AtomicU32::new(0),
            partial_begun: AtomicU32::new(0),
            frames_in: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            link: Mutex::new(Link::new(socket, tls, framing)),
        }
    }

    pub(crate) fn transport(&self) -> TransportKind {
        self.transport
    }

    /// Counts what was read from this peer. Only its connection may call this, which therefore
    /// needs no locked instruction.
    pub(crate) fn count_in(&self, frames: u64, bytes: u64) {
        self.frames_in.store(self.frames_in.load(Relaxed) + frames, Relaxed);
        self.bytes_in.store(self.bytes_in.load(Relaxed) + bytes, Relaxed);
    }

    /// Returns how many frames were read from this peer before the read that is being handled.
    pub(crate) fn frames_in(&self) -> u64 {
        self.frames_in.load(Relaxed)
    }

    /// Records how many bytes of memory its incomplete frame holds, and when that frame began.
    pub(crate) fn set_partial(&self, bytes: usize, begun_at: Instant) {
        let begun = begun_at.elapsed_since_epoch().as_secs();
        self.partial_begun.store(begun as u32, Relaxed);
        self.partial_bytes.store(bytes as u32, Relaxed);
    }

    /// Returns how many bytes of memory its incomplete frame holds.
    pub(crate) fn partial_bytes(&self) -> usize {
        self.partial_bytes.load(Relaxed) as usize
    }

    /// Returns when its incomplete frame began, to the second.
    pub(crate) fn partial_begun(&self) -> Instant {
        Instant::since_epoch(Duration::from_secs(self.partial_begun.load(Relaxed).into()))
    }

    /// Describes this peer, which has that id.
    pub(crate) fn report(&self, id: PeerId, now: Instant) -> PeerReport {
        PeerReport {
            id: Short(id).to_string(),
            transport: self.transport.as_str(),
            connected_seconds: (now - self.connected_at).as_secs(),
            frames_in: self.frames_in.load(Relaxed),
            bytes_in: self.bytes_in.load(Relaxed),
            link: self.link().report(now),
        }
    }

    /// Locks the writing side of its connection.
    ///
    /// Of several locks, the first of these is taken first: that of the peers that are away, the
    /// link of the newer connection of a client, that of the older one, a shard of the registry
    /// or the subjects' counts.
    pub(crate) fn link(&self) -> MutexGuard<'_, Link<OwnedWriteHalf, Self>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
