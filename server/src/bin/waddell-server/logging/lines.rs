//! A thread that writes lines, so that nobody else waits for whoever reads them.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Lines that wait to be written by a thread of their own; bounded. A line for which there is no
/// room is dropped and counted, and where it is missing another line says so.
#[derive(Clone, Debug)]
pub(super) struct Lines(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// All is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// What waited before is being written.
    writing: bool,
    dropped: u64,
    /// How many of those no line has spoken of.
    unsaid: u64,
}

impl Lines {
    /// Most bytes that wait while as many may be on their way: some seconds of a log at its
    /// fullest.
    const CAPACITY: usize = 1 << 20;

    /// Capacity that is kept once all is written.
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

    /// Returns how many lines have been dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Waits until all is written, but no longer than this: nobody may be reading.
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
            state.unsaid += 1;
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
            let unsaid = mem::take(&mut state.unsaid);
            drop(state);
            if unsaid > 0 {
                // It waits right behind what was the last to find room.
                tracing::warn!(lines = unsaid, "log lines dropped: they are read too slowly");
            }
            let written = output.write_all(&batch);
            let mut state = self.state();
            if written.is_err() {
                // To say so would be one more line that cannot be written.
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
    /// Takes a whole line.
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

    /// Says that it has something to write, and waits until it may.
    struct Gate {
        came: Sender<Vec<u8>>,
        may: Receiver<io::Result<()>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.came.send(bytes.to_owned()).unwrap();
            self.may.recv().unwrap()?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_who_does_not_read_and_what_finds_no_room_is_counted() {
        let (came, comes) = channel();
        let (allow, may) = channel();
        let lines = Lines::start(Gate { came, may }).unwrap();
        lines.push(b"first\n");
        assert_eq!(comes.recv().unwrap(), b"first\n");
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..2000 {
            lines.push(&line);
        }
        assert_eq!(lines.dropped(), 2000 - 1024);
        lines.flush(Duration::ZERO);
        allow.send(Ok(())).unwrap();
        assert_eq!(comes.recv().unwrap(), line.repeat(1024));
        // There is room for as much again.
        lines.push(b"last\n");
        allow.send(Ok(())).unwrap();
        assert_eq!(comes.recv().unwrap(), b"last\n");
        allow.send(Ok(())).unwrap();
        lines.flush(Duration::from_secs(60));
        assert_eq!(lines.dropped(), 2000 - 1024);
    }

    #[test]
    fn what_cannot_be_written_counts_as_dropped() {
        let (came, comes) = channel();
        let (allow, may) = channel();
        let lines = Lines::start(Gate { came, may }).unwrap();
        lines.push(b"lost\n");
        comes.recv().unwrap();
        allow.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        lines.flush(Duration::from_secs(60));
        assert_eq!(lines.dropped(), 1);
    }
}
