//! Spare buffers for outboxes.

/// Spare buffers for outboxes. Each worker has a pool of its own.
///
/// Most outboxes are filled only for the microseconds between two writes. They borrow their memory
/// here, so that the steady state allocates nothing and an idle peer owns nothing.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    /// The buffer given back last is lent first: it is the likeliest to be in the cache.
    buffers: Vec<Vec<u8>>,
    /// Sum of the capacities of the buffers.
    kept: usize,
    /// Fewest buffers that were in the pool since the last [`BufferPool::trim`].
    unused: usize,
}

impl BufferPool {
    /// Most bytes kept: little beside the memory of thousands of connections, and enough for all
    /// outboxes at the end of a busy turn.
    const MAX_KEPT: usize = 4 << 20;
    /// Largest buffer kept, in bytes: enough for any peer that reads in time.
    pub(crate) const MAX_CAPACITY: usize = 256 * 1024;
    /// Capacity of a new buffer, in bytes: a handful of small frames.
    pub(crate) const NEW_CAPACITY: usize = 1024;

    pub(crate) fn lend(&mut self) -> Vec<u8> {
        match self.buffers.pop() {
            Some(buffer) => {
                self.kept -= buffer.capacity();
                self.unused = self.unused.min(self.buffers.len());
                buffer
            }
            None => Vec::with_capacity(Self::NEW_CAPACITY),
        }
    }

    pub(crate) fn give_back(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if (1..=Self::MAX_CAPACITY).contains(&capacity) && self.kept + capacity <= Self::MAX_KEPT {
            buffer.clear();
            self.kept += capacity;
            self.buffers.push(buffer);
        }
    }

    /// Frees the buffers that were not used since the last call, so that an idle server does not
    /// keep those of a peak. Returns whether there were any.
    pub(crate) fn trim(&mut self) -> bool {
        let unused = self.unused;
        self.kept -= self.buffers.drain(..unused).map(|buffer| buffer.capacity()).sum::<usize>();
        self.buffers.shrink_to(self.buffers.len() * 2);
        self.unused = self.buffers.len();
        unused > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_buffers(count: usize) -> BufferPool {
        let mut pool = BufferPool::default();
        (0..count).for_each(|_| pool.give_back(Vec::with_capacity(1024)));
        pool
    }

    #[test]
    fn the_pool_keeps_neither_too_many_nor_too_large_buffers() {
        let mut pool = BufferPool::default();
        pool.give_back(Vec::with_capacity(BufferPool::MAX_CAPACITY + 1));
        pool.give_back(Vec::new());
        assert_eq!((pool.buffers.len(), pool.kept), (0, 0));
        (0..100).for_each(|_| pool.give_back(Vec::with_capacity(BufferPool::MAX_CAPACITY)));
        assert!((1..=BufferPool::MAX_KEPT).contains(&pool.kept));
    }

    #[test]
    fn buffers_that_are_unused_between_two_trims_are_freed() {
        let mut pool = with_buffers(10);
        assert!(!pool.trim(), "they may be needed yet");
        let busy: Vec<_> = (0..3).map(|_| pool.lend()).collect();
        busy.into_iter().for_each(|buffer| pool.give_back(buffer));
        assert!(pool.trim());
        assert_eq!((pool.buffers.len(), pool.kept), (3, 3 * 1024));
        assert!(pool.trim());
        assert_eq!((pool.buffers.len(), pool.kept), (0, 0));
        assert!(!pool.trim());
    }
}
