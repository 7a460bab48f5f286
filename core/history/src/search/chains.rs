//! Unknown outcomes: when to suppose that one took effect.
//!
//! k operations of unknown outcome may have taken effect in 2^k ways, each at any later time. Yet few ways differ:
//!
//! - **Late.** Take an order that explains the history, and in it an unknown operation `u`. It may be later, as it has no
//!   return. So move it behind all operations that touch none of its keys, until one comes that does, or the end. At the
//!   end nobody sees it: drop it. So it is enough to try chains of unknown operations right before a known
//!   operation that they are tied to by keys.
//! - **Seen.** If what follows `u` replaces all that `u` has touched, and unseen, drop `u`. If `u` doesn't change the state,
//!   drop it.
//! - **Equal.** Of equal commands that have been called any may be used: the earliest will do.
//! - **Least.** Chains with the same end differ in what they have used up; one that used more than another is not
//!   needed ([`super::memo`]).
//!
//! A chain is tried only where the known operations alone are stuck, shorter chains first. So a history in which nobody
//! sees the unknown operations costs as much as one without them.

use super::aims::Aims;
use super::memo::{Used, add};
use super::problem::Problem;
use crate::model::step;
use crate::state::State;
use crate::switch::{Switch, broken};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The chains of one length before one operation.
#[derive(Debug)]
pub(crate) struct Chains {
    pub(crate) op: usize,
    /// The classes tied to the operation, with the number of each that have been called.
    classes: Vec<(usize, u32)>,
    aims: Aims,
    ends: Vec<End>,
    seen: BTreeMap<State, SmallVec<[Used; 1]>>,
}

/// Where a chain leads to.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) state: State,
    pub(crate) used: Used,
    /// The classes used, in order.
    pub(crate) chain: Vec<usize>,
    touched: BTreeSet<usize>,
}

impl Chains {
    /// The empty chain before `op`, when nothing that is left returns before `now_ns`.
    pub(crate) fn new(problem: &Problem<'_>, op: usize, state: &State, used: &Used, now_ns: u64) -> Self {
        let called = problem.classes.iter().take_while(|class| class.called_by(now_ns) > 0).enumerate();
        let counted = called.map(|(at, class)| (at, u32::try_from(class.called_by(now_ns)).unwrap_or(u32::MAX)));
        let left = counted.filter(|(at, count)| used[*at] < *count);
        let classes = tied(problem, op, left.collect());
        let end = End { state: state.clone(), used: used.clone(), chain: Vec::new(), touched: BTreeSet::new() };
        let seen = BTreeMap::from([(state.clone(), SmallVec::from([used.clone()]))]);
        let aims = Aims::new(problem, &problem.ops[op], classes.iter().map(|(class, _)| *class));
        Self { op, aims, ends: if classes.is_empty() { Vec::new() } else { vec![end] }, classes, seen }
    }

    /// Makes the chains longer by one; those whose end is as good as a former one are left out.
    pub(crate) fn lengthen(&mut self, problem: &Problem<'_>) -> &[End] {
        let mut longer = Vec::new();
        for end in std::mem::take(&mut self.ends) {
            if broken(Switch::ChainsOfOne) && !end.chain.is_empty() {
                continue;
            }
            for &(class, count) in &self.classes {
                if end.used[class] == count || hides_last(problem, class, &end.chain) {
                    continue;
                }
                let Some(state) = step(&problem.classes[class].body, &end.state, problem.classes[class].reply) else {
                    continue;
                };
                if state == end.state {
                    continue;
                }
                let touched = &end.touched | &problem.classes[class].keys;
                if !self.aims.are_in_reach(&state, &touched) {
                    continue;
                }
                let mut used: Vec<u32> = end.used.to_vec();
                used[class] += 1;
                let used: Used = Rc::from(used);
                if add(self.seen.entry(state.clone()).or_default(), &used) {
                    let chain = end.chain.iter().copied().chain([class]).collect();
                    longer.push(End { state, used, chain, touched });
                }
            }
        }
        self.ends = longer;
        &self.ends
    }

    /// How long they are.
    pub(crate) fn length(&self) -> usize {
        self.ends.first().map_or(0, |end| end.chain.len())
    }

    /// True if there is no longer chain.
    pub(crate) fn is_done(&self) -> bool {
        self.ends.is_empty()
    }

    /// About how much memory this takes.
    pub(crate) fn bytes(&self) -> usize {
        let each = size_of::<End>() + size_of::<State>() + 8 * self.classes.len();
        let values = self.ends.first().map_or(0, |end| end.state.bytes());
        self.ends.len() * (each + 2 * values)
    }
}

/// True if nobody could see the last of the chain after `class`.
fn hides_last(problem: &Problem<'_>, class: usize, chain: &[usize]) -> bool {
    let class = &problem.classes[class];
    chain.last().is_some_and(|last| class.replaces && problem.classes[*last].keys.is_subset(&class.keys))
}

/// Those classes that share a key with the operation, or with one that does, and so on.
fn tied(problem: &Problem<'_>, op: usize, mut left: Vec<(usize, u32)>) -> Vec<(usize, u32)> {
    if problem.keys.len() == 1 {
        return left;
    }
    let mut keys: BTreeSet<usize> = problem.ops[op].body.accesses().map(|access| access.key).collect();
    let mut tied = Vec::new();
    loop {
        let (near, far): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(class, _)| !problem.classes[*class].keys.is_disjoint(&keys));
        if near.is_empty() {
            return tied;
        }
        near.iter().for_each(|(class, _)| keys.extend(&problem.classes[*class].keys));
        tied.extend(near);
        left = far;
    }
}
