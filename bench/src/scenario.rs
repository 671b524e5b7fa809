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
    /// `--rate` messages are due per second in any case; latency counts from the due time
    Rate,
    /// Connect, wait for the greeting and hang up, again and again
    Connect,
    /// Connections that do nothing, then carry one message each, then do nothing again
    Idle,
    /// One recipient stops reading; others go on, also those of the same sender
    Slow,
}
