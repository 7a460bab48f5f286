//! Passive ejection: what requests themselves say of an endpoint. It is ejected behind some errors in a row, or when its rate of
//! success lies too far below that of the others; longer each time, and never more of them at once than a share that the rest can
//! bear. Ejecting too many turns one bad dependency behind all endpoints into an outage.

use crate::config::Ejection;
use crate::numbers::real;
use base::Instant;
use base::mutation::{self, Mutation};

/// What requests have said of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    errors_in_row: u32,
    /// Since the last look at all rates.
    requests: u32,
    successes: u32,
    ejected: Option<Instant>,
    /// How often it was ejected lately: one more each time, one less for each good interval.
    times: u32,
    since: Instant,
}

impl Record {
    pub(crate) fn new(now: Instant) -> Self {
        Self { errors_in_row: 0, requests: 0, successes: 0, ejected: None, times: 0, since: now }
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.is_some()
    }

    pub(crate) fn ejected_until(&self) -> Option<Instant> {
        self.ejected
    }

    /// A request has ended; true if there were so many errors in a row that it should be ejected.
    pub(crate) fn on_end(&mut self, failed: bool, config: &Ejection) -> bool {
        self.requests = self.requests.saturating_add(1);
        self.successes = self.successes.saturating_add(u32::from(!failed));
        self.errors_in_row = if failed { self.errors_in_row.saturating_add(1) } else { 0 };
        config.consecutive_errors > 0 && self.errors_in_row >= config.consecutive_errors && !self.is_ejected()
    }

    /// Takes it out; returns for how long.
    pub(crate) fn eject(&mut self, now: Instant, config: &Ejection) -> u64 {
        self.times += 1;
        let for_ms = config.base_ms.saturating_mul(u64::from(self.times)).min(config.most_ms.max(config.base_ms));
        self.ejected = Some(now.plus_ms(for_ms));
        for_ms
    }

    /// True if its time is over: then it is back.
    pub(crate) fn take_return(&mut self, now: Instant) -> bool {
        let over = self.ejected.is_some_and(|until| until <= now);
        if over {
            *self = Self { times: self.times, ..Self::new(now) };
        }
        over
    }

    /// The end of an interval; what it was like.
    pub(crate) fn take_interval(&mut self, now: Instant, config: &Ejection) -> Option<f64> {
        let rate = f64::from(self.successes) / f64::from(self.requests.max(1));
        let tells = self.requests >= config.requests_min.max(1) && !self.is_ejected();
        if !self.is_ejected() && self.errors_in_row == 0 && now > self.since {
            self.times = self.times.saturating_sub(1);
        }
        (self.requests, self.successes, self.since) = (0, 0, now);
        tells.then_some(rate)
    }
}

/// The rate below which an endpoint is ejected: the mean less `sigma` standard deviations. None if too few tell.
pub(crate) fn threshold(rates: &[f64], config: &Ejection) -> Option<f64> {
    let enough = rates.len() >= (config.endpoints_min as usize).max(2);
    if !enough || config.sigma_tenths == 0 {
        return None;
    }
    let n = real(rates.len() as u64);
    let mean = rates.iter().sum::<f64>() / n;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / n;
    Some(mean - f64::from(config.sigma_tenths) / 10.0 * variance.sqrt())
}

/// True if one more may be ejected of `all`, `out` of which are.
pub(crate) fn has_room(all: usize, out: usize, config: &Ejection) -> bool {
    let most = (all * usize::from(config.percent_max.min(100)) / 100).max(usize::from(all >= 2));
    out < most || mutation::on(Mutation::EjectionUncapped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_a_row_eject_and_a_success_begins_anew() {
        let (config, mut record) = (Ejection::default(), Record::new(Instant(0)));
        let told: Vec<bool> = [true, true, true, true, false, true, true, true, true, true]
            .map(|failed| record.on_end(failed, &config))
            .into();
        assert_eq!(told.iter().position(|eject| *eject), Some(9));
    }

    #[test]
    fn each_ejection_is_longer_and_good_intervals_forgive() {
        let (config, mut record, mut now) = (Ejection::default(), Record::new(Instant(0)), Instant(0));
        for wanted in [30_000, 60_000, 90_000] {
            assert_eq!(record.eject(now, &config), wanted);
            now = now.plus_ms(wanted);
            assert!(record.take_return(now));
        }
        for _ in 0..2 {
            now = now.plus_ms(10_000);
            let _ = record.take_interval(now, &config);
        }
        assert_eq!(record.eject(now, &config), 60_000);
    }

    #[test]
    fn the_threshold_is_that_of_the_others() {
        let config = Ejection::default();
        let rates = |bad: f64| [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, bad];
        assert!(threshold(&rates(0.5), &config).unwrap() > 0.5);
        assert!(threshold(&[0.9; 10], &config).unwrap() <= 0.9 + 1e-9, "all are equally bad: nobody is an outlier");
        assert_eq!(threshold(&[1.0, 0.0], &config), None);
    }

    #[test]
    fn the_cap_leaves_one_of_two_and_none_of_one() {
        let config = Ejection::default();
        assert!(!has_room(1, 0, &config) && has_room(2, 0, &config) && !has_room(2, 1, &config));
        assert!(has_room(10, 2, &config) && !has_room(10, 3, &config));
    }
}
