//! What a shard knows of locks: of each the largest fence that it has seen.
//!
//! There is room for so many locks. The one that came in no entry for longest is forgotten first, and leaves its floor to its
//! slot, which is that of its name: a lock of that slot that isn't known by itself has the slot's floor. So forgetting may
//! refuse a holder that is still good, who has to acquire its lock anew; it never lets an old one in.

use super::image::Cut;
use super::{Fence, OwnedFence, stale};
use crate::Refused;
use base::Slot;
use base::limits::{FENCE_FLOOR_COUNT_MAX, FENCE_FLOORS_BYTES_MAX};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The floors of a shard; see the module.
#[derive(Debug)]
pub struct Floors {
    pub(super) caps: Caps,
    pub(super) locks: BTreeMap<Arc<[u8]>, Floor>,
    /// Locks by the number of their last use.
    pub(super) uses: BTreeMap<u64, Arc<[u8]>>,
    /// What forgotten locks have left.
    pub(super) slots: BTreeMap<Slot, u64>,
    /// Bytes of all names.
    pub(super) name_bytes: usize,
    /// How many uses there have been.
    pub(super) last_use: u64,
    pub(super) cut: Cut,
}

/// The floor of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(super) number: u64,
    /// The number of its last use.
    pub(super) used: u64,
    /// The cut that has saved it, or that it is younger than.
    pub(super) epoch: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) locks: usize,
    pub(super) name_bytes: usize,
}

/// What is known of a lock: its own floor, or that of its slot; 0 if nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Lock(u64),
    Slot(u64),
}

/// What stood somewhere before a change, for those who take it back.
#[derive(Debug)]
pub(crate) enum Before {
    Lock(Arc<[u8]>, Option<Floor>),
    Slot(Slot, Option<u64>),
    LastUse(u64),
}

impl Default for Floors {
    fn default() -> Self {
        Self::with_caps(Caps { locks: FENCE_FLOOR_COUNT_MAX, name_bytes: FENCE_FLOORS_BYTES_MAX })
    }
}

impl Floors {
    pub(super) fn with_caps(caps: Caps) -> Self {
        Self {
            caps,
            locks: BTreeMap::new(),
            uses: BTreeMap::new(),
            slots: BTreeMap::new(),
            name_bytes: 0,
            last_use: 0,
            cut: Cut::default(),
        }
    }

    /// How many locks are known by themselves.
    #[must_use]
    pub fn len(&self) -> usize {
        self.locks.len()
    }

    /// True if no lock is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// The largest fence of a lock that was seen, and whether it is the lock's own floor; else it is that of its slot. 0 if
    /// nothing is known.
    #[must_use]
    pub fn floor(&self, lock: &[u8]) -> (u64, bool) {
        match self.known(lock) {
            Known::Lock(floor) => (floor, true),
            Known::Slot(floor) => (floor, false),
        }
    }

    /// The largest floor of any slot: what is larger is refused for no lock that was forgotten. 0 if none was.
    #[must_use]
    pub fn highest_of_slots(&self) -> u64 {
        self.slots.values().copied().max().unwrap_or(0)
    }

    fn known(&self, lock: &[u8]) -> Known {
        let of_slot = || Known::Slot(self.slots.get(&Slot::of(lock)).copied().unwrap_or(0));
        self.locks.get(lock).map_or_else(of_slot, |floor| Known::Lock(floor.number))
    }

    /// Refuses fences of which one is below its floor. Else tells whether they are all seen already, or one would raise its floor.
    pub fn judge(&self, fences: &[Fence<'_>]) -> Result<Judged, Refused> {
        let mut judged = Judged::Seen;
        for fence in fences {
            let known = self.known(fence.lock);
            let (Known::Lock(floor) | Known::Slot(floor)) = known;
            match fence.number.cmp(&floor) {
                Ordering::Less => return Err(stale(*fence, known)),
                // Of a slot's floor it isn't known whose it was.
                Ordering::Equal if matches!(known, Known::Lock(_)) => {}
                Ordering::Equal | Ordering::Greater => judged = Judged::New,
            }
        }
        Ok(judged)
    }

    /// Takes fences in that were judged: their floors rise. `keep` is told what stood there before.
    pub(crate) fn note(&mut self, fences: &[Fence<'_>], keep: &mut impl FnMut(Before)) {
        for fence in fences {
            self.put(fence.lock, fence.number, keep);
        }
    }

    /// Puts a floor where somebody wants it, lower too.
    pub(crate) fn reset(&mut self, lock: &[u8], number: u64, keep: &mut impl FnMut(Before)) {
        self.put(lock, number, keep);
    }

    fn put(&mut self, lock: &[u8], number: u64, keep: &mut impl FnMut(Before)) {
        keep(Before::LastUse(self.last_use));
        self.last_use += 1;
        let name = match self.locks.get_key_value(lock) {
            Some((name, _)) => Arc::clone(name),
            None => lock.into(),
        };
        self.save_first(&name);
        let floor = Floor { number, used: self.last_use, epoch: self.cut.epoch() };
        keep(Before::Lock(Arc::clone(&name), self.set(&name, Some(floor))));
        while self.locks.len() > self.caps.locks || self.name_bytes > self.caps.name_bytes {
            self.forget_first(keep);
        }
    }

    /// The lock that was not used for longest is forgotten.
    fn forget_first(&mut self, keep: &mut impl FnMut(Before)) {
        let (_, name) = self.uses.first_key_value().expect("there are more than may be");
        let name = Arc::clone(name);
        self.save_first(&name);
        let was = self.set(&name, None).expect("what was used is known");
        let slot = Slot::of(&name);
        let former = self.slots.get(&slot).copied();
        keep(Before::Slot(slot, former));
        keep(Before::Lock(name, Some(was)));
        self.slots.insert(slot, former.unwrap_or(0).max(was.number));
    }

    /// Puts a floor in place of what is known of a lock, or nothing; what was known.
    pub(super) fn set(&mut self, name: &Arc<[u8]>, floor: Option<Floor>) -> Option<Floor> {
        let was = match floor {
            Some(floor) => {
                self.uses.insert(floor.used, Arc::clone(name));
                self.locks.insert(Arc::clone(name), floor)
            }
            None => self.locks.remove(name),
        };
        match (was, floor) {
            (None, Some(_)) => self.name_bytes += name.len(),
            (Some(_), None) => self.name_bytes -= name.len(),
            _ => {}
        }
        if let Some(was) = was.filter(|was| floor.is_none_or(|floor| floor.used != was.used)) {
            self.uses.remove(&was.used);
        }
        was
    }

    /// Takes a change back, the last one first. What is put back counts as saved: it was saved before it was changed.
    pub(crate) fn undo(&mut self, before: Before) {
        match before {
            Before::Lock(name, was) => drop(self.set(&name, was)),
            Before::Slot(slot, Some(was)) => drop(self.slots.insert(slot, was)),
            Before::Slot(slot, None) => drop(self.slots.remove(&slot)),
            Before::LastUse(was) => self.last_use = was,
        }
    }
}

/// What fences mean that are not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The shard has seen all of them.
    Seen,
    /// The log must tell of them.
    New,
}

/// The fences of a command that waits, kept with it.
pub(crate) type Kept = Box<[OwnedFence]>;
