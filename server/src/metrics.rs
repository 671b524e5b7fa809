//! Counters, named as in the logs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::histogram::Histogram;
use crate::labels::FailureReason;
use crate::labels::TransportKind;
use crate::labels::UpgradeRefusal;

macro_rules! counters {
    (
        server { $($(#[$doc:meta])* $name:ident,)* }
        worker { $($(#[$frames_doc:meta])* $frames:ident,)* }
    ) => {
        /// What a server has counted since it started.
        ///
        /// Frames that came in are each counted once more, by what became of them:
        /// `frames_in = frames_forwarded + keep_alives + frames_rejected_* + frames_dropped_*`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct MetricsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
            $($(#[$frames_doc])* pub $frames: u64,)*
        }

        /// The counters themselves; shared by all workers.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $(pub(crate) $name: Counter,)*
            peers: [AtomicU64; TransportKind::ALL.len()],
            handshakes_failed_by: [Counter; FailureReason::ALL.len()],
            upgrades_refused_by: [Counter; UpgradeRefusal::ALL.len()],
            workers: Mutex<Vec<Arc<WorkerMetrics>>>,
        }

        /// What one worker alone counts and measures: whatever changes with each read, so that
        /// workers do not wait for one another's cache lines.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct WorkerMetrics {
            $(pub(crate) $frames: OwnCounter,)*
            /// From a frame's read to its write.
            pub(crate) forward: Histogram,
            /// From when a timer was due to when it fired.
            pub(crate) lag: Histogram,
        }

        impl Metrics {
            pub(crate) fn snapshot(&self) -> MetricsSnapshot {
                let mut snapshot = MetricsSnapshot {
                    $($name: self.$name.get(),)*
                    ..MetricsSnapshot::default()
                };
                for worker in &*self.workers() {
                    $(snapshot.$frames += worker.$frames.get();)*
                }
                snapshot
            }
        }
    };
}

counters! {
    server {
        /// Connections accepted.
        connections_accepted,
        /// Connections refused because [`max_connections`](crate::ServerConfig::max_connections) or
        /// [`max_connections_per_address`](crate::ServerConfig::max_connections_per_address) was
        /// reached, or since there was no descriptor for them; those from behind a proxy have been
        /// accepted before.
        connections_refused,
        /// Errors while accepting, such as no descriptors left.
        accept_errors,
        /// Times that accepting was paused because of
        /// [`accept_rate`](crate::ServerConfig::accept_rate).
        accepts_paused,
        /// Connections that ended before they became a peer: handshake errors and time-outs.
        handshakes_failed,
        /// Requests for a WebSocket that were answered with a refusal: of the page's origin, for
        /// one.
        upgrades_refused,
        /// Times that the certificate was read again and taken into use.
        certificates_reloaded,
        /// Times that the certificate was read again and could not be used: the one before stays.
        certificates_refused,
        /// Requests whose `X-Forwarded-For` was ignored, since it came from nowhere that
        /// [`trusted_proxies`](crate::ServerConfig::trusted_proxies) lists.
        forwarded_ignored,
        /// Headers of the PROXY protocol that were ignored for the same reason.
        proxy_headers_ignored,
        /// Lines of the log that were dropped, as
        /// [`ServerHandle::set_log_lines_dropped`](crate::ServerHandle::set_log_lines_dropped) was
        /// told last.
        log_lines_dropped,
        /// Peers that were given an id.
        peers_connected,
        /// Peers whose id is gone again.
        peers_disconnected,
        /// Peers hung up because they took no byte for too long.
        peers_stalled,
        /// Peers hung up because all outboxes together had no memory for what they did not take, or
        /// all unfinished frames together for what they began.
        peers_crowded_out,
        /// Peers hung up because they broke the protocol.
        peers_misbehaved,
        /// Peers hung up because they gave no sign of life, or did not finish a frame in time.
        peers_timed_out,
    }
    worker {
        /// Whole frames received, keep-alives included.
        frames_in,
        /// Bytes of those, prefixes included.
        bytes_in,
        /// Frames put into their recipient's outbox.
        frames_forwarded,
        /// Bytes of those, prefixes included.
        bytes_forwarded,
        /// Keep-alive frames received.
        keep_alives,
        /// Frames shorter than a header that are no keep-alive.
        frames_rejected_short,
        /// Frames to the nil id.
        frames_rejected_reserved,
        /// Frames to an id that is not connected.
        frames_dropped_unknown,
        /// Frames for which their recipient's outbox had no room.
        frames_dropped_full,
        /// Frames for which all outboxes together had no memory.
        frames_dropped_memory,
        /// Times that reading from a peer was paused because of its
        /// [`rate_limit`](crate::ServerConfig::rate_limit).
        peers_paused,
    }
}

impl Metrics {
    /// Takes note of a peer that has an id from here on.
    pub(crate) fn peer_connected(&self, kind: TransportKind) {
        self.peers_connected.increment();
        self.peers[kind as usize].fetch_add(1, Relaxed);
    }

    /// Takes note of a peer whose id is gone.
    pub(crate) fn peer_disconnected(&self, kind: TransportKind) {
        self.peers_disconnected.increment();
        self.peers[kind as usize].fetch_sub(1, Relaxed);
    }

    /// Takes note of a connection that ended before it became a peer.
    pub(crate) fn handshake_failed(&self, reason: FailureReason) {
        self.handshakes_failed.increment();
        self.handshakes_failed_by[reason as usize].increment();
    }

    /// Returns how many connections ended so before they became a peer.
    pub(crate) fn handshakes_failed_by(&self, reason: FailureReason) -> u64 {
        self.handshakes_failed_by[reason as usize].get()
    }

    /// Takes note of a request for a WebSocket that is refused.
    pub(crate) fn upgrade_refused(&self, refusal: UpgradeRefusal) {
        self.upgrades_refused.increment();
        self.upgrades_refused_by[refusal as usize].increment();
    }

    /// Returns how many requests for a WebSocket were refused so.
    pub(crate) fn upgrades_refused_by(&self, refusal: UpgradeRefusal) -> u64 {
        self.upgrades_refused_by[refusal as usize].get()
    }

    /// Returns how many peers are connected over that transport.
    pub(crate) fn peers(&self, kind: TransportKind) -> u64 {
        self.peers[kind as usize].load(Relaxed)
    }

    /// Returns what one more worker measures into.
    pub(crate) fn add_worker(&self) -> Arc<WorkerMetrics> {
        let metrics = Arc::<WorkerMetrics>::default();
        self.workers().push(Arc::clone(&metrics));
        metrics
    }

    /// Returns what each worker has measured.
    pub(crate) fn workers(&self) -> MutexGuard<'_, Vec<Arc<WorkerMetrics>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        if count > 0 {
            self.0.fetch_add(count, Relaxed);
        }
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// Takes over what somebody else has counted.
    pub(crate) fn set(&self, count: u64) {
        self.0.store(count, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that only grows, and by one thread's doing alone, which needs no locked instruction
/// for it. Others may read meanwhile.
#[derive(Debug, Default)]
pub(crate) struct OwnCounter(AtomicU64);

impl OwnCounter {
    pub(crate) fn add(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
