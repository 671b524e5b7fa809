//! The server's clock.

#[cfg(any(test, feature = "internals"))]
use std::sync::{Arc, Mutex, PoisonError};

use std::time::SystemTime;

use tokio::time::Instant as TokioInstant;
use waddell_core::Instant;

/// Returns the time of the system in Unix seconds, for what is compared with other machines.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A clock of the core's instants. The epoch is the server's start.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    epoch: TokioInstant,
    /// The time that a simulation has set.
    #[cfg(any(test, feature = "internals"))]
    by_hand: Option<Arc<Mutex<Instant>>>,
}

impl Clock {
    /// Starts a clock at [`Instant::EPOCH`].
    pub(crate) fn start() -> Self {
        Self {
            epoch: TokioInstant::now(),
            #[cfg(any(test, feature = "internals"))]
            by_hand: None,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        #[cfg(any(test, feature = "internals"))]
        if let Some(now) = &self.by_hand {
            return *now.lock().unwrap_or_else(PoisonError::into_inner);
        }
        Instant::since_epoch(self.epoch.elapsed())
    }

    /// Returns the same point in time for tokio's timers.
    pub(crate) fn timer(&self, at: Instant) -> TokioInstant {
        self.epoch + at.elapsed_since_epoch()
    }

    /// Makes a clock that shows [`Instant::EPOCH`] until it is set.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn by_hand() -> Self {
        Self { by_hand: Some(Arc::new(Mutex::new(Instant::EPOCH))), ..Self::start() }
    }

    /// Sets a clock that was made by hand, and all its clones.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn set(&self, now: Instant) {
        if let Some(by_hand) = &self.by_hand {
            *by_hand.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
    }
}
