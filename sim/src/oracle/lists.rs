//! The model's lists.

use super::Model;
use crate::answer::Answer;

/// Its plain form.
pub type List = std::collections::VecDeque<Vec<u8>>;

impl Model {
    /// A command of lists; nothing if it is none.
    pub(super) fn list(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Answer> {
        let _ = (name, now, db, words);
        None
    }
}
