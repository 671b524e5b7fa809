//! What a server's process costs, as the kernel counts it.

use std::fs;

use anyhow::{Context, Result};

/// A process under observation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
}

impl Process {
    /// Returns the CPU time that all threads have taken so far, in seconds.
    pub(crate) fn cpu(self) -> Result<f64> {
        let stat = self.read("stat")?;
        // The name, in parentheses, may hold anything; the fields after it may not.
        let (_, fields) = stat.rsplit_once(')').context("no process name in stat")?;
        let mut fields = fields.split_ascii_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let (user, system) = ticks().zip(ticks()).context("no times in stat")?;
        Ok((user + system) as f64 / TICKS_PER_SECOND)
    }

    /// Returns the resident memory, in bytes.
    pub(crate) fn resident(self) -> Result<u64> {
        let status = self.read("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    fn read(self, name: &str) -> Result<String> {
        let path = format!("/proc/{}/{name}", self.pid);
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

/// Linux reports in these to every program, whatever it counts in itself.
const TICKS_PER_SECOND: f64 = 100.0;
