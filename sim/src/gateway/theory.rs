//! Queueing theory held against the real core: L = λW as the gateway's meter has it, and what `gateway::plan` predicts.

use super::load::{Clients, Load};
use super::scenarios::with_limit;
use super::server::{Spec, Work};
use super::world::{Picking, Setup, World};
use gateway::config::{Admission, Config, Limit};
use gateway::plan::Demand;
use gateway::{Meter, Policy};

/// A measured W beside the predicted one.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub arrivals: u64,
    pub predicted_ms: f64,
    pub measured_ms: f64,
    /// Half of the 95 % confidence interval of the measured one.
    pub half_ms: f64,
    /// What the gateway's meter said at the end.
    pub meter: Meter,
}

impl Held {
    /// How far the prediction is off, as a part of what was measured.
    #[must_use]
    pub fn error(&self) -> f64 {
        (self.predicted_ms / self.measured_ms - 1.0).abs()
    }
}

/// One upstream of so many slots at a utilisation, its queue in the gateway, over about so many arrivals.
///
/// The confidence interval is by batch means: neighbours in a queue wait alike, so single waits would claim far too much. A tenth of the
/// run comes before, to fill the queue.
#[must_use]
pub fn hold(work: Work, cv2: f64, slots: u32, utilisation: f64, arrivals: u64, seed: u64) -> Held {
    let rate = utilisation * f64::from(slots) * 1000.0 / work.mean_ms();
    let demand = Demand { rate_per_s: rate, service_ms: work.mean_ms(), service_cv2: cv2, arrival_cv2: 1.0 };
    let ms = super::server::nanoseconds(arrivals as f64 * 1.1 / rate * 1000.0) / 1_000_000;
    let admission = Admission { queue_max: 1_000_000, wait_max_ms: 100_000_000, ..Admission::default() };
    let config = Config { policy: Policy::LeastConnections, admission, ..Config::default() };
    let setup = Setup {
        config: with_limit(config, Limit::Fixed(slots)),
        servers: vec![Spec { slots, speed: 1.0, work }],
        load: Load::steady(rate, Clients { patience_ms: 1_000_000, ..Clients::PLAIN }),
        ms,
        picking: Picking::Gateway,
        rival: None,
        changes: Vec::new(),
    };
    let world = World::run(setup, seed);
    let report = world.report();
    let batch_ms = (ms * 10 / 11 / BATCHES / 100).max(1) * 100;
    let first = ms - BATCHES * batch_ms;
    let means: Vec<f64> =
        (0..BATCHES).map(|n| report.mean_ms(first + n * batch_ms, first + (n + 1) * batch_ms)).collect();
    let mean = means.iter().sum::<f64>() / BATCHES as f64;
    let variance = means.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (BATCHES - 1) as f64;
    Held {
        arrivals: report.sum(first, ms, |slot| slot.fresh),
        predicted_ms: demand.at(slots).expect("utilisation is below one").inside_ms,
        measured_ms: mean,
        half_ms: STUDENT * (variance / BATCHES as f64).sqrt(),
        meter: report.meter,
    }
}

const BATCHES: u64 = 30;
/// The 97.5th percentile of Student's distribution with 29 degrees of freedom.
const STUDENT: f64 = 2.045;
