//! The server's one clock.

use tokio::time::Instant as Tokio;
use waddell_core::Instant;

/// Tells the time in the core's terms: the server's start is the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Tokio,
}

impl Clock {
    /// Starts a clock, which shows [`Instant::EPOCH`].
    pub(crate) fn start() -> Self {
        Self { epoch: Tokio::now() }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::since_epoch(self.epoch.elapsed())
    }

    /// Returns the same point in time in the terms of tokio's timers.
    pub(crate) fn timer(self, at: Instant) -> Tokio {
        self.epoch + at.elapsed_since_epoch()
    }
}
