//! Peers of every kind for some time, with the counters compared at quiet points.

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

/// Parameters of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub launch: Launch,
    /// Time in which peers talk. Leaving takes further time.
    pub duration: Duration,
    /// Peers at a time. One in eight belongs to a healthy pair.
    pub peers: usize,
    /// Seed of all random choices. The timing depends on the machine.
    pub seed: u64,
}

/// Result of a run.
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
    /// Broken promises. A good run has none.
    pub violations: Vec<String>,
    /// Number of times at which all peers were quiet and the counters were compared.
    pub quiet_points: u32,
    /// Counters of the peers.
    pub counts: BTreeMap<&'static str, u64>,
    /// Counters of the server at the end.
    pub metrics: BTreeMap<String, u64>,
    /// Times of messages between healthy peers in milliseconds: median, 99 %, maximum.
    pub healthy_ms: [f64; 3],
    /// The server's resident memory in MiB: early in the run, late in it, maximum, and after all
    /// peers have left.
    pub resident_mib: [f64; 4],
    /// The server's open descriptors before the run and after it.
    pub descriptors: [usize; 2],
}

/// Flags that shorten a run. Peers that do not read are disconnected soon. The pong timeout is long
/// enough for healthy peers on a busy machine.
const FLAGS: [&str; 7] = [
    "--max-connections-per-address=0",
    "--outbox=256KiB",
    "--max-frame=60000",
    "--write-timeout=5s",
    "--handshake-timeout=8s",
    "--ping-interval=10s",
    "--pong-timeout=30s",
];

/// Traffic of healthy pairs.
const MANNER: Manner = Manner { pause_ms: 2000, burst: 20, longest: 30_000 };

/// Longest time until all sent frames are read, and until all peers are gone.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a plan, and prints its progress on standard error.
///
/// # Errors
///
/// The plan could not be run. Broken promises are in the report.
pub fn soak(plan: &Plan) -> Result<Report> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(plan))
}

async fn run(plan: &Plan) -> Result<Report> {
    let mut launch = plan.launch.clone();
    launch.flags.splice(0..0, FLAGS.map(str::to_owned));
    let server = Server::start(&launch)?;
    // After its first answer the server has opened all of its own descriptors.
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
    // They connect one after the other, so that no peer waits for the handshakes of all others.
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

/// A run in progress.
struct Run<'a> {
    world: Rc<World>,
    plan: &'a Plan,
    memory: Memory,
    quiet_points: u32,
}

impl Run<'_> {
    /// Watches the peers talk, and compares the counters from time to time.
    async fn talk(&mut self) -> Result<()> {
        let begin = Instant::now();
        let distance = (self.plan.duration / 4).min(Duration::from_secs(60));
        let mut quiet_at = distance;
        let mut printed_at = Duration::ZERO;
        let mut talked = Duration::ZERO;
        // Quiet points do not count towards the duration.
        while talked < self.plan.duration {
            let resumed = Instant::now();
            sleep(Duration::from_millis(500)).await;
            self.memory.record(self.world.server.usage().resident()?);
            talked += resumed.elapsed();
            if begin.elapsed() >= printed_at + Duration::from_secs(10) {
                printed_at = begin.elapsed();
                self.print_progress(printed_at).await?;
            }
            if talked >= quiet_at {
                quiet_at += distance;
                self.quiet_point().await?;
            }
        }
        Ok(())
    }

    /// Keeps all peers quiet until every sent frame is read, and compares the counters.
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
                    "at a quiet point frames still arrive, or are missing: healthy peers have sent \
                     {} and received {}",
                    self.world.counts.healthy_sent.get(),
                    self.world.counts.healthy_received.get(),
                ));
                self.world.server.metrics().await?
            }
        };
        self.compare_counters(&reading);
        self.quiet_points += 1;
        self.world.enter(Phase::Talking);
        Ok(())
    }

    /// Compares the counters of the server with each other and with those of the peers.
    fn compare_counters(&self, reading: &Reading) {
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
            ensure!(sent <= frames_in, "{sent} frames were sent, but only {frames_in} arrived");
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
            // The connection of the request to `/metrics` may still be open.
            let descriptors = self.world.server.usage().descriptors()?;
            if peers == 0 && descriptors <= descriptors_before + 1 {
                return Ok(reading);
            }
            if begin.elapsed() > PATIENCE {
                self.world.violated(format!(
                    "all peers have left, but the server still has {peers} peers and {descriptors} \
                     descriptors; it began with {descriptors_before} descriptors"
                ));
                return Ok(reading);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Prints the progress.
    async fn print_progress(&self, elapsed: Duration) -> Result<()> {
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

    /// Compares the counters for the last time, ends the server, and makes the report.
    async fn finish(self, descriptors_before: usize, reading: &Reading) -> Result<Report> {
        self.compare_counters(reading);
        let Self { world, plan, memory, quiet_points } = &self;
        let counts = &world.counts;
        let outbox_bytes: u64 = reading.labelled("waddell_outbox_bytes").values().sum();
        if outbox_bytes > 0 {
            world.violated(format!("no peer is left, but outboxes hold {outbox_bytes} bytes"));
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
