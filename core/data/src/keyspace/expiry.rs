//! The ordered index of what dies when, and the removal of what is dead.

use super::{Db, Keyspace, item};
use base::Stamp;
use base::rng::Rng;
use base::slot::Slot;
use std::collections::BTreeMap;

/// What a write does to a key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// The key will not expire.
    Clear,
    /// The key keeps the expiry it has.
    Keep,
    /// The key dies when the shard's stamp reaches this.
    At(Stamp),
}

/// Counts of a database's keys by (expiry, slot, tag): enough to find a dead key without storing its name twice.
#[derive(Debug, Default)]
pub(super) struct ExpiryIndex {
    counts: BTreeMap<(Stamp, Slot, u32), u32>,
}

/// What an entry of the index takes, the room in its tree's nodes among it.
pub(super) const ENTRY_BYTES: usize = 32;

impl ExpiryIndex {
    /// What dies first, and what follows.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (Stamp, Slot, u32)> {
        self.counts.keys().copied()
    }

    /// What dies first at or behind `at`.
    pub(super) fn from(&self, at: Stamp) -> impl Iterator<Item = (Stamp, Slot, u32)> {
        self.counts.range((at, Slot(0), 0)..).map(|(key, _)| *key)
    }

    fn last(&self) -> Option<(Stamp, Slot, u32)> {
        self.counts.last_key_value().map(|(key, _)| *key)
    }

    /// A time by chance at which something may die. Half of all times are as likely as any other; of the rest, each doubling of
    /// what lies ahead of the first death is, for a few keys that live for years must not be all that is drawn.
    pub(super) fn any_time(&self, rng: &mut Rng) -> Option<Stamp> {
        let ((first, ..), (last, ..)) = (self.first()?, self.last()?);
        let span = (last.0 - first.0).max(1);
        let top = if rng.one_in(2) { span } else { 2 << rng.below(u64::from(span.ilog2()) + 1) };
        Some(Stamp(first.0 + rng.below(top)))
    }

    pub(super) fn insert(&mut self, at: Stamp, slot: Slot, tag: u32) {
        *self.counts.entry((at, slot, tag)).or_insert(0) += 1;
    }

    pub(super) fn remove(&mut self, at: Stamp, slot: Slot, tag: u32) {
        let key = (at, slot, tag);
        let count = self.counts.get_mut(&key).expect("every key with an expiry is in the index");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&key);
        }
    }

    fn first(&self) -> Option<(Stamp, Slot, u32)> {
        self.counts.first_key_value().map(|(key, _)| *key)
    }
}

impl Keyspace {
    /// When the next key dies, if any key will.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Stamp> {
        self.dbs.iter().filter_map(|home| home.expiry.first()).map(|(at, ..)| at).min()
    }

    /// Removes up to `max` keys that are dead at the applied stamp; how many it removed.
    pub fn remove_dead(&mut self, max: usize) -> usize {
        let mut removed = 0;
        while removed < max {
            let first = |(db, home): (u8, &Db)| home.expiry.first().map(|(at, slot, tag)| (at, db, slot, tag));
            let next = (0..).zip(&self.dbs).filter_map(first).min();
            let Some((at, db, slot, tag)) = next.filter(|(at, ..)| *at <= self.applied.0) else { break };
            let dead = self.dead_key(at, db, slot, tag);
            self.take_dead(db, &dead);
            removed += 1;
        }
        removed
    }

    fn dead_key(&self, at: Stamp, db: u8, slot: Slot, tag: u32) -> Vec<u8> {
        let table = self.table(db, slot).expect("the index names a table");
        let mut place = table.seek(tag).expect("the index names a key");
        while table.tag(place) == tag {
            let seen = item::view(self.dbs[usize::from(db)].items.get(table.item(place)));
            if seen.expire_at == Some(at) {
                return seen.key.to_vec();
            }
            place += 1;
        }
        unreachable!("the expiry index and the table name the same keys")
    }
}
