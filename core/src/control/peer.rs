//! Entries of PEER: what became of a peer.

use alloc::vec::Vec;

use bytes::BufMut;

use super::put_frame;
use crate::id::PeerId;

/// Whether a peer can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PeerState {
    /// It is connected.
    Here = 1,
    /// Its connection is lost. It may come back under the same id.
    Away = 2,
    /// No peer has its id.
    Gone = 3,
}

/// What became of a peer.
///
/// ```text
///   id 16 | state u8 | lost u32
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerNotice {
    /// The peer.
    pub id: PeerId,
    /// Whether it can be reached.
    pub state: PeerState,
    /// How many of the client's last messages to it were accepted and did not leave the server.
    pub lost: u32,
}

impl PeerNotice {
    /// Length of an entry on the wire, in bytes.
    pub const LEN: usize = 21;

    /// Appends a PEER frame with these entries, 1 to [`MAX_ENTRIES`], to `out`.
    ///
    /// [`MAX_ENTRIES`]: super::MAX_ENTRIES
    pub fn encode_all<'a>(entries: impl IntoIterator<Item = &'a Self>, out: &mut Vec<u8>) {
        put_frame(out, KIND_PEER, |out| {
            for entry in entries {
                out.put_slice(entry.id.as_bytes());
                out.put_u8(entry.state as u8);
                out.put_u32_le(entry.lost);
            }
        });
    }

    /// Appends the PEER frame which says that notices were lost.
    pub fn encode_gap(out: &mut Vec<u8>) {
        put_frame(out, KIND_PEER, |out| out.put_bytes(0, Self::LEN));
    }
}

/// The entries of a PEER frame, as they are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerNotices<'a>(pub(super) &'a [u8]);

impl PeerNotices<'_> {
    /// Returns the entries. Those with a state that is not known are left out.
    pub fn iter(&self) -> impl Iterator<Item = PeerNotice> {
        self.entries().filter_map(|(id, state, lost)| {
            let state = match state {
                1 => PeerState::Here,
                2 => PeerState::Away,
                3 => PeerState::Gone,
                _unknown => return None,
            };
            Some(PeerNotice { id, state, lost })
        })
    }

    /// Returns whether an entry says that notices were lost: ask about every peer again.
    pub fn has_gap(&self) -> bool {
        self.entries().any(|(id, state, _)| id.is_nil() && state == 0)
    }

    /// Returns the id, the state and the number of lost messages of each entry.
    fn entries(&self) -> impl Iterator<Item = (PeerId, u8, u32)> {
        let (entries, _rest) = self.0.as_chunks::<{ PeerNotice::LEN }>();
        entries.iter().map(|&[ref id @ .., state, a, b, c, d]| {
            (PeerId::from_bytes(*id), state, u32::from_le_bytes([a, b, c, d]))
        })
    }
}

/// Ids in WATCH and UNWATCH, as they are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerIds<'a>(pub(super) &'a [u8]);

impl<'a> PeerIds<'a> {
    /// Makes a list of the ids in `bytes`, one after the other; 1 to 64 of them.
    pub const fn from_bytes(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the ids.
    pub fn iter(&self) -> impl Iterator<Item = PeerId> {
        self.0.as_chunks().0.iter().copied().map(PeerId::from_bytes)
    }
}

pub(super) const KIND_PEER: u8 = 0x84;
