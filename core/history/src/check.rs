//! The checker: piece by piece, easy ones first, and a counterexample of the first that has no order.

use crate::model::answers;
use crate::record::{History, OpId, Start};
use crate::search::{Longer, Outcome, Problem, Search};
use crate::shrink::{Failing, Stopped, window};
use crate::split::{Entry, pieces};
use crate::verdict::{self, Counts, Evidence, Extent, Hard, Stuck, Verdict, Violation, Why};
use std::collections::BTreeSet;

/// Says whether the operations of a history have an order in which each took effect at one moment between its call and its
/// return, and was answered as the model says.
///
/// `go_on` is asked before each configuration is tried; when it says no, what isn't decided is undecided.
pub fn check(history: &History, mut go_on: impl FnMut() -> bool) -> Verdict {
    let pieces = pieces(history);
    let mut counts = Counts::of(history);
    counts.pieces = u64::try_from(pieces.len()).expect("a history in memory has less than 2^64 pieces");
    let mut go_on = || {
        counts.configurations += 1;
        go_on()
    };
    let mut left: Vec<&[Entry<'_>]> = pieces.iter().map(Vec::as_slice).collect();
    let mut hard = Vec::new();
    for patience in [Patience::Short, Patience::Endless] {
        let mut later = Vec::new();
        for piece in left {
            match decide(piece, history.start(), patience, &mut go_on) {
                Decision::Explained => {}
                Decision::Unexplained(violation) => return Verdict::Violation(violation, counts),
                Decision::Later => later.push(piece),
                Decision::Hard(piece) => hard.push(piece),
            }
        }
        left = later;
    }
    if hard.is_empty() { Verdict::Linearizable(counts) } else { Verdict::Undecided(hard, counts) }
}

/// A budget of so many configurations.
pub fn configurations(mut count: u64) -> impl FnMut() -> bool {
    move || {
        count = count.saturating_sub(1);
        count > 0
    }
}

/// Whether a hard piece is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// It is: one piece shall not eat the budget of all.
    Short,
    /// It is not.
    Endless,
}

impl Patience {
    /// How long the chains of unknown operations may be in each search. What happened has few in a row, most often, and
    /// with short chains a search soon leaves a wrong turn.
    fn chains(self) -> &'static [usize] {
        match self {
            Self::Short => &[1, 2],
            Self::Endless => &[1, 2, 4, usize::MAX],
        }
    }
}

/// What became of a piece.
enum Decision {
    Explained,
    Unexplained(Box<Violation>),
    Later,
    Hard(Hard),
}

fn decide(piece: &[Entry<'_>], start: Start, patience: Patience, go_on: &mut dyn FnMut() -> bool) -> Decision {
    let problem = Problem::new(piece, start);
    let mut placed = 0;
    let chains = if problem.classes.is_empty() { &[usize::MAX] } else { patience.chains() };
    for chain_max in chains {
        let mut search = Search::new(&problem, *chain_max);
        let outcome = try_long(&mut search, &problem, *chain_max, patience, go_on);
        placed = placed.max(search.furthest().placed);
        let end_ns = problem.ops.get(search.furthest().blocked).map_or(0, |op| op.return_ns);
        match outcome {
            Outcome::Explained => return Decision::Explained,
            Outcome::OutOfBudget => return Decision::Hard(hard(&problem, placed, Why::Budget)),
            // Perhaps what comes right before tells why it is stuck.
            outcome => {
                let near = window(piece, end_ns, go_on).ok().flatten();
                let proven = outcome == Outcome::Unexplained && search.longer() == Longer::None;
                let whole = || proven.then(|| Failing { entries: piece.to_vec(), start }.between(0, end_ns));
                if let Some(failing) = near.or_else(whole) {
                    return Decision::Unexplained(Box::new(counterexample(failing, go_on)));
                }
                if outcome == Outcome::OutOfMemory {
                    return Decision::Hard(hard(&problem, placed, Why::Memory));
                }
            }
        }
    }
    Decision::Later
}

/// Runs a search until it is decided, or turns in circles.
fn try_long(
    search: &mut Search<'_, '_>,
    problem: &Problem<'_>,
    chain_max: usize,
    patience: Patience,
    go_on: &mut dyn FnMut() -> bool,
) -> Outcome {
    let effort = EFFORT + EFFORT_PER_OPERATION * problem.ops.len() as u64;
    loop {
        let before = search.furthest();
        let outcome = search.run(effort, go_on);
        let in_circles = search.furthest() == before && chain_max < usize::MAX;
        if outcome != Outcome::Paused || patience == Patience::Short || in_circles {
            return outcome;
        }
    }
}

fn hard(problem: &Problem<'_>, placed: usize, why: Why) -> Hard {
    let keys = problem.keys.iter().take(HARD_KEYS_MAX).map(|key| (*key).clone()).collect();
    Hard { keys, keys_count: problem.keys.len(), operations: problem.ops.len(), placed, why }
}

/// Shrinks entries that have no order, and says where the longest order ends.
fn counterexample(mut failing: Failing<'_>, go_on: &mut dyn FnMut() -> bool) -> Violation {
    let mut left = EFFORT_TO_SHRINK;
    let mut both = || {
        left -= 1;
        left > 0 && go_on()
    };
    let extent = match failing.shrink(&mut both) {
        Ok(()) => Extent::Minimal,
        Err(Stopped) => Extent::Stopped,
    };
    let Failing { mut entries, start } = failing;
    entries.sort_by_key(|entry| (entry.invoke_ns, entry.id));
    let problem = Problem::new(&entries, start);
    let mut search = Search::that_keeps_the_furthest(&problem);
    // Even a search that is cut short here has been somewhere: that it fails is known already.
    search.run(EFFORT_AT_END, &mut || true);
    let (order, state) = search.furthest_order();
    let stuck = &problem.ops[search.furthest().blocked];
    let keys: BTreeSet<usize> = stuck.body.accesses().map(|access| access.key).collect();
    let held = keys.into_iter().map(|key| (problem.keys[key].clone(), state.get(key).clone())).collect();
    let stuck = Stuck { op: stuck.id, held, answers: answers(&stuck.body, &state) };
    Violation { operations: entries.iter().map(evidence).collect(), start, order, stuck, extent }
}

fn evidence(entry: &Entry<'_>) -> Evidence {
    let outcome = if entry.return_ns.is_some() { verdict::Outcome::Known } else { verdict::Outcome::Open };
    Evidence { op: OpId(entry.id.0), outcome }
}

/// Configurations that a piece may try before it is looked at more closely, or put off.
const EFFORT: u64 = 50_000;
/// The same for each of its operations.
const EFFORT_PER_OPERATION: u64 = 8;
/// Configurations that are tried to make a counterexample small.
const EFFORT_TO_SHRINK: u64 = 5_000_000;
/// Configurations that are tried to find the longest order of a counterexample.
const EFFORT_AT_END: u64 = 1_000_000;
/// So many keys are named of a piece that was not decided.
const HARD_KEYS_MAX: usize = 5;
