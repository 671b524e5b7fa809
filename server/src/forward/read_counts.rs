//! What became of the frames of one read.

use waddell_core::Instant;

use crate::forward::peer::Peer;
use crate::metrics::WorkerMetrics;

/// What became of the frames of one read; added to the counters once.
#[derive(Debug)]
pub(crate) struct ReadCounts {
    pub(crate) read_at: Instant,
    pub(crate) frames_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) keep_alives: u64,
    pub(crate) forwarded: u64,
    pub(crate) bytes_forwarded: u64,
    pub(crate) rejected_short: u64,
    pub(crate) rejected_reserved: u64,
    pub(crate) dropped_unknown: u64,
    pub(crate) dropped_full: u64,
    pub(crate) dropped_memory: u64,
}

impl ReadCounts {
    /// Begins a counts of what was read at that moment.
    pub(crate) fn new(read_at: Instant) -> Self {
        Self {
            read_at,
            frames_in: 0,
            bytes_in: 0,
            keep_alives: 0,
            forwarded: 0,
            bytes_forwarded: 0,
            rejected_short: 0,
            rejected_reserved: 0,
            dropped_unknown: 0,
            dropped_full: 0,
            dropped_memory: 0,
        }
    }

    /// Adds it to the counters of the worker, and of the peer that was read from.
    pub(crate) fn commit(self, metrics: &WorkerMetrics, from: &Peer) {
        from.count_in(self.frames_in, self.bytes_in);
        metrics.frames_in.add(self.frames_in);
        metrics.bytes_in.add(self.bytes_in);
        metrics.keep_alives.add(self.keep_alives);
        metrics.frames_forwarded.add(self.forwarded);
        metrics.bytes_forwarded.add(self.bytes_forwarded);
        metrics.frames_rejected_short.add(self.rejected_short);
        metrics.frames_rejected_reserved.add(self.rejected_reserved);
        metrics.frames_dropped_unknown.add(self.dropped_unknown);
        metrics.frames_dropped_full.add(self.dropped_full);
        metrics.frames_dropped_memory.add(self.dropped_memory);
    }
}
