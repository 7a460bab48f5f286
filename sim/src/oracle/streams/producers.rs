//! What the model remembers of entries that were added under a name.

use super::Id;

/// Who has added under names, the one first who has been quiet longest.
#[derive(Clone, Debug, PartialEq)]
pub struct Producers {
    pub duration_s: u64,
    pub size_max: usize,
    pub added: u64,
    pub duplicates: u64,
    pub all: Vec<Producer>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Producer {
    name: Vec<u8>,
    /// The first one first.
    pub known: Vec<Known>,
}

/// An entry that was added under a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    name: Name,
    id: Id,
    at: u64,
}

/// Under which name an entry is added.
#[derive(Clone, Debug, PartialEq)]
pub enum Name {
    Given(Vec<u8>),
    /// Its fields, sorted.
    Fields(Vec<(Vec<u8>, Vec<u8>)>),
}

impl Default for Producers {
    fn default() -> Self {
        Self { duration_s: 100, size_max: 100, added: 0, duplicates: 0, all: Vec::new() }
    }
}

impl Producers {
    fn is_over(&self, known: &Known, now: u64) -> bool {
        now >= known.at + self.duration_s * 1000
    }

    pub(super) fn look(&self, producer: &[u8], name: &Name, now: u64) -> Option<Id> {
        let producer = self.all.iter().find(|one| one.name == producer)?;
        let known = producer.known.iter().find(|known| known.name == *name)?;
        (!self.is_over(known, now)).then_some(known.id)
    }

    pub(super) fn record(&mut self, producer: &[u8], name: Name, id: Id, now: u64) {
        // Two of those who have been quiet long are looked at.
        for _ in 0..2 {
            let last = self.all.first().and_then(|one| one.known.last());
            if last.is_some_and(|last| self.is_over(last, now)) {
                self.all.remove(0);
            }
        }
        let at = self.all.iter().position(|one| one.name == producer);
        let mut known = at.map(|at| self.all.remove(at).known).unwrap_or_default();
        known.retain(|known| !self.is_over(known, now));
        known.push(Known { name, id, at: now });
        if known.len() > self.size_max {
            known.remove(0);
        }
        // An ID that was given before can be given again after XSETID: who gave it first is forgotten.
        self.all.retain(|one| one.known.last().is_none_or(|last| last.id != id));
        self.all.push(Producer { name: producer.to_vec(), known });
        self.all.sort_by_key(|one| one.known.last().map(|last| last.id));
        self.added += 1;
    }

    pub(super) fn set(&mut self, duration_s: Option<u64>, size_max: Option<usize>) {
        let before = (self.duration_s, self.size_max);
        (self.duration_s, self.size_max) = (duration_s.unwrap_or(before.0), size_max.unwrap_or(before.1));
        if before != (self.duration_s, self.size_max) {
            self.all.clear();
        }
    }
}
