//! What a service knows of one endpoint. It stays while the endpoint is in the snapshot or has requests in flight, so a swap loses
//! no count.

use crate::breaker::Breaker;
use crate::checks::Health;
use crate::ejection::Record;
use crate::endpoints::{Endpoint, EndpointId};
use crate::latency::PeakEwma;
use crate::numbers::real;
use base::Instant;
use base::time::NS_PER_MS;

/// An endpoint and what is known of it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) endpoint: Endpoint,
    pub(crate) presence: Presence,
    pub(crate) in_flight: u32,
    pub(crate) latency: PeakEwma,
    pub(crate) health: Health,
    pub(crate) record: Record,
    pub(crate) breaker: Breaker,
    /// Since when it gets requests (again), while that is so lately that it starts slowly.
    pub(crate) fresh_since: Option<Instant>,
    /// True if it may be picked as far as health goes.
    pub(crate) ready: bool,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
}

/// Whether the snapshot has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Present,
    Draining,
    /// The seat is free for another endpoint.
    Gone,
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
}

/// An endpoint, for those who look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointView {
    pub id: EndpointId,
    pub weight: u32,
    pub state: State,
    pub in_flight: u32,
    /// Flights begun, and those that ended by an error, since the endpoint came.
    pub requests: u64,
    pub errors: u64,
    /// The peak-sensitive mean of the time to the first byte.
    pub latency_us: u64,
}

impl Seat {
    pub(crate) fn new(now: Instant, endpoint: Endpoint, health: Health) -> Self {
        Self {
            endpoint,
            presence: Presence::Present,
            in_flight: 0,
            latency: PeakEwma::default(),
            health,
            record: Record::new(now),
            breaker: Breaker::default(),
            fresh_since: None,
            ready: false,
            requests: 0,
            errors: 0,
        }
    }

    /// True if nothing but its breaker keeps requests from it.
    pub(crate) fn is_healthy(&self) -> bool {
        self.health.is_passing() && !self.record.is_ejected()
    }

    /// Its share, less while it starts slowly.
    pub(crate) fn weight(&self, now: Instant, slow_start_ms: u64) -> f64 {
        let weight = f64::from(self.endpoint.weight);
        let Some(since) = self.fresh_since else { return weight };
        let whole_ns = real(slow_start_ms.saturating_mul(NS_PER_MS).max(1));
        weight * (real(now.since_ns(since)) / whole_ns).clamp(SLOW_START_LEAST, 1.0)
    }

    pub(crate) fn view(&self, now: Instant) -> EndpointView {
        let state = match () {
            () if self.presence != Presence::Present => State::Draining,
            () if !self.health.is_passing() => State::Failing,
            () if self.record.is_ejected() => State::Ejected,
            () if self.breaker.is_open() => State::BreakerOpen,
            () => State::Active,
        };
        EndpointView {
            id: self.endpoint.id,
            weight: self.endpoint.weight,
            state,
            in_flight: self.in_flight,
            requests: self.requests,
            errors: self.errors,
            latency_us: self.latency.us(now),
        }
    }
}

/// Who starts slowly gets this part of its share at once: with nothing, nothing would warm it up.
const SLOW_START_LEAST: f64 = 0.1;
