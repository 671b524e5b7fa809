//! When a WebSocket peer is pinged, and when it has to answer.

use std::time::Duration;

use waddell_core::{Instant, PeerId};

use crate::config::Timeouts;
use crate::ids;

/// When a WebSocket peer is pinged, and when it has to answer.
#[derive(Debug)]
pub(super) struct Pings {
    next: Instant,
    /// Set while the answer to a ping is outstanding.
    pong_by: Option<Instant>,
}

impl Pings {
    pub(super) fn new(timeouts: &Timeouts, peer: PeerId, now: Instant) -> Self {
        Self { next: now + interval(timeouts, peer), pong_by: None }
    }

    /// Returns when the next ping is due.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Returns when the peer counts as gone, unless it sends anything before.
    pub(super) fn pong_by(&self) -> Option<Instant> {
        self.pong_by
    }

    /// Records that the peer is alive: it has sent something, or cannot be expected to.
    pub(super) fn heard(&mut self) {
        self.pong_by = None;
    }

    /// Records that the peer is pinged.
    pub(super) fn pinged(&mut self, timeouts: &Timeouts, peer: PeerId, now: Instant) {
        self.next = now + interval(timeouts, peer);
        // A ping while an answer is outstanding does not extend the time for the answer.
        self.pong_by.get_or_insert(now + timeouts.pong);
    }
}

/// Returns the time between two pings of one peer: from 10 % less to 15 % more than configured, so
/// that peers that connected together are not pinged together.
fn interval(timeouts: &Timeouts, peer: PeerId) -> Duration {
    let random = ids::spread(peer) >> 24;
    timeouts.ping_interval.saturating_mul(921 + random) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_peers_are_from_a_tenth_less_to_three_twentieths_more() {
        let timeouts = Timeouts::default();
        let of = |first| interval(&timeouts, PeerId::from_bytes([first; 16]));
        let (least, most) = (timeouts.ping_interval * 89 / 100, timeouts.ping_interval * 115 / 100);
        assert!((0..=0xff).all(|first| (least..=most).contains(&of(first))));
        assert!(of(0xff) - of(0) >= timeouts.ping_interval / 5);
    }

    #[test]
    fn no_interval_is_too_long() {
        let timeouts = Timeouts { ping_interval: Duration::MAX, ..Timeouts::default() };
        let pings = Pings::new(&timeouts, PeerId::from_bytes([0xff; 16]), Instant::EPOCH);
        assert_eq!(pings.next(), Instant::EPOCH + Duration::MAX);
    }

    #[test]
    fn a_second_ping_does_not_extend_the_time_for_the_answer() {
        let (timeouts, peer) = (Timeouts::default(), PeerId::NIL);
        let mut pings = Pings::new(&timeouts, peer, Instant::EPOCH);
        let first = pings.next();
        pings.pinged(&timeouts, peer, first);
        assert_eq!(pings.pong_by(), Some(first + timeouts.pong));
        pings.pinged(&timeouts, peer, pings.next());
        assert_eq!(pings.pong_by(), Some(first + timeouts.pong));
        pings.heard();
        assert_eq!(pings.pong_by(), None);
    }
}
