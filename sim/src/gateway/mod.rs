//! The gateway under load: the real `core/gateway` between clients and servers in virtual time.
//!
//! `World::run` is one seed of a campaign: trouble drawn by chance ([`chaos`]), whose every step is held against counts of the
//! world's own, and each so many seeds one of the situations that the gateway is judged by ([`scenarios`]) with what it must reach.
//! [`caching`] is a world of its own for the rules of the cache.
//! `sim gateway compare` sets other algorithms beside ours, `sim gateway figures` draws.

pub mod caching;
pub mod chaos;
pub mod figures;
pub mod load;
pub mod report;
pub mod rivals;
pub mod scenarios;
pub mod server;
pub mod theory;
mod watch;
pub mod world;

use crate::tally::Tally;
use scenarios::{measure_drift, measure_overload};
use server::Work;

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Virtual milliseconds of trouble.
    pub ms: u64,
}

pub use chaos::REQUIRED;

/// One seed.
#[must_use]
pub fn run(seed: u64, effort: Effort) -> Tally {
    let mut tally = chaos::run(seed, effort.ms);
    match seed % 32 {
        3 | 19 => overloaded(seed, &mut tally),
        27 => drifting(seed, &mut tally),
        _ => {}
    }
    tally
}

fn overloaded(seed: u64, tally: &mut Tally) {
    let work = if seed % 32 < 16 { Work::Fixed { ms: 10.0 } } else { Work::Exponential { ms: 10.0 } };
    let found = measure_overload(scenarios::overload(work, 3.0, 3_000), seed, 3_000);
    assert!(found.goodput >= 0.9, "goodput_is_kept_under_overload: {found:?}");
    assert!(found.p99_times <= 3.0, "who_is_admitted_is_answered_soon: {found:?}");
    assert!(found.recovered_s <= 5.0, "overload_ends_with_its_cause: {found:?}");
    tally.event("overloads borne");
}

fn drifting(seed: u64, tally: &mut Tally) {
    let speed = if seed % 64 < 32 { 0.5 } else { 2.0 };
    let found = measure_drift(scenarios::drift(Work::Exponential { ms: 10.0 }, speed), seed, speed);
    assert!(found.iter().all(|(goodput, _)| *goodput >= 0.9), "the_limit_follows_the_service: {found:?}");
    tally.event("drifts followed");
}
