//! Tells peers what became of another peer.

use std::sync::Arc;

use waddell_core::{PeerId, PeerIds, PeerNotice, PeerState, ServerConnection};

use crate::forward::peer::Peer;
use crate::forward::watchers::Watchers;
use crate::forward::worker::Worker;

/// Records that the peer asks about these peers, and tells it their states.
pub(super) fn watch(state: &ServerConnection, ids: PeerIds<'_>, peer: &Arc<Peer>, worker: &Worker) {
    let states = ids.iter().map(|id| {
        let is_here = worker.shared.registry.get(id).is_some_and(|watched| {
            let mut link = watched.link();
            link.watch(state.id())
        });
        let state = if is_here { PeerState::Here } else { PeerState::Gone };
        PeerNotice { id, state, lost: 0 }
    });
    let notices: Vec<_> = states.collect();
    worker.tell(peer, &notices);
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
    }
}

/// Tells these peers that the peer with that id is gone.
pub(super) fn tell_gone(watchers: &Watchers, id: PeerId, worker: &Worker) {
    let notice = PeerNotice { id, state: PeerState::Gone, lost: 0 };
    for watcher in watchers.iter() {
        if let Some(peer) = worker.shared.registry.get(watcher) {
            worker.tell(&peer, &[notice]);
        }
    }
}
