//! Each part of the checker broken in turn: its tests would notice.
//!
//! A broken part shows itself in one of four ways: a verdict that brute force contradicts, a right store of which a violation
//! is told, a counterexample that lacks what it stands on, or an effort that is out of all proportion.

use super::differential::{SEEDS, crowd, small};
use super::{brute, history, verdict};
use crate::sample::Sample;
use crate::switch::{Switch, with};
use crate::{History, Verdict, check, configurations};

#[test]
fn a_whole_checker_passes_and_each_broken_one_is_noticed() {
    assert_eq!(with(None, || notice(500)), None);
    for switch in Switch::ALL {
        let noticed = with(Some(switch), || notice(SEEDS));

        assert!(noticed.is_some(), "nobody notices that {switch:?} is broken");
    }
}

/// What shows that this thread's checker is broken.
fn notice(seeds: u64) -> Option<String> {
    counterexample()
        .or_else(window)
        .or_else(effort)
        .or_else(crowds)
        .or_else(|| small_history(seeds))
        .or_else(right_store)
}

fn counterexample() -> Option<String> {
    let lines = "a 20 - SET x 2 => ?\n c 30 40 GET x => 2\n c 50 60 SET x 1 => OK\n c 70 80 GET x => 2";
    let history = history(lines);
    let Verdict::Violation(violation, _) = verdict(&history) else {
        return Some("a write used twice is no violation".into());
    };
    let count = violation.operations.len();
    (count != 4).then(|| format!("a counterexample of {count} operations instead of 4"))
}

/// A stale read, and an increment under way that came before all and has nothing to do with it.
fn window() -> Option<String> {
    let lines = "b 0 21 INCR x => 1\n a 1 2 SET x 7 => OK\n a 3 10 SET x 5 => OK\n c 20 22 GET x => 7";
    let Verdict::Violation(violation, _) = verdict(&history(lines)) else {
        return Some("a stale read is no violation".into());
    };
    let stands_on: Vec<usize> = violation.operations.iter().map(|evidence| evidence.op.0 + 1).collect();
    (!stands_on.contains(&3)).then(|| format!("a counterexample of {stands_on:?} without the write that was missed"))
}

/// Writes under way together, and a read of none of them: with a memo it takes their subsets, without one their orders.
fn effort() -> Option<String> {
    let sets: String = (0..7).map(|n| format!("c{n} {n} 50 SET x {n} => OK\n")).collect();
    let counts = verdict(&history(&format!("{sets} d 60 70 GET x => 9"))).counts().configurations;
    (counts > EFFORT_MAX).then(|| format!("{counts} configurations instead of at most {EFFORT_MAX}"))
}

fn small_history(seeds: u64) -> Option<String> {
    (0..seeds).find_map(|seed| {
        let history = small(seed);
        let wrong = match check(&history, configurations(20_000)) {
            Verdict::Linearizable(_) => !brute::is_linearizable(&history),
            Verdict::Violation(..) => brute::is_linearizable(&history),
            Verdict::Undecided(..) => true,
        };
        wrong.then(|| format!("a wrong verdict on the small history {seed}"))
    })
}

fn crowds() -> Option<String> {
    (0..4000).find_map(|seed| {
        let verdict = check(&crowd(seed), configurations(30_000));
        let right = matches!(verdict, Verdict::Linearizable(_));
        (!right).then(|| format!("{} told of the right crowd {seed}", verdict.name()))
    })
}

/// Many histories of a right store, some with a great part of unknown outcomes, some with many keys tied.
fn right_store() -> Option<String> {
    SAMPLES.iter().flat_map(|sample| (0..300).map(move |seed| (sample, seed))).find_map(|(sample, seed)| {
        let history: History = sample.history(seed);
        let verdict = check(&history, configurations(30_000));
        let right = matches!(verdict, Verdict::Linearizable(_));
        (!right)
            .then(|| format!("{} told of the right store {seed} of {} operations", verdict.name(), sample.operations))
    })
}

const SAMPLES: [Sample; 3] = [
    Sample { operations: 14, keys: 1, clients: 4, unknown_per_mille: 400, tied_per_mille: 0, flaw: None },
    Sample { operations: 40, keys: 3, clients: 6, unknown_per_mille: 250, tied_per_mille: 300, flaw: None },
    Sample { operations: 100, keys: 4, clients: 8, unknown_per_mille: 50, tied_per_mille: 50, flaw: None },
];
const EFFORT_MAX: u64 = 10_000;
