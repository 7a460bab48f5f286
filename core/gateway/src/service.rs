//! One service on one lane: the calls of the caller, in the order in which a request makes them.

use crate::config::{Config, Limit};
use crate::endpoints::{Endpoint, EndpointId, Endpoints, Policy};
use crate::flow::{Admit, Attempt, Checked, Class, Flight, Left, NoEndpoint, Outbox, Outcome, Pass, Retry, Safety};
use crate::flow::{Event, Shed, Ticket, Why, WhyNot};
use base::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A service: its endpoints, who is inside, who waits.
#[derive(Debug)]
pub struct Service {
    config: Config,
    endpoints: Arc<Endpoints>,
    /// The seat of each endpoint of the snapshot, in its order.
    order: Vec<usize>,
    seats: Vec<Seat>,
    by_id: BTreeMap<EndpointId, usize>,
    next: usize,
    inside: u32,
    waiting: VecDeque<(Ticket, Instant, Option<Instant>)>,
    tickets: u64,
}

/// What is known of an endpoint; it stays while the endpoint is in the snapshot or has requests in flight.
#[derive(Debug)]
struct Seat {
    endpoint: Endpoint,
    in_flight: u32,
    state: State,
    requests: u64,
    errors: u64,
}

/// What an endpoint gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Active,
    /// Failed its active checks.
    Failing,
    /// Answers worse than the others.
    Ejected,
    BreakerOpen,
    /// No longer in the snapshot; ends what it has.
    Draining,
    /// Not in use.
    Gone,
}

/// An endpoint, for those who look.
#[derive(Clone, Copy, Debug)]
pub struct EndpointView {
    pub id: EndpointId,
    pub weight: u32,
    pub state: State,
    pub in_flight: u32,
    /// Flights begun, and those that ended by an error, since the service began.
    pub requests: u64,
    pub errors: u64,
    /// The peak-sensitive mean of the time to the first byte.
    pub latency_us: u64,
}

/// Live figures of a service over the last ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Meter {
    /// λ: requests admitted per second; and all that came, and those shed.
    pub admitted_per_s: f64,
    pub offered_per_s: f64,
    pub shed_per_s: f64,
    /// W: the mean time inside, from admission to leaving.
    pub inside_ms: f64,
    /// L: the mean number inside.
    pub inside: f64,
    /// |L - λW| / L.
    pub residual: f64,
    /// L over the limit.
    pub utilisation: f64,
    /// The mean wait of those who were admitted, and how many waited on average.
    pub wait_ms: f64,
    pub waiting: f64,
    /// Now.
    pub limit: u32,
    /// W without load, as far as known.
    pub no_load_ms: f64,
}

impl Service {
    #[must_use]
    pub fn new(now: Instant, config: Config, endpoints: Arc<Endpoints>, seed: u64) -> Self {
        let _ = seed;
        let mut service = Self {
            config,
            endpoints: Arc::clone(&endpoints),
            order: Vec::new(),
            seats: Vec::new(),
            by_id: BTreeMap::new(),
            next: 0,
            inside: 0,
            waiting: VecDeque::new(),
            tickets: 0,
        };
        service.swap(now, endpoints, &mut Outbox::default());
        service
    }

    /// Uses another snapshot from now on. What is known of endpoints that stay is kept; those that are gone end what they have.
    pub fn swap(&mut self, _now: Instant, endpoints: Arc<Endpoints>, out: &mut Outbox) {
        for seat in &mut self.seats {
            seat.state = if seat.state == State::Gone { State::Gone } else { State::Draining };
        }
        self.order.clear();
        for endpoint in endpoints.list() {
            let free = || self.seats.iter().position(|seat| seat.state == State::Gone);
            let at = self.by_id.get(&endpoint.id).copied().or_else(free).unwrap_or(self.seats.len());
            let seat = Seat { endpoint: *endpoint, in_flight: 0, state: State::Active, requests: 0, errors: 0 };
            match self.seats.get_mut(at) {
                Some(old) if old.endpoint.id == endpoint.id => {
                    (old.endpoint, old.state) = (*endpoint, State::Active);
                }
                Some(old) => *old = seat,
                None => self.seats.push(seat),
            }
            self.by_id.insert(endpoint.id, at);
            self.order.push(at);
        }
        self.endpoints = endpoints;
        for at in 0..self.seats.len() {
            self.let_go_if_drained(at, out);
        }
    }

    /// A request comes.
    pub fn arrive(&mut self, now: Instant, _class: Class, deadline: Option<Instant>, _out: &mut Outbox) -> Admit {
        if self.inside < self.limit() {
            self.inside += 1;
            return Admit::Go(Pass { arrived: now, admitted: now, round: 0 });
        }
        if self.waiting.len() >= self.config.admission.queue_max as usize {
            return Admit::Shed(Shed { retry_after_ms: 1000, why: Why::QueueFull });
        }
        self.tickets += 1;
        self.waiting.push_back((Ticket(self.tickets), now, deadline));
        Admit::Wait(Ticket(self.tickets))
    }

    /// Somebody who waits no longer wants to. False if he was let go or shed already.
    pub fn cancel(&mut self, _now: Instant, ticket: Ticket, _out: &mut Outbox) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(waiting, ..)| *waiting != ticket);
        self.waiting.len() < before
    }

    /// An endpoint for one try, which counts as in flight there from now on. `key` is a hash, for policies that go by one.
    pub fn pick(&mut self, now: Instant, key: Option<u64>, avoid: &[EndpointId]) -> Result<Flight, NoEndpoint> {
        let _ = key;
        let usable = |at: &usize| {
            let seat = &self.seats[*at];
            seat.endpoint.weight > 0 && !avoid.contains(&seat.endpoint.id)
        };
        let n = self.order.len();
        let turn = (0..n).map(|i| self.order[(self.next + i) % n]).filter(usable);
        let at = match self.config.policy {
            Policy::RoundRobin => turn.min_by_key(|_| 0),
            _ => turn.min_by_key(|at| self.seats[*at].in_flight),
        };
        let at = at.ok_or(if avoid.is_empty() { NoEndpoint::Empty } else { NoEndpoint::Avoided })?;
        let place = self.order.iter().position(|seat| *seat == at).expect("it was picked from there");
        self.next = (place + 1) % n;
        self.seats[at].in_flight += 1;
        self.seats[at].requests += 1;
        Ok(Flight { endpoint: self.seats[at].endpoint.id, begun: now, seat: at })
    }

    /// A try has ended.
    pub fn on_end(&mut self, _now: Instant, flight: Flight, outcome: Outcome, out: &mut Outbox) {
        let seat = &mut self.seats[flight.seat];
        assert_eq!(seat.endpoint.id, flight.endpoint, "a seat is kept while it has flights");
        seat.in_flight -= 1;
        seat.errors +=
            u64::from(!matches!(outcome, Outcome::Answered { status_class: 0..=4, .. } | Outcome::Cancelled));
        self.let_go_if_drained(flight.seat, out);
    }

    /// Whether a request whose try failed may be tried again; takes from the budget if so.
    pub fn retry(&mut self, now: Instant, attempt: &Attempt) -> Retry {
        if attempt.safety == Safety::Unsafe {
            return Retry::No(WhyNot::Unsafe);
        }
        if attempt.tries >= self.config.retries.tries_max {
            return Retry::No(WhyNot::TriedEnough);
        }
        if attempt.deadline.is_some_and(|deadline| deadline <= now) {
            return Retry::No(WhyNot::Deadline);
        }
        Retry::After { pause_ms: 0 }
    }

    /// A request that was admitted has ended.
    pub fn leave(&mut self, now: Instant, pass: Pass, left: Left, out: &mut Outbox) {
        let _ = (pass, left);
        self.inside -= 1;
        self.admit_waiting(now, out);
    }

    /// The answer to a check that an Outbox asked for.
    pub fn on_check(&mut self, _now: Instant, _id: EndpointId, _checked: Checked, _out: &mut Outbox) {}

    /// What is due: checks, waits that are over, ejections that end.
    pub fn on_timer(&mut self, now: Instant, out: &mut Outbox) {
        while let Some((ticket, _, _)) =
            self.waiting.pop_front_if(|(_, _, deadline)| deadline.is_some_and(|deadline| deadline <= now))
        {
            out.shed.push((ticket, Shed { retry_after_ms: 1000, why: Why::Deadline }));
        }
    }

    /// When `on_timer` has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|(_, _, deadline)| *deadline).min()
    }

    #[must_use]
    pub fn meter(&self, _now: Instant) -> Meter {
        Meter { limit: self.limit(), ..Meter::default() }
    }

    /// All endpoints, those that drain too.
    pub fn views(&self, _now: Instant) -> impl Iterator<Item = EndpointView> {
        self.seats.iter().filter(|seat| seat.state != State::Gone).map(|seat| EndpointView {
            id: seat.endpoint.id,
            weight: seat.endpoint.weight,
            state: seat.state,
            in_flight: seat.in_flight,
            requests: seat.requests,
            errors: seat.errors,
            latency_us: 0,
        })
    }

    /// How many may be inside.
    #[must_use]
    pub fn limit(&self) -> u32 {
        match self.config.admission.limit {
            Limit::Off => u32::MAX,
            Limit::Fixed(limit) => limit,
            Limit::Adaptive { first, .. } => first,
        }
    }

    /// How many are inside.
    #[must_use]
    pub fn inside(&self) -> u32 {
        self.inside
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn admit_waiting(&mut self, now: Instant, out: &mut Outbox) {
        while self.inside < self.limit() {
            let Some((ticket, arrived, _)) = self.waiting.pop_front() else { break };
            self.inside += 1;
            out.go.push((ticket, Pass { arrived, admitted: now, round: 0 }));
        }
    }

    fn let_go_if_drained(&mut self, at: usize, out: &mut Outbox) {
        let seat = &mut self.seats[at];
        if seat.state == State::Draining && seat.in_flight == 0 {
            seat.state = State::Gone;
            self.by_id.remove(&seat.endpoint.id);
            out.events.push(Event::Drained(seat.endpoint.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_go_round_and_a_removed_endpoint_drains() {
        let endpoint = |n: u32| Endpoint { id: EndpointId(n), weight: 1, identity: u64::from(n) };
        let all = |ns: &[u32], policy| Endpoints::new(ns.iter().copied().map(endpoint).collect(), policy).unwrap();
        let config = Config { policy: Policy::RoundRobin, ..Config::default() };
        let (now, mut out) = (Instant(0), Outbox::default());
        let mut service = Service::new(now, config, all(&[1, 2], Policy::RoundRobin), 1);
        let flights: Vec<Flight> = (0..4).map(|_| service.pick(now, None, &[]).unwrap()).collect();
        assert_eq!(flights.iter().map(|flight| flight.endpoint().0).collect::<Vec<_>>(), [1, 2, 1, 2]);
        service.swap(now, all(&[2], Policy::RoundRobin), &mut out);
        assert_eq!(service.views(now).map(|view| view.in_flight).collect::<Vec<_>>(), [2, 2]);
        for flight in flights {
            service.on_end(now, flight, Outcome::Cancelled, &mut out);
        }
        assert_eq!(service.views(now).map(|view| view.id.0).collect::<Vec<_>>(), [2]);
        assert_eq!(out.events, [Event::Drained(EndpointId(1))]);
    }
}
