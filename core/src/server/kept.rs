//! Verdicts that a client may not have got.

use alloc::vec::Vec;

use crate::control::MAX_ENTRIES;
use crate::control::dropped::Dropped;

/// Verdicts that were sent to a client, until it says that it got a later HANDLED. A client that
/// resumes is sent them again: the connection may have broken before they arrived.
#[derive(Debug, Default)]
pub(super) struct KeptVerdicts {
    /// At most [`MAX_ENTRIES`], the oldest first.
    entries: Vec<Dropped>,
    /// Number of the last frame whose verdict was forgotten to make room.
    forgotten_upto: u64,
}

impl KeptVerdicts {
    /// Keeps these entries, which are later than all before.
    pub(super) fn keep(&mut self, entries: &[Dropped]) {
        self.entries.extend_from_slice(entries);
        let surplus = self.entries.len().saturating_sub(MAX_ENTRIES);
        for forgotten in self.entries.drain(..surplus) {
            self.forgotten_upto = self.forgotten_upto.max(forgotten.last());
        }
    }

    /// Forgets the entries that a client has got which saw a HANDLED up to that number.
    pub(super) fn confirm(&mut self, seen: u64) {
        self.entries.retain(|entry| entry.last() > seen);
        if self.entries.is_empty() {
            self.entries = Vec::new();
        }
    }

    /// Returns the entries that a client may not have got which saw a HANDLED up to that number,
    /// and whether those are all.
    pub(super) fn unseen(mut self, seen: u64) -> (Vec<Dropped>, bool) {
        self.confirm(seen);
        (self.entries, self.forgotten_upto <= seen)
    }

    /// Returns how many entries are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::DropReason;
    use crate::id::{PeerId, TopicId};

    fn entry(number: u64) -> Dropped {
        Dropped {
            first: number,
            span: 1,
            count: 1,
            reason: DropReason::UnknownRecipient,
            topic: TopicId(1),
            recipient: PeerId::NIL,
        }
    }

    #[test]
    fn entries_are_kept_until_they_are_confirmed() {
        let mut kept = KeptVerdicts::default();
        kept.keep(&[entry(1), entry(2), entry(5)]);
        kept.confirm(2);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept.unseen(2), ([entry(5)].to_vec(), true));
    }

    #[test]
    fn the_oldest_entries_are_forgotten_and_that_is_known() {
        let numbers: Vec<_> = (1..=100).map(entry).collect();
        let kept = || {
            let mut kept = KeptVerdicts::default();
            numbers.chunks(7).for_each(|entries| kept.keep(entries));
            kept
        };
        assert_eq!(kept().unseen(35), (numbers[36..].to_vec(), false));
        assert_eq!(kept().unseen(36), (numbers[36..].to_vec(), true));
        assert_eq!(kept().unseen(99), (numbers[99..].to_vec(), true));
    }
}
