//! Peers of every kind for a while, with the counters added up at quiet points.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};
use waddell_tests::rng::Rng;

use crate::healthy::{Manner, pair};
use crate::memory::Memory;
use crate::prometheus::Reading;
use crate::server::{Launch, Server};
use crate::wild::wild;
use crate::world::{Phase, World};

/// What a run is to be like.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub launch: Launch,
    /// How long peers talk, without the time that they take to leave.
    pub duration: Duration,
    /// Peers at a time; one in eight belongs to a healthy pair.
    pub peers: usize,
    /// What all random choices come from. The timing is the machine's.
    pub seed: u64,
}

/// What a run has come to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Report {
    /// The plan's seed.
    pub seed: u64,
    /// The plan's duration.
    pub seconds: f64,
    /// The plan's number of peers.
    pub peers: usize,
    /// What must not have happened; all is well if there is nothing.
    pub violations: Vec<String>,
    /// Times at which nobody sent anything and the counters were added up.
    pub quiet_points: u32,
    /// What the peers have counted.
    pub counts: BTreeMap<&'static str, u64>,
    /// What the server has counted, at the end.
    pub metrics: BTreeMap<String, u64>,
    /// How long messages of healthy pairs took, in milliseconds: half of them, 99 in a hundred,
    /// all.
    pub healthy_ms: [f64; 3],
    /// The server's resident memory in MiB: early in the run, late in it, at most, and at the end
    /// when all have left.
    pub resident_mib: [f64; 4],
    /// The server's open descriptors before the run and after it.
    pub descriptors: [usize; 2],
}

/// Flags with which a run sees in a minute what otherwise takes many. Whoever does not read is
/// hung up soon; the healthy answer pings however busy the machine.
const FLAGS: [&str; 7] = [
    "--max-connections-per-address=0",
    "--outbox=256KiB",
    "--max-frame=60000",
    "--write-timeout=5s",
    "--handshake-timeout=8s",
    "--ping-interval=10s",
    "--pong-timeout=30s",
];

/// How healthy pairs talk.
const MANNER: Manner = Manner { pause_ms: 2000, burst: 20, longest: 30_000 };

/// Longest time for all that was sent to be taken in, and for all that have left to be gone.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a plan; says on standard error how it goes.
///
/// # Errors
///
/// It could not be run. What must not happen is in the report.
pub fn soak(plan: &Plan) -> Result<Report> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(plan))
}

async fn run(plan: &Plan) -> Result<Report> {
    let mut launch = plan.launch.clone();
    launch.flags.splice(0..0, FLAGS.map(str::to_owned));
    let server = Server::start(&launch)?;
    // Once it answers it has opened all that it needs for itself.
    server.metrics().await?;
    let descriptors_before = server.usage().descriptors()?;
    let world = Rc::new(World::new(server));
    let mut peers = spawn_all(&world, plan);

    let mut run = Run { world, plan, memory: Memory::default(), quiet_points: 0 };
    run.talk().await?;
    run.world.enter(Phase::Leaving);
    let left = timeout(PATIENCE, async { while peers.join_next().await.is_some() {} }).await;
    ensure!(left.is_ok(), "not all peers leave");
    let reading = run.all_gone(descriptors_before).await?;
    run.finish(descriptors_before, &reading).await
}

fn spawn_all(world: &Rc<World>, plan: &Plan) -> JoinSet<()> {
    let pairs = (plan.peers / 16).max(1);
    let mut seeds = Rng::new(plan.seed);
    let mut peers = JoinSet::new();
    // They come one after the other, so that nobody has to wait for all others' handshakes.
    let mut coming = move |number: usize| {
        let share = number as f64 / plan.peers as f64;
        (
            plan.duration.min(Duration::from_secs(60)).mul_f64(share / 6.0),
            Rng::new(seeds.next_u64()),
        )
    };
    for number in 0..pairs {
        let (world, (at, rng)) = (Rc::clone(world), coming(number));
        peers.spawn_local(async move {
            world.sleep(at).await;
            pair(world, rng, MANNER).await;
        });
    }
    for number in 2 * pairs..plan.peers {
        let (world, (at, rng)) = (Rc::clone(world), coming(number));
        peers.spawn_local(async move {
            world.sleep(at).await;
            wild(world, rng).await;
        });
    }
    peers
}

/// A run on its way.
struct Run<'a> {
    world: Rc<World>,
    plan: &'a Plan,
    memory: Memory,
    quiet_points: u32,
}

impl Run<'_> {
    /// Watches the peers talk, and adds up now and then.
    async fn talk(&mut self) -> Result<()> {
        let begin = Instant::now();
        let distance = (self.plan.duration / 4).min(Duration::from_secs(60));
        let mut quiet_at = distance;
        let mut said_at = Duration::ZERO;
        let mut talked = Duration::ZERO;
        // Quiet points are no part of the time that was asked for.
        while talked < self.plan.duration {
            let resumed = Instant::now();
            sleep(Duration::from_millis(500)).await;
            self.memory.record(self.world.server.usage().resident()?);
            talked += resumed.elapsed();
            if begin.elapsed() >= said_at + Duration::from_secs(10) {
                said_at = begin.elapsed();
                self.say(said_at).await?;
            }
            if talked >= quiet_at {
                quiet_at += distance;
                self.quiet_point().await?;
            }
        }
        Ok(())
    }

    /// Has everybody be quiet until all that was sent is taken in, and adds up.
    async fn quiet_point(&mut self) -> Result<()> {
        self.world.enter(Phase::Quiet);
        let settled = async {
            let mut before = None;
            loop {
                sleep(Duration::from_millis(300)).await;
                let reading = self.world.server.metrics().await?;
                let sent = self.world.counts.healthy_sent.get();
                let now = (reading.sum("waddell_frames_in_total")?, sent);
                if before.replace(now) == Some(now)
                    && sent == self.world.counts.healthy_received.get()
                {
                    return Ok::<_, anyhow::Error>(reading);
                }
            }
        };
        let settled = timeout(PATIENCE, settled).await;
        let reading = match settled {
            Ok(reading) => reading?,
            Err(_elapsed) => {
                self.world.violated(format!(
                    "at a quiet point frames still come in, or are missing: healthy peers have \
                     sent {} and received {}",
                    self.world.counts.healthy_sent.get(),
                    self.world.counts.healthy_received.get(),
                ));
                self.world.server.metrics().await?
            }
        };
        self.add_up(&reading);
        self.quiet_points += 1;
        self.world.enter(Phase::Talking);
        Ok(())
    }

    /// Compares what the server has counted with itself and with what its peers have.
    fn add_up(&self, reading: &Reading) {
        let check = || {
            reading.check_sum()?;
            reading.check_peers()?;
            let forwarded = reading.sum("waddell_frames_forwarded_total")?;
            let received = self.world.counts.received.get();
            ensure!(
                received <= forwarded,
                "{received} frames were received, but only {forwarded} forwarded"
            );
            let sent = self.world.counts.healthy_sent.get();
            let frames_in = reading.sum("waddell_frames_in_total")?;
            ensure!(sent <= frames_in, "{sent} frames were sent, but only {frames_in} came in");
            Ok(())
        };
        if let Err(error) = check() {
            self.world.violated(format!("{error:#}"));
        }
    }

    /// Waits until the server has no peer and no descriptor left that it did not have before.
    async fn all_gone(&self, descriptors_before: usize) -> Result<Reading> {
        let begin = Instant::now();
        loop {
            let reading = self.world.server.metrics().await?;
            let peers = reading.sum("waddell_peers")?;
            // The one that just asked for the metrics may still be there.
            let descriptors = self.world.server.usage().descriptors()?;
            if peers == 0 && descriptors <= descriptors_before + 1 {
                return Ok(reading);
            }
            if begin.elapsed() > PATIENCE {
                self.world.violated(format!(
                    "all have left, but {peers} peers and {descriptors} descriptors are there; \
                     it began with {descriptors_before} descriptors"
                ));
                return Ok(reading);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Says how it goes.
    async fn say(&self, elapsed: Duration) -> Result<()> {
        let reading = self.world.server.metrics().await?;
        let [half, most, _] = self.healthy_ms();
        eprintln!(
            "{:5.0} s: {} peers, {} frames in, {} received, healthy {half:.1} ms (99 %: {most:.1} \
             ms), {:.1} MiB, {} violations",
            elapsed.as_secs_f64(),
            reading.sum("waddell_peers")?,
            reading.sum("waddell_frames_in_total")?,
            self.world.counts.received.get(),
            mib(self.memory.last()),
            self.world.violations().len(),
        );
        Ok(())
    }

    fn healthy_ms(&self) -> [f64; 3] {
        let latency = self.world.latency.borrow();
        [50.0, 99.0, 100.0]
            .map(|percent| latency.percentile(percent).unwrap_or_default() as f64 / 1e6)
    }

    /// Adds up for the last time, ends the server, and writes the report.
    async fn finish(self, descriptors_before: usize, reading: &Reading) -> Result<Report> {
        self.add_up(reading);
        let Self { world, plan, memory, quiet_points } = &self;
        let counts = &world.counts;
        let outbox_bytes: u64 = reading.labelled("waddell_outbox_bytes").values().sum();
        if outbox_bytes > 0 {
            world.violated(format!("nobody is there, but {outbox_bytes} bytes wait for somebody"));
        }
        let (sent, received) = (counts.healthy_sent.get(), counts.healthy_received.get());
        if sent != received {
            world.violated(format!("healthy peers have sent {sent} and received {received}"));
        }
        let (early, late) = memory.before_and_after().unwrap_or_default();
        if !memory.is_flat() {
            world.violated(format!(
                "the server grows: from {:.1} MiB early in the run to {:.1} MiB late in it",
                mib(early),
                mib(late)
            ));
        }
        let resident = world.server.usage().resident()?;
        let descriptors = [descriptors_before, world.server.usage().descriptors()?];
        let mut report = Report {
            seed: plan.seed,
            seconds: plan.duration.as_secs_f64(),
            peers: plan.peers,
            violations: Vec::new(),
            quiet_points: *quiet_points,
            counts: BTreeMap::from([
                ("healthy messages", received),
                ("messages received", counts.received.get()),
                ("wild sessions", counts.sessions.get()),
                ("failed to connect", counts.failed_to_connect.get()),
                ("stalls", counts.stalls.get()),
                ("resets", counts.resets.get()),
                ("vanished", counts.vanished.get()),
                ("rubbish", counts.rubbish.get()),
            ]),
            metrics: reading.totals(),
            healthy_ms: self.healthy_ms(),
            resident_mib: [early, late, memory.max(), resident].map(mib),
            descriptors,
        };
        let world = Rc::into_inner(self.world).context("a peer has not left")?;
        report.violations = world.violations();
        if let Err(error) = world.server.terminate().await {
            report.violations.push(format!("{error:#}"));
        }
        Ok(report)
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
