//! Whether a WebSocket peer lives.

use std::time::Duration;

use waddell_core::{Instant, PeerId};

use crate::config::Timeouts;
use crate::ids;

/// Finds out whether a WebSocket peer lives.
#[derive(Debug)]
pub(super) struct Pings {
    ping_at: Instant,
    /// When to give up unless something is heard before.
    pong_by: Option<Instant>,
}

pub(super) enum Beat {
    Wait,
    Ping,
    Dead,
}

impl Pings {
    pub(super) fn new(interval: Duration, peer: PeerId, now: Instant) -> Self {
        Self { ping_at: now + Self::interval(interval, peer), pong_by: None }
    }

    /// The time between two pings of one peer: the configured one, give or take a tenth, so that
    /// peers that came together do not stay together.
    fn interval(interval: Duration, peer: PeerId) -> Duration {
        interval * (921 + (ids::spread(peer) >> 24)) / 1024
    }

    /// The peer has sent something: it lives.
    pub(super) fn heard(&mut self) {
        self.pong_by = None;
    }

    pub(super) fn due(&self) -> Instant {
        self.pong_by.map_or(self.ping_at, |by| by.min(self.ping_at))
    }

    pub(super) fn beat(&mut self, timeouts: &Timeouts, peer: PeerId, now: Instant) -> Beat {
        if self.pong_by.is_some_and(|by| by <= now) {
            return Beat::Dead;
        }
        if now < self.ping_at {
            return Beat::Wait;
        }
        self.ping_at = now + Self::interval(timeouts.ping_interval, peer);
        // A ping that is due while an answer is awaited does not put off the end.
        self.pong_by = self.pong_by.or(Some(now + timeouts.pong));
        Beat::Ping
    }
}
