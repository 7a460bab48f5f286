//! The leaves of a large sorted set, by number: shared with clones until they change.

use super::packed::Packed;
use std::sync::Arc;

/// A leaf's number; it stays while the leaf lives and may then be another's.
pub(super) type LeafId = u32;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaves {
    /// All but the last are full.
    pages: Vec<Arc<Vec<Slot>>>,
    free: Option<LeafId>,
    /// Bytes of the content.
    bytes: usize,
    count: usize,
}

#[derive(Clone, Debug)]
enum Slot {
    Leaf(Arc<Packed>),
    /// The next free number.
    Free(Option<LeafId>),
}

impl Leaves {
    pub(super) fn get(&self, id: LeafId) -> &Packed {
        let (page, at) = place(id);
        match &self.pages[page][at] {
            Slot::Leaf(leaf) => leaf,
            Slot::Free(_) => unreachable!("the tree and the index name live leaves"),
        }
    }

    /// Lets a leaf be changed; what it takes is counted anew.
    pub(super) fn change<T>(&mut self, id: LeafId, change: impl FnOnce(&mut Packed) -> T) -> T {
        let (page, at) = place(id);
        let Slot::Leaf(leaf) = &mut Arc::make_mut(&mut self.pages[page])[at] else {
            unreachable!("the tree and the index name live leaves")
        };
        let leaf = Arc::make_mut(leaf);
        self.bytes -= leaf.bytes();
        let told = change(leaf);
        self.bytes += leaf.bytes();
        told
    }

    pub(super) fn insert(&mut self, leaf: Packed) -> LeafId {
        self.bytes += leaf.bytes();
        self.count += 1;
        let slot = Slot::Leaf(Arc::new(leaf));
        if let Some(id) = self.free {
            let (page, at) = place(id);
            let Slot::Free(next) = std::mem::replace(&mut Arc::make_mut(&mut self.pages[page])[at], slot) else {
                unreachable!("a free number is no leaf's")
            };
            self.free = next;
            return id;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE_LEAVES) {
            self.pages.push(Arc::default());
        }
        let page = self.pages.len() - 1;
        let slots = Arc::make_mut(&mut self.pages[page]);
        slots.push(slot);
        LeafId::try_from(page * PAGE_LEAVES + slots.len() - 1).expect("memory ends before the numbers do")
    }

    pub(super) fn remove(&mut self, id: LeafId) {
        let (page, at) = place(id);
        self.bytes -= self.get(id).bytes();
        self.count -= 1;
        Arc::make_mut(&mut self.pages[page])[at] = Slot::Free(self.free);
        self.free = Some(id);
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.count * LEAF_OVERHEAD_BYTES
    }
}

fn place(id: LeafId) -> (usize, usize) {
    let id = id as usize;
    (id / PAGE_LEAVES, id % PAGE_LEAVES)
}

const PAGE_LEAVES: usize = 64;
/// The slot, the leaf's head and its counts.
const LEAF_OVERHEAD_BYTES: usize = size_of::<Slot>() + size_of::<Packed>() + 2 * size_of::<usize>();
