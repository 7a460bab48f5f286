//! What happened in many runs, so that a run where nothing happened does not count.

use crate::disk::DiskCounts;
use std::collections::BTreeMap;

/// Counts by name, in sections.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub runs: u64,
    pub commands: BTreeMap<String, u64>,
    pub events: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts an event.
    pub fn event(&mut self, name: &str) {
        self.events_by(name, 1);
    }

    /// Counts `n` of an event.
    pub fn events_by(&mut self, name: &str, n: u64) {
        if n > 0 {
            *self.events.entry(name.to_owned()).or_default() += n;
        }
    }

    /// Counts a command.
    pub fn command(&mut self, name: &str) {
        *self.commands.entry(name.to_owned()).or_default() += 1;
    }

    /// Adds what the disk counted.
    pub fn disk(&mut self, counts: DiskCounts) {
        self.events_by("disk operations", counts.operations);
        self.events_by("disk syncs", counts.syncs);
        self.events_by("disk syncs failed", counts.syncs_failed);
        self.events_by("disk sectors lost", counts.sectors_lost);
        self.events_by("disk sectors torn", counts.sectors_torn);
        self.events_by("disk sectors kept unsynced", counts.sectors_kept);
        self.events_by("disk names lost", counts.names_lost);
        self.events_by("disk full", counts.full);
        self.events_by("disk bits turned", counts.bits_turned);
    }

    /// Adds another tally.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        for (name, n) in &other.commands {
            *self.commands.entry(name.clone()).or_default() += n;
        }
        for (name, n) in &other.events {
            *self.events.entry(name.clone()).or_default() += n;
        }
    }

    /// How often an event happened.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.events.get(name).copied().unwrap_or(0)
    }

    /// Which of these events never happened.
    #[must_use]
    pub fn missing(&self, required: &[&'static str]) -> Vec<&'static str> {
        required.iter().copied().filter(|name| self.of(name) == 0).collect()
    }
}

/// What every campaign of many runs of a node must have seen.
pub const OF_A_NODE: &[&str] = &[
    "crash: process killed",
    "crash: power cut",
    "crash: in a disk operation",
    "crash: a sync failed",
    "crash: during recovery",
    "clean stop",
    "clock: wall jumped back",
    "clock: wall jumped ahead",
    "disk full",
    "disk names lost",
    "disk sectors lost",
    "disk sectors torn",
    "disk syncs failed",
    "exec aborted",
    "getfill: FILL",
    "getfill: FILLING",
    "getfill: HIT",
    "getfill: NOTHING",
    "getfill: STALE",
    "once: answered again",
    "once: forgotten",
    "once: mismatch",
    "once: to be sent again",
    "refused by a fence",
    "refused for lack of space",
    "rot noticed",
    "rot survived",
    "snapshots",
    "snapshots loaded",
    "torn tails cut",
];

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let total: u64 = self.commands.values().sum();
        writeln!(f, "{} runs, {total} commands took effect", self.runs)?;
        for (name, n) in &self.commands {
            writeln!(f, "  {name:<28} {n:>12}")?;
        }
        writeln!(f, "events and faults")?;
        for (name, n) in &self.events {
            writeln!(f, "  {name:<28} {n:>12}")?;
        }
        Ok(())
    }
}
