//! The checker: piece by piece, easy ones first, and a counterexample of the first that has no order.

use crate::model::answers;
use crate::record::{History, OpId, Start};
use crate::search::{Depth, Longer, Outcome, Problem, Search};
use crate::shrink::{Failing, Stopped, window};
use crate::split::{Entry, pieces};
use crate::text::Text;
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
    let mut left: Vec<Piece<'_>> = pieces.iter().map(|entries| Piece::new(entries)).collect();
    // All pieces at one depth before any at the next: a hard one shall not eat the budget of the others.
    for depth in DEPTHS {
        let mut later = Vec::new();
        for mut piece in left {
            match piece.decide(*depth, history.start(), &mut go_on) {
                Decision::Explained => {}
                Decision::Unexplained(violation) => return Verdict::Violation(violation, counts),
                Decision::Later => later.push(piece),
            }
        }
        left = later;
    }
    let hard: Vec<Hard> = left.iter().map(Piece::hard).collect();
    if hard.is_empty() { Verdict::Linearizable(counts) } else { Verdict::Undecided(hard, counts) }
}

/// A budget of so many configurations.
pub fn configurations(mut count: u64) -> impl FnMut() -> bool {
    move || {
        count = count.saturating_sub(1);
        count > 0
    }
}

/// How deep the searches look, one after another. What happened has few unknown operations in a row, most often, and with
/// short chains a search soon leaves a wrong turn.
const DEPTHS: &[Depth] = &[
    Depth::Near { chain_max: 1 },
    Depth::Near { chain_max: 2 },
    Depth::Far { chain_max: 1 },
    Depth::Far { chain_max: 2 },
    Depth::Far { chain_max: 4 },
    Depth::Full,
];

/// A piece that is not decided yet.
struct Piece<'a> {
    entries: &'a [Entry<'a>],
    /// How many operations the longest order has.
    placed: usize,
    /// Whether longer chains could make a difference.
    longer: Longer,
    why: Why,
}

/// What became of a piece.
enum Decision {
    Explained,
    Unexplained(Box<Violation>),
    Later,
}

impl<'a> Piece<'a> {
    fn new(entries: &'a [Entry<'a>]) -> Self {
        Self { entries, placed: 0, longer: Longer::LeftOut, why: Why::Budget }
    }

    fn decide(&mut self, depth: Depth, start: Start, go_on: &mut dyn FnMut() -> bool) -> Decision {
        if self.longer == Longer::None && depth.only_lengthens() {
            return Decision::Later;
        }
        let problem = Problem::new(self.entries, start);
        let mut search = Search::new(&problem, depth);
        let outcome = try_long(&mut search, &problem, depth, go_on);
        self.placed = self.placed.max(search.furthest().placed);
        self.longer = search.longer();
        self.why = if outcome == Outcome::OutOfMemory { Why::Memory } else { Why::Budget };
        match outcome {
            Outcome::Explained => return Decision::Explained,
            Outcome::OutOfBudget => return Decision::Later,
            Outcome::Unexplained | Outcome::Paused | Outcome::OutOfMemory => {}
        }
        let proven = outcome == Outcome::Unexplained && search.longer() == Longer::None;
        let whole = || proven.then(|| Failing { entries: self.entries.to_vec(), start });
        match self.near(&problem, &search, go_on).or_else(whole) {
            Some(failing) => Decision::Unexplained(Box::new(counterexample(failing, go_on))),
            None => Decision::Later,
        }
    }

    /// A small proof from where the search is stuck, if there is one.
    fn near(
        &self,
        problem: &Problem<'_>,
        search: &Search<'_, '_>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Option<Failing<'a>> {
        let blocked = problem.ops.get(search.furthest().blocked)?;
        let mut ends = std::iter::once(blocked.return_ns).chain(search.needed_until());
        ends.find_map(|end_ns| window(self.entries, end_ns, go_on).ok().flatten())
    }

    fn hard(&self) -> Hard {
        let accesses = self.entries.iter().flat_map(|entry| entry.command.body().accesses());
        let keys: BTreeSet<&Text> = accesses.map(|access| &access.key).collect();
        let operations = self.entries.iter().filter(|entry| entry.return_ns.is_some()).count();
        let some = keys.iter().take(HARD_KEYS_MAX).map(|key| (*key).clone()).collect();
        Hard { keys: some, keys_count: keys.len(), operations, placed: self.placed, why: self.why }
    }
}

/// Runs a search until it is decided, or turns in circles.
fn try_long(
    search: &mut Search<'_, '_>,
    problem: &Problem<'_>,
    depth: Depth,
    go_on: &mut dyn FnMut() -> bool,
) -> Outcome {
    let operations = u64::try_from(problem.ops.len()).unwrap_or(u64::MAX);
    let effort = EFFORT.saturating_add(operations.saturating_mul(EFFORT_PER_OPERATION));
    loop {
        let before = search.furthest();
        let outcome = search.run(effort, go_on);
        let in_circles = search.furthest() == before && depth != Depth::Full;
        if outcome != Outcome::Paused || matches!(depth, Depth::Near { .. }) || in_circles {
            return outcome;
        }
    }
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

/// Configurations that a piece may try before it is put off, or asked whether it gets on.
const EFFORT: u64 = 50_000;
/// The same for each of its operations.
const EFFORT_PER_OPERATION: u64 = 8;
/// Configurations that are tried to make a counterexample small.
const EFFORT_TO_SHRINK: u64 = 5_000_000;
/// Configurations that are tried to find the longest order of a counterexample.
const EFFORT_AT_END: u64 = 1_000_000;
/// So many keys are named of a piece that was not decided.
const HARD_KEYS_MAX: usize = 5;
