//! Floors in snapshots and digests: as of the cut, in slices, with what is about to change written out first.
//!
//! Floors of slots are few and small, so they are written when a cut begins. The floor of a lock is saved when the walk over
//! their names comes by, or before it changes; its epoch tells which. FORMAT.md draws the bytes.

use super::floors::{Floor, Floors};
use base::Slot;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::FENCE_LOCK_BYTES_MAX;
use base::mutation::{self, Mutation};
use base::slot::SLOT_COUNT;
use std::hash::Hasher;
use std::ops::Bound;
use std::sync::Arc;

/// Tags of a snapshot's items.
pub const TAG_FLOOR: u8 = 10;
pub const TAG_SLOT_FLOOR: u8 = 11;

/// Locks that one slice looks at.
const LOCKS_PER_SLICE: usize = 1024;
/// No shard comes to see so many uses.
const USES_END: u64 = 1 << 62;

/// Progress of the running cut.
#[derive(Debug, Default)]
pub(super) struct Cut {
    epoch: u64,
    walk: Option<Walk>,
    /// Written out before the walk came by, and not yet taken.
    saved: Vec<u8>,
}

/// A cut has yet to save the locks behind a name, or all.
#[derive(Debug)]
struct Walk(Option<Arc<[u8]>>);

impl Cut {
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl Floors {
    /// Starts a cut: what is there now is what it will hold.
    pub fn begin_cut(&mut self) {
        self.cut.epoch += 1;
        self.cut.saved = Vec::new();
        if mutation::on(Mutation::FloorsNotInSnapshot) {
            return;
        }
        self.cut.walk = Some(Walk(None));
        for (slot, number) in &self.slots {
            self.cut.saved.push(TAG_SLOT_FLOOR);
            put_varint(&mut self.cut.saved, u64::from(slot.0));
            put_varint(&mut self.cut.saved, *number);
        }
    }

    /// Gives a cut up.
    pub fn abort_cut(&mut self) {
        self.cut.walk = None;
        self.cut.saved = Vec::new();
    }

    /// Takes what was written out ahead of the walk.
    pub fn cut_ahead(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.cut.saved);
    }

    /// Walks on by a slice; true when the walk is done.
    pub fn cut_slice(&mut self, out: &mut Vec<u8>) -> bool {
        self.cut_ahead(out);
        let Some(Walk(from)) = &mut self.cut.walk else { return true };
        let from = from.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut last = None;
        for (name, floor) in self.locks.range_mut::<[u8], _>((as_bytes(&from), Bound::Unbounded)).take(LOCKS_PER_SLICE)
        {
            if floor.epoch != self.cut.epoch {
                floor.epoch = self.cut.epoch;
                save(out, name, *floor);
            }
            last = Some(Arc::clone(name));
        }
        self.cut.walk = last.map(|last| Walk(Some(last)));
        self.cut.walk.is_none()
    }

    /// Call it before what is known of a lock changes or goes.
    pub(super) fn save_first(&mut self, name: &Arc<[u8]>) {
        if self.cut.walk.is_none() {
            return;
        }
        if let Some(floor) = self.locks.get_mut(name).filter(|floor| floor.epoch != self.cut.epoch) {
            floor.epoch = self.cut.epoch;
            save(&mut self.cut.saved, name, *floor);
        }
    }

    /// Adds it to a digest.
    pub fn digest(&self, hasher: &mut impl Hasher) {
        for (used, name) in &self.uses {
            hasher.write_usize(name.len());
            hasher.write(name);
            [*used, self.locks[name].number].into_iter().for_each(|number| hasher.write_u64(number));
        }
        for (slot, number) in &self.slots {
            hasher.write_u16(slot.0);
            hasher.write_u64(*number);
        }
    }
}

fn as_bytes(from: &Bound<Arc<[u8]>>) -> Bound<&[u8]> {
    match from {
        Bound::Excluded(name) => Bound::Excluded(name),
        _ => Bound::Unbounded,
    }
}

fn save(out: &mut Vec<u8>, name: &[u8], floor: Floor) {
    out.push(TAG_FLOOR);
    put_bytes(out, name);
    put_varint(out, floor.number);
    put_varint(out, floor.used);
}

/// What a snapshot has said so far of floors; its items come in any order.
#[derive(Debug, Default)]
pub struct Loading {
    floors: Floors,
}

impl Loading {
    /// The floor of a lock, behind its tag.
    pub fn floor(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let (lock, number, used) = (reader.bytes()?, reader.varint()?, reader.varint()?);
        let name: Arc<[u8]> = lock.into();
        let known = self.floors.locks.contains_key(&name) || self.floors.uses.contains_key(&used);
        let named = (1..=FENCE_LOCK_BYTES_MAX).contains(&lock.len());
        if known || !named || used == 0 || used >= USES_END || number > u64::MAX >> 1 {
            return Err(DecodeError::Unknown(used));
        }
        self.floors.set(&name, Some(Floor { number, used, epoch: 0 }));
        self.floors.last_use = self.floors.last_use.max(used);
        Ok(())
    }

    /// The floor of a slot, behind its tag.
    pub fn slot_floor(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let (slot, number) = (reader.varint()?, reader.varint()?);
        let place = u16::try_from(slot).ok().filter(|slot| *slot < SLOT_COUNT).map(Slot);
        let place = place.ok_or(DecodeError::Unknown(slot))?;
        match self.floors.slots.insert(place, number) {
            None => Ok(()),
            Some(_) => Err(DecodeError::Unknown(slot)),
        }
    }

    /// All is said.
    #[must_use]
    pub fn done(self) -> Floors {
        self.floors
    }
}
