//! A token bucket without tokens: one moment is all it needs (GCRA, as ATM's leaky bucket as a meter).
//!
//! `full_at` is when the bucket would be full again. A request of cost c moves it on by c times the time of one token, unless that
//! went beyond a whole bucket from now.

use super::{Allowed, Verdict};
use base::Instant;
use base::time::NS_PER_MS;

/// One key's bucket; a new one is full.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    full_at: Instant,
}

/// A limit, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    token_ns: u64,
    burst: u32,
}

impl Rule {
    pub(super) fn new(rate: u32, period_ms: u64, burst: u32) -> Self {
        let token_ns = period_ms.max(1).saturating_mul(NS_PER_MS) / u64::from(rate.max(1));
        Self { token_ns: token_ns.max(1), burst: burst.max(1) }
    }
}

impl Bucket {
    pub(super) fn take(&mut self, now: Instant, cost: u32, rule: &Rule) -> Verdict {
        let whole_ns = rule.token_ns.saturating_mul(u64::from(rule.burst));
        let empty_ns = self.full_at.since_ns(now).saturating_add(rule.token_ns.saturating_mul(u64::from(cost)));
        let allowed = match empty_ns.checked_sub(whole_ns) {
            None | Some(0) => {
                self.full_at = Instant(now.0 + empty_ns);
                Allowed::Yes
            }
            Some(_) if cost > rule.burst => Allowed::No { retry_after_ms: self.reset_ms(now) },
            Some(too_much_ns) => Allowed::No { retry_after_ms: too_much_ns.div_ceil(NS_PER_MS) },
        };
        let left_ns = whole_ns.saturating_sub(self.full_at.since_ns(now));
        let remaining = u32::try_from(left_ns / rule.token_ns).unwrap_or(u32::MAX);
        Verdict { allowed, limit: rule.burst, remaining, reset_ms: self.reset_ms(now) }
    }

    fn reset_ms(&self, now: Instant) -> u64 {
        self.full_at.since_ns(now).div_ceil(NS_PER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let (mut bucket, rule) = (Bucket::default(), Rule::new(10, 1000, 3));
        let now = Instant(5_000_000_000);
        let remaining: Vec<u32> = (0..3).map(|_| bucket.take(now, 1, &rule).remaining).collect();
        assert_eq!(remaining, [2, 1, 0]);
        let refused = bucket.take(now, 1, &rule);
        let wanted = Verdict { allowed: Allowed::No { retry_after_ms: 100 }, limit: 3, remaining: 0, reset_ms: 300 };
        assert_eq!(refused, wanted);
        assert_ne!(bucket.take(now.plus_ms(99), 1, &rule).allowed, Allowed::Yes);
        assert_eq!(bucket.take(now.plus_ms(100), 1, &rule).allowed, Allowed::Yes);
        assert_eq!(bucket.take(now.plus_ms(10_000), 3, &rule).allowed, Allowed::Yes);
        assert_eq!(bucket.take(now.plus_ms(10_000), 4, &rule).allowed, Allowed::No { retry_after_ms: 300 });
    }
}
