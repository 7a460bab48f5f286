//! What a run was like, in slots of 100 ms, so that parts of it can be looked at.

use gateway::EndpointId;
use std::collections::BTreeMap;

/// What happened in 100 ms.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    /// Tries that clients made, and requests that were new.
    pub offered: u64,
    pub fresh: u64,
    /// Tries that were answered while somebody waited for it.
    pub good: u64,
    pub shed: u64,
    /// Clients that gave up a try.
    pub given_up: u64,
    /// Requests that nobody tries any more.
    pub lost: u64,
    /// Answers to nobody: work for nothing.
    pub wasted: u64,
    pub errors: u64,
    /// From a try's arrival to its answer, for those that were answered.
    pub latencies_us: Vec<u32>,
    /// The limit at its end.
    pub limit: u32,
}

/// A run.
#[derive(Debug, Default)]
pub struct Report {
    pub slots: Vec<Slot>,
    pub served: BTreeMap<EndpointId, u64>,
    /// Tries that came when they were told to, and those of them that were served.
    pub returned: u64,
    pub returned_served: u64,
    /// What the gateway's own meter said last.
    pub meter: gateway::Meter,
    /// Sums over all answered tries, in nanoseconds: from arrival to answer, and its square.
    pub answered: u64,
    pub gateway_retries: u64,
}

impl Report {
    pub(super) fn slot(&mut self, now_ns: u64) -> &mut Slot {
        let at = usize::try_from(now_ns / SLOT_NS).expect("a run has few slots");
        if self.slots.len() <= at {
            self.slots.resize(at + 1, Slot::default());
        }
        &mut self.slots[at]
    }

    /// The slots of a span of milliseconds.
    #[must_use]
    pub fn span(&self, from_ms: u64, to_ms: u64) -> &[Slot] {
        let at = |ms: u64| usize::try_from(ms / 100).expect("a run has few slots").min(self.slots.len());
        &self.slots[at(from_ms)..at(to_ms)]
    }

    /// Answers per second in a span.
    #[must_use]
    pub fn goodput(&self, from_ms: u64, to_ms: u64) -> f64 {
        self.sum(from_ms, to_ms, |slot| slot.good) as f64 * 1000.0 / (to_ms - from_ms) as f64
    }

    #[must_use]
    pub fn sum(&self, from_ms: u64, to_ms: u64, of: fn(&Slot) -> u64) -> u64 {
        self.span(from_ms, to_ms).iter().map(of).sum()
    }

    /// The latency that this part of the answers in a span doesn't exceed, in milliseconds.
    #[must_use]
    pub fn latency_ms(&self, from_ms: u64, to_ms: u64, part: f64) -> f64 {
        let mut all: Vec<u32> = self.span(from_ms, to_ms).iter().flat_map(|slot| slot.latencies_us.clone()).collect();
        all.sort_unstable();
        if all.is_empty() {
            return 0.0;
        }
        let place = (part * (all.len() - 1) as f64).round();
        let at = (0..all.len()).rev().find(|at| *at as f64 <= place).unwrap_or(0);
        f64::from(all[at]) / 1000.0
    }

    /// The mean latency in a span, in milliseconds.
    #[must_use]
    pub fn mean_ms(&self, from_ms: u64, to_ms: u64) -> f64 {
        let slots = self.span(from_ms, to_ms);
        let n: usize = slots.iter().map(|slot| slot.latencies_us.len()).sum();
        let sum: f64 = slots.iter().flat_map(|slot| &slot.latencies_us).map(|us| f64::from(*us)).sum();
        sum / 1000.0 / n.max(1) as f64
    }
}

const SLOT_NS: u64 = 100_000_000;
