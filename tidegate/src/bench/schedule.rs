//! When requests are due in an open loop.
//!
//! The schedule is fixed before the run and knows nothing of replies. That is the whole point: a closed loop sends less
//! while its target stalls, so the stall is in few of its samples, which Gil Tene named coordinated omission ("How NOT
//! to Measure Latency", 2015). Here each request has its time, and latency counts from it, however late it was sent.

use super::chance::{exponential, whole};
use super::options::Arrivals;
use base::rng::Rng;

/// The intended send times of one thread, in nanoseconds since the start, never decreasing.
///
/// Clones tell the same times: one that is ahead and one behind make a queue of any length without a list.
#[derive(Clone, Debug)]
pub struct Schedule {
    gap_ns: f64,
    next_ns: f64,
    law: Law,
}

#[derive(Clone, Debug)]
enum Law {
    Poisson(Rng),
    /// With the first time and the number of times told; multiples don't drift as sums do.
    Uniform {
        first_ns: f64,
        told: u64,
    },
}

impl Schedule {
    /// The share of thread `number` of `threads` in a total of `rate_per_s`.
    #[must_use]
    pub fn new(arrivals: Arrivals, rate_per_s: u64, number: u32, threads: u32, seed: u64) -> Self {
        let total_gap_ns = 1e9 / rate_per_s as f64;
        let gap_ns = total_gap_ns * f64::from(threads);
        match arrivals {
            Arrivals::Uniform => {
                let first_ns = total_gap_ns * f64::from(number);
                Self { gap_ns, next_ns: first_ns, law: Law::Uniform { first_ns, told: 0 } }
            }
            // The sum of independent Poisson processes is one.
            Arrivals::Poisson => {
                let mut rng = Rng::new(seed);
                Self { gap_ns, next_ns: gap_ns * exponential(&mut rng), law: Law::Poisson(rng) }
            }
        }
    }

    /// When the next request is due.
    #[must_use]
    pub fn peek_ns(&self) -> u64 {
        whole(self.next_ns)
    }

    /// Goes on to the request after.
    pub fn advance(&mut self) {
        match &mut self.law {
            Law::Poisson(rng) => self.next_ns += self.gap_ns * exponential(rng),
            Law::Uniform { first_ns, told } => {
                *told += 1;
                self.next_ns = *first_ns + *told as f64 * self.gap_ns;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(schedule: &mut Schedule, until_ns: u64) -> Vec<u64> {
        let mut out = Vec::new();
        while schedule.peek_ns() < until_ns {
            out.push(schedule.peek_ns());
            schedule.advance();
        }
        out
    }

    #[test]
    fn uniform_arrivals_of_all_threads_interleave_at_equal_distances() {
        let mut all: Vec<u64> = (0..3)
            .flat_map(|number| times(&mut Schedule::new(Arrivals::Uniform, 1000, number, 3, 1), 1_000_000_000))
            .collect();
        all.sort_unstable();
        assert_eq!(all.len(), 1000);
        assert!(all.windows(2).all(|pair| (999_999..=1_000_001).contains(&(pair[1] - pair[0]))));
    }

    #[test]
    fn uniform_arrivals_do_not_drift() {
        let mut schedule = Schedule::new(Arrivals::Uniform, 3, 0, 1, 1);
        (0..3_000_000).for_each(|_| schedule.advance());
        assert_eq!(schedule.peek_ns(), 1_000_000 * 1_000_000_000);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_bunch() {
        let times = times(&mut Schedule::new(Arrivals::Poisson, 1000, 0, 1, 7), 20_000_000_000);
        assert!((19_500..20_500).contains(&times.len()), "{}", times.len());
        let close = times.windows(2).filter(|pair| pair[1] - pair[0] < 100_000).count();
        let share = close as f64 / times.len() as f64;
        assert!((share - 0.0952).abs() < 0.01, "1 - exp(-0.1) of the gaps are below a tenth: {share}");
    }

    #[test]
    fn a_clone_tells_the_same_times_and_another_seed_does_not() {
        let mut one = Schedule::new(Arrivals::Poisson, 1000, 0, 2, 7);
        let mut other = Schedule::new(Arrivals::Poisson, 1000, 0, 2, 8);
        let same = times(&mut one.clone(), 1_000_000_000);
        assert_eq!(times(&mut one, 1_000_000_000), same);
        assert_ne!(times(&mut other, 1_000_000_000), same);
    }
}
