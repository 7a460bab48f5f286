//! What an acceptor remembers, as its log and snapshots give it back.

use super::ballot::Ballot;
use super::record::Record;
use crate::lock::Lock;
use base::codec::{DecodeError, Reader};
use base::{Epoch, Instant, Slot};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// All registers of a node; fill it by [`Table::replay`] before the node's plane is made of it.
#[derive(Clone, Debug, Default, Hash)]
pub struct Table {
    pub(crate) cells: BTreeMap<Bytes, Cell>,
    /// What each slot's swept registers gave out at most.
    pub(crate) floors: BTreeMap<Slot, u64>,
    /// Nothing below this is promised or accepted for a register that isn't there.
    pub(crate) passed: Ballot,
    pub(crate) sealed: Epoch,
    pub(crate) ready: Epoch,
    /// The same, as it stands in the log, durable or not: what is said of the table behind that must not say less.
    pub(crate) ready_written: Epoch,
}

/// One register.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Cell {
    pub(crate) promised: Ballot,
    pub(crate) accepted: Ballot,
    pub(crate) lock: Arc<Lock>,
    /// Since when each holder has the lock, by this node's clock.
    pub(crate) leases: Vec<Lease>,
    /// The number of the write that makes this durable.
    pub(crate) written: u64,
    /// When something was accepted last.
    pub(crate) touched: Instant,
}

/// A holder's time as one acceptor counts it.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Lease {
    pub(crate) token: u64,
    pub(crate) renewal: u64,
    pub(crate) since: Ballot,
    pub(crate) ends: Instant,
}

impl Table {
    /// Takes the records in `bytes`, one after the other, in the order in which they were written; those of a snapshot before those
    /// of the log.
    pub fn replay(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            self.apply(Record::decode(&mut reader)?);
        }
        Ok(())
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Cell { name, promised, accepted, lock } => {
                let cell = self.cells.entry(name).or_default();
                if (promised, accepted) >= (cell.promised, cell.accepted) {
                    (cell.promised, cell.accepted, cell.lock) = (promised, accepted, lock);
                }
            }
            Record::Sealed { epoch } => self.sealed = self.sealed.max(epoch),
            Record::Ready { epoch } => self.ready = self.ready.max(epoch),
            Record::Floor { slot, floor } => {
                let known = self.floors.entry(slot).or_default();
                *known = floor.max(*known);
            }
            Record::Swept { name, epoch } => {
                if self.cells.get(&name).is_some_and(|cell| cell.promised.epoch < epoch) {
                    self.cells.remove(&name);
                }
            }
            Record::Forgotten { name, ballot } => {
                if self.cells.get(&name).is_some_and(|cell| cell.accepted <= ballot) {
                    self.cells.remove(&name);
                }
            }
            Record::Passed { ballot } => self.passed = self.passed.max(ballot),
        }
    }

    /// How many registers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    pub(crate) fn floor(&self, name: &[u8]) -> u64 {
        if self.floors.is_empty() { 0 } else { self.floors.get(&Slot::of(name)).copied().unwrap_or(0) }
    }

    /// The highest ballot that was promised for a register, and is promised for one that isn't there.
    pub(crate) fn promised(&self, name: &[u8]) -> Ballot {
        self.cells.get(name).map_or(self.passed, |cell| cell.promised)
    }

    pub(crate) fn behind(&self, after: Option<&Bytes>) -> impl Iterator<Item = (&Bytes, &Cell)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.cells.range::<Bytes, _>((from, Bound::Unbounded))
    }

    /// A part of a snapshot: records of the registers behind `after` by name, some `bytes_soft` bytes of them, and where the next part
    /// goes on. The first part has the seals and floors too. Registers may change between parts, if the log is kept from where it
    /// stood when the first was cut; and the snapshot counts only once all writes that were asked for before its last part are durable.
    #[must_use]
    pub fn part(&self, after: Option<&Bytes>, bytes_soft: usize) -> (Vec<u8>, Option<Bytes>) {
        let mut out = Vec::new();
        if after.is_none() {
            Record::Sealed { epoch: self.sealed }.encode(&mut out);
            Record::Ready { epoch: self.ready.max(self.ready_written) }.encode(&mut out);
            let floors = self.floors.iter().map(|(slot, floor)| Record::Floor { slot: *slot, floor: *floor });
            floors.for_each(|record| record.encode(&mut out));
            Record::Passed { ballot: self.passed }.encode(&mut out);
        }
        for (name, cell) in self.behind(after) {
            cell.record(name).encode(&mut out);
            if out.len() >= bytes_soft {
                return (out, Some(name.clone()));
            }
        }
        (out, None)
    }
}

impl Cell {
    pub(crate) fn record(&self, name: &Bytes) -> Record {
        let Self { promised, accepted, lock, .. } = self;
        Record::Cell { name: name.clone(), promised: *promised, accepted: *accepted, lock: Arc::clone(lock) }
    }
}
