//! One kind of abuse at a time, beside healthy pairs: what it costs the server, and them.

mod connections;
mod firehose;
mod slow;

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};
use waddell_tests::rng::Rng;

use crate::healthy::{Manner, pair};
use crate::memory::Memory;
use crate::server::{Launch, Server};
use crate::world::{Phase, World};

/// A kind of abuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// Handshakes, HTTP's and TLS's, that come a byte at a time and never end.
    SlowHandshakes,
    /// A TLS client's first words, or half of them, and then silence.
    HalfOpenTls,
    /// Peers that send the longest frame a byte at a time, over every transport.
    SlowFrames,
    /// More connections than the server may have descriptors, and nothing said on them.
    Idle,
    /// Many times more connections than `--max-connections` allows, as fast as they can be made.
    FloodAll,
    /// The same from one address, beyond `--max-connections-per-address`.
    FloodAddress,
    /// Frames at full speed to peers that never read.
    Unread,
    /// Frames at full speed to ids that nobody has.
    Unknown,
    /// Frames at full speed to oneself, read and not read.
    Oneself,
}

impl Attack {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::SlowHandshakes,
        Self::HalfOpenTls,
        Self::SlowFrames,
        Self::Idle,
        Self::FloodAll,
        Self::FloodAddress,
        Self::Unread,
        Self::Unknown,
        Self::Oneself,
    ];

    /// Returns the flags that make an end come soon, or a limit be near.
    fn flags(self) -> &'static [&'static str] {
        match self {
            // However late a busy machine has them say their first byte, they are not taken for
            // silent peers.
            Self::SlowHandshakes | Self::HalfOpenTls => {
                &["--handshake-timeout=2s", "--auto-silence=1h"]
            }
            Self::SlowFrames => &["--idle-timeout=3s"],
            Self::Idle => &["--max-connections=0"],
            Self::FloodAll => &["--max-connections=200"],
            Self::FloodAddress => &["--max-connections-per-address=200"],
            Self::Unread | Self::Oneself => &["--write-timeout=1h"],
            Self::Unknown => &[],
        }
    }

    /// Returns the growth of the server's memory beyond which the attack succeeds, in bytes, for
    /// that many connections: a few times what is seen.
    fn allowed_growth(self, connections: usize) -> u64 {
        let each = match self {
            // Buffers and state of handshakes.
            Self::SlowHandshakes | Self::HalfOpenTls => 96 << 10,
            // What has come of a frame, and a TLS session.
            Self::SlowFrames => 96 << 10,
            Self::Idle => 4 << 10,
            Self::FloodAll | Self::FloodAddress => 1 << 10,
            Self::Unread | Self::Unknown | Self::Oneself => 0,
        };
        // An outbox of 1 MiB for each of those who do not read, and what workers keep.
        (48 << 20) + connections as u64 * each
    }
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SlowHandshakes => "slow handshakes",
            Self::HalfOpenTls => "half-open TLS",
            Self::SlowFrames => "slow frames",
            Self::Idle => "idle connections",
            Self::FloodAll => "flood of connections",
            Self::FloodAddress => "flood from one address",
            Self::Unread => "firehose, never read",
            Self::Unknown => "firehose to nobody",
            Self::Oneself => "firehose to oneself",
        })
    }
}

/// How an attack is to be made.
#[derive(Clone, Debug)]
pub struct Siege {
    /// The server.
    pub launch: Launch,
    /// Connections, for attacks that are made with many.
    pub connections: usize,
    /// Time, for attacks that have no end of their own.
    pub duration: Duration,
}

/// What an attack has cost.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Cost {
    /// The attack.
    pub attack: Attack,
    /// How much of it there was: connections made, or frames sent.
    pub amount: u64,
    /// How long it took.
    pub seconds: f64,
    /// The server's resident memory in MiB: before, at most meanwhile, after.
    pub resident_mib: [f64; 3],
    /// Messages of the healthy pairs meanwhile.
    pub healthy_messages: u64,
    /// How long they took, in milliseconds: half of them, 99 in a hundred, all.
    pub healthy_ms: [f64; 3],
}

/// How the healthy pairs talk meanwhile: all the time, and little.
const MANNER: Manner = Manner { pause_ms: 40, burst: 4, longest: 2000 };
const PAIRS: usize = 4;

/// Longest time for any step to take; what runs into it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes an attack on a server of its own.
///
/// # Errors
///
/// The attack succeeded: the server gave way, or took more memory than it may, or a healthy pair
/// lost a message or waited too long for one. Or it could not be made.
pub fn attack(attack: Attack, siege: &Siege) -> Result<Cost> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, run(attack, siege)).with_context(|| attack.to_string())
}

async fn run(attack: Attack, siege: &Siege) -> Result<Cost> {
    let mut launch = siege.launch.clone();
    let unlimited = "--max-connections-per-address=0";
    launch.flags.extend([unlimited].iter().chain(attack.flags()).map(|flag| (*flag).to_owned()));
    if attack == Attack::FloodAddress {
        launch.flags.retain(|flag| flag != unlimited);
    }
    if attack == Attack::Idle {
        launch.descriptors = Some(siege.connections);
    }
    let world = Rc::new(World::new(Server::start(&launch)?));
    let mut pairs = JoinSet::new();
    for seed in 0..PAIRS {
        pairs.spawn_local(pair(Rc::clone(&world), Rng::new(seed as u64), MANNER));
    }
    until("the healthy pairs talk", || async {
        Ok(world.counts.healthy_received.get() >= 20 * PAIRS as u64)
    })
    .await?;

    let before = world.server.usage().resident()?;
    let received_before = world.counts.healthy_received.get();
    world.latency.take();
    let begin = Instant::now();
    let memory = RefCell::new(Memory::default());
    let amount = tokio::select! {
        amount = make(attack, &world, siege) => amount?,
        error = watch(&world, &memory) => return Err(error),
    };
    let seconds = begin.elapsed().as_secs_f64();
    let peak = memory.borrow().max().max(world.server.usage().resident()?);
    let latency = world.latency.take();
    let healthy_messages = world.counts.healthy_received.get() - received_before;

    world.enter(Phase::Leaving);
    timeout(PATIENCE, async { while pairs.join_next().await.is_some() {} })
        .await
        .context("the healthy pairs hang")?;
    let all_gone = || async {
        let reading = world.server.metrics().await?;
        Ok(reading.sum("waddell_peers")? == 0)
    };
    until("all peers are gone", all_gone).await?;
    world.server.metrics().await?.check_sum()?;
    let after = world.server.usage().resident()?;
    let world = Rc::into_inner(world).context("a healthy peer has not left")?;
    if let [first, ..] = &world.violations()[..] {
        bail!("{first}");
    }
    ensure!(healthy_messages > 0, "the healthy pairs said nothing meanwhile");
    let allowed = attack.allowed_growth(siege.connections);
    ensure!(
        peak <= before + allowed,
        "the server grew from {:.1} to {:.1} MiB",
        mib(before),
        mib(peak)
    );
    world.server.terminate().await?;
    Ok(Cost {
        attack,
        amount,
        seconds,
        resident_mib: [before, peak, after].map(mib),
        healthy_messages,
        healthy_ms: [50.0, 99.0, 100.0]
            .map(|percent| latency.percentile(percent).unwrap_or_default() as f64 / 1e6),
    })
}

/// Returns how much of the attack there was, once it is over.
async fn make(attack: Attack, world: &Rc<World>, siege: &Siege) -> Result<u64> {
    match attack {
        Attack::SlowHandshakes => slow::handshakes(world, siege.connections).await,
        Attack::HalfOpenTls => slow::half_open_tls(world, siege.connections).await,
        Attack::SlowFrames => slow::frames(world, siege.connections).await,
        Attack::Idle => connections::idle(world, siege.connections).await,
        Attack::FloodAll => connections::flood(world, siege.connections, [127, 0, 0, 1]).await,
        Attack::FloodAddress => connections::flood(world, siege.connections, [127, 0, 0, 2]).await,
        Attack::Unread => firehose::unread(world, siege.duration).await,
        Attack::Unknown => firehose::unknown(world, siege.duration).await,
        Attack::Oneself => firehose::oneself(world, siege.duration).await,
    }
}

/// Watches the server's size until something goes wrong.
async fn watch(world: &World, memory: &RefCell<Memory>) -> anyhow::Error {
    loop {
        match world.server.usage().resident() {
            Ok(bytes) => memory.borrow_mut().record(bytes),
            Err(error) => return error.into(),
        }
        if let [first, ..] = &world.violations()[..] {
            return anyhow::anyhow!("{first}");
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until `condition` holds, which is called `what`.
async fn until<F: Future<Output = Result<bool>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Result<()> {
    let begin = Instant::now();
    while !condition().await? {
        ensure!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
