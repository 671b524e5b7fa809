//! The end of a server's life: who is told when.

use std::time::Duration;

use tokio::sync::watch;
use waddell_core::{Instant, PeerId};

use crate::ids;
use crate::run::shared::{Phase, Shared};

/// When each peer is hung up by a server that shuts down: spread over some time, so that not all
/// come back at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    begin: Instant,
    length: Duration,
}

impl Schedule {
    /// Spreads so many peers: by 500 µs each, which is 2,000 a second, but over no more than four
    /// fifths of the time that the shutdown may take. The rest is for the last ones' deliveries.
    fn new(peers: usize, drain_timeout: Duration, begin: Instant) -> Self {
        let peers = u32::try_from(peers).unwrap_or(u32::MAX);
        let length = PAUSE.saturating_mul(peers).min(drain_timeout / 5 * 4);
        Self { begin, length }
    }

    /// When that peer is hung up. Ids are random, so that peers are spread evenly.
    pub(crate) fn due(&self, peer: PeerId) -> Instant {
        let part = f64::from(ids::spread(peer)) / (f64::from(u32::MAX) + 1.0);
        self.begin + self.length.mul_f64(part)
    }
}

/// Handshakes in progress have one in so many parts of the time that the shutdown may take: more
/// than a few round trips, and little enough that clients who say nothing hardly matter.
const HANDSHAKES_PART: u32 = 5;

/// Time from one peer to the next.
const PAUSE: Duration = Duration::from_micros(500);

/// Ends the accept loops, lets what has arrived be forwarded, then all hang up, each once what
/// waits for it is delivered. Clients whose handshakes are in progress become peers meanwhile, and
/// are hung up as well.
pub(crate) async fn drain(shared: &Shared, stop: watch::Sender<bool>, drain_timeout: Duration) {
    // Fails if nobody listens any more.
    let _ = stop.send(true);
    // Each accept loop hands over what it has accepted, and each worker takes that on before it
    // answers.
    stop.closed().await;
    shared.serving().await.answered().await;
    shared.begin_last_call(shared.clock.now() + drain_timeout / HANDSHAKES_PART);
    shared.begin_phase(Phase::Settling);
    shared.all_settled().await;
    shared.begin_closing(Schedule::new(shared.registry.len(), drain_timeout, shared.clock.now()));
    shared.admissions.all_gone().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(peers: usize, drain_timeout: Duration) -> Duration {
        Schedule::new(peers, drain_timeout, Instant::EPOCH).length
    }

    #[test]
    fn few_are_hung_up_at_once_and_many_take_most_of_the_time() {
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
    fn each_is_hung_up_within_the_time_and_evenly_so() {
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
