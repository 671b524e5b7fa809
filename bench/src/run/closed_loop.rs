//! Ping-pong, stream and mesh: each delivery triggers the next message.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use waddell_tests::histogram::Histogram;
use waddell_tests::rng::Rng;

use super::measurement::{Measurement, QUIET, Tally};
use super::parameters::Run;
use crate::body::Stamp;
use crate::net::{Event, Out};
use crate::outcome::Outcome;
use crate::scenario::Scenario;

pub(super) fn run(run: &Run) -> Result<Outcome> {
    let peers = 2 * usize::from(run.pairs);
    let mut net = run.net()?;
    net.open_all(peers)?;
    let mut traffic = Traffic::new(run, peers);
    traffic.start(net.out());

    let mut turn = |traffic: &mut Traffic| -> Result<usize> {
        let before = traffic.tally.delivered;
        let mut closed = None;
        net.turn(Some(TICK), |out, peer, event| match event {
            Event::Message(stamp) => traffic.arrived(out, stamp),
            Event::Damaged => traffic.tally.damaged += 1,
            Event::Closed => closed = Some(peer),
            Event::Ready => {}
        })?;
        if let Some(peer) = closed {
            bail!("{}: the server closed the connection of peer {peer}", run.url.url);
        }
        Ok((traffic.tally.delivered - before) as usize)
    };

    let began = Instant::now();
    while began.elapsed() < run.warm_up() {
        turn(&mut traffic)?;
    }
    let delivered = traffic.tally.delivered;
    traffic.times = Histogram::new();
    let measurement = Measurement::begin(run.server())?;
    while measurement.elapsed() < run.duration() {
        turn(&mut traffic)?;
    }
    let mut outcome = measurement.end(traffic.tally.delivered - delivered)?;
    outcome.set_latency(&traffic.times);

    traffic.over = true;
    let mut quiet = Instant::now();
    while traffic.tally.in_flight() > 0 && quiet.elapsed() < QUIET {
        if turn(&mut traffic)? > 0 {
            quiet = Instant::now();
        }
    }
    traffic.tally.report(&mut outcome);
    outcome.peers = peers;
    outcome.window = traffic.window;
    Ok(outcome)
}

struct Traffic {
    scenario: Scenario,
    peers: usize,
    window: usize,
    tally: Tally,
    /// Number of the next message of each peer.
    numbers: Vec<u32>,
    times: Histogram,
    random: Rng,
    /// Nothing more is sent.
    over: bool,
}

impl Traffic {
    fn new(run: &Run, peers: usize) -> Self {
        let scenario = run.scenario;
        let window = if scenario == Scenario::Pingpong { 1 } else { usize::from(run.window) };
        let columns = if scenario == Scenario::Mesh { peers } else { 1 };
        Self {
            scenario,
            peers,
            window,
            tally: Tally::new(peers, columns),
            numbers: vec![0; peers],
            times: Histogram::new(),
            random: Rng::new(1),
            over: false,
        }
    }

    fn start(&mut self, out: &mut Out) {
        let step = if self.scenario == Scenario::Mesh { 1 } else { 2 };
        for sender in (0..self.peers).step_by(step) {
            for _ in 0..self.window {
                let time = out.now();
                self.send(out, sender as u32, time);
            }
        }
    }

    fn arrived(&mut self, out: &mut Out, stamp: Stamp) {
        self.tally.arrived(stamp);
        let now = out.now();
        match self.scenario {
            // The answer carries the time of the question, to measure the round trip.
            Scenario::Pingpong if stamp.sender.is_multiple_of(2) => {
                self.send(out, stamp.recipient, stamp.time);
            }
            Scenario::Pingpong => {
                self.times.record(now - stamp.time);
                self.send(out, stamp.recipient, now);
            }
            _stream_or_mesh => {
                self.times.record(now - stamp.time);
                self.send(out, stamp.sender, now);
            }
        }
    }

    fn send(&mut self, out: &mut Out, sender: u32, time: u64) {
        if self.over {
            return;
        }
        let recipient = if self.scenario == Scenario::Mesh {
            self.random.between(0..=self.peers - 1) as u32
        } else {
            sender ^ 1
        };
        let number = &mut self.numbers[sender as usize];
        out.send(Stamp { time, number: *number, sender, recipient });
        *number += 1;
        self.tally.sent += 1;
    }
}

/// Longest wait between two looks at the clock.
const TICK: Duration = Duration::from_millis(50);
