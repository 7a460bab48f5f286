//! What a stream has had: its entries, and what is known of those that are gone.
//!
//! From that follows how far a group has come, if anything: groups tell how many entries they have yet to read (their lag),
//! which nobody counts. The rules are Redis 7.0's, which say nothing where deletions may lie ahead.

use super::{Id, Log, Trim};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    pub(super) log: Log,
    pub(super) last: Id,
    pub(super) deleted_max: Id,
    pub(super) added: u64,
}

impl Entries {
    /// The entries themselves.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The last ID that was given, or set; no entry has a larger one.
    #[must_use]
    pub fn last(&self) -> Id {
        self.last
    }

    /// The largest ID that XDEL has deleted.
    #[must_use]
    pub fn deleted_max(&self) -> Id {
        self.deleted_max
    }

    /// How many entries were ever added.
    #[must_use]
    pub fn added(&self) -> u64 {
        self.added
    }

    /// Appends an entry; its ID is larger than the last one.
    pub(super) fn add(&mut self, id: Id, fields: &[&[u8]]) {
        assert!(id > self.last, "IDs grow");
        self.log.push(id, fields);
        self.last = id;
        self.added = self.added.saturating_add(1);
    }

    pub(super) fn remove(&mut self, id: Id) -> bool {
        let removed = self.log.remove(id);
        if removed {
            self.deleted_max = self.deleted_max.max(id);
        }
        removed
    }

    pub(super) fn trim(&mut self, trim: Trim) -> usize {
        self.log.trim(trim)
    }

    /// True if there are entries behind `id`.
    #[must_use]
    pub fn has_any_behind(&self, id: Id) -> bool {
        id < self.last && id.next().is_some_and(|from| self.log.range(from, Id::MAX).next().is_some())
    }

    /// True if among the entries from `id` on some may have been deleted.
    #[must_use]
    pub fn has_holes_from(&self, id: Id) -> bool {
        id <= self.deleted_max && self.has_holes()
    }

    /// True if some may have been deleted behind the first one.
    fn has_holes(&self) -> bool {
        self.deleted_max != Id::MIN && self.log.first().is_some_and(|first| first <= self.deleted_max)
    }

    /// How many entries were added up to `id`, if that can be told.
    #[must_use]
    pub fn added_up_to(&self, id: Id) -> Option<u64> {
        let len = self.log.len() as u64;
        if self.added == 0 {
            return Some(0);
        }
        if (self.log.is_empty() && id <= self.last) || id == self.last {
            return Some(self.added);
        }
        let first = self.log.first()?;
        if id > self.last || id > first || self.has_holes() {
            return None;
        }
        Some(self.added.saturating_sub(len) + u64::from(id == first))
    }
}
