//! How fast a peer may send.

use core::num::NonZeroU32;
use core::time::Duration;

use crate::time::Instant;

/// How fast a peer may send, in the long run and at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Most frames a second. `None`: no limit.
    pub frames_per_second: Option<NonZeroU32>,
    /// Most bytes a second, prefixes included. `None`: no limit.
    pub bytes_per_second: Option<NonZeroU32>,
    /// How much may arrive at once after a pause: as much as the rates allow in this time.
    pub burst: Duration,
}

/// Keeps a peer to its rates by saying when to read on, so that no frame is lost.
///
/// Each rate is a leaky bucket, kept as the time at which it will be empty. A frame moves that time
/// by its share of a second. The peer is paused while the time is further off than the burst.
#[derive(Debug)]
pub struct Pacer {
    limit: RateLimit,
    frames_empty_at: Instant,
    bytes_empty_at: Instant,
}

impl Pacer {
    /// Makes the pacer of a peer that has sent nothing yet.
    pub fn new(limit: RateLimit, now: Instant) -> Self {
        Self { limit, frames_empty_at: now, bytes_empty_at: now }
    }

    /// Returns the limit to which the peer is kept.
    pub fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Counts that many frames, of `bytes` bytes together.
    pub fn charge(&mut self, frames: usize, bytes: usize, now: Instant) {
        if let Some(rate) = self.limit.frames_per_second {
            self.frames_empty_at = self.frames_empty_at.max(now) + share(frames as u64, rate);
        }
        if let Some(rate) = self.limit.bytes_per_second {
            self.bytes_empty_at = self.bytes_empty_at.max(now) + share(bytes as u64, rate);
        }
    }

    /// Returns when the peer may be read from again.
    pub fn ready_at(&self) -> Instant {
        let empty_at = self.frames_empty_at.max(self.bytes_empty_at);
        Instant::since_epoch(empty_at.elapsed_since_epoch().saturating_sub(self.limit.burst))
    }
}

/// Returns the time that `count` units take at `rate` units a second.
fn share(count: u64, rate: NonZeroU32) -> Duration {
    Duration::from_nanos(count.saturating_mul(1_000_000_000) / u64::from(rate.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::since_epoch(Duration::from_millis(1_000_000 + millis))
    }

    fn limit(frames: u32, bytes: u32, burst_millis: u64) -> RateLimit {
        RateLimit {
            frames_per_second: NonZeroU32::new(frames),
            bytes_per_second: NonZeroU32::new(bytes),
            burst: Duration::from_millis(burst_millis),
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut pacer = Pacer::new(limit(100, 0, 200), at(0));
        for _ in 0..20 {
            pacer.charge(1, 50, at(0));
            assert!(pacer.ready_at() <= at(0), "20 frames are the burst of 200 ms");
        }
        pacer.charge(1, 50, at(0));
        assert_eq!(pacer.ready_at(), at(10));
        pacer.charge(1, 50, at(10));
        assert_eq!(pacer.ready_at(), at(20));
    }

    #[test]
    fn an_unused_rate_is_saved_up_to_the_burst() {
        let mut pacer = Pacer::new(limit(100, 0, 200), at(0));
        for _ in 0..21 {
            pacer.charge(1, 50, at(60_000));
        }
        assert_eq!(pacer.ready_at(), at(60_010));
    }

    #[test]
    fn bytes_count_as_well_and_the_slower_rate_rules() {
        let mut pacer = Pacer::new(limit(1000, 1000, 0), at(0));
        pacer.charge(1, 500, at(0));
        assert_eq!(pacer.ready_at(), at(500));
        let mut pacer = Pacer::new(limit(1, 1_000_000, 0), at(0));
        pacer.charge(1, 500, at(0));
        assert_eq!(pacer.ready_at(), at(1000));
    }

    #[test]
    fn in_the_long_run_no_more_passes_than_the_rate_allows() {
        let mut pacer = Pacer::new(limit(333, 0, 100), at(0));
        let mut now = at(0);
        let mut frames = 0_u32;
        while now < at(10_000) {
            if pacer.ready_at() <= now {
                pacer.charge(1, 20, now);
                frames += 1;
            } else {
                now = pacer.ready_at();
            }
        }
        assert!((3330..=3330 + 34).contains(&frames), "{frames}");
    }
}
