//! A recipient that stops reading, and its effect on the others.
//!
//! Peer 0 writes to peer 1, which reads nothing, and to peer 2; peer 3 writes to peer 4.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use waddell_tests::histogram::Histogram;

use super::measurement::{Measurement, QUIET, Tally, round};
use super::parameters::Run;
use crate::body::Stamp;
use crate::net::{Event, Net};
use crate::outcome::Outcome;

pub(super) fn run(run: &Run) -> Result<Outcome> {
    let server = run.server().context("slow measures a process: name it with --server-pid")?;
    let mut net = run.net()?;
    net.open_all(PEERS)?;
    net.pause(STOPPED, true)?;
    let resident = server.resident()?;
    let mut state = State {
        healthy: Tally::new(PEERS, PEERS),
        stopped: Tally::new(PEERS, PEERS),
        times: Histogram::new(),
        last: net.out().now(),
        longest_gap: 0,
    };
    let mut sent = 0_u64;
    let interval = 1e9 / f64::from(run.rate);
    let start = net.out().now();
    let measurement = Measurement::begin(Some(server))?;
    let mut most = resident;
    let mut looked = Instant::now();
    while measurement.elapsed() < run.duration() {
        loop {
            let time = start + (sent as f64 * interval) as u64;
            if time > net.out().now() {
                break;
            }
            let (sender, recipient) = FLOWS[(sent % FLOWS.len() as u64) as usize];
            let number = (sent / FLOWS.len() as u64) as u32;
            sent += 1;
            // If the server stops reading from a sender, its messages must not fill this process.
            if net.out().waiting(sender as usize) > MOST_WAITING {
                if recipient as usize != STOPPED {
                    state.healthy.sent += 1;
                }
                continue;
            }
            net.out().send(Stamp { time, number, sender, recipient });
            let flow = recipient as usize == STOPPED;
            let tally = if flow { &mut state.stopped } else { &mut state.healthy };
            tally.sent += 1;
        }
        state.turn(run, &mut net)?;
        if looked.elapsed() > Duration::from_millis(50) {
            most = most.max(server.resident()?);
            looked = Instant::now();
        }
    }
    let healthy = state.healthy.delivered;
    let mut outcome = measurement.end(healthy)?;
    // In percent of the messages due; the last few may still be in flight.
    outcome.others_percent = Some(round(100.0 * healthy as f64 / state.healthy.sent as f64));
    let silence = net.out().now() - state.last;
    outcome.longest_gap_ms = Some(round(state.longest_gap.max(silence) as f64 / 1e6));
    outcome.set_latency(&state.times);
    outcome.resident_growth_mb = Some(round((most - resident) as f64 / 1e6));

    net.pause(STOPPED, false)?;
    let mut quiet = Instant::now();
    while quiet.elapsed() < QUIET {
        let before = state.stopped.delivered + state.healthy.delivered;
        state.turn(run, &mut net)?;
        if state.stopped.delivered + state.healthy.delivered > before {
            quiet = Instant::now();
        }
    }
    outcome.after_resume = Some(state.stopped.delivered);
    state.healthy.report(&mut outcome);
    outcome.misordered += state.stopped.misordered;
    outcome.damaged += state.stopped.damaged;
    outcome.peers = PEERS;
    outcome.rate = run.rate as usize;
    Ok(outcome)
}

struct State {
    healthy: Tally,
    stopped: Tally,
    times: Histogram,
    /// Time of the last arrival from the sender that also writes to the stopped recipient.
    last: u64,
    longest_gap: u64,
}

impl State {
    fn turn(&mut self, run: &Run, net: &mut Net) -> Result<()> {
        let mut closed = None;
        net.turn(Some(Duration::ZERO), |out, peer, event| match event {
            Event::Message(stamp) if peer == STOPPED => self.stopped.arrived(stamp),
            Event::Message(stamp) => {
                self.healthy.arrived(stamp);
                let now = out.now();
                if stamp.sender == 0 {
                    self.longest_gap = self.longest_gap.max(now - self.last);
                    self.last = now;
                }
                self.times.record(now - stamp.time);
            }
            Event::Damaged => self.healthy.damaged += 1,
            // A server may disconnect a peer that does not read.
            Event::Closed if peer == STOPPED => {}
            Event::Closed => closed = Some(peer),
            Event::Ready => {}
        })?;
        if let Some(peer) = closed {
            bail!("{}: the server closed the connection of peer {peer}", run.url.url);
        }
        Ok(())
    }
}

const PEERS: usize = 5;
const STOPPED: usize = 1;
const FLOWS: [(u32, u32); 3] = [(0, 1), (0, 2), (3, 4)];

/// Most bytes that wait in this process for one sender's socket.
const MOST_WAITING: usize = 1 << 20;
