//! Callers that wait for the state of a peer.

use tokio::sync::oneshot;
use waddell_core::{PeerId, PeerState};

use crate::error::WatchError;

/// Where the state of a peer goes.
pub(crate) type WatchReply = oneshot::Sender<Result<PeerState, WatchError>>;

/// Callers that wait for the state of a peer.
#[derive(Debug, Default)]
pub(crate) struct Watches(Vec<(PeerId, WatchReply)>);

impl Watches {
    /// Adds a caller. Forgets those that have stopped waiting.
    pub(crate) fn insert(&mut self, id: PeerId, reply: WatchReply) {
        self.0.retain(|(_, reply)| !reply.is_closed());
        self.0.push((id, reply));
    }

    /// Tells all callers that wait for this peer.
    pub(crate) fn tell(&mut self, id: PeerId, state: PeerState) {
        for (_, reply) in self.0.extract_if(.., |(waiting, _)| *waiting == id) {
            // Fails if the caller has stopped waiting.
            let _ = reply.send(Ok(state));
        }
    }

    /// Removes and returns all callers.
    pub(crate) fn take(&mut self) -> Vec<(PeerId, WatchReply)> {
        std::mem::take(&mut self.0)
    }
}
