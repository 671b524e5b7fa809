//! Who is connected: the only state that all connections share.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use waddell_core::PeerId;

use crate::forward::peer::Peer;
use crate::ids::{self, IdHasher};

/// Maps peer ids to connected peers.
///
/// Routing goes through [`Registry::get`] alone, which is where peers on other nodes would be
/// found too.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: Box<[RwLock<Shard>]>,
}

type Shard = HashMap<PeerId, Arc<Peer>, BuildHasherDefault<IdHasher>>;

/// Enough that two workers rarely meet in one; a power of two, and at most 256.
const SHARDS: usize = 64;

impl Registry {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }

    /// Returns the peer of that id, if it is connected.
    pub(crate) fn get(&self, id: PeerId) -> Option<Arc<Peer>> {
        self.read(id).get(&id).cloned()
    }

    /// Files a peer under its id until the registration ends.
    pub(crate) fn register(self: &Arc<Self>, peer: Peer) -> Registration {
        let peer = Arc::new(peer);
        let before = self.write(peer.id()).insert(peer.id(), Arc::clone(&peer));
        debug_assert!(before.is_none(), "ids are random and never met again");
        Registration { registry: Arc::clone(self), peer, listed: true }
    }

    /// Returns how many peers are connected.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    /// Returns all peers, a shard at a time; each is locked only while it is copied.
    pub(crate) fn shards(&self) -> impl Iterator<Item = Vec<Arc<Peer>>> {
        self.shards.iter().map(|shard| {
            shard.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
        })
    }

    fn remove(&self, id: PeerId) {
        let mut shard = self.write(id);
        shard.remove(&id);
        // After a peak the memory goes back; a quarter of slack keeps it from flapping.
        if shard.capacity() > 64 && shard.len() * 4 < shard.capacity() {
            let wanted = shard.len() * 2;
            shard.shrink_to(wanted);
        }
    }

    fn read(&self, id: PeerId) -> RwLockReadGuard<'_, Shard> {
        self.shard(id).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, id: PeerId) -> RwLockWriteGuard<'_, Shard> {
        self.shard(id).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, id: PeerId) -> &RwLock<Shard> {
        &self.shards[ids::shard(id, SHARDS)]
    }
}

/// A peer's place in the registry; dropping it removes the peer from there.
#[derive(Debug)]
pub(crate) struct Registration {
    registry: Arc<Registry>,
    peer: Arc<Peer>,
    listed: bool,
}

impl Registration {
    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Removes the peer from the registry: nobody can reach it from here on.
    pub(crate) fn end(&mut self) {
        if mem::take(&mut self.listed) {
            self.registry.remove(self.peer.id());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
    }
}
