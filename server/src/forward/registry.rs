//! The connected peers by id. Every frame finds its recipient here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use waddell_core::PeerId;

use crate::forward::peer::Peer;
use crate::ids::{self, IdHasher};

/// The connected peers by id.
///
/// [`Registry::get`] is the only way from an id to a peer. Peers that are connected to another
/// machine would be found here too.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: Box<[RwLock<Shard>]>,
}

type Shard = HashMap<PeerId, Arc<Peer>, BuildHasherDefault<IdHasher>>;

/// Enough that two workers rarely lock the same shard. A power of two, and at most 256.
const SHARDS: usize = 64;

impl Registry {
    pub(crate) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }

    /// Returns the peer with that id, if it is connected.
    pub(crate) fn get(&self, id: PeerId) -> Option<Arc<Peer>> {
        self.read(id).get(&id).cloned()
    }

    /// Lists a peer that is listed already under that id too, in the place of the one before. Its
    /// own [`Registration::take_over`] has to follow.
    pub(crate) fn replace(&self, id: PeerId, peer: &Arc<Peer>) {
        self.write(id).insert(id, Arc::clone(peer));
    }

    /// Returns how many peers are connected.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    /// Returns all peers, a shard at a time. A shard is locked only while it is copied.
    pub(crate) fn shards(&self) -> impl Iterator<Item = Vec<(PeerId, Arc<Peer>)>> {
        self.shards.iter().map(|shard| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.iter().map(|(id, peer)| (*id, Arc::clone(peer))).collect()
        })
    }

    /// Removes a peer, unless another one is listed under its id.
    fn remove(&self, id: PeerId, peer: &Arc<Peer>) {
        let mut shard = self.write(id);
        if shard.get(&id).is_none_or(|listed| !Arc::ptr_eq(listed, peer)) {
            return;
        }
        shard.remove(&id);
        // Frees memory after a peak. The slack avoids shrinking and growing in turns.
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

/// A peer's place in the registry. Dropping it removes the peer.
#[derive(Debug)]
pub(crate) struct Registration {
    /// `None` if the peer is not listed: not yet, or no longer.
    registry: Option<Arc<Registry>>,
    id: PeerId,
    peer: Arc<Peer>,
}

impl Registration {
    /// Makes the registration of a peer with that id, which is not listed yet.
    pub(crate) fn new(id: PeerId, peer: Peer) -> Self {
        Self { registry: None, id, peer: Arc::new(peer) }
    }

    /// Lists the peer under its id until the registration ends.
    pub(crate) fn begin(&mut self, registry: &Arc<Registry>) {
        let before = registry.write(self.id).insert(self.id, Arc::clone(&self.peer));
        debug_assert!(before.is_none(), "ids are random and never drawn twice");
        self.registry = Some(Arc::clone(registry));
    }

    pub(crate) fn id(&self) -> PeerId {
        self.id
    }

    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Removes the peer from the registry. From then on no frame reaches it.
    pub(crate) fn end(&mut self) {
        if let Some(registry) = self.registry.take() {
            registry.remove(self.id, &self.peer);
        }
    }

    /// Lists the peer under another id, unless a peer other than `ending` is listed there: returns
    /// that one then.
    pub(crate) fn claim(
        &mut self,
        id: PeerId,
        ending: Option<&Arc<Peer>>,
    ) -> Result<(), Arc<Peer>> {
        let Some(registry) = &self.registry else { return Ok(()) };
        match registry.write(id).entry(id) {
            Entry::Occupied(mut listed) => {
                if ending.is_none_or(|ending| !Arc::ptr_eq(ending, listed.get())) {
                    return Err(Arc::clone(listed.get()));
                }
                listed.insert(Arc::clone(&self.peer));
            }
            Entry::Vacant(free) => {
                free.insert(Arc::clone(&self.peer));
            }
        }
        registry.remove(mem::replace(&mut self.id, id), &self.peer);
        Ok(())
    }

    /// Lists the peer under another id, in the place of the peer that may be listed there.
    pub(crate) fn take_over(&mut self, id: PeerId) {
        let Some(registry) = &self.registry else { return };
        registry.write(id).insert(id, Arc::clone(&self.peer));
        registry.remove(mem::replace(&mut self.id, id), &self.peer);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end();
    }
}
