//! One service on one lane: the calls of the caller, and how the parts that decide hang together.

use crate::admission::Gate;
use crate::breaker;
use crate::checks::{self, Health};
use crate::config::Config;
use crate::ejection;
use crate::endpoints::{Endpoint, EndpointId, Endpoints};
use crate::flow::Ticket;
use crate::flow::{Admit, Attempt, Checked, Class, Event, Flight, Left, NoEndpoint, Outbox, Outcome, Pass, Retry};
use crate::meter::Meter;
use crate::pick::{Field, Picker};
use crate::retries::Budget;
use crate::seat::{EndpointView, Presence, Seat};
use base::Instant;
use base::mutation::{self, Mutation};
use base::rng::Rng;
use base::time::NS_PER_MS;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A service: its endpoints, who is inside, who waits.
#[derive(Debug)]
pub struct Service {
    config: Config,
    endpoints: Arc<Endpoints>,
    /// The seat of each endpoint of the snapshot, in its order.
    order: Vec<usize>,
    /// The seats that may be picked as far as health goes.
    ready: Vec<usize>,
    seats: Vec<Seat>,
    /// What smooth weighted turns owe each seat.
    owed: Vec<f64>,
    by_id: BTreeMap<EndpointId, usize>,
    panicking: bool,
    picker: Picker,
    budget: Budget,
    gate: Gate,
    rng: Rng,
    /// When the rates of success are compared next.
    compare_at: Instant,
    /// When checks are due or ejections end.
    seats_due: Option<Instant>,
}

impl Service {
    #[must_use]
    pub fn new(now: Instant, config: Config, endpoints: Arc<Endpoints>, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut part = || Rng::new(rng.next_u64());
        let mut service = Self {
            endpoints: Arc::clone(&endpoints),
            order: Vec::new(),
            ready: Vec::new(),
            seats: Vec::new(),
            owed: Vec::new(),
            by_id: BTreeMap::new(),
            panicking: false,
            picker: Picker::new(part()),
            budget: Budget::default(),
            gate: Gate::new(now, config.admission.clone(), part()),
            rng: part(),
            compare_at: now.plus_ms(config.ejection.interval_ms.max(1)),
            seats_due: None,
            config,
        };
        service.swap(now, endpoints, &mut Outbox::default());
        for seat in &mut service.seats {
            // All are new: none of them has less than the others.
            seat.fresh_since = None;
        }
        service
    }

    /// Uses another snapshot from now on. What is known of endpoints that stay is kept; those that are gone end what they have.
    pub fn swap(&mut self, now: Instant, endpoints: Arc<Endpoints>, out: &mut Outbox) {
        for seat in self.seats.iter_mut().filter(|seat| seat.presence == Presence::Present) {
            seat.presence = Presence::Draining;
        }
        self.order.clear();
        for endpoint in endpoints.list() {
            let at = self.seat(now, *endpoint);
            self.order.push(at);
        }
        self.endpoints = endpoints;
        for at in 0..self.seats.len() {
            self.let_go_if_drained(at, out);
        }
        self.refresh(now, out);
    }

    /// A request comes.
    pub fn arrive(&mut self, now: Instant, class: Class, deadline: Option<Instant>, out: &mut Outbox) -> Admit {
        self.gate.arrive(now, class, deadline, out)
    }

    /// Somebody who waits no longer wants to. False if he was let go or shed already.
    pub fn cancel(&mut self, now: Instant, ticket: Ticket, out: &mut Outbox) -> bool {
        self.gate.cancel(now, ticket, out)
    }

    /// An endpoint for one try, which counts as in flight there from now on. `key` is a hash, for policies that go by one.
    pub fn pick(&mut self, now: Instant, key: Option<u64>, avoid: &[EndpointId]) -> Result<Flight, NoEndpoint> {
        let field = Field {
            now,
            config: &self.config,
            seats: &self.seats,
            order: &self.order,
            ready: &self.ready,
            avoid,
            table: &self.endpoints.table,
        };
        let picked = self.picker.pick(&field, key, &mut self.owed);
        let at = picked.ok_or_else(|| self.why_none(avoid))?;
        let seat = &mut self.seats[at];
        seat.breaker.on_begin(now);
        seat.in_flight += 1;
        seat.requests += 1;
        self.budget.on_try(now);
        Ok(Flight { endpoint: seat.endpoint.id, begun: now, in_flight: seat.in_flight, seat: at })
    }

    /// A try has ended.
    pub fn on_end(&mut self, now: Instant, flight: Flight, outcome: Outcome, out: &mut Outbox) {
        let config = &self.config;
        let seat = &mut self.seats[flight.seat];
        assert_eq!(seat.endpoint.id, flight.endpoint, "a seat is kept while it has flights");
        if outcome != Outcome::Cancelled || !mutation::on(Mutation::CancelledStaysInFlight) {
            seat.in_flight = seat.in_flight.checked_sub(1).expect("each flight ends once");
        }
        let took_us = now.since_ns(flight.begun) / 1_000;
        let failed = match outcome {
            Outcome::Answered { status_class, .. } => Some(status_class >= 5),
            Outcome::ConnectFailed | Outcome::Reset | Outcome::TimedOut => Some(true),
            Outcome::Cancelled => None,
        };
        match outcome {
            Outcome::Answered { first_byte_us, status_class: 0..=4 } => {
                seat.latency.tell(now, first_byte_us, flight.in_flight)
            }
            // Who goes because it takes too long tells that it takes long.
            Outcome::Cancelled if took_us > seat.latency.us(now) => seat.latency.tell(now, took_us, flight.in_flight),
            Outcome::Cancelled => {}
            _ => seat.latency.tell_error(now, took_us, flight.in_flight),
        }
        match seat.breaker.on_end(now, flight.begun, failed, &config.breaker) {
            breaker::Change::None => {}
            breaker::Change::Opened => out.events.push(Event::BreakerOpened(flight.endpoint)),
            breaker::Change::Closed => out.events.push(Event::BreakerClosed(flight.endpoint)),
        }
        seat.errors += u64::from(failed == Some(true));
        if failed.is_some_and(|failed| seat.record.on_end(failed, &config.ejection)) {
            self.eject(now, flight.seat, out);
        }
        self.let_go_if_drained(flight.seat, out);
    }

    /// Whether a request whose try failed may be tried again; takes from the budget if so.
    pub fn retry(&mut self, now: Instant, attempt: &Attempt) -> Retry {
        let needs_ms = self.gate.answer_ns().div_ceil(NS_PER_MS);
        self.budget.ask(now, attempt, needs_ms, &self.config.retries, &mut self.rng)
    }

    /// A request that was admitted has ended.
    pub fn leave(&mut self, now: Instant, pass: Pass, left: Left, out: &mut Outbox) {
        self.gate.leave(now, &pass, left, out);
    }

    /// The answer to a check that an Outbox asked for.
    pub fn on_check(&mut self, now: Instant, id: EndpointId, checked: Checked, out: &mut Outbox) {
        // Who was removed meanwhile is no longer checked.
        let Some(at) = self.by_id.get(&id).copied() else { return };
        let seat = &mut self.seats[at];
        match seat.health.on_check(now, checked, &self.config.checks, &mut self.rng) {
            checks::Change::None => {}
            checks::Change::Up => {
                seat.fresh_since = Some(now);
                out.events.push(Event::CheckPassing(id));
            }
            checks::Change::Down => out.events.push(Event::CheckFailing(id)),
        }
        self.refresh(now, out);
    }

    /// What is due: checks, waits that are over, ejections that end.
    pub fn on_timer(&mut self, now: Instant, out: &mut Outbox) {
        self.gate.on_timer(now, out);
        if self.compare_at <= now {
            self.compare_at = now.plus_ms(self.config.ejection.interval_ms.max(1));
            self.compare(now, out);
        }
        if self.seats_due.is_some_and(|due| due <= now) {
            for at in &self.order {
                let seat = &mut self.seats[*at];
                if seat.health.take_due(now) {
                    out.checks.push(seat.endpoint.id);
                }
                if seat.record.take_return(now) {
                    seat.fresh_since = Some(now);
                    out.events.push(Event::Returned(seat.endpoint.id));
                }
            }
            self.refresh(now, out);
        }
    }

    /// When `on_timer` has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let compare = (self.config.ejection.sigma_tenths > 0).then_some(self.compare_at);
        [self.gate.next_deadline(), self.seats_due, compare].into_iter().flatten().min()
    }

    /// Live figures over the last ten seconds.
    #[must_use]
    pub fn meter(&self, now: Instant) -> Meter {
        self.gate.meter(now)
    }

    /// All endpoints, those that drain too.
    pub fn views(&self, now: Instant) -> impl Iterator<Item = EndpointView> {
        self.seats.iter().filter(|seat| seat.presence != Presence::Gone).map(move |seat| seat.view(now))
    }

    /// How many may be inside.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.gate.limit()
    }

    /// Another limit from now on, that stays as it is: an operator's word, or another algorithm's.
    pub fn set_limit(&mut self, now: Instant, limit: u32, out: &mut Outbox) {
        self.gate.set_limit(now, limit, out);
    }

    /// How many are inside.
    #[must_use]
    pub fn inside(&self) -> u32 {
        self.gate.inside()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.gate.waiting()
    }

    /// A request that has left is at its endpoint all the same, and counts again: beyond the limit, if need be.
    pub fn come_back(&mut self, now: Instant) -> Pass {
        self.gate.come_back(now)
    }

    /// Whether who comes now would be let in at once.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.gate.is_open()
    }

    /// True while so many come that the newest go first.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.gate.is_overloaded()
    }

    /// The seat of an endpoint: its own, or a free one, or a new one.
    fn seat(&mut self, now: Instant, endpoint: Endpoint) -> usize {
        if let Some(at) = self.by_id.get(&endpoint.id).copied()
            && self.seats[at].endpoint.identity == endpoint.identity
        {
            let seat = &mut self.seats[at];
            (seat.endpoint, seat.presence) = (endpoint, Presence::Present);
            if mutation::on(Mutation::SwapForgetsInFlight) {
                seat.in_flight = 0;
            }
            return at;
        }
        let health = Health::new(now, &self.config.checks, &mut self.rng);
        let mut seat = Seat::new(now, endpoint, health);
        seat.fresh_since = Some(now);
        let at = self.seats.iter().position(|seat| seat.presence == Presence::Gone).unwrap_or(self.seats.len());
        if at == self.seats.len() {
            self.seats.push(seat);
            self.owed.push(0.0);
        } else {
            (self.seats[at], self.owed[at]) = (seat, 0.0);
        }
        self.by_id.insert(endpoint.id, at);
        at
    }

    fn let_go_if_drained(&mut self, at: usize, out: &mut Outbox) {
        let seat = &mut self.seats[at];
        if seat.presence == Presence::Draining && seat.in_flight == 0 {
            seat.presence = Presence::Gone;
            let id = seat.endpoint.id;
            if self.by_id.get(&id) == Some(&at) {
                self.by_id.remove(&id);
            }
            out.events.push(Event::Drained(id));
        }
    }

    fn eject(&mut self, now: Instant, at: usize, out: &mut Outbox) {
        let ejected = |at: &&usize| self.seats[**at].record.is_ejected();
        let out_count = self.order.iter().filter(ejected).count();
        let present = self.seats[at].presence == Presence::Present;
        if !present || !ejection::has_room(self.order.len(), out_count, &self.config.ejection) {
            return;
        }
        let seat = &mut self.seats[at];
        let for_ms = seat.record.eject(now, &self.config.ejection);
        out.events.push(Event::Ejected { id: seat.endpoint.id, for_ms });
        self.refresh(now, out);
    }

    /// Ejects those whose rate of success lies too far below that of the others.
    fn compare(&mut self, now: Instant, out: &mut Outbox) {
        let config = &self.config.ejection;
        let mut rates = Vec::new();
        for at in &self.order {
            let rate = self.seats[*at].record.take_interval(now, config);
            rates.extend(rate.map(|rate| (rate, *at)));
        }
        let all: Vec<f64> = rates.iter().map(|(rate, _)| *rate).collect();
        let Some(least) = ejection::threshold(&all, config) else { return };
        // The worst first: there may not be room for all.
        rates.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (rate, at) in rates {
            if rate < least - RATE_NOISE {
                self.eject(now, at, out);
            }
        }
    }

    /// Sees anew who may be picked, and when seats want something.
    fn refresh(&mut self, now: Instant, out: &mut Outbox) {
        let usable = |at: &usize| self.seats[*at].endpoint.weight > 0;
        let all: Vec<usize> = self.order.iter().copied().filter(usable).collect();
        self.ready = all.iter().copied().filter(|at| self.seats[*at].is_healthy()).collect();
        let least = all.len() * usize::from(self.config.checks.panic_percent);
        let panicking = self.ready.len() * 100 < least;
        if panicking {
            self.ready = all;
        }
        if panicking != self.panicking {
            self.panicking = panicking;
            out.events.push(if panicking { Event::PanicBegun } else { Event::PanicOver });
        }
        if mutation::on(Mutation::DrainedIsPicked) {
            let draining = |at: &usize| self.seats[*at].presence == Presence::Draining;
            self.ready.extend((0..self.seats.len()).filter(draining));
        }
        for seat in &mut self.seats {
            seat.ready = false;
        }
        for at in &self.ready {
            self.seats[*at].ready = true;
        }
        let seats = self.order.iter().map(|at| &self.seats[*at]);
        let due = seats.flat_map(|seat| [seat.health.due(), seat.record.ejected_until()]);
        self.seats_due = due.flatten().min().map(|due| due.max(now));
    }

    fn why_none(&self, avoid: &[EndpointId]) -> NoEndpoint {
        let mut ready = self.ready.iter().map(|at| &self.seats[*at]);
        match () {
            () if self.order.iter().all(|at| self.seats[*at].endpoint.weight == 0) => NoEndpoint::Empty,
            () if self.ready.is_empty() => NoEndpoint::Unhealthy,
            () if ready.all(|seat| avoid.contains(&seat.endpoint.id)) => NoEndpoint::Avoided,
            () => NoEndpoint::BreakersOpen,
        }
    }
}

/// Rates that differ by less are equal: with a spread of nearly nothing, anything lies outside of it.
const RATE_NOISE: f64 = 0.01;
