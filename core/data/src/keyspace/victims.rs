//! Keys that go when memory runs out: which, and how they are taken.
//!
//! A leader picks them from its own state by what it knows of their use, and they go by an entry of the log, like keys that are
//! deleted; so replicas stay equal though each knows other uses. As in Redis nothing keeps all keys in order: some are
//! drawn, the best of them wait in a pool with those of former draws, and the best of the pool goes. (Psounis and
//! Prabhakar, "A randomized web-cache replacement scheme", 2001.)

use super::aside::LEASES;
use super::item;
use super::items::ItemId;
use super::{Class, Db, Keyspace};
use base::limits::DATABASE_COUNT;
use base::rng::Rng;
use base::{Slot, Stamp};
use std::collections::BTreeSet;

/// Among which keys victims are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    All,
    /// Those that will expire.
    Expiring,
}

/// Which of them goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The one whose use is longest ago, or most seldom: see [`super::Noted`].
    Stale,
    Random,
    /// The one that would expire first.
    Soonest,
}

/// A key that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    pub db: u8,
    pub key: Box<[u8]>,
}

/// What is wanted of [`Keyspace::victims`].
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub among: Among,
    pub order: Order,
    /// How many keys are drawn for each that goes.
    pub samples: u32,
    /// Bytes that are to become free, and the most keys that may go for it.
    pub bytes: usize,
    pub keys_max: usize,
}

/// Keys that go together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub victims: Vec<Victim>,
    /// What they take, as far as it is counted for each.
    pub bytes: usize,
}

/// Keys that were drawn and were not stale enough, by what they are called; for the next batch.
pub type Pool = Vec<Victim>;

/// Keys that the pool keeps from draw to draw.
const POOL_COUNT: usize = 16;
/// So many draws in vain, of keys that don't expire or that go already, end a draw.
const VAIN_DRAWS: u32 = 4;
/// Keys that expire are drawn among all while at least one in so many does.
const RARE: usize = 16;

/// A key of the pool, while nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    staleness: u32,
    db: u8,
    item: ItemId,
}

/// A batch in the making.
struct Picking<'a> {
    keyspace: &'a Keyspace,
    wanted: Wanted,
    now: Stamp,
    /// Sorted: the stalest is the last.
    pool: Vec<Candidate>,
    taken: BTreeSet<(u8, ItemId)>,
    batch: Batch,
}

impl Keyspace {
    /// Keys that should go, the first first, at `now`. What was drawn and isn't among them stays in `pool`, which begins empty.
    pub fn victims(&self, wanted: Wanted, now: Stamp, pool: &mut Pool, rng: &mut Rng) -> Batch {
        let known =
            pool.drain(..).filter_map(|Victim { db, key }| Some((db, self.place(db, self.address(db, &key), &key)?)));
        let mut picking = Picking {
            keyspace: self,
            wanted,
            now,
            pool: Vec::with_capacity(POOL_COUNT + 1),
            taken: BTreeSet::new(),
            batch: Batch::default(),
        };
        known.for_each(|(db, item)| picking.offer(db, item));
        match wanted.order {
            Order::Soonest => picking.take_soonest(),
            Order::Stale | Order::Random => while picking.is_short() && picking.take_one(rng) {},
        }
        pool.extend(picking.pool.iter().map(|one| self.named(one.db, one.item)));
        picking.batch
    }

    /// True if there is a key that may go.
    #[must_use]
    pub fn has_victims(&self, among: Among) -> bool {
        self.drawable().iter().any(|home| home.count(among) > 0)
    }

    /// What may be drawn: keys, and what is kept beside them or outlives them. Who is filling a key is not put off by want of memory.
    fn drawable(&self) -> &[Db] {
        &self.dbs[..usize::from(LEASES)]
    }

    /// An entry takes a key out. Not if it isn't there any more, or is to go only among those that expire and doesn't.
    pub(crate) fn evict(&mut self, db: u8, key: &[u8], among: Among) -> bool {
        let Some(found) = self.place(db, self.address(db, key), key) else {
            self.drop_outliving(db, key);
            return false;
        };
        let expire_at = item::view(self.dbs[usize::from(db)].items.get(found)).expire_at;
        if among == Among::Expiring && expire_at.is_none() {
            return false;
        }
        self.take(db, key);
        // One that is dead has expired: that was said.
        let alive = expire_at.is_none_or(|at| at > self.applied.0);
        if alive {
            self.notify(db, Class::Evicted, "evicted", key);
        }
        alive
    }

    fn named(&self, db: u8, item: ItemId) -> Victim {
        Victim { db: db % DATABASE_COUNT, key: item::key(self.dbs[usize::from(db)].items.get(item)).into() }
    }
}

impl Picking<'_> {
    fn is_short(&self) -> bool {
        self.batch.bytes < self.wanted.bytes && self.batch.victims.len() < self.wanted.keys_max
    }

    /// Draws, and takes the best of what is known; false if there is nothing.
    fn take_one(&mut self, rng: &mut Rng) -> bool {
        if self.wanted.order == Order::Random {
            let found = (0..VAIN_DRAWS).find_map(|_| self.draw(rng));
            return found.map(|(db, item)| self.take(db, item)).is_some();
        }
        for _ in 0..self.wanted.samples {
            if let Some((db, item)) = self.draw(rng) {
                self.offer(db, item);
            }
        }
        self.pool.pop().map(|best| self.take(best.db, best.item)).is_some()
    }

    /// A key by chance that may go and doesn't go yet.
    fn draw(&self, rng: &mut Rng) -> Option<(u8, ItemId)> {
        let (dbs, among) = (self.keyspace.drawable(), self.wanted.among);
        let all: usize = dbs.iter().map(|home| home.count(among)).sum();
        let mut rank = usize::try_from(rng.below((all as u64).max(1))).ok()?;
        let at = dbs.iter().position(|home| {
            let here = rank < home.count(among);
            rank -= if here { 0 } else { home.count(among) };
            here
        })?;
        let db = u8::try_from(at).expect("there are some databases");
        (0..VAIN_DRAWS)
            .filter_map(|_| dbs[at].any(among, rng))
            .map(|item| (db, item))
            .find(|one| !self.taken.contains(one))
    }

    fn offer(&mut self, db: u8, item: ItemId) {
        let items = &self.keyspace.dbs[usize::from(db)].items;
        if self.wanted.among == Among::Expiring && item::view(items.get(item)).expire_at.is_none() {
            return;
        }
        let staleness = self.keyspace.uses.staleness(items.use_of(item).get(), self.now);
        let one = Candidate { staleness, db, item };
        let at = self.pool.partition_point(|other| *other < one);
        if self.pool.get(at) != Some(&one) && !self.taken.contains(&(db, item)) {
            self.pool.insert(at, one);
        }
        if self.pool.len() > POOL_COUNT {
            self.pool.remove(0);
        }
    }

    fn take(&mut self, db: u8, item: ItemId) {
        self.taken.insert((db, item));
        let home = &self.keyspace.dbs[usize::from(db)];
        self.batch.bytes += home.footprint(item) - super::table::PLACE_BYTES + home.place_bytes();
        self.batch.victims.push(self.keyspace.named(db, item));
    }

    /// Takes what expires first: that is known without a draw.
    fn take_soonest(&mut self) {
        let mut heads: Vec<_> = self.keyspace.drawable().iter().map(|home| home.expiry.in_order().peekable()).collect();
        while self.is_short() {
            let first = heads.iter_mut().enumerate().filter_map(|(db, head)| Some((*head.peek()?, db))).min();
            let Some(((at, slot, tag), db)) = first else { return };
            heads[db].next();
            let dies: Vec<ItemId> = self.keyspace.dbs[db].expiring_at(at, slot, tag).collect();
            let db = u8::try_from(db).expect("there are some databases");
            dies.into_iter().for_each(|item| self.take(db, item));
        }
    }
}

impl Db {
    /// What a key takes of the tables, on average.
    fn place_bytes(&self) -> usize {
        self.table_bytes.saturating_sub(size_of_val(&*self.tables)) / self.len.max(1)
    }

    fn count(&self, among: Among) -> usize {
        match among {
            Among::All => self.len,
            Among::Expiring => self.expiring,
        }
    }

    /// A key by chance. Where few expire, they are drawn from those that expire about some time.
    fn any(&self, among: Among, rng: &mut Rng) -> Option<ItemId> {
        if among == Among::All {
            return self.items.any(rng);
        }
        if self.expiring * RARE >= self.len {
            let expires = |item: &ItemId| item::view(self.items.get(*item)).expire_at.is_some();
            return (0..2 * RARE).filter_map(|_| self.items.any(rng)).find(expires);
        }
        let from = self.expiry.any_time(rng)?;
        let skipped = usize::try_from(rng.below(POOL_COUNT as u64)).ok()?;
        let near = self.expiry.from(from).chain(self.expiry.in_order()).nth(skipped)?;
        self.expiring_at(near.0, near.1, near.2).next()
    }

    /// The items that an entry of the expiry index names.
    fn expiring_at(&self, at: Stamp, slot: Slot, tag: u32) -> impl Iterator<Item = ItemId> {
        let table = &self.tables[usize::from(slot.0)];
        let from = table.seek(tag).expect("the index names a key");
        let same = (from..).take_while(move |place| table.tag(*place) == tag).map(|place| table.item(place));
        same.filter(move |item| item::view(self.items.get(*item)).expire_at == Some(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Context;
    use crate::keyspace::{Noted, Ttl};
    use base::Index;

    const KEYS: u64 = 2_000;

    /// Keys of two databases, the even ones with a time to live; each used a second behind the one before.
    fn filled(noted: Noted) -> Keyspace {
        let mut keyspace = Keyspace::new((3, 4));
        keyspace.note_uses(noted);
        for n in 0..KEYS {
            keyspace.advance(Stamp(n * 1000), Index(n + 1));
            let db = u8::try_from(n / 2 % 2).expect("0 or 1");
            let ttl = if n % 2 == 0 { Ttl::At(Stamp(10_000_000 + (KEYS - n) * 1000)) } else { Ttl::Clear };
            keyspace.set_string(&Context::new(db, Stamp(n * 1000)), n.to_string().as_bytes(), b"value", ttl);
        }
        keyspace
    }

    fn number(victim: &Victim) -> u64 {
        std::str::from_utf8(&victim.key).expect("text").parse().expect("a number")
    }

    fn picked(keyspace: &Keyspace, among: Among, order: Order) -> Vec<u64> {
        let wanted = Wanted { among, order, samples: 5, bytes: usize::MAX, keys_max: 200 };
        let (mut pool, mut rng, now) = (Pool::new(), Rng::new(1), Stamp(KEYS * 1000));
        let batch = keyspace.victims(wanted, now, &mut pool, &mut rng);
        assert!(batch.victims.iter().all(|one| u64::from(one.db) == number(one) / 2 % 2));
        let mut numbers: Vec<u64> = batch.victims.iter().map(number).collect();
        assert_eq!(numbers.len(), 200);
        if among == Among::Expiring {
            assert!(numbers.iter().all(|n| n % 2 == 0), "only keys that expire");
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 200, "no key goes twice");
        numbers
    }

    #[test]
    fn the_stalest_of_some_draws_go() {
        for among in [Among::All, Among::Expiring] {
            let keyspace = filled(Noted::Recency);
            let stale = picked(&keyspace, among, Order::Stale);
            let mean = |of: &[u64]| of.iter().sum::<u64>() / of.len() as u64;
            assert!(mean(&stale) < 350, "{}", mean(&stale));
            let random = mean(&picked(&keyspace, among, Order::Random));
            assert!((800..1200).contains(&random), "{random}");
        }
        assert_eq!(picked(&filled(Noted::Recency), Among::Expiring, Order::Soonest)[0], KEYS - 2 * 200);
    }

    #[test]
    fn what_is_used_often_stays() {
        let keyspace = filled(Noted::Frequency { log_factor: 10, decay_minutes: 0 });
        for n in 0..1000_u64 {
            let cx = Context::new(u8::try_from(n / 2 % 2).expect("0 or 1"), Stamp(KEYS * 1000));
            for _ in 0..200 {
                assert!(keyspace.get(&cx, n.to_string().as_bytes()).is_some());
            }
        }
        assert!(picked(&keyspace, Among::All, Order::Stale)[0] >= 1000);
    }

    #[test]
    fn a_batch_frees_what_is_wanted_and_few_expiring_keys_are_found() {
        let mut keyspace = Keyspace::new((3, 4));
        keyspace.advance(Stamp(1), Index(1));
        let cx = Context::new(0, Stamp(1));
        (0..10_000).for_each(|n: u32| keyspace.set_string(&cx, &n.to_le_bytes(), &[7; 100], Ttl::Clear));
        let wanted = |among, bytes| Wanted { among, order: Order::Stale, samples: 5, bytes, keys_max: 10_000 };
        let (mut pool, mut rng) = (Pool::new(), Rng::new(1));
        let before = keyspace.used_bytes();
        let batch = keyspace.victims(wanted(Among::All, 10_000), Stamp(1), &mut pool, &mut rng);
        assert!((10_000..10_200).contains(&batch.bytes) && pool.len() <= POOL_COUNT);
        batch.victims.iter().for_each(|one| assert!(keyspace.evict(one.db, &one.key, Among::All)));
        assert!(before - keyspace.used_bytes() >= batch.victims.len() * 100);
        assert!(!keyspace.has_victims(Among::Expiring));
        assert!(keyspace.victims(wanted(Among::Expiring, 1), Stamp(1), &mut pool, &mut rng).victims.is_empty());
        for n in 0..20 {
            keyspace.set_string(&cx, format!("e{n}").as_bytes(), b"v", Ttl::At(Stamp(1 << (10 + n))));
        }
        assert!(keyspace.has_victims(Among::Expiring));
        let batch = keyspace.victims(wanted(Among::Expiring, usize::MAX), Stamp(1), &mut pool, &mut rng);
        assert!(batch.victims.len() >= 15 && batch.victims.iter().all(|one| one.key[0] == b'e'), "{batch:?}");
    }

    #[test]
    fn an_entry_takes_only_what_it_may() {
        let mut keyspace = filled(Noted::Recency);
        let digest = keyspace.digest();
        assert!(!keyspace.evict(0, b"nosuch", Among::All) && !keyspace.evict(0, b"1", Among::Expiring));
        assert_eq!(keyspace.digest(), digest);
        keyspace.listen(crate::keyspace::Listening { events: true, changes: true, misses: false });
        assert!(keyspace.evict(0, b"0", Among::Expiring) && keyspace.evict(0, b"1", Among::All));
        let told: Vec<&str> = keyspace.take_notices().iter().map(|notice| notice.event).collect();
        assert_eq!((told, keyspace.take_changes().keys.len()), (vec!["evicted"; 2], 2));
        keyspace.advance(Stamp(1 << 40), Index(1 << 40));
        assert!(!keyspace.evict(0, b"4", Among::All), "it had expired");
        assert_eq!(keyspace.take_notices()[0].event, "expired");
    }
}
