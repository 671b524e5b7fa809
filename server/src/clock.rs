//! The server's clock.

use tokio::time::Instant as Tokio;
use waddell_core::Instant;

/// A clock of the core's instants. The epoch is the server's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: Tokio,
}

impl Clock {
    /// Starts a clock at [`Instant::EPOCH`].
    pub(crate) fn start() -> Self {
        Self { epoch: Tokio::now() }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::since_epoch(self.epoch.elapsed())
    }

    /// Returns the same point in time for tokio's timers.
    pub(crate) fn timer(self, at: Instant) -> Tokio {
        self.epoch + at.elapsed_since_epoch()
    }
}
