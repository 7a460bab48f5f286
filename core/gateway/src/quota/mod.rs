//! Limits per key: how many requests a client may make, and what the RateLimit headers tell it.
//!
//! A key costs a table entry of a few words, and the table is bounded: where an attacker makes up keys faster than their quotas fill
//! again, those that were used longest ago are forgotten, which gives them a full quota too early; nobody is refused for want of room.
//! Keys are hashes that the caller makes, seeded, so that nobody can choose to share another's.

mod bucket;
mod table;
mod window;

use base::Instant;
use bucket::Bucket;
use table::Table;
use window::Window;

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `rate` requests per `period_ms` on average, up to `burst` at once.
    TokenBucket { rate: u32, period_ms: u64, burst: u32 },
    /// `most` requests in any `window_ms`, estimated from this window and the last.
    SlidingWindow { most: u32, window_ms: u64 },
}

/// What a limit says, with all that the RateLimit headers want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: Allowed,
    pub limit: u32,
    pub remaining: u32,
    /// When all of the quota is there again, if nothing else comes.
    pub reset_ms: u64,
}

/// Whether a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    Yes,
    /// And when it may, if nothing else comes; a request that costs more than the limit never may, and is told the reset.
    No {
        retry_after_ms: u64,
    },
}

/// One limit for many keys.
#[derive(Debug)]
pub struct Quota {
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Buckets { rule: bucket::Rule, table: Table<Bucket> },
    Windows { rule: window::Rule, table: Table<Window> },
}

impl Quota {
    /// At most `keys_max` keys are known at once. A rate, period or limit of zero counts as one.
    #[must_use]
    pub fn new(rule: Rule, keys_max: usize) -> Self {
        let keys = match rule {
            Rule::TokenBucket { rate, period_ms, burst } => {
                Keys::Buckets { rule: bucket::Rule::new(rate, period_ms, burst), table: Table::new(keys_max) }
            }
            Rule::SlidingWindow { most, window_ms } => {
                Keys::Windows { rule: window::Rule::new(most, window_ms), table: Table::new(keys_max) }
            }
        };
        Self { keys }
    }

    /// A request of this key that counts `cost` times. What is refused counts for nothing.
    pub fn take(&mut self, now: Instant, key: u64, cost: u32) -> Verdict {
        match &mut self.keys {
            Keys::Buckets { rule, table } => table.with(key, |bucket| bucket.take(now, cost, rule)),
            Keys::Windows { rule, table } => table.with(key, |window| window.take(now, cost, rule)),
        }
    }

    /// How many keys are known.
    #[must_use]
    pub fn keys(&self) -> usize {
        match &self.keys {
            Keys::Buckets { table, .. } => table.len(),
            Keys::Windows { table, .. } => table.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_apart_and_bounded() {
        let mut quota = Quota::new(Rule::TokenBucket { rate: 1, period_ms: 1000, burst: 1 }, 100);
        for key in 0..1000 {
            assert_eq!(quota.take(Instant(key), key, 1).allowed, Allowed::Yes);
        }
        assert_eq!(quota.keys(), 100);
        assert_ne!(quota.take(Instant(1000), 999, 1).allowed, Allowed::Yes);
        assert_eq!(quota.take(Instant(1000), 0, 1).allowed, Allowed::Yes, "it was forgotten");
    }

    #[test]
    fn over_any_second_no_more_than_the_limit_and_its_burst_pass() {
        let rules = [
            (Rule::TokenBucket { rate: 50, period_ms: 1000, burst: 10 }, 60),
            // The estimate may be wrong where requests are uneven in the last window, by no more than this.
            (Rule::SlidingWindow { most: 50, window_ms: 1000 }, 75),
        ];
        for (rule, most) in rules {
            let (mut quota, mut rng) = (Quota::new(rule, 10), base::rng::Rng::new(3));
            let (mut now, mut passed) = (Instant(0), Vec::new());
            while now.0 < 20_000_000_000 {
                now.0 += rng.below(8_000_000);
                if quota.take(now, 1, 1).allowed == Allowed::Yes {
                    passed.push(now);
                }
            }
            let in_second =
                |i: usize| passed[i..].iter().take_while(|at| at.since_ns(passed[i]) < 1_000_000_000).count();
            let worst = (0..passed.len()).map(in_second).max().unwrap();
            assert!(worst <= most, "{rule:?}: {worst} in a second");
            assert!((950..=1_060).contains(&passed.len()), "{rule:?}: {} in 20 seconds", passed.len());
        }
    }
}
