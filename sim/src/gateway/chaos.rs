//! A gateway in trouble, drawn from a seed: servers that die, fail, slow down, leave and come back, bursts, storms and deadlines, under
//! settings that are drawn too. Each step is held against the world's own counts; at the end all is quiet and everything has ended.

use super::load::{Again, Clients, Load, Told};
use super::server::{Spec, Work};
use super::world::{Change, Picking, Setup, World};
use crate::tally::Tally;
use base::rng::Rng;
use gateway::config::{Admission, Breaker, Checks, Config, Ejection, Limit, Retries};
use gateway::{Event, Policy};

/// A short run; panics where a rule is broken.
#[must_use]
pub fn run(seed: u64, ms: u64) -> Tally {
    let mut rng = Rng::new(seed ^ 0x6761_7465);
    let setup = setup(&mut rng, ms);
    let world = World::run(setup, seed);
    let report = world.report();
    let mut tally = Tally { runs: 1, ..Tally::default() };
    let all = |of: fn(&super::report::Slot) -> u64| report.slots.iter().map(of).sum::<u64>();
    tally.events_by("tries by clients", all(|slot| slot.offered));
    tally.events_by("answered", all(|slot| slot.good));
    tally.events_by("shed", all(|slot| slot.shed));
    tally.events_by("given up by clients", all(|slot| slot.given_up));
    tally.events_by("answers to nobody", all(|slot| slot.wasted));
    tally.events_by("errors", all(|slot| slot.errors));
    tally.events_by("retries by the gateway", report.gateway_retries);
    for (_, event) in world.events() {
        tally.event(match event {
            Event::CheckFailing(_) => "check: failing",
            Event::CheckPassing(_) => "check: passing",
            Event::Ejected { .. } => "ejected",
            Event::Returned(_) => "returned",
            Event::BreakerOpened(_) => "breaker opened",
            Event::BreakerClosed(_) => "breaker closed",
            Event::Drained(_) => "drained",
            Event::PanicBegun => "panic begun",
            Event::PanicOver => "panic over",
            Event::OverloadBegun => "overload begun",
            Event::OverloadOver => "overload over",
        });
    }
    tally
}

/// What a campaign must have seen.
pub const REQUIRED: &[&str] = &[
    "tries by clients",
    "answered",
    "shed",
    "given up by clients",
    "answers to nobody",
    "errors",
    "retries by the gateway",
    "check: failing",
    "check: passing",
    "ejected",
    "returned",
    "breaker opened",
    "breaker closed",
    "drained",
    "panic begun",
    "panic over",
    "overload begun",
    "overload over",
];

fn setup(rng: &mut Rng, ms: u64) -> Setup {
    let works = [
        Work::Fixed { ms: 10.0 },
        Work::Exponential { ms: 10.0 },
        Work::Mixed { fast_ms: 5.0, slow_ms: 100.0, percent: 5 },
        Work::LogNormal { ms: 10.0, cv2: 4.0 },
    ];
    let work = *one_of(rng, &works);
    let count = 2 + rng.below(5);
    let slots = u32::try_from(1 + rng.below(5)).expect("few slots");
    let servers =
        (0..count).map(|_| Spec { slots, speed: *one_of(rng, &[1.0, 1.0, 0.5, 2.0]), work }).collect::<Vec<_>>();
    let capacity = super::scenarios::capacity(&servers);
    let rate = |rng: &mut Rng| capacity * *one_of(rng, &[0.3, 0.6, 0.8, 1.2, 3.0]);
    let rates = (0..6).map(|part| (part * ms / 6, rate(rng))).collect();
    let bursts = (0..rng.below(4)).map(|_| (rng.below(ms), u32::try_from(rng.below(300)).expect("small"))).collect();
    let clients = Clients {
        patience_ms: *one_of(rng, &[30, 100, 1_000]),
        tell_deadline: *one_of(rng, &[Told::Deadline, Told::Nothing]),
        tries: *one_of(rng, &[1, 3, 10]),
        again: *one_of(rng, &[Again::WhenTold, Again::After { ms: 50 }]),
        unsafe_percent: *one_of(rng, &[0, 50]),
        classes: *one_of(rng, &[1, 4]),
    };
    let changes = changes(rng, ms, servers.len());
    let load = Load { rates, bursts, clients };
    Setup { config: config(rng), servers, load, ms, picking: Picking::Gateway, rival: None, changes }
}

fn config(rng: &mut Rng) -> Config {
    let limits = [Limit::Adaptive { least: 2, first: 20, most: 1_000 }, Limit::Fixed(8), Limit::Off];
    Config {
        policy: *one_of(rng, &Policy::EACH),
        checks: Checks { interval_ms: *one_of(rng, &[0, 200]), ..Checks::default() },
        ejection: Ejection {
            consecutive_errors: *one_of(rng, &[0, 3, 5]),
            interval_ms: 500,
            requests_min: 20,
            base_ms: 300,
            most_ms: 2_000,
            ..Ejection::default()
        },
        breaker: Breaker {
            in_flight_max: *one_of(rng, &[0, 6]),
            error_percent: *one_of(rng, &[0, 50]),
            requests: 10,
            open_ms: 200,
            probes: 2,
        },
        retries: Retries { budget_min_per_s: *one_of(rng, &[0, 3]), budget_percent: 10, ..Retries::default() },
        admission: Admission { limit: *one_of(rng, &limits), queue_max: *one_of(rng, &[5, 50, 1_000]), wait_max_ms: 0 },
        slow_start_ms: *one_of(rng, &[0, 500]),
    }
}

/// Trouble in the first three quarters; then all are well and listed.
fn changes(rng: &mut Rng, ms: u64, servers: usize) -> Vec<(u64, Change)> {
    let mut changes = Vec::new();
    for _ in 0..rng.below(8) {
        let at = usize::try_from(rng.below(servers as u64)).expect("few servers");
        let from = rng.below(ms / 2);
        let to = from + rng.below(ms / 4);
        let (breaks, mends) = match rng.below(4) {
            0 => (Change::Die(at), Change::Revive(at)),
            1 => (Change::Failing(at, *one_of(rng, &[30, 100])), Change::Failing(at, 0)),
            2 => (Change::Speed(at, 0.1), Change::Speed(at, 1.0)),
            _ => (Change::Remove(at), Change::Add(at)),
        };
        changes.extend([(from, breaks), (to, mends)]);
    }
    if rng.one_in(3) {
        // All but one at once.
        let from = rng.below(ms / 2);
        changes.extend((1..servers).map(|at| (from, Change::Die(at))));
        changes.extend((1..servers).map(|at| (from + ms / 5, Change::Revive(at))));
    }
    changes
}

fn one_of<'a, T>(rng: &mut Rng, all: &'a [T]) -> &'a T {
    &all[usize::try_from(rng.below(all.len() as u64)).expect("below a length")]
}
