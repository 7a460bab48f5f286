//! What keys and values take: single ones, and all of them, which is counted as they change.

use super::item::{self, Body};
use super::items::ItemId;
use super::{Db, Keyspace, expiry, items, table};
use crate::Context;
use crate::value::Object;

impl Keyspace {
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
}

impl Db {
    fn used_bytes(&self) -> usize {
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
