//! Everything a worker needs to fill and write outboxes.

use std::sync::Arc;

use waddell_core::Instant;

use crate::clock::Clock;
use crate::forward::budget::Budget;
use crate::forward::buffer_pool::BufferPool;
use crate::metrics::WorkerMetrics;

/// Everything a worker needs to fill and write outboxes.
#[derive(Debug)]
pub(crate) struct WorkerBuffers {
    pub(crate) clock: Clock,
    pub(crate) pool: BufferPool,
    /// Most bytes in one outbox.
    pub(crate) outbox_limit: usize,
    /// Memory for outboxes whose socket takes no more bytes.
    pub(crate) budget: Arc<Budget>,
    metrics: Arc<WorkerMetrics>,
    /// For each outbox that was emptied since the last measurement, when its oldest frame was read.
    written: Vec<Instant>,
}

impl WorkerBuffers {
    pub(crate) fn new(
        clock: Clock,
        outbox_limit: usize,
        budget: Arc<Budget>,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let pool = BufferPool::default();
        Self { clock, pool, outbox_limit, budget, metrics, written: Vec::new() }
    }

    /// Records that an outbox has been emptied. Its oldest frame was read at that time.
    pub(crate) fn record_written(&mut self, oldest: Instant) {
        self.written.push(oldest);
    }

    /// Measures the time from read to write of all outboxes recorded since the last call. Reads the
    /// clock once for all of them.
    pub(crate) fn measure_written(&mut self) {
        if self.written.is_empty() {
            return;
        }
        let now = self.clock.now();
        for oldest in self.written.drain(..) {
            self.metrics.forward.observe(now - oldest);
        }
        // Frees memory after a peak.
        self.written.shrink_to(MAX_KEPT);
    }
}

/// Most entries of `written` for which memory is kept.
const MAX_KEPT: usize = 1024;
