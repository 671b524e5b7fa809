//! A thread that writes the log, so that a stalled reader never blocks the server.
//!
//! `tracing-appender` 0.2.5 cannot replace it: it says nowhere in the log that lines are missing,
//! and does not count lines whose write failed. At the end of the program it waits for 1.1 s at
//! most. If its queue is full, it gives up after 0.1 s and prints an error to standard output.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The queue of lines that a thread of its own writes. A line that does not fit is dropped and
/// counted, and a line at the gap says how many are missing.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Signalled when there is something to write.
    filled: Condvar,
    /// Signalled when everything is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread is writing lines that it took out of `waiting`.
    writing: bool,
    dropped: u64,
    /// Number of dropped lines that the log does not mention yet.
    unreported: u64,
}

impl Lines {
    /// Most bytes that wait; the thread may be writing as many again. They are some seconds of a
    /// log at its fullest.
    const CAPACITY: usize = 1 << 20;

    /// Capacity of the buffer that is kept after writing.
    const KEPT: usize = 16 << 10;

    /// Starts the thread. It ends with the process.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Self(Arc::default());
        let queue = lines.clone();
        thread::Builder::new()
            .name("waddell-log".to_owned())
            .spawn(move || queue.write_to(output))?;
        Ok(lines)
    }

    /// Returns the number of dropped lines.
    pub(super) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Waits until everything is written, but no longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let unwritten = |state: &mut State| state.writing || !state.waiting.is_empty();
        let Self(queue) = self;
        drop(queue.emptied.wait_timeout_while(self.state(), patience, unwritten));
    }

    fn push(&self, line: &[u8]) {
        let Self(queue) = self;
        let mut state = self.state();
        if state.waiting.len() + line.len() > Self::CAPACITY {
            state.dropped += 1;
            state.unreported += 1;
            return;
        }
        let idle = state.waiting.is_empty() && !state.writing;
        state.waiting.extend_from_slice(line);
        drop(state);
        if idle {
            queue.filled.notify_one();
        }
    }

    fn write_to(&self, mut output: impl Write) {
        let Self(queue) = self;
        let mut batch = Vec::new();
        loop {
            let nothing = |state: &mut State| state.waiting.is_empty();
            let state = queue.filled.wait_while(self.state(), nothing);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            mem::swap(&mut batch, &mut state.waiting);
            state.writing = true;
            let unreported = mem::take(&mut state.unreported);
            drop(state);
            if unreported > 0 {
                // This joins the queue right behind the last line that did fit.
                tracing::warn!(lines = unreported, "log lines dropped: the reader is too slow");
            }
            let written = output.write_all(&batch);
            let mut state = self.state();
            if written.is_err() {
                // A line about it could not be written either.
                state.dropped += batch.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
            state.writing = false;
            if state.waiting.is_empty() {
                queue.emptied.notify_all();
            }
            drop(state);
            batch.clear();
            batch.shrink_to(Self::KEPT);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let Self(queue) = self;
        queue.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Lines {
    /// Queues a whole line, or drops it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// An output that hands over each write, and waits for its result.
    struct Gate {
        writes: Sender<Vec<u8>>,
        results: Receiver<io::Result<()>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes.send(bytes.to_owned()).unwrap();
            self.results.recv().unwrap()?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Starts a queue whose output is a [`Gate`].
    fn gated() -> (Lines, Receiver<Vec<u8>>, Sender<io::Result<()>>) {
        let (writes, written) = channel();
        let (finish, results) = channel();
        (Lines::start(Gate { writes, results }).unwrap(), written, finish)
    }

    #[test]
    fn a_stalled_reader_blocks_nothing_and_lines_that_do_not_fit_are_counted() {
        let (lines, written, finish) = gated();
        lines.push(b"first\n");
        assert_eq!(written.recv().unwrap(), b"first\n");
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..2000 {
            lines.push(&line);
        }
        assert_eq!(lines.dropped(), 2000 - 1024);
        lines.flush(Duration::ZERO);
        finish.send(Ok(())).unwrap();
        assert_eq!(written.recv().unwrap(), line.repeat(1024));
        // There is room for as much again.
        lines.push(b"last\n");
        finish.send(Ok(())).unwrap();
        assert_eq!(written.recv().unwrap(), b"last\n");
        finish.send(Ok(())).unwrap();
        lines.flush(Duration::from_secs(60));
        assert_eq!(lines.dropped(), 2000 - 1024);
    }

    #[test]
    fn a_line_that_cannot_be_written_counts_as_dropped() {
        let (lines, written, finish) = gated();
        lines.push(b"lost\n");
        written.recv().unwrap();
        finish.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        lines.flush(Duration::from_secs(60));
        assert_eq!(lines.dropped(), 1);
    }
}
