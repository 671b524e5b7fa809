//! Counts the frames of one read from a socket, to add them to the metrics at once.

use waddell_core::{Instant, Rejected};

use crate::forward::fate::{DropReason, Fate};
use crate::forward::peer::Peer;
use crate::metrics::WorkerMetrics;

/// Counts of the frames of one read. They are added to the metrics once.
#[derive(Debug)]
pub(crate) struct ReadCounts {
    pub(crate) read_at: Instant,
    pub(crate) frames: u64,
    bytes: u64,
    keep_alives: u64,
    controls: u64,
    controls_ignored: u64,
    forwarded: u64,
    bytes_forwarded: u64,
    rejected_short: u64,
    rejected_reserved: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl ReadCounts {
    /// Makes the counts of a read at that time. All are 0.
    pub(crate) fn new(read_at: Instant) -> Self {
        Self {
            read_at,
            frames: 0,
            bytes: 0,
            keep_alives: 0,
            controls: 0,
            controls_ignored: 0,
            forwarded: 0,
            bytes_forwarded: 0,
            rejected_short: 0,
            rejected_reserved: 0,
            dropped: [0; DropReason::ALL.len()],
        }
    }

    /// Counts a whole frame, prefix included.
    pub(crate) fn frame(&mut self, len: usize) {
        self.frames += 1;
        self.bytes += len as u64;
    }

    pub(crate) fn keep_alive(&mut self) {
        self.keep_alives += 1;
    }

    /// Counts a control frame of a client that speaks the extension.
    pub(crate) fn control(&mut self) {
        self.controls += 1;
    }

    /// Counts a control frame that has no effect.
    pub(crate) fn control_ignored(&mut self) {
        self.controls_ignored += 1;
    }

    pub(crate) fn rejected(&mut self, rejected: Rejected) {
        match rejected {
            Rejected::ShortFrame { .. } => self.rejected_short += 1,
            Rejected::ReservedRecipient => self.rejected_reserved += 1,
        }
    }

    /// Counts the fate of a frame of that length.
    pub(crate) fn fate(&mut self, fate: Fate, len: usize) {
        match fate {
            Fate::Forwarded => {
                self.forwarded += 1;
                self.bytes_forwarded += len as u64;
            }
            Fate::Dropped(reason) => self.dropped[reason as usize] += 1,
        }
    }

    /// Adds the counts to the metrics of the worker, and to those of the peer that was read from.
    pub(crate) fn commit(self, metrics: &WorkerMetrics, from: &Peer) {
        let [unknown, away, full, memory] = self.dropped;
        from.count_in(self.frames, self.bytes);
        metrics.frames_in.add(self.frames);
        metrics.bytes_in.add(self.bytes);
        metrics.keep_alives.add(self.keep_alives);
        metrics.controls.add(self.controls);
        metrics.controls_ignored.add(self.controls_ignored);
        metrics.frames_forwarded.add(self.forwarded);
        metrics.bytes_forwarded.add(self.bytes_forwarded);
        metrics.frames_rejected_short.add(self.rejected_short);
        metrics.frames_rejected_reserved.add(self.rejected_reserved);
        metrics.frames_dropped_unknown.add(unknown);
        metrics.frames_dropped_away.add(away);
        metrics.frames_dropped_full.add(full);
        metrics.frames_dropped_memory.add(memory);
    }
}
