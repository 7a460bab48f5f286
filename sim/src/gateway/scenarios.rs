//! The situations that a gateway is judged by, and what it must reach in each.

use super::load::{Again, Clients, Load, Told};
use super::rivals::Rival;
use super::server::{Spec, Work};
use super::world::{Change, Picking, Setup, World};
use gateway::Policy;
use gateway::config::{Admission, Config, Limit};
use std::ops::Range;

/// Two servers of 20 slots and 10 ms: 4,000 requests per second and no more.
#[must_use]
pub fn slots(work: Work) -> Vec<Spec> {
    vec![Spec { slots: 20, speed: 1.0, work }; 2]
}

/// What so many servers can do per second.
#[must_use]
pub fn capacity(servers: &[Spec]) -> f64 {
    servers.iter().map(|spec| f64::from(spec.slots) * spec.speed * 1000.0 / spec.work.mean_ms()).sum()
}

/// Clients that ask up to four times, soon.
pub const STORM: Clients = Clients {
    patience_ms: 1_000,
    tell_deadline: Told::Nothing,
    tries: 4,
    again: Again::After { ms: 100 },
    unsafe_percent: 0,
    classes: 1,
};

/// A setup whose limit finds itself.
#[must_use]
pub fn plain(policy: Policy, servers: Vec<Spec>, load: Load, ms: u64) -> Setup {
    let config = Config { policy, ..Config::default() };
    Setup { config, servers, load, ms, picking: Picking::Gateway, rival: None, changes: Vec::new() }
}

/// 2 s at half of the capacity, then so many times the capacity by clients that ask again, then 0.8 times for 8 s.
#[must_use]
pub fn overload(work: Work, times: f64, overload_ms: u64) -> Setup {
    let servers = slots(work);
    let capacity = capacity(&servers);
    let rates = vec![(0, 0.5 * capacity), (2_000, times * capacity), (2_000 + overload_ms, 0.8 * capacity)];
    let load = Load { rates, bursts: Vec::new(), clients: STORM };
    plain(Policy::LeastConnections, servers, load, 2_000 + overload_ms + 8_000)
}

/// The same under another algorithm's limit.
#[must_use]
pub fn with_rival(setup: Setup, rival: Box<dyn Rival>) -> Setup {
    let config = with_limit(setup.config, Limit::Fixed(20));
    Setup { config, rival: Some(rival), ..setup }
}

/// Another limit.
#[must_use]
pub fn with_limit(config: Config, limit: Limit) -> Config {
    let admission = Admission { limit, ..config.admission };
    Config { admission, ..config }
}

/// What an overload came to.
#[derive(Clone, Copy, Debug)]
pub struct Overload {
    /// Of the capacity, from half a second after it began.
    pub goodput: f64,
    /// The 99th percentile of those who were answered, over that without load.
    pub p99_times: f64,
    /// From the end of the overload until all that is offered is answered as without load, in seconds.
    pub recovered_s: f64,
}

/// Runs an overload.
#[must_use]
pub fn measure_overload(setup: Setup, seed: u64, overload_ms: u64) -> Overload {
    let capacity = capacity(&setup.servers);
    let end = 2_000 + overload_ms;
    let world = World::run(setup, seed);
    let report = world.report();
    let (no_load, no_load_mean) = (report.latency_ms(500, 2_000, 0.99), report.mean_ms(500, 2_000));
    let is_well = |from: u64| {
        let (fresh, good) = (report.sum(from, from + 500, |s| s.fresh), report.sum(from, from + 500, |s| s.good));
        let shed = report.sum(from, from + 500, |s| s.shed);
        good * 100 >= fresh * 95 && shed * 100 <= fresh && report.mean_ms(from, from + 500) <= 1.5 * no_load_mean
    };
    let sick = (0..75).map(|n| end + n * 100).rev().find(|from| !is_well(*from));
    Overload {
        goodput: report.goodput(2_500, end) / capacity,
        p99_times: report.latency_ms(2_500, end, 0.99) / no_load,
        recovered_s: sick.map_or(0, |from| from + 100 - end) as f64 / 1000.0,
    }
}

/// Servers become slower by a factor, then fast again, while too much is offered all the time: 8 s each.
#[must_use]
pub fn drift(work: Work, speed: f64) -> Setup {
    let servers = vec![slots(work)[0]];
    let load = Load::steady(2.0 * capacity(&servers), Clients { tries: 2, ..STORM });
    let mut changes = Vec::new();
    for at in 0..servers.len() {
        changes.extend([(8_000, Change::Speed(at, speed)), (16_000, Change::Speed(at, 1.0))]);
    }
    Setup { changes, ..plain(Policy::LeastConnections, servers, load, 24_000) }
}

/// Goodput over capacity in each third of [`drift`], behind 3 s to get used to it; and the 99th percentile over the service time.
#[must_use]
pub fn measure_drift(setup: Setup, seed: u64, speed: f64) -> [(f64, f64); 3] {
    let (whole, work_ms) = (capacity(&setup.servers), setup.servers[0].spec_ms());
    let world = World::run(setup, seed);
    let report = world.report();
    [(3_000, 1.0), (11_000, speed), (19_000, 1.0)].map(|(from, speed)| {
        let p99 = report.latency_ms(from, from + 5_000, 0.99);
        (report.goodput(from, from + 5_000) / (whole * speed), p99 * speed / work_ms)
    })
}

impl Spec {
    fn spec_ms(&self) -> f64 {
        self.work.mean_ms()
    }
}

/// Servers of speed 1, 1, 1 and 0.2 at a part of their capacity.
#[must_use]
pub fn uneven(policy: Policy, picking: Picking, work: Work, slots: u32, part: f64, ms: u64) -> Setup {
    let spec = |speed| Spec { slots, speed, work };
    let servers = vec![spec(1.0), spec(1.0), spec(1.0), spec(0.2)];
    let load = Load::steady(part * capacity(&servers), Clients::PLAIN);
    let setup = plain(policy, servers, load, ms);
    Setup { config: with_limit(setup.config, Limit::Off), picking, ..setup }
}

/// The 99th percentiles with three fast servers and a slow one, of peak EWMA and of one who knows all speeds and queues, each the mean of some seeds.
#[must_use]
pub fn balance(work: Work, slots: u32, part: f64, seeds: Range<u64>, ms: u64) -> (f64, f64) {
    let mean = |policy: Policy, picking: Picking| {
        let p99 = |seed| {
            let world = World::run(uneven(policy, picking, work, slots, part, ms), seed);
            world.report().latency_ms(2_000, ms, 0.99)
        };
        seeds.clone().map(p99).sum::<f64>() / seeds.clone().count() as f64
    };
    let best = mean(Policy::LeastConnections, Picking::ShortestExpectedDelay);
    (mean(Policy::PeakEwma, Picking::Gateway), best)
}
