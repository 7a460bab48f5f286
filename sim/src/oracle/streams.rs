//! The model's streams.

use super::Model;
use crate::answer::Answer;

/// Its plain form.
pub type Stream = Vec<(u64, u64)>;

impl Model {
    /// A command of streams; nothing if it is none.
    pub(super) fn stream(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Answer> {
        let _ = (name, now, db, words);
        None
    }
}
