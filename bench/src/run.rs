//! One run of one scenario.

mod closed_loop;
mod connect;
mod idle;
mod measurement;
mod open_loop;
mod parameters;
mod slow;

use anyhow::Result;

use crate::outcome::Outcome;
use crate::scenario::Scenario;
use measurement::round;
pub(crate) use parameters::{Run, parse_seconds};

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
}
