//! One direction of a simulated connection.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use waddell_core::Instant;
use waddell_server::internals::Socket;

/// Bytes in flight from one end of a connection to the other, in order.
///
/// As with TCP, the reader sees everything before the end, unless the pipe is cut. As with a socket
/// of the system, a writer that found no room is told only when a third of the pipe is free.
#[derive(Debug)]
pub(super) struct Pipe {
    bytes: Vec<u8>,
    end: End,
    /// Whether the pipe has announced room, and had some at the last write.
    writable: bool,
    /// Wakes the writer when the pipe has room.
    writer: Option<Waker>,
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

impl Default for Pipe {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            end: End::Open,
            writable: true,
            writer: None,
            scheduled: false,
            paused_until: Instant::EPOCH,
        }
    }
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
        self.announce_room();
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
            let read = mem::replace(&mut self.bytes, rest);
            self.announce_room();
            return Arrival::Bytes(read);
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

    /// Wakes the writer if there is room enough.
    fn announce_room(&mut self) {
        if !self.writable && self.room() >= Self::CAPACITY / 3 {
            self.writable = true;
            if let Some(writer) = self.writer.take() {
                writer.wake();
            }
        }
    }

    /// Returns the number of further bytes that fit.
    fn room(&self) -> usize {
        if self.end == End::Open {
            Self::CAPACITY.saturating_sub(self.bytes.len())
        } else {
            usize::MAX
        }
    }
}

/// The server's end of a pipe, to which it writes.
#[derive(Clone, Debug)]
pub(super) struct PipeEnd(pub(super) Rc<RefCell<Pipe>>);

impl Socket for PipeEnd {
    fn write(&mut self, bytes: &[u8], always: bool) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        let room = if pipe.writable || always { pipe.room() } else { 0 };
        if room == 0 {
            pipe.writable = false;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = bytes.len().min(room);
        pipe.write(&bytes[..len]);
        Ok(len)
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.0.borrow_mut();
        if pipe.writable {
            return Poll::Ready(Ok(()));
        }
        pipe.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn shut_down(&mut self) {
        self.0.borrow_mut().end();
    }
}
