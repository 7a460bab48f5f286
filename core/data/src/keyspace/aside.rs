//! What is known of a key beside its value: marks of a cache, a value that outlives its key, and who is filling it.
//!
//! It stands in hidden databases behind those that commands name, as plain items: so it expires, is saved and summed up like any
//! other. [`MARKS`] holds what belongs to a key that lives ([`Marks`]), or stands where one was ([`Kept`], nothing);
//! [`LEASES`] holds who is filling one that isn't there ([`Lease`]) and dies at its deadline.
//!
//! All of it goes with the next change of the key, whoever makes it: being set, changed or deleted, even if it wasn't there.
//! That is the guarantee of a lease. Alone the end of its time, a new expiry, and a copy leave a key's marks in place.

use super::item::{self, Body};
use super::items::ItemId;
use super::table::Place;
use super::{Keyspace, NewValue};
use crate::value::Object;
use base::Stamp;
use base::codec::{DecodeError, Reader, put_varint};
use base::limits::{DATABASE_COUNT, FILL_JITTER_PERCENT_MAX};
use base::mutation::{self, Mutation};
use bytes::Bytes;

/// Where the hidden databases of each kind begin.
const MARKS: u8 = DATABASE_COUNT;
pub(super) const LEASES: u8 = 2 * DATABASE_COUNT;
/// All databases, the hidden ones too.
pub(super) const HOME_COUNT: u8 = 3 * DATABASE_COUNT;

const TAG_MARKS: u8 = 1;
const TAG_KEPT: u8 = 2;
const TAG_NOTHING: u8 = 3;
const STALE: u8 = 1;
const SENT: u8 = 2;
const HIT: u8 = 4;

/// What belongs to a key that lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// A cache client's own number for the value.
    pub flags: u32,
    /// The value's version, or 0 for that of the key's WATCH bucket.
    pub cas: u64,
    /// The value is known to be out of date.
    pub stale: bool,
    /// Somebody was told to bring a new one.
    pub sent: bool,
    /// It was asked for by one who wants to know that.
    pub hit: bool,
    /// When it was last, or 0.
    pub accessed: Stamp,
    /// How long the value is kept after its key has died.
    pub keep_ms: u64,
}

/// A value that outlives its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub died_at: Stamp,
    pub value: Bytes,
}

/// What stands in the place of a key that isn't there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aside {
    Kept(Kept),
    /// There is nothing to be had, until then.
    Nothing(Stamp),
}

/// Who is filling a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub token: u64,
    /// How long the value will live, and be kept after that.
    pub ttl_ms: u64,
    pub stale_ms: u64,
    /// By how much chance may shorten its life.
    pub jitter_percent: u8,
    /// Until when the token is good.
    pub until: Stamp,
}

/// A record on its way into [`MARKS`].
struct Record {
    bytes: Vec<u8>,
    until: Stamp,
}

/// True for a database that no command names.
pub(super) fn is_hidden(db: u8) -> bool {
    db >= DATABASE_COUNT
}

/// Whether a record that comes from elsewhere can be read.
pub(super) fn check(db: u8, bytes: &[u8]) -> Result<(), DecodeError> {
    if db >= LEASES {
        return Lease::decode(bytes, Stamp(0)).map(drop);
    }
    match bytes.split_first() {
        Some((&TAG_MARKS, rest)) => Marks::decode(rest).map(drop),
        Some((&TAG_KEPT, rest)) => Reader::new(rest).varint().map(drop),
        Some((&TAG_NOTHING, [])) => Ok(()),
        Some((tag, _)) => Err(DecodeError::Unknown(u64::from(*tag))),
        None => Err(DecodeError::Truncated),
    }
}

impl Keyspace {
    /// The marks of a live key, if it has any.
    #[must_use]
    pub fn marks(&self, db: u8, key: &[u8]) -> Option<Marks> {
        let (bytes, _) = self.record(MARKS + db, key)?;
        let marks = bytes.split_first().filter(|(tag, _)| **tag == TAG_MARKS);
        marks.map(|(_, rest)| Marks::decode(rest).expect("records are checked when they come in"))
    }

    /// Marks a live key; plain marks leave no record. A record without a version gets one of its own.
    pub fn set_marks(&mut self, db: u8, key: &[u8], marks: Option<Marks>) {
        let Some(marks) = marks.filter(|marks| *marks != Marks::default()) else {
            return self.drop_record(MARKS + db, key);
        };
        let cas = if marks.cas == 0 { self.revision + 1 } else { marks.cas };
        let bytes = Marks { cas, ..marks }.encode();
        self.put(MARKS + db, key, NewValue::Str(&bytes), None);
    }

    /// The version of a key's value: it changes with the value, and may change with that of another key of its bucket.
    #[must_use]
    pub fn cas(&self, db: u8, key: &[u8]) -> u64 {
        self.marks(db, key).map_or_else(|| self.watched(db, key).1, |marks| marks.cas)
    }

    /// What stands in the place of a key that isn't there.
    #[must_use]
    pub fn aside(&self, db: u8, key: &[u8]) -> Option<Aside> {
        let (bytes, until) = self.record(MARKS + db, key)?;
        match bytes.split_first()? {
            (&TAG_NOTHING, _) => Some(Aside::Nothing(until?)),
            (&TAG_KEPT, rest) => {
                let mut reader = Reader::new(rest);
                let died_at = Stamp(reader.varint().expect("records are checked when they come in"));
                Some(Aside::Kept(Kept { died_at, value: Bytes::copy_from_slice(reader.rest()) }))
            }
            _ => None,
        }
    }

    /// Remembers that a key that isn't there has nothing to be had.
    pub fn set_nothing(&mut self, db: u8, key: &[u8], until: Stamp) {
        self.forget_aside(db, key);
        self.put(MARKS + db, key, NewValue::Str(&[TAG_NOTHING]), Some(until));
    }

    /// Who is filling a key.
    #[must_use]
    pub fn lease(&self, db: u8, key: &[u8]) -> Option<Lease> {
        let (bytes, until) = self.record(LEASES + db, key)?;
        Some(Lease::decode(bytes, until?).expect("records are checked when they come in"))
    }

    /// Lets somebody fill a key, who is named by the token that comes back: no other one of this shard is equal.
    pub fn set_lease(&mut self, db: u8, key: &[u8], lease: Lease) -> u64 {
        let token = self.revision + 1;
        let bytes = Lease { token, ..lease }.encode();
        self.put(LEASES + db, key, NewValue::Str(&bytes), Some(lease.until));
        token
    }

    /// Nobody is filling a key any more.
    pub fn drop_lease(&mut self, db: u8, key: &[u8]) {
        self.drop_record(LEASES + db, key);
    }

    /// A key that is dead leaves now, and what it is to leave behind is there.
    pub fn bury(&mut self, db: u8, key: &[u8]) {
        let address = self.address(db, key);
        if let Some(item) = self.place(db, address, key)
            && self.is_dead(db, item)
        {
            self.take_dead(db, key);
        }
    }

    /// Takes a key out whose time is over, and keeps what is to outlive it.
    pub(super) fn take_dead(&mut self, db: u8, key: &[u8]) {
        let address = self.address(db, key);
        let kept = self.place(db, address, key).and_then(|item| self.outliving(db, key, item));
        self.take(db, key);
        if let Some(Record { bytes, until }) = kept {
            self.put(MARKS + db, key, NewValue::Str(&bytes), Some(until));
        }
    }

    /// The key has changed: nothing that was known beside its value holds any more.
    pub(super) fn forget_aside(&mut self, db: u8, key: &[u8]) {
        if !is_hidden(db) {
            self.drop_record(MARKS + db, key);
            if !mutation::on(Mutation::FillAfterWrite) {
                self.drop_record(LEASES + db, key);
            }
        }
    }

    /// What stands where a key was goes.
    pub(super) fn drop_outliving(&mut self, db: u8, key: &[u8]) {
        self.drop_record(MARKS + db, key);
    }

    /// Something has changed beside a key: who waits for one that isn't being filled any more may fill it.
    pub(super) fn note_aside(&mut self, home: u8, key: &[u8]) {
        if let Some(db) = home.checked_sub(LEASES) {
            self.note_for_waits(db, key);
        }
    }

    /// The database is emptied.
    pub(super) fn flush_aside(&mut self, db: u8) {
        for home in [MARKS + db, LEASES + db] {
            let old = std::mem::take(&mut self.dbs[usize::from(home)]);
            if old.len > 0 {
                self.revision += 1;
                if let Some(old) = self.keep_flushed(home, old) {
                    self.hand_over(home, old);
                }
            }
        }
    }

    /// What is to be kept of an item that is dead.
    fn outliving(&self, db: u8, key: &[u8], item: ItemId) -> Option<Record> {
        if is_hidden(db) || self.dbs[usize::from(MARKS + db)].len == 0 || !self.is_dead(db, item) {
            return None;
        }
        let home = &self.dbs[usize::from(db)];
        let seen = item::view(home.items.get(item));
        let (died_at, keep_ms) = (seen.expire_at?, self.marks(db, key)?.keep_ms);
        let until = Stamp(died_at.0.saturating_add(keep_ms));
        let value: &[u8] = match seen.body {
            Body::Str(bytes) => bytes,
            Body::Object(number) => match home.objects.get(number) {
                Object::Str(bytes) => bytes,
                _ => return None,
            },
        };
        let mut bytes = Vec::with_capacity(value.len() + 10);
        bytes.push(TAG_KEPT);
        put_varint(&mut bytes, died_at.0);
        bytes.extend_from_slice(value);
        (until > self.applied.0).then_some(Record { bytes, until })
    }

    fn is_dead(&self, db: u8, item: ItemId) -> bool {
        item::view(self.dbs[usize::from(db)].items.get(item)).expire_at.is_some_and(|at| at <= self.applied.0)
    }

    fn drop_record(&mut self, home: u8, key: &[u8]) {
        if self.dbs[usize::from(home)].len > 0 {
            self.take(home, key);
        }
    }

    /// A record that has not expired, and when it will.
    fn record(&self, home: u8, key: &[u8]) -> Option<(&[u8], Option<Stamp>)> {
        let hidden = &self.dbs[usize::from(home)];
        if hidden.len == 0 {
            return None;
        }
        let address = self.address(home, key);
        let table = self.table(home, address.slot)?;
        let Place::Found(at) = table.find(&hidden.items, address.tag, key) else { return None };
        let seen = item::view(hidden.items.get(table.item(at)));
        let bytes: &[u8] = match seen.body {
            Body::Str(bytes) => bytes,
            Body::Object(number) => match hidden.objects.get(number) {
                Object::Str(bytes) => bytes,
                _ => unreachable!("hidden databases hold strings"),
            },
        };
        seen.expire_at.is_none_or(|at| at > self.applied.0).then_some((bytes, seen.expire_at))
    }
}

impl Marks {
    fn encode(self) -> Vec<u8> {
        let bits = [(self.stale, STALE), (self.sent, SENT), (self.hit, HIT)];
        let bits = bits.iter().filter(|(on, _)| *on).fold(0, |sum, (_, bit)| sum | bit);
        let mut out = vec![TAG_MARKS, bits];
        for number in [u64::from(self.flags), self.cas, self.accessed.0, self.keep_ms] {
            put_varint(&mut out, number);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let bits = reader.u8()?;
        let marks = Self {
            flags: u32::try_from(reader.varint()?).map_err(|_| DecodeError::Overlong)?,
            cas: reader.varint()?,
            stale: bits & STALE != 0,
            sent: bits & SENT != 0,
            hit: bits & HIT != 0,
            accessed: Stamp(reader.varint()?),
            keep_ms: reader.varint()?,
        };
        let known = bits & !(STALE | SENT | HIT) == 0 && reader.is_empty();
        if known { Ok(marks) } else { Err(DecodeError::Unknown(u64::from(bits))) }
    }
}

impl Lease {
    fn encode(self) -> Vec<u8> {
        let mut out = vec![self.jitter_percent];
        for number in [self.token, self.ttl_ms, self.stale_ms] {
            put_varint(&mut out, number);
        }
        out
    }

    fn decode(bytes: &[u8], until: Stamp) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let jitter_percent = reader.u8()?;
        let lease = Self {
            jitter_percent,
            token: reader.varint()?,
            ttl_ms: reader.varint()?,
            stale_ms: reader.varint()?,
            until,
        };
        let known = jitter_percent <= FILL_JITTER_PERCENT_MAX && reader.is_empty();
        if known { Ok(lease) } else { Err(DecodeError::Unknown(u64::from(jitter_percent))) }
    }
}
