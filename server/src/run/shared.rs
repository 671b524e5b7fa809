//! What all of a server's workers share.

mod notes;

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;
use waddell_core::{Instant, PeerId};

use crate::admission::Admissions;
use crate::clock::Clock;
use crate::config::{Limits, ServerConfig};
use crate::entry::accept_rate::AcceptRate;
use crate::entry::tls::Acceptors;
use crate::forward::memory::Memory;
use crate::forward::peer::Peer;
use crate::forward::registry::Registry;
use crate::forward::unfinished::Unfinished;
use crate::metrics::Metrics;
use crate::run::drain::Schedule;
use crate::run::workers::WorkerProbe;
use notes::Notes;

#[derive(Debug)]
pub(crate) struct Shared {
    /// The configuration in use, which a reload replaces.
    config: watch::Sender<Arc<ServerConfig>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: Metrics,
    pub(crate) memory: Memory,
    pub(crate) unfinished: Unfinished,
    pub(crate) admissions: Arc<Admissions>,
    pub(crate) accept_rate: AcceptRate,
    pub(crate) tls: Option<Acceptors>,
    /// The workers, once they accept connections.
    workers: watch::Sender<Option<Arc<WorkerProbe>>>,
    notes: Notes,
    phase: AtomicU8,
    /// Set once connections are to hang up.
    schedule: OnceLock<Schedule>,
    /// How many peers have not settled.
    unsettled: AtomicUsize,
    /// Told when all peers have.
    settled: Notify,
    /// Set once nobody is accepted any more: by when handshakes have to be done.
    last_call: watch::Sender<Option<Instant>>,
    pub(crate) clock: Clock,
}

/// How far a server's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Running,
    /// Nobody new should come, for this server is about to go; those who do come are served.
    Leaving,
    /// Connections take in what has already arrived.
    Settling,
    /// Connections deliver what waits, and hang up, each at its time.
    Closing,
}

impl Shared {
    pub(crate) fn new(config: ServerConfig, tls: Option<Acceptors>) -> Self {
        let Limits {
            max_connections,
            max_connections_per_address,
            outbox_total_bytes,
            accept_rate,
            ..
        } = config.limits;
        let admissions = Admissions::new(max_connections, max_connections_per_address);
        let memory = Memory::new(outbox_total_bytes);
        let unfinished = Unfinished::new(outbox_total_bytes);
        let accept_rate = AcceptRate::new(accept_rate, Instant::EPOCH);
        Self {
            config: watch::Sender::new(Arc::new(config)),
            registry: Arc::new(Registry::new()),
            metrics: Metrics::default(),
            memory,
            unfinished,
            admissions: Arc::new(admissions),
            accept_rate,
            tls,
            workers: watch::Sender::new(None),
            notes: Notes::default(),
            phase: AtomicU8::new(Phase::Running as u8),
            schedule: OnceLock::new(),
            unsettled: AtomicUsize::new(0),
            settled: Notify::new(),
            last_call: watch::Sender::new(None),
            clock: Clock::start(),
        }
    }

    /// Returns when the certificate expires, in seconds since 1970, if there is one that says so.
    pub(crate) fn certificate_expires(&self) -> Option<u64> {
        let expires = self.tls.as_ref()?.certificate.expires()?;
        expires.duration_since(SystemTime::UNIX_EPOCH).ok().map(|time| time.as_secs())
    }

    /// Returns the configuration in use.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// Replaces the configuration in use.
    pub(crate) fn set_config(&self, config: ServerConfig) {
        self.config.send_replace(Arc::new(config));
    }

    /// Returns a receiver of the configuration in use, and of those that replace it.
    pub(crate) fn watch_config(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.config.subscribe()
    }

    /// Takes note that the workers accept connections.
    pub(crate) fn begin_serving(&self, workers: WorkerProbe) {
        self.workers.send_replace(Some(Arc::new(workers)));
    }

    /// Waits until the workers accept connections, and returns what asks them how they are.
    pub(crate) async fn serving(&self) -> Arc<WorkerProbe> {
        loop {
            let mut workers = self.workers.subscribe();
            // The sender is part of this: it is not gone.
            if let Ok(workers) = workers.wait_for(Option::is_some).await
                && let Some(workers) = &*workers
            {
                return Arc::clone(workers);
            }
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Leaving,
            2 => Phase::Settling,
            _ => Phase::Closing,
        }
    }

    /// Says that nobody new should come. To connections it makes no difference.
    pub(crate) fn begin_leaving(&self) {
        self.phase.store(Phase::Leaving as u8, Ordering::Release);
    }

    /// Begins a phase, and wakes every connection to take part in it.
    pub(crate) fn begin_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        self.registry.for_each(Peer::wake_owner);
    }

    /// Has every connection hang up when the schedule says so.
    pub(crate) fn begin_closing(&self, schedule: Schedule) {
        let first = self.schedule.set(schedule);
        debug_assert!(first.is_ok(), "a server shuts down once");
        self.begin_phase(Phase::Closing);
    }

    /// Returns when that peer is to be hung up; `None` unless the time has been set.
    pub(crate) fn hang_up_at(&self, peer: PeerId) -> Option<Instant> {
        self.schedule.get().map(|schedule| schedule.due(peer))
    }

    /// Takes note of a peer that has to settle before anybody is hung up.
    pub(crate) fn peer_is_unsettled(&self) {
        self.unsettled.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note that such a peer has settled or ended.
    pub(crate) fn peer_has_settled(&self) {
        // What the peer's frames have changed is there for whoever sees that nobody is left.
        if self.unsettled.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.settled.notify_one();
        }
    }

    /// Waits until every peer has settled.
    pub(crate) async fn all_settled(&self) {
        while self.unsettled.load(Ordering::Acquire) > 0 {
            self.settled.notified().await;
        }
    }

    /// Says by when the handshakes in progress have to be done; no more will begin.
    pub(crate) fn begin_last_call(&self, until: Instant) {
        self.last_call.send_replace(Some(until));
    }

    /// Says whether nobody is accepted any more.
    pub(crate) fn is_last_call(&self) -> bool {
        self.last_call.borrow().is_some()
    }

    /// Waits until nobody is accepted any more, and returns by when handshakes have to be done.
    pub(crate) async fn last_call(&self) -> Instant {
        let mut last_call = self.last_call.subscribe();
        loop {
            // The sender is part of this: it is not gone.
            if let Ok(until) = last_call.wait_for(Option::is_some).await
                && let Some(until) = *until
            {
                return until;
            }
        }
    }

    /// Waits until nobody is accepted any more, and handshakes should have been done as well.
    pub(crate) async fn last_call_is_over(&self) {
        sleep_until(self.clock.timer(self.last_call().await)).await;
    }
}
