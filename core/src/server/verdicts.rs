//! What a client is to be told about its dropped frames.

use alloc::vec::Vec;

use crate::control::dropped::Dropped;
use crate::control::{DropReason, MAX_ENTRIES};
use crate::id::{PeerId, TopicId};

/// Dropped frames that the client was not told of yet, as entries of one DROPPED frame.
///
/// Frames in a row that were dropped alike share an entry. When there are [`MAX_ENTRIES`], the last
/// becomes a summary of all further frames.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    entries: Vec<Dropped>,
    /// Whether a dropped frame is in no entry, because the summary cannot span it.
    incomplete: bool,
}

impl Verdicts {
    /// Adds the frame with that number, which is larger than all before.
    pub(super) fn add(
        &mut self,
        number: u64,
        recipient: PeerId,
        topic: TopicId,
        reason: DropReason,
    ) {
        let is_full = self.entries.len() == MAX_ENTRIES;
        if let Some(last) = self.entries.last_mut() {
            let is_alike = (last.reason, last.topic, last.recipient) == (reason, topic, recipient);
            let is_next = last.is_exact() && last.last().checked_add(1) == Some(number);
            if is_alike && is_next && last.extend_to(number) {
                return;
            }
            if is_full {
                (last.reason, last.topic, last.recipient) =
                    (DropReason::Various, TopicId(0), PeerId::NIL);
                self.incomplete |= !last.extend_to(number);
                return;
            }
        }
        self.entries.push(Dropped { first: number, span: 1, count: 1, reason, topic, recipient });
    }

    /// Returns the entries of the next DROPPED frame.
    pub(super) fn entries(&self) -> &[Dropped] {
        &self.entries
    }

    /// Removes the entries, because the client was told.
    pub(super) fn clear(&mut self) {
        self.entries = Vec::new();
    }

    /// Returns whether every dropped frame was in an entry.
    pub(super) fn is_complete(&self) -> bool {
        !self.incomplete
    }

    /// Forgets the frames that were in no entry, because the client was told that there are some.
    pub(super) fn set_complete(&mut self) {
        self.incomplete = false;
    }
}

impl Dropped {
    /// Adds the frame with that number, which is larger than all before. Returns whether it could:
    /// an entry spans at most `u32::MAX` numbers.
    fn extend_to(&mut self, number: u64) -> bool {
        let distance = u32::try_from(number.wrapping_sub(self.first));
        let Some(span) = distance.ok().and_then(|distance| distance.checked_add(1)) else {
            return false;
        };
        self.span = span;
        self.count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const TOPIC: TopicId = TopicId(7);

    #[test]
    fn frames_in_a_row_that_were_dropped_alike_share_an_entry() {
        let mut verdicts = Verdicts::default();
        for number in [3, 4, 5, 7] {
            verdicts.add(number, peer(1), TOPIC, DropReason::UnknownRecipient);
        }
        verdicts.add(8, peer(1), TOPIC, DropReason::RecipientFull);
        verdicts.add(9, peer(2), TOPIC, DropReason::RecipientFull);
        verdicts.add(10, peer(2), TopicId(8), DropReason::RecipientFull);
        let spans: Vec<_> = verdicts.entries().iter().map(|it| (it.first, it.span)).collect();
        assert_eq!(spans, [(3, 3), (7, 1), (8, 1), (9, 1), (10, 1)]);
        assert!(verdicts.entries().iter().all(Dropped::is_exact));
    }

    #[test]
    fn the_last_entry_becomes_a_summary_of_all_further_frames() {
        let mut verdicts = Verdicts::default();
        let reason = DropReason::UnknownRecipient;
        for number in 0..MAX_ENTRIES as u64 {
            verdicts.add(2 * number, peer(1), TOPIC, reason);
        }
        // It may still grow as it is.
        verdicts.add(127, peer(1), TOPIC, reason);
        let last = *verdicts.entries().last().unwrap();
        assert_eq!((last.first, last.span, last.count, last.reason), (126, 2, 2, reason));
        verdicts.add(200, peer(1), TOPIC, reason);
        verdicts.add(201, peer(2), TOPIC, reason);
        assert_eq!(verdicts.entries().len(), MAX_ENTRIES);
        let expected = Dropped {
            first: 126,
            span: 76,
            count: 4,
            reason: DropReason::Various,
            topic: TopicId(0),
            recipient: PeerId::NIL,
        };
        assert_eq!(*verdicts.entries().last().unwrap(), expected);
        assert!(verdicts.is_complete());
    }

    #[test]
    fn frames_that_no_entry_can_span_make_the_verdicts_incomplete_once() {
        let mut verdicts = Verdicts::default();
        for number in 0..MAX_ENTRIES as u64 {
            verdicts.add(2 * number, peer(1), TOPIC, DropReason::UnknownRecipient);
        }
        verdicts.add(1 << 33, peer(1), TOPIC, DropReason::UnknownRecipient);
        assert_eq!(verdicts.entries().len(), MAX_ENTRIES);
        verdicts.clear();
        assert_eq!(verdicts.entries(), vec![]);
        assert!(!verdicts.is_complete());
        verdicts.set_complete();
        assert!(verdicts.is_complete());
    }

    #[test]
    fn numbers_may_reach_their_end() {
        let mut verdicts = Verdicts::default();
        for number in [u64::MAX - 1, u64::MAX, 0] {
            verdicts.add(number, peer(1), TOPIC, DropReason::UnknownRecipient);
        }
        assert_eq!(verdicts.entries().len(), 2);
    }

    fn peer(byte: u8) -> PeerId {
        PeerId::from_random([byte; 16])
    }
}
