//! Reads of files for HTTP, on the threads for blocking work and a few at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Reads of files for HTTP. Each needs a file descriptor and a thread while it lasts, so their
/// number is bounded. None of them waits for a client.
#[derive(Clone, Debug)]
pub(crate) struct FileReads {
    permits: Arc<Semaphore>,
    max_wait: Duration,
}

/// Longest time for a read, its turn included. A disk that hangs makes it fail.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(10);

impl FileReads {
    /// Makes reads that wait until some are [allowed](Self::allow).
    pub(crate) fn new(max_wait: Duration) -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), max_wait }
    }

    /// Allows `count` more reads at a time.
    pub(crate) fn allow(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// Reads something in its turn. Fails with [`io::ErrorKind::TimedOut`] after the longest wait.
    pub(super) async fn run<T: Send + 'static>(
        self,
        read: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let in_turn = async {
            let permit = self.permits.acquire_owned().await.map_err(io::Error::other)?;
            // A read that hangs keeps its permit, and the thread.
            let read = spawn_blocking(move || {
                let result = read();
                drop(permit);
                result
            });
            read.await.map_err(io::Error::other)?
        };
        timeout(self.max_wait, in_turn)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_read_that_hangs_takes_one_turn_and_the_others_fail_in_time() {
        let reads = FileReads::new(Duration::from_millis(10));
        reads.allow(1);
        let (release, hang) = mpsc::channel::<()>();
        let hanging = reads.clone().run(move || {
            let _ = hang.recv();
            Ok("late")
        });
        assert_eq!(hanging.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let refused = reads.clone().run(|| Ok("never")).await;
        drop(release);
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let patient = FileReads { max_wait: MAX_WAIT, ..reads };
        assert_eq!(patient.run(|| Ok("in turn")).await.unwrap(), "in turn");
    }
}
