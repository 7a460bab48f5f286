//! The entries of a group that are not yet applied.
//!
//! With one voter nobody asks for an applied entry again, so it leaves memory when it is taken.

use base::record::RecoveredEntry;
use base::{Index, Term};
use bytes::Bytes;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Log {
    /// Index of the last entry that has left the front.
    before: Index,
    entries: VecDeque<(Term, Bytes)>,
}

impl Log {
    /// A log behind a snapshot at `snapshot`; `entries` follow it without a gap.
    pub(super) fn new(snapshot: Index, entries: Vec<RecoveredEntry>) -> Self {
        let mut log = Self { before: snapshot, entries: VecDeque::with_capacity(entries.len()) };
        for found in entries {
            assert_eq!(found.index, log.last().next(), "recovery gives entries without gaps");
            log.entries.push_back((found.term, found.entry));
        }
        log
    }

    pub(super) fn last(&self) -> Index {
        Index(self.before.0 + self.entries.len() as u64)
    }

    pub(super) fn append(&mut self, term: Term, entry: Bytes) -> Index {
        assert!(self.entries.back().is_none_or(|(last, _)| *last <= term), "terms never go back in a log");
        self.entries.push_back((term, entry));
        self.last()
    }

    /// Takes the entry at `index`, which must be the first.
    pub(super) fn take(&mut self, index: Index) -> Bytes {
        assert_eq!(index, self.before.next(), "entries are applied in order");
        self.before = index;
        self.entries.pop_front().expect("a committed entry is in the log").1
    }
}
