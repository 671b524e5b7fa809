//! The peers that are to be told what becomes of one peer.

use waddell_core::PeerId;

/// The peers that are to be told what becomes of one peer: those that asked with WATCH, and those
/// that wrote to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watchers {
    /// Those that asked. They are never pushed out.
    asked: Vec<PeerId>,
    /// Those that wrote, the latest last.
    wrote: Vec<PeerId>,
}

impl Watchers {
    /// Most peers that are told of one peer.
    pub(crate) const MAX: usize = 256;

    /// Adds a peer that asked. If too many did, it counts as one that wrote.
    pub(crate) fn add_asked(&mut self, id: PeerId) {
        if self.asked.contains(&id) {
            return;
        }
        if self.asked.len() == MAX_ASKED {
            self.add_wrote(id);
            return;
        }
        self.wrote.retain(|wrote| *wrote != id);
        if self.asked.len() + self.wrote.len() == Self::MAX {
            self.wrote.remove(0);
        }
        self.asked.push(id);
    }

    /// Adds a peer that wrote. If there are too many, the one that was added first is removed.
    pub(crate) fn add_wrote(&mut self, id: PeerId) {
        if self.asked.contains(&id) || self.wrote.contains(&id) {
            return;
        }
        if self.asked.len() + self.wrote.len() == Self::MAX {
            self.wrote.remove(0);
        }
        self.wrote.push(id);
    }

    /// Removes a peer.
    pub(crate) fn remove(&mut self, id: PeerId) {
        self.asked.retain(|asked| *asked != id);
        self.wrote.retain(|wrote| *wrote != id);
    }

    /// Returns all of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = PeerId> {
        self.asked.iter().chain(&self.wrote).copied()
    }
}

/// Most of them that asked.
const MAX_ASKED: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> PeerId {
        PeerId::from_bytes((number as u128 + 1).to_be_bytes())
    }

    #[test]
    fn each_peer_is_told_once() {
        let mut watchers = Watchers::default();
        watchers.add_wrote(id(1));
        watchers.add_wrote(id(1));
        watchers.add_asked(id(1));
        watchers.add_asked(id(1));
        watchers.add_wrote(id(1));
        assert!(watchers.iter().eq([id(1)]));
    }

    #[test]
    fn the_one_that_wrote_first_is_pushed_out_and_those_that_asked_stay() {
        let mut watchers = Watchers::default();
        (0..100).for_each(|number| watchers.add_asked(id(number)));
        (100..1_000).for_each(|number| watchers.add_wrote(id(number)));
        let all: Vec<_> = watchers.iter().collect();
        assert_eq!(all.len(), Watchers::MAX);
        assert!(all[..100].iter().copied().eq((0..100).map(id)));
        assert!(all[100..].iter().copied().eq((844..1_000).map(id)));
        watchers.add_asked(id(2_000));
        assert_eq!(watchers.iter().count(), Watchers::MAX);
        assert!(watchers.iter().all(|watcher| watcher != id(844)));
    }

    #[test]
    fn beyond_the_most_that_may_ask_they_count_as_having_written() {
        let mut watchers = Watchers::default();
        (0..1_000).for_each(|number| watchers.add_asked(id(number)));
        assert_eq!(watchers.asked.len(), MAX_ASKED);
        assert_eq!(watchers.iter().count(), Watchers::MAX);
        assert!(watchers.iter().any(|watcher| watcher == id(999)));
    }

    #[test]
    fn a_peer_that_was_removed_is_not_told() {
        let mut watchers = Watchers::default();
        watchers.add_asked(id(1));
        watchers.add_wrote(id(2));
        watchers.remove(id(1));
        watchers.remove(id(2));
        assert_eq!(watchers.iter().count(), 0);
    }
}
