//! The parameters of a run.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use waddell_core::MAX_BODY_LEN;
use waddell_tests::usage::Usage;

use crate::body::Bodies;
use crate::net::Net;
use crate::scenario::Scenario;
use crate::target::Target;

/// One run of one scenario.
#[derive(Args, Clone, Debug)]
pub(crate) struct Run {
    /// What the peers do
    pub(crate) scenario: Scenario,

    /// Server: tcp://HOST:PORT, tls://, ws:// or wss:// for waddell, nats:// for a NATS server
    pub(crate) url: Target,

    /// Pairs of peers. mesh: half of the peers; connect: connections at a time; idle: connections
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=20_000))]
    pub(crate) pairs: u16,

    /// Bytes in each body
    #[arg(long, value_name = "BYTES", default_value_t = 64,
          value_parser = clap::value_parser!(u16)
              .range(Bodies::MIN_LEN as i64..=MAX_BODY_LEN as i64))]
    pub(crate) size: u16,

    /// stream and mesh: messages in flight for each sender
    #[arg(long, value_name = "N", default_value_t = 32,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) window: u16,

    /// rate and slow: messages per second, of all pairs together
    #[arg(long, value_name = "N", default_value_t = 20_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,

    /// Length of the measured part
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = parse_seconds)]
    pub(crate) seconds: f64,

    /// Length of the part before, which is not measured
    #[arg(long, value_name = "SECONDS", default_value_t = 0.4, value_parser = parse_seconds)]
    pub(crate) warm_up: f64,

    /// connect: resume TLS sessions
    #[arg(long)]
    pub(crate) resume: bool,

    /// Process id of the server on this machine, to measure its CPU time and memory
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
}

impl Run {
    pub(super) fn net(&self) -> Result<Net> {
        Net::new(&self.url, usize::from(self.size), self.resume)
    }

    pub(super) fn server(&self) -> Option<Usage> {
        self.server_pid.map(Usage::of)
    }

    pub(super) fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }

    pub(super) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// Parses a time of at most an hour.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("expected seconds from 0 to 3600".to_owned()),
    }
}
