//! What all of a server's workers share.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;
use tokio::time::Instant;
use waddell_core::ConnectionConfig;

use crate::admission::Admissions;
use crate::config::ServerConfig;
use crate::http::Site;
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::registry::Registry;
use crate::tls::Acceptors;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: ServerConfig,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Metrics,
    pub(crate) admissions: Arc<Admissions>,
    pub(crate) tls: Option<Acceptors>,
    site: RwLock<Arc<Site>>,
    phase: AtomicU8,
    /// Told of each peer that is gone, for whoever waits until all are.
    gone: Notify,
    /// Where the core's time begins.
    epoch: Instant,
}

/// How far a server's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Running,
    /// Connections take in what has already arrived.
    Settling,
    /// Connections deliver what waits, and hang up.
    Closing,
}

impl Shared {
    pub(crate) fn new(config: ServerConfig, tls: Option<Acceptors>, site: Site) -> Self {
        let admissions =
            Admissions::new(config.max_connections, config.max_connections_per_address);
        Self {
            config,
            registry: Arc::new(Registry::new()),
            metrics: Metrics::default(),
            admissions: Arc::new(admissions),
            tls,
            site: RwLock::new(Arc::new(site)),
            phase: AtomicU8::new(Phase::Running as u8),
            gone: Notify::new(),
            epoch: Instant::now(),
        }
    }

    /// Returns what is served over HTTP.
    pub(crate) fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves something else from here on.
    pub(crate) fn set_site(&self, site: Site) {
        *self.site.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(site);
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Settling,
            _ => Phase::Closing,
        }
    }

    /// Begins a phase, and wakes every connection to take part in it.
    pub(crate) fn begin_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        self.registry.for_each(Peer::wake_owner);
    }

    /// Takes note that a peer has been counted as disconnected.
    pub(crate) fn peer_is_gone(&self) {
        // Whoever waits looks at the counters again; if nobody does, it costs next to nothing.
        self.gone.notify_one();
    }

    /// Waits until every peer that was ever connected is gone.
    pub(crate) async fn all_gone(&self) {
        while self.metrics.peers_disconnected.get() < self.metrics.peers_connected.get() {
            self.gone.notified().await;
        }
    }

    pub(crate) fn connection_config(&self) -> ConnectionConfig {
        let ServerConfig { idle_timeout, rate_limit, .. } = self.config;
        ConnectionConfig { idle_timeout, rate_limit }
    }

    pub(crate) fn core_time(&self, at: Instant) -> waddell_core::Instant {
        waddell_core::Instant::since_epoch(at.saturating_duration_since(self.epoch))
    }

    pub(crate) fn tokio_time(&self, at: waddell_core::Instant) -> Instant {
        self.epoch + at.elapsed_since_epoch()
    }
}
