//! Which endpoint gets a request.
//!
//! All policies choose among the same: endpoints of the snapshot that are healthy (or all, in a panic), not to be avoided, and whose
//! breakers allow one more. An endpoint that starts slowly has less weight, or its turn is passed over by chance; those that are found
//! by keys get their keys at once, since a key that moves twice is worse than a cold start.

pub(crate) mod maglev;
pub(crate) mod ring;

use crate::EndpointId;
use crate::config::Config;
use crate::endpoints::{Policy, Table};
use crate::numbers::real;
use crate::seat::Seat;
use base::Instant;
use base::rng::Rng;

/// What a pick looks at.
pub(crate) struct Field<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) seats: &'a [Seat],
    /// The seats of the snapshot, in its order.
    pub(crate) order: &'a [usize],
    /// Those who may be picked as far as health goes.
    pub(crate) ready: &'a [usize],
    pub(crate) avoid: &'a [EndpointId],
    pub(crate) table: &'a Table,
}

impl Field<'_> {
    fn may(&self, at: usize) -> bool {
        let seat = &self.seats[at];
        !self.avoid.contains(&seat.endpoint.id) && seat.breaker.admits(self.now, seat.in_flight, &self.config.breaker)
    }

    fn candidates(&self) -> impl Iterator<Item = usize> {
        self.ready.iter().copied().filter(|at| self.may(*at))
    }

    fn weight(&self, at: usize) -> f64 {
        self.seats[at].weight(self.now, self.config.slow_start_ms)
    }

    /// What one more would wait for, in requests for each unit of weight.
    fn load(&self, at: usize) -> f64 {
        f64::from(self.seats[at].in_flight + 1) / self.weight(at)
    }

    /// True if one is expected to answer sooner than the other. Whose latency nobody knows yet is taken for equal.
    fn is_sooner(&self, one: usize, other: usize) -> bool {
        let expected = |at: usize| {
            let seat = &self.seats[at];
            let part = self.weight(at) / f64::from(seat.endpoint.weight);
            Some(seat.latency.expected_us(self.now, seat.in_flight + 1)? / part)
        };
        match (expected(one), expected(other)) {
            (Some(a), Some(b)) => a < b,
            _ => self.load(one) < self.load(other),
        }
    }
}

/// Where turns stand, and chance.
#[derive(Debug)]
pub(crate) struct Picker {
    rng: Rng,
    turn: usize,
}

impl Picker {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { rng, turn: 0 }
    }

    /// A seat; `owed` are the seats' accounts for smooth weighted turns.
    pub(crate) fn pick(&mut self, field: &Field<'_>, key: Option<u64>, owed: &mut [f64]) -> Option<usize> {
        match field.config.policy {
            Policy::RoundRobin => self.by_turn(field),
            Policy::Weighted => smooth(field, owed),
            Policy::Random => self.by_chance(field),
            Policy::LeastConnections => self.least_loaded(field),
            Policy::PeakEwma => self.best_of_some(field),
            Policy::RingHash { .. } | Policy::Maglev => {
                let key = key.unwrap_or_else(|| self.rng.next_u64());
                self.by_key(field, key).or_else(|| self.by_turn(field))
            }
        }
    }

    fn by_turn(&mut self, field: &Field<'_>) -> Option<usize> {
        let n = field.ready.len();
        let mut passed_over = None;
        for step in 1..=n {
            let place = (self.turn + step) % n;
            let at = field.ready[place];
            if !field.may(at) {
                continue;
            }
            let part = field.weight(at) / f64::from(field.seats[at].endpoint.weight);
            if part >= 1.0 || self.chance() < part {
                self.turn = place;
                return Some(at);
            }
            passed_over = Some(at);
        }
        passed_over
    }

    fn by_chance(&mut self, field: &Field<'_>) -> Option<usize> {
        let all: f64 = field.candidates().map(|at| field.weight(at)).sum();
        let mut left = self.chance() * all;
        let mut last = None;
        for at in field.candidates() {
            last = Some(at);
            left -= field.weight(at);
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// Among equals, the next in turn: else the first of a list would get all that comes while nothing is in flight.
    fn least_loaded(&mut self, field: &Field<'_>) -> Option<usize> {
        let n = field.ready.len();
        let places = (1..=n).map(|step| (self.turn + step) % n).filter(|place| field.may(field.ready[*place]));
        let load = |place: &usize| field.load(field.ready[*place]);
        let best = places.min_by(|a, b| load(a).total_cmp(&load(b)))?;
        self.turn = best;
        Some(field.ready[best])
    }

    /// The best of a few is as good as the best of all (Mitzenmacher 2001), costs the same for a thousand endpoints as for three, and lanes and gateways
    /// that know the same don't all run to the same best one. Of two among four, of which one is slow, the slow one is too often the better.
    fn best_of_some(&mut self, field: &Field<'_>) -> Option<usize> {
        let Some(one) = self.draw(field, &[]) else { return self.soonest(field) };
        let Some(other) = self.draw(field, &[one]) else { return self.soonest(field) };
        let better = if field.is_sooner(other, one) { other } else { one };
        let third = self.draw(field, &[one, other]).filter(|third| field.is_sooner(*third, better));
        third.or(Some(better))
    }

    /// One by chance, but none of these. None if chance didn't find any: then there are hardly others.
    fn draw(&mut self, field: &Field<'_>, but: &[usize]) -> Option<usize> {
        let n = field.ready.len() as u64;
        let mut tries = (0..DRAWS).filter(|_| n > 0);
        tries.find_map(|_| {
            let place = usize::try_from(self.rng.below(n)).expect("below a length");
            Some(field.ready[place]).filter(|at| !but.contains(at) && field.may(*at))
        })
    }

    fn soonest(&mut self, field: &Field<'_>) -> Option<usize> {
        field.candidates().reduce(|best, at| if field.is_sooner(at, best) { at } else { best })
    }

    fn by_key(&mut self, field: &Field<'_>, key: u64) -> Option<usize> {
        let usable = |place: usize| {
            let at = *field.order.get(place)?;
            (field.seats[at].ready && field.may(at)).then_some(at)
        };
        match field.table {
            Table::None => None,
            Table::Maglev(maglev) => maglev.walk(key).find_map(usable),
            Table::Ring(ring) => {
                let Policy::RingHash { bound_percent: percent @ 1.. } = field.config.policy else {
                    return ring.walk(key).find_map(usable);
                };
                let weights: f64 = field.ready.iter().map(|at| f64::from(field.seats[*at].endpoint.weight)).sum();
                let in_flight: u64 = field.ready.iter().map(|at| u64::from(field.seats[*at].in_flight)).sum();
                let of_one = real(in_flight + 1) * f64::from(percent.max(100)) / 100.0 / weights;
                let fits = |at: &usize| {
                    let seat = &field.seats[*at];
                    f64::from(seat.in_flight) < (of_one * f64::from(seat.endpoint.weight)).ceil()
                };
                // Somebody has room, unless it is not to be used.
                ring.walk(key).filter_map(usable).find(fits).or_else(|| ring.walk(key).find_map(usable))
            }
        }
    }

    /// A number from 0 to 1.
    fn chance(&mut self) -> f64 {
        real(self.rng.next_u64() >> 11) / real(1 << 53)
    }
}

/// Smooth weighted turns, as Nginx has them: each gets its weight, who has most is taken and pays all that was given out.
fn smooth(field: &Field<'_>, owed: &mut [f64]) -> Option<usize> {
    let mut all = 0.0;
    for at in field.candidates() {
        owed[at] += field.weight(at);
        all += field.weight(at);
    }
    let best = field.candidates().reduce(|best, at| if owed[at] > owed[best] { at } else { best })?;
    owed[best] -= all;
    Some(best)
}

/// How often chance is asked for an endpoint that can be used.
const DRAWS: u32 = 8;
