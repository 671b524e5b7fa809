//! Attacks by clients that speak the extension.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::timeout;
use waddell_core::{
    Capabilities, HEADER_LEN, Hello, MAX_ENTRIES, MessageOut, Notice, PeerId, PeerIds, Request,
    TopicId,
};
use waddell_tests::rng::Rng;
use waddell_tests::transport::Via;

use super::patience::PATIENCE;
use crate::peer::{Dial, Peer, reset};
use crate::world::World;

const VIAS: [Via; 4] = [Via::Tcp, Via::Tls, Via::Ws, Via::Wss];

/// Frames per write.
const BATCH: usize = 64;

/// Length of the resume tokens of the server, in bytes.
const TOKEN_LEN: usize = 70;

/// Sends to unknown ids and asks what became of that, with and without reading the verdicts.
pub(super) async fn verdicts(world: &Rc<World>, duration: Duration) -> Result<u64> {
    let mut rng = Rng::new(1);
    let amount = flood(world, duration, move |_, number, frames| {
        if number % 8 == 0 {
            return Request::Sync { seen: 0 }.encode(frames);
        }
        message(PeerId::from_random(rng.bytes()), b"", frames);
    });
    let amount = amount.await?;
    let reading = world.server.metrics().await?;
    ensure!(reading.sum("waddell_drops_told_total")? > 0, "no verdict was sent");
    Ok(amount)
}

/// Asks for new ids at full speed.
pub(super) async fn renewals(world: &Rc<World>, duration: Duration) -> Result<u64> {
    let begin = Instant::now();
    let amount = flood(world, duration, |_, _, frames| Request::Renew.encode(frames)).await?;
    let most = 2 * VIAS.len() as u64 * (5 + begin.elapsed().as_secs() + 1);
    let renewed = world.server.metrics().await?.sum("waddell_ids_renewed_total")?;
    ensure!((1..=most).contains(&renewed), "{renewed} ids were renewed");
    Ok(amount)
}

/// Sends control frames of every kind, whose lengths and contents are wrong.
pub(super) async fn controls(world: &Rc<World>, duration: Duration) -> Result<u64> {
    let mut rng = Rng::new(2);
    flood(world, duration, move |_, number, frames| {
        let mut body = vec![(number % 256) as u8];
        let len = [0, 1, 4, 15, 35, 300, 4_608, 60_000][rng.between(0..=7)];
        body.extend(rng.bytes().repeat(len / 16 + 1));
        body.truncate(1 + len);
        if number % 3 == 0 {
            // Fields whose lengths go beyond the frame, in a HELLO that is right otherwise.
            body.splice(.., *b"\x01wad2\x02\xff\xff\xff\xff\x01\xff\xff");
        }
        message_on(PeerId::NIL, TopicId::CONTROL, &body, frames);
    })
    .await
}

/// Watches one peer from many, again and again, and writes to it. It leaves at the end.
pub(super) async fn watchers(
    world: &Rc<World>,
    connections: usize,
    duration: Duration,
) -> Result<u64> {
    let until = Instant::now() + duration;
    let victim = open(world, Via::Tcp, None).await?.0;
    let mut ids = victim.id.as_bytes().to_vec();
    let mut rng = Rng::new(3);
    ids.extend((1..MAX_ENTRIES).flat_map(|_| rng.bytes()));
    let mut tasks = JoinSet::new();
    for index in 0..connections {
        let (mut peer, _) = open(world, VIAS[index % VIAS.len()], None).await?;
        let (ids, to) = (ids.clone(), victim.id);
        tasks.spawn_local(async move {
            let mut sent = 0;
            while Instant::now() < until {
                let mut frames = Vec::new();
                Request::Watch(PeerIds::from_bytes(&ids)).encode(&mut frames);
                message(to, b"watched", &mut frames);
                Request::Unwatch(PeerIds::from_bytes(&ids[16..])).encode(&mut frames);
                peer.send(frames).await?;
                sent += 3;
                // The answer of an earlier WATCH, or the next one's: without it, none is read.
                timeout(PATIENCE, peer.receive()).await??;
            }
            io::Result::Ok((peer, sent))
        });
    }
    let mut amount = 0;
    let mut peers = Vec::new();
    while let Some(task) = tasks.join_next().await {
        let (peer, sent) = task??;
        peers.push(peer);
        amount += sent;
    }
    drop(victim);
    Ok(amount)
}

/// Says HELLO with resume tokens that are made up.
pub(super) async fn tokens(world: &Rc<World>, duration: Duration) -> Result<u64> {
    let until = Instant::now() + duration;
    let mut tasks = JoinSet::new();
    for (seed, via) in VIAS.into_iter().enumerate() {
        let world = Rc::clone(world);
        tasks.spawn_local(async move {
            let (mut rng, mut count) = (Rng::new(seed as u64), 0);
            let (good, mut token) = open(&world, via, None).await?;
            while Instant::now() < until {
                // Of the right format, of any length, and one with a bit changed.
                let len = rng.between(1..=255);
                let garbage: Vec<u8> = rng.bytes().into_iter().cycle().take(len).collect();
                let place = rng.between(0..=TOKEN_LEN - 1);
                token[place] ^= 1;
                let tokens = [&garbage[..], &token];
                for token in tokens {
                    let (peer, _) = open(&world, via, Some(token)).await?;
                    ensure!(peer.id != good.id, "a made-up token was good");
                    count += 1;
                }
                token[place] ^= 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut amount = 0;
    while let Some(task) = tasks.join_next().await {
        amount += task??;
    }
    Ok(amount)
}

/// Connects, gets a resume token and is lost, again and again.
pub(super) async fn tombstones(world: &Rc<World>, connections: usize) -> Result<u64> {
    for _ in 0..connections {
        let (peer, _) = open(world, Via::Tcp, None).await?;
        reset(peer)?;
    }
    let reading = world.server.metrics().await?;
    let away = reading.sum("waddell_peers_away")?;
    ensure!((1..=16_384).contains(&away), "{away} peers are away");
    Ok(connections as u64)
}

/// Two programs with one resume token take the id from each other.
pub(super) async fn takeovers(world: &Rc<World>, duration: Duration) -> Result<u64> {
    let until = Instant::now() + duration;
    let (peer, token) = open(world, Via::Tcp, None).await?;
    let id = peer.id;
    let mut programs = JoinSet::new();
    for via in [Via::Tcp, Via::Wss] {
        let (world, mut token) = (Rc::clone(world), token.clone());
        programs.spawn_local(async move {
            let mut dials = 0;
            let mut has = None;
            while Instant::now() < until {
                let (peer, next) = open(&world, via, Some(&token)).await?;
                dials += 1;
                if peer.id == id {
                    token = next;
                }
                has = Some(peer);
            }
            drop(has);
            anyhow::Ok(dials)
        });
    }
    let mut amount = 0;
    while let Some(task) = programs.join_next().await {
        amount += task??;
    }
    let reading = world.server.metrics().await?;
    let taken = |result: &str| {
        let results = reading.labelled("waddell_resumes_total");
        results.get(&*format!("{{result=\"{result}\"}}")).copied().unwrap_or(0)
    };
    ensure!(taken("contested") + taken("stale") > 0, "they take it from each other for ever");
    Ok(amount)
}

/// Sends what `make` makes at full speed, from peers that read and peers that do not.
async fn flood(
    world: &Rc<World>,
    duration: Duration,
    make: impl FnMut(PeerId, u64, &mut Vec<u8>) + Clone + 'static,
) -> Result<u64> {
    let until = Instant::now() + duration;
    let mut tasks = JoinSet::new();
    for (via, reads) in VIAS.into_iter().flat_map(|via| [(via, true), (via, false)]) {
        let (mut peer, _) = open(world, via, None).await?;
        let mut make = make.clone();
        tasks.spawn_local(async move {
            let mut sent = 0;
            while Instant::now() < until {
                let mut frames = Vec::new();
                for _ in 0..BATCH {
                    make(peer.id, sent, &mut frames);
                    sent += 1;
                }
                peer.send(frames).await?;
                while reads && let Ok(payload) = timeout(Duration::ZERO, peer.receive()).await {
                    payload?;
                }
            }
            io::Result::Ok(sent)
        });
    }
    let mut amount = 0;
    while let Some(task) = tasks.join_next().await {
        amount += task??;
    }
    Ok(amount)
}

/// Connects and says HELLO, with a resume token if there is one. Returns the peer, which has its id
/// from WELCOME, and its resume token.
async fn open(world: &World, via: Via, token: Option<&[u8]>) -> Result<(Peer, Vec<u8>)> {
    let wants = Capabilities::from_bits(u32::MAX);
    let mut hello = Vec::new();
    Hello { resume_token: token, ..Hello::new(wants) }.encode(&mut hello);
    let mut peer = Dial::new(via).peer_saying(&world.server, &hello).await?;
    loop {
        let payload = timeout(PATIENCE, peer.receive()).await.context("no WELCOME comes")??;
        let payload = payload.context("the server hung up")?;
        if payload.starts_with(PeerId::NIL.as_bytes())
            && let Ok(Notice::Welcome(welcome)) = Notice::decode(&payload[HEADER_LEN..])
        {
            peer.id = welcome.id;
            let token = welcome.resume_token.context("the server does not resume")?;
            return Ok((peer, token.to_vec()));
        }
    }
}

fn message(to: PeerId, body: &[u8], frames: &mut Vec<u8>) {
    message_on(to, TopicId(1), body, frames);
}

fn message_on(to: PeerId, topic: TopicId, body: &[u8], frames: &mut Vec<u8>) {
    MessageOut::new(to, topic, body.to_vec()).encode(frames).expect("the body is short");
}
