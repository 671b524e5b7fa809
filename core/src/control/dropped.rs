//! Entries of DROPPED: which frames the server dropped, and why.

use alloc::vec::Vec;

use bytes::BufMut;

use super::bytes::Reader;
use super::{ControlError, DropReason, put_frame};
use crate::id::{PeerId, TopicId};

/// Frames of a client that the server dropped.
///
/// ```text
///   first u64 | span u32 | count u32 | reason u8 | 0 u8 | topic u16 | recipient 16
/// ```
///
/// `count` of the frames with the numbers `first` to `first + span - 1` were dropped. If `count` is
/// `span`, those are exactly the dropped ones, all for one reason, recipient and topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Number of the first of these frames.
    pub first: u64,
    /// How many numbers the entry spans; at least 1.
    pub span: u32,
    /// How many of those frames were dropped; at least 1, at most `span`.
    pub count: u32,
    /// Why they were dropped.
    pub reason: DropReason,
    /// The topic of a dropped message; 0 in a summary and for a frame that is no message.
    pub topic: TopicId,
    /// The recipient of a dropped message; nil in a summary and for a frame that is no message.
    pub recipient: PeerId,
}

impl Dropped {
    /// Length of an entry on the wire, in bytes.
    pub const LEN: usize = 36;

    /// Returns the number of the last frame that the entry spans.
    pub fn last(&self) -> u64 {
        self.first.saturating_add(u64::from(self.span.saturating_sub(1)))
    }

    /// Returns whether every frame that the entry spans was dropped.
    pub fn is_exact(&self) -> bool {
        self.count == self.span
    }

    /// Appends a DROPPED frame with these entries, at most [`MAX_ENTRIES`], to `out`.
    ///
    /// [`MAX_ENTRIES`]: super::MAX_ENTRIES
    pub fn encode_all<'a>(entries: impl IntoIterator<Item = &'a Self>, out: &mut Vec<u8>) {
        put_frame(out, KIND_DROPPED, |out| {
            for entry in entries {
                out.put_u64_le(entry.first);
                out.put_u32_le(entry.span);
                out.put_u32_le(entry.count);
                out.put_u8(entry.reason.code());
                out.put_u8(0);
                out.put_u16_le(entry.topic.0);
                out.put_slice(entry.recipient.as_bytes());
            }
        });
    }

    fn decode(bytes: &[u8; Self::LEN]) -> Result<Self, ControlError> {
        let mut bytes = Reader(bytes);
        let (first, span, count) = (bytes.u64()?, bytes.u32()?, bytes.u32()?);
        let reason = DropReason::from_code(bytes.u8()?);
        let _reserved = bytes.u8()?;
        let (topic, recipient) = (TopicId(bytes.u16()?), bytes.id()?);
        Ok(Self { first, span, count, reason, topic, recipient })
    }
}

/// The entries of a DROPPED frame, as they are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedEntries<'a>(pub(super) &'a [u8]);

impl DroppedEntries<'_> {
    /// Returns the entries.
    pub fn iter(&self) -> impl Iterator<Item = Dropped> {
        self.0.as_chunks().0.iter().flat_map(Dropped::decode)
    }
}

pub(super) const KIND_DROPPED: u8 = 0x82;
