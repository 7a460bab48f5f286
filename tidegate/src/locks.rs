//! What the disk keeps for locks beside the log: how often the node has started, and, on a node that is alone, which tokens are given out.

use crate::shared::{Shared, lock};
use base::Index;
use base::limits::LOCK_BLOCK_COUNT;
use base::record::RecoveredRegisters;
use node::LocksFound;
use std::cmp::Ordering;
use std::error::Error;
use std::fmt::Display;
use storage::Disk;

const INCARNATION: &str = "incarnation";
const TOKENS: &str = "tokens";
const GENERATION: &str = "generation";

/// What the node begins with: what its log held, and this start, counted durably.
pub fn found<D: Disk>(disk: &D, generation: u16, registers: RecoveredRegisters) -> Result<LocksFound, Box<dyn Error>> {
    raise_generation(disk, generation)?;
    Ok(LocksFound { incarnation: next_incarnation(disk, registers.last)?, generation, registers })
}

/// Keeps the generation, which never goes back: tokens of a later one may have been given out.
fn raise_generation<D: Disk>(disk: &D, generation: u16) -> Result<(), Box<dyn Error>> {
    let known = read(disk, GENERATION)?.unwrap_or(0);
    match known.cmp(&u64::from(generation)) {
        Ordering::Greater => Err(format!(
            "the lock generation is {generation}, but this node has run with {known}: tokens given out since would be given out again; \
             set it to {known}, or to {} after restoring older data",
            known + 1
        )
        .into()),
        Ordering::Equal => Ok(()),
        Ordering::Less => Ok(storage::write_label(disk, GENERATION, &format!("{generation:x}"))?),
    }
}

/// Counts this start; the count is durable when this returns. `last` is the number of the last register record of the log.
fn next_incarnation<D: Disk>(disk: &D, last: Index) -> Result<u64, Box<dyn Error>> {
    let known = read(disk, INCARNATION)?;
    if known.is_none() && last > Index(0) {
        return Err(format!(
            "the file '{INCARNATION}' is missing, and the log holds locks: what this node proposed in former lives could be taken for \
             new; restore the file, or replace the node"
        )
        .into());
    }
    let next = known.unwrap_or(0) + 1;
    let text = format!("{next:016x}");
    // A node starts on a full disk too.
    match known {
        None => storage::write_label(disk, INCARNATION, &text)?,
        Some(_) => storage::rewrite_label(disk, INCARNATION, &text)?,
    }
    Ok(next)
}

/// Takes a block of tokens for a node that is alone: its first one.
pub fn lease_tokens<D: Disk>(disk: &D) -> Result<u64, Box<dyn Error>> {
    let first = read(disk, TOKENS)?.unwrap_or(1);
    storage::write_label(disk, TOKENS, &format!("{:x}", first + LOCK_BLOCK_COUNT))?;
    Ok(first)
}

/// A number that stands in a label; nothing if the node is new to it.
fn read<D: Disk>(disk: &D, name: &str) -> Result<Option<u64>, Box<dyn Error>> {
    if !disk.list()?.iter().any(|one| one == name) {
        return Ok(None);
    }
    let text = storage::read_label(disk, name)?;
    Ok(text.map(|text| u64::from_str_radix(&text, 16)).transpose()?)
}

/// How much longer than usual the log may get for what it holds of locks: they are said again whenever it is cut.
pub fn log_bytes(shared: &Shared) -> u64 {
    2 * lock(&shared.locks).table_bytes
}

/// What INFO and /metrics tell of locks: name, value, help; gauges first.
pub fn told(shared: &Shared) -> (Vec<Told>, Vec<Told>) {
    let counts = *lock(&shared.locks);
    let gauges = vec![
        Told("tidegate_locks_epoch", counts.epoch, "The epoch of the voters on locks; 0 until it is known here."),
        Told("tidegate_locks_votes", counts.votes, "One if this node votes on locks."),
        Told("tidegate_locks_registers", counts.registers, "Lock names that this node's voter keeps."),
        Told("tidegate_locks_homes", counts.homes, "Lock names that are at home here."),
        Told(
            "tidegate_locks_holders",
            counts.holders,
            "Grants that this node's voter knows, those among them that are over and that nobody has taken since.",
        ),
        Told("tidegate_locks_waiting", counts.waiting, "Calls about locks of this node's clients that are unanswered."),
        Told("tidegate_locks_table_bytes", counts.table_bytes, "All registers, when they were last written again."),
    ];
    let counters = vec![
        Told("tidegate_locks_grants_total", counts.grants, "Calls that were granted a lock."),
        Told("tidegate_locks_fenced_total", counts.fenced, "Grants whose fences were installed before they were told."),
        Told("tidegate_locks_refused_total", counts.refused, "Calls that were refused a lock, for others hold it."),
        Told("tidegate_locks_unknown_total", counts.unknown, "Calls whose effect could not be told."),
        Told(
            "tidegate_locks_no_quorum_total",
            counts.no_quorum,
            "Calls without effect, for too few voters could be reached.",
        ),
        Told(
            "tidegate_locks_steals_total",
            counts.steals,
            "Holders whose time was over and who lost their lock to another.",
        ),
        Told(
            "tidegate_locks_hedges_total",
            counts.hedges,
            "Calls that went to a second home, for the first was silent or lost.",
        ),
        Told("tidegate_locks_ballots_lost_total", counts.ballots_lost, "Proposals that met a higher ballot."),
        Told(
            "tidegate_locks_forgotten_total",
            counts.forgotten,
            "Lock names that this node's voter has forgotten since nobody used them.",
        ),
        Told(
            "tidegate_locks_rescans_total",
            counts.rescans,
            "Epochs that this node has entered by reading the former one from its voters.",
        ),
        Told("tidegate_locks_given_back_total", counts.given_back, "Grants that nobody waited for any more."),
        Told(
            "tidegate_locks_changes_one_round_total",
            counts.one_round,
            "Changes of locks that took one round among the voters.",
        ),
        Told(
            "tidegate_locks_changes_two_rounds_total",
            counts.two_rounds,
            "Changes of locks that took two rounds among the voters.",
        ),
        Told("tidegate_locks_read_only_total", counts.read_only, "Refusals and LOCK.INFOs that cost no write."),
        Told("tidegate_locks_records_total", counts.records, "Records of registers that went to this node's log."),
    ];
    (gauges, counters)
}

/// A number, its name, and what it means.
pub struct Told(pub &'static str, pub u64, pub &'static str);

/// Why no tokens could be leased, for the log.
pub fn tell_unleased(error: &dyn Display) {
    crate::log::warn(
        "keeper",
        "no block of locks' tokens could be taken: they rise name by name meanwhile",
        &[("error", &error)],
    );
}
