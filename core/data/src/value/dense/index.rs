//! Where a member stands, by the hash of its key: a linear hash table (Litwin, 1980) of small tables.
//!
//! There is one segment for some [`SEGMENT_COUNT`] members. When members come, the next segment in turn is split in two;
//! when they go, the last is joined to the one that it was split from. So no change moves more than a segment's places,
//! and one who shares the index copies no more than that. Segments are told apart by the low bits of the hash; within one
//! the high bits say where to begin to look, and what is looked for stands there or soon behind it.
//!
//! The index decides nothing that can be seen: members have their order elsewhere.

use super::shelf::Shelf;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Index {
    segments: Shelf<Segment>,
    len: usize,
    /// Bytes of all segments' places.
    bytes: usize,
}

/// How many members there are for one segment: when there are more, one is split.
const SEGMENT_COUNT: usize = 192;
/// With fewer than this for one segment, two are joined.
const SEGMENT_COUNT_LEAST: usize = 64;

impl Index {
    pub(super) fn new() -> Self {
        let mut segments = Shelf::EMPTY;
        segments.push(Segment::with_room(0));
        let bytes = segments.get(0).bytes();
        Self { segments, len: 0, bytes }
    }

    /// Bytes of memory besides the struct.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.segments.len() * size_of::<Segment>()
    }

    /// The position under `hash` that `is_it` says is the one.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        self.segments.get(self.segment(hash)).find(hash, |position| is_it(position as usize)).map(|(_, at)| at as usize)
    }

    /// Adds a position; nothing else with it is there.
    pub(super) fn insert(&mut self, hash: u32, position: usize) {
        let at = self.segment(hash);
        self.change(at, |segment| segment.insert(hash, place(position)));
        self.len += 1;
        if self.len > self.segments.len() * SEGMENT_COUNT {
            self.split();
        }
    }

    /// Takes a position out that is there.
    pub(super) fn remove(&mut self, hash: u32, position: usize) {
        let (at, position) = (self.segment(hash), place(position));
        self.change(at, |segment| segment.remove(hash, position));
        self.len -= 1;
        if self.segments.len() > 1 && self.len < self.segments.len() * SEGMENT_COUNT_LEAST {
            self.join();
        }
    }

    /// What stood at `from` stands at `to` now.
    pub(super) fn rename(&mut self, hash: u32, from: usize, to: usize) {
        let at = self.segment(hash);
        self.segments.get_mut(at).rename(hash, place(from), place(to));
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut Segment)) {
        let segment = self.segments.get_mut(at);
        self.bytes -= segment.bytes();
        change(segment);
        self.bytes += segment.bytes();
    }

    /// With 2^n to 2^(n+1) segments, those that are split already are told apart by n + 1 bits, the others by n.
    fn segment(&self, hash: u32) -> usize {
        let mask = self.segments.len().next_power_of_two() - 1;
        let at = hash as usize & mask;
        if at < self.segments.len() { at } else { at & (mask >> 1) }
    }

    fn split(&mut self) {
        let new = self.segments.len();
        let old = new & !(1 << new.ilog2());
        self.segments.push(Segment::with_room(SEGMENT_COUNT));
        let (moving, staying): (Vec<u64>, Vec<u64>) =
            self.segments.get(old).taken().partition(|slot| self.segment(hash_of(*slot)) == new);
        self.bytes += self.segments.get(new).bytes();
        for (at, slots) in [(old, staying), (new, moving)] {
            self.change(at, |segment| *segment = Segment::of(&slots));
        }
    }

    fn join(&mut self) {
        let Some(gone) = self.segments.pop() else { return };
        self.bytes -= gone.bytes();
        let at = self.segments.len() & !(1 << self.segments.len().ilog2());
        let slots: Vec<u64> = self.segments.get(at).taken().chain(gone.taken()).collect();
        self.change(at, |segment| *segment = Segment::of(&slots));
    }
}

fn place(position: usize) -> u32 {
    u32::try_from(position).expect("memory ends before four thousand million members")
}

/// One small table: open addressing, each slot a hash and a position above zero, or zero.
#[derive(Clone, Debug)]
struct Segment {
    slots: Box<[u64]>,
    used: usize,
}

fn slot(hash: u32, position: u32) -> u64 {
    (u64::from(hash) << 32) | (u64::from(position) + 1)
}

fn hash_of(slot: u64) -> u32 {
    u32::try_from(slot >> 32).expect("the high half")
}

fn position_of(slot: u64) -> u32 {
    let [a, b, c, d, ..] = slot.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]) - 1
}

impl Segment {
    /// One with room for `count` that is three quarters full with them.
    fn with_room(count: usize) -> Self {
        Self { slots: vec![0; count + count / 3 + 8].into_boxed_slice(), used: 0 }
    }

    fn of(slots: &[u64]) -> Self {
        // Some more will come: a quarter.
        let mut new = Self::with_room(slots.len() + slots.len() / 4);
        slots.iter().for_each(|one| new.put(*one));
        new
    }

    fn bytes(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }

    fn taken(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().copied().filter(|slot| *slot != 0)
    }

    fn home(&self, hash: u32) -> usize {
        usize::try_from((u64::from(hash) * self.slots.len() as u64) >> 32).expect("below the number of slots")
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<(usize, u32)> {
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if hash_of(slot) == hash && is_it(position_of(slot)) {
                return Some((at, position_of(slot)));
            }
            at = self.next(at);
        }
    }

    fn insert(&mut self, hash: u32, position: u32) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            let slots: Vec<u64> = self.taken().collect();
            *self = Self::of(&slots);
        }
        self.put(slot(hash, position));
    }

    fn put(&mut self, slot: u64) {
        let mut at = self.home(hash_of(slot));
        while self.slots[at] != 0 {
            at = self.next(at);
        }
        self.slots[at] = slot;
        self.used += 1;
    }

    fn rename(&mut self, hash: u32, from: u32, to: u32) {
        let (at, _) = self.find(hash, |position| position == from).expect("every member is in the index");
        self.slots[at] = slot(hash, to);
    }

    /// Empties a slot and moves into it what was kept from its place by others.
    fn remove(&mut self, hash: u32, position: u32) {
        let (mut hole, _) = self.find(hash, |one| one == position).expect("every member is in the index");
        let mut at = hole;
        loop {
            at = self.next(at);
            if self.slots[at] == 0 {
                break;
            }
            let home = self.home(hash_of(self.slots[at]));
            if self.distance(home, at) >= self.distance(hole, at) {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
        }
        self.slots[hole] = 0;
        self.used -= 1;
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::rng::Rng;

    fn run(hashes: impl Fn(usize) -> u32, count: usize) {
        let mut index = Index::new();
        let find = |index: &Index, n: usize| index.find(hashes(n), |position| position == n);
        for n in 0..count {
            assert_eq!(find(&index, n), None);
            index.insert(hashes(n), n);
        }
        let shared = index.clone();
        for n in (0..count).step_by(2) {
            index.remove(hashes(n), n);
        }
        for n in (1..count).step_by(2) {
            index.rename(hashes(n), n, n + count);
        }
        for n in 0..count {
            assert_eq!(find(&index, n), None, "{n}");
            let moved = index.find(hashes(n), |position| position == n + count);
            assert_eq!(moved, (n % 2 == 1).then_some(n + count), "{n}");
            assert_eq!(find(&shared, n), Some(n), "what is shared stays as it was");
        }
        for n in (1..count).step_by(2) {
            index.remove(hashes(n), n + count);
        }
        assert_eq!((index.len, index.segments.len()), (0, 1));
        let slots = index.segments.get(0).slots.len();
        assert_eq!(index.bytes, slots * 8, "the sum is kept");
    }

    #[test]
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        let mut rng = Rng::new(5);
        let hashes: Vec<u32> = (0..20_000).map(|_| u32::try_from(rng.next_u64() >> 32).unwrap()).collect();
        run(|n| hashes[n], 20_000);
        run(|n| hashes[n], 150);
    }

    #[test]
    fn hashes_that_meet_cost_time_alone() {
        run(|_| u32::MAX, 1000);
        run(|n| u32::try_from(n % 7).unwrap() << 28, 1000);
    }

    #[test]
    fn a_place_costs_some_thirteen_bytes() {
        let mut rng = Rng::new(9);
        let mut index = Index::new();
        for n in 0..100_000 {
            index.insert(u32::try_from(rng.next_u64() >> 32).unwrap(), n);
            assert!(n < 1000 || index.bytes() < 15 * n, "{} for {n}", index.bytes());
        }
    }
}
