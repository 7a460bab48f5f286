//! What must not be overwritten: a value that somebody still has to read and nobody can write again.
//!
//! Among many writers of one key, most wrong turns are a write placed too early: the reads of the value before come
//! later, fail one by one, and the search tries the writes in all orders before it gets back to where it went wrong.
//! Replies of later operations tell at once. For each value that some reply needs, this counts the operations that are left to
//! need it and those that are left to make it.
//!
//! A search with foresight is stuck earlier in time than the violation shows. So it is told apart from one without, where
//! the place matters.

use super::aims::{Aim, aims};
use super::memo::Placed;
use super::problem::Problem;
use crate::body::Action;
use crate::model::written;
use crate::state::{State, Val};
use crate::switch::{Switch, broken};
use std::collections::BTreeMap;

#[derive(Debug)]
pub(crate) struct Foresight {
    /// For each key, the values that replies need.
    values: Vec<BTreeMap<Val, usize>>,
    /// For each value, the operations that need it.
    needed_by: Vec<Vec<usize>>,
    ops: Vec<Share>,
    classes: Vec<Share>,
    /// For each value, the operations left that need it, and those left that may make it.
    needs_left: Vec<usize>,
    makes_left: Vec<usize>,
    /// For each key, the operations left that may make any value.
    wild_left: Vec<usize>,
}

/// An operation's part in the counts.
#[derive(Clone, Debug, Default)]
struct Share {
    needs: Vec<usize>,
    makes: Vec<usize>,
    wild: Vec<usize>,
}

impl Foresight {
    pub(crate) fn new(problem: &Problem<'_>) -> Self {
        let mut values: Vec<BTreeMap<Val, usize>> = vec![BTreeMap::new(); problem.keys.len()];
        let mut needed_by: Vec<Vec<usize>> = Vec::new();
        let mut ops = vec![Share::default(); problem.ops.len()];
        for (at, op) in problem.ops.iter().enumerate() {
            for (key, aim) in aims(op) {
                let Aim::Value(value) = aim else { continue };
                let value = *values[key].entry(value).or_insert_with(|| {
                    needed_by.push(Vec::new());
                    needed_by.len() - 1
                });
                needed_by[value].push(at);
                ops[at].needs.push(value);
            }
        }
        let anything = State::all(problem.keys.len(), &Val::Anything);
        for (share, op) in ops.iter_mut().zip(&problem.ops) {
            share.find_makes(written(&op.body, Some(op.reply), &anything), &values);
        }
        let mut classes = vec![Share::default(); problem.classes.len()];
        for (share, class) in classes.iter_mut().zip(&problem.classes) {
            share.find_makes(written(&class.body, class.reply, &anything), &values);
        }
        let (needs_left, makes_left) = (vec![0; needed_by.len()], vec![0; needed_by.len()]);
        let wild_left = vec![0; values.len()];
        let mut all = Self { values, needed_by, ops, classes, needs_left, makes_left, wild_left };
        all.count(problem);
        all
    }

    fn count(&mut self, problem: &Problem<'_>) {
        let classes = problem.classes.iter().zip(&self.classes).map(|(class, share)| (share, class.calls.len()));
        for (share, count) in self.ops.iter().map(|share| (share, 1)).chain(classes) {
            share.needs.iter().for_each(|value| self.needs_left[*value] += count);
            share.makes.iter().for_each(|value| self.makes_left[*value] += count);
            share.wild.iter().for_each(|key| self.wild_left[*key] += count);
        }
    }

    /// An operation is placed behind a chain.
    pub(crate) fn place(&mut self, op: usize, chain: &[usize]) {
        for share in chain.iter().map(|class| &self.classes[*class]).chain([&self.ops[op]]) {
            share.needs.iter().for_each(|value| self.needs_left[*value] -= 1);
            share.makes.iter().for_each(|value| self.makes_left[*value] -= 1);
            share.wild.iter().for_each(|key| self.wild_left[*key] -= 1);
        }
    }

    /// It is taken back.
    pub(crate) fn take_back(&mut self, op: usize, chain: &[usize]) {
        for share in chain.iter().map(|class| &self.classes[*class]).chain([&self.ops[op]]) {
            share.needs.iter().for_each(|value| self.needs_left[*value] += 1);
            share.makes.iter().for_each(|value| self.makes_left[*value] += 1);
            share.wild.iter().for_each(|key| self.wild_left[*key] += 1);
        }
    }

    /// A value of these keys that is needed, and was lost for ever between two states.
    pub(crate) fn lost(&self, keys: impl Iterator<Item = usize>, before: &State, after: &State) -> Option<usize> {
        let mut changed = keys.filter(|key| before.get(*key) != after.get(*key));
        changed.find_map(|key| {
            let value = *self.values[key].get(before.get(key))?;
            let comes_back = self.makes_left[value] + self.wild_left[key] > 0 && !broken(Switch::Foresight);
            (self.needs_left[value] > 0 && !comes_back).then_some(value)
        })
    }

    /// When the first of the operations returns that still need a value.
    pub(crate) fn needed_until(&self, value: usize, problem: &Problem<'_>, placed: &Placed) -> Option<u64> {
        let left = self.needed_by[value].iter().filter(|op| !placed.contains(**op));
        left.map(|op| problem.ops[*op].return_ns).min()
    }
}

impl Share {
    fn find_makes(&mut self, written: Vec<(usize, Val, &Action)>, values: &[BTreeMap<Val, usize>]) {
        for (key, value, action) in written {
            match (value, action) {
                (Val::Anything, Action::Append(tail)) => {
                    let ends = |value: &Val| matches!(value, Val::Held(text) if text.ends_with(tail));
                    self.makes.extend(values[key].iter().filter(|(value, _)| ends(value)).map(|(_, at)| *at));
                }
                (Val::Anything, _) => self.wild.push(key),
                (value, _) => self.makes.extend(values[key].get(&value)),
            }
        }
    }
}
