//! How many connections are accepted a second.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use waddell_core::{Instant, Pacer, RateLimit};

/// How many connections all listeners together take on a second; those that are refused do not
/// count. What was not used is saved up for
/// a second; beyond that, connections wait in the kernel's queues.
#[derive(Debug)]
pub(crate) struct AcceptRate(Mutex<Option<Pacer>>);

impl AcceptRate {
    /// `None` is no limit.
    pub(crate) fn new(limit: Option<NonZeroU32>, now: Instant) -> Self {
        Self(Mutex::new(pacer(limit, now)))
    }

    /// Begins anew with another limit.
    pub(crate) fn set_limit(&self, limit: Option<NonZeroU32>, now: Instant) {
        *self.pacer() = pacer(limit, now);
    }

    /// Returns when the next connection may be accepted; `None` if that is now.
    pub(crate) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.pacer().as_ref().map(Pacer::ready_at).filter(|at| *at > now)
    }

    /// Counts a connection that was taken on.
    pub(crate) fn charge(&self, now: Instant) {
        if let Some(pacer) = &mut *self.pacer() {
            pacer.charge(1, 0, now);
        }
    }

    fn pacer(&self) -> MutexGuard<'_, Option<Pacer>> {
        let Self(pacer) = self;
        pacer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection is to an [`AcceptRate`] what a frame is to a peer's rate.
fn pacer(limit: Option<NonZeroU32>, now: Instant) -> Option<Pacer> {
    let limit = limit?;
    // A pacer lets the one pass that exceeds its burst.
    let burst = Duration::from_secs(1) - Duration::from_secs(1) / limit.get();
    let limit = RateLimit { frames_per_second: Some(limit), bytes_per_second: None, burst };
    Some(Pacer::new(limit, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::since_epoch(Duration::from_millis(1_000_000 + millis))
    }

    #[test]
    fn a_second_s_worth_may_come_at_once_and_then_the_rate_holds() {
        let rate = AcceptRate::new(NonZeroU32::new(10), at(0));
        let accept = |now| {
            (0..)
                .take_while(|_| {
                    let ready = rate.paused_until(now).is_none();
                    if ready {
                        rate.charge(now);
                    }
                    ready
                })
                .count()
        };
        assert_eq!(accept(at(0)), 10);
        assert_eq!(rate.paused_until(at(0)), Some(at(100)));
        assert_eq!(accept(at(100)), 1);
        assert_eq!(accept(at(60_000)), 10);
    }

    #[test]
    fn another_limit_holds_at_once() {
        let rate = AcceptRate::new(None, at(0));
        (0..1000).for_each(|_| rate.charge(at(0)));
        assert_eq!(rate.paused_until(at(0)), None);
        rate.set_limit(NonZeroU32::new(1), at(0));
        rate.charge(at(0));
        assert_eq!(rate.paused_until(at(0)), Some(at(1000)));
        rate.set_limit(None, at(0));
        assert_eq!(rate.paused_until(at(0)), None);
    }
}
