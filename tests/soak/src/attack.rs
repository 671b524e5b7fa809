//! One kind of attack at a time, and its cost to the server and to healthy pairs.

mod connections;
mod extended;
mod firehose;
mod patience;
mod slow;

use std::cell::RefCell;
use std::fmt;
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
use patience::{PATIENCE, until};

/// A kind of attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// HTTP and TLS handshakes that are sent a byte at a time and never end.
    SlowHandshakes,
    /// A TLS client hello, or half of it, and then silence.
    HalfOpenTls,
    /// Peers that send a long frame a byte at a time, over every transport.
    SlowFrames,
    /// More silent connections than the server may have descriptors.
    Idle,
    /// Many times more connections than `--max-connections` allows, at full speed.
    FloodAll,
    /// The same from one address, beyond `--max-connections-per-address`.
    FloodAddress,
    /// Frames at full speed to peers that never read.
    Unread,
    /// Frames at full speed to unknown ids.
    Unknown,
    /// Frames at full speed from a peer to itself, which reads or does not.
    Oneself,
    /// Frames at full speed to unknown ids, with questions what became of them.
    Verdicts,
    /// Many peers that watch one, and write to it.
    Watchers,
    /// HELLOs with resume tokens that are made up.
    Tokens,
    /// Connections that are lost as soon as they have a resume token.
    Tombstones,
    /// Requests for new ids at full speed.
    Renewals,
    /// Two programs with one resume token.
    Takeovers,
    /// Control frames whose lengths and contents are wrong, at full speed.
    Controls,
}

impl Attack {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::SlowHandshakes,
        Self::HalfOpenTls,
        Self::SlowFrames,
        Self::Idle,
        Self::FloodAll,
        Self::FloodAddress,
        Self::Unread,
        Self::Unknown,
        Self::Oneself,
        Self::Verdicts,
        Self::Watchers,
        Self::Tokens,
        Self::Tombstones,
        Self::Renewals,
        Self::Takeovers,
        Self::Controls,
    ];

    /// Returns the flags that shorten a timeout, or lower a limit.
    fn flags(self) -> &'static [&'static str] {
        match self {
            // On a busy machine the first byte may be late. The client must not count as silent.
            Self::SlowHandshakes | Self::HalfOpenTls => {
                &["--handshake-timeout=2s", "--auto-silence=1h"]
            }
            Self::SlowFrames => &["--idle-timeout=3s"],
            Self::Idle => &["--max-connections=0"],
            Self::FloodAll => &["--max-connections=200"],
            Self::FloodAddress => &["--max-connections-per-address=200"],
            Self::Unread | Self::Oneself => &["--write-timeout=1h"],
            Self::Verdicts | Self::Renewals | Self::Controls => &["--write-timeout=1h"],
            Self::Unknown | Self::Watchers | Self::Tokens => &[],
            Self::Tombstones | Self::Takeovers => &[],
        }
    }

    /// Returns the growth of the server's memory, in bytes, beyond which the attack has succeeded
    /// with that number of connections: a few times the usual growth.
    fn allowed_growth(self, connections: usize) -> u64 {
        let each = match self {
            // Buffers and state of handshakes.
            Self::SlowHandshakes | Self::HalfOpenTls => 96 << 10,
            // A partial frame, and a TLS session.
            Self::SlowFrames => 96 << 10,
            Self::Idle => 4 << 10,
            Self::FloodAll | Self::FloodAddress => 1 << 10,
            Self::Unread | Self::Unknown | Self::Oneself => 0,
            // An outbox, and what the extension keeps of each peer.
            Self::Watchers => 96 << 10,
            Self::Verdicts | Self::Tokens | Self::Renewals | Self::Takeovers => 0,
            // Those that are away have 16 MiB together.
            Self::Tombstones | Self::Controls => 0,
        };
        // An outbox of 1 MiB for each peer that does not read, and the buffers of the workers.
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
            Self::Unknown => "firehose to unknown ids",
            Self::Oneself => "firehose to oneself",
            Self::Verdicts => "firehose of verdicts",
            Self::Watchers => "watchers of one peer",
            Self::Tokens => "made-up resume tokens",
            Self::Tombstones => "lost at once",
            Self::Renewals => "firehose of new ids",
            Self::Takeovers => "two with one token",
            Self::Controls => "bad control frames",
        })
    }
}

/// Parameters of an attack.
#[derive(Clone, Debug)]
pub struct Siege {
    /// The server.
    pub launch: Launch,
    /// Number of connections, for attacks with many connections.
    pub connections: usize,
    /// Duration, for attacks without an end of their own.
    pub duration: Duration,
}

/// Cost of an attack.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Cost {
    /// The attack.
    pub attack: Attack,
    /// Number of connections made, or of frames sent.
    pub amount: u64,
    /// Duration.
    pub seconds: f64,
    /// The server's resident memory in MiB: before, peak, after.
    pub resident_mib: [f64; 3],
    /// Messages of the healthy pairs during the attack.
    pub healthy_messages: u64,
    /// Times of these messages in milliseconds: median, 99 %, maximum.
    pub healthy_ms: [f64; 3],
}

/// Traffic of the healthy pairs during the attack: steady and light.
const MANNER: Manner = Manner { pause_ms: 40, burst: 4, longest: 2000 };
const PAIRS: usize = 4;

/// Attacks a server that is started for it.
///
/// # Errors
///
/// The attack succeeded: the server failed or took too much memory, or a healthy pair lost a
/// message or waited too long for one. Or the attack could not be made.
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
    ensure!(healthy_messages > 0, "the healthy pairs sent nothing during the attack");
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

/// Makes the attack, and returns the number of its connections or frames.
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
        Attack::Verdicts => extended::verdicts(world, siege.duration).await,
        Attack::Watchers => extended::watchers(world, siege.connections, siege.duration).await,
        Attack::Tokens => extended::tokens(world, siege.duration).await,
        Attack::Tombstones => extended::tombstones(world, siege.connections).await,
        Attack::Renewals => extended::renewals(world, siege.duration).await,
        Attack::Takeovers => extended::takeovers(world, siege.duration).await,
        Attack::Controls => extended::controls(world, siege.duration).await,
    }
}

/// Records the server's memory until a violation occurs.
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

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
