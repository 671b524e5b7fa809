//! Pairs that must lose nothing and must never wait long.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::timeout;
use waddell_core::TopicId;
use waddell_tests::rng::Rng;
use waddell_tests::transport::Via;

use crate::peer::Dial;
use crate::world::{Heard, Member, Phase, World, count};

/// Longest time of a message: far longer than one takes, even on a busy machine.
const STALLED: Duration = Duration::from_secs(20);

/// Traffic of a pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Longest pause between two bursts, in milliseconds.
    pub(crate) pause_ms: usize,
    /// Most messages in a burst.
    pub(crate) burst: usize,
    /// Longest body, in bytes.
    pub(crate) longest: usize,
}

/// Runs a pair until the phase `Leaving`: one peer asks, the other answers. Failures are reported.
pub(crate) async fn pair(world: Rc<World>, mut rng: Rng, manner: Manner) {
    let vias = [0, 1].map(|_| Via::ALL[rng.between(0..=Via::ALL.len() - 1)]);
    if let Err(error) = try_pair(&world, &mut rng, manner, vias).await {
        world.violated(format!("a healthy pair over {vias:?}: {error:#}"));
    }
}

async fn try_pair(world: &Rc<World>, rng: &mut Rng, manner: Manner, vias: [Via; 2]) -> Result<()> {
    let [mut asks, mut answers] = [join(world, vias[0]).await?, join(world, vias[1]).await?];
    asks.arrivals.expect_all_of(answers.peer.id);
    answers.arrivals.expect_all_of(asks.peer.id);
    let to = answers.peer.id;
    let from = asks.peer.id;
    let answer_world = Rc::clone(world);
    let answering = tokio::task::spawn_local(async move {
        let world = answer_world;
        loop {
            match answers.hear(&world).await {
                Heard::Message(stamp) if stamp.sender == from => {
                    record(&world, stamp.time);
                    let frame = answers.frame(&world, from, stamp.topic, 64);
                    count(&world.counts.healthy_sent);
                    if answers.peer.send(frame).await.is_err() {
                        return;
                    }
                }
                // From a wild peer.
                Heard::Message(_) => {}
                Heard::End => return,
            }
        }
    });
    world.healthy.borrow_mut().extend([from, to]);
    while world.phase() != Phase::Leaving {
        let pause = rng.up_to_ms(manner.pause_ms);
        ensure!(asks.hear_for(world, pause).await, "the connection is lost");
        if world.phase() != Phase::Talking {
            tokio::select! {
                () = world.until_not_quiet() => continue,
                heard = asks.hear(world) => {
                    ensure!(heard != Heard::End, "the connection is lost");
                    continue;
                }
            }
        }
        let burst = if rng.chance(70) { 1 } else { rng.between(1..=manner.burst) };
        for _ in 0..burst {
            let topic = TopicId(rng.between(1..=3) as u16);
            let longest = if rng.chance(90) { manner.longest.min(400) } else { manner.longest };
            let frame = asks.frame(world, to, topic, rng.between(64..=longest));
            count(&world.counts.healthy_sent);
            let sent = timeout(STALLED, asks.peer.send(frame)).await;
            sent.context("the server does not read")?.context("the connection is lost")?;
        }
        let mut answered = 0;
        while answered < burst {
            match timeout(STALLED, asks.hear(world)).await.context("an answer is missing")? {
                Heard::Message(stamp) if stamp.sender == to => {
                    record(world, stamp.time);
                    answered += 1;
                }
                Heard::Message(_) => {}
                Heard::End => bail!("the connection is lost"),
            }
        }
    }
    ensure!(!answering.is_finished(), "the connection of the answering peer is lost");
    answering.abort();
    Ok(())
}

async fn join(world: &World, via: Via) -> Result<Member> {
    let peer = Dial::new(via).peer(&world.server).await;
    Ok(Member::new(peer.with_context(|| format!("cannot connect over {via:?}"))?, via))
}

/// Counts a message of a healthy pair.
fn record(world: &World, sent_at: u64) {
    count(&world.counts.healthy_received);
    world.latency.borrow_mut().record(world.time().saturating_sub(sent_at));
}
