//! Reads the operator's files: configuration, certificate, key. A file that hangs is an error.
//!
//! A disk that does not answer blocks the thread that opens or reads a file, and no call can end
//! that. So a thread of its own does it, and is left behind if it takes too long. A path has at
//! most one such thread.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

pub(crate) mod secret;

/// Reads one of the operator's files.
///
/// # Errors
///
/// The file cannot be read, is no regular file but a FIFO or the like, or has more than 16 MiB. Or
/// its disk does not answer within about five seconds ([`TimedOut`](io::ErrorKind::TimedOut)), or
/// within ten if another thread waits for the same file.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    within(TIMEOUT, path, |path| {
        // Opening a FIFO waits for its writer, and it can be read only once.
        let is_file = fs::metadata(path)?.is_file();
        if !is_file {
            let text = "it is not a regular file; a folder, a FIFO or a device cannot be used";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        if file.take(MAX_LEN + 1).read_to_end(&mut bytes)? as u64 > MAX_LEN {
            let text = format!("it has more than {} MiB", MAX_LEN >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(bytes)
    })
}

/// Returns the metadata of one of the operator's files, or of the file that a link leads to.
pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    within(TIMEOUT, path, |path| fs::metadata(path))
}

/// Does something with a file, within a time.
fn within<T: Send + 'static>(
    timeout: Duration,
    path: &Path,
    action: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let Some(busy) = Busy::begin(timeout, path) else { return Err(hangs()) };
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("file".to_owned()).spawn(move || {
        let result = action(&busy.0);
        drop(busy);
        // Fails if it took too long.
        let _ = sender.send(result);
    })?;
    receiver.recv_timeout(timeout).unwrap_or_else(|_| Err(hangs()))
}

fn hangs() -> io::Error {
    let text = "its disk does not answer";
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// A path that a thread is at work on.
struct Busy(PathBuf);

/// The paths of all threads. A file that hangs, hangs for the whole process.
static BUSY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Notified when a thread ends.
static ENDED: Condvar = Condvar::new();

impl Busy {
    /// Returns `None` if another thread is at work on this path for the whole time.
    fn begin(timeout: Duration, path: &Path) -> Option<Self> {
        let is_taken = |paths: &mut BTreeSet<PathBuf>| paths.contains(path);
        let (mut paths, _) = ENDED
            .wait_timeout_while(busy(), timeout, is_taken)
            .unwrap_or_else(PoisonError::into_inner);
        paths.insert(path.to_owned()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        busy().remove(&self.0);
        ENDED.notify_all();
    }
}

fn busy() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    BUSY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Longest time for a file to be read. A disk on a network may take seconds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Longest file, in bytes. The largest certificate chains have some tens of KiB.
const MAX_LEN: u64 = 16 << 20;

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn fifo(folder: &Path) -> PathBuf {
        let path = folder.join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    #[test]
    fn a_file_that_hangs_is_an_error_and_occupies_one_thread() {
        let folder = tempfile::tempdir().unwrap();
        let path = fifo(folder.path());
        let (begin, begun) = mpsc::channel();
        for _attempt in 0..3 {
            let begin = begin.clone();
            let read = within(Duration::from_millis(10), &path, move |path| {
                begin.send(()).unwrap();
                fs::read(path)
            });
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        }
        begun.recv().unwrap();
        // The others have given up.
        begun.try_recv().expect_err("there is no second thread");
        // A writer ends the thread.
        fs::write(&path, "late").unwrap();
        drop(Busy::begin(Duration::MAX, &path).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file now").unwrap();
        assert_eq!(read_file(&path).unwrap(), b"a file now");
    }

    #[test]
    fn what_is_no_file_or_too_long_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        for path in [&fifo(folder.path()), folder.path(), Path::new("/dev/zero")] {
            let error = read_file(path).unwrap_err();
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
        let large = folder.path().join("large");
        File::create(&large).unwrap().set_len(MAX_LEN + 1).unwrap();
        assert_eq!(read_file(&large).unwrap_err().to_string(), "it has more than 16 MiB");
    }

    #[test]
    fn errors_of_the_system_are_passed_on() {
        let error = read_file(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(metadata(Path::new("/")).unwrap().is_dir());
    }
}
