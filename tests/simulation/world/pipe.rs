//! One direction of a simulated connection.

use std::mem;

use waddell_core::Instant;

/// Bytes in flight from one end of a connection to the other, in order.
///
/// As with TCP, the reader sees everything before the end, unless the pipe is cut.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    bytes: Vec<u8>,
    end: End,
    /// Whether an arrival is scheduled.
    pub(super) scheduled: bool,
    /// The reader takes nothing before this time.
    pub(super) paused_until: Instant,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// The writer has ended the stream, and the reader has not seen the end yet.
    Written,
    Read,
}

/// Result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The end of the stream: once, after all bytes.
    End,
    /// Nothing yet.
    Nothing,
}

impl Pipe {
    /// Most bytes in flight; further bytes wait in the outbox of the writer.
    pub(super) const CAPACITY: usize = 32 * 1024;

    /// Appends bytes. After the end they are lost.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.end == End::Open {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Ends the stream after the bytes in flight.
    pub(super) fn end(&mut self) {
        if self.end == End::Open {
            self.end = End::Written;
        }
    }

    /// Loses all but the first `keep` bytes, and ends the stream there.
    pub(super) fn cut(&mut self, keep: usize) {
        self.bytes.truncate(keep);
        self.end();
    }

    /// Returns at most `most` bytes, or the end.
    pub(super) fn read(&mut self, most: usize) -> Arrival {
        if !self.bytes.is_empty() {
            let rest = self.bytes.split_off(most.min(self.bytes.len()));
            return Arrival::Bytes(mem::replace(&mut self.bytes, rest));
        }
        if self.end == End::Written {
            self.end = End::Read;
            return Arrival::End;
        }
        Arrival::Nothing
    }

    /// Returns the number of bytes in flight.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether neither bytes nor an end are in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.bytes.is_empty() && self.end != End::Written
    }

    /// Returns the number of further bytes that fit.
    pub(super) fn room(&self) -> usize {
        if self.end == End::Open {
            Self::CAPACITY.saturating_sub(self.bytes.len())
        } else {
            usize::MAX
        }
    }
}
