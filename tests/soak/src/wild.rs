//! Peers that talk, stall, vanish, send invalid bytes and reconnect.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use waddell_core::{KEEP_ALIVE_FRAME, PeerId, TopicId};
use waddell_tests::rng::Rng;
use waddell_tests::transport::Via;

use crate::peer::{Dial, reset};
use crate::rubbish;
use crate::world::{Heard, Member, Phase, World, count};

/// Longest stall of a peer that few others write to.
const LONGEST_STALL_MS: usize = 6000;

/// Connects again and again until the phase `Leaving`.
pub(crate) async fn wild(world: Rc<World>, mut rng: Rng) {
    while world.phase() != Phase::Leaving {
        // Connecting may already send a frame.
        world.until_not_quiet().await;
        let via = Via::ALL[rng.between(0..=Via::ALL.len() - 1)];
        let dial = Dial { narrow: rng.chance(30), ..Dial::new(via) };
        if rng.chance(10) {
            // Any outcome is fine.
            let _ = never_become_a_peer(&world, dial, &mut rng).await;
        } else {
            match dial.peer(&world.server).await {
                Ok(peer) => {
                    count(&world.counts.sessions);
                    let id = peer.id;
                    world.reachable.borrow_mut().push(id);
                    // Any end is fine: the received messages have been checked.
                    let _ = session(&world, Member::new(peer, via), &mut rng).await;
                    world.reachable.borrow_mut().retain(|other| *other != id);
                    world.remember_gone(id);
                }
                Err(_) => count(&world.counts.failed_to_connect),
            }
        }
        world.sleep(rng.up_to_ms(2000)).await;
    }
}

async fn never_become_a_peer(world: &World, dial: Dial, rng: &mut Rng) -> io::Result<()> {
    count(&world.counts.rubbish);
    let mut socket = dial.socket(&world.server).await?;
    let bytes = rubbish::instead_of_handshake(&world.server.tls, dial.via, rng);
    world.until_not_quiet().await;
    socket.write_all(&bytes).await?;
    world.sleep(rng.up_to_ms(3000)).await;
    Ok(())
}

/// Talks for some time, then ends in one of many ways.
async fn session(world: &World, mut member: Member, rng: &mut Rng) -> io::Result<()> {
    for _ in 0..rng.between(0..=12) {
        if !member.hear_for(world, rng.up_to_ms(3000)).await {
            return Ok(());
        }
        world.until_not_quiet().await;
        if world.phase() == Phase::Leaving {
            break;
        }
        talk(world, &mut member, rng).await?;
    }
    if world.phase() == Phase::Leaving {
        return leave(world, member).await;
    }
    match rng.between(0..=9) {
        0 | 1 => leave(world, member).await,
        2 => Ok(()),
        3 => {
            count(&world.counts.resets);
            reset(member.peer)
        }
        4 => {
            world.until_not_quiet().await;
            let frame = member.frame(world, member.peer.id, TopicId(1), 500);
            member.peer.send(frame[..rng.between(1..=frame.len() - 1)].to_vec()).await
        }
        5 | 6 => {
            count(&world.counts.rubbish);
            world.until_not_quiet().await;
            let rubbish = rubbish::instead_of_frames(member.via, rng);
            member.peer.send_raw(&rubbish).await?;
            member.hear_for(world, rng.up_to_ms(3000)).await;
            Ok(())
        }
        7 | 8 => stall(world, member, rng).await,
        _ => {
            // Neither reads nor writes, then resets the connection.
            count(&world.counts.vanished);
            world.sleep(rng.up_to_ms(LONGEST_STALL_MS)).await;
            reset(member.peer)
        }
    }
}

/// Sends a few frames, to another peer or to no peer.
async fn talk(world: &World, member: &mut Member, rng: &mut Rng) -> io::Result<()> {
    let own = member.peer.id;
    let topic = TopicId(rng.between(0..=3) as u16);
    let mut bytes = Vec::new();
    let to = match rng.between(0..=99) {
        0..=4 => Some(own),
        5..=9 => world.any_gone(rng),
        10 | 11 => Some(PeerId::from_random(rng.bytes())),
        12 => Some(PeerId::NIL),
        13..=17 => any(&world.healthy.borrow(), rng),
        18..=25 => {
            let stalled = any(&world.stalled.borrow(), rng);
            if let Some(stalled) = stalled {
                // More than one outbox holds.
                for _ in 0..rng.between(1..=40) {
                    bytes = member.frame(world, stalled, topic, 20_000);
                    member.peer.send(bytes).await?;
                }
            }
            return Ok(());
        }
        26..=28 => {
            let filler = rng.between(0..=17);
            let short = [&[filler as u8, 0], &[7; 17][..filler]].concat();
            return member.peer.send([KEEP_ALIVE_FRAME, &short].concat()).await;
        }
        _ => any(&world.reachable.borrow(), rng),
    };
    let Some(to) = to else { return Ok(()) };
    let (burst, longest) = match rng.between(0..=9) {
        0..=6 => (1, 400),
        7 | 8 => (rng.between(2..=10), 2000),
        _ => (2, 40_000),
    };
    for _ in 0..burst {
        bytes.extend(member.frame(world, to, topic, rng.between(64..=longest)));
    }
    // Cut at any byte; neither part exceeds the limit on WebSocket messages.
    let cut = rng.between(0..=bytes.len());
    let rest = bytes.split_off(cut);
    member.peer.send(bytes).await?;
    member.peer.send(rest).await
}

/// Does not read for some time. Then it reads again, or disconnects.
async fn stall(world: &World, mut member: Member, rng: &mut Rng) -> io::Result<()> {
    count(&world.counts.stalls);
    if rng.chance(10) {
        // Longer than the write timeout; many peers send to these few.
        let id = member.peer.id;
        world.stalled.borrow_mut().push(id);
        world.sleep(Duration::from_millis(rng.between(8000..=15_000) as u64)).await;
        world.stalled.borrow_mut().retain(|other| *other != id);
    } else {
        world.sleep(rng.up_to_ms(LONGEST_STALL_MS)).await;
    }
    if rng.chance(70) {
        member.hear_for(world, Duration::from_secs(2)).await;
        return leave(world, member).await;
    }
    Ok(())
}

/// Ends the sending side, and reads up to the end of the connection.
async fn leave(world: &World, mut member: Member) -> io::Result<()> {
    member.peer.finish().await?;
    // With a small window, megabytes in flight take long, but some bytes must arrive.
    loop {
        match timeout(Duration::from_secs(40), member.hear(world)).await {
            Ok(Heard::Message(_)) => {}
            Ok(Heard::End) => return Ok(()),
            Err(_elapsed) => {
                let via = member.via;
                world.violated(format!(
                    "the server does not close a connection over {via:?} that has ended"
                ));
                return Ok(());
            }
        }
    }
}

fn any(ids: &[PeerId], rng: &mut Rng) -> Option<PeerId> {
    (!ids.is_empty()).then(|| ids[rng.between(0..=ids.len() - 1)])
}
