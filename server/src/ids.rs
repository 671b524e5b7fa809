//! Peer ids: how they are generated, and the hashes that the server takes from them.
//!
//! Ids are uniformly random except for six bits that mark a random UUID. So parts of them serve as
//! hashes and as random numbers. No other file reads their bytes.

use std::fmt;
use std::hash::Hasher;

use waddell_core::PeerId;

/// Draws the id of a new peer from the system's entropy.
pub(crate) fn mint() -> PeerId {
    PeerId::from_random(uuid::Uuid::new_v4().into_bytes())
}

/// Returns the shard, of `shards`, in which a peer is registered. At most 256 shards are used.
pub(crate) fn shard(id: PeerId, shards: usize) -> usize {
    // The last byte: neither version nor variant, nor part of the hash.
    let [.., last] = *id.as_bytes();
    usize::from(last) % shards
}

/// Returns the number of a peer: always the same, and spread evenly over `u32` among all peers.
pub(crate) fn spread(id: PeerId) -> u32 {
    let [a, b, c, d, ..] = *id.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Hashes an id by taking its first eight bytes.
///
/// The server draws every id that it registers, so clients cannot choose ids that collide.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Shows the first quarter of an id: enough to find a peer in the log, too little to send to it.
pub(crate) struct Short(pub(crate) PeerId);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(id) = self;
        write!(f, "{:08x}", spread(*id))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::*;

    const ID: [u8; 16] = *b"\x01\x23\x45\x67\x89\xab\x4d\xef\x81\x23\x45\x67\x89\xab\xcd\xef";

    #[test]
    fn the_log_shows_the_first_eight_digits_of_an_id() {
        let id = PeerId::from_bytes(ID);
        assert_eq!(Short(id).to_string(), "01234567");
        assert!(id.to_string().starts_with("01234567"));
    }

    #[test]
    fn shard_hash_and_spread_are_parts_of_the_id() {
        let id = PeerId::from_bytes(ID);
        assert_eq!(shard(id, 64), 0xef % 64);
        assert_eq!(spread(id), 0x0123_4567);
        let hash = BuildHasherDefault::<IdHasher>::default().hash_one(id);
        assert_eq!(hash, u64::from_le_bytes(*b"\x01\x23\x45\x67\x89\xab\x4d\xef"));
    }

    #[test]
    fn minted_ids_are_spread_evenly_over_the_shards() {
        let mut counts = [0; 64];
        (0..6_400).for_each(|_| counts[shard(mint(), 64)] += 1);
        assert!(counts.iter().all(|count| (30..=200).contains(count)), "{counts:?}");
    }
}
