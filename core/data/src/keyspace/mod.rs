//! The keys and values of one shard: the part of the replicated state that commands see.
//!
//! Sixteen databases of slots; each slot a [`table::Table`]. A key is dead iff its expiry is not later than the last
//! applied stamp; dead keys are invisible at once and removed by and by from an ordered expiry index. Every change
//! goes through [`Keyspace::put`] or [`Keyspace::take`], so WATCH, expiry and snapshots can't be forgotten.

mod aside;
mod containers;
mod edit;
mod expiry;
mod facts;
mod fences;
pub mod item;
pub mod items;
mod live;
mod near;
mod notices;
mod objects;
mod snapshot;
pub mod table;
mod undo;
mod uses;
mod victims;
mod waiting;
mod walk;

use crate::fence::Floors;
use crate::once::Outcomes;
use crate::scripts::Scripts;
use crate::value::Object;
use crate::waits::Waits;
use crate::{Context, Refused};
use base::limits::WATCH_BUCKET_COUNT;
use base::mutation::{self, Mutation};
use base::slot::SLOT_COUNT;
use base::{Index, Slot, Stamp};
use bytes::Bytes;
use item::Body;
use items::{ItemId, Items};
use objects::Objects;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Arc;
use table::{Place, Table, Tag};

pub use aside::{Aside, Kept, Lease, Marks};
pub use containers::{Absent, Changed};
pub use expiry::Ttl;
pub use live::{Live, Value};
pub use near::{Lookup, NEAR_MAX, bring_near};
pub use notices::{Change, Changes, Class, Listening, Notice};
pub use snapshot::LoadError;
pub(crate) use undo::Savepoint;
pub use uses::Noted;
pub use victims::{Among, Batch, Order, Pool, Victim, Wanted};
pub use walk::ScanPage;

/// Keys and values; see the module.
#[derive(Debug)]
pub struct Keyspace {
    dbs: Vec<Db>,
    seed: (u64, u64),
    /// By bucket, the revision of the last change of one of its keys.
    watch: Box<[u64]>,
    /// How many changes there have been.
    revision: u64,
    /// The last applied stamp and index.
    applied: (Stamp, Index),
    outcomes: Outcomes,
    floors: Floors,
    waits: Waits,
    scripts: Arc<Scripts>,
    cut: snapshot::Cut,
    garbage: Vec<Garbage>,
    heard: notices::Heard,
    trial: Option<Box<undo::Trial>>,
    uses: uses::Uses,
}

#[derive(Debug, Default)]
struct Db {
    tables: Box<[Table]>,
    items: Items,
    objects: Objects,
    expiry: expiry::ExpiryIndex,
    len: usize,
    expiring: usize,
    /// Bytes of all items, what stands apart from them not among them.
    item_bytes: usize,
    /// Bytes of the tables.
    table_bytes: usize,
}

/// What was taken out and is large: to be dropped where nobody waits for it.
#[derive(Debug)]
pub struct Garbage(#[expect(dead_code, reason = "it exists to be dropped")] Waste);

#[derive(Debug)]
#[expect(dead_code, reason = "it exists to be dropped")]
enum Waste {
    Db(Db),
    Object(Object),
}

/// Strings above this size stand apart from their key and are shared with replies instead of copied.
const INLINE_STRING_BYTES_MAX: usize = 2048;

/// Where a key belongs.
#[derive(Clone, Copy, Debug)]
struct Address {
    slot: Slot,
    tag: Tag,
    bucket: u32,
}

impl Keyspace {
    /// An empty keyspace whose hashes are keyed by `seed`, which all replicas share.
    #[must_use]
    pub fn new(seed: (u64, u64)) -> Self {
        Self {
            dbs: (0..aside::HOME_COUNT).map(|_| Db::default()).collect(),
            seed,
            watch: vec![0; WATCH_BUCKET_COUNT].into_boxed_slice(),
            revision: 0,
            applied: (Stamp(0), Index(0)),
            outcomes: Outcomes::default(),
            floors: Floors::default(),
            waits: Waits::default(),
            scripts: Arc::default(),
            cut: snapshot::Cut::default(),
            garbage: Vec::new(),
            heard: notices::Heard::default(),
            trial: None,
            uses: uses::Uses::default(),
        }
    }

    /// The last applied stamp.
    #[must_use]
    pub fn applied_stamp(&self) -> Stamp {
        self.applied.0
    }

    /// The last applied index.
    #[must_use]
    pub fn applied_index(&self) -> Index {
        self.applied.1
    }

    /// What is left to chance depends on the state alone.
    pub(crate) fn chance(&self) -> u64 {
        self.seed.1 ^ self.applied.1.0.rotate_left(40) ^ self.revision.rotate_left(16)
    }

    /// A hasher under the seed that all replicas share.
    pub(crate) fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.seed.0, self.seed.1)
    }

    /// A secret that keys the indexes of large containers, so that nobody can choose members that meet there. It decides
    /// nothing that can be seen.
    #[must_use]
    pub fn index_seed(&self) -> u64 {
        self.seed.0.rotate_left(32) ^ self.seed.1
    }

    /// Time passes: called once per log entry, before its commands.
    pub fn advance(&mut self, stamp: Stamp, index: Index) {
        assert!(stamp >= self.applied.0, "a stamp never goes back");
        assert!(index > self.applied.1, "entries are applied once and in order");
        self.waits.answers.go_on(self.applied.0, stamp);
        self.applied = (stamp, index);
    }

    /// The live key `key`, or nothing. On a read at a time that no entry has reached, asks for a Tick.
    #[must_use]
    pub fn get(&self, cx: &Context, key: &[u8]) -> Option<Live<'_>> {
        let found = self.find_live(cx, key);
        if found.is_none() && !cx.tick_needed.get() {
            self.heard.missed(cx.db, key);
        }
        found
    }

    /// The same for questions about a key, which don't count as its use.
    #[must_use]
    pub fn look(&self, cx: &Context, key: &[u8]) -> Option<Live<'_>> {
        let found = self.peek(cx, key);
        if found.is_none() && !cx.tick_needed.get() {
            self.heard.missed(cx.db, key);
        }
        found
    }

    /// The same for those who look at how it is held: it is not missed either.
    #[must_use]
    pub fn peek(&self, cx: &Context, key: &[u8]) -> Option<Live<'_>> {
        let item = self.place(cx.db, self.address(cx.db, key), key)?;
        self.live(cx, self.dbs[usize::from(cx.db)].items.get(item))
    }

    fn find_live(&self, cx: &Context, key: &[u8]) -> Option<Live<'_>> {
        let address = self.address(cx.db, key);
        let table = self.table(cx.db, address.slot)?;
        let items = &self.dbs[usize::from(cx.db)].items;
        let Place::Found(at) = table.find(items, address.tag, key) else { return None };
        let item = table.item(at);
        let live = self.live(cx, items.get(item))?;
        uses::note(&self.uses, items, item, cx.stamp);
        Some(live)
    }

    /// The string at `key`: nothing, or an error if it is of another type.
    pub fn string(&self, cx: &Context, key: &[u8]) -> Result<Option<&[u8]>, Refused> {
        self.get(cx, key).map(|live| live.value.string()).transpose()
    }

    /// True if `key` is there and alive.
    #[must_use]
    pub fn contains(&self, cx: &Context, key: &[u8]) -> bool {
        self.get(cx, key).is_some()
    }

    /// Sets `key` to a string. Any former value, of any type, is replaced.
    pub fn set_string(&mut self, cx: &Context, key: &[u8], value: &[u8], ttl: Ttl) {
        let expire_at = match ttl {
            Ttl::Clear => None,
            Ttl::At(stamp) => Some(stamp),
            Ttl::Keep => self.get(cx, key).and_then(|live| live.expire_at),
        };
        self.put(cx.db, key, NewValue::Str(value), expire_at);
    }

    /// Like [`Keyspace::set_string`] for a string that the caller owns; large ones are kept without a copy.
    pub fn set_owned(&mut self, cx: &Context, key: &[u8], value: Vec<u8>, ttl: Ttl) {
        if value.len() <= INLINE_STRING_BYTES_MAX {
            return self.set_string(cx, key, &value, ttl);
        }
        let expire_at = match ttl {
            Ttl::Clear => None,
            Ttl::At(stamp) => Some(stamp),
            Ttl::Keep => self.get(cx, key).and_then(|live| live.expire_at),
        };
        self.put(cx.db, key, NewValue::Object(Bytes::from(value).into()), expire_at);
    }

    /// Takes the string at `key` for change; give it back by [`Keyspace::set_owned`] with [`Ttl::Keep`]. A large
    /// string that nobody shares is not copied. The stored value reads as empty until then.
    pub fn take_string(&mut self, cx: &Context, key: &[u8]) -> Result<Vec<u8>, Refused> {
        let Some(live) = self.get(cx, key) else { return Ok(Vec::new()) };
        let bytes = match live.value {
            Value::Str(bytes) => return Ok(bytes.to_vec()),
            Value::Large(bytes) => bytes.clone(),
            Value::Other(_) => return Err(Refused::WrongType),
        };
        let expire_at = live.expire_at;
        self.put(cx.db, key, NewValue::Str(b""), expire_at);
        Ok(bytes.into())
    }

    /// Removes `key`; false if it was not there or dead.
    pub fn remove(&mut self, cx: &Context, key: &[u8]) -> bool {
        let alive = self.contains(cx, key);
        self.take(cx.db, key);
        alive
    }

    /// Sets or clears the expiry of a live key; false if there is none. A time that has passed removes the key.
    pub fn set_expiry(&mut self, cx: &Context, key: &[u8], expire_at: Option<Stamp>) -> bool {
        if !self.contains(cx, key) {
            return false;
        }
        if expire_at.is_some_and(|at| at <= self.applied.0) {
            self.take(cx.db, key);
            return true;
        }
        let marks = self.marks(cx.db, key);
        let address = self.address(cx.db, key);
        let copied;
        let body = match self.find_body(cx.db, address, key).expect("the key is alive") {
            Body::Str(bytes) => {
                copied = bytes.to_vec();
                Body::Str(&copied)
            }
            Body::Object(number) => Body::Object(number),
        };
        self.swap(cx.db, address, key, body, expire_at, KeepObject::Yes);
        self.set_marks(cx.db, key, marks);
        true
    }

    /// Copies a live key's value and expiry to `(to_db, to)`, replacing what stands there; false if it isn't there.
    pub fn copy(&mut self, cx: &Context, from: &[u8], to_db: u8, to: &[u8]) -> bool {
        let Some(live) = self.get(cx, from) else { return false };
        let expire_at = live.expire_at;
        let marks = self.marks(cx.db, from);
        match live.value {
            Value::Str(bytes) => {
                let bytes = bytes.to_vec();
                self.put(to_db, to, NewValue::Str(&bytes), expire_at);
            }
            Value::Large(bytes) => {
                let shared = Object::from(bytes.clone());
                self.put(to_db, to, NewValue::Object(shared), expire_at);
            }
            Value::Other(object) => {
                let copied = object.clone();
                self.put(to_db, to, NewValue::Object(copied), expire_at);
            }
        }
        self.set_marks(to_db, to, marks.map(|marks| Marks { cas: self.revision + 1, ..marks }));
        true
    }

    fn live<'a>(&'a self, cx: &Context, stored: &'a [u8]) -> Option<Live<'a>> {
        let seen = item::view(stored);
        if let Some(at) = seen.expire_at {
            if at <= self.applied.0 {
                return None;
            }
            if at <= cx.stamp && !mutation::on(Mutation::DeadKeysServedUntilNextEntry) {
                cx.tick_needed.set(true);
                return None;
            }
        }
        let value = match seen.body {
            Body::Str(bytes) => Value::Str(bytes),
            Body::Object(number) => match self.dbs[usize::from(cx.db)].objects.get(number) {
                Object::Str(bytes) => Value::Large(bytes),
                other => Value::Other(other),
            },
        };
        Some(Live { key: seen.key, expire_at: seen.expire_at, value })
    }

    fn put(&mut self, db: u8, key: &[u8], value: NewValue<'_>, expire_at: Option<Stamp>) {
        let address = self.address(db, key);
        if let NewValue::Str(bytes) = value
            && self.overwrite(db, address, key, bytes, expire_at)
        {
            return;
        }
        let body = self.body(db, value);
        self.swap(db, address, key, body, expire_at, KeepObject::No);
    }

    /// A value on its way into an item.
    fn body<'a>(&mut self, db: u8, value: NewValue<'a>) -> Body<'a> {
        let objects = &mut self.dbs[usize::from(db)].objects;
        match value {
            NewValue::Str(bytes) if bytes.len() <= INLINE_STRING_BYTES_MAX => Body::Str(bytes),
            NewValue::Str(bytes) => Body::Object(objects.insert(Bytes::copy_from_slice(bytes).into())),
            NewValue::Object(object) => Body::Object(objects.insert(object)),
        }
    }

    /// The fast way: a string of the same length and no expiry on either side is changed in place.
    fn overwrite(&mut self, db: u8, address: Address, key: &[u8], bytes: &[u8], expire_at: Option<Stamp>) -> bool {
        let Some(item) = self.place(db, address, key) else { return false };
        if expire_at.is_some() || item::view(self.dbs[usize::from(db)].items.get(item)).expire_at.is_some() {
            return false;
        }
        self.save_first(db, item);
        self.keep_first(db, key, Some(item));
        let done = item::overwrite(self.dbs[usize::from(db)].items.get_mut(item), bytes);
        if done {
            uses::note(&self.uses, &self.dbs[usize::from(db)].items, item, self.applied.0);
            self.touch(db, address, key);
        }
        done
    }

    /// Puts an item in place of what stands at its key, if anything does.
    fn swap(
        &mut self,
        db: u8,
        address: Address,
        key: &[u8],
        body: Body<'_>,
        expire_at: Option<Stamp>,
        keep: KeepObject,
    ) {
        if self.trial.is_some() {
            self.keep_first(db, key, self.place(db, address, key));
        }
        self.lay(db, address, key, body, expire_at, keep);
        self.touch(db, address, key);
    }

    /// The same without a trace: the change doesn't count as one.
    fn lay(
        &mut self,
        db: u8,
        address: Address,
        key: &[u8],
        body: Body<'_>,
        expire_at: Option<Stamp>,
        keep: KeepObject,
    ) {
        self.reserve(db);
        let (size, epoch) = (item::size(key, body, expire_at), self.cut.epoch());
        let (home, slot) = (usize::from(db), usize::from(address.slot.0));
        match self.dbs[home].tables[slot].find(&self.dbs[home].items, address.tag, key) {
            Place::Found(at) => {
                let old = self.dbs[home].tables[slot].item(at);
                self.save_first(db, old);
                if self.forget(db, address, old, keep) == Was::Dead {
                    self.notify(db, Class::New, "new", key);
                }
                let Db { tables, items, item_bytes, .. } = &mut self.dbs[home];
                let used = self.uses.after(items.use_of(old).get(), self.applied.0);
                let item = items.resize(old, size);
                items.use_of(item).set(used);
                let bytes = items.get_mut(item);
                *item_bytes += bytes.len();
                item::write(bytes, key, body, expire_at, epoch);
                tables[slot].replace(at, item);
            }
            Place::Vacant(at) => {
                let Db { tables, items, len, item_bytes, table_bytes, .. } = &mut self.dbs[home];
                let item = items.insert(size);
                items.use_of(item).set(self.uses.of_new(self.applied.0));
                let bytes = items.get_mut(item);
                *item_bytes += bytes.len();
                item::write(bytes, key, body, expire_at, epoch);
                *table_bytes -= tables[slot].bytes();
                tables[slot].insert(items, address.tag, at, item);
                *table_bytes += tables[slot].bytes();
                *len += 1;
                self.notify(db, Class::New, "new", key);
            }
        }
        if let Some(at) = expire_at {
            self.dbs[home].expiry.insert(at, address.slot, address.tag);
            self.dbs[home].expiring += 1;
        }
    }

    fn take(&mut self, db: u8, key: &[u8]) {
        self.take_keeping(db, key, KeepObject::No);
    }

    fn take_keeping(&mut self, db: u8, key: &[u8], keep: KeepObject) {
        let address = self.address(db, key);
        if self.trial.is_some()
            && let Some(item) = self.place(db, address, key)
        {
            self.keep_first(db, key, Some(item));
        }
        if self.pull(db, address, key, keep) {
            self.touch(db, address, key);
        } else {
            self.forget_aside(db, key);
        }
    }

    /// Takes an item out without a trace; false if there was none.
    fn pull(&mut self, db: u8, address: Address, key: &[u8], keep: KeepObject) -> bool {
        let Some(table) = self.table(db, address.slot) else { return false };
        let Place::Found(at) = table.find(&self.dbs[usize::from(db)].items, address.tag, key) else { return false };
        self.save_first(db, table.item(at));
        let home = &mut self.dbs[usize::from(db)];
        let table = &mut home.tables[usize::from(address.slot.0)];
        home.table_bytes -= table.bytes();
        let old = table.remove(at);
        home.table_bytes += table.bytes();
        home.len -= 1;
        self.forget(db, address, old, keep);
        self.dbs[usize::from(db)].items.remove(old);
        true
    }

    /// Frees what an item that leaves its table holds besides its own bytes. If it is dead, that is said now.
    fn forget(&mut self, db: u8, address: Address, old: ItemId, keep: KeepObject) -> Was {
        let home = &mut self.dbs[usize::from(db)];
        let old = home.items.get(old);
        home.item_bytes -= old.len();
        let old = item::view(old);
        let was = if old.expire_at.is_some_and(|at| at <= self.applied.0) { Was::Dead } else { Was::Alive };
        if was == Was::Dead {
            self.heard.notify(db, Class::Expired, "expired", old.key);
        }
        let object = if let (Body::Object(number), KeepObject::No) = (old.body, keep) { Some(number) } else { None };
        let expire_at = old.expire_at;
        if let Some(at) = expire_at {
            home.expiry.remove(at, address.slot, address.tag);
            home.expiring -= 1;
        }
        if let Some(object) = object.map(|number| home.objects.remove(number)).filter(Object::is_large) {
            self.garbage.push(Garbage(Waste::Object(object)));
        }
        was
    }

    fn touch(&mut self, db: u8, address: Address, key: &[u8]) {
        self.revision += 1;
        if aside::is_hidden(db) {
            return self.note_aside(db, key);
        }
        self.keep_bucket(address.bucket);
        self.watch[address.bucket as usize] = self.revision;
        self.heard.changed(key);
        self.forget_aside(db, key);
        self.note_for_waits(db, key);
    }

    fn reserve(&mut self, db: u8) {
        let home = &mut self.dbs[usize::from(db)];
        if home.tables.is_empty() {
            home.tables = std::iter::repeat_with(Table::default).take(usize::from(SLOT_COUNT)).collect();
            home.table_bytes = size_of_val(&*home.tables);
        }
    }

    fn table(&self, db: u8, slot: Slot) -> Option<&Table> {
        self.dbs[usize::from(db)].tables.get(usize::from(slot.0))
    }

    fn place(&self, db: u8, address: Address, key: &[u8]) -> Option<ItemId> {
        let table = self.table(db, address.slot)?;
        match table.find(&self.dbs[usize::from(db)].items, address.tag, key) {
            Place::Found(at) => Some(table.item(at)),
            Place::Vacant(_) => None,
        }
    }

    fn find_body(&self, db: u8, address: Address, key: &[u8]) -> Option<Body<'_>> {
        let item = self.place(db, address, key)?;
        Some(item::view(self.dbs[usize::from(db)].items.get(item)).body)
    }

    fn address(&self, db: u8, key: &[u8]) -> Address {
        let mut hasher = self.hasher();
        hasher.write(key);
        let [a, b, c, d, e, f, _, _] = hasher.finish().to_le_bytes();
        let tag = u32::from_le_bytes([a, b, c, d]).max(1);
        let bucket = u32::from(u16::from_le_bytes([e, f]) ^ u16::from(db).wrapping_mul(0x9E37));
        Address { slot: Slot::of(key), tag, bucket }
    }
}

/// A value on its way in.
enum NewValue<'a> {
    Str(&'a [u8]),
    Object(Object),
}

/// What an item was that left its table.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Was {
    Alive,
    Dead,
}

/// Whether the object of a replaced item goes on living in its successor.
#[derive(Clone, Copy)]
enum KeepObject {
    Yes,
    No,
}
