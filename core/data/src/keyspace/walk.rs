//! Walks over many keys: SCAN, KEYS, RANDOMKEY, FLUSH, and the digest.

use super::item::Body;
use super::{Keyspace, Live, item};
use crate::value::Object;
use crate::{Context, Refused};
use base::rng::Rng;
use base::slot::{SLOT_COUNT, Slot};

/// One page of a SCAN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// Where the next page starts; 0 when there is none.
    pub cursor: u64,
    pub keys: Vec<Vec<u8>>,
}

impl Keyspace {
    /// Up to about `count` live keys from `cursor` on: a slot in the high bits and a tag in the low 32. All keys that
    /// are there during the whole scan are returned, in an order that growth, restart and failover don't change.
    pub fn scan(
        &self,
        cx: &Context,
        cursor: u64,
        count: usize,
        mut wanted: impl FnMut(&Live<'_>) -> bool,
    ) -> Result<ScanPage, Refused> {
        let [a, b, c, d, e, f, g, h] = cursor.to_le_bytes();
        let mut slot = u16::from_le_bytes([e, f]);
        let mut tag = u32::from_le_bytes([a, b, c, d]);
        if slot >= SLOT_COUNT || g != 0 || h != 0 {
            return Ok(ScanPage::default());
        }
        let mut page = ScanPage::default();
        let mut seen = 0;
        while slot < SLOT_COUNT {
            let table = self.table(cx.db, Slot(slot));
            let mut place = table.and_then(|table| table.seek(tag));
            while let (Some(table), Some(at)) = (table, place) {
                if seen >= count && table.tag(at) != tag {
                    page.cursor = (u64::from(slot) << 32) | u64::from(table.tag(at));
                    return Ok(page);
                }
                tag = table.tag(at);
                seen += 1;
                if let Some(live) =
                    self.live(cx, self.dbs[usize::from(cx.db)].items.get(table.item(at))).filter(&mut wanted)
                {
                    page.keys.push(live.key.to_vec());
                }
                place = table.occupied_from(at + 1);
            }
            slot += 1;
            tag = 0;
            if table.is_none() {
                break;
            }
        }
        Ok(page)
    }

    /// A live key of the database by chance, or nothing.
    #[must_use]
    pub fn random_key(&self, cx: &Context, rng: &mut Rng) -> Option<Vec<u8>> {
        let home = &self.dbs[usize::from(cx.db)];
        if home.len == 0 {
            return None;
        }
        const TRIES: usize = 100;
        for _ in 0..TRIES {
            let mut rank = usize::try_from(rng.below(home.len as u64)).ok()?;
            for table in &home.tables {
                if rank < table.len() {
                    let stored = table.items().nth(rank)?;
                    if let Some(live) = self.live(cx, home.items.get(stored)) {
                        return Some(live.key.to_vec());
                    }
                    break;
                }
                rank -= table.len();
            }
        }
        home.tables
            .iter()
            .flat_map(|table| table.items())
            .find_map(|stored| self.live(cx, home.items.get(stored)))
            .map(|live| live.key.to_vec())
    }

    /// How many live keys a slot of a database holds.
    #[must_use]
    pub fn slot_len(&self, db: u8, slot: Slot) -> usize {
        self.table(db, slot).map_or(0, super::table::Table::len)
    }

    /// Up to `count` keys of a slot, dead ones too as long as they stand there.
    pub fn keys_in_slot(&self, db: u8, slot: Slot, count: usize) -> impl Iterator<Item = &[u8]> {
        let items = &self.dbs[usize::from(db)].items;
        let stored = self.table(db, slot).into_iter().flat_map(super::table::Table::items);
        stored.take(count).map(|stored| item::view(items.get(stored)).key)
    }

    /// Empties a database. What was in it is dropped later: by the caller of [`Keyspace::take_garbage`].
    pub fn flush(&mut self, db: u8) {
        self.heard.flushed();
        self.flush_aside(db);
        self.keep_waits();
        self.waits.flushed(db);
        let old = std::mem::take(&mut self.dbs[usize::from(db)]);
        if old.len == 0 {
            return;
        }
        self.keep_buckets();
        self.revision += 1;
        self.watch.fill(self.revision);
        if let Some(old) = self.keep_flushed(db, old) {
            self.hand_over(db, old);
        }
    }

    /// A sum over the whole replicated state: equal on replicas that applied the same entries.
    #[must_use]
    pub fn digest(&self) -> u64 {
        use std::hash::Hasher;
        let mut hasher = siphasher::sip::SipHasher13::new();
        for (db, home) in self.dbs.iter().enumerate() {
            for stored in home.tables.iter().flat_map(|table| table.items()) {
                let seen = item::view(home.items.get(stored));
                hasher.write_usize(db);
                hasher.write_usize(seen.key.len());
                hasher.write(seen.key);
                hasher.write_u64(seen.expire_at.map_or(0, |at| at.0));
                match seen.body {
                    Body::Str(bytes) => Object::digest_string(bytes, &mut hasher),
                    Body::Object(number) => home.objects.get(number).digest(&mut hasher),
                }
            }
        }
        self.outcomes.digest(&mut hasher);
        self.floors.digest(&mut hasher);
        self.waits.digest(&mut hasher);
        self.scripts.digest(&mut hasher);
        for revision in &self.watch {
            hasher.write_u64(*revision);
        }
        hasher.write_u64(self.revision);
        hasher.write_u64(self.applied.0.0);
        hasher.write_u64(self.applied.1.0);
        hasher.finish()
    }
}
