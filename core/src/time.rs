//! Time as the state machines see it.

use core::num::NonZeroU64;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time: nanoseconds after an epoch that the caller picks.
///
/// The core reads no clock, and `std::time::Instant::now()` panics on `wasm32-unknown-unknown`.
/// Any epoch will do (the start of the process, the page's time origin, zero in a test) as long
/// as one driver keeps to one, and the times it passes in never go backwards.
///
/// It is 8 bytes long, and so is an `Option` of it: a server holds several for each connection.
/// The last point in time is 584 years after the epoch. Later ones count as that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    /// One more than the nanoseconds since the epoch.
    nanos_plus_1: NonZeroU64,
}

impl Instant {
    /// The caller's epoch.
    pub const EPOCH: Self = Self { nanos_plus_1: NonZeroU64::MIN };

    /// Returns the point in time `elapsed` after the caller's epoch.
    pub const fn since_epoch(elapsed: Duration) -> Self {
        Self { nanos_plus_1: NonZeroU64::MIN.saturating_add(nanos(elapsed)) }
    }

    /// Returns the point in time `duration` later; `None` if it is too far away to be told.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let nanos_plus_1 = self.nanos_plus_1.checked_add(nanos(duration))?;
        Some(Self { nanos_plus_1 })
    }

    /// Returns how long after the caller's epoch this is.
    pub const fn elapsed_since_epoch(self) -> Duration {
        Duration::from_nanos(self.nanos_plus_1.get() - 1)
    }
}

impl Default for Instant {
    /// Returns [`Instant::EPOCH`].
    fn default() -> Self {
        Self::EPOCH
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Returns the point in time `rhs` later, or the last one that can be told.
    fn add(self, rhs: Duration) -> Self {
        Self { nanos_plus_1: self.nanos_plus_1.saturating_add(nanos(rhs)) }
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Returns the time from `rhs` to this, or zero if `rhs` is later.
    fn sub(self, rhs: Self) -> Duration {
        Duration::from_nanos(self.nanos_plus_1.get().saturating_sub(rhs.nanos_plus_1.get()))
    }
}

/// Returns a duration in nanoseconds, or the most that 8 bytes can say.
const fn nanos(duration: Duration) -> u64 {
    // Not `as_nanos`: code for u128 would be a hundredth of a browser's module.
    let secs = duration.as_secs();
    if secs > u64::MAX / NANOS_PER_SEC {
        return u64::MAX;
    }
    (secs * NANOS_PER_SEC).saturating_add(duration.subsec_nanos() as u64)
}

const NANOS_PER_SEC: u64 = 1_000_000_000;

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
        assert_eq!(early.checked_add(Duration::from_secs(2)), Some(late));
        assert_eq!(late.checked_add(Duration::MAX), None);
        assert_eq!(late.checked_add(Duration::from_nanos(u64::MAX)), None);
        assert!(early < late);
    }

    #[test]
    fn the_epoch_is_zero_and_nanoseconds_are_kept() {
        assert_eq!(Instant::default().elapsed_since_epoch(), Duration::ZERO);
        let odd = Duration::new(123_456, 789_012_345);
        assert_eq!(Instant::since_epoch(odd).elapsed_since_epoch(), odd);
    }

    #[test]
    fn an_option_of_it_takes_8_bytes() {
        assert_eq!(size_of::<Option<Instant>>(), 8);
    }
}
