//! What the keys of a piece hold: values by their places, in blocks that equal states share.
//!
//! The search keeps a state for each configuration that it has tried. A step changes one key or two, so a state costs a
//! block and the pointers to the others, however many keys there are.

use crate::text::{Text, shown};
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Val {
    Absent,
    Held(Text),
    /// Something from before the history, or nothing.
    Anything,
}

/// The values of all keys of a search.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    blocks: SmallVec<[Rc<[Val]>; 1]>,
}

impl State {
    /// So many keys that all hold the same.
    pub(crate) fn all(keys: usize, value: &Val) -> Self {
        let whole = std::iter::repeat_n(BLOCK_KEYS, keys / BLOCK_KEYS);
        let rest = Some(keys % BLOCK_KEYS).filter(|rest| *rest > 0);
        Self { blocks: whole.chain(rest).map(|keys| vec![value.clone(); keys].into()).collect() }
    }

    pub(crate) fn get(&self, key: usize) -> &Val {
        &self.blocks[key / BLOCK_KEYS][key % BLOCK_KEYS]
    }

    pub(crate) fn set(&mut self, key: usize, value: Val) {
        if *self.get(key) != value {
            Rc::make_mut(&mut self.blocks[key / BLOCK_KEYS])[key % BLOCK_KEYS] = value;
        }
    }

    /// Bytes that a state takes which shares all blocks but one.
    pub(crate) fn bytes(&self) -> usize {
        let block = self.blocks.first().map_or(0, |block| size_of_val(&**block) + 2 * size_of::<usize>());
        size_of_val(self.blocks.as_slice()) + block
    }

    /// Bytes of the texts that are here and not in `before`.
    pub(crate) fn fresh_bytes(&self, before: &Self) -> usize {
        let pairs = self.blocks.iter().zip(&before.blocks).filter(|(new, old)| !Rc::ptr_eq(new, old));
        let values = pairs.flat_map(|(new, old)| new.iter().zip(old.iter()));
        let fresh = values.filter(|(new, old)| new != old);
        fresh.map(|(new, _)| if let Val::Held(text) = new { text.len() } else { 0 }).sum()
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for State {}

impl PartialOrd for State {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for State {
    /// Blocks that are the same aren't compared.
    fn cmp(&self, other: &Self) -> Ordering {
        let pairs = self.blocks.iter().zip(&other.blocks);
        let mut orders = pairs.filter(|(a, b)| !Rc::ptr_eq(a, b)).map(|(a, b)| a.cmp(b));
        orders.find(|order| order.is_ne()).unwrap_or_else(|| self.blocks.len().cmp(&other.blocks.len()))
    }
}

/// As in "the key holds ..".
impl fmt::Display for Val {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("nothing"),
            Self::Held(text) => f.write_str(&shown(text)),
            Self::Anything => f.write_str("a value from before, unknown"),
        }
    }
}

/// Few enough that a changed block is cheap, enough that a hundred keys have few blocks.
const BLOCK_KEYS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_equal_by_their_values() {
        let held = |text: &str| Val::Held(text.as_bytes().into());
        for keys in [1, 7, 8, 9, 100] {
            let start = State::all(keys, &Val::Absent);
            let mut state = start.clone();
            state.set(keys - 1, held("a"));
            assert_eq!(state.get(keys - 1), &held("a"));
            assert_ne!(state, start);
            assert_eq!(start.cmp(&state), state.cmp(&start).reverse());
            assert_eq!(state.fresh_bytes(&start), 1);
            state.set(keys - 1, Val::Absent);
            assert_eq!(state, start);
        }
    }
}
