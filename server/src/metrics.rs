//! What a server counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;

use crate::counter::{Counter, OwnCounter};
use crate::histogram::Histogram;
use crate::labels::{FailureReason, HelloResult, ResumeResult, TransportKind, UpgradeRefusal};

macro_rules! counters {
    (
        server { $($(#[$doc:meta])* $name:ident,)* }
        worker { $($(#[$frames_doc:meta])* $frames:ident,)* }
    ) => {
        /// The counters of a server since its start.
        ///
        /// Each received frame is counted once more by its outcome:
        /// `frames_in = frames_forwarded + keep_alives + controls + controls_ignored +
        /// frames_rejected_* + frames_dropped_*`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct MetricsSnapshot {
            $($(#[$doc])* pub $name: u64,)*
            $($(#[$frames_doc])* pub $frames: u64,)*
        }

        /// The counters of a server; shared by all workers.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $(pub(crate) $name: Counter,)*
            peers: [AtomicU64; TransportKind::ALL.len()],
            extended_peers: AtomicU64,
            hellos: [Counter; HelloResult::ALL.len()],
            resumes: [Counter; ResumeResult::ALL.len()],
            handshakes_failed_by: [Counter; FailureReason::ALL.len()],
            upgrades_refused_by: [Counter; UpgradeRefusal::ALL.len()],
            http_answers: [Counter; HTTP_STATUSES.len()],
            workers: Mutex<Vec<Arc<WorkerMetrics>>>,
        }

        /// The counters and measurements of one worker that change with each read. They are apart
        /// so that workers do not wait for each other's cache lines.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct WorkerMetrics {
            $(pub(crate) $frames: OwnCounter,)*
            /// Time from the read of a frame to its write.
            pub(crate) forward: Histogram,
            /// Time from when a timer was due to when it fired.
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
        /// Connections refused because of
        /// [`Limits::max_connections`](crate::Limits::max_connections),
        /// [`Limits::max_connections_per_address`](crate::Limits::max_connections_per_address), or
        /// because there was no descriptor for them. A connection through a proxy is accepted
        /// first.
        connections_refused,
        /// Errors while accepting, such as no descriptors left.
        accept_errors,
        /// Times that accepting was paused because of
        /// [`Limits::accept_rate`](crate::Limits::accept_rate).
        accepts_paused,
        /// Connections that ended before they became a peer: handshake errors and timeouts.
        handshakes_failed,
        /// Requests for a WebSocket that were refused.
        upgrades_refused,
        /// Connections over HTTP that were closed because their client did not read its answer
        /// while too many others did not either.
        http_answers_unread,
        /// Times that the certificate was read again and taken into use.
        certificates_reloaded,
        /// Times that the certificate was read again and could not be used.
        certificates_refused,
        /// Requests whose `X-Forwarded-For` was ignored, because they did not come from
        /// [`TrustedProxies::networks`](crate::TrustedProxies::networks).
        forwarded_ignored,
        /// Headers of the PROXY protocol that were ignored for the same reason.
        proxy_headers_ignored,
        /// Dropped lines of the log, as last set with
        /// [`ServerHandle::set_log_lines_dropped`](crate::ServerHandle::set_log_lines_dropped).
        log_lines_dropped,
        /// Peers that were given an id.
        peers_connected,
        /// Peers whose connection has ended.
        peers_disconnected,
        /// Peers disconnected because they took no byte for too long.
        peers_stalled,
        /// Peers disconnected because there was no memory for their outbox, or for a frame that
        /// they had begun.
        peers_crowded_out,
        /// Peers disconnected because they broke the protocol.
        peers_misbehaved,
        /// Peers disconnected because they gave no sign of life, or did not complete a frame in
        /// time.
        peers_timed_out,
        /// Peers that spoke the extension.
        peers_extended,
        /// Peers that were told of a shutdown before it ended their connection.
        restarts_told,
        /// Times that a peer was given a new id because it asked for one.
        ids_renewed,
        /// Times that a peer was told of STUN and TURN servers.
        ice_issued,
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
        /// Control frames of peers that speak the extension.
        controls,
        /// Control frames of such peers that had no effect.
        controls_ignored,
        /// Dropped frames whose sender was told.
        drops_told,
        /// Frames that were accepted and lost with their recipient's connection, as far as their
        /// sender was told.
        losses_told,
        /// Frames that told a peer what became of others.
        notices_sent,
        /// Those for which the peer's outbox had no room.
        notices_dropped,
        /// Frames shorter than a header that are no keep-alive.
        frames_rejected_short,
        /// Frames to the nil id.
        frames_rejected_reserved,
        /// Frames to an id that no peer has, or to a peer whose connection is ending.
        frames_dropped_unknown,
        /// Frames to a peer that has lost its connection and may come back.
        frames_dropped_away,
        /// Frames for which their recipient's outbox had no room.
        frames_dropped_full,
        /// Frames for which the outboxes' budget had no memory.
        frames_dropped_memory,
        /// Times that reading from a peer was paused because of
        /// [`Limits::rate_limit`](crate::Limits::rate_limit).
        peers_paused,
    }
}

/// Every status that listeners answer with over HTTP.
const HTTP_STATUSES: [StatusCode; 14] = [
    StatusCode::SWITCHING_PROTOCOLS,
    StatusCode::OK,
    StatusCode::NO_CONTENT,
    StatusCode::NOT_MODIFIED,
    StatusCode::BAD_REQUEST,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::URI_TOO_LONG,
    StatusCode::UPGRADE_REQUIRED,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    StatusCode::NOT_IMPLEMENTED,
    StatusCode::SERVICE_UNAVAILABLE,
];

impl Metrics {
    /// Counts a new peer.
    pub(crate) fn peer_connected(&self, kind: TransportKind) {
        self.peers_connected.increment();
        self.peers[kind as usize].fetch_add(1, Relaxed);
    }

    /// Counts a peer whose connection has ended.
    pub(crate) fn peer_disconnected(&self, kind: TransportKind) {
        self.peers_disconnected.increment();
        self.peers[kind as usize].fetch_sub(1, Relaxed);
    }

    /// Counts a connection that ended before it became a peer.
    pub(crate) fn handshake_failed(&self, reason: FailureReason) {
        self.handshakes_failed.increment();
        self.handshakes_failed_by[reason as usize].increment();
    }

    /// Returns how many connections ended for this reason before they became a peer.
    pub(crate) fn handshakes_failed_by(&self, reason: FailureReason) -> u64 {
        self.handshakes_failed_by[reason as usize].get()
    }

    /// Counts a request for a WebSocket that is refused.
    pub(crate) fn upgrade_refused(&self, refusal: UpgradeRefusal) {
        self.upgrades_refused.increment();
        self.upgrades_refused_by[refusal as usize].increment();
    }

    /// Returns how many requests for a WebSocket were refused for this reason.
    pub(crate) fn upgrades_refused_by(&self, refusal: UpgradeRefusal) -> u64 {
        self.upgrades_refused_by[refusal as usize].get()
    }

    /// Counts an answer over HTTP.
    pub(crate) fn http_answered(&self, status: StatusCode) {
        let index = HTTP_STATUSES.iter().position(|listed| *listed == status);
        debug_assert!(index.is_some(), "{status} is not in the list");
        if let Some(index) = index {
            self.http_answers[index].increment();
        }
    }

    /// Returns how many answers over HTTP had each status.
    pub(crate) fn http_answers(&self) -> [(StatusCode, u64); HTTP_STATUSES.len()] {
        std::array::from_fn(|index| (HTTP_STATUSES[index], self.http_answers[index].get()))
    }

    /// Returns how many peers are connected over this transport.
    pub(crate) fn peers(&self, kind: TransportKind) -> u64 {
        self.peers[kind as usize].load(Relaxed)
    }

    /// Counts a first frame that is a HELLO or looks like one, and other HELLOs.
    pub(crate) fn hello(&self, result: HelloResult) {
        self.hellos[result as usize].increment();
    }

    /// Returns how many HELLOs had this result.
    pub(crate) fn hellos(&self, result: HelloResult) -> u64 {
        self.hellos[result as usize].get()
    }

    /// Counts a HELLO with a resume token.
    pub(crate) fn resume(&self, result: ResumeResult) {
        self.resumes[result as usize].increment();
    }

    /// Returns how many resume tokens had this result.
    pub(crate) fn resumes(&self, result: ResumeResult) -> u64 {
        self.resumes[result as usize].get()
    }

    /// Counts a connected peer that speaks the extension.
    pub(crate) fn peer_extended(&self) {
        self.peers_extended.increment();
        self.extended_peers.fetch_add(1, Relaxed);
    }

    /// Counts such a peer whose connection has ended.
    pub(crate) fn extended_peer_disconnected(&self) {
        self.extended_peers.fetch_sub(1, Relaxed);
    }

    /// Returns how many of the connected peers speak the extension.
    pub(crate) fn extended_peers(&self) -> u64 {
        self.extended_peers.load(Relaxed)
    }

    /// Adds the metrics of one more worker, and returns them.
    pub(crate) fn add_worker(&self) -> Arc<WorkerMetrics> {
        let metrics = Arc::<WorkerMetrics>::default();
        self.workers().push(Arc::clone(&metrics));
        metrics
    }

    /// Returns the metrics of each worker.
    pub(crate) fn workers(&self) -> MutexGuard<'_, Vec<Arc<WorkerMetrics>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
