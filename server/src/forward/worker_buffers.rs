//! What a worker has at hand to fill and write outboxes.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::forward::buffer_pool::BufferPool;
use crate::metrics::WorkerMetrics;
use crate::run::shared::Shared;

/// What a worker has at hand to fill and write outboxes.
#[derive(Debug)]
pub(crate) struct WorkerBuffers {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: BufferPool,
    metrics: Arc<WorkerMetrics>,
    /// When the oldest frames came of outboxes that were written since the clock was last read.
    written: Vec<Moment>,
}

impl WorkerBuffers {
    pub(crate) fn new(shared: Arc<Shared>, metrics: Arc<WorkerMetrics>) -> Self {
        Self { shared, pool: BufferPool::default(), metrics, written: Vec::new() }
    }

    /// Takes note that an outbox is written whose oldest frame came at that moment.
    pub(crate) fn written(&mut self, oldest: Moment) {
        self.written.push(oldest);
    }

    /// Measures how long what was written has taken; reads the clock once for all of it.
    pub(crate) fn measure_written(&mut self) {
        if self.written.is_empty() {
            return;
        }
        let now = self.shared.moment(Instant::now());
        for oldest in self.written.drain(..) {
            self.metrics.forward.observe(now.since(oldest));
        }
        // After a peak the memory goes back.
        self.written.shrink_to(MOST_KEPT);
    }
}

/// Most moments for which room is kept.
const MOST_KEPT: usize = 1024;

/// A point in time, in nanoseconds since the server began: half as long as an `Instant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(NonZeroU64);

impl Moment {
    pub(crate) fn after(start: Duration) -> Self {
        let nanos = u64::try_from(start.as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::new(nanos).unwrap_or(NonZeroU64::MIN))
    }

    /// Returns how long after the server's beginning this was.
    pub(crate) fn since_start(self) -> Duration {
        let Self(nanos) = self;
        Duration::from_nanos(nanos.get())
    }

    /// Returns how long before this the other was.
    pub(crate) fn since(self, other: Self) -> Duration {
        let (Self(this), Self(other)) = (self, other);
        Duration::from_nanos(this.get().saturating_sub(other.get()))
    }
}
