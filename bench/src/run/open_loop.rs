//! Rate: messages are due at fixed times, even if the server does not keep up.
//!
//! The loop does not sleep, since the kernel's timers are coarser than the time between two
//! messages. On a machine with one processor it takes time from the server.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use waddell_tests::histogram::Histogram;

use super::measurement::{Measurement, QUIET, Tally};
use super::parameters::Run;
use crate::body::Stamp;
use crate::net::{Event, Net};
use crate::outcome::Outcome;

pub(super) fn run(run: &Run) -> Result<Outcome> {
    let pairs = usize::from(run.pairs);
    let mut net = run.net()?;
    net.open_all(2 * pairs)?;
    let mut tally = Tally::new(2 * pairs, 1);
    let mut times = Histogram::new();
    let interval = 1e9 / f64::from(run.rate);
    let start = net.out().now();
    let due = |net: &mut Net, tally: &mut Tally| {
        let now = net.out().now();
        loop {
            let time = start + (tally.sent as f64 * interval) as u64;
            if time > now {
                return;
            }
            let pair = (tally.sent % pairs as u64) as u32;
            let number = (tally.sent / pairs as u64) as u32;
            net.out().send(Stamp { time, number, sender: 2 * pair, recipient: 2 * pair + 1 });
            tally.sent += 1;
        }
    };

    let began = Instant::now();
    while began.elapsed() < run.warm_up() {
        due(&mut net, &mut tally);
        turn(run, &mut net, &mut tally, &mut times)?;
    }
    let delivered = tally.delivered;
    times = Histogram::new();
    let measurement = Measurement::begin(run.server())?;
    while measurement.elapsed() < run.duration() {
        due(&mut net, &mut tally);
        turn(run, &mut net, &mut tally, &mut times)?;
    }
    let mut outcome = measurement.end(tally.delivered - delivered)?;
    let mut quiet = Instant::now();
    while tally.in_flight() > 0 && quiet.elapsed() < QUIET {
        let before = tally.delivered;
        turn(run, &mut net, &mut tally, &mut times)?;
        if tally.delivered > before {
            quiet = Instant::now();
        }
    }
    outcome.set_latency(&times);
    tally.report(&mut outcome);
    outcome.peers = 2 * pairs;
    outcome.rate = run.rate as usize;
    Ok(outcome)
}

fn turn(run: &Run, net: &mut Net, tally: &mut Tally, times: &mut Histogram) -> Result<()> {
    let mut closed = None;
    net.turn(Some(Duration::ZERO), |out, peer, event| match event {
        Event::Message(stamp) => {
            tally.arrived(stamp);
            times.record(out.now() - stamp.time);
        }
        Event::Damaged => tally.damaged += 1,
        Event::Closed => closed = Some(peer),
        Event::Ready => {}
    })?;
    if let Some(peer) = closed {
        bail!("{}: the server closed the connection of peer {peer}", run.url.url);
    }
    Ok(())
}
