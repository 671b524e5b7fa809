//! The end of a server's life: its phases, who does what in each, and when.
//!
//! ```text
//!   Serving
//!      |  the server is told to stop
//!   Unready     /readyz says 503; connections are accepted as before
//!      |  after the drain delay
//!   LastReads   listeners are closed; handshakes in progress have a deadline; each connection
//!      |        reads and forwards what it has received
//!      |  once every connection has done so
//!   Closing     each peer is closed at its own time, after its outbox is written
//!      |  once no connection is left, or the drain timeout has passed
//!   (end)
//! ```
//!
//! No peer is closed before all have done their last read: so a frame that a peer sent before the
//! shutdown reaches its recipient.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant as TokioInstant, sleep, sleep_until, timeout};
use waddell_core::{Instant, PeerId};

use crate::clock::Clock;
use crate::config::Timeouts;
use crate::ids;

/// The state of a shutdown, which connections, handshakes and `/readyz` look at.
#[derive(Debug)]
pub(crate) struct Shutdown {
    clock: Clock,
    phase: AtomicU8,
    /// Peers that have not done their last read.
    unread: AtomicUsize,
    /// Notified when all peers have.
    all_read: Notify,
    /// Set at the end of accepting: the deadline of the handshakes in progress.
    handshake_deadline: watch::Sender<Option<Instant>>,
    /// Set when [`Phase::Closing`] begins.
    schedule: OnceLock<Schedule>,
}

/// How far a server's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Serving,
    Unready,
    LastReads,
    Closing,
}

/// What a shutdown does to the rest of the server.
pub(crate) trait Steps {
    /// Returns the timeouts that are configured at the moment.
    fn timeouts(&self) -> Timeouts;

    /// Closes the listeners. Completes once each accepted connection is with its worker.
    async fn stop_accepting(&self);

    /// Wakes the task of every peer, so that it looks at the phase.
    fn wake_peers(&self);

    /// Returns how many peers are connected.
    fn peers(&self) -> usize;

    /// Completes once no connection is left.
    async fn all_closed(&self);
}

/// The drain timeout passed before all connections were closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedOut;

impl Shutdown {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            phase: AtomicU8::new(Phase::Serving as u8),
            unread: AtomicUsize::new(0),
            all_read: Notify::new(),
            handshake_deadline: watch::Sender::new(None),
            schedule: OnceLock::new(),
        }
    }

    /// Goes through all phases.
    pub(crate) async fn run(&self, server: &impl Steps) -> Result<(), TimedOut> {
        self.enter(Phase::Unready);
        let drain_delay = server.timeouts().drain_delay;
        if !drain_delay.is_zero() {
            tracing::info!(
                ?drain_delay,
                "not ready; accepting connections until the delay is over"
            );
            sleep(drain_delay).await;
        }
        let drain = server.timeouts().drain;
        timeout(drain, self.drain(server, drain)).await.map_err(|_elapsed| TimedOut)
    }

    async fn drain(&self, server: &impl Steps, drain_timeout: Duration) {
        server.stop_accepting().await;
        let deadline = self.clock.now() + drain_timeout / HANDSHAKES_PART;
        self.handshake_deadline.send_replace(Some(deadline));
        self.enter(Phase::LastReads);
        server.wake_peers();
        while self.unread.load(Ordering::Acquire) > 0 {
            self.all_read.notified().await;
        }
        let schedule = Schedule::new(server.peers(), drain_timeout, self.clock.now());
        let first = self.schedule.set(schedule);
        debug_assert!(first.is_ok(), "a server shuts down once");
        self.enter(Phase::Closing);
        server.wake_peers();
        server.all_closed().await;
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Unready,
            2 => Phase::LastReads,
            _ => Phase::Closing,
        }
    }

    /// Returns when that peer is to be closed; `None` before [`Phase::Closing`].
    pub(crate) fn close_at(&self, peer: PeerId) -> Option<Instant> {
        self.schedule.get().map(|schedule| schedule.due(peer))
    }

    /// Counts a peer that has to do its last read before any peer is closed.
    pub(crate) fn expect_last_read(&self) {
        self.unread.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that such a peer has done its last read, or has ended.
    pub(crate) fn last_read_done(&self) {
        // What the peer's frames have changed is visible once the count is seen to be zero.
        if self.unread.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all_read.notify_one();
        }
    }

    /// Returns whether the listeners are closed.
    pub(crate) fn has_stopped_accepting(&self) -> bool {
        self.handshake_deadline.borrow().is_some()
    }

    /// Waits until the listeners are closed, and returns the deadline of handshakes in progress.
    pub(crate) async fn handshake_deadline(&self) -> TokioInstant {
        let mut deadline = self.handshake_deadline.subscribe();
        loop {
            // Fails only if the sender is gone, which is a part of this.
            if let Ok(deadline) = deadline.wait_for(Option::is_some).await
                && let Some(deadline) = *deadline
            {
                return self.clock.timer(deadline);
            }
        }
    }

    /// Completes when handshakes in progress are to be given up.
    pub(crate) async fn handshakes_over(&self) {
        sleep_until(self.handshake_deadline().await).await;
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }
}

/// When each peer is closed. Peers are spread over some time, so that not all come back at once.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    begin: Instant,
    length: Duration,
}

impl Schedule {
    /// Spreads the peers by [`PAUSE`] each, which is 2,000 a second, but over no more than four
    /// fifths of the drain timeout. The rest is for the last peers' outboxes.
    fn new(peers: usize, drain_timeout: Duration, begin: Instant) -> Self {
        let peers = u32::try_from(peers).unwrap_or(u32::MAX);
        let length = PAUSE.saturating_mul(peers).min(drain_timeout / 5 * 4);
        Self { begin, length }
    }

    fn due(&self, peer: PeerId) -> Instant {
        let part = f64::from(ids::spread(peer)) / (f64::from(u32::MAX) + 1.0);
        self.begin + self.length.mul_f64(part)
    }
}

/// Handshakes in progress have this fraction of the drain timeout: more than a few round trips, and
/// little enough that silent clients hardly delay the shutdown.
const HANDSHAKES_PART: u32 = 5;

/// Time between the closing of one peer and the next.
const PAUSE: Duration = Duration::from_micros(500);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const DELAY: Duration = Duration::from_secs(3);
    const DRAIN: Duration = Duration::from_secs(10);

    /// A server that only writes down what is done to it.
    struct Fake<'a> {
        shutdown: &'a Shutdown,
        steps: Mutex<Vec<(Duration, &'static str, Phase)>>,
        closes: bool,
    }

    impl<'a> Fake<'a> {
        fn new(shutdown: &'a Shutdown, closes: bool) -> Self {
            Self { shutdown, steps: Mutex::default(), closes }
        }

        fn note(&self, step: &'static str) {
            let now = self.shutdown.clock.now().elapsed_since_epoch();
            self.steps.lock().unwrap().push((now, step, self.shutdown.phase()));
        }
    }

    impl Steps for Fake<'_> {
        fn timeouts(&self) -> Timeouts {
            Timeouts { drain_delay: DELAY, drain: DRAIN, ..Timeouts::default() }
        }

        async fn stop_accepting(&self) {
            self.note("stop accepting");
            assert!(!self.shutdown.has_stopped_accepting());
        }

        fn wake_peers(&self) {
            self.note("wake peers");
        }

        fn peers(&self) -> usize {
            2_000
        }

        async fn all_closed(&self) {
            self.note("all closed");
            if !self.closes {
                std::future::pending::<()>().await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_phases_come_in_order_and_none_begins_before_the_last_reads_are_done() {
        let shutdown = Shutdown::new(Clock::start());
        let server = Fake::new(&shutdown, true);
        shutdown.expect_last_read();
        shutdown.expect_last_read();
        assert_eq!((shutdown.phase(), shutdown.close_at(PeerId::NIL)), (Phase::Serving, None));
        let reads = async {
            // The second peer is late, as one with much to read is.
            for seconds in [1, 2] {
                sleep(DELAY + Duration::from_secs(seconds)).await;
                shutdown.last_read_done();
            }
        };
        let (ended, ()) = tokio::join!(shutdown.run(&server), reads);
        assert_eq!(ended, Ok(()));
        let late = 2 * DELAY + Duration::from_secs(3);
        assert_eq!(
            *server.steps.lock().unwrap(),
            [
                (DELAY, "stop accepting", Phase::Unready),
                (DELAY, "wake peers", Phase::LastReads),
                (late, "wake peers", Phase::Closing),
                (late, "all closed", Phase::Closing),
            ]
        );
        let first = shutdown.close_at(PeerId::from_bytes([0; 16])).unwrap();
        let last = shutdown.close_at(PeerId::from_bytes([0xff; 16])).unwrap();
        assert_eq!(first, Instant::EPOCH + late);
        assert!((999..=1_000).contains(&(last - first).as_millis()));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_stay_do_not_keep_the_server_beyond_the_drain_timeout() {
        let shutdown = Shutdown::new(Clock::start());
        let ended = shutdown.run(&Fake::new(&shutdown, false)).await;
        assert_eq!(ended, Err(TimedOut));
        assert_eq!(shutdown.clock.now(), Instant::EPOCH + DELAY + DRAIN);
    }

    #[tokio::test(start_paused = true)]
    async fn handshakes_have_a_fifth_of_the_time() {
        let shutdown = Shutdown::new(Clock::start());
        let server = Fake::new(&shutdown, false);
        tokio::select! {
            _ = shutdown.run(&server) => panic!("there is a connection left"),
            () = shutdown.handshakes_over() => {}
        }
        assert_eq!(shutdown.clock.now(), Instant::EPOCH + DELAY + DRAIN / 5);
        assert!(shutdown.has_stopped_accepting());
    }

    fn length(peers: usize, drain_timeout: Duration) -> Duration {
        Schedule::new(peers, drain_timeout, Instant::EPOCH).length
    }

    #[test]
    fn few_are_closed_at_once_and_many_take_most_of_the_time() {
        let usual = Duration::from_secs(10);
        assert_eq!(length(0, usual), Duration::ZERO);
        assert_eq!(length(3, usual), Duration::from_micros(1_500));
        assert_eq!(length(2_000, usual), Duration::from_secs(1));
        assert_eq!(length(20_000, usual), Duration::from_secs(8));
        assert_eq!(length(usize::MAX, usual), Duration::from_secs(8));
        assert_eq!(length(20_000, Duration::from_secs(3600)), Duration::from_secs(10));
        assert_eq!(length(20_000, Duration::from_millis(1)), Duration::from_micros(800));
    }

    #[test]
    fn each_is_closed_within_the_time_and_evenly_so() {
        let begin = Instant::EPOCH;
        let schedule = Schedule { begin, length: Duration::from_secs(8) };
        let due = |first: u8| {
            let mut id = [0xff; 16];
            id[0] = first;
            id[1] = 0;
            (schedule.due(PeerId::from_bytes(id)) - begin).as_secs()
        };
        assert_eq!([0x00, 0x40, 0x80, 0xc0].map(due), [0, 2, 4, 6]);
        let last = schedule.due(PeerId::from_bytes([0xff; 16]));
        assert!(last < begin + schedule.length);
    }
}
