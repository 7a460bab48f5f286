//! The gateway's bars, short enough for every run of the tests; the long ones are commands in PROOF.md.

use gateway::Policy;
use sim::gateway::load::{Again, Clients, Load};
use sim::gateway::scenarios::{self, balance, measure_drift, measure_overload};
use sim::gateway::server::Work;
use sim::gateway::theory::hold;
use sim::gateway::world::World;
use sim::gateway::{Effort, caching, run};
use sim::hunt::hunt;

const EXPONENTIAL: Work = Work::Exponential { ms: 10.0 };

#[test]
fn a_short_campaign_is_clean() {
    let outcome = hunt(12..26, 2, 1, || {}, |seed| run(seed, Effort { ms: 2_000 }));
    assert!(outcome.caught.is_empty(), "{:#?}", outcome.caught);
    for event in ["ejected", "drained", "retries by the gateway", "overload begun", "given up by clients"] {
        assert!(outcome.tally.of(event) > 0, "{event} never happened\n{}", outcome.tally);
    }
}

#[test]
fn the_cache_keeps_its_rules() {
    let outcome = hunt(0..200, 2, 1, || {}, |seed| caching::run(seed, 400));
    assert!(outcome.caught.is_empty(), "{:#?}", outcome.caught);
    for event in [
        "answers from the cache",
        "answers that may not be stored",
        "answers that are fetched anew",
        "answers that stood for errors",
        "answers that another fetched",
    ] {
        assert!(outcome.tally.of(event) > 400, "{event}\n{}", outcome.tally);
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = || run(7, Effort { ms: 1_000 }).to_string();
    assert_eq!(run(), run());
}

#[test]
fn goodput_is_kept_under_three_times_the_capacity() {
    for work in [Work::Fixed { ms: 10.0 }, EXPONENTIAL] {
        let found = measure_overload(scenarios::overload(work, 3.0, 2_000), 1, 2_000);
        assert!(found.goodput >= 0.9 && found.p99_times <= 3.0 && found.recovered_s <= 5.0, "{work:?}: {found:?}");
    }
}

#[test]
fn the_limit_follows_a_service_that_becomes_slower_and_faster() {
    let found = measure_drift(scenarios::drift(Work::Fixed { ms: 10.0 }, 0.5), 1, 0.5);
    assert!(found.iter().all(|(goodput, _)| *goodput >= 0.9), "{found:?}");
}

#[test]
fn a_slow_endpoint_is_used_as_by_one_who_knows_all_speeds() {
    let uneven = Work::LogNormal { ms: 10.0, cv2: 4.0 };
    for (work, slots, part) in [
        (EXPONENTIAL, 1, 0.7),
        (EXPONENTIAL, 4, 0.8),
        (Work::Fixed { ms: 10.0 }, 20, 0.8),
        (uneven, 1, 0.5),
        (uneven, 1, 0.8),
    ] {
        let (ours, best) = balance(work, slots, part, 11..14, 30_000);
        assert!(ours <= 1.5 * best, "{work:?} x {slots} at {part}: {ours} ms beside {best} ms");
    }
}

#[test]
fn equal_endpoints_get_equal_shares() {
    let policies = [
        Policy::RoundRobin,
        Policy::Weighted,
        Policy::Random,
        Policy::LeastConnections,
        Policy::PeakEwma,
        Policy::Maglev,
    ];
    for policy in policies {
        let servers = vec![scenarios::slots(EXPONENTIAL)[0]; 5];
        let load = Load::steady(0.6 * scenarios::capacity(&servers), Clients::PLAIN);
        let world = World::run(scenarios::plain(policy, servers, load, 4_000), 3);
        let served: Vec<u64> = world.report().served.values().copied().collect();
        let (least, most) = (served.iter().min().expect("five served"), served.iter().max().expect("five served"));
        // Who picks by latency follows its noise.
        let percent = if policy == Policy::PeakEwma { 135 } else { 115 };
        assert!(served.len() == 5 && *most * 100 <= *least * percent, "{policy:?}: {served:?}");
    }
}

#[test]
fn l_is_lambda_w_and_predictions_hold() {
    for (utilisation, most) in [(0.5, 0.02), (0.7, 0.03), (0.85, 0.08)] {
        let held = hold(EXPONENTIAL, 1.0, 10, utilisation, 60_000, 5);
        assert!(held.meter.residual <= 0.05, "{utilisation}: {:?}", held.meter);
        assert!(held.error() <= most, "{utilisation}: {held:?}");
    }
}

#[test]
fn who_comes_again_when_told_finds_room() {
    let servers = scenarios::slots(Work::Fixed { ms: 10.0 });
    let capacity = scenarios::capacity(&servers);
    let clients = Clients { tries: 2, again: Again::WhenTold, ..Clients::PLAIN };
    let mut load = Load::steady(0.4 * capacity, clients);
    load.bursts = vec![(3_000, 8_000)];
    let world = World::run(scenarios::plain(Policy::LeastConnections, servers, load, 15_000), 1);
    let report = world.report();
    assert!(report.returned > 3_000, "{} returned", report.returned);
    let served = report.returned_served as f64 / report.returned as f64;
    assert!(served >= 0.9, "{served} of those who came again when they were told were served");
    // 8,000 more than usual at 0.6 of 4,000 per second that are free, less a fifth: some 4.5 s, and two for whole seconds.
    let late = report.sum(10_000, 15_000, |slot| slot.shed);
    assert_eq!(late, 0, "nobody is told to come much later than there is room");
}
