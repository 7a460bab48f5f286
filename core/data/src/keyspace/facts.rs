//! What stands beside keys and values, and what is counted of them.

use super::item::{self, Body};
use super::items::{self, ItemId};
use super::{Db, Garbage, Keyspace, Waste, expiry, table};
use crate::Context;
use crate::once::Outcomes;
use crate::scripts::Scripts;
use crate::value::Object;
use std::sync::Arc;

impl Keyspace {
    /// Gives up all of it.
    pub fn into_garbage(self) -> impl Iterator<Item = Garbage> {
        self.dbs.into_iter().map(|db| Garbage(Waste::Db(db))).chain(self.garbage)
    }

    /// What flushes have taken out since the last call.
    pub fn take_garbage(&mut self) -> Vec<Garbage> {
        std::mem::take(&mut self.garbage)
    }

    /// What became of commands that were sent under an id.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    pub(crate) fn outcomes_mut(&mut self) -> &mut Outcomes {
        &mut self.outcomes
    }

    /// Scripts and functions that clients have loaded.
    #[must_use]
    pub fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// Lets scripts and functions be changed.
    pub(crate) fn scripts_mut(&mut self) -> &mut Scripts {
        self.keep_scripts();
        Arc::make_mut(&mut self.scripts)
    }

    /// How many keys a database holds, the dead that aren't yet removed among them.
    #[must_use]
    pub fn len(&self, db: u8) -> usize {
        self.dbs[usize::from(db)].len
    }

    /// How many keys of a database have an expiry.
    #[must_use]
    pub fn expiring(&self, db: u8) -> usize {
        self.dbs[usize::from(db)].expiring
    }

    /// Bytes of all keys and values as they are stored; the tables and what the allocator adds not among them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.dbs.iter().map(|db| db.item_bytes + db.objects.bytes).sum()
    }

    /// Bytes of memory that a live key and its value take: its place in the table, its item, and what stands apart.
    #[must_use]
    pub fn footprint(&self, cx: &Context, key: &[u8]) -> Option<usize> {
        self.peek(cx, key)?;
        let item = self.place(cx.db, self.address(cx.db, key), key)?;
        Some(self.dbs[usize::from(cx.db)].footprint(item))
    }

    /// Bytes of memory that keys, values and what finds them take; what counts against a limit. Room that is left in pages
    /// and what the allocator adds is not among them.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.dbs.iter().map(Db::used_bytes).sum::<usize>() + size_of_val(&*self.watch)
    }

    /// What WATCH remembers of a key: its bucket and the revision of the last change of any key of the bucket.
    #[must_use]
    pub fn watched(&self, db: u8, key: &[u8]) -> (u32, u64) {
        let bucket = self.address(db, key).bucket;
        (bucket, self.watch[bucket as usize])
    }

    /// True if no key of the bucket has changed since `revision`.
    #[must_use]
    pub fn unchanged(&self, bucket: u32, revision: u64) -> bool {
        self.watch.get(bucket as usize).is_some_and(|last| *last == revision)
    }
}

impl Db {
    pub(super) fn used_bytes(&self) -> usize {
        let beside = self.len * items::BESIDE_BYTES + self.expiring * expiry::ENTRY_BYTES;
        self.item_bytes + self.table_bytes + self.objects.used_bytes() + beside
    }

    /// Bytes that an item, its place and what stands apart take.
    pub(super) fn footprint(&self, item: ItemId) -> usize {
        let stored = self.items.get(item);
        let apart = match item::view(stored).body {
            Body::Str(_) => 0,
            Body::Object(number) => size_of::<Object>() + self.objects.get(number).bytes(),
        };
        let expiry = if item::view(stored).expire_at.is_some() { expiry::ENTRY_BYTES } else { 0 };
        table::PLACE_BYTES + items::BESIDE_BYTES + stored.len() + apart + expiry
    }
}
