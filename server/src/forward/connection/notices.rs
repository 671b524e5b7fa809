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
    let Shared { registry, away, clock, .. } = &*worker.shared;
    let now = clock.now();
    let is_here = |id| registry.get(id).is_some_and(|peer| peer.link().watch(state.id()));
    let states = ids.iter().map(|id| {
        let state = if is_here(id) {
            PeerState::Here
        } else if away.watch(id, state.id(), now) {
            PeerState::Away
        } else if is_here(id) {
            // It came back in between.
            PeerState::Here
        } else {
            PeerState::Gone
        };
        PeerNotice { id, state, lost: 0 }
    });
    let notices: Vec<_> = states.collect();
    worker.tell(peer, &notices);
}

/// Records that the peer is told by a verdict that another is away, and so is to be told when that
/// one is here or gone.
#[cold]
pub(super) fn expect(state: &ServerConnection, id: PeerId, peer: &Arc<Peer>, worker: &Worker) {
    if !state.granted().is_some_and(|granted| granted.contains(Capabilities::PEERS)) {
        return;
    }
    let Shared { registry, away, clock, .. } = &*worker.shared;
    // It is listed here before it leaves those that are away.
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

/// Tells the senders of frames that were in the outbox of a connection when it was dropped. The
/// connection was that of the peer with that id.
pub(super) fn tell_lost(lost: &Unsent, id: PeerId, worker: &Worker) {
    let Shared { registry, away, clock, .. } = &*worker.shared;
    let now = clock.now();
    for (sender, count) in lost.counts() {
        let Some(peer) = registry.get(sender) else { continue };
        let state = if registry.get(id).is_some() {
            PeerState::Here
        } else if away.contact(id, None, now) {
            PeerState::Away
        } else {
            PeerState::Gone
        };
        if worker.tell(&peer, &[PeerNotice { id, state, lost: count }]) {
            worker.metrics.losses_told.add(count.into());
            if state == PeerState::Away {
                // It knows that, so it is told when that changes.
                away.contact(id, Some(sender), now);
            }
        }
    }
    if lost.has_more_senders() {
        tracing::debug!(peer = %Short(id), "frames of more senders are lost than are told");
    }
}
