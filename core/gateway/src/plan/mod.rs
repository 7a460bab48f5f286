//! The maths of `tidegate plan`: how long requests wait at how many servers, how many servers a target wants, what more of a thing
//! gives (`usl`), how many servers that makes (`fleet`), and what breaks first when load grows (`strain`).
//!
//! A service is c slots in front of one queue. For Poisson arrivals and exponential service the wait is Erlang's (1917): the chance that
//! all slots are busy times the mean time until one is free. Real arrivals and services vary more or less; Allen and Cunneen's
//! correction multiplies the wait by the mean of the squared coefficients of variation of both. It is exact for M/M/c and M/G/1, and a few
//! percent off for M/G/c at high load; PROOF.md has what the simulator measures.

mod fleet;
mod strain;
mod usl;

pub use fleet::{Fleet, Target};
pub use strain::{Grows, Resource, Strain, strains};
pub use usl::{Point, Usl};

/// What is measured of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// λ.
    pub rate_per_s: f64,
    /// The mean time that a slot works on a request, and the square of its standard deviation over its mean: 0 if all take the same,
    /// 1 if exponential.
    pub service_ms: f64,
    pub service_cv2: f64,
    /// The same of the times between arrivals: 1 for Poisson.
    pub arrival_cv2: f64,
}

/// What a number of slots makes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The part of its time that a slot works.
    pub utilisation: f64,
    /// The chance that a request waits.
    pub waits: f64,
    /// The mean wait of all requests, and the mean time inside: W.
    pub wait_ms: f64,
    pub inside_ms: f64,
    /// L, by L = λW.
    pub inside: f64,
    /// The rate at which long waits become rarer, per millisecond.
    decay_per_ms: f64,
}

impl Demand {
    /// The work that arrives, in slots that are busy.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.rate_per_s * self.service_ms / 1000.0
    }

    /// How long requests wait at so many slots; none if they can't keep up.
    #[must_use]
    pub fn at(&self, slots: u32) -> Option<Forecast> {
        let load = self.load();
        let spare = f64::from(slots) - load;
        if slots == 0 || spare <= 0.0 {
            return None;
        }
        let waits = erlang_c(slots, load);
        let uneven = (self.arrival_cv2 + self.service_cv2) / 2.0;
        let wait_ms = waits * self.service_ms / spare * uneven;
        let inside_ms = wait_ms + self.service_ms;
        Some(Forecast {
            utilisation: load / f64::from(slots),
            waits,
            wait_ms,
            inside_ms,
            inside: self.rate_per_s * inside_ms / 1000.0,
            decay_per_ms: if uneven > 0.0 { spare / self.service_ms / uneven } else { f64::INFINITY },
        })
    }

    /// The fewest slots at which the mean time inside is at most so long; none if the service itself takes longer, or a million
    /// slots are too few.
    #[must_use]
    pub fn slots_for_mean(&self, inside_ms_max: f64) -> Option<u32> {
        self.slots_for(inside_ms_max, |forecast| forecast.inside_ms <= inside_ms_max)
    }

    /// The fewest slots at which all but this part of requests wait at most so long.
    #[must_use]
    pub fn slots_for_wait(&self, wait_ms_max: f64, but: f64) -> Option<u32> {
        self.slots_for(self.service_ms + wait_ms_max, |forecast| forecast.wait_ms_of(but) <= wait_ms_max)
    }

    fn slots_for(&self, inside_ms_max: f64, good: impl Fn(&Forecast) -> bool) -> Option<u32> {
        if inside_ms_max < self.service_ms {
            return None;
        }
        let is_good = |slots: u32| self.at(slots).is_some_and(|forecast| good(&forecast));
        let mut most = 1;
        while !is_good(most) {
            most = if most < SLOTS_MAX { most * 2 } else { return None };
        }
        // More slots never wait longer: halve.
        let mut least = most / 2;
        while most - least > 1 {
            let middle = least.midpoint(most);
            if is_good(middle) {
                most = middle;
            } else {
                least = middle;
            }
        }
        Some(most)
    }
}

impl Forecast {
    /// The wait that this part of requests exceeds: 0.01 for the 99th percentile. Exponential beyond the chance of waiting at all.
    #[must_use]
    pub fn wait_ms_of(&self, but: f64) -> f64 {
        if self.waits <= but { 0.0 } else { (self.waits / but).ln() / self.decay_per_ms }
    }
}

/// The chance that all slots are busy, for Poisson arrivals and exponential service at a load (in slots) below their number.
///
/// By Erlang's recursion for a system without a queue, which neither overflows nor cancels.
#[must_use]
pub fn erlang_c(slots: u32, load: f64) -> f64 {
    if load >= f64::from(slots) {
        return 1.0;
    }
    let lost = (1..=slots).fold(1.0, |lost, n| load * lost / (f64::from(n) + load * lost));
    lost / (1.0 - load / f64::from(slots) * (1.0 - lost))
}

const SLOTS_MAX: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn poisson(rate_per_s: f64, service_ms: f64, service_cv2: f64) -> Demand {
        Demand { rate_per_s, service_ms, service_cv2, arrival_cv2: 1.0 }
    }

    #[test]
    fn erlang_c_is_that_of_the_books() {
        // One slot waits with probability ρ, two by 2ρ²/(1+ρ); the others are from tables of the M/M/c queue.
        let known = [(1, 0.7, 0.7), (2, 1.0, 1.0 / 3.0), (5, 4.0, 0.5541), (10, 8.0, 0.4092), (20, 18.0, 0.5508)];
        for (slots, load, wanted) in known {
            let found = erlang_c(slots, load);
            assert!((found - wanted).abs() < 1e-4, "C({slots}, {load}) = {found}, not {wanted}");
        }
        assert!(erlang_c(100_000, 99_000.0) > 0.0 && erlang_c(3, 5.0) >= 1.0);
    }

    #[test]
    fn erlang_c_is_its_definition() {
        for (slots, load) in [(3u32, 2.5f64), (12, 4.0), (50, 47.0)] {
            let mut term = 1.0;
            let mut sum = 0.0;
            for n in 0..slots {
                sum += term;
                term *= load / f64::from(n + 1);
            }
            let busy = term * f64::from(slots) / (f64::from(slots) - load);
            assert!((erlang_c(slots, load) - busy / (sum + busy)).abs() < 1e-12);
        }
    }

    #[test]
    fn one_slot_waits_as_pollaczek_and_khinchine_say() {
        for cv2 in [0.0, 1.0, 4.0] {
            let forecast = poisson(80.0, 10.0, cv2).at(1).unwrap();
            let wanted = 0.8 / 0.2 * 10.0 * (1.0 + cv2) / 2.0;
            assert!((forecast.wait_ms - wanted).abs() < 1e-9);
            assert!((forecast.inside - 80.0 * (wanted + 10.0) / 1000.0).abs() < 1e-9);
        }
    }

    #[test]
    fn too_few_slots_are_no_forecast_and_the_fewest_that_do_are_found() {
        let demand = poisson(1000.0, 10.0, 1.0);
        assert_eq!(demand.at(10), None);
        for target in [10.1, 11.0, 20.0, 100.0] {
            let slots = demand.slots_for_mean(target).unwrap();
            assert!(demand.at(slots).unwrap().inside_ms <= target);
            assert!(demand.at(slots - 1).is_none_or(|forecast| forecast.inside_ms > target));
        }
        assert_eq!(demand.slots_for_mean(9.9), None);
        let slots = demand.slots_for_wait(5.0, 0.01).unwrap();
        assert!(demand.at(slots).unwrap().wait_ms_of(0.01) <= 5.0);
    }
}
