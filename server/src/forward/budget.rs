//! Accounts for memory that many connections share, and decides which may have more.
//!
//! A server has two budgets. One is for outboxes whose socket takes no more bytes; an outbox that
//! is written at the end of the turn holds only a worker's pooled buffer. The other is for incoming
//! frames that are incomplete.
//!
//! ```text
//!   0                                          3/4                    limit
//!   | held by all charges | free: to grow      | free: for new charges |
//! ```
//!
//! A charge may grow while it is no more than a quarter of what is free to grow. So the larger it
//! is the sooner it is refused, while smaller ones go on; no list of who holds how much is needed.
//! The last quarter is for new charges: an outbox has its memory already when it is charged. A new
//! charge is refused if it is more than a quarter of all that is free. The limit is never
//! exceeded.
//!
//! A peer that is refused more memory may keep for long what it has. So when small charges are
//! refused, or new ones use the last quarter, the budget is short, and [`reclaim`](super::reclaim)
//! disconnects the peers with the costliest charges until an eighth is free to grow.
//!
//! Source: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
//! switches", 1998.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

/// Memory that many connections share; used by all workers.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Budget {
    limit: usize,
    /// Up to how much existing charges may grow.
    growth_limit: usize,
    held: AtomicUsize,
    charges: AtomicUsize,
    /// Notified when the budget is short.
    short: Notify,
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: u32,
}

/// The budget has too little left for a charge of this size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory;

impl Budget {
    /// A charge may be this fraction of what is free.
    const FRACTION: usize = 4;

    /// Makes a budget all of which existing charges may use. `limit` is in bytes; 0: no limit.
    #[cfg(test)]
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        Self::with_growth_limit(limit, limit)
    }

    /// Makes a budget whose last quarter is for new charges. `limit` is in bytes; 0: no limit.
    pub(crate) fn with_reserve(limit: usize) -> Arc<Self> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        Self::with_growth_limit(limit, limit - limit / 4)
    }

    fn with_growth_limit(limit: usize, growth_limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            growth_limit,
            held: AtomicUsize::new(0),
            charges: AtomicUsize::new(0),
            short: Notify::new(),
        })
    }

    /// Takes `bytes` bytes, which are more than 0.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, NoMemory> {
        let taken = self.take(0, bytes, self.limit);
        if self.held() > self.growth_limit {
            self.short.notify_one();
        }
        taken?;
        self.charges.fetch_add(1, Relaxed);
        Ok(Charge { budget: Arc::clone(self), bytes: bytes as u32 })
    }

    /// Returns how many bytes all charges hold.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Returns how many charges there are.
    pub(crate) fn charges(&self) -> usize {
        self.charges.load(Relaxed)
    }

    /// Completes when the budget has become short.
    pub(crate) async fn short(&self) {
        self.short.notified().await;
    }

    /// Returns how many bytes have to be given back until an eighth of the memory for growth is
    /// free.
    pub(crate) fn excess(&self) -> usize {
        self.held().saturating_sub(self.growth_limit - self.growth_limit / 8)
    }

    fn take(&self, has: usize, more: usize, limit: usize) -> Result<(), NoMemory> {
        let may_have = |held: usize| has + more <= limit.saturating_sub(held) / Self::FRACTION;
        self.held
            .fetch_update(Relaxed, Relaxed, |held| may_have(held).then_some(held + more))
            .map_err(|_| NoMemory)?;
        Ok(())
    }
}

impl Charge {
    /// Takes `more` bytes more.
    pub(crate) fn grow(&mut self, more: usize) -> Result<(), NoMemory> {
        let budget = &self.budget;
        let taken = budget.take(self.bytes(), more, budget.growth_limit);
        // Only charges below half of the average make the budget short: larger ones have enough.
        let average = budget.growth_limit / budget.charges().max(1);
        if taken.is_err() && self.bytes() + more <= average / 2 {
            budget.short.notify_one();
        }
        taken?;
        self.bytes += more as u32;
        Ok(())
    }

    /// Makes the charge `bytes` bytes. Refused only if that is more than it is.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), NoMemory> {
        if bytes > self.bytes() {
            return self.grow(bytes - self.bytes());
        }
        self.set(bytes);
        Ok(())
    }

    /// Sets the charge to what its owner holds by now. It is not refused: its owner has asked
    /// [`grow`](Self::grow) before.
    pub(crate) fn set(&mut self, bytes: usize) {
        let before = self.bytes();
        if bytes < before {
            self.budget.held.fetch_sub(before - bytes, Relaxed);
        } else if bytes > before {
            self.budget.held.fetch_add(bytes - before, Relaxed);
        }
        self.bytes = bytes as u32;
    }

    /// Returns how many bytes it is.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes(), Relaxed);
        self.budget.charges.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 << 20;

    /// Takes a kibibyte, if there is one, and doubles it for as long as it may.
    fn fill(budget: &Arc<Budget>) -> Option<Charge> {
        let mut charge = budget.charge(1024).ok()?;
        while charge.bytes() < 4 << 20 && charge.grow(charge.bytes()).is_ok() {}
        Some(charge)
    }

    fn fill_many(budget: &Arc<Budget>, count: usize) -> Vec<Charge> {
        (0..count).map(|_| fill(budget).unwrap()).collect()
    }

    fn is_short(budget: &Budget) -> bool {
        let mut notified = std::pin::pin!(budget.short.notified());
        notified.as_mut().enable()
    }

    #[test]
    fn no_number_of_greedy_charges_exceeds_the_limit_and_all_is_given_back() {
        for budget in [Budget::new(LIMIT), Budget::with_reserve(LIMIT)] {
            let mut charges = Vec::new();
            for _ in 0..5_000 {
                charges.extend(fill(&budget));
                assert!(budget.held() <= LIMIT);
            }
            assert!(budget.held() > LIMIT / 4 * 3);
            assert_eq!(budget.charges(), charges.len());
            drop(charges);
            assert_eq!((budget.held(), budget.charges()), (0, 0));
        }
    }

    #[test]
    fn the_largest_are_refused_while_smaller_ones_go_on() {
        let budget = Budget::with_reserve(LIMIT);
        let mut greedy = fill_many(&budget, 9);
        let mut modest = budget.charge(1024).unwrap();
        modest.grow(64 << 10).unwrap();
        let largest = greedy.iter_mut().max_by_key(|charge| charge.bytes()).unwrap();
        assert_eq!(largest.grow(1024), Err(NoMemory));
        assert!(!is_short(&budget), "it has enough");
    }

    #[test]
    fn the_budget_is_short_when_small_charges_are_refused() {
        let budget = Budget::with_reserve(LIMIT);
        let mut greedy = fill_many(&budget, 200);
        assert!(is_short(&budget));
        assert!(budget.excess() > 0);
        greedy.sort_by_key(Charge::bytes);
        while budget.excess() > 0 {
            greedy.pop();
        }
        let mut modest = budget.charge(1024).unwrap();
        modest.grow(64 << 10).unwrap();
        assert!(!is_short(&budget));
    }

    #[test]
    fn a_new_charge_that_is_too_large_is_refused_and_small_ones_are_not() {
        let budget = Budget::with_reserve(LIMIT);
        let charges: Vec<_> = (0..5_000).map(|_| budget.charge(128 << 10)).collect();
        assert!(budget.held() <= LIMIT);
        assert!(charges.iter().filter(|charge| charge.is_err()).count() > 4_000);
        assert!(is_short(&budget));
        budget.charge(4 << 10).unwrap();
    }

    #[test]
    fn what_is_refused_leaves_the_charge_as_it_was() {
        let budget = Budget::new(100);
        let mut charge = budget.charge(10).unwrap();
        assert_eq!(charge.grow(13), Err(NoMemory));
        assert_eq!((charge.bytes(), budget.held()), (10, 10));
        charge.grow(12).unwrap();
        charge.set(5);
        assert_eq!((charge.bytes(), budget.held()), (5, 5));
    }

    #[test]
    fn a_charge_that_stays_or_shrinks_is_not_refused_in_a_full_budget() {
        let budget = Budget::new(100);
        let mut charge = budget.charge(20).unwrap();
        let others: Vec<_> = (0..50).map_while(|_| budget.charge(1).ok()).collect();
        let held = 20 + others.len();
        assert_eq!(charge.resize(21), Err(NoMemory));
        assert_eq!((charge.bytes(), budget.held()), (20, held));
        assert_eq!(charge.resize(20), Ok(()));
        assert_eq!(charge.resize(10), Ok(()));
        assert_eq!((charge.bytes(), budget.held()), (10, held - 10));
    }

    #[test]
    fn workers_at_once_do_not_exceed_the_limit_and_give_all_back() {
        let budget = Budget::with_reserve(1 << 20);
        std::thread::scope(|scope| {
            for worker in 1..=3 {
                let budget = &budget;
                scope.spawn(move || {
                    let mut charges: [Option<Charge>; 8] = Default::default();
                    for round in 0..8 {
                        for slot in &mut charges {
                            // Whether there is enough depends on the other threads.
                            let keeps = match slot {
                                Some(charge) => charge.grow(worker << (10 + round % 4)).is_ok(),
                                None => false,
                            };
                            if !keeps {
                                *slot = budget.charge(worker << 12).ok();
                            }
                            assert!(budget.held() <= 1 << 20);
                        }
                    }
                });
            }
        });
        assert_eq!((budget.held(), budget.charges()), (0, 0));
    }

    #[test]
    fn zero_is_no_limit() {
        for budget in [Budget::new(0), Budget::with_reserve(0)] {
            let charges: Vec<_> = (0..1000)
                .map(|_| {
                    let mut charge = budget.charge(1 << 20).unwrap();
                    charge.grow(1 << 30).unwrap();
                    charge
                })
                .collect();
            assert!(!is_short(&budget));
            assert_eq!(budget.charges(), charges.len());
        }
    }
}
