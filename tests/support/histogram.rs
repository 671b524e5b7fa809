//! Distribution of times, to within one percent.

/// Counts of times in nanoseconds.
///
/// Every power of two is divided into 128 equal parts, so a time is known to 1/128 of itself.
#[derive(Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Makes an empty histogram.
    pub fn new() -> Self {
        Self { counts: vec![0; index(u64::MAX) + 1], total: 0, min: u64::MAX, max: 0 }
    }

    /// Counts a time.
    pub fn record(&mut self, time: u64) {
        self.counts[index(time)] += 1;
        self.total += 1;
        self.min = self.min.min(time);
        self.max = self.max.max(time);
    }

    /// Returns the time that `percent` of all times do not exceed; `None` without any time.
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        let rank =
            ((self.total as f64 * percent / 100.0).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(value(found).clamp(self.min, self.max))
    }
}

fn index(time: u64) -> usize {
    let shift = (u64::BITS - PART_BITS - 1).saturating_sub(time.leading_zeros());
    ((shift as usize) << PART_BITS) + (time >> shift) as usize
}

/// Returns the middle of the times of an index.
fn value(index: usize) -> u64 {
    let shift = (index >> PART_BITS).saturating_sub(1);
    let low = ((index - (shift << PART_BITS)) as u64) << shift;
    low + (1 << shift) / 2
}

const PART_BITS: u32 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_known_to_one_percent() {
        let mut time = 1;
        while time < u64::MAX / 3 {
            let known = value(index(time));
            assert!(known.abs_diff(time) * 100 <= time, "{time} is taken for {known}");
            time += time / 3 + 1;
        }
        assert!(index(u64::MAX) < 10_000);
    }

    #[test]
    fn percentiles_lie_between_the_least_and_the_greatest() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile(50.0), None);
        for time in 1..=100 {
            histogram.record(time * 1000);
        }
        let near = |percent, expected: u64| {
            let time = histogram.percentile(percent).unwrap();
            assert!(time.abs_diff(expected) * 100 <= expected, "{time} for {expected}");
        };
        near(50.0, 50_000);
        near(99.0, 99_000);
        assert!(histogram.percentile(0.0).unwrap() >= 1000);
        assert!(histogram.percentile(100.0).unwrap() <= 100_000);
    }
}
