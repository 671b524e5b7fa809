//! The peers to which a client has written.

use alloc::boxed::Box;

use crate::id::PeerId;

/// The peers to which a client has written, as far as they are remembered.
///
/// Each of 64 slots holds one peer; two peers with the same slot take each other's place. A peer
/// that is forgotten counts as new, which costs a little and changes nothing.
#[derive(Debug)]
pub(super) struct Contacts(Box<[PeerId; SLOTS]>);

impl Contacts {
    /// Adds a peer. Returns whether it is new.
    pub(super) fn add(&mut self, peer: PeerId) -> bool {
        let slot = self.slot(peer);
        let is_new = *slot != peer;
        *slot = peer;
        is_new
    }

    /// Forgets a peer.
    pub(super) fn remove(&mut self, peer: PeerId) {
        let slot = self.slot(peer);
        if *slot == peer {
            *slot = PeerId::NIL;
        }
    }

    fn slot(&mut self, peer: PeerId) -> &mut PeerId {
        let [.., last] = *peer.as_bytes();
        &mut self.0[usize::from(last) % SLOTS]
    }
}

impl Default for Contacts {
    fn default() -> Self {
        // No peer has the nil id, so it marks an empty slot.
        Self(Box::new([PeerId::NIL; SLOTS]))
    }
}

const SLOTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> PeerId {
        let mut bytes = [7; 16];
        bytes[15] = last;
        PeerId::from_bytes(bytes)
    }

    #[test]
    fn a_peer_is_new_once() {
        let mut contacts = Contacts::default();
        for last in 0..64 {
            assert!(contacts.add(peer(last)));
        }
        for last in 0..64 {
            assert!(!contacts.add(peer(last)));
        }
    }

    #[test]
    fn a_peer_that_was_removed_or_pushed_out_is_new_again() {
        let mut contacts = Contacts::default();
        assert!(contacts.add(peer(1)));
        contacts.remove(peer(1));
        assert!(contacts.add(peer(1)));
        assert!(contacts.add(peer(65)));
        contacts.remove(peer(1));
        assert!(!contacts.add(peer(65)), "removing the other peer of the slot has no effect");
        assert!(contacts.add(peer(1)));
    }
}
