//! The knobs of a service, with defaults that want no change. Units stand last in names.

use crate::Policy;

/// All of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub policy: Policy,
    pub checks: Checks,
    pub ejection: Ejection,
    pub breaker: Breaker,
    pub retries: Retries,
    pub admission: Admission,
    /// How long a new or recovered endpoint takes to get its full share; 0 for at once.
    pub slow_start_ms: u64,
}

/// Active checks. Off unless there is an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    /// From one check of an endpoint to its next; 0 for none.
    pub interval_ms: u64,
    /// By how many percent of the interval chance moves each check, so that lanes and endpoints don't beat together.
    pub jitter_percent: u8,
    /// Checks passed one behind another that bring an endpoint back.
    pub rise: u32,
    /// Checks failed one behind another that take it out.
    pub fall: u32,
    /// Below so many percent of endpoints that could be used, all are: those that are left would only die too. 0 for never.
    pub panic_percent: u8,
}

/// Passive ejection: an endpoint that fails where others don't gets nothing for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Errors one behind another that eject; 0 for never.
    pub consecutive_errors: u32,
    /// How far the rate of success must lie below the mean of all, in tenths of a standard deviation; 0 for never.
    pub sigma_tenths: u32,
    /// From one look at the rates of success to the next.
    pub interval_ms: u64,
    /// Requests in an interval below which an endpoint's rate says nothing.
    pub requests_min: u32,
    /// Endpoints with enough requests below which the mean says nothing.
    pub endpoints_min: u32,
    /// The first ejection's length; the nth in a row takes n times as long.
    pub base_ms: u64,
    pub most_ms: u64,
    /// How many percent of endpoints may be ejected at once; one may always, if there are two or more.
    pub percent_max: u8,
}

/// A breaker for each endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Requests in flight at one endpoint; 0 for any number.
    pub in_flight_max: u32,
    /// The percentage of errors among the last requests that opens it; 0 for never.
    pub error_percent: u8,
    /// How many last requests are looked at; none opens it before there are so many.
    pub requests: u32,
    /// How long it stays open before probes go through.
    pub open_ms: u64,
    /// Probes that must succeed to close it, and that may be in flight at once while it is half open.
    pub probes: u32,
}

/// Retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Tries of one request at most, the first included.
    pub tries_max: u32,
    /// Retries per hundred requests of the last ten seconds.
    pub budget_percent: u32,
    /// Retries per second that may always be.
    pub budget_min_per_s: u32,
    /// The pause before the second retry at most; twice as much before each further one.
    pub pause_ms: u64,
}

/// Who is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    pub limit: Limit,
    /// Those who wait at most.
    pub queue_max: u32,
    /// The longest wait when nobody has waited for long: how long a burst may be smoothed; 0 for a multiple of the service time.
    pub wait_max_ms: u64,
}

/// How many requests may be inside at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As many as come.
    Off,
    Fixed(u32),
    /// What the service can bear, found by measuring.
    Adaptive {
        least: u32,
        first: u32,
        most: u32,
    },
}

impl Default for Checks {
    fn default() -> Self {
        Self { interval_ms: 0, jitter_percent: 15, rise: 2, fall: 3, panic_percent: 50 }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive_errors: 5,
            sigma_tenths: 19,
            interval_ms: 10_000,
            requests_min: 100,
            endpoints_min: 3,
            base_ms: 30_000,
            most_ms: 300_000,
            percent_max: 30,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self { in_flight_max: 0, error_percent: 0, requests: 20, open_ms: 5_000, probes: 3 }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self { tries_max: 3, budget_percent: 20, budget_min_per_s: 3, pause_ms: 25 }
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self { limit: Limit::Adaptive { least: 2, first: 20, most: 10_000 }, queue_max: 1_000, wait_max_ms: 0 }
    }
}
