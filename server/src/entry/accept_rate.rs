//! How many connections are accepted per second.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use waddell_core::{Instant, Pacer, RateLimit};

/// The limit of connections that all listeners together accept a second.
///
/// Refused connections do not count. Unused connections are saved for a second. Connections beyond
/// the limit wait in the kernel's queues.
#[derive(Debug)]
pub(crate) struct AcceptRate(Mutex<Option<Pacer>>);

impl AcceptRate {
    /// `None` means no limit.
    pub(crate) fn new(limit: Option<NonZeroU32>, now: Instant) -> Self {
        Self(Mutex::new(pacer(limit, now)))
    }

    /// Replaces the limit. Connections accepted before do not count against the new one.
    pub(crate) fn set_limit(&self, limit: Option<NonZeroU32>, now: Instant) {
        *self.pacer() = pacer(limit, now);
    }

    /// Returns when the next connection may be accepted; `None` if that is now.
    pub(crate) fn paused_until(&self, now: Instant) -> Option<Instant> {
        self.pacer().as_ref().map(Pacer::ready_at).filter(|at| *at > now)
    }

    /// Counts an accepted connection.
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

/// Returns a pacer that counts each connection as a frame.
fn pacer(limit: Option<NonZeroU32>, now: Instant) -> Option<Pacer> {
    let limit = limit?;
    // A pacer also lets the connection pass that exceeds the burst.
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
    fn connections_of_a_second_are_accepted_at_once_and_then_the_rate_holds() {
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
    fn a_new_limit_holds_at_once() {
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
