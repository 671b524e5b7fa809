//! Tells peers what became of another peer.

use std::sync::Arc;

use waddell_core::{Capabilities, PeerId, PeerIds, PeerNotice, PeerState, ServerConnection};

use crate::forward::outbox::Unsent;
use crate::forward::peer::Peer;
use crate::forward::shared::Shared;
use crate::forward::worker::Worker;
use crate::ids::Short;

/// Records that the peer asks about these peers, and tells it their states.
pub(super) fn watch(state: &ServerConnection, ids: PeerIds<'_>, peer: &Arc<Peer>, worker: &Worker) {
    let mut told: Vec<PeerNotice> = Vec::new();
    // A state that changes before it is told would come after the news of that. So it is looked up
    // again after it was told, until nothing differs.
    for _ in 0..3 {
        let states: Vec<_> = ids.iter().map(|id| look_up(id, state.id(), worker)).collect();
        let differs = |notice: &&PeerNotice| !told.contains(notice);
        let news: Vec<_> = states.iter().filter(differs).copied().collect();
        if news.is_empty() {
            break;
        }
        worker.tell(peer, &news);
        told = states;
    }
}

/// Returns the state of a peer. `from` is told when it changes.
fn look_up(id: PeerId, from: PeerId, worker: &Worker) -> PeerNotice {
    let Shared { registry, away, clock, .. } = &*worker.shared;
    let is_here = || registry.get(id).is_some_and(|peer| peer.link().watch(from));
    let state = if is_here() {
        PeerState::Here
    } else if away.watch(id, from, clock.now()) {
        PeerState::Away
    } else if is_here() {
        // It came back in between.
        PeerState::Here
    } else {
        PeerState::Gone
    };
    PeerNotice { id, state, lost: 0 }
}

/// Records that the peer was told by a verdict that another is away, and so is to be told when that
/// one is here or gone.
#[cold]
pub(super) fn expect(state: &ServerConnection, id: PeerId, peer: &Arc<Peer>, worker: &Worker) {
    if !state.granted().is_some_and(|granted| granted.contains(Capabilities::PEERS)) {
        return;
    }
    let Shared { registry, away, clock, .. } = &*worker.shared;
    let listed = registry.get(id);
    if listed.is_some_and(|other| other.link().note_told_away(state.id())) {
        return;
    }
    // It is listed before it leaves those that are away.
    if !away.contact(id, Some(state.id()), clock.now())
        && registry.get(id).is_some_and(|other| other.link().contact(state.id()))
    {
        worker.tell(peer, &[PeerNotice { id, state: PeerState::Here, lost: 0 }]);
    }
}

/// Records that the peer does not ask about these peers any more.
pub(super) fn unwatch(
    state: &ServerConnection,
    ids: impl Iterator<Item = PeerId>,
    worker: &Worker,
) {
    for id in ids {
        if let Some(watched) = worker.shared.registry.get(id) {
            watched.link().unwatch(state.id());
        }
        worker.shared.away.unwatch(id, state.id());
    }
}

/// Tells the senders of frames that were lost with a connection of the peer with that id, which is
/// in that state. Returns those that were told.
pub(super) fn tell_lost(
    lost: &Unsent,
    id: PeerId,
    state: PeerState,
    worker: &Worker,
) -> Vec<PeerId> {
    let mut told = Vec::new();
    for (sender, count) in lost.counts() {
        let Some(peer) = worker.shared.registry.get(sender) else { continue };
        if worker.tell(&peer, &[PeerNotice { id, state, lost: count }]) {
            worker.metrics.losses_told.add(count.into());
            told.push(sender);
        }
    }
    if lost.has_more_senders() {
        tracing::debug!(peer = %Short(id), "frames of more senders are lost than are told");
    }
    told
}
