//! The keys of one slot, in the order of their hash.
//!
//! Robin Hood hashing by linear probing whose home position grows with the hash: entries therefore stand sorted by
//! (tag, key) at any capacity. That order depends on nothing but the keys, so a SCAN cursor survives growth, restart
//! and failover, and a replica that loaded a snapshot walks its keys like one that replayed the log. There is one
//! table per slot, so growth never moves more than one slot's keys. (Amble and Knuth, "Ordered hash tables", 1974.)

use super::item;
use super::items::{ItemId, Items};

/// A 32-bit keyed hash of a key; zero marks an empty place and is never a tag.
pub type Tag = u32;

/// The keys of one slot; see the module.
#[derive(Debug, Default)]
pub struct Table {
    places: Box<[Occupant]>,
    homes: u32,
    len: u32,
}

/// What stands in a place: tag and item side by side, eight to a cache line.
#[derive(Clone, Copy, Debug, Default)]
struct Occupant {
    tag: Tag,
    item: ItemId,
}

/// What a key takes in its table.
pub const PLACE_BYTES: usize = size_of::<Occupant>();

/// Where a key stands, or where it would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Found(usize),
    Vacant(usize),
}

impl Table {
    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True if it holds no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of its places.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.places.len() * PLACE_BYTES
    }

    /// Looks `key` up by its tag.
    #[must_use]
    #[inline]
    pub fn find(&self, items: &Items, tag: Tag, key: &[u8]) -> Place {
        let mut at = home(tag, self.homes);
        while let Some(here) = self.places.get(at) {
            if here.tag == 0 || here.tag > tag {
                break;
            }
            if here.tag == tag {
                match item::key(items.get(here.item)).cmp(key) {
                    std::cmp::Ordering::Equal => return Place::Found(at),
                    std::cmp::Ordering::Greater => break,
                    std::cmp::Ordering::Less => {}
                }
            }
            at += 1;
        }
        Place::Vacant(at)
    }

    /// The tag that a look-up of `tag` compares first: reading it brings the place near.
    #[must_use]
    pub fn first_tag(&self, tag: Tag) -> Tag {
        self.tag(home(tag, self.homes))
    }

    /// The first item whose tag is `tag`, if there is one, found without a look at any key.
    #[must_use]
    pub fn likely(&self, tag: Tag) -> Option<ItemId> {
        let mut from = self.places.get(home(tag, self.homes)..)?.iter();
        let found = from.find(|here| here.tag == 0 || here.tag >= tag)?;
        (found.tag == tag).then_some(found.item)
    }

    /// The item at `at`, which must be occupied.
    #[must_use]
    pub fn item(&self, at: usize) -> ItemId {
        self.places[at].item
    }

    /// Another item, of the same key, for the place `at`.
    pub fn replace(&mut self, at: usize, item: ItemId) {
        self.places[at].item = item;
    }

    /// The tag at `at`; zero if the place is empty or out of range.
    #[must_use]
    pub fn tag(&self, at: usize) -> Tag {
        self.places.get(at).map_or(0, |here| here.tag)
    }

    /// Puts a new item where [`Table::find`] said; its key must not be there already.
    pub fn insert(&mut self, items: &Items, tag: Tag, vacant: usize, new: ItemId) {
        let mut at = vacant;
        if self.len >= self.homes - self.homes / 8 {
            self.resize(grown(self.homes));
            at = self.vacancy(items, tag, new);
        }
        let mut empty = self.empty_from(at);
        while empty == self.places.len() {
            self.resize(grown(self.homes));
            at = self.vacancy(items, tag, new);
            empty = self.empty_from(at);
        }
        self.places.copy_within(at..empty, at + 1);
        self.places[at] = Occupant { tag, item: new };
        self.len += 1;
    }

    /// Takes the item at `at` out.
    pub fn remove(&mut self, at: usize) -> ItemId {
        let taken = self.places[at];
        assert!(taken.tag != 0, "the place is occupied");
        let mut end = at + 1;
        while self.tag(end) != 0 && home(self.places[end].tag, self.homes) != end {
            end += 1;
        }
        self.places.copy_within(at + 1..end, at);
        self.places[end - 1] = Occupant::default();
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else if self.homes > 16 && self.len < self.homes / 4 {
            self.resize(self.len * 2);
        }
        taken.item
    }

    /// The first occupied place whose tag is at least `tag`.
    #[must_use]
    pub fn seek(&self, tag: Tag) -> Option<usize> {
        self.next_occupied(home(tag, self.homes), tag)
    }

    /// The first occupied place at or behind `at`.
    #[must_use]
    pub fn occupied_from(&self, at: usize) -> Option<usize> {
        self.next_occupied(at, 1)
    }

    /// All items in order.
    pub fn items(&self) -> impl Iterator<Item = ItemId> {
        self.places.iter().filter(|here| here.tag != 0).map(|here| here.item)
    }

    fn next_occupied(&self, from: usize, tag: Tag) -> Option<usize> {
        (from..self.places.len()).find(|at| self.tag(*at) != 0 && self.tag(*at) >= tag)
    }

    fn vacancy(&self, items: &Items, tag: Tag, new: ItemId) -> usize {
        match self.find(items, tag, item::key(items.get(new))) {
            Place::Vacant(at) => at,
            Place::Found(_) => unreachable!("the caller looked: the key is not there"),
        }
    }

    fn empty_from(&self, at: usize) -> usize {
        (at..self.places.len()).find(|at| self.tag(*at) == 0).unwrap_or(self.places.len())
    }

    /// Moves everything to a table of so many homes, or more if the tail overflows.
    fn resize(&mut self, homes: u32) {
        let count = homes as usize + 2 + homes as usize / 16;
        let mut places = vec![Occupant::default(); count].into_boxed_slice();
        let mut next = 0;
        for here in self.places.iter().filter(|here| here.tag != 0) {
            next = next.max(home(here.tag, homes));
            let Some(place) = places.get_mut(next) else { return self.resize(grown(homes)) };
            *place = *here;
            next += 1;
        }
        self.places = places;
        self.homes = homes;
    }
}

fn home(tag: Tag, homes: u32) -> usize {
    ((u64::from(tag) * u64::from(homes)) >> 32) as usize
}

fn grown(homes: u32) -> u32 {
    (homes + homes / 2).max(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::rng::Rng;
    use std::collections::BTreeMap;

    fn stored(items: &mut Items, key: &[u8]) -> ItemId {
        let body = item::Body::Str(b"v");
        let id = items.insert(item::size(key, body, None));
        item::write(items.get_mut(id), key, body, None, 0);
        id
    }

    fn tag_of(rng: &mut Rng, key: u64) -> Tag {
        // Few tags, so that equal tags and long clusters are common.
        let spread = if key.is_multiple_of(3) { 0xFFFF_FFF0 } else { 1 };
        let _ = rng;
        u32::try_from(spread + key % 7)
            .unwrap()
            .wrapping_mul(if key.is_multiple_of(5) { 1 } else { 0x0101_0101 })
            .max(1)
    }

    #[test]
    fn a_table_is_a_map_sorted_by_tag_and_key() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let (mut table, mut items) = (Table::default(), Items::default());
            let mut model = BTreeMap::new();
            for _ in 0..400 {
                let n = rng.below(120);
                let key = n.to_string().into_bytes();
                let tag = tag_of(&mut rng, n);
                match (table.find(&items, tag, &key), rng.one_in(3)) {
                    (Place::Found(at), true) => {
                        items.remove(table.remove(at));
                        assert!(model.remove(&(tag, key)).is_some());
                    }
                    (Place::Vacant(at), false) => {
                        let new = stored(&mut items, &key);
                        table.insert(&items, tag, at, new);
                        assert!(model.insert((tag, key), ()).is_none());
                    }
                    (Place::Found(_), false) => assert!(model.contains_key(&(tag, key))),
                    (Place::Vacant(_), true) => assert!(!model.contains_key(&(tag, key))),
                }
                assert_eq!(table.len(), model.len());
            }
            let keys: Vec<&[u8]> = table.items().map(|id| item::key(items.get(id))).collect();
            let expected: Vec<&[u8]> = model.keys().map(|(_, key)| key.as_slice()).collect();
            assert_eq!(keys, expected, "seed {seed}");
        }
    }
}
