//! A circuit breaker for each endpoint: a bound on what it has in flight, and a rest when it mostly fails.
//!
//! Closed, it watches the last outcomes. Open, it lets nothing through for a while. Half open, a few probes go through at once, and
//! all of them must succeed; one failure opens it again, for twice as long up to eight times. Outcomes of flights that began before
//! it opened tell nothing new and are passed over, as are cancelled ones.

use crate::config::Breaker as Config;
use base::Instant;
use base::mutation::{self, Mutation};

/// The breaker of one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Breaker {
    state: State,
    /// Of the last outcomes, the newest in the lowest bit: errors are set.
    errors: u64,
    outcomes: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
        times: u32,
    },
    /// `since` tells its probes from older flights.
    HalfOpen {
        since: Instant,
        times: u32,
        in_flight: u32,
        passed: u32,
    },
}

/// What an outcome changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Opened,
    Closed,
}

impl Breaker {
    pub(crate) fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// True if a flight may begin.
    pub(crate) fn admits(&self, now: Instant, in_flight: u32, config: &Config) -> bool {
        let full = config.in_flight_max > 0 && in_flight >= config.in_flight_max;
        match self.state {
            _ if full && !mutation::on(Mutation::BreakerOverfilled) => false,
            State::Closed => true,
            State::Open { until, .. } => until <= now,
            State::HalfOpen { in_flight, .. } => {
                in_flight < config.probes.max(1) || mutation::on(Mutation::HalfOpenLetsAllIn)
            }
        }
    }

    /// A flight begins, which [`Self::admits`] has said may.
    pub(crate) fn on_begin(&mut self, now: Instant) {
        match &mut self.state {
            State::Closed => {}
            State::Open { times, .. } => {
                self.state = State::HalfOpen { since: now, times: *times, in_flight: 1, passed: 0 };
            }
            State::HalfOpen { in_flight, .. } => *in_flight += 1,
        }
    }

    /// A flight that began at `begun` has ended; `None` if that tells nothing about the endpoint.
    pub(crate) fn on_end(&mut self, now: Instant, begun: Instant, failed: Option<bool>, config: &Config) -> Change {
        match &mut self.state {
            State::Open { .. } => Change::None,
            State::HalfOpen { since, .. } if begun < *since => Change::None,
            State::HalfOpen { times, in_flight, passed, .. } => {
                *in_flight = in_flight.saturating_sub(1);
                match failed {
                    None => return Change::None,
                    Some(true) => {
                        let times = (*times + 1).min(TIMES_MAX);
                        self.open(now, times, config);
                        return Change::Opened;
                    }
                    Some(false) => *passed += 1,
                }
                if *passed < config.probes {
                    return Change::None;
                }
                *self = Self::default();
                Change::Closed
            }
            State::Closed => self.on_end_closed(now, failed, config),
        }
    }

    fn on_end_closed(&mut self, now: Instant, failed: Option<bool>, config: &Config) -> Change {
        let Some(failed) = failed.filter(|_| config.error_percent > 0) else { return Change::None };
        let looked_at = config.requests.clamp(1, u64::BITS);
        self.outcomes = (self.outcomes + 1).min(looked_at);
        self.errors = (self.errors << 1 | u64::from(failed)) & (u64::MAX >> (u64::BITS - looked_at));
        let bad = self.errors.count_ones() * 100 >= u32::from(config.error_percent) * looked_at;
        if self.outcomes < looked_at || !bad {
            return Change::None;
        }
        self.open(now, 0, config);
        Change::Opened
    }

    fn open(&mut self, now: Instant, times: u32, config: &Config) {
        let until = now.plus_ms(config.open_ms << times);
        *self = Self { state: State::Open { until, times }, ..Self::default() };
    }
}

/// The longest rest is `open_ms` doubled so often.
const TIMES_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Config = Config { in_flight_max: 10, error_percent: 50, requests: 4, open_ms: 100, probes: 2 };

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for failed in [false, false, true] {
            assert_eq!(breaker.on_end(Instant(0), Instant(0), Some(failed), &CONFIG), Change::None);
        }
        assert_eq!(breaker.on_end(Instant(0), Instant(0), Some(true), &CONFIG), Change::Opened);
        breaker
    }

    #[test]
    fn it_opens_by_the_share_of_errors_and_closes_behind_its_probes() {
        let mut breaker = opened();
        let later = Instant(0).plus_ms(100);
        assert!(!breaker.admits(Instant(0).plus_ms(99), 0, &CONFIG) && breaker.admits(later, 0, &CONFIG));
        breaker.on_begin(later);
        breaker.on_begin(later);
        assert!(!breaker.admits(later, 2, &CONFIG), "two probes and no third");
        assert_eq!(breaker.on_end(later, Instant(0), Some(true), &CONFIG), Change::None, "from before it opened");
        assert_eq!(breaker.on_end(later, later, None, &CONFIG), Change::None);
        assert!(breaker.admits(later, 1, &CONFIG), "a cancelled probe gives its place back");
        breaker.on_begin(later);
        assert_eq!(breaker.on_end(later, later, Some(false), &CONFIG), Change::None);
        assert_eq!(breaker.on_end(later, later, Some(false), &CONFIG), Change::Closed);
    }

    #[test]
    fn a_failed_probe_opens_it_for_longer() {
        let mut breaker = opened();
        let mut now = Instant(0);
        for wait_ms in [100, 200, 400, 800, 800] {
            assert!(!breaker.admits(now.plus_ms(wait_ms - 1), 0, &CONFIG), "{wait_ms}");
            now = now.plus_ms(wait_ms);
            assert!(breaker.admits(now, 0, &CONFIG));
            breaker.on_begin(now);
            let _ = breaker.on_end(now, now, Some(true), &CONFIG);
        }
    }

    #[test]
    fn it_bounds_what_is_in_flight() {
        let breaker = Breaker::default();
        assert!(breaker.admits(Instant(0), 9, &CONFIG) && !breaker.admits(Instant(0), 10, &CONFIG));
    }
}
