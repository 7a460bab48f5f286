//! The keys of one slot, in the order of their hash.
//!
//! Robin Hood hashing by linear probing whose home position grows with the hash: entries therefore stand sorted by
//! (tag, key) at any capacity. That order depends on nothing but the keys, so a SCAN cursor survives growth, restart
//! and failover, and a replica that loaded a snapshot walks its keys like one that replayed the log. There is one
//! table per slot, so growth never moves more than one slot's keys. (Amble and Knuth, "Ordered hash tables", 1974.)

use super::item;

/// A 32-bit keyed hash of a key; zero marks an empty place and is never a tag.
pub type Tag = u32;

/// The keys of one slot; see the module.
#[derive(Debug, Default)]
pub struct Table {
    tags: Box<[Tag]>,
    items: Box<[Option<Box<[u8]>>]>,
    homes: u32,
    len: u32,
}

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

    /// Looks `key` up by its tag.
    #[must_use]
    pub fn find(&self, tag: Tag, key: &[u8]) -> Place {
        let mut at = home(tag, self.homes);
        while let Some(&here) = self.tags.get(at) {
            if here == 0 || here > tag {
                break;
            }
            if here == tag {
                match item::key(self.item(at)).cmp(key) {
                    std::cmp::Ordering::Equal => return Place::Found(at),
                    std::cmp::Ordering::Greater => break,
                    std::cmp::Ordering::Less => {}
                }
            }
            at += 1;
        }
        Place::Vacant(at)
    }

    /// The tag that a look-up of `tag` compares first: reading it brings the tags near.
    #[must_use]
    pub fn first_tag(&self, tag: Tag) -> Tag {
        self.tag(home(tag, self.homes))
    }

    /// The first item whose tag is `tag`, if there is one, found without a look at any key.
    #[must_use]
    pub fn likely(&self, tag: Tag) -> Option<&[u8]> {
        let from = home(tag, self.homes);
        let at = from + self.tags.get(from..)?.iter().take_while(|here| **here != 0 && **here < tag).count();
        if self.tag(at) == tag { self.items[at].as_deref() } else { None }
    }

    /// The item at `at`, which must be occupied.
    #[must_use]
    pub fn item(&self, at: usize) -> &[u8] {
        self.items[at].as_deref().expect("the place is occupied")
    }

    /// The item at `at` for change in place.
    pub fn item_mut(&mut self, at: usize) -> &mut Box<[u8]> {
        self.items[at].as_mut().expect("the place is occupied")
    }

    /// The tag at `at`; zero if the place is empty or out of range.
    #[must_use]
    pub fn tag(&self, at: usize) -> Tag {
        self.tags.get(at).copied().unwrap_or(0)
    }

    /// Puts a new item where [`Table::find`] said; the key must not be there already.
    pub fn insert(&mut self, tag: Tag, vacant: usize, new: Box<[u8]>) {
        let mut at = vacant;
        if self.len >= self.homes - self.homes / 8 {
            self.resize(grown(self.homes));
            at = self.vacancy(tag, &new);
        }
        let mut empty = self.empty_from(at);
        while empty == self.tags.len() {
            self.resize(grown(self.homes));
            at = self.vacancy(tag, &new);
            empty = self.empty_from(at);
        }
        self.tags.copy_within(at..empty, at + 1);
        self.items[at..=empty].rotate_right(1);
        self.tags[at] = tag;
        self.items[at] = Some(new);
        self.len += 1;
    }

    /// Takes the item at `at` out.
    pub fn remove(&mut self, at: usize) -> Box<[u8]> {
        let taken = self.items[at].take().expect("the place is occupied");
        let mut end = at + 1;
        while self.tag(end) != 0 && home(self.tags[end], self.homes) != end {
            end += 1;
        }
        self.tags.copy_within(at + 1..end, at);
        self.items[at..end].rotate_left(1);
        self.tags[end - 1] = 0;
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else if self.homes > 16 && self.len < self.homes / 4 {
            self.resize(self.len * 2);
        }
        taken
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
    pub fn items(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().filter_map(|place| place.as_deref())
    }

    /// All items in order, for change in place.
    pub fn items_mut(&mut self) -> impl Iterator<Item = &mut Box<[u8]>> {
        self.items.iter_mut().filter_map(Option::as_mut)
    }

    /// Bytes of the table itself, without the items.
    #[must_use]
    pub fn overhead_bytes(&self) -> usize {
        self.tags.len() * (size_of::<Tag>() + size_of::<Option<Box<[u8]>>>())
    }

    fn next_occupied(&self, from: usize, tag: Tag) -> Option<usize> {
        (from..self.tags.len()).find(|at| self.tags[*at] != 0 && self.tags[*at] >= tag)
    }

    fn vacancy(&self, tag: Tag, new: &[u8]) -> usize {
        match self.find(tag, item::key(new)) {
            Place::Vacant(at) => at,
            Place::Found(_) => unreachable!("the caller looked: the key is not there"),
        }
    }

    fn empty_from(&self, at: usize) -> usize {
        (at..self.tags.len()).find(|at| self.tags[*at] == 0).unwrap_or(self.tags.len())
    }

    fn resize(&mut self, homes: u32) {
        let places = homes as usize + 2 + homes as usize / 16;
        let mut tags = vec![0; places].into_boxed_slice();
        let mut items: Box<[Option<Box<[u8]>>]> = std::iter::repeat_with(|| None).take(places).collect();
        let mut next = 0;
        for at in 0..self.tags.len() {
            if self.tags[at] == 0 {
                continue;
            }
            next = next.max(home(self.tags[at], homes));
            if next == places {
                // The tail overflowed: undo by going on with more homes. What has moved is put back first.
                self.put_back(&tags, &mut items);
                return self.resize(grown(homes));
            }
            tags[next] = self.tags[at];
            items[next] = self.items[at].take();
            next += 1;
        }
        self.tags = tags;
        self.items = items;
        self.homes = homes;
    }

    fn put_back(&mut self, tags: &[Tag], items: &mut [Option<Box<[u8]>>]) {
        let moved = (0..tags.len()).filter(|at| tags[*at] != 0);
        let places: Vec<usize> = (0..self.tags.len()).filter(|at| self.tags[*at] != 0).collect();
        for (from, to) in moved.zip(places) {
            self.items[to] = items[from].take();
        }
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

    fn boxed(key: &[u8], value: &[u8]) -> Box<[u8]> {
        item::build(key, item::Body::Str(value), None, 0)
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
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for _ in 0..400 {
                let n = rng.below(120);
                let key = n.to_string().into_bytes();
                let tag = tag_of(&mut rng, n);
                match (table.find(tag, &key), rng.one_in(3)) {
                    (Place::Found(at), true) => {
                        table.remove(at);
                        assert!(model.remove(&(tag, key)).is_some());
                    }
                    (Place::Vacant(at), false) => {
                        table.insert(tag, at, boxed(&key, b"v"));
                        assert!(model.insert((tag, key), ()).is_none());
                    }
                    (Place::Found(_), false) => assert!(model.contains_key(&(tag, key))),
                    (Place::Vacant(_), true) => assert!(!model.contains_key(&(tag, key))),
                }
                assert_eq!(table.len(), model.len());
            }
            let keys: Vec<&[u8]> = table.items().map(item::key).collect();
            let expected: Vec<&[u8]> = model.keys().map(|(_, key)| key.as_slice()).collect();
            assert_eq!(keys, expected, "seed {seed}");
        }
    }
}
