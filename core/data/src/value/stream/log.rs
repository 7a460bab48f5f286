//! The entries of a stream, in the order of their IDs.

use super::Id;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Log {
    entries: BTreeMap<Id, Arc<[Box<[u8]>]>>,
    bytes: usize,
}

/// An entry as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub id: Id,
    fields: &'a [Box<[u8]>],
}

impl<'a> Entry<'a> {
    /// Fields and values in turn.
    pub fn fields(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.fields.iter().map(|field| &**field)
    }
}

impl Log {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends an entry with an ID larger than any.
    pub fn push(&mut self, id: Id, fields: &[&[u8]]) {
        self.bytes += fields.iter().map(|field| field.len() + 2).sum::<usize>();
        self.entries.insert(id, fields.iter().map(|field| Box::from(*field)).collect());
    }

    /// Removes an entry; false if it isn't there.
    pub fn remove(&mut self, id: Id) -> bool {
        let Some(old) = self.entries.remove(&id) else { return false };
        self.bytes -= old.iter().map(|field| field.len() + 2).sum::<usize>();
        true
    }

    /// The entries from `from` to `to`, both included.
    pub fn range(&self, from: Id, to: Id) -> impl DoubleEndedIterator<Item = Entry<'_>> {
        let to = to.max(from);
        self.entries.range(from..=to).map(|(id, fields)| Entry { id: *id, fields })
    }
}
