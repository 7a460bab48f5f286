//! Which operations may have to stand before the one that returns first.
//!
//! All that stand before it in an order are candidates already, since the others are called after it has returned. Those
//! of them that no chain of shared keys ties to it may as well stand right behind it. So only the tied ones are tried: what
//! happens on some keys is not mixed with what happens on others in all possible ways, only because an operation on both
//! came by somewhere. Unknown operations on several keys tie as well, but are rarely needed: what only they tie comes
//! last.

use super::problem::Problem;
use crate::switch::{Switch, broken};
use std::collections::BTreeSet;

/// The candidates tied to `blocked`, those first that known operations tie, then by the time of their returns.
pub(crate) fn near(problem: &Problem<'_>, blocked: usize, candidates: Vec<usize>, classes: &[usize]) -> Vec<usize> {
    let by_return = |ops: &mut Vec<usize>| ops.sort_by_key(|op| problem.ops[*op].return_ns);
    let mut left = candidates;
    if problem.keys.len() == 1 {
        by_return(&mut left);
        return left;
    }
    let mut keys: BTreeSet<usize> = problem.ops[blocked].keys.iter().copied().collect();
    let mut found = tied(problem, &mut keys, &mut left);
    by_return(&mut found);
    if broken(Switch::Near) {
        return found;
    }
    let mut classes = classes.to_vec();
    loop {
        let before = keys.len();
        classes.retain(|class| {
            let near = !problem.classes[*class].keys.is_disjoint(&keys);
            keys.extend(problem.classes[*class].keys.iter().filter(|_| near));
            !near
        });
        if keys.len() == before {
            return found;
        }
        let mut more = tied(problem, &mut keys, &mut left);
        by_return(&mut more);
        found.append(&mut more);
    }
}

/// Takes out of `left` what shares a key with `keys`, or with what does; its keys join them.
fn tied(problem: &Problem<'_>, keys: &mut BTreeSet<usize>, left: &mut Vec<usize>) -> Vec<usize> {
    let mut found = Vec::new();
    loop {
        let before = found.len();
        left.retain(|op| {
            let near = problem.ops[*op].keys.iter().any(|key| keys.contains(key));
            if near {
                keys.extend(&problem.ops[*op].keys);
                found.push(*op);
            }
            !near
        });
        if found.len() == before {
            return found;
        }
    }
}
