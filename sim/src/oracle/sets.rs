//! The model's sets.

use super::Model;
use crate::answer::Answer;

/// Its plain form.
pub type Set = std::collections::BTreeSet<Vec<u8>>;

impl Model {
    /// A command of sets; nothing if it is none.
    pub(super) fn set_of(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Answer> {
        let _ = (name, now, db, words);
        None
    }
}
