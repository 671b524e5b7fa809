//! What a run measures.

use std::io;
use std::time::{Duration, Instant};

use anyhow::Result;
use waddell_tests::usage::Usage;

use crate::body::Stamp;
use crate::outcome::Outcome;

/// The measured part of a run: deliveries, and the CPU that they took.
pub(super) struct Measurement {
    began: Instant,
    server: Option<(Usage, f64)>,
    own: f64,
}

impl Measurement {
    pub(super) fn begin(server: Option<Usage>) -> Result<Self> {
        let server = server.map(|server| Ok::<_, io::Error>((server, server.cpu()?)));
        let own = Usage::own().cpu()?;
        Ok(Self { server: server.transpose()?, own, began: Instant::now() })
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends the measurement after that number of deliveries.
    pub(super) fn end(&self, messages: u64) -> Result<Outcome> {
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
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) misordered: u64,
    pub(super) damaged: u64,
    /// Least number of the next message from one peer to another, by
    /// `sender * columns + recipient % columns`.
    pub(super) next: Vec<u32>,
    pub(super) columns: usize,
}

impl Tally {
    /// Prepares for peers that each write to one other peer, or to `columns` others.
    pub(super) fn new(peers: usize, columns: usize) -> Self {
        let next = vec![0; peers * columns];
        Self { sent: 0, delivered: 0, misordered: 0, damaged: 0, next, columns }
    }

    pub(super) fn arrived(&mut self, stamp: Stamp) {
        self.delivered += 1;
        let at = stamp.sender as usize * self.columns + stamp.recipient as usize % self.columns;
        let next = &mut self.next[at];
        if stamp.number < *next {
            self.misordered += 1;
        } else {
            *next = stamp.number + 1;
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.sent.saturating_sub(self.delivered + self.damaged)
    }

    pub(super) fn report(&self, outcome: &mut Outcome) {
        outcome.lost = self.in_flight();
        outcome.misordered = self.misordered;
        outcome.damaged = self.damaged;
    }
}

/// Rounds to four decimal places, which people can read.
pub(super) fn round(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

/// Time without any arrival after which missing messages count as lost.
pub(super) const QUIET: Duration = Duration::from_secs(2);
