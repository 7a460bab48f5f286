//! Streams: entries in the order of their IDs, and groups of consumers that read them.
//!
//! [`Entries`] are packed in chunks like Redis' nodes, the field names of a chunk's first entry shared; groups owe entries in
//! ordered pages. Both are shared by clones and copied by the piece. [`Producers`] remember what was added under which
//! name, so that nothing is added twice.

mod chunk;
mod entries;
mod group;
mod id;
mod image;
mod log;
mod pages;
mod producers;
#[cfg(test)]
mod tests;
mod weight;

pub use chunk::Entry;
pub use entries::Entries;
pub use group::{Consumer, Group, Nack, Place};
pub use id::Id;
pub use log::{Keep, Log, Trim};
pub use producers::{DURATION_S, Known, Producers, SIZE};
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    entries: Entries,
    groups: BTreeMap<Box<[u8]>, Arc<Group>>,
    /// Bytes of all groups.
    group_bytes: usize,
    /// Nothing until somebody adds under a name.
    producers: Option<Box<Producers>>,
}

/// What XSETID sets.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    pub last: Id,
    pub added: Option<u64>,
    pub deleted_max: Option<Id>,
}

impl Stream {
    /// What it has had.
    #[must_use]
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The entries themselves.
    #[must_use]
    pub fn log(&self) -> &Log {
        self.entries.log()
    }

    /// Appends an entry, whose ID is larger than the last one; `fields` are names and values in turn.
    pub fn add(&mut self, id: Id, fields: &[&[u8]]) {
        self.entries.add(id, fields);
    }

    /// Removes an entry; false if it isn't there.
    pub fn remove(&mut self, id: Id) -> bool {
        self.entries.remove(id)
    }

    /// Removes entries from the front; how many they were.
    pub fn trim(&mut self, trim: Trim) -> usize {
        self.entries.trim(trim)
    }

    /// Sets what is otherwise known by counting; no entry's ID is larger than the last.
    pub fn set_marks(&mut self, marks: Marks) {
        assert!(self.log().last().is_none_or(|last| last <= marks.last), "no entry comes behind the last ID");
        self.entries.last = marks.last;
        self.entries.added = marks.added.unwrap_or(self.entries.added);
        self.entries.deleted_max = marks.deleted_max.unwrap_or(self.entries.deleted_max);
    }

    /// The group of a name.
    #[must_use]
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name).map(Arc::as_ref)
    }

    /// The groups and their names, by name.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, &**group))
    }

    /// Adds a group of a name that isn't taken.
    pub fn add_group(&mut self, name: &[u8], group: Group) {
        self.group_bytes += name.len() + group.bytes();
        let former = self.groups.insert(name.into(), Arc::new(group));
        assert!(former.is_none(), "a group is made once");
    }

    /// Removes a group; false if it isn't there.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some(group) = self.groups.remove(name) else { return false };
        self.group_bytes -= name.len() + group.bytes();
        true
    }

    /// Lets a group be changed; nothing if it isn't there.
    pub fn change_group<T>(&mut self, name: &[u8], change: impl FnOnce(&Entries, &mut Group) -> T) -> Option<T> {
        let group = Arc::make_mut(self.groups.get_mut(name)?);
        self.group_bytes -= group.bytes();
        let told = change(&self.entries, group);
        self.group_bytes += group.bytes();
        Some(told)
    }

    /// Who has added under a name, if anybody has or it was prepared.
    #[must_use]
    pub fn producers(&self) -> Option<&Producers> {
        self.producers.as_deref()
    }

    /// The same, to be changed.
    pub fn producers_mut(&mut self) -> &mut Producers {
        self.producers.get_or_insert_default()
    }
}
