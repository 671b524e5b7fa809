//! Keeps a line that clients can cause by the thousand from filling the log.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets a line be logged once in a while, and counts those that were not.
#[derive(Debug, Default)]
pub(crate) struct Flood(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    quiet_until: Option<Instant>,
    unsaid: u64,
}

impl Flood {
    /// Shortest time between two such lines.
    const QUIET: Duration = Duration::from_secs(10);

    /// Returns how often it has happened since it was last said, this time included; `None` if
    /// this time is not to be said either.
    pub(crate) fn say(&self, now: Instant) -> Option<u64> {
        let Self(state) = self;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.unsaid += 1;
        if state.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        state.quiet_until = Some(now + Self::QUIET);
        Some(std::mem::take(&mut state.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_rest_are_counted() {
        let flood = Flood::default();
        let start = Instant::now();
        assert_eq!(flood.say(start), Some(1));
        for millis in 0..9_999 {
            assert_eq!(flood.say(start + Duration::from_millis(millis)), None);
        }
        assert_eq!(flood.say(start + Flood::QUIET), Some(10_000));
        assert_eq!(flood.say(start + Flood::QUIET), None);
    }
}
