//! The cost of connections that do nothing.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use waddell_tests::usage::Usage;

use super::measurement::{Measurement, QUIET, Tally, round};
use super::parameters::Run;
use crate::body::Stamp;
use crate::net::{Event, Net};
use crate::outcome::Outcome;

pub(super) fn run(run: &Run) -> Result<Outcome> {
    let peers = usize::from(run.pairs);
    let server = run.server().context("idle measures a process: name it with --server-pid")?;
    let before = server.resident()?;
    let per_connection = |server: Usage| -> Result<Option<f64>> {
        let grown = server.resident()? as f64 - before as f64;
        Ok(Some(round(grown / peers as f64)))
    };
    let mut net = run.net()?;
    net.open_all(peers)?;
    wait(run, &mut net, SETTLE)?;
    let idle = per_connection(server)?;

    let measurement = Measurement::begin(Some(server))?;
    wait(run, &mut net, run.duration())?;
    let mut outcome = measurement.end(0)?;
    outcome.bytes_per_connection = idle;

    let tally = send_around(run, &mut net, peers)?;
    wait(run, &mut net, SETTLE)?;
    outcome.bytes_per_connection_used = per_connection(server)?;
    tally.report(&mut outcome);
    outcome.peers = peers;
    Ok(outcome)
}

/// Lets every peer send one message to the next, a few at a time.
fn send_around(run: &Run, net: &mut Net, peers: usize) -> Result<Tally> {
    let mut tally = Tally::new(peers, 1);
    let time = net.out().now();
    let mut quiet = Instant::now();
    while tally.delivered + tally.damaged < peers as u64 && quiet.elapsed() < QUIET {
        while tally.sent < peers as u64 && tally.in_flight() < MOST_IN_FLIGHT {
            let sender = tally.sent as u32;
            let recipient = (sender + 1) % peers as u32;
            net.out().send(Stamp { time, number: 0, sender, recipient });
            tally.sent += 1;
        }
        let before = tally.delivered;
        turn(run, net, &mut tally, Duration::from_millis(10))?;
        if tally.delivered > before {
            quiet = Instant::now();
        }
    }
    Ok(tally)
}

/// Answers pings, and sends nothing else.
fn wait(run: &Run, net: &mut Net, time: Duration) -> Result<()> {
    let mut tally = Tally::new(0, 1);
    let began = Instant::now();
    while began.elapsed() < time {
        turn(run, net, &mut tally, Duration::ZERO)?;
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn turn(run: &Run, net: &mut Net, tally: &mut Tally, timeout: Duration) -> Result<()> {
    let mut closed = None;
    net.turn(Some(timeout), |_, peer, event| match event {
        Event::Message(stamp) => tally.arrived(stamp),
        Event::Damaged => tally.damaged += 1,
        Event::Closed => closed = Some(peer),
        Event::Ready => {}
    })?;
    if let Some(peer) = closed {
        bail!("{}: the server closed the connection of peer {peer}", run.url.url);
    }
    Ok(())
}

/// Time for a server to free the memory of the handshakes.
const SETTLE: Duration = Duration::from_secs(1);

/// Few, so that messages in the server's outboxes do not count as memory per connection.
const MOST_IN_FLIGHT: u64 = 8;
