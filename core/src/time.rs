//! Time as the state machines see it.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time: how long after an epoch that the caller picks.
///
/// The core reads no clock, and `std::time::Instant::now()` panics on `wasm32-unknown-unknown`.
/// Any epoch will do (the start of the process, the page's time origin, zero in a test) as long
/// as one driver keeps to one, and the times it passes in never go backwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    /// The point in time `elapsed` after the caller's epoch.
    pub const fn since_epoch(elapsed: Duration) -> Self {
        Self(elapsed)
    }

    /// Returns how long after the caller's epoch this is.
    pub const fn elapsed_since_epoch(self) -> Duration {
        self.0
    }

    /// Returns the time from `earlier` to this, or zero if `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// The point in time `rhs` later, or the last one that can be told.
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// The time from `rhs` to this, or zero if `rhs` is later.
    fn sub(self, rhs: Self) -> Duration {
        self.saturating_duration_since(rhs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_never_negative_and_sums_never_overflow() {
        let early = Instant::since_epoch(Duration::from_secs(1));
        let late = early + Duration::from_secs(2);
        assert_eq!(late.elapsed_since_epoch(), Duration::from_secs(3));
        assert_eq!(late - early, Duration::from_secs(2));
        assert_eq!(early - late, Duration::ZERO);
        assert_eq!(late + Duration::MAX, Instant::since_epoch(Duration::MAX));
        assert!(early < late);
    }
}
