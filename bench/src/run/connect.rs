//! Connect: connect, wait for the greeting and hang up, again and again.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use waddell_tests::histogram::Histogram;

use super::measurement::Measurement;
use super::parameters::Run;
use crate::net::Event;
use crate::outcome::Outcome;

pub(super) fn run(run: &Run) -> Result<Outcome> {
    let slots = usize::from(run.pairs);
    let mut net = run.net()?;
    let mut since = Vec::new();
    for slot in 0..slots {
        net.open(slot)?;
        since.push(net.out().now());
    }
    let began = Instant::now();
    let mut measurement: Option<Measurement> = None;
    let mut times = Histogram::new();
    let mut connections = 0;
    let mut done = Vec::new();
    loop {
        match &measurement {
            Some(measurement) if measurement.elapsed() >= run.duration() => break,
            None if began.elapsed() >= run.warm_up() => {
                measurement = Some(Measurement::begin(run.server())?);
                times = Histogram::new();
                connections = 0;
            }
            Some(_) | None => {}
        }
        let mut refused = false;
        net.turn(Some(Duration::from_millis(50)), |out, slot, event| match event {
            Event::Ready => {
                times.record(out.now() - since[slot]);
                done.push(slot);
            }
            Event::Closed => refused = true,
            Event::Message(_) | Event::Damaged => {}
        })?;
        if refused {
            bail!("{}: the server closed a connection before its greeting", run.url.url);
        }
        for slot in done.drain(..) {
            connections += 1;
            net.close(slot)?;
            net.open(slot)?;
            since[slot] = net.out().now();
        }
    }
    let measurement = measurement.expect("the loop ends with one");
    let mut outcome = measurement.end(connections)?;
    outcome.set_latency(&times);
    outcome.peers = slots;
    Ok(outcome)
}
