//! A sliding window of two counts: what was used in the last window counts for as much of it as the sliding one still covers. Exact
//! if requests came evenly; no key costs more than three numbers, whatever its limit.

use super::{Allowed, Verdict};
use base::Instant;
use base::time::NS_PER_MS;

/// One key's counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    number: u64,
    used: u32,
    used_before: u32,
}

/// A limit, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    most: u32,
    window_ns: u64,
}

impl Rule {
    pub(super) fn new(most: u32, window_ms: u64) -> Self {
        Self { most: most.max(1), window_ns: window_ms.max(1).saturating_mul(NS_PER_MS) }
    }
}

impl Window {
    pub(super) fn take(&mut self, now: Instant, cost: u32, rule: &Rule) -> Verdict {
        let number = now.0 / rule.window_ns;
        if number != self.number {
            let used_before = if number == self.number + 1 { self.used } else { 0 };
            *self = Self { number, used: 0, used_before };
        }
        let passed_ns = now.0 % rule.window_ns;
        let weighed = self.weighed(passed_ns, rule);
        let fits = weighed + u64::from(cost) <= u64::from(rule.most);
        let allowed = if fits {
            self.used += cost;
            Allowed::Yes
        } else {
            Allowed::No { retry_after_ms: self.retry_ns(passed_ns, cost, rule).div_ceil(NS_PER_MS) }
        };
        let remaining = u64::from(rule.most).saturating_sub(self.weighed(passed_ns, rule));
        let reset_ns = match (self.used, self.used_before) {
            (0, 0) => 0,
            (0, _) => rule.window_ns - passed_ns,
            _ => 2 * rule.window_ns - passed_ns,
        };
        let remaining = u32::try_from(remaining).expect("no more than the limit");
        Verdict { allowed, limit: rule.most, remaining, reset_ms: reset_ns.div_ceil(NS_PER_MS) }
    }

    /// What the sliding window holds: a part of the last one, rounded up, and this one.
    fn weighed(&self, passed_ns: u64, rule: &Rule) -> u64 {
        share(self.used_before, rule.window_ns.saturating_sub(passed_ns), rule.window_ns) + u64::from(self.used)
    }

    /// How long until so much fits: in this window while the last one fades, or in the next while this one does.
    fn retry_ns(&self, passed_ns: u64, cost: u32, rule: &Rule) -> u64 {
        if cost > rule.most {
            return 2 * rule.window_ns - passed_ns;
        }
        let fades = |used: u32, room: u32| match used.saturating_sub(room) {
            0 => 0,
            // Rounded up to whole requests, so `room` is reached when that part of the window has passed.
            too_many => share(too_many, rule.window_ns, used.into()),
        };
        match (rule.most - cost).checked_sub(self.used) {
            Some(room) => fades(self.used_before, room).saturating_sub(passed_ns),
            None => rule.window_ns - passed_ns + fades(self.used, rule.most - cost),
        }
    }
}

/// `n * part / whole`, rounded up.
fn share(n: u32, part: u64, whole: u64) -> u64 {
    let wide = (u128::from(n) * u128::from(part)).div_ceil(u128::from(whole.max(1)));
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_window_fades() {
        let (mut window, rule) = (Window::default(), Rule::new(10, 1000));
        let at = |ms: u64| Instant(0).plus_ms(5_000 + ms);
        assert_eq!(window.take(at(900), 10, &rule).allowed, Allowed::Yes);
        let refused = window.take(at(900), 1, &rule);
        // A tenth of the next window has to pass until one of ten has faded.
        assert_eq!(refused.allowed, Allowed::No { retry_after_ms: 200 });
        assert_eq!((refused.remaining, refused.reset_ms), (0, 1100));
        assert_ne!(window.take(at(1099), 1, &rule).allowed, Allowed::Yes);
        assert_eq!(window.take(at(1100), 1, &rule).allowed, Allowed::Yes);
        assert_eq!(window.take(at(1500), 4, &rule).allowed, Allowed::Yes);
        assert_eq!(window.take(at(4000), 10, &rule).remaining, 0);
    }

    #[test]
    fn what_is_told_is_true() {
        let mut rng = base::rng::Rng::new(5);
        for _ in 0..2_000 {
            let (mut window, rule) = (Window::default(), Rule::new(7, 100));
            let mut now = Instant(1_000_000_000);
            for _ in 0..20 {
                now.0 += rng.below(40_000_000);
                let cost = u32::try_from(1 + rng.below(3)).unwrap();
                if let Allowed::No { retry_after_ms } = window.take(now, cost, &rule).allowed {
                    now = now.plus_ms(retry_after_ms);
                    assert_eq!(window.take(now, cost, &rule).allowed, Allowed::Yes);
                }
            }
        }
    }
}
