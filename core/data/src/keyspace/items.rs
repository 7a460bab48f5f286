//! Where items lie: slots of one size in pages, named by a number of 32 bits.
//!
//! An item has an allocation of its own in most stores: a pointer of 8 bytes, a length of 8, the allocator's rounding,
//! and one more cache line on the way of a look-up. Here sizes go up in steps of 8 bytes, then of an eighth, and a place
//! in a [`super::table::Table`] is a tag and a number, 8 bytes in all. (Bonwick, "The Slab Allocator", 1994.)
//!
//! Which number an item gets depends on this node's history: it is no part of the replicated state. Nor is what stands
//! beside each slot: a number that says how its item is used, which reads change too (see [`super::uses`]).

use base::rng::Rng;
use std::cell::Cell;

/// The number of an item: page and slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemId(u32);

/// All items of a keyspace; see the module.
#[derive(Debug, Default)]
pub struct Items {
    pages: Vec<Page>,
    /// Numbers of pages without memory, for another use.
    free: Vec<u32>,
    /// By class, the pages that have a free slot.
    partial: Vec<Vec<u32>>,
    /// The most slots that a page was ever made with.
    slots_max: u16,
}

/// Slots of one size. A free slot begins with the number of the next free one.
#[derive(Debug, Default)]
struct Page {
    bytes: Box<[u8]>,
    /// By slot, how its item is used; [`NOT_USED`] where there is none.
    uses: Box<[Cell<u32>]>,
    slot_bytes: u32,
    /// Where the page stands among its class's partial ones, if it is one.
    partial_at: u32,
    used: u16,
    /// Slots from here on were never used.
    fresh: u16,
    first_free: u16,
    class: u16,
}

/// A page has at most 1,024 slots, so that a number has 22 bits for the page.
const SLOT_BITS: u32 = 10;
const PAGE_BYTES_MAX: u32 = 64 * 1024;
/// Classes up to this size are 8 bytes apart; behind it, an eighth of a power of two.
const FINE_BYTES_MAX: u32 = 512;
/// Larger items have a page each.
const CLASS_BYTES_MAX: u32 = 8 * 1024;
/// In place of how an item is used: the slot is free.
pub const NOT_USED: u32 = u32::MAX;
/// What a slot takes beside its bytes.
pub const BESIDE_BYTES: usize = size_of::<Cell<u32>>();
/// So often a slot is drawn before the pages are walked.
const DRAWS: u32 = 16;
/// In place of a slot or a class: there is none.
const NONE: u16 = u16::MAX;
const _: () = assert!(NONE as u32 > 1 << SLOT_BITS, "the mark is no slot");
const _: () = assert!(PAGE_BYTES_MAX >= 8 * CLASS_BYTES_MAX, "little is lost at the end of a page");

impl Items {
    /// The slot of an item: its bytes, and behind them what is left of the slot.
    #[must_use]
    #[inline]
    pub fn get(&self, id: ItemId) -> &[u8] {
        let (page, slot) = id.parts();
        let page = &self.pages[page];
        &page.bytes[page.span(slot)]
    }

    /// The same, for change in place.
    pub fn get_mut(&mut self, id: ItemId) -> &mut [u8] {
        let (page, slot) = id.parts();
        let page = &mut self.pages[page];
        let span = page.span(slot);
        &mut page.bytes[span]
    }

    /// How an item is used.
    #[must_use]
    #[inline]
    pub fn use_of(&self, id: ItemId) -> &Cell<u32> {
        let (page, slot) = id.parts();
        &self.pages[page].uses[usize::from(slot)]
    }

    /// Notes the same use of all items.
    pub fn use_all(&self, number: u32) {
        let all = self.pages.iter().flat_map(|page| &page.uses);
        all.filter(|one| one.get() != NOT_USED).for_each(|one| one.set(number));
    }

    /// An item by chance: each is as likely as any other where most slots are taken. Nothing if there is none.
    #[must_use]
    pub fn any(&self, rng: &mut Rng) -> Option<ItemId> {
        let (pages, slots) = (self.pages.len() as u64, u64::from(self.slots_max));
        for _ in 0..DRAWS.min(self.slots_max.into()) {
            let (page, slot) = (place(rng.below(pages)), place(rng.below(slots)));
            if self.pages[page].uses.get(slot).is_some_and(|one| one.get() != NOT_USED) {
                return Some(ItemId::of_places(page, slot));
            }
        }
        let from = place(rng.below(pages.max(1)));
        let mut walk = (from..self.pages.len()).chain(0..from).filter(|page| self.pages[*page].used > 0);
        let page = walk.next()?;
        let uses = &self.pages[page].uses;
        let from = place(rng.below(uses.len() as u64));
        let mut walk = (from..uses.len()).chain(0..from).filter(|slot| uses[*slot].get() != NOT_USED);
        walk.next().map(|slot| ItemId::of_places(page, slot))
    }

    /// A new slot for an item of `bytes`; what stands in it is arbitrary.
    pub fn insert(&mut self, bytes: usize) -> ItemId {
        let bytes = u32::try_from(bytes).expect("requests are smaller than 4 GiB");
        let Some((class, slot_bytes)) = class_of(bytes) else {
            self.slots_max = self.slots_max.max(1);
            let number = self.add_page(Page::new(NONE, bytes, 1));
            return ItemId::of(number, self.pages[number as usize].take());
        };
        let number = self.partial_page(class, slot_bytes);
        let page = &mut self.pages[number as usize];
        let slot = page.take();
        if page.is_full() {
            self.partial[usize::from(class)].pop();
        }
        ItemId::of(number, slot)
    }

    /// Frees the slot of an item. A page without items goes back to the allocator, but not the one in use: an item that
    /// comes and goes costs no page.
    pub fn remove(&mut self, id: ItemId) {
        let (at, slot) = id.parts();
        let page = &mut self.pages[at];
        let was_full = page.is_full();
        page.give(slot);
        if page.class == NONE {
            return self.drop_page(id.page());
        }
        let partial = &mut self.partial[usize::from(page.class)];
        if was_full {
            page.partial_at = u32::try_from(partial.len()).expect("pages have 22 bits");
            partial.push(id.page());
        } else if page.used == 0 && partial.last() != Some(&id.page()) {
            let hole = page.partial_at;
            partial.swap_remove(hole as usize);
            let moved = partial[hole as usize];
            self.pages[moved as usize].partial_at = hole;
            self.drop_page(id.page());
        }
    }

    /// A slot for an item that grows or shrinks to `bytes`: the same one if it is of that size. The bytes are lost.
    pub fn resize(&mut self, id: ItemId, bytes: usize) -> ItemId {
        let wanted = u32::try_from(bytes).expect("requests are smaller than 4 GiB");
        if class_of(wanted).map_or(wanted, |(_, slot_bytes)| slot_bytes) == self.pages[id.parts().0].slot_bytes {
            return id;
        }
        self.remove(id);
        self.insert(bytes)
    }

    /// A page of the class with a free slot: the last of its partial ones.
    fn partial_page(&mut self, class: u16, slot_bytes: u32) -> u32 {
        if self.partial.len() <= usize::from(class) {
            self.partial.resize_with(usize::from(class) + 1, Vec::new);
        }
        if let Some(number) = self.partial[usize::from(class)].last() {
            return *number;
        }
        let slots = (PAGE_BYTES_MAX / slot_bytes).min(1 << SLOT_BITS);
        let page = Page::new(class, slot_bytes, slots);
        self.slots_max = self.slots_max.max(u16::try_from(page.uses.len()).expect("a page has some thousand slots"));
        let number = self.add_page(page);
        self.partial[usize::from(class)].push(number);
        number
    }

    fn add_page(&mut self, page: Page) -> u32 {
        if let Some(number) = self.free.pop() {
            self.pages[number as usize] = page;
            return number;
        }
        self.pages.push(page);
        let number = u32::try_from(self.pages.len() - 1).ok().filter(|number| *number < 1 << (32 - SLOT_BITS));
        number.expect("memory ends before four million pages")
    }

    fn drop_page(&mut self, number: u32) {
        self.pages[number as usize] = Page::default();
        self.free.push(number);
    }
}

impl Page {
    fn new(class: u16, slot_bytes: u32, slots: u32) -> Self {
        let bytes = vec![0; slot_bytes as usize * slots as usize].into_boxed_slice();
        let uses = vec![Cell::new(NOT_USED); slots as usize].into_boxed_slice();
        Self { bytes, uses, slot_bytes, partial_at: 0, used: 0, fresh: 0, first_free: NONE, class }
    }

    #[inline]
    fn span(&self, slot: u16) -> std::ops::Range<usize> {
        let at = usize::from(slot) * self.slot_bytes as usize;
        at..at + self.slot_bytes as usize
    }

    fn is_full(&self) -> bool {
        self.first_free == NONE && self.span(self.fresh).end > self.bytes.len()
    }

    fn take(&mut self) -> u16 {
        self.used += 1;
        if self.first_free == NONE {
            self.fresh += 1;
            self.uses[usize::from(self.fresh - 1)].set(0);
            return self.fresh - 1;
        }
        let slot = self.first_free;
        self.uses[usize::from(slot)].set(0);
        let span = self.span(slot);
        self.first_free = u16::from_le_bytes([self.bytes[span.start], self.bytes[span.start + 1]]);
        slot
    }

    fn give(&mut self, slot: u16) {
        let span = self.span(slot);
        self.bytes[span.start..span.start + 2].copy_from_slice(&self.first_free.to_le_bytes());
        self.first_free = slot;
        self.uses[usize::from(slot)].set(NOT_USED);
        self.used -= 1;
    }
}

impl ItemId {
    fn of(page: u32, slot: u16) -> Self {
        Self((page << SLOT_BITS) | u32::from(slot))
    }

    fn of_places(page: usize, slot: usize) -> Self {
        let page = u32::try_from(page).expect("pages have 22 bits");
        Self::of(page, u16::try_from(slot).expect("slots have 10 bits"))
    }

    fn page(self) -> u32 {
        self.0 >> SLOT_BITS
    }

    #[inline]
    fn parts(self) -> (usize, u16) {
        let [low, high, ..] = (self.0 & ((1 << SLOT_BITS) - 1)).to_le_bytes();
        (self.page() as usize, u16::from_le_bytes([low, high]))
    }
}

fn place(drawn: u64) -> usize {
    usize::try_from(drawn).expect("a place in memory")
}

/// The class of an item's size and the size of its slots; nothing for the sizes that have a page each.
fn class_of(bytes: u32) -> Option<(u16, u32)> {
    let (class, slot_bytes) = if bytes <= FINE_BYTES_MAX {
        (bytes.div_ceil(8), bytes.div_ceil(8) * 8)
    } else if bytes <= CLASS_BYTES_MAX {
        let step = 1 << ((bytes - 1).ilog2() - 3);
        let slot_bytes = bytes.next_multiple_of(step);
        let doublings = (bytes - 1).ilog2() - FINE_BYTES_MAX.ilog2();
        (FINE_BYTES_MAX / 8 + doublings * 8 + (slot_bytes / step - 8), slot_bytes)
    } else {
        return None;
    };
    Some((u16::try_from(class).expect("there are some hundred classes"), slot_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::rng::Rng;

    #[test]
    fn classes_are_dense_and_waste_less_than_an_eighth() {
        let mut last = (0, 0);
        for bytes in 1..=CLASS_BYTES_MAX {
            let (class, slot_bytes) = class_of(bytes).unwrap();
            assert!(slot_bytes >= bytes && slot_bytes < bytes + (bytes / 8).max(8), "{bytes} in {slot_bytes}");
            assert!((class, slot_bytes) == last || (class == last.0 + 1 && slot_bytes > last.1), "{bytes}: {class}");
            last = (class, slot_bytes);
        }
        assert_eq!(class_of(CLASS_BYTES_MAX + 1), None);
    }

    #[test]
    fn every_item_is_drawn_about_as_often() {
        let (mut rng, mut items) = (Rng::new(7), Items::default());
        assert_eq!(items.any(&mut rng), None);
        let ids: Vec<ItemId> = (0..3000).map(|_| items.insert(100)).collect();
        let (kept, gone) = ids.split_at(2000);
        gone.iter().for_each(|id| items.remove(*id));
        let mut drawn = std::collections::BTreeMap::new();
        for _ in 0..200_000 {
            *drawn.entry(items.any(&mut rng).unwrap()).or_insert(0) += 1;
        }
        assert!(drawn.keys().all(|id| kept.contains(id)), "no free slot is drawn");
        assert!(kept.iter().all(|id| (40..220).contains(&drawn[id])), "a hundred times each, more or less");
        kept[1..].iter().for_each(|id| items.remove(*id));
        assert_eq!(items.any(&mut rng), Some(kept[0]), "the last is found among what is left of the pages");
    }

    #[test]
    fn items_keep_their_bytes_whatever_comes_and_goes() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let mut items = Items::default();
            let mut held: Vec<(ItemId, usize, u8)> = Vec::new();
            let most = if seed % 2 == 0 { 60 } else { 12_000 };
            for step in 0..4000_u32 {
                let [mark, ..] = step.to_le_bytes();
                if held.is_empty() || rng.one_in(if step < 3000 { 3 } else { 1 }) && step % 8 != 0 {
                    let bytes = usize::try_from(3 + rng.below(most)).unwrap();
                    let id = items.insert(bytes);
                    items.get_mut(id)[..bytes].fill(mark);
                    held.push((id, bytes, mark));
                } else {
                    let at = usize::try_from(rng.below(held.len() as u64)).unwrap();
                    let (id, bytes, mark) = held.swap_remove(at);
                    assert_eq!(items.resize(id, bytes), id);
                    assert!(items.get(id)[..bytes].iter().all(|byte| *byte == mark), "seed {seed}, step {step}");
                    items.remove(id);
                }
            }
            for (id, bytes, mark) in held.drain(..) {
                assert!(items.get(id)[..bytes].iter().all(|byte| *byte == mark));
                items.remove(id);
            }
            let kept = items.pages.iter().filter(|page| !page.bytes.is_empty()).count();
            assert!(items.pages.iter().all(|page| page.used == 0) && kept <= items.partial.len(), "a page a class");
        }
    }
}
