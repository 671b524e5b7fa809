//! How much memory the beginnings of frames hold whose rest has not come.
//!
//! A frame that comes in pieces is kept until it is whole, at most its own length. There may be as
//! many of those as there are connections, so their sum has a ceiling: an account of its own, lest
//! what some send takes what others' outboxes need. One may hold a quarter of what the others leave
//! free. So the less there is the shorter is what may begin, and frames that come in one piece,
//! which hold nothing, are never refused.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::forward::memory::NoMemory;

/// The account of the memory that unfinished frames hold; shared by all workers.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Unfinished {
    ceiling: usize,
    held: AtomicUsize,
}

impl Unfinished {
    /// An unfinished frame may hold this fraction of what is free.
    const FRACTION: usize = 4;

    /// A ceiling of 0 is none.
    pub(crate) fn new(ceiling: usize) -> Self {
        Self { ceiling: if ceiling == 0 { usize::MAX } else { ceiling }, held: AtomicUsize::new(0) }
    }

    /// Returns how many bytes are held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Takes note of what a connection holds; what it held before stays noted if that is refused.
    pub(crate) fn change(&self, before: usize, after: usize) -> Result<(), NoMemory> {
        if after <= before {
            self.release(before - after);
            return Ok(());
        }
        let with_this = |held: usize| {
            let others = held - before;
            let free = self.ceiling.saturating_sub(others);
            (after <= free / Self::FRACTION).then_some(others + after)
        };
        self.held.fetch_update(Relaxed, Relaxed, with_this).map_err(|_| NoMemory)?;
        Ok(())
    }

    /// Takes note that so many bytes are not held any longer.
    pub(crate) fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.held.fetch_sub(bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_of_frames_exceeds_the_ceiling_and_all_is_given_back() {
        let account = Unfinished::new(1 << 20);
        let mut held = Vec::new();
        for size in [64 << 10, 1 << 10, 100].repeat(10_000) {
            held.extend(account.change(0, size).is_ok().then_some(size));
            assert!(account.held() <= 1 << 20);
        }
        assert!(account.held() > 1 << 19);
        assert_eq!(account.change(0, 64 << 10), Err(NoMemory));
        held.into_iter().for_each(|size| account.change(size, 0).unwrap());
        assert_eq!(account.held(), 0);
    }

    #[test]
    fn what_is_refused_leaves_the_account_as_it_was() {
        let account = Unfinished::new(100);
        account.change(0, 20).unwrap();
        assert_eq!(account.change(20, 26), Err(NoMemory));
        assert_eq!(account.held(), 20);
        account.change(20, 25).unwrap();
        account.change(25, 10).unwrap();
        account.release(10);
        assert_eq!(account.held(), 0);
    }

    #[test]
    fn zero_is_no_ceiling() {
        let account = Unfinished::new(0);
        account.change(0, 1 << 40).unwrap();
        assert_eq!(account.held(), 1 << 40);
    }
}
