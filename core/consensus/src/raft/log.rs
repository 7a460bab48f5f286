//! The entries of a group that are in memory: those not yet applied, and some behind them for peers that lag.
//!
//! What lies before the first entry in memory is known by its position alone ([`Log::base`]).

use super::message::{Entry, Position};
use base::record::{Payload, RecoveredEntry};
use base::{Index, Term};
use std::collections::VecDeque;

#[derive(Clone, Debug, Hash)]
pub(super) struct Log {
    /// The entry before the first in memory.
    base: Position,
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// Besides its payload, an entry costs about this much memory.
const ENTRY_BYTES: usize = 64;

impl Log {
    /// A log behind a snapshot at `base`; `entries` follow it without a gap.
    pub(super) fn new(base: Position, entries: Vec<RecoveredEntry>) -> Self {
        let mut log = Self { base, entries: VecDeque::with_capacity(entries.len()), bytes: 0 };
        for found in entries {
            assert_eq!(found.index, log.last().index.next(), "recovery gives entries without gaps");
            log.append(Entry { term: found.term, payload: found.payload });
        }
        log
    }

    pub(super) fn base(&self) -> Position {
        self.base
    }

    pub(super) fn last(&self) -> Position {
        let index = Index(self.base.index.0 + self.entries.len() as u64);
        Position { index, term: self.entries.back().map_or(self.base.term, |entry| entry.term) }
    }

    /// Bytes of the entries in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The term of the entry at `index`; nothing if that is unknown here, too old or not there yet.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index { Some(self.base.term) } else { self.get(index).map(|entry| entry.term) }
    }

    pub(super) fn get(&self, index: Index) -> Option<&Entry> {
        let at = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    pub(super) fn append(&mut self, entry: Entry) -> Index {
        assert!(self.last().term <= entry.term, "terms never go back in a log");
        self.bytes += cost(&entry);
        self.entries.push_back(entry);
        self.last().index
    }

    /// Drops the entry at `index` and all behind it.
    pub(super) fn cut_from(&mut self, index: Index) {
        assert!(index > self.base.index, "what is before memory is committed");
        while self.last().index >= index {
            let entry = self.entries.pop_back().expect("the last index is that of an entry");
            self.bytes -= cost(&entry);
        }
    }

    /// Entries from `from` on, at least one if there is one, and no more of them than `bytes_max`.
    pub(super) fn slice(&self, from: Index, bytes_max: usize) -> Vec<Entry> {
        let (mut out, mut bytes) = (Vec::new(), 0);
        let mut index = from;
        while let Some(entry) = self.get(index) {
            bytes += cost(entry);
            if bytes > bytes_max && !out.is_empty() {
                break;
            }
            out.push(entry.clone());
            index = index.next();
        }
        out
    }

    /// The last position with at most this index and term.
    pub(super) fn last_with_at_most(&self, position: Position) -> Position {
        let mut index = position.index.min(self.last().index);
        while let Some(term) = self.term_at(index) {
            if term <= position.term || index == self.base.index {
                return Position { index, term };
            }
            index = Index(index.0 - 1);
        }
        self.base
    }

    /// Lets go of entries up to `applied` while more than `bytes_max` are in memory.
    pub(super) fn let_go(&mut self, applied: Index, bytes_max: usize) {
        while self.bytes > bytes_max && self.base.index < applied {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= cost(&entry);
            self.base = Position { index: self.base.index.next(), term: entry.term };
        }
    }

    /// A snapshot up to `base` stands for the log: what follows it stays if it fits; true if it did.
    pub(super) fn install(&mut self, base: Position) -> bool {
        let fits = self.term_at(base.index) == Some(base.term);
        if fits {
            self.let_go(base.index, 0);
        } else {
            (self.entries, self.bytes) = (VecDeque::new(), 0);
        }
        self.base = if fits { self.base } else { base };
        fits
    }
}

fn cost(entry: &Entry) -> usize {
    let (Payload::Data(bytes) | Payload::Members(bytes)) = &entry.payload;
    bytes.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn position(index: u64, term: u64) -> Position {
        Position { index: Index(index), term: Term(term) }
    }

    fn entry(term: u64) -> Entry {
        Entry { term: Term(term), payload: Payload::Data(Bytes::from_static(b"0123456789")) }
    }

    fn log(base: Position, terms: &[u64]) -> Log {
        let mut log = Log::new(base, Vec::new());
        for term in terms {
            log.append(entry(*term));
        }
        log
    }

    #[test]
    fn terms_are_known_from_the_base_on() {
        let log = log(position(5, 2), &[2, 3, 3]);
        assert_eq!(log.last(), position(8, 3));
        let terms: Vec<_> = (4..=9).map(|index| log.term_at(Index(index)).map(|term| term.0)).collect();
        assert_eq!(terms, [None, Some(2), Some(2), Some(3), Some(3), None]);
    }

    #[test]
    fn a_cut_takes_the_entry_and_all_behind_it() {
        let mut log = log(position(5, 2), &[2, 3, 3]);
        log.cut_from(Index(7));
        assert_eq!(log.last(), position(6, 2));
        log.cut_from(Index(6));
        assert_eq!((log.last(), log.bytes), (position(5, 2), 0));
    }

    #[test]
    fn a_slice_has_one_entry_at_least() {
        let log = log(position(0, 0), &[1, 1, 1, 1]);
        assert_eq!(log.slice(Index(2), 1).len(), 1);
        assert_eq!(log.slice(Index(2), 2 * (10 + ENTRY_BYTES)).len(), 2);
        assert_eq!(log.slice(Index(2), usize::MAX).len(), 3);
        assert!(log.slice(Index(5), usize::MAX).is_empty());
    }

    #[test]
    fn hints_skip_whole_terms() {
        let log = log(position(2, 1), &[1, 1, 4, 4, 6]);
        assert_eq!(log.last_with_at_most(position(100, 5)), position(6, 4));
        assert_eq!(log.last_with_at_most(position(5, 3)), position(4, 1));
        assert_eq!(log.last_with_at_most(position(100, 0)), position(2, 1), "what is in the base is committed");
    }

    #[test]
    fn a_snapshot_keeps_what_fits_behind_it() {
        let mut fits = log(position(0, 0), &[1, 1, 2, 2]);
        assert!(fits.install(position(3, 2)));
        assert_eq!((fits.base(), fits.last()), (position(3, 2), position(4, 2)));
        let mut differs = log(position(0, 0), &[1, 1, 2, 2]);
        assert!(!differs.install(position(3, 3)));
        assert_eq!((differs.base(), differs.last(), differs.bytes), (position(3, 3), position(3, 3), 0));
        let mut short = log(position(0, 0), &[1]);
        assert!(!short.install(position(9, 1)));
        assert_eq!(short.last(), position(9, 1));
    }

    #[test]
    fn memory_lets_go_of_applied_entries_alone() {
        let mut log = log(position(0, 0), &[1, 1, 2, 2]);
        log.let_go(Index(2), 0);
        assert_eq!((log.base(), log.last()), (position(2, 1), position(4, 2)));
    }
}
