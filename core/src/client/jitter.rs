//! The random part of waiting times.

use core::time::Duration;

/// Pseudo-random numbers (SplitMix64) that spread the dials of clients of the same server.
#[derive(Debug)]
pub(super) struct Jitter(pub(super) u64);

impl Jitter {
    /// Returns `delay` plus up to half of it.
    pub(super) fn stretch(&mut self, delay: Duration) -> Duration {
        delay + self.below(delay / 2)
    }

    /// Returns a random time of at most `spread`, which is a day at most.
    pub(super) fn below(&mut self, spread: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // 16 random bits of it. A day times 2^16 fits in 63 bits.
        Duration::from_nanos((spread.as_nanos() as u64 * (z & 0xffff)) >> 16)
    }
}
