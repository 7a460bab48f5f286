//! The model's sorted sets.

use super::Model;
use crate::answer::Answer;

/// Its plain form.
pub type Zset = std::collections::BTreeMap<Vec<u8>, f64>;

impl Model {
    /// A command of sorted sets; nothing if it is none.
    pub(super) fn zset(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Answer> {
        let _ = (name, now, db, words);
        None
    }
}
