//! A replica's disk: what is durable, and writes that are not yet.
//!
//! The log is one file, so what is lost in a crash is a tail of the writes that were not synced.

use base::record::{Payload, Record, RecoveredEntry, RecoveredShard, SnapshotMark};
use base::{Index, NodeId, Term};
use consensus::Write;
use std::collections::{BTreeMap, VecDeque};

/// See the module.
#[derive(Clone, Debug, Default, Hash)]
pub struct Disk {
    pub term: Term,
    pub vote: Option<NodeId>,
    mark: Option<SnapshotMark>,
    entries: BTreeMap<Index, (Term, Payload)>,
    /// Not durable yet, in order, with what follows.
    pub unsynced: VecDeque<Write>,
}

impl Disk {
    /// The first `count` writes become durable.
    #[must_use]
    pub fn sync(&mut self, count: usize) -> Vec<Write> {
        let synced: Vec<Write> = self.unsynced.drain(..count).collect();
        synced.iter().for_each(|write| self.store(&write.record));
        synced
    }

    /// Of what is not synced, the first `kept` writes survive, though nobody was told.
    pub fn crash(&mut self, kept: usize) {
        drop(self.sync(kept));
        self.unsynced.clear();
    }

    fn store(&mut self, record: &Record) {
        match record {
            Record::Append { term, index, payload, .. } => {
                drop(self.entries.split_off(index));
                self.entries.insert(*index, (*term, payload.clone()));
            }
            Record::HardState { term, vote, .. } => (self.term, self.vote) = (*term, *vote),
            Record::SnapMark { mark, .. } => {
                assert!(self.mark.as_ref().is_none_or(|old| old.index < mark.index), "snapshots_never_go_back");
                self.entries.retain(|index, _| *index > mark.index);
                self.mark = Some(mark.clone());
            }
            Record::Register { .. } | Record::RegisterMark { .. } | Record::Start { .. } | Record::Seal => {
                unreachable!("groups write none")
            }
        }
    }

    /// True if the entry of `term` at `index` is here, or a snapshot that covers it.
    #[must_use]
    pub fn holds(&self, index: Index, term: Term) -> bool {
        self.mark.as_ref().is_some_and(|mark| mark.index >= index)
            || self.entries.get(&index).is_some_and(|(known, _)| *known == term)
    }

    /// True if every entry up to `index` is here.
    #[must_use]
    pub fn reaches(&self, index: Index) -> bool {
        let base = self.mark.as_ref().map_or(Index(0), |mark| mark.index);
        index <= base || self.entries.contains_key(&index)
    }

    /// The last snapshot.
    #[must_use]
    pub fn mark(&self) -> Option<&SnapshotMark> {
        self.mark.as_ref()
    }

    /// What storage would give back.
    #[must_use]
    pub fn recover(&self) -> RecoveredShard {
        let entry = |(index, (term, payload)): (&Index, &(Term, Payload))| RecoveredEntry {
            term: *term,
            index: *index,
            payload: payload.clone(),
        };
        let entries = self.entries.iter().map(entry).collect();
        RecoveredShard { term: self.term, vote: self.vote, snapshot: self.mark.clone(), entries }
    }
}
