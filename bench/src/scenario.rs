//! What the peers of a run do.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What the peers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scenario {
    /// One message in flight for each pair, to and fro
    Pingpong,
    /// Each pair's first peer keeps `--window` messages in flight to the second
    Stream,
    /// Every peer keeps `--window` messages in flight to peers picked at random
    Mesh,
    /// `--rate` messages a second are due, come what may; latency counts from the due time
    Rate,
    /// Connect, wait for the greeting, hang up, again
    Connect,
    /// Connections that do nothing, then one message over each, then nothing again
    Idle,
    /// One recipient stops reading; others, of the same sender and not, go on
    Slow,
}
