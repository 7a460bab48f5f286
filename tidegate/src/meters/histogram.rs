//! Log-linear histograms: four buckets to each doubling, so that a quantile is off by an eighth at most.
//!
//! ```text
//! value   0 1 2 3 | 4 5 6 7 | 8.. 10.. 12.. 14.. | 16.. 20.. 24.. 28.. | ..
//! bucket  0 1 2 3 | 4 5 6 7 | 8   9    10   11   | 12   13   14   15   | ..
//! ```
//!
//! One shape serves nanoseconds, bytes and counts. Values of 2^38 and more (four minutes, in nanoseconds) fall into
//! the last bucket.

use super::Counter;

/// Buckets to a doubling.
const STEPS: usize = 4;
/// The first exponent that is outside.
const OCTAVE_END: u32 = 38;
const BUCKET_COUNT: usize = STEPS * (OCTAVE_END as usize - 1);

/// How often values of each size occurred; one thread writes it.
#[derive(Debug)]
pub struct Histogram {
    buckets: [Counter; BUCKET_COUNT],
    sum: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { Counter(std::sync::atomic::AtomicU64::new(0)) }; BUCKET_COUNT],
            sum: Counter::default(),
        }
    }
}

impl Histogram {
    /// Notes `count` occurrences of `value`.
    pub fn add(&self, value: u64, count: u64) {
        self.buckets[bucket_of(value)].add(count);
        self.sum.add(value.wrapping_mul(count));
    }
}

/// Histograms added up.
#[derive(Clone, Debug)]
pub struct Sums {
    buckets: [u64; BUCKET_COUNT],
    pub sum: u64,
}

impl Default for Sums {
    fn default() -> Self {
        Self { buckets: [0; BUCKET_COUNT], sum: 0 }
    }
}

impl From<&Histogram> for Sums {
    fn from(histogram: &Histogram) -> Self {
        let mut sums = Self::default();
        sums.add(histogram);
        sums
    }
}

impl Sums {
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.get();
        }
        self.sum = self.sum.wrapping_add(histogram.sum.get());
    }

    /// Adds sums of others.
    pub fn merge(&mut self, other: &Self) {
        for (sum, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// What was added since `earlier`, a former state of the same.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        since.sum = since.sum.wrapping_sub(earlier.sum);
        for (bucket, before) in since.buckets.iter_mut().zip(&earlier.buckets) {
            *bucket = bucket.saturating_sub(*before);
        }
        since
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How many values were below 2^`octave`.
    pub fn below(&self, octave: u32) -> u64 {
        self.buckets[..bucket_of(1 << octave)].iter().sum()
    }

    /// The least upper bound of a bucket that `share` of all values don't exceed; zero if there are none.
    pub fn quantile(&self, share: f64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "a quantile of 2^53 values may be one off")]
        let mut wanted = self.count() as f64 * share;
        for (at, count) in self.buckets.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "the same")]
            let held = *count as f64;
            wanted -= held;
            if held > 0.0 && wanted <= 0.0 {
                return top_of(at);
            }
        }
        0
    }
}

/// The bucket that a value falls into.
fn bucket_of(value: u64) -> usize {
    let octave = value.max(1).ilog2();
    if octave < 2 {
        return usize::try_from(value).expect("it is below four");
    }
    let step = usize::try_from(value >> (octave - 2)).unwrap_or(0) & (STEPS - 1);
    (STEPS * (octave as usize - 1) + step).min(BUCKET_COUNT - 1)
}

/// The greatest value of a bucket.
fn top_of(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let width = 1 << (bucket / STEPS - 1);
    ((bucket % STEPS + STEPS) as u64 + 1) * width - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_that_ends_near_it() {
        for value in (0..5000).chain((12..37).flat_map(|octave| [(1 << octave) - 1, 1 << octave, (1 << octave) + 1])) {
            let bucket = bucket_of(value);
            assert!(value <= top_of(bucket), "{value} in {bucket}");
            assert!(bucket == 0 || value > top_of(bucket - 1), "{value} in {bucket}");
            assert!(top_of(bucket) <= value + value / 4, "{value} in {bucket}, which ends at {}", top_of(bucket));
        }
        assert_eq!(bucket_of(u64::MAX), BUCKET_COUNT - 1);
    }

    #[test]
    fn quantiles_and_boundaries_count_what_was_added() {
        let histogram = Histogram::default();
        histogram.add(1000, 98);
        histogram.add(5_000_000, 2);
        let sums = Sums::from(&histogram);
        assert_eq!((sums.count(), sums.sum), (100, 98 * 1000 + 2 * 5_000_000));
        assert_eq!((sums.below(9), sums.below(10), sums.below(30)), (0, 98, 100));
        assert_eq!(sums.quantile(0.5), 1023);
        assert!((5_000_000..6_250_000).contains(&sums.quantile(0.99)), "{}", sums.quantile(0.99));
        histogram.add(7, 1);
        assert_eq!(Sums::from(&histogram).since(&sums).count(), 1);
        assert_eq!(Sums::default().quantile(0.5), 0);
    }
}
