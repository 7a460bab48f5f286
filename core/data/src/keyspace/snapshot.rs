//! A consistent image of the keyspace without fork: copy-on-write by key.
//!
//! [`Keyspace::begin_cut`] fixes the state as of the last applied index. [`Keyspace::cut_slice`] then walks the keys in
//! bounded slices; a key that is about to change before the walk has reached it is written out first. Each item's
//! epoch byte tells whether it has been saved (or was made after the cut), so no second table is needed. Large
//! strings are shared with the output, not copied.

use super::items::ItemId;
use super::objects::Objects;
use super::{Db, Garbage, Keyspace, NewValue, Waste, aside, item};
use crate::fence::{self, TAG_FLOOR, TAG_SLOT_FLOOR};
use crate::once::{Loading, TAG_CLIENT, TAG_OUTCOME};
use crate::scripts::{Scripts, TAG_FLUSHES, TAG_LIBRARY, TAG_SCRIPT};
use crate::value::Object;
use crate::waits::{self, TAG_ANSWER, TAG_FENCED_WAIT, TAG_WAIT};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::mutation::{self, Mutation};
use base::slot::SLOT_COUNT;
use base::{Index, Stamp};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Progress of the current cut.
#[derive(Debug, Default)]
pub(super) struct Cut {
    epoch: u8,
    /// Where the walk stands: database and slot; nothing when no cut runs.
    at: Option<(u8, u16)>,
    small: Vec<u8>,
    out: VecDeque<Piece>,
    /// Databases that were flushed before the walk came to them, and how far the walk is in the first.
    flushed: VecDeque<(u8, Db)>,
    flushed_slot: u16,
    out_bytes: usize,
}

/// What waits to be given out.
#[derive(Debug)]
enum Piece {
    /// Bytes, and whether they exist for the snapshot alone.
    Bytes(Bytes, bool),
    /// A large value as it was, and how many of its parts were given out. What it takes is counted until it is done.
    Object { object: Object, part: usize, bytes: usize },
}

/// What an item of a snapshot begins with.
struct Name<'a> {
    db: u8,
    expire_at: Option<Stamp>,
    name: &'a [u8],
}

/// Why a snapshot could not be loaded: damage that its checksums missed, or another version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadError(pub DecodeError);

impl From<DecodeError> for LoadError {
    fn from(error: DecodeError) -> Self {
        Self(error)
    }
}

/// What the head of a snapshot says besides the keys.
const HEAD_VERSION: u8 = 1;
const TAG_KEY: u8 = 1;
const TAG_END: u8 = 0;
/// A key whose value is no string.
const TAG_OBJECT: u8 = 4;
const PIECE_BYTES: usize = 64 * 1024;

impl Cut {
    pub(super) fn epoch(&self) -> u8 {
        self.epoch
    }

    fn flush_small(&mut self) {
        if !self.small.is_empty() {
            let piece = Bytes::from(std::mem::take(&mut self.small));
            self.out.push_back(Piece::Bytes(piece, true));
        }
    }

    /// Writes scripts and functions: they are few and shared.
    fn scripts(&mut self, scripts: &Scripts) {
        scripts.image(|head, shared| {
            self.small.extend_from_slice(head);
            self.out_bytes += head.len() + shared.len();
            if !shared.is_empty() {
                self.flush_small();
                self.out.push_back(Piece::Bytes(shared.clone(), false));
            }
        });
    }

    /// Lets what are no keys be written among the small items.
    fn outcomes<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let before = self.small.len();
        let told = write(&mut self.small);
        self.out_bytes += self.small.len() - before;
        if self.small.len() >= PIECE_BYTES {
            self.flush_small();
        }
        told
    }

    fn save(&mut self, db: u8, seen: item::View<'_>, objects: &Objects) {
        let before = self.small.len();
        let object = match seen.body {
            item::Body::Object(number) => Some(objects.get(number)),
            item::Body::Str(_) => None,
        };
        let tag = if matches!(object, None | Some(Object::Str(_))) { TAG_KEY } else { TAG_OBJECT };
        self.small.extend_from_slice(&[tag, db]);
        put_varint(&mut self.small, seen.expire_at.map_or(0, |at| at.0 + 1));
        put_bytes(&mut self.small, seen.key);
        match (seen.body, object) {
            (item::Body::Str(bytes), _) => put_bytes(&mut self.small, bytes),
            (_, Some(Object::Str(bytes))) => {
                put_varint(&mut self.small, bytes.len() as u64);
                self.out_bytes += self.small.len() - before + bytes.len();
                self.flush_small();
                self.out.push_back(Piece::Bytes(bytes.as_ref().clone(), false));
                return;
            }
            (_, Some(object)) if object.bytes() > PIECE_BYTES => {
                let bytes = object.bytes();
                self.out_bytes += self.small.len() - before + bytes;
                self.flush_small();
                self.out.push_back(Piece::Object { object: object.clone(), part: 0, bytes });
                return;
            }
            (_, Some(object)) => {
                let mut part = 0;
                while object.encode_part(part, &mut self.small) {
                    part += 1;
                }
            }
            (item::Body::Object(_), None) => unreachable!("an item names a live object"),
        }
        self.out_bytes += self.small.len() - before;
        if self.small.len() >= PIECE_BYTES {
            self.flush_small();
        }
    }
}

impl Keyspace {
    /// Starts a cut at the last applied index.
    pub fn begin_cut(&mut self) {
        assert!(self.cut.at.is_none(), "one cut at a time");
        self.cut.epoch = self.cut.epoch.wrapping_add(1);
        self.cut.at = Some((0, 0));
        let mut head = vec![HEAD_VERSION];
        put_varint(&mut head, self.seed.0);
        put_varint(&mut head, self.seed.1);
        put_varint(&mut head, self.applied.0.0);
        put_varint(&mut head, self.applied.1.0);
        put_varint(&mut head, self.revision);
        for revision in &self.watch {
            put_varint(&mut head, *revision);
        }
        self.cut.out_bytes = head.len();
        self.cut.out = VecDeque::from([Piece::Bytes(Bytes::from(head), true)]);
        self.outcomes.begin_cut();
        self.floors.begin_cut();
        self.cut.small = Vec::new();
        // They are few, small, and change all the time: they are written at once.
        if !mutation::on(Mutation::WaitersNotInSnapshot) {
            self.cut.outcomes(|small| self.waits.encode(small));
        }
        self.cut.scripts(&self.scripts);
    }

    /// Gives a cut up; what it wrote is worthless.
    pub fn abort_cut(&mut self) {
        self.cut.at = None;
        self.cut.small = Vec::new();
        self.cut.out = VecDeque::new();
        self.cut.flushed_slot = 0;
        self.garbage.extend(self.cut.flushed.drain(..).map(|(_, old)| Garbage(Waste::Db(old))));
        self.cut.out_bytes = 0;
        self.outcomes.abort_cut();
        self.floors.abort_cut();
        // Items saved by the aborted cut carry its epoch; the next cut has another, so they count as unsaved again.
    }

    /// True while a cut runs.
    #[must_use]
    pub fn cutting(&self) -> bool {
        self.cut.at.is_some()
    }

    /// Bytes of the cut that wait to be taken.
    #[must_use]
    pub fn cut_backlog_bytes(&self) -> usize {
        self.cut.out_bytes
    }

    /// Walks on until about `bytes` were written out or the walk is done; true when it is done.
    pub fn cut_slice(&mut self, bytes: usize) -> bool {
        let Some((mut db, mut slot)) = self.cut.at else { return true };
        let until = self.cut.out_bytes + bytes;
        if self.cut_flushed(until) {
            return false;
        }
        while self.cut.out_bytes < until {
            if usize::from(db) == self.dbs.len() {
                let done = self.cut.outcomes(|small| self.outcomes.cut_slice(small, bytes));
                if !done || !self.cut.outcomes(|small| self.floors.cut_slice(small)) {
                    break;
                }
                self.cut.small.push(TAG_END);
                self.cut.out_bytes += 1;
                self.cut.flush_small();
                self.cut.at = None;
                return true;
            }
            let home = &mut self.dbs[usize::from(db)];
            if slot == SLOT_COUNT || home.tables.is_empty() {
                (db, slot) = (db + 1, 0);
                continue;
            }
            Self::save_slot(&mut self.cut, home, db, slot);
            slot += 1;
        }
        self.cut.at = Some((db, slot));
        false
    }

    /// The next piece of the cut's output, and whether it exists for the cut alone or is shared with the keyspace.
    pub fn cut_output(&mut self) -> Option<(Bytes, bool)> {
        self.cut.outcomes(|small| self.outcomes.cut_ahead(small));
        self.cut.outcomes(|small| self.floors.cut_ahead(small));
        if self.cut.out.is_empty() {
            self.cut.flush_small();
        }
        match self.cut.out.pop_front()? {
            Piece::Bytes(piece, copied) => {
                self.cut.out_bytes -= piece.len();
                Some((piece, copied))
            }
            Piece::Object { object, mut part, bytes } => {
                let mut piece = Vec::new();
                let mut more = true;
                while more && piece.len() < PIECE_BYTES {
                    more = object.encode_part(part, &mut piece);
                    part += 1;
                }
                if more {
                    self.cut.out.push_front(Piece::Object { object, part, bytes });
                } else {
                    self.cut.out_bytes -= bytes;
                    self.garbage.push(Garbage(Waste::Object(object)));
                }
                Some((Bytes::from(piece), true))
            }
        }
    }

    /// True if nothing of the cut waits to be taken.
    #[must_use]
    pub fn cut_is_drained(&self) -> bool {
        self.cut.out.is_empty() && self.cut.small.is_empty()
    }

    /// Reads a snapshot back. `body` is what [`Keyspace::cut_output`] gave, joined.
    pub fn load(body: &[u8]) -> Result<Self, LoadError> {
        let mut reader = Reader::new(body);
        match reader.u8()? {
            HEAD_VERSION => {}
            other => return Err(DecodeError::Unknown(u64::from(other)).into()),
        }
        let mut keyspace = Self::new((reader.varint()?, reader.varint()?));
        let (stamp, index) = (Stamp(reader.varint()?), Index(reader.varint()?));
        let revision = reader.varint()?;
        let mut watch = Vec::with_capacity(keyspace.watch.len());
        for _ in 0..keyspace.watch.len() {
            watch.push(reader.varint()?);
        }
        let (mut outcomes, mut waits) = (Loading::default(), waits::Loading::default());
        let mut floors = fence::Loading::default();
        let (mut beside, mut scripts) = (Vec::new(), Scripts::default());
        loop {
            match reader.u8()? {
                TAG_END => break,
                TAG_KEY => {
                    let key = keyspace.load_name(&mut reader)?;
                    match (reader.bytes()?, aside::is_hidden(key.db)) {
                        (record, true) => beside.push((key, record)),
                        (value, false) => keyspace.put(key.db, key.name, NewValue::Str(value), key.expire_at),
                    }
                }
                TAG_OBJECT => {
                    let key = keyspace.load_name(&mut reader)?;
                    let object = NewValue::Object(Object::decode(&mut reader)?);
                    if aside::is_hidden(key.db) {
                        return Err(DecodeError::Unknown(u64::from(key.db)).into());
                    }
                    keyspace.put(key.db, key.name, object, key.expire_at);
                }
                tag @ (TAG_SCRIPT | TAG_LIBRARY | TAG_FLUSHES) => scripts.load(tag, &mut reader)?,
                TAG_CLIENT => outcomes.client(&mut reader)?,
                TAG_OUTCOME => outcomes.outcome(&mut reader)?,
                TAG_FLOOR => floors.floor(&mut reader)?,
                TAG_SLOT_FLOOR => floors.slot_floor(&mut reader)?,
                TAG_WAIT => waits.wait(&mut reader)?,
                TAG_FENCED_WAIT => waits.fenced_wait(&mut reader)?,
                TAG_ANSWER => waits.answer(&mut reader)?,
                other => return Err(DecodeError::Unknown(u64::from(other)).into()),
            }
        }
        // What stands beside a key would go when the key is put in.
        for (key, record) in beside {
            aside::check(key.db, record)?;
            keyspace.put(key.db, key.name, NewValue::Str(record), key.expire_at);
        }
        keyspace.outcomes = outcomes.done()?;
        keyspace.floors = floors.done();
        keyspace.waits = waits.done();
        keyspace.scripts = Arc::new(scripts);
        keyspace.applied = (stamp, index);
        keyspace.use_all();
        (keyspace.watch, keyspace.revision) = (watch.into_boxed_slice(), revision);
        if reader.is_empty() { Ok(keyspace) } else { Err(LoadError(DecodeError::Overlong)) }
    }

    fn load_name<'a>(&self, reader: &mut Reader<'a>) -> Result<Name<'a>, LoadError> {
        let db = reader.u8()?;
        if usize::from(db) >= self.dbs.len() {
            return Err(DecodeError::Unknown(u64::from(db)).into());
        }
        let expiry = reader.varint()?;
        Ok(Name { db, expire_at: expiry.checked_sub(1).map(Stamp), name: reader.bytes()? })
    }

    /// Writes the item out if a cut runs that has not saved it: called before every change of an item.
    pub(super) fn save_first(&mut self, db: u8, item: ItemId) {
        if self.cut.at.is_none() || mutation::on(Mutation::SnapshotWithoutCopyOnWrite) {
            return;
        }
        let home = &mut self.dbs[usize::from(db)];
        let stored = home.items.get_mut(item);
        if item::epoch(stored) != self.cut.epoch {
            self.cut.save(db, item::view(stored), &home.objects);
            item::set_epoch(stored, self.cut.epoch);
        }
    }

    /// Takes a flushed database over: the running cut, if there is one, still has to write it.
    pub(super) fn hand_over(&mut self, db: u8, old: Db) {
        if self.cut.at.is_some() && !mutation::on(Mutation::SnapshotWithoutCopyOnWrite) {
            self.cut.flushed.push_back((db, old));
        } else {
            self.garbage.push(Garbage(Waste::Db(old)));
        }
    }

    /// Walks on in what was flushed since the cut began; false when that is done.
    fn cut_flushed(&mut self, until: usize) -> bool {
        while let Some((db, mut home)) = self.cut.flushed.pop_front() {
            let mut slot = std::mem::take(&mut self.cut.flushed_slot);
            while usize::from(slot) < home.tables.len() {
                if self.cut.out_bytes >= until {
                    self.cut.flushed_slot = slot;
                    self.cut.flushed.push_front((db, home));
                    return true;
                }
                Self::save_slot(&mut self.cut, &mut home, db, slot);
                slot += 1;
            }
            self.garbage.push(Garbage(Waste::Db(home)));
        }
        false
    }

    fn save_slot(cut: &mut Cut, home: &mut Db, db: u8, slot: u16) {
        let epoch = cut.epoch;
        let Db { tables, items, objects, .. } = home;
        for item in tables[usize::from(slot)].items() {
            let stored = items.get_mut(item);
            if item::epoch(stored) != epoch {
                cut.save(db, item::view(stored), objects);
                item::set_epoch(stored, epoch);
            }
        }
    }
}
