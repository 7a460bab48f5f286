//! Look-ups that are about to be made, prepared together.

use super::Keyspace;
use super::items::Items;
use super::table::{Table, Tag};
use smallvec::SmallVec;
use std::hint::black_box;

/// Keys whose look-ups are prepared at once.
pub const NEAR_MAX: usize = 16;
/// How much of an item is brought near, and in what steps.
const NEAR_BYTES_MAX: usize = 4 * LINE_BYTES;
const LINE_BYTES: usize = 64;

/// A look-up that is about to be made; see [`bring_near`].
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    table: &'a Table,
    tag: Tag,
    items: &'a Items,
}

impl Keyspace {
    /// The look-up of a key that is about to be made, for [`bring_near`].
    #[must_use]
    pub fn lookup(&self, db: u8, key: &[u8]) -> Option<Lookup<'_>> {
        let address = self.address(db, key);
        let table = self.table(db, address.slot)?;
        Some(Lookup { table, tag: address.tag, items: &self.dbs[usize::from(db)].items })
    }
}

/// Brings what these look-ups will read near, all of them at once: a look-up waits for one cache line after another, and
/// those of different keys don't wait for each other.
pub fn bring_near<'a>(lookups: impl Iterator<Item = Lookup<'a>>) {
    let lookups: SmallVec<[Lookup<'a>; NEAR_MAX]> = lookups.collect();
    // A pass for each line that depends on the one before.
    for Lookup { table, .. } in &lookups {
        black_box(table.len());
    }
    for Lookup { table, tag, .. } in &lookups {
        black_box(table.first_tag(*tag));
    }
    for Lookup { table, tag, items } in &lookups {
        let Some(item) = table.likely(*tag) else { continue };
        let stored = items.get(item);
        black_box(items.use_of(item).get());
        let stored = &stored[..stored.len().min(NEAR_BYTES_MAX)];
        for line in stored.chunks(LINE_BYTES) {
            black_box((line[0], line[line.len() - 1]));
        }
    }
}
