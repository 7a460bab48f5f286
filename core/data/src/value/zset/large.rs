//! A large sorted set: members packed in leaves, a tree over the leaves for the order, and an index by member.
//!
//! Members stand in the leaves alone. A change costs one leaf, a path of the tree and one of the index; when a leaf is split
//! or joined, the index is told of the members that moved. All of it is shared with clones until it changes.

use super::index::{HASH_BITS, Hash, Index};
use super::leaves::{LeafId, Leaves};
use super::packed::Packed;
use super::tree::{Moved, Place, Tree};
use crate::value::Word;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Large {
    leaves: Leaves,
    tree: Tree,
    index: Index,
}

impl Large {
    pub(super) fn len(&self) -> usize {
        self.tree.len()
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.leaves.bytes() + self.index.bytes()
    }

    pub(super) fn score(&self, member: &[u8]) -> Option<f64> {
        let member = Word::of(member);
        self.find(Hash::of(member), member).map(|(_, score)| score)
    }

    fn find(&self, hash: Hash, member: Word<'_>) -> Option<(LeafId, f64)> {
        self.index.leaves(hash).find_map(|leaf| Some((leaf, self.leaves.get(leaf).find(member)?.score)))
    }

    /// How many members stand before a place.
    pub(super) fn rank(&self, score: f64, member: &[u8]) -> usize {
        self.tree.rank(&self.leaves, Place { score, member })
    }

    /// How many members have scores for which `low` is true: all up to some score.
    pub(super) fn lower(&self, low: impl Fn(f64) -> bool) -> usize {
        self.tree.lower(&self.leaves, low)
    }

    /// The leaf in which the member of a rank stands, and how many stand before it there.
    pub(super) fn seek(&self, rank: usize) -> Option<(&Packed, usize)> {
        self.tree.seek(&self.leaves, rank)
    }

    /// Puts a member in or gives it another score; its former score.
    pub(super) fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let hash = Hash::of(Word::of(member));
        let former = self.find(hash, Word::of(member));
        if let Some((_, former)) = former {
            if former.to_bits() == score.to_bits() {
                return Some(former);
            }
            let moved = self.tree.remove(&mut self.leaves, Place { score: former, member });
            self.follow(moved);
        }
        let put = self.tree.insert(&mut self.leaves, Place { score, member });
        match former {
            Some((leaf, _)) if leaf == put.leaf => {}
            Some((leaf, _)) => {
                self.index.remove(hash, leaf);
                self.index.insert(hash, put.leaf);
            }
            None => self.index.insert(hash, put.leaf),
        }
        self.follow(put.moved);
        former.map(|(_, score)| score)
    }

    /// Takes a member out; its score.
    pub(super) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let hash = Hash::of(Word::of(member));
        let (leaf, score) = self.find(hash, Word::of(member))?;
        self.index.remove(hash, leaf);
        let moved = self.tree.remove(&mut self.leaves, Place { score, member });
        self.follow(moved);
        Some(score)
    }

    /// Tells the index where members stand now.
    fn follow(&mut self, moved: Option<Moved>) {
        let (from, to, holder) = match moved {
            None => return,
            Some(Moved::Split { from, to }) => (from, to, to),
            Some(Moved::Merged { from, to }) => (from, to, from),
        };
        for entry in self.leaves.get(holder).entries() {
            let hash = Hash::of(entry.member);
            self.index.remove(hash, from);
            self.index.insert(hash, to);
        }
        if holder == from {
            self.leaves.remove(from);
        }
    }

    /// Shows at least `count` members from a cursor on, in the order of their hashes, if there are so many; the next cursor,
    /// or 0 at the end.
    pub(super) fn scan(&self, cursor: u64, count: usize, mut show: impl FnMut(Word<'_>, f64)) -> u64 {
        if cursor >> HASH_BITS != 0 {
            return 0;
        }
        let (mut from, mut shown, mut last) = ((Hash(cursor), 0), 0, None);
        while let Some((hash, leaf)) = self.index.next(from.0, from.1) {
            // Those of one hash stand on one page.
            if shown >= count && last != Some(hash) {
                return hash.0;
            }
            last = Some(hash);
            for entry in self.leaves.get(leaf).entries().filter(|entry| Hash::of(entry.member) == hash) {
                show(entry.member, entry.score);
                shown += 1;
            }
            let Some(next) = hash.next(leaf) else { break };
            from = next;
        }
        0
    }
}
