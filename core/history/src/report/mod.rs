//! A verdict for people, and as data.

mod json;
mod timeline;

pub use json::json;

use crate::record::{History, OpId, Operation, Start};
use crate::text::shown;
use crate::verdict::{Counts, Evidence, Extent, Hard, Outcome, Verdict, Violation, Why};
use std::fmt::Write;
use timeline::timeline;

/// The verdict in words, with the counterexample as a timeline.
#[must_use]
pub fn text(history: &History, verdict: &Verdict) -> String {
    let counts = counts(verdict.counts());
    match verdict {
        Verdict::Linearizable(_) => format!("linearizable: {counts}\n"),
        Verdict::Violation(violation, _) => format!("violation: {counts}\n\n{}", explain(history, violation)),
        Verdict::Undecided(hard, _) => {
            let pieces: String = hard.iter().map(undecided).collect();
            format!("undecided: {counts}\n{pieces}")
        }
    }
}

fn counts(counts: &Counts) -> String {
    format!(
        "{} in {}, {} of unknown outcome, {} refused; {} tried",
        plural(counts.operations, "operation"),
        plural(counts.pieces, "piece"),
        thousands(counts.unknown),
        thousands(counts.refused),
        plural(counts.configurations, "configuration")
    )
}

fn undecided(hard: &Hard) -> String {
    let keys: Vec<String> = hard.keys.iter().map(|key| shown(key)).collect();
    let more = if hard.keys_count > keys.len() {
        format!(" and {} more", hard.keys_count - keys.len())
    } else {
        String::new()
    };
    let why = match hard.why {
        Why::Budget => "the budget ended; give more by --budget",
        Why::Memory => "it took too much memory; check a shorter history, or fewer clients on a key",
    };
    format!("  {}{more}: the longest order has {} of {}: {why}\n", keys.join(", "), hard.placed, hard.operations)
}

fn explain(history: &History, violation: &Violation) -> String {
    let name = |op: OpId| format!("#{}", history.operations()[op.0].line);
    let mut out = String::new();
    let shown: Vec<Evidence> = around_the_end(&violation.operations);
    let left_out = violation.operations.len() - shown.len();
    line(
        &mut out,
        match violation.start {
            Start::Empty => "These operations have no order that explains their results.".to_owned(),
            Start::Unknown => {
                "Whatever the keys held before, these operations have no order that explains their results.".to_owned()
            }
        },
    );
    if left_out > 0 {
        line(
            &mut out,
            format!("The last {} of {} are shown; --json has all.", shown.len(), violation.operations.len()),
        );
    }
    out += "\n";
    out += &timeline(history, &shown);
    out += "\n";
    for evidence in &shown {
        line(&mut out, format!("  {}", one(&history.operations()[evidence.op.0], evidence.outcome)));
    }
    line(&mut out, format!("\n{} can't be placed: {}.", name(violation.stuck.op), violation.stuck));
    line(&mut out, format!("That is behind the longest order there is: {}.", order(&violation.order, name)));
    if violation.extent == Extent::Stopped {
        line(&mut out, "The budget ended before the counterexample was as small as it can be made.".to_owned());
    }
    out
}

fn order(order: &[OpId], name: impl Fn(OpId) -> String) -> String {
    let last = &order[order.len().saturating_sub(SHOWN_OPERATIONS_MAX)..];
    let names: Vec<String> = last.iter().map(|op| name(*op)).collect();
    match order.len() - last.len() {
        0 if names.is_empty() => "none of them".to_owned(),
        0 => names.join(" "),
        more => format!("{more} others, {}", names.join(" ")),
    }
}

/// The operations that were called last, if there are too many.
fn around_the_end(operations: &[Evidence]) -> Vec<Evidence> {
    operations[operations.len().saturating_sub(SHOWN_OPERATIONS_MAX)..].to_vec()
}

fn one(operation: &Operation, outcome: Outcome) -> String {
    let Operation { client, command, invoke_ns, returned, line } = operation;
    let (result, until) = match returned {
        Some(returned) => (returned.reply.to_string(), format!("{} ns", thousands(returned.at_ns))),
        None => ("unknown".to_owned(), "never returned".to_owned()),
    };
    let note = match (outcome, returned) {
        (Outcome::Open, Some(_)) => ", not required: it was under way at an end of this part",
        _ => "",
    };
    format!("#{line} client {client}: {command} -> {result}, {} ns to {until}{note}", thousands(*invoke_ns))
}

fn line(out: &mut String, text: String) {
    writeln!(out, "{text}").expect("a string takes all");
}

fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", thousands(count), if count == 1 { "" } else { "s" })
}

/// A number with its thousands set apart.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A page of operations; more than that tells nobody anything.
const SHOWN_OPERATIONS_MAX: usize = 40;
