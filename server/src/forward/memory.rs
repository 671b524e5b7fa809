//! How much memory all outboxes hold together, and who may have more of it.
//!
//! Most outboxes hold something for the length of a turn only; their memory is a worker's, and
//! little. What is counted here is what *waits*: outboxes whose socket took no more. There may be
//! as many of those as there are connections, so their sum has a ceiling:
//!
//! ```text
//!   0                                          3/4                   ceiling
//!   | held by outboxes that wait | free: to grow | free: to begin to wait |
//! ```
//!
//! An outbox may grow as long as it holds no more than a quarter of what is free to grow. So the
//! fuller it is the sooner it is refused, and loses frames, while those with less go on: no account
//! of who holds how much is needed for that. The last quarter is for outboxes that begin to wait,
//! whose memory is taken already; one that holds more than a quarter of what is free then is hung up.
//!
//! A peer that loses frames gives back nothing. So when outboxes that hold little are refused, or
//! use up what is there to begin with, the fullest are hung up until an eighth is free to grow.
//! The ceiling is never exceeded.
//!
//! Source: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
//! switches", 1998.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

use crate::forward::peer::Peer;
use crate::forward::registry::Registry;

/// The account of the memory that waiting outboxes hold; shared by all workers.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Memory {
    ceiling: usize,
    held: AtomicUsize,
    waiting: AtomicUsize,
    /// Told when there is too little left.
    scarce: Notify,
}

/// What one outbox has of it: nothing unless it waits.
#[derive(Debug, Default)]
pub(crate) struct Share(u32);

/// There is not enough memory left for an outbox that holds so much already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory;

impl Memory {
    /// An outbox may hold this fraction of what is free.
    const FRACTION: usize = 4;

    /// A ceiling of 0 is none.
    pub(crate) fn new(ceiling: usize) -> Self {
        Self {
            ceiling: if ceiling == 0 { usize::MAX } else { ceiling },
            held: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            scarce: Notify::new(),
        }
    }

    /// Returns how many bytes are held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Returns how many outboxes wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Takes that many bytes for an outbox that begins to wait.
    pub(crate) fn begin_wait(&self, share: &mut Share, holds: usize) -> Result<(), NoMemory> {
        debug_assert!(share.0 == 0 && holds > 0, "it has not waited, and does from here on");
        let taken = self.take(share, holds, self.ceiling);
        if taken.is_ok() {
            self.waiting.fetch_add(1, Relaxed);
        }
        if self.held() > self.to_grow() {
            self.scarce.notify_one();
        }
        taken
    }

    /// Takes `more` bytes for an outbox that waits.
    pub(crate) fn grow(&self, share: &mut Share, more: usize) -> Result<(), NoMemory> {
        let taken = self.take(share, more, self.to_grow());
        // Those that hold more than most have to do with what they have.
        if taken.is_err() && share.held() + more <= self.to_grow() / self.waiting().max(1) / 2 {
            self.scarce.notify_one();
        }
        taken
    }

    /// Takes note of what an outbox that waits holds by now.
    pub(crate) fn update(&self, share: &mut Share, holds: usize) {
        let held = share.held();
        if holds < held {
            self.held.fetch_sub(held - holds, Relaxed);
        } else if holds > held {
            self.held.fetch_add(holds - held, Relaxed);
        }
        share.0 = holds as u32;
    }

    /// Takes note that an outbox waits no longer.
    pub(crate) fn release(&self, share: &mut Share) {
        if share.held() > 0 {
            self.held.fetch_sub(share.held(), Relaxed);
            self.waiting.fetch_sub(1, Relaxed);
            *share = Share::default();
        }
    }

    /// Hangs up the fullest whenever there is too little left.
    pub(crate) async fn reclaim(&self, registry: &Registry, crowd_out: impl Fn(&Peer)) {
        loop {
            self.scarce.notified().await;
            let mut waiting = Vec::new();
            for shard in registry.shards() {
                for peer in shard {
                    let held = peer.link().held();
                    if held > 0 {
                        waiting.push((held, peer));
                    }
                }
                tokio::task::yield_now().await;
            }
            waiting.sort_unstable_by_key(|(held, _)| std::cmp::Reverse(*held));
            let mut count = 0;
            for (_, peer) in waiting {
                if self.held() <= self.to_grow() - self.to_grow() / 8 {
                    break;
                }
                crowd_out(&peer);
                count += 1;
            }
            if count > 0 {
                tracing::warn!(
                    peers = count,
                    "what waits for all peers has reached outbox-total; hung up the fullest"
                );
            }
        }
    }

    /// Returns up to how much outboxes that wait may grow.
    fn to_grow(&self) -> usize {
        self.ceiling - self.ceiling / 4
    }

    fn take(&self, share: &mut Share, more: usize, most: usize) -> Result<(), NoMemory> {
        let would_hold = share.held() + more;
        let may_hold = |held: usize| would_hold <= most.saturating_sub(held) / Self::FRACTION;
        self.held
            .fetch_update(Relaxed, Relaxed, |held| may_hold(held).then_some(held + more))
            .map_err(|_| NoMemory)?;
        share.0 = would_hold as u32;
        Ok(())
    }
}

impl Share {
    /// Returns how many bytes it is.
    pub(crate) fn held(&self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILING: usize = 64 << 20;

    fn shares(count: usize) -> Vec<Share> {
        (0..count).map(|_| Share::default()).collect()
    }

    /// Has an outbox wait that holds a kibibyte, and double for as long as it may.
    fn fill(memory: &Memory, share: &mut Share) {
        memory.begin_wait(share, 1024).unwrap();
        while share.held() < 4 << 20 && memory.grow(share, share.held()).is_ok() {}
    }

    fn is_scarce(memory: &Memory) -> bool {
        let mut notified = std::pin::pin!(memory.scarce.notified());
        notified.as_mut().enable()
    }

    #[test]
    fn no_number_of_greedy_outboxes_exceeds_the_ceiling() {
        let memory = Memory::new(CEILING);
        let mut shares = shares(5_000);
        for share in &mut shares {
            fill(&memory, share);
            assert!(memory.held() <= CEILING);
        }
        assert_eq!(memory.waiting(), 5_000);
        shares.iter_mut().for_each(|share| memory.release(share));
        assert_eq!((memory.held(), memory.waiting()), (0, 0));
    }

    #[test]
    fn the_fullest_are_refused_while_those_with_less_go_on() {
        let memory = Memory::new(CEILING);
        let mut greedy = shares(9);
        greedy.iter_mut().for_each(|share| fill(&memory, share));
        let mut modest = Share::default();
        memory.begin_wait(&mut modest, 1024).unwrap();
        memory.grow(&mut modest, 64 << 10).unwrap();
        let fullest = greedy.iter_mut().max_by_key(|share| share.held()).unwrap();
        assert_eq!(memory.grow(fullest, 1024), Err(NoMemory));
        assert!(!is_scarce(&memory), "it has to do with what it has");
    }

    #[test]
    fn memory_is_scarce_when_those_with_less_are_refused() {
        let memory = Memory::new(CEILING);
        let mut greedy = shares(200);
        greedy.iter_mut().for_each(|share| fill(&memory, share));
        assert!(is_scarce(&memory));
        // The fullest go.
        greedy.sort_by_key(Share::held);
        while memory.held() > memory.to_grow() / 8 * 7 {
            memory.release(&mut greedy.pop().unwrap());
        }
        let mut modest = Share::default();
        memory.begin_wait(&mut modest, 1024).unwrap();
        memory.grow(&mut modest, 64 << 10).unwrap();
        assert!(!is_scarce(&memory));
    }

    #[test]
    fn whoever_holds_too_much_as_it_begins_to_wait_is_refused() {
        let memory = Memory::new(CEILING);
        let mut refused = 0;
        for share in &mut shares(5_000) {
            refused += u32::from(memory.begin_wait(share, 128 << 10).is_err());
            assert!(memory.held() <= CEILING);
        }
        assert!(refused > 4_000);
        assert!(is_scarce(&memory));
        memory.begin_wait(&mut Share::default(), 4 << 10).unwrap();
    }

    #[test]
    fn workers_at_once_do_not_exceed_the_ceiling_and_give_all_back() {
        let memory = Memory::new(1 << 20);
        std::thread::scope(|scope| {
            for worker in 1..=3 {
                let memory = &memory;
                scope.spawn(move || {
                    let mut shares = shares(8);
                    for round in 0..8 {
                        for share in &mut shares {
                            if share.held() == 0 {
                                // Whether there is enough is up to the others.
                                let _ = memory.begin_wait(share, worker << 12);
                            } else if memory.grow(share, worker << (10 + round % 4)).is_err() {
                                memory.release(share);
                            }
                            assert!(memory.held() <= 1 << 20);
                        }
                    }
                    shares.iter_mut().for_each(|share| memory.release(share));
                });
            }
        });
        assert_eq!((memory.held(), memory.waiting()), (0, 0));
    }

    #[test]
    fn zero_is_no_ceiling() {
        let memory = Memory::new(0);
        for share in &mut shares(1000) {
            memory.begin_wait(share, 1 << 20).unwrap();
            memory.grow(share, 1 << 30).unwrap();
        }
        assert!(!is_scarce(&memory));
    }
}
