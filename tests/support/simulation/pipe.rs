//! One direction of a simulated connection.

use std::mem;

use waddell_core::Instant;

/// Bytes under way from one end of a connection to the other, in order.
///
/// As with TCP, the reader sees everything before the end, unless the pipe is cut.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    bytes: Vec<u8>,
    end: End,
    /// Whether an arrival is on the calendar.
    pub(super) scheduled: bool,
    /// The reader takes nothing before this time.
    pub(super) paused_until: Instant,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// The writer is done; the reader has not seen it yet.
    Written,
    Read,
}

/// What a reader gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The end: once, after all bytes.
    End,
    /// Nothing at present.
    Nothing,
}

impl Pipe {
    /// Most bytes under way; what does not fit waits with the writer.
    pub(super) const CAPACITY: usize = 32 * 1024;

    /// Takes bytes in. After the end they are lost.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.end == End::Open {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Ends the pipe after what is in it.
    pub(super) fn end(&mut self) {
        if self.end == End::Open {
            self.end = End::Written;
        }
    }

    /// Loses all but the first `keep` bytes, and ends there.
    pub(super) fn cut(&mut self, keep: usize) {
        self.bytes.truncate(keep);
        self.end();
    }

    /// Hands out at most `most` bytes, or the end.
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

    /// Returns how many bytes are under way.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether nothing is under way and no end is due.
    pub(super) fn is_idle(&self) -> bool {
        self.bytes.is_empty() && self.end != End::Written
    }

    /// Returns how many more bytes fit.
    pub(super) fn room(&self) -> usize {
        if self.end == End::Open {
            Self::CAPACITY.saturating_sub(self.bytes.len())
        } else {
            usize::MAX
        }
    }
}
