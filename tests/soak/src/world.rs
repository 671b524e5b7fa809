//! State that all peers of a run share.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use waddell_core::{PeerId, TopicId};
use waddell_tests::histogram::Histogram;
use waddell_tests::rng::Rng;
use waddell_tests::stamp::{Numbers, Stamp};
use waddell_tests::transport::Via;

use crate::arrivals::{Arrivals, Violation};
use crate::peer::Peer;
use crate::server::Server;

/// State that all peers of a run share. They run on one thread.
pub(crate) struct World {
    pub(crate) server: Server,
    begin: Instant,
    phase: watch::Sender<Phase>,
    /// Wild peers that are connected.
    pub(crate) reachable: RefCell<Vec<PeerId>>,
    /// Wild peers that do not read for a long time. Many peers send them much.
    pub(crate) stalled: RefCell<Vec<PeerId>>,
    /// Healthy peers.
    pub(crate) healthy: RefCell<Vec<PeerId>>,
    /// Disconnected peers, the latest last.
    gone: RefCell<VecDeque<PeerId>>,
    pub(crate) counts: Counts,
    /// Times of messages between healthy peers.
    pub(crate) latency: RefCell<Histogram>,
    violations: RefCell<Vec<String>>,
}

/// Phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Peers send.
    Talking,
    /// Peers send nothing new.
    Quiet,
    /// Peers disconnect.
    Leaving,
}

/// Counters of a run.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) healthy_sent: Cell<u64>,
    pub(crate) healthy_received: Cell<u64>,
    pub(crate) received: Cell<u64>,
    pub(crate) sessions: Cell<u64>,
    pub(crate) failed_to_connect: Cell<u64>,
    pub(crate) stalls: Cell<u64>,
    pub(crate) resets: Cell<u64>,
    pub(crate) vanished: Cell<u64>,
    pub(crate) rubbish: Cell<u64>,
}

/// Adds one.
pub(crate) fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

impl World {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            begin: Instant::now(),
            phase: watch::Sender::new(Phase::Talking),
            reachable: RefCell::default(),
            stalled: RefCell::default(),
            healthy: RefCell::default(),
            gone: RefCell::default(),
            counts: Counts::default(),
            latency: RefCell::default(),
            violations: RefCell::default(),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits for a time, or until the phase `Leaving`.
    pub(crate) async fn sleep(&self, duration: Duration) {
        let mut phase = self.phase.subscribe();
        // Both end the wait.
        let _ = timeout(duration, phase.wait_for(|phase| *phase == Phase::Leaving)).await;
    }

    /// Waits while the phase is `Quiet`.
    pub(crate) async fn until_not_quiet(&self) {
        let mut phase = self.phase.subscribe();
        // Fails without a sender only, and `self` owns the sender.
        let _ = phase.wait_for(|phase| *phase != Phase::Quiet).await;
    }

    /// Returns the time since the run began, in nanoseconds.
    pub(crate) fn time(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    pub(crate) fn remember_gone(&self, id: PeerId) {
        let mut gone = self.gone.borrow_mut();
        if gone.len() == GONE_KEPT {
            gone.pop_front();
        }
        gone.push_back(id);
    }

    pub(crate) fn any_gone(&self, rng: &mut Rng) -> Option<PeerId> {
        let gone = self.gone.borrow();
        (!gone.is_empty()).then(|| gone[rng.between(0..=gone.len() - 1)])
    }

    /// Records a violation.
    pub(crate) fn violated(&self, what: String) {
        let mut violations = self.violations.borrow_mut();
        eprintln!("VIOLATION at {:.1} s: {what}", self.begin.elapsed().as_secs_f64());
        violations.push(what);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.borrow().clone()
    }
}

/// Number of disconnected peers to remember. Some messages are sent to them.
const GONE_KEPT: usize = 1000;

/// A peer with the state of its messages.
pub(crate) struct Member {
    pub(crate) peer: Peer,
    pub(crate) via: Via,
    pub(crate) arrivals: Arrivals,
    numbers: Numbers,
}

/// Result of waiting for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Message(Stamp),
    /// The connection has ended.
    End,
}

impl Member {
    pub(crate) fn new(peer: Peer, via: Via) -> Self {
        Self { arrivals: Arrivals::new(peer.id), peer, via, numbers: Numbers::default() }
    }

    /// Returns the next frame to a recipient.
    pub(crate) fn frame(
        &mut self,
        world: &World,
        recipient: PeerId,
        topic: TopicId,
        body_len: usize,
    ) -> Vec<u8> {
        let number = self.numbers.next(recipient, topic);
        let stamp = Stamp { sender: self.peer.id, recipient, topic, number, time: world.time() };
        stamp.frame(body_len)
    }

    /// Waits for the next message, and reports violations. May be dropped while it waits.
    pub(crate) async fn hear(&mut self, world: &World) -> Heard {
        let payload = match self.peer.receive().await {
            Ok(Some(payload)) => payload,
            Ok(None) => return Heard::End,
            Err(error) => {
                if error.kind() == std::io::ErrorKind::InvalidData && !is_tls(&error) {
                    world.violated(format!("{:?}: {error}", self.via));
                }
                return Heard::End;
            }
        };
        match self.arrivals.take(&payload) {
            Ok(stamp) => {
                count(&world.counts.received);
                Heard::Message(stamp)
            }
            Err(violation) => {
                self.report(world, &violation);
                // Later messages would be reported again and again.
                Heard::End
            }
        }
    }

    /// Receives for a time; returns whether the connection is still open.
    pub(crate) async fn hear_for(&mut self, world: &World, duration: Duration) -> bool {
        let listen = async { while self.hear(world).await != Heard::End {} };
        timeout(duration, listen).await.is_err()
    }

    fn report(&self, world: &World, violation: &Violation) {
        world.violated(format!("{} over {:?}: {violation:?}", self.peer.id, self.via));
    }
}

/// Returns whether the error is rustls's, which uses `InvalidData` too.
fn is_tls(error: &std::io::Error) -> bool {
    matches!(error.get_ref(), Some(source) if source.is::<rustls::Error>())
}
