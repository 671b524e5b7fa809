//! Attacks by peers that send at full speed.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;
use waddell_core::{PeerId, TopicId};
use waddell_tests::rng::Rng;
use waddell_tests::stamp::Stamp;
use waddell_tests::transport::Via;

use crate::peer::{Dial, Peer};
use crate::world::World;

/// Transports of the senders. A few senders are more than two processors can serve.
const VIAS: [Via; 4] = [Via::Tcp, Via::Tls, Via::Ws, Via::Wss];

/// Frames per write.
const BATCH: usize = 64;

/// Sends to peers that never read.
pub(super) async fn unread(world: &Rc<World>, duration: Duration) -> Result<u64> {
    let mut senders = Senders::new(duration);
    let mut unread = Vec::new();
    for via in VIAS {
        let stuck = Dial { narrow: true, ..Dial::new(via) }.peer(&world.server).await?;
        let to = stuck.id;
        unread.push(stuck);
        senders.add(Dial::new(via).peer(&world.server).await?, move || to, false);
    }
    senders.done().await
}

/// Sends to unknown ids.
pub(super) async fn unknown(world: &Rc<World>, duration: Duration) -> Result<u64> {
    let mut senders = Senders::new(duration);
    for via in VIAS {
        let mut rng = Rng::new(1);
        let unknown = move || PeerId::from_random(rng.bytes());
        senders.add(Dial::new(via).peer(&world.server).await?, unknown, false);
    }
    senders.done().await
}

/// Sends to itself over each transport, once with reading and once without.
pub(super) async fn oneself(world: &Rc<World>, duration: Duration) -> Result<u64> {
    let mut senders = Senders::new(duration);
    for (via, reads) in VIAS.into_iter().flat_map(|via| [(via, true), (via, false)]) {
        let peer = Dial::new(via).peer(&world.server).await?;
        let own = peer.id;
        senders.add(peer, move || own, reads);
    }
    senders.done().await
}

/// Peers that send at full speed for some time.
struct Senders {
    tasks: JoinSet<std::io::Result<()>>,
    until: Instant,
    sent: Rc<Cell<u64>>,
}

impl Senders {
    fn new(duration: Duration) -> Self {
        Self { tasks: JoinSet::new(), until: Instant::now() + duration, sent: Rc::default() }
    }

    /// Lets a peer send to the ids of `to`; with `reads`, it reads the messages that it receives.
    fn add(&mut self, mut peer: Peer, mut to: impl FnMut() -> PeerId + 'static, reads: bool) {
        let (until, sent) = (self.until, Rc::clone(&self.sent));
        self.tasks.spawn_local(async move {
            while Instant::now() < until {
                let mut batch = Vec::new();
                for _ in 0..BATCH {
                    let stamp = Stamp {
                        sender: peer.id,
                        recipient: to(),
                        topic: TopicId(1),
                        number: 1,
                        time: 0,
                    };
                    batch.extend(stamp.frame(200));
                }
                peer.send(batch).await?;
                sent.set(sent.get() + BATCH as u64);
                let now = Duration::ZERO;
                if reads {
                    while let Ok(payload) = tokio::time::timeout(now, peer.receive()).await {
                        payload?;
                    }
                }
            }
            Ok(())
        });
    }

    /// Waits for the end of all, and returns the number of frames sent.
    async fn done(mut self) -> Result<u64> {
        while let Some(task) = self.tasks.join_next().await {
            task??;
        }
        Ok(self.sent.get())
    }
}
