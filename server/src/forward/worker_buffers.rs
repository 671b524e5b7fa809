//! What a worker has at hand to fill and write outboxes.

use std::sync::Arc;

use waddell_core::Instant;

use crate::forward::buffer_pool::BufferPool;
use crate::forward::shared::Shared;
use crate::metrics::WorkerMetrics;

/// What a worker has at hand to fill and write outboxes.
#[derive(Debug)]
pub(crate) struct WorkerBuffers {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pool: BufferPool,
    /// Most bytes in one outbox.
    pub(crate) outbox_limit: usize,
    metrics: Arc<WorkerMetrics>,
    /// When the oldest frames came of outboxes that were written since the clock was last read.
    written: Vec<Instant>,
}

impl WorkerBuffers {
    pub(crate) fn new(shared: Arc<Shared>, metrics: Arc<WorkerMetrics>) -> Self {
        let outbox_limit = shared.config().limits.outbox_bytes;
        Self { outbox_limit, shared, pool: BufferPool::default(), metrics, written: Vec::new() }
    }

    /// Takes note that an outbox is written whose oldest frame came at that moment.
    pub(crate) fn written(&mut self, oldest: Instant) {
        self.written.push(oldest);
    }

    /// Measures how long what was written has taken; reads the clock once for all of it.
    pub(crate) fn measure_written(&mut self) {
        if self.written.is_empty() {
            return;
        }
        let now = self.shared.clock.now();
        for oldest in self.written.drain(..) {
            self.metrics.forward.observe(now - oldest);
        }
        // After a peak the memory goes back.
        self.written.shrink_to(MOST_KEPT);
    }
}

/// Most moments for which room is kept.
const MOST_KEPT: usize = 1024;
