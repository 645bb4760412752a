//! Histograms that any thread may add to while others read them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many buckets a value's doubling is divided into: a bucket is at most a quarter wider than its lower bound.
const PER_DOUBLING: usize = 4;

/// Values above 2⁴⁰ (18 minutes, of nanoseconds) are counted in the last bucket.
const BUCKETS: usize = PER_DOUBLING * 39;

/// Counts values by their size. Adding one costs two uncontended atomic additions, and never waits.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// What a [`Histogram`] has counted. Values that are added while it is read may be in `sum` and not in `buckets`, or the
/// other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramReading {
    /// The sum of all values.
    pub sum: u64,
    /// The buckets that are not empty, ascending: the largest value that is counted in it, and how many values are.
    pub buckets: Vec<(u64, u64)>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Adds a value.
    pub fn add(&self, value: u64) {
        self.buckets[bucket_of(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Adds a duration, in nanoseconds.
    pub fn add_duration(&self, duration: Duration) {
        self.add(duration.as_nanos() as u64);
    }

    /// Adds a duration so many times.
    pub fn add_durations(&self, each: Duration, count: u64) {
        let value = each.as_nanos() as u64;
        self.buckets[bucket_of(value)].fetch_add(count, Ordering::Relaxed);
        self.sum.fetch_add(value * count, Ordering::Relaxed);
    }

    /// What was added so far.
    pub fn read(&self) -> HistogramReading {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets = counts.enumerate().filter(|(_, count)| *count > 0).map(|(at, count)| (upper_bound(at), count));
        HistogramReading { buckets: buckets.collect(), sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// Bounds are inclusive above, so that the powers of two are bounds.
fn bucket_of(value: u64) -> usize {
    let below = value.saturating_sub(1);
    if below < PER_DOUBLING as u64 {
        return below as usize;
    }
    let exponent = below.ilog2() as usize;
    let quarter = (below >> (exponent - 2)) as usize % PER_DOUBLING;
    ((exponent - 1) * PER_DOUBLING + quarter).min(BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> u64 {
    if bucket < PER_DOUBLING {
        return bucket as u64 + 1;
    }
    let (exponent, quarter) = (bucket / PER_DOUBLING + 1, bucket % PER_DOUBLING);
    ((PER_DOUBLING + quarter + 1) as u64) << (exponent - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_counted_below_the_next_bound_that_is_at_most_a_quarter_away() {
        let values = (0..4096).chain((12..40).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1]));
        for value in values {
            let histogram = Histogram::default();
            histogram.add(value);
            let HistogramReading { sum, buckets } = histogram.read();
            let [(bound, 1)] = buckets[..] else { panic!("{value}: {buckets:?}") };
            assert_eq!(sum, value);
            assert!(value <= bound && bound <= (value + value.div_ceil(4)).max(1), "{value} under {bound}");
        }
    }

    #[test]
    fn bounds_ascend_and_the_powers_of_two_are_among_them() {
        let bounds: Vec<_> = (0..BUCKETS).map(upper_bound).collect();
        assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
        assert!((0..=40).all(|power| bounds.contains(&(1 << power))), "{bounds:?}");
        assert_eq!(bounds.last(), Some(&(1 << 40)));
    }

    #[test]
    fn what_is_too_large_is_counted_in_the_last_bucket() {
        let histogram = Histogram::default();
        histogram.add(u64::MAX);
        assert_eq!(histogram.read().buckets, [(1 << 40, 1)]);
    }
}
