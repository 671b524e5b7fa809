//! A bounded number of places. A newcomer takes the place that has been used longest ago.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A bounded number of places, for connections that would otherwise hold something for long.
///
/// A newcomer is never refused: if all places are taken, the one used longest ago is its.
#[derive(Debug)]
pub(crate) struct Places {
    limit: usize,
    holders: Mutex<Holders>,
}

#[derive(Debug, Default)]
struct Holders {
    /// Grows with each use of a place.
    next: u64,
    /// By last use. A holder is told of its loss by the end of its sender.
    by_use: BTreeMap<u64, oneshot::Sender<Infallible>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    last_use: Cell<u64>,
}

/// Completes, always with an error, once the place has been taken by a newcomer.
pub(crate) type Lost = oneshot::Receiver<Infallible>;

impl Places {
    /// Makes `limit` places, at least one.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: limit.max(1), holders: Mutex::default() })
    }

    /// Takes a place, if need be the one that has been used longest ago.
    pub(crate) fn take(self: &Arc<Self>) -> (Place, Lost) {
        let (sender, lost) = oneshot::channel();
        let mut holders = self.holders();
        if holders.by_use.len() >= self.limit {
            holders.by_use.pop_first();
        }
        let last_use = Cell::new(holders.insert(sender));
        drop(holders);
        (Place { places: Arc::clone(self), last_use }, lost)
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Records that the holder has used its place. A place that is lost stays lost.
    pub(crate) fn used(&self) {
        let mut holders = self.places.holders();
        if let Some(sender) = holders.by_use.remove(&self.last_use.get()) {
            self.last_use.set(holders.insert(sender));
        }
    }
}

impl Holders {
    fn insert(&mut self, sender: oneshot::Sender<Infallible>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.by_use.insert(number, sender);
        number
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.holders().by_use.remove(&self.last_use.get());
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn is_lost(lost: &mut Lost) -> bool {
        matches!(lost.try_recv(), Err(TryRecvError::Closed))
    }

    #[test]
    fn a_newcomer_takes_the_place_that_was_used_longest_ago() {
        let places = Places::new(2);
        let (first, mut first_lost) = places.take();
        let (_second, mut second_lost) = places.take();
        first.used();
        let (_third, mut third_lost) = places.take();
        assert!(is_lost(&mut second_lost));
        assert!(!is_lost(&mut first_lost) && !is_lost(&mut third_lost));
        let (_fourth, _lost) = places.take();
        assert!(is_lost(&mut first_lost));
        first.used();
        assert!(!is_lost(&mut third_lost), "a lost place does not come back");
    }

    #[test]
    fn a_place_is_free_once_its_holder_is_gone() {
        let places = Places::new(1);
        drop(places.take());
        let (_held, mut lost) = places.take();
        assert!(!is_lost(&mut lost));
        assert_eq!(places.holders().by_use.len(), 1);
    }
}
