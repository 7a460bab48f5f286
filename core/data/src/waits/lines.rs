//! The lines in which calls stand: one per key, per kind of value that they wait for, and per consumer group.
//!
//! A line is in the order of first arrival. A key at which somebody stands and something has changed is noted as ready, once, in the
//! order of those changes: that is the order in which keys are served.

use super::WaitId;
use crate::command::blocking::Kind;
use base::Stamp;
use base::limits::DATABASE_COUNT;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A place in a line.
pub(super) type Place = (Stamp, WaitId);

/// Which line of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line<'a> {
    pub(super) kind: Kind,
    pub(super) group: &'a [u8],
}

/// Lines of keys; see the module.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    /// By database and key.
    by_db: Vec<BTreeMap<Box<[u8]>, OfKey>>,
    ready: VecDeque<(u8, Box<[u8]>)>,
    /// The same, to be looked up.
    noted: BTreeSet<(u8, Box<[u8]>)>,
    /// The key that is being served: what that changes there is seen anyway.
    serving: Option<(u8, Box<[u8]>)>,
}

/// The lines of one key, in the order of kinds and groups.
type OfKey = SmallVec<[Standing; 1]>;

#[derive(Clone, Debug)]
struct Standing {
    kind: Kind,
    group: Box<[u8]>,
    places: VecDeque<Place>,
}

impl Default for Lines {
    fn default() -> Self {
        let by_db = (0..DATABASE_COUNT).map(|_| BTreeMap::new()).collect();
        Self { by_db, ready: VecDeque::new(), noted: BTreeSet::new(), serving: None }
    }
}

impl Standing {
    fn line(&self) -> Line<'_> {
        Line { kind: self.kind, group: &self.group }
    }

    /// True if those who stand here want to know that `found` stands at their key: they can be served, or never will be.
    fn cares(&self, found: Option<Kind>) -> bool {
        match self.kind {
            Kind::List | Kind::Zset => found == Some(self.kind),
            Kind::Stream => found == Some(Kind::Stream),
            Kind::Group | Kind::Fill => true,
        }
    }
}

impl Lines {
    /// Takes a place. A call that names a key twice stands there once.
    pub(super) fn stand(&mut self, db: u8, key: &[u8], line: Line<'_>, place: Place) {
        let lines = &mut self.by_db[usize::from(db)];
        if !lines.contains_key(key) {
            lines.insert(key.into(), SmallVec::new());
        }
        let lines = lines.get_mut(key).expect("it was just put there");
        let at = lines.binary_search_by(|standing| standing.line().cmp(&line)).unwrap_or_else(|at| {
            lines.insert(at, Standing { kind: line.kind, group: line.group.into(), places: VecDeque::new() });
            at
        });
        let places = &mut lines[at].places;
        if let Err(at) = places.binary_search(&place) {
            places.insert(at, place);
        }
    }

    /// Gives a place up.
    pub(super) fn leave(&mut self, db: u8, key: &[u8], line: Line<'_>, place: Place) {
        let of_db = &mut self.by_db[usize::from(db)];
        let Some(lines) = of_db.get_mut(key) else { return };
        let Ok(at) = lines.binary_search_by(|standing| standing.line().cmp(&line)) else { return };
        let places = &mut lines[at].places;
        if let Ok(at) = places.binary_search(&place) {
            places.remove(at);
        }
        if places.is_empty() {
            lines.remove(at);
        }
        if lines.is_empty() {
            of_db.remove(key);
        }
    }

    pub(super) fn has(&self, db: u8, key: &[u8]) -> bool {
        self.by_db[usize::from(db)].contains_key(key)
    }

    /// The lines of a key.
    pub(super) fn of(&self, db: u8, key: &[u8]) -> Vec<(Kind, Box<[u8]>)> {
        let lines = self.by_db[usize::from(db)].get(key).into_iter().flatten();
        lines.map(|standing| (standing.kind, standing.group.clone())).collect()
    }

    /// Who stands first in a line, or first behind a place.
    pub(super) fn next(&self, db: u8, key: &[u8], line: Line<'_>, behind: Option<Place>) -> Option<Place> {
        let places = self.places(db, key, line)?;
        let at = behind.map_or(0, |behind| places.partition_point(|place| *place <= behind));
        places.get(at).copied()
    }

    /// Who stands last in a line.
    pub(super) fn last(&self, db: u8, key: &[u8], line: Line<'_>) -> Option<Place> {
        self.places(db, key, line)?.back().copied()
    }

    fn places(&self, db: u8, key: &[u8], line: Line<'_>) -> Option<&VecDeque<Place>> {
        let lines = self.by_db[usize::from(db)].get(key)?;
        let at = lines.binary_search_by(|standing| standing.line().cmp(&line)).ok()?;
        Some(&lines[at].places)
    }

    /// A key has changed, and `found` stands there now.
    pub(super) fn changed(&mut self, db: u8, key: &[u8], found: Option<Kind>) {
        let Some(lines) = self.by_db[usize::from(db)].get(key) else { return };
        if lines.iter().any(|standing| standing.cares(found)) {
            self.note(db, key.into());
        }
    }

    /// A database was emptied: those who wait for a consumer group will wait in vain.
    pub(super) fn flushed(&mut self, db: u8) {
        let of_db = self.by_db[usize::from(db)].iter();
        let caring = of_db.filter(|(_, lines)| lines.iter().any(|standing| standing.cares(None)));
        let keys: Vec<Box<[u8]>> = caring.map(|(key, _)| key.clone()).collect();
        keys.into_iter().for_each(|key| self.note(db, key));
    }

    fn note(&mut self, db: u8, key: Box<[u8]>) {
        let one = (db, key);
        if self.serving.as_ref() != Some(&one) && self.noted.insert(one.clone()) {
            self.ready.push_back(one);
        }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next key to be served.
    pub(super) fn next_ready(&mut self) -> Option<(u8, Box<[u8]>)> {
        self.serving = self.ready.pop_front();
        self.serving.iter().for_each(|one| _ = self.noted.remove(one));
        self.serving.clone()
    }

    pub(super) fn forget_ready(&mut self) {
        self.ready.clear();
        self.noted.clear();
        self.serving = None;
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (u8, &[u8], Kind, Vec<WaitId>)> {
        (0..).zip(&self.by_db).flat_map(|(db, of_db)| {
            of_db.iter().flat_map(move |(key, lines)| {
                let ids = |standing: &Standing| standing.places.iter().map(|(_, id)| *id).collect();
                lines.iter().map(move |standing| (db, &**key, standing.kind, ids(standing)))
            })
        })
    }
}
