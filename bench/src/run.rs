//! One run of one scenario.

mod closed_loop;
mod connect;
mod idle;
mod open_loop;
mod slow;

use std::io;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use waddell_core::MAX_BODY_LEN;
use waddell_tests::usage::Usage;

use crate::body::{Bodies, Stamp};
use crate::net::Net;
use crate::outcome::Outcome;
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
    /// Runs the scenario to its end.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, closes a connection, or breaks the protocol.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let mut outcome = match self.scenario {
            Scenario::Pingpong | Scenario::Stream | Scenario::Mesh => closed_loop::run(self),
            Scenario::Rate => open_loop::run(self),
            Scenario::Connect => connect::run(self),
            Scenario::Idle => idle::run(self),
            Scenario::Slow => slow::run(self),
        }?;
        outcome.scenario = Some(self.scenario);
        outcome.url.clone_from(&self.url.url);
        outcome.size = usize::from(self.size);
        outcome.megabytes_per_second = if self.scenario == Scenario::Connect {
            0.0
        } else {
            round(outcome.per_second * f64::from(self.size) / 1e6)
        };
        Ok(outcome)
    }

    fn net(&self) -> Result<Net> {
        Net::new(&self.url, usize::from(self.size), self.resume)
    }

    fn server(&self) -> Option<Usage> {
        self.server_pid.map(Usage::of)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// The measured part of a run: deliveries, and the CPU that they took.
struct Measurement {
    began: Instant,
    server: Option<(Usage, f64)>,
    own: f64,
}

impl Measurement {
    fn begin(server: Option<Usage>) -> Result<Self> {
        let server = server.map(|server| Ok::<_, io::Error>((server, server.cpu()?)));
        let own = Usage::own().cpu()?;
        Ok(Self { server: server.transpose()?, own, began: Instant::now() })
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends the measurement after that number of deliveries.
    fn end(&self, messages: u64) -> Result<Outcome> {
        let seconds = self.began.elapsed().as_secs_f64();
        let mut outcome = Outcome {
            seconds: round(seconds),
            messages,
            per_second: round(messages as f64 / seconds),
            own_cpu_percent: round((Usage::own().cpu()? - self.own) / seconds * 100.0),
            ..Outcome::default()
        };
        if let Some((server, before)) = self.server {
            let cpu = server.cpu()? - before;
            outcome.cpu_percent = Some(round(cpu / seconds * 100.0));
            outcome.cpu_us = (messages > 0).then(|| round(cpu * 1e6 / messages as f64));
        }
        Ok(outcome)
    }
}

/// Messages of a run, by how they arrived.
struct Tally {
    sent: u64,
    delivered: u64,
    misordered: u64,
    damaged: u64,
    /// Least number of the next message from one peer to another, by
    /// `sender * columns + recipient % columns`.
    next: Vec<u32>,
    columns: usize,
}

impl Tally {
    /// Prepares for peers that each write to one other peer, or to `columns` others.
    fn new(peers: usize, columns: usize) -> Self {
        let next = vec![0; peers * columns];
        Self { sent: 0, delivered: 0, misordered: 0, damaged: 0, next, columns }
    }

    fn arrived(&mut self, stamp: Stamp) {
        self.delivered += 1;
        let at = stamp.sender as usize * self.columns + stamp.recipient as usize % self.columns;
        let next = &mut self.next[at];
        if stamp.number < *next {
            self.misordered += 1;
        } else {
            *next = stamp.number + 1;
        }
    }

    fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.delivered + self.damaged)
    }

    fn report(&self, outcome: &mut Outcome) {
        outcome.lost = self.in_flight();
        outcome.misordered = self.misordered;
        outcome.damaged = self.damaged;
    }
}

/// Rounds to four decimal places, which people can read.
fn round(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

/// Parses a time of at most an hour.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("expected seconds from 0 to 3600".to_owned()),
    }
}

/// Time without any arrival after which missing messages count as lost.
const QUIET: Duration = Duration::from_secs(2);
