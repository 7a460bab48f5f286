//! Trials: changes that are made to be looked at, and taken back.
//!
//! A script runs before its entry is proposed, on the real keyspace. Until then nobody may see what it did: so whatever
//! stands at a key when a trial first changes it is kept, and put back at its end. Values are cheap to keep, since they
//! stand in shared chunks that are copied when they change. What commands can see of the state is afterwards as it was,
//! its digest too; where things lie in memory may have changed.
//!
//! A running snapshot is not disturbed: what a trial is about to change is saved first, as ever, and what is put back
//! counts as saved.

use super::item::{self, Body};
use super::items::ItemId;
use super::{Db, Garbage, KeepObject, Keyspace, Listening, NewValue, Waste};
use crate::fence::Before;
use crate::scripts::Scripts;
use crate::value::Object;
use crate::waits::Waits;
use base::mutation::{self, Mutation};
use base::{Index, Stamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A trial that runs.
#[derive(Debug)]
pub(super) struct Trial {
    /// What takes the changes back, the last one first.
    log: Vec<Undo>,
    /// Where the log says what stood at a key.
    kept: BTreeMap<(u8, Box<[u8]>), usize>,
    /// What is kept before this place in the log is older than the last savepoint: it is kept again.
    from: usize,
    /// Who waits was kept since the last savepoint.
    waits_kept: bool,
    /// An outcome was noted that a command under an id waited for: what comes behind it under that id can't be foreseen.
    settled: bool,
    /// Rises with each change, and with what may have been one.
    changes: u64,
    revision: u64,
    applied: (Stamp, Index),
    /// What the log's time had leapt.
    leapt_ms: u64,
    listening: Listening,
}

/// A place in a trial to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Savepoint {
    at: usize,
    changes: u64,
    revision: u64,
}

#[derive(Debug)]
enum Undo {
    Key { db: u8, key: Box<[u8]>, was: Option<Was> },
    Db { db: u8, was: Db },
    Bucket { bucket: u32, was: u64 },
    Buckets(Box<[u64]>),
    Scripts(Arc<Scripts>),
    Waits(Box<Waits>),
    Floor(Before),
}

/// What stood at a key.
#[derive(Debug)]
struct Was {
    value: WasValue,
    expire_at: Option<Stamp>,
}

#[derive(Debug)]
enum WasValue {
    Str(Box<[u8]>),
    Object(Object),
}

impl Keyspace {
    /// Begins a trial of the entry that would be applied next: time passes, and nobody hears of what changes.
    pub(crate) fn begin_trial(&mut self, stamp: Stamp, index: Index) {
        assert!(self.trial.is_none(), "one trial at a time");
        self.trial = Some(Box::new(Trial {
            log: Vec::new(),
            kept: BTreeMap::new(),
            from: 0,
            waits_kept: false,
            settled: false,
            changes: 0,
            revision: self.revision,
            applied: self.applied,
            leapt_ms: self.waits.answers.leapt_ms,
            listening: std::mem::take(&mut self.heard.listening),
        }));
        self.advance(stamp, index);
    }

    /// Takes back all that the trial has changed, and ends it.
    pub(crate) fn end_trial(&mut self) {
        let trial = self.trial.as_deref_mut().expect("a trial runs");
        let (revision, applied, listening) = (trial.revision, trial.applied, trial.listening);
        let leapt_ms = trial.leapt_ms;
        if !mutation::on(Mutation::TrialLeavesTraces) {
            self.undo_to(Savepoint { at: 0, changes: 0, revision });
        }
        self.trial = None;
        self.applied = applied;
        self.waits.answers.leapt_ms = leapt_ms;
        self.heard.listening = listening;
    }

    /// How things stand in the trial, to go back to. It replaces the former one, which counts no more.
    pub(crate) fn savepoint(&mut self) -> Savepoint {
        let revision = self.revision;
        let trial = self.trial.as_deref_mut().expect("a trial runs");
        trial.from = trial.log.len();
        trial.waits_kept = false;
        Savepoint { at: trial.log.len(), changes: trial.changes, revision }
    }

    /// Takes back what the trial has changed since the savepoint.
    pub(crate) fn undo_to(&mut self, savepoint: Savepoint) {
        let mut trial = self.trial.take().expect("a trial runs");
        for undo in trial.log.drain(savepoint.at..).rev() {
            match undo {
                Undo::Key { db, key, was } => {
                    self.put_back(db, &key, was);
                    trial.kept.remove(&(db, key));
                }
                Undo::Db { db, was } => {
                    let tried = std::mem::replace(&mut self.dbs[usize::from(db)], was);
                    self.garbage.push(Garbage(Waste::Db(tried)));
                }
                Undo::Bucket { bucket, was } => self.watch[bucket as usize] = was,
                Undo::Buckets(was) => self.watch = was,
                Undo::Scripts(was) => self.scripts = was,
                Undo::Waits(was) => self.waits = *was,
                Undo::Floor(was) => self.floors.undo(was),
            }
        }
        trial.waits_kept = false;
        self.revision = savepoint.revision;
        trial.changes = savepoint.changes;
        self.trial = Some(trial);
    }

    /// A number that has risen if anything was changed in the trial since it was asked for last; it may rise for nothing.
    pub(crate) fn trial_changes(&self) -> u64 {
        self.trial.as_deref().map_or(0, |trial| trial.changes)
    }

    /// Called before every change of a key: what stands there, if anything does, is kept.
    pub(super) fn keep_first(&mut self, db: u8, key: &[u8], item: Option<ItemId>) {
        if let Some(trial) = self.trial.as_deref_mut() {
            trial.keep(&self.dbs[usize::from(db)], db, key, item);
        }
    }

    /// The same for a flushed database, which is given back if no trial keeps it.
    pub(super) fn keep_flushed(&mut self, db: u8, was: Db) -> Option<Db> {
        let Some(trial) = self.trial.as_deref_mut() else { return Some(was) };
        trial.changes += 1;
        trial.log.push(Undo::Db { db, was });
        None
    }

    /// Called before a bucket of the WATCH table changes.
    pub(super) fn keep_bucket(&mut self, bucket: u32) {
        if let Some(trial) = self.trial.as_deref_mut() {
            trial.log.push(Undo::Bucket { bucket, was: self.watch[bucket as usize] });
        }
    }

    /// The same for all of them.
    pub(super) fn keep_buckets(&mut self) {
        if let Some(trial) = self.trial.as_deref_mut() {
            trial.log.push(Undo::Buckets(self.watch.clone()));
        }
    }

    /// Called before scripts and functions change.
    pub(super) fn keep_scripts(&mut self) {
        if let Some(trial) = self.trial.as_deref_mut() {
            trial.changes += 1;
            trial.log.push(Undo::Scripts(Arc::clone(&self.scripts)));
        }
    }

    /// Called before anything changes about who waits.
    pub(super) fn keep_waits(&mut self) {
        if let Some(trial) = self.trial.as_deref_mut().filter(|trial| !trial.waits_kept) {
            trial.waits_kept = true;
            trial.log.push(Undo::Waits(Box::new(self.waits.clone())));
        }
    }

    /// True in a trial, where outcomes are foreseen and never kept; what would have been kept is remembered to have been.
    pub(crate) fn settles_in_trial(&mut self) -> bool {
        self.trial.as_deref_mut().map(|trial| trial.settled = true).is_some()
    }

    /// True if an outcome would have been kept for a command that had waited.
    pub(crate) fn trial_settled(&self) -> bool {
        self.trial.as_deref().is_some_and(|trial| trial.settled)
    }

    fn put_back(&mut self, db: u8, key: &[u8], was: Option<Was>) {
        let address = self.address(db, key);
        match was {
            None => {
                self.pull(db, address, key, KeepObject::No);
            }
            Some(Was { value: WasValue::Str(bytes), expire_at }) => {
                self.lay(db, address, key, Body::Str(&bytes), expire_at, KeepObject::No);
            }
            Some(Was { value: WasValue::Object(object), expire_at }) => {
                let body = self.body(db, NewValue::Object(object));
                self.lay(db, address, key, body, expire_at, KeepObject::No);
            }
        }
    }
}

impl Trial {
    /// What is known of a lock has changed.
    pub(super) fn keep_floor(&mut self, before: Before) {
        self.changes += 1;
        self.log.push(Undo::Floor(before));
    }

    fn keep(&mut self, home: &Db, db: u8, key: &[u8], item: Option<ItemId>) {
        self.changes += 1;
        let name = (db, Box::from(key));
        if self.kept.get(&name).is_some_and(|at| *at >= self.from) {
            return;
        }
        let was = item.map(|item| {
            let seen = item::view(home.items.get(item));
            let value = match seen.body {
                Body::Str(bytes) => WasValue::Str(bytes.into()),
                Body::Object(number) => WasValue::Object(home.objects.get(number).clone()),
            };
            Was { value, expire_at: seen.expire_at }
        });
        self.kept.insert(name, self.log.len());
        self.log.push(Undo::Key { db, key: key.into(), was });
    }
}
