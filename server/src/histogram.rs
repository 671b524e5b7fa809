//! Histograms of durations.

use std::array;
use std::time::Duration;

use crate::counter::OwnCounter;

/// A histogram of the durations that one thread measures. Other threads may read it meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// The number of durations in each bucket of [`BOUNDS`], and of those above the last bound.
    counts: [OwnCounter; BOUNDS.len() + 1],
    sum_nanos: OwnCounter,
}

/// The sum of several histograms.
#[derive(Debug, Default)]
pub(crate) struct HistogramSnapshot {
    counts: [u64; BOUNDS.len() + 1],
    sum_nanos: u64,
}

/// Upper bounds of the buckets, three a decade, from the time of one write to 10 s.
pub(crate) const BOUNDS: [(&str, Duration); 19] = [
    ("0.00001", Duration::from_micros(10)),
    ("0.000025", Duration::from_micros(25)),
    ("0.00005", Duration::from_micros(50)),
    ("0.0001", Duration::from_micros(100)),
    ("0.00025", Duration::from_micros(250)),
    ("0.0005", Duration::from_micros(500)),
    ("0.001", Duration::from_millis(1)),
    ("0.0025", Duration::from_micros(2500)),
    ("0.005", Duration::from_millis(5)),
    ("0.01", Duration::from_millis(10)),
    ("0.025", Duration::from_millis(25)),
    ("0.05", Duration::from_millis(50)),
    ("0.1", Duration::from_millis(100)),
    ("0.25", Duration::from_millis(250)),
    ("0.5", Duration::from_millis(500)),
    ("1", Duration::from_secs(1)),
    ("2.5", Duration::from_millis(2500)),
    ("5", Duration::from_secs(5)),
    ("10", Duration::from_secs(10)),
];

impl Histogram {
    /// Records a duration. Only one thread may call this.
    pub(crate) fn observe(&self, duration: Duration) {
        let bucket = BOUNDS.partition_point(|(_, bound)| *bound < duration);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket].add(1);
        self.sum_nanos.add(nanos);
    }
}

impl HistogramSnapshot {
    pub(crate) fn add(&mut self, histogram: &Histogram) {
        for (sum, count) in self.counts.iter_mut().zip(&histogram.counts) {
            *sum += count.get();
        }
        self.sum_nanos = self.sum_nanos.wrapping_add(histogram.sum_nanos.get());
    }

    /// Returns the number of durations up to each bound of [`BOUNDS`], and of all durations.
    pub(crate) fn cumulative(&self) -> [u64; BOUNDS.len() + 1] {
        let mut sum = 0;
        array::from_fn(|bucket| {
            sum += self.counts[bucket];
            sum
        })
    }

    pub(crate) fn sum_seconds(&self) -> f64 {
        Duration::from_nanos(self.sum_nanos).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_match_their_labels_and_grow() {
        for (text, bound) in BOUNDS {
            assert_eq!(text.parse::<f64>().unwrap(), bound.as_secs_f64());
        }
        assert!(BOUNDS.is_sorted_by(|(_, one), (_, next)| one < next));
    }

    #[test]
    fn each_duration_is_in_its_bucket() {
        let histogram = Histogram::default();
        for micros in [0, 10, 11, 10_000_000, 10_000_001, 3_600_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut snapshot = HistogramSnapshot::default();
        snapshot.add(&histogram);
        let [first, second, .., last_bound, all] = snapshot.cumulative();
        assert_eq!((first, second, last_bound, all), (2, 3, 4, 6));
        assert!((snapshot.sum_seconds() - 3_620.000_022).abs() < 1e-9);
    }
}
