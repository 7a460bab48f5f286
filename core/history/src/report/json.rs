//! A verdict as data.

use crate::lines;
use crate::record::{History, OpId, Start};
use crate::verdict::{Counts, Evidence, Extent, Hard, Outcome, Verdict, Violation, Why};
use serde_json::{Value, json as object};

/// The verdict as one JSON object; FORMAT.md tells its fields.
#[must_use]
pub fn json(history: &History, verdict: &Verdict) -> Value {
    let Counts { operations, unknown, refused, pieces, configurations } = verdict.counts();
    let mut document = object!({
        "verdict": verdict.name(),
        "operations": operations,
        "unknown": unknown,
        "refused": refused,
        "pieces": pieces,
        "configurations": configurations,
    });
    match verdict {
        Verdict::Linearizable(_) => {}
        Verdict::Violation(violation, _) => document["violation"] = self::violation(history, violation),
        Verdict::Undecided(hard, _) => document["undecided"] = hard.iter().map(undecided).collect(),
    }
    document
}

fn violation(history: &History, violation: &Violation) -> Value {
    let line = |op: &OpId| history.operations()[op.0].line;
    let start = match violation.start {
        Start::Empty => "empty",
        Start::Unknown => "unknown",
    };
    object!({
        "start": start,
        "minimal": violation.extent == Extent::Minimal,
        "operations": violation.operations.iter().map(|evidence| operation(history, evidence)).collect::<Value>(),
        "order": violation.order.iter().map(line).collect::<Vec<u64>>(),
        "stuck": line(&violation.stuck.op),
        "why": violation.stuck.to_string(),
    })
}

/// The operation as in the history, with its line, and whether the proof requires it.
fn operation(history: &History, evidence: &Evidence) -> Value {
    let operation = &history.operations()[evidence.op.0];
    let mut value = lines::operation(operation);
    value["line"] = operation.line.into();
    value["required"] = (evidence.outcome == Outcome::Known).into();
    value
}

fn undecided(hard: &Hard) -> Value {
    object!({
        "keys": hard.keys.iter().map(|key| lines::text(key)).collect::<Value>(),
        "keys_count": hard.keys_count,
        "operations": hard.operations,
        "placed": hard.placed,
        "why": match hard.why {
            Why::Budget => "budget",
            Why::Memory => "memory",
        },
    })
}
