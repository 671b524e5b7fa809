//! Message bodies that carry sender, recipient, topic and sequence number.
//!
//! ```text
//!   0       8        24          40      42   48       56     64
//!   +-------+--------+-----------+-------+----+--------+------+--------+
//!   | check | sender | recipient | topic | 0  | number | time | filler |
//!   +-------+--------+-----------+-------+----+--------+------+--------+
//! ```
//!
//! `check` is the checksum of every byte after it. The filler differs from message to message, so
//! that the tail of another message does not pass.

use std::collections::HashMap;

use waddell_core::{HEADER_LEN, PREFIX_LEN, PeerId, TopicId};

/// Contents of a stamped body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Peer that sent the message.
    pub sender: PeerId,
    /// Peer that the message is for.
    pub recipient: PeerId,
    /// Topic of the message.
    pub topic: TopicId,
    /// Number of the message among those of this sender to this recipient on this topic, from 1.
    pub number: u64,
    /// Time of sending, in nanoseconds since the run began.
    pub time: u64,
}

impl Stamp {
    /// Length of the shortest stamped body.
    pub const LEN: usize = 64;

    /// Returns the whole frame with a body of `body_len` bytes, or of [`Self::LEN`] if that is
    /// more.
    ///
    /// # Panics
    ///
    /// If the frame would be longer than the protocol allows.
    pub fn frame(&self, body_len: usize) -> Vec<u8> {
        let body_len = body_len.max(Self::LEN);
        let len = u16::try_from(HEADER_LEN + body_len).expect("the body fits into a frame");
        let mut frame = Vec::with_capacity(PREFIX_LEN + usize::from(len));
        frame.extend_from_slice(&len.to_le_bytes());
        frame.extend_from_slice(self.recipient.as_bytes());
        frame.extend_from_slice(&self.topic.0.to_le_bytes());
        let body = frame.len();
        frame.extend_from_slice(&[0; 8]);
        frame.extend_from_slice(self.sender.as_bytes());
        frame.extend_from_slice(self.recipient.as_bytes());
        frame.extend_from_slice(&self.topic.0.to_le_bytes());
        frame.extend_from_slice(&[0; 6]);
        frame.extend_from_slice(&self.number.to_le_bytes());
        frame.extend_from_slice(&self.time.to_le_bytes());
        frame.extend((Self::LEN..body_len).map(|place| (place as u64 * 31 + self.number) as u8));
        let checksum = checksum(&frame[body + 8..]);
        frame[body..body + 8].copy_from_slice(&checksum.to_le_bytes());
        frame
    }

    /// Returns the stamp of an undamaged body.
    pub fn read(body: &[u8]) -> Option<Self> {
        let (expected, rest) = body.split_first_chunk()?;
        if body.len() < Self::LEN || u64::from_le_bytes(*expected) != checksum(rest) {
            return None;
        }
        let id = |at: usize| Some(PeerId::from_bytes(*body[at..].first_chunk()?));
        let number = |at: usize| Some(u64::from_le_bytes(*body[at..].first_chunk()?));
        Some(Self {
            sender: id(8)?,
            recipient: id(24)?,
            topic: TopicId(u16::from_le_bytes(*body[40..].first_chunk()?)),
            number: number(48)?,
            time: number(56)?,
        })
    }
}

/// Sequence numbers of one sender.
#[derive(Debug, Default)]
pub struct Numbers(HashMap<(PeerId, TopicId), u64>);

impl Numbers {
    /// Returns the number of the next message to this recipient on this topic.
    pub fn next(&mut self, recipient: PeerId, topic: TopicId) -> u64 {
        let number = self.0.entry((recipient, topic)).or_default();
        *number += 1;
        *number
    }
}

/// Returns a number that depends on every byte and on their count. Not cryptographic.
#[inline]
pub fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let mut mixed = bytes.len() as u64;
    for word in words.iter().chain([&last]) {
        // An odd factor keeps every input apart; the shift lets the high bits reach the low ones.
        mixed = (mixed ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^= mixed >> 32;
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_bit_is_detected() {
        let stamp = Stamp {
            sender: PeerId::from_random([1; 16]),
            recipient: PeerId::from_random([2; 16]),
            topic: TopicId(3),
            number: 4,
            time: 1 << 40 | 5,
        };
        for body_len in [0, 64, 65, 71, 72, 200] {
            let mut frame = stamp.frame(body_len);
            let body = &mut frame[20..];
            assert_eq!(body.len(), body_len.max(64));
            assert_eq!(Stamp::read(body), Some(stamp));
            for bit in 0..body.len() * 8 {
                body[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Stamp::read(body), None, "bit {bit}");
                body[bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(Stamp::read(&body[..body.len() - 1]), None);
            assert_eq!(Stamp::read(&[&body[..], b"\0"].concat()), None);
        }
    }
}
