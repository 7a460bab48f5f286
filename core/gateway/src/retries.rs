//! Retries under a budget: a share of the requests of the last ten seconds, and a few per second besides. When one request in a
//! hundred fails, each is tried again; when all fail, load rises by the share and not by the number of tries.

use crate::config::Retries;
use crate::flow::{Attempt, Retry, Safety, WhyNot};
use base::Instant;
use base::mutation::{self, Mutation};
use base::rng::Rng;
use base::time::NS_PER_MS;

/// Requests and retries of the last ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    slots: [Slot; SLOTS],
    second: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tries: u64,
    retries: u64,
}

impl Budget {
    /// A try begins, be it the first of a request or a retry.
    pub(crate) fn on_try(&mut self, now: Instant) {
        self.slot(now).tries += 1;
    }

    /// Whether to try again, before a deadline that leaves `needs_ms` for the try itself.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        attempt: &Attempt,
        needs_ms: u64,
        config: &Retries,
        rng: &mut Rng,
    ) -> Retry {
        if attempt.safety == Safety::Unsafe && !mutation::on(Mutation::UnsafeRetried) {
            return Retry::No(WhyNot::Unsafe);
        }
        if attempt.tries >= config.tries_max {
            return Retry::No(WhyNot::TriedEnough);
        }
        let pause_ms = match attempt.tries {
            0 | 1 => 0,
            tries => rng.below((config.pause_ms << (tries - 2).min(10)) + 1),
        };
        let done = now.plus_ms(pause_ms + needs_ms);
        let late = attempt.deadline.is_some_and(|deadline| done > deadline);
        if late && !mutation::on(Mutation::RetryPastDeadline) {
            return Retry::No(WhyNot::Deadline);
        }
        if !self.has_room(now, config) && !mutation::on(Mutation::RetryBudgetIgnored) {
            return Retry::No(WhyNot::BudgetSpent);
        }
        self.slot(now).retries += 1;
        Retry::After { pause_ms }
    }

    fn has_room(&mut self, now: Instant, config: &Retries) -> bool {
        let _ = self.slot(now);
        let tries: u64 = self.slots.iter().map(|slot| slot.tries).sum();
        let retries: u64 = self.slots.iter().map(|slot| slot.retries).sum();
        let requests = tries.saturating_sub(retries);
        let always = u64::from(config.budget_min_per_s) * SLOTS as u64;
        retries < always + requests * u64::from(config.budget_percent) / 100
    }

    /// The slot of this second; those of seconds that have gone out of the window are emptied.
    fn slot(&mut self, now: Instant) -> &mut Slot {
        let second = now.0 / (1000 * NS_PER_MS);
        for passed in 0..second.saturating_sub(self.second).min(SLOTS as u64) {
            self.slots[index(second - passed)] = Slot::default();
        }
        self.second = self.second.max(second);
        &mut self.slots[index(self.second)]
    }
}

fn index(second: u64) -> usize {
    usize::try_from(second % SLOTS as u64).expect("below the number of slots")
}

const SLOTS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: Attempt = Attempt { tries: 1, safety: Safety::Idempotent, deadline: None };

    fn retries(budget: &mut Budget, now: Instant, wanted: u32) -> u64 {
        let (config, mut rng) = (Retries::default(), Rng::new(1));
        let mut granted = 0;
        for _ in 0..wanted {
            if let Retry::After { .. } = budget.ask(now, &ATTEMPT, 0, &config, &mut rng) {
                budget.on_try(now);
                granted += 1;
            }
        }
        granted
    }

    #[test]
    fn retries_are_a_share_of_requests_and_some_besides() {
        let (mut budget, now) = (Budget::default(), Instant(0));
        assert_eq!(retries(&mut budget, now, 1000), 30);
        for _ in 0..1000 {
            budget.on_try(now);
        }
        assert_eq!(retries(&mut budget, now, 1000), 200);
        assert_eq!(retries(&mut budget, now.plus_ms(10_000), 1000), 30, "what is ten seconds old counts no more");
    }

    #[test]
    fn what_is_unsafe_tried_enough_or_late_is_not_tried_again() {
        let (mut budget, config, mut rng) = (Budget::default(), Retries::default(), Rng::new(1));
        let mut ask = |attempt: Attempt| budget.ask(Instant(0), &attempt, 10, &config, &mut rng);
        assert_eq!(ask(Attempt { safety: Safety::Unsafe, ..ATTEMPT }), Retry::No(WhyNot::Unsafe));
        assert_eq!(ask(Attempt { tries: 3, ..ATTEMPT }), Retry::No(WhyNot::TriedEnough));
        let at = |ms| Some(Instant(0).plus_ms(ms));
        assert_eq!(ask(Attempt { deadline: at(9), ..ATTEMPT }), Retry::No(WhyNot::Deadline));
        assert_eq!(ask(Attempt { deadline: at(10), ..ATTEMPT }), Retry::After { pause_ms: 0 });
    }
}
