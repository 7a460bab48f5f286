//! When those who are shed may come again: an imagined line, and the rate at which it moves.

use crate::numbers::{real, whole};
use base::Instant;
use base::rng::Rng;
use base::time::NS_PER_MS;

/// The line of those who were told to come again.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    /// When the last of them is due.
    line_end: Instant,
    /// How many are due in each second from this one on.
    due: [u32; SECONDS],
    second: u64,
    arrived: u32,
    calm_since: Option<Instant>,
    /// Newcomers per second, over some seconds: all who came less those who were due.
    fresh_per_s: f64,
}

impl Returns {
    pub(crate) fn on_arrival(&mut self, now: Instant) {
        self.turn(now);
        self.arrived += 1;
    }

    /// Nobody waits. If that lasts, the line is over: those who were told a time will find room.
    pub(crate) fn on_calm(&mut self, now: Instant) {
        let since = *self.calm_since.get_or_insert(now);
        if now.since_ns(since) > CALM_NS {
            self.line_end = Instant(0);
        }
    }

    /// Somebody waits.
    pub(crate) fn on_waiting(&mut self) {
        self.calm_since = None;
    }

    /// A place at the end of the line: milliseconds from now.
    pub(crate) fn place(&mut self, now: Instant, queue_ns: u64, rate_per_s: Option<f64>, rng: &mut Rng) -> u64 {
        self.turn(now);
        let rate = rate_per_s.unwrap_or(1.0).max(1e-3);
        let spare = ((rate - self.fresh_per_s) * SPARE_PART).max(rate * SPARE_LEAST);
        let first = now.0 + queue_ns;
        self.line_end = Instant(self.line_end.0.max(first) + whole(1e9 / spare));
        let mut ms = self.line_end.since_ns(now).div_ceil(NS_PER_MS);
        if ms > MS_MAX {
            self.line_end = now.plus_ms(MS_MAX);
            ms = MS_MAX / 2 + rng.below(MS_MAX / 2 + 1);
        }
        // The header has whole seconds.
        let due = self.second + ms.div_ceil(1000);
        self.due[index(due)] += 1;
        ms
    }

    /// Goes on to the second of now.
    fn turn(&mut self, now: Instant) {
        let second = now.0 / (1000 * NS_PER_MS);
        if second.saturating_sub(self.second) >= SECONDS as u64 {
            *self = Self { line_end: self.line_end, second, ..Self::default() };
        }
        while self.second < second {
            let due = std::mem::take(&mut self.due[index(self.second)]);
            let fresh = real(u64::from(std::mem::take(&mut self.arrived).saturating_sub(due)));
            self.fresh_per_s += (fresh - self.fresh_per_s) * 0.3;
            self.second += 1;
        }
    }
}

fn index(second: u64) -> usize {
    usize::try_from(second % SECONDS as u64).expect("below the number of seconds")
}

/// The longest time that anybody is told.
const MS_MAX: u64 = 30_000;
const CALM_NS: u64 = 1_000 * NS_PER_MS;
const SECONDS: usize = 32;
/// The part of the spare rate that is given out: those who return don't come evenly.
const SPARE_PART: f64 = 0.8;
/// The line moves on by so much of the rate however many newcomers there are.
const SPARE_LEAST: f64 = 0.1;
const _: () = assert!(MS_MAX / 1000 + 1 < SECONDS as u64, "each second that is told has its place");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_each_other_at_the_rate_that_is_left() {
        let (mut returns, mut rng) = (Returns::default(), Rng::new(1));
        let told: Vec<u64> =
            (0..200).map(|_| returns.place(Instant(0), 50 * NS_PER_MS, Some(100.0), &mut rng)).collect();
        assert_eq!((told[0], told[1], told[199]), (63, 75, 2550));
        returns.on_calm(Instant(1));
        returns.on_calm(Instant(2 + CALM_NS));
        assert_eq!(returns.place(Instant(0), 0, Some(100.0), &mut rng), 13);
    }

    #[test]
    fn nobody_is_told_more_than_the_most_and_not_all_the_same() {
        let (mut returns, mut rng) = (Returns::default(), Rng::new(1));
        let told: Vec<u64> = (0..1000).map(|_| returns.place(Instant(0), 0, Some(1.0), &mut rng)).collect();
        assert!(told.iter().all(|ms| *ms <= MS_MAX));
        let (early, late) = (told[500..].iter().min().unwrap(), told[500..].iter().max().unwrap());
        assert!(*early < 20_000 && *late > 25_000, "{early} to {late}");
    }
}
