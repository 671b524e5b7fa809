//! Figures of a run, as a line of JSON.

use serde::{Deserialize, Serialize};
use waddell_tests::histogram::Histogram;

use crate::scenario::Scenario;

/// Figures of one run. Figures that a scenario does not measure are absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Outcome {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scenario: Option<Scenario>,
    pub(crate) url: String,
    pub(crate) peers: usize,
    pub(crate) size: usize,
    /// Messages in flight for each sender.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) window: usize,
    /// Messages due per second, in an open loop.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rate: usize,
    /// Length of the measured part of the run.
    pub(crate) seconds: f64,

    /// Deliveries in the measured part; for `connect`, connections.
    pub(crate) messages: u64,
    pub(crate) per_second: f64,
    /// Bodies delivered, in millions of bytes a second.
    pub(crate) megabytes_per_second: f64,
    /// Messages sent in the whole run and never delivered. For `slow`: messages due and never
    /// delivered to recipients that read, including those that this side held back for lack of
    /// room.
    pub(crate) lost: u64,
    pub(crate) misordered: u64,
    pub(crate) damaged: u64,

    /// CPU of the server for each delivery or connection, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us: Option<f64>,
    /// CPU of the server in percent of one processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_percent: Option<f64>,
    /// CPU of this load generator in percent of one processor.
    pub(crate) own_cpu_percent: f64,
    /// Percentiles of the time of a round trip, delivery or connection: percent, and microseconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) latency_us: Vec<(f64, f64)>,

    /// Resident memory of the server per connection, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_connection: Option<f64>,
    /// The same after each connection has carried one message in and one out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_per_connection_used: Option<f64>,
    /// Growth of the server's resident memory, in millions of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resident_growth_mb: Option<f64>,
    /// Deliveries to recipients that read, in percent of the messages sent to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) others_percent: Option<f64>,
    /// Longest time without a delivery from the sender that also writes to the stopped recipient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) longest_gap_ms: Option<f64>,
    /// Deliveries to the stopped recipient after it reads again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after_resume: Option<u64>,
}

impl Outcome {
    pub(crate) fn set_latency(&mut self, times: &Histogram) {
        let micros = |nanos| (nanos as f64 / 10.0).round() / 100.0;
        let points = PERCENTS.iter();
        self.latency_us = points
            .filter_map(|percent| Some((*percent, micros(times.percentile(*percent)?))))
            .collect();
    }

    /// Returns a percentile in microseconds, if it was recorded.
    pub(crate) fn latency(&self, percent: f64) -> Option<f64> {
        self.latency_us.iter().find(|(known, _)| *known == percent).map(|(_, time)| *time)
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Enough percentiles to draw the distribution.
const PERCENTS: &[f64] =
    &[0.0, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0];
