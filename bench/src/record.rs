//! Lines of a file of results, in JSON.

use std::fs;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// A raw line of results.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    Run(Box<Record>),
    Machine(Machine),
}

/// The result of one run.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) run: String,
    pub(crate) server: String,
    pub(crate) round: u32,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// The machine of a suite: the first line of a file.
#[derive(Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) processors: usize,
    pub(crate) kernel: String,
    /// Load average of one, five and fifteen minutes, before the first run.
    pub(crate) load_average: String,
    pub(crate) pinned: bool,
    pub(crate) certificate: String,
    /// Start of the suite, in seconds since 1970.
    pub(crate) time: u64,
}

impl Machine {
    pub(crate) fn look(pinned: bool, rsa: bool) -> Result<Self> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            cpu: model.map_or("unknown", |(_, model)| model).to_owned(),
            processors: available_parallelism()?.get(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            pinned,
            certificate: if rsa { "RSA 2048" } else { "ECDSA P-256" }.to_owned(),
            time: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        })
    }

    pub(crate) fn print(&self) {
        let Self { cpu, processors, kernel, load_average, pinned, .. } = self;
        println!("{cpu}, {processors} processors, Linux {kernel}; load average {load_average}");
        if *pinned {
            println!(
                "the server on one processor, the load on another; one pair's ping-pong on one"
            );
        } else {
            println!("nothing is pinned: times and CPU vary with the scheduler");
        }
    }
}

/// End of the name of a run whose server and load share one processor.
pub(crate) const ON_ONE: &str = " on 1 processor";

/// End of the name of a run whose server and load share two processors.
pub(crate) const ON_TWO: &str = " on 2 processors";
