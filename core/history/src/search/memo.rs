//! Which operations are placed, and which configurations have been tried (Lowe, 2017).
//!
//! A configuration is the set of placed operations, the state, and how many of each class of unknown outcomes have been
//! used up. From equal sets and states the one that has used less can go wherever the other can: that other one needn't
//! be tried. So for each set and state only the least uses are kept, those of which none is below another.

use crate::state::State;
use crate::switch::{Switch, broken};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How many of each class have been used. Shared by all configurations since the last use.
pub(crate) type Used = Rc<[u32]>;

/// A set of operations that is nearly all of those before some place and none of those behind another.
#[derive(Debug)]
pub(crate) struct Placed {
    bits: Vec<u64>,
    /// The first operation that is not in it.
    first: usize,
    /// Behind the last operation that is in it.
    end: usize,
}

/// The set as a key: the first operation that is missing, and the words from there to the last that is in it.
type Window = (usize, SmallVec<[u64; 2]>);

impl Placed {
    pub(crate) fn none_of(ops: usize) -> Self {
        Self { bits: vec![0; ops.div_ceil(64)], first: 0, end: 0 }
    }

    pub(crate) fn end(&self) -> usize {
        self.end
    }

    pub(crate) fn contains(&self, op: usize) -> bool {
        self.bits[op / 64] >> (op % 64) & 1 == 1
    }

    pub(crate) fn put(&mut self, op: usize) {
        self.bits[op / 64] |= 1 << (op % 64);
        self.end = self.end.max(op + 1);
        while self.first < self.end && self.contains(self.first) {
            self.first += 1;
        }
    }

    /// Takes out what was put in last, when the set ended at `end`.
    pub(crate) fn take_back(&mut self, op: usize, end: usize) {
        self.bits[op / 64] &= !(1 << (op % 64));
        self.first = self.first.min(op);
        self.end = end;
    }

    fn window(&self) -> Window {
        let words = self.bits.get(self.first / 64..self.end.div_ceil(64)).unwrap_or_default();
        (self.first, words.into())
    }
}

/// The configurations that have been tried.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    tried: BTreeMap<(Window, State), Least>,
    bytes: usize,
}

/// Uses of which none is below another.
type Least = SmallVec<[Used; 1]>;

impl Memo {
    /// True if the configuration was not tried before, nor one from which as much can be reached.
    pub(crate) fn is_new(&mut self, placed: &Placed, state: &State, used: &Used) -> bool {
        if broken(Switch::Memo) {
            return true;
        }
        let key = (placed.window(), if broken(Switch::MemoOfState) { State::default() } else { state.clone() });
        let bytes = ENTRY_BYTES + 8 * key.0.1.len() + state.bytes();
        let new = add(self.tried.entry(key).or_default(), used);
        self.bytes += if new { bytes } else { 0 };
        new
    }

    /// Bytes that a step made which only the memo keeps.
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// About how much memory this takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Adds a use to the least ones; false if one of them is below it or equal.
pub(crate) fn add(least: &mut Least, used: &Used) -> bool {
    let below = |a: &Used, b: &Used| Rc::ptr_eq(a, b) || a.iter().zip(b.iter()).all(|(a, b)| a <= b);
    if least.iter().any(|one| broken(Switch::MemoOfUnknown) || below(one, used)) {
        return false;
    }
    least.retain(|one| !below(used, one));
    least.push(used.clone());
    true
}

/// What a configuration takes in the map, measured with small windows and one key.
const ENTRY_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Val;
    use smallvec::smallvec;

    #[test]
    fn a_set_is_known_again_in_whatever_order_it_was_filled() {
        let mut placed = Placed::none_of(200);
        let mut other = Placed::none_of(200);
        [0, 2, 70, 1].into_iter().for_each(|op| placed.put(op));
        [70, 1, 0, 2].into_iter().for_each(|op| other.put(op));
        assert_eq!(placed.window(), other.window());
        assert_eq!(placed.window(), (3, smallvec![0b111, 1 << 6]));
        let end = placed.end();
        placed.put(199);
        assert_ne!(placed.window(), other.window());
        placed.take_back(199, end);
        assert_eq!(placed.window(), other.window());
        (0..200).for_each(|op| placed.put(op));
        assert_eq!(placed.window(), (200, smallvec![(1 << 8) - 1]));
    }

    #[test]
    fn a_configuration_that_has_used_more_is_not_new() {
        let (mut memo, mut placed, state) = (Memo::default(), Placed::none_of(3), State::all(1, &Val::Absent));
        placed.put(1);
        let mut is_new = |used: &[u32]| memo.is_new(&placed, &state, &Rc::from(used));
        assert!(is_new(&[1, 1]));
        assert!(!is_new(&[1, 1]) && !is_new(&[1, 2]));
        assert!(is_new(&[2, 0]) && is_new(&[0, 3]), "neither is below the other");
        assert!(is_new(&[0, 0]));
        assert!(!is_new(&[2, 0]));
        assert!(memo.is_new(&placed, &State::all(1, &Val::Anything), &Rc::from([9, 9])));
    }
}
