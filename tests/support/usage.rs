//! Resources that a process uses, as Linux counts them.

use std::fs;
use std::io;
use std::process;

/// A process whose use of the machine is measured, by `/proc`.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pid: u32,
}

impl Usage {
    /// Measures the process of that id.
    pub fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// Measures this process.
    pub fn own() -> Self {
        Self::of(process::id())
    }

    /// Returns the CPU time of all threads so far, in seconds.
    ///
    /// # Errors
    ///
    /// The process has ended, or this is not Linux.
    pub fn cpu(self) -> io::Result<f64> {
        let stat = self.read("stat")?;
        // The name, in parentheses, may hold anything; the fields after it may not.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let mut fields = fields.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let (user, system) = ticks().zip(ticks()).ok_or_else(|| unexpected("stat"))?;
        Ok((user + system) as f64 / TICKS_PER_SECOND)
    }

    /// Returns the resident memory, in bytes.
    ///
    /// # Errors
    ///
    /// The process has ended, or this is not Linux.
    pub fn resident(self) -> io::Result<u64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.ok_or_else(|| unexpected("status"))? * 1024)
    }

    /// Returns the number of open descriptors.
    ///
    /// # Errors
    ///
    /// The process has ended, or this is not Linux.
    pub fn descriptors(self) -> io::Result<usize> {
        let path = self.path("fd");
        Ok(fs::read_dir(&path).map_err(|error| explain(&path, &error))?.count())
    }

    fn read(self, name: &str) -> io::Result<String> {
        let path = self.path(name);
        fs::read_to_string(&path).map_err(|error| explain(&path, &error))
    }

    fn path(self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid)
    }
}

fn explain(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read {path}: {error}"))
}

fn unexpected(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/PID/{name} has an unknown form"))
}

/// Linux reports times in this unit to every program, whatever its own clock counts in.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_memory_and_descriptors() {
        let usage = Usage::own();
        assert!(usage.cpu().unwrap() >= 0.0);
        assert!(usage.resident().unwrap() > 100 << 10);
        assert!(usage.descriptors().unwrap() >= 3);
    }
}
