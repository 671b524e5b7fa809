//! Memory of a process over time.

/// Samples of resident memory in bytes, taken at equal intervals.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    samples: Vec<u64>,
}

impl Memory {
    pub(crate) fn record(&mut self, bytes: u64) {
        self.samples.push(bytes);
    }

    pub(crate) fn last(&self) -> u64 {
        self.samples.last().copied().unwrap_or_default()
    }

    pub(crate) fn max(&self) -> u64 {
        self.samples.iter().copied().max().unwrap_or_default()
    }

    /// Returns the medians of the second and of the last quarter of the run. The first quarter is
    /// for warming up. `None` if there are too few samples.
    pub(crate) fn before_and_after(&self) -> Option<(u64, u64)> {
        let quarter = self.samples.len() / 4;
        (quarter >= 3).then(|| {
            let before = median(&self.samples[quarter..2 * quarter]);
            (before, median(&self.samples[self.samples.len() - quarter..]))
        })
    }

    /// Returns whether the memory does not grow by more than chance explains. Chance decides how
    /// many peers are stalled at a time, and so the size of their outboxes.
    pub(crate) fn is_flat(&self) -> bool {
        self.before_and_after().is_none_or(|(before, after)| after <= before + before / 4 + SLACK)
    }
}

/// Growth that does not count as a trend, in bytes.
const SLACK: u64 = 8 << 20;

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(samples: impl Iterator<Item = u64>) -> Memory {
        Memory { samples: samples.collect() }
    }

    #[test]
    fn warming_up_and_variation_are_no_trend() {
        assert!(memory((0..600).map(|at| (at.min(100) << 20) + ((at % 7) << 20))).is_flat());
        let memory = memory([1, 2, 3].into_iter());
        assert!(memory.is_flat(), "too few samples");
        assert_eq!((memory.last(), memory.max()), (3, 3));
    }

    #[test]
    fn steady_growth_is_detected() {
        assert!(!memory((0..600).map(|at| (20 << 20) + (at << 17))).is_flat());
    }
}
