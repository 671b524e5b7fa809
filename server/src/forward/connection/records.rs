//! The bytes that TLS adds to what a peer sends.

use std::mem;

/// Counts the bytes of TLS records that are not charged to the peer's rate yet.
///
/// A peer is charged for what is inside the records. It has to pay for the rest too: else it could
/// send any number of records with nothing inside. But the record that is incomplete after a read
/// is not charged, because its contents will be.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Encrypted bytes less decrypted ones, less what was charged. Of two bytes, because every
    /// connection has it. It is exact for a read of a peer whose rate is limited.
    uncharged: u16,
}

impl Records {
    /// The longest record of TLS 1.2 with its header. Source: RFC 5246, section 6.2.3.
    const MAX_RECORD_LEN: u16 = 5 + (1 << 14) + 2048;

    /// Records bytes that were read from the socket.
    pub(super) fn encrypted(&mut self, bytes: usize) {
        self.uncharged = self.uncharged.saturating_add(u16::try_from(bytes).unwrap_or(u16::MAX));
    }

    /// Records bytes that were inside.
    pub(super) fn decrypted(&mut self, bytes: usize) {
        self.uncharged = self.uncharged.saturating_sub(u16::try_from(bytes).unwrap_or(u16::MAX));
    }

    /// Returns how many bytes have to be charged.
    pub(super) fn take_overhead(&mut self) -> usize {
        let open = self.uncharged.min(Self::MAX_RECORD_LEN);
        usize::from(mem::replace(&mut self.uncharged, open) - open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_charged_once_however_reads_cut_it() {
        let mut records = Records::default();
        let mut charged = 0;
        for _record in 0..1000 {
            for wire in [5, 8000, 8384, 17] {
                records.encrypted(wire);
                charged += records.take_overhead();
            }
            records.decrypted(16_384);
        }
        // 22 bytes are added to each record.
        assert!((22_000 - 20_000..=22_000).contains(&charged), "{charged}");
    }

    #[test]
    fn records_with_nothing_inside_are_charged() {
        let mut records = Records::default();
        let charged: usize = (0..10_000)
            .map(|_record| {
                records.encrypted(22);
                records.take_overhead()
            })
            .sum();
        assert_eq!(charged, 220_000 - usize::from(Records::MAX_RECORD_LEN));
    }
}
