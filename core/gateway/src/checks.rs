//! Active checks: an endpoint is out behind `fall` failures in a row and back behind `rise` successes, and is innocent until then:
//! a gateway that starts serves at once.

use crate::config::Checks;
use crate::flow::Checked;
use base::Instant;
use base::rng::Rng;

/// What checks have said of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Health {
    passing: bool,
    /// Results in a row that speak against the present state.
    against: u32,
    due: Due,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    Never,
    At(Instant),
    /// Asked for, not answered yet.
    Waiting,
}

/// What a check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Up,
    Down,
}

impl Health {
    /// The first checks are spread over a tenth of the interval.
    pub(crate) fn new(now: Instant, checks: &Checks, rng: &mut Rng) -> Self {
        let due = match checks.interval_ms {
            0 => Due::Never,
            interval_ms => Due::At(now.plus_ms(rng.below(interval_ms / 10 + 1))),
        };
        Self { passing: true, against: 0, due }
    }

    pub(crate) fn is_passing(&self) -> bool {
        self.passing
    }

    pub(crate) fn due(&self) -> Option<Instant> {
        match self.due {
            Due::At(at) => Some(at),
            Due::Never | Due::Waiting => None,
        }
    }

    /// True if a check is to be made now; it is asked for once.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.due().is_some_and(|at| at <= now);
        if due {
            self.due = Due::Waiting;
        }
        due
    }

    pub(crate) fn on_check(&mut self, now: Instant, checked: Checked, checks: &Checks, rng: &mut Rng) -> Change {
        if checks.interval_ms > 0 {
            self.due = Due::At(now.plus_ms(jittered(checks, rng)));
        }
        if checked == Checked::Unknown {
            return Change::None;
        }
        let (speaks_against, needed) = match self.passing {
            true => (checked == Checked::Failed, checks.fall),
            false => (checked == Checked::Passed, checks.rise),
        };
        self.against = if speaks_against { self.against + 1 } else { 0 };
        if self.against == 0 || self.against < needed {
            return Change::None;
        }
        self.against = 0;
        self.passing = !self.passing;
        if self.passing { Change::Up } else { Change::Down }
    }
}

/// The interval, moved by chance either way.
fn jittered(checks: &Checks, rng: &mut Rng) -> u64 {
    let span_ms = checks.interval_ms.saturating_mul(u64::from(checks.jitter_percent.min(100))) / 100;
    (checks.interval_ms - span_ms + rng.below(2 * span_ms + 1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rise_and_fall_are_counted_in_a_row() {
        let (checks, mut rng) = (Checks { interval_ms: 1000, ..Checks::default() }, Rng::new(1));
        let mut health = Health::new(Instant(0), &checks, &mut rng);
        let mut tell = |passed: &str| -> String {
            let word = |c| match c {
                '+' => Checked::Passed,
                '-' => Checked::Failed,
                _ => Checked::Unknown,
            };
            passed.chars().map(|c| format!("{:?} ", health.on_check(Instant(0), word(c), &checks, &mut rng))).collect()
        };
        assert_eq!(tell("--+--"), "None None None None None ");
        assert_eq!(tell("-+-+"), "Down None None None ");
        assert_eq!(tell("++"), "Up None ");
        assert_eq!(tell("--??-"), "None None None None Down ", "what could not be checked counts neither way");
        assert_eq!(tell("+??+"), "None None None Up ");
    }

    #[test]
    fn a_check_is_asked_for_once_and_comes_again_with_jitter() {
        let (checks, mut rng) = (Checks { interval_ms: 1000, ..Checks::default() }, Rng::new(1));
        let mut health = Health::new(Instant(0), &checks, &mut rng);
        let first = health.due().unwrap();
        assert!(health.take_due(first) && !health.take_due(first));
        let gaps: Vec<u64> = (0..100)
            .map(|_| {
                let _ = health.on_check(first, Checked::Passed, &checks, &mut rng);
                health.due().unwrap().since_ns(first) / 1_000_000
            })
            .collect();
        assert!(gaps.iter().all(|gap| (850..=1150).contains(gap)), "{gaps:?}");
        assert!(gaps.iter().max().unwrap() - gaps.iter().min().unwrap() > 200);
    }
}
