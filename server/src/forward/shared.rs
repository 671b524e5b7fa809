//! The state of a server that all threads share.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::forward::away::Away;
use crate::forward::budget::Budget;
use crate::forward::registry::Registry;
use crate::labels::AddressClaim;
use crate::metrics::Metrics;
use crate::secrets::Secrets;
use crate::shutdown::Shutdown;

/// State that the connections of all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    /// The configuration in use, which a reload replaces.
    config: watch::Sender<Arc<ServerConfig>>,
    pub(crate) registry: Arc<Registry>,
    /// The peers that have lost their connection and may come back.
    pub(crate) away: Away,
    /// What was read from files with secrets, which a reload replaces.
    secrets: RwLock<Arc<Secrets>>,
    pub(crate) metrics: Metrics,
    /// Memory for outboxes whose socket takes no more bytes.
    pub(crate) outboxes: Arc<Budget>,
    /// Memory for incoming frames that are incomplete.
    pub(crate) partial_frames: Arc<Budget>,
    pub(crate) shutdown: Shutdown,
}

impl Shared {
    pub(crate) fn new(config: ServerConfig, secrets: Secrets) -> Self {
        let clock = Clock::start();
        let may_resume_unknown = secrets.resume_keys.outlives_restart();
        let unknown_until = may_resume_unknown.then(|| clock.now() + config.extension.away_time);
        let outbox_total = config.limits.outbox_total_bytes;
        Self {
            clock: clock.clone(),
            config: watch::Sender::new(Arc::new(config)),
            registry: Arc::new(Registry::new()),
            away: Away::new(unknown_until),
            secrets: RwLock::new(Arc::new(secrets)),
            metrics: Metrics::default(),
            outboxes: Budget::with_reserve(outbox_total),
            partial_frames: Budget::with_reserve(outbox_total),
            shutdown: Shutdown::new(clock),
        }
    }

    /// Returns the configuration in use.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// Replaces the configuration in use.
    pub(crate) fn set_config(&self, config: ServerConfig) {
        self.config.send_replace(Arc::new(config));
    }

    /// Returns what was read from files with secrets.
    pub(crate) fn secrets(&self) -> Arc<Secrets> {
        Arc::clone(&self.secrets.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces what was read from files with secrets.
    pub(crate) fn set_secrets(&self, secrets: Secrets) {
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(secrets);
    }

    /// Returns a receiver of the configuration in use, and of those that replace it.
    pub(crate) fn watch_config(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.config.subscribe()
    }

    /// Counts and logs an address that a client claims for itself. It is ignored, because the
    /// client is not a trusted proxy.
    pub(crate) fn report_ignored_claim(&self, claim: AddressClaim, client: Option<IpAddr>) {
        match claim {
            AddressClaim::ForwardedFor => self.metrics.forwarded_ignored.increment(),
            AddressClaim::ProxyHeader => self.metrics.proxy_headers_ignored.increment(),
        }
        let address = client.and_then(|client| self.config().logged(client));
        tracing::warn!(
            claim = claim.as_str(),
            address,
            "forwarded address ignored: its sender is not in trusted-proxies"
        );
    }
}
