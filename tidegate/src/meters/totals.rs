//! The lanes' counts added up, for whoever asks: /metrics and INFO show the same numbers.

use super::Sums;
use crate::shared::{Shared, lock};
use data::{Command, command};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Counts of the whole node at one time.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Commands that were ever asked for, by their names.
    pub commands: BTreeMap<&'static str, CommandTotals>,
    pub unknown: u64,
    pub accepted: u64,
    pub refused: u64,
    pub evicted: u64,
}

/// Counts of one command.
#[derive(Clone, Debug, Default)]
pub struct CommandTotals {
    pub failed: u64,
    pub rejected: u64,
    pub latency_ns: Sums,
}

impl Totals {
    pub fn of(shared: &Shared) -> Self {
        let lanes = &shared.meters.lanes;
        Self {
            commands: command::all().filter_map(|row| Some((row.name, CommandTotals::of(shared, row)?))).collect(),
            unknown: lanes.iter().map(|lane| lane.unknown.get()).sum(),
            accepted: shared.accepted.load(Ordering::Relaxed),
            refused: shared.refused.load(Ordering::Relaxed),
            evicted: shared.evicted(),
        }
    }

    /// What was counted since CONFIG RESETSTAT.
    pub fn since_reset(shared: &Shared) -> Self {
        let (mut now, before) = (Self::of(shared), lock(&shared.reset_at).clone());
        for (name, earlier) in &before.commands {
            let Some(totals) = now.commands.get_mut(name) else { continue };
            totals.failed -= earlier.failed;
            totals.rejected -= earlier.rejected;
            totals.latency_ns = totals.latency_ns.since(&earlier.latency_ns);
        }
        now.commands.retain(|_, totals| totals.calls() + totals.rejected > 0);
        now.unknown -= before.unknown;
        now.accepted -= before.accepted;
        now.refused -= before.refused;
        now.evicted -= before.evicted;
        now
    }

    /// Commands that ran.
    pub fn calls(&self) -> u64 {
        self.commands.values().map(CommandTotals::calls).sum()
    }

    /// Replies that were errors.
    pub fn errors(&self) -> u64 {
        self.unknown + self.commands.values().map(|one| one.failed + one.rejected).sum::<u64>()
    }
}

impl CommandTotals {
    fn of(shared: &Shared, row: &Command) -> Option<Self> {
        let mut totals: Option<Self> = None;
        for meter in shared.meters.lanes.iter().filter_map(|lane| lane.seen(row)) {
            let totals = totals.get_or_insert_default();
            totals.failed += meter.failed.get();
            totals.rejected += meter.rejected.get();
            totals.latency_ns.add(&meter.latency_ns);
        }
        totals
    }

    /// How often it ran.
    pub fn calls(&self) -> u64 {
        self.latency_ns.count()
    }
}
