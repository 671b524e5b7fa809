//! Message bodies that carry sender, recipient, sequence number and time.
//!
//! ```text
//!   0      8        12       16          20      24
//!   +------+--------+--------+-----------+-------+----------------+
//!   | time | number | sender | recipient | check | filler         |
//!   +------+--------+--------+-----------+-------+----------------+
//! ```
//!
//! `time` is in nanoseconds since the run began. `check` is the checksum of all before it. The
//! filler is the same in every body.
//!
//! These are not the stamps of `waddell_tests`, because a load generator must cost less than the
//! server under load. A body is appended to the sender's buffer without an allocation, and its
//! filler is compared with a known one, which is cheaper than a checksum. Peers are numbered, since
//! NATS gives them no ids.

use waddell_tests::stamp::checksum;

/// Contents of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Time at which the message was sent or, in an open loop, due.
    pub(crate) time: u64,
    /// Number of the message among those of its sender.
    pub(crate) number: u32,
    pub(crate) sender: u32,
    pub(crate) recipient: u32,
}

/// Bodies of one length.
#[derive(Debug)]
pub(crate) struct Bodies {
    filler: Box<[u8]>,
}

impl Bodies {
    /// Length of the shortest body: the stamp alone.
    pub(crate) const MIN_LEN: usize = 24;

    pub(crate) fn new(len: usize) -> Self {
        assert!(len >= Self::MIN_LEN, "the stamp does not fit");
        Self { filler: (Self::MIN_LEN..len).map(|index| (index * 31 + 7) as u8).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        Self::MIN_LEN + self.filler.len()
    }

    pub(crate) fn write(&self, stamp: Stamp, out: &mut Vec<u8>) {
        let mut head = [0; Self::MIN_LEN];
        head[..8].copy_from_slice(&stamp.time.to_le_bytes());
        head[8..12].copy_from_slice(&stamp.number.to_le_bytes());
        head[12..16].copy_from_slice(&stamp.sender.to_le_bytes());
        head[16..20].copy_from_slice(&stamp.recipient.to_le_bytes());
        let check = checksum(&head[..20]) as u32;
        head[20..].copy_from_slice(&check.to_le_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.filler);
    }

    /// Returns the stamp of an undamaged body.
    pub(crate) fn read(&self, body: &[u8]) -> Option<Stamp> {
        let (head, filler) = body.split_first_chunk::<{ Self::MIN_LEN }>()?;
        let word =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let time = u64::from(word(0)) | u64::from(word(4)) << 32;
        let stamp = Stamp { time, number: word(8), sender: word(12), recipient: word(16) };
        (word(20) == checksum(&head[..20]) as u32 && *filler == *self.filler).then_some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_bit_is_detected() {
        let stamp = Stamp { time: 1 << 40 | 7, number: 3, sender: 1000, recipient: 2 };
        let bodies = Bodies::new(40);
        let mut body = Vec::new();
        bodies.write(stamp, &mut body);
        assert_eq!(bodies.read(&body), Some(stamp));
        for bit in 0..body.len() * 8 {
            body[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(bodies.read(&body), None, "bit {bit}");
            body[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(bodies.read(&body[..39]), None);
        assert_eq!(bodies.read(&[&body[..], b"x"].concat()), None);
    }
}
