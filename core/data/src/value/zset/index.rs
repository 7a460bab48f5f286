//! Which leaf a member stands in, by the member's hash: a tree of sorted keys, each a hash and a leaf's number.
//!
//! A tree and not a table, for three reasons: it grows and shrinks without a pause, a clone shares what doesn't change,
//! and the order of hashes is one in which ZSCAN can go on wherever it stopped, whatever came, went or changed its score.
//! Its shape is no state: two trees of the same keys answer alike.

use super::leaves::LeafId;
use crate::value::Word;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::sync::Arc;

/// The hash of a member, of [`HASH_BITS`] bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hash(pub(super) u64);

impl Hash {
    /// The same everywhere and always: cursors of ZSCAN carry it. It needs no secret, since a flood of members with one hash
    /// costs whoever makes it some 2^36 tries for each.
    pub(super) fn of(member: Word<'_>) -> Self {
        let mut hasher = SipHasher13::new_with_keys(0x7469_6465_6761_7465, 0x736f_7274_6564_2073);
        match member {
            Word::Text(text) => hasher.write(text),
            Word::Apart(text) => hasher.write(text),
            Word::Int(integer) => hasher.write_i64(integer),
        }
        Self(hasher.finish() >> LEAF_BITS)
    }

    /// What stands behind this hash and leaf; nothing at the end of both.
    pub(super) fn next(self, leaf: LeafId) -> Option<(Self, LeafId)> {
        let next = self.key(leaf).checked_add(1)?;
        Some(Self::parts(next))
    }

    fn parts(key: u64) -> (Self, LeafId) {
        let leaf = LeafId::try_from(key & ((1 << LEAF_BITS) - 1)).expect("so many bits are no more");
        (Self(key >> LEAF_BITS), leaf)
    }

    fn key(self, leaf: LeafId) -> u64 {
        assert!(u64::from(leaf) >> LEAF_BITS == 0, "memory ends before the numbers of leaves do");
        self.0 << LEAF_BITS | u64::from(leaf)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Index {
    root: Arc<Node>,
    len: usize,
}

/// Keys that are equal stand there as often as there are members with that hash in that leaf.
#[derive(Clone, Debug)]
enum Node {
    Keys(Vec<u64>),
    /// Each node with its least key.
    Nodes(Vec<(u64, Arc<Node>)>),
}

impl Default for Index {
    fn default() -> Self {
        Self { root: Arc::new(Node::Keys(Vec::new())), len: 0 }
    }
}

impl Index {
    pub(super) fn insert(&mut self, hash: Hash, leaf: LeafId) {
        self.len += 1;
        if let Some(right) = put(Arc::make_mut(&mut self.root), hash.key(leaf)) {
            let left = std::mem::replace(&mut self.root, Arc::new(Node::Nodes(Vec::new())));
            *Arc::make_mut(&mut self.root) = Node::Nodes(vec![(left.least(), left), (right.least(), Arc::new(right))]);
        }
    }

    /// Takes a key out that is there.
    pub(super) fn remove(&mut self, hash: Hash, leaf: LeafId) {
        self.len -= 1;
        let found = take(Arc::make_mut(&mut self.root), hash.key(leaf));
        assert!(found, "the index names every member");
        while let Node::Nodes(nodes) = &*self.root
            && let [(_, only)] = &nodes[..]
        {
            self.root = only.clone();
        }
    }

    /// The first hash and leaf at or behind `hash` and `leaf`.
    pub(super) fn next(&self, hash: Hash, leaf: LeafId) -> Option<(Hash, LeafId)> {
        self.root.next(hash.key(leaf)).map(Hash::parts)
    }

    /// The leaves in which members of a hash stand.
    pub(super) fn leaves(&self, hash: Hash) -> impl Iterator<Item = LeafId> {
        let mut from = Some((hash, 0));
        std::iter::from_fn(move || {
            let (at, leaf) = from.filter(|(at, _)| *at == hash)?;
            let (found, leaf) = self.next(at, leaf)?;
            from = found.next(leaf);
            (found == hash).then_some(leaf)
        })
    }

    /// Bytes of memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.len * size_of::<u64>() * 9 / 8
    }
}

impl Node {
    fn least(&self) -> u64 {
        match self {
            Self::Keys(keys) => keys[0],
            Self::Nodes(nodes) => nodes[0].0,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Keys(keys) => keys.len(),
            Self::Nodes(nodes) => nodes.len(),
        }
    }

    fn next(&self, key: u64) -> Option<u64> {
        match self {
            Self::Keys(keys) => keys.get(keys.partition_point(|one| *one < key)).copied(),
            Self::Nodes(nodes) => {
                // Equal keys may begin in the node before the first whose least key they are.
                let at = nodes.partition_point(|(least, _)| *least < key);
                let before = at.checked_sub(1).and_then(|before| nodes[before].1.next(key));
                before.or_else(|| nodes.get(at).map(|(least, _)| *least))
            }
        }
    }

    /// Takes out the upper half if there is too much.
    fn split(&mut self) -> Option<Self> {
        let half = self.len() / 2;
        match self {
            Self::Keys(keys) if keys.len() > KEYS_MAX => {
                let right = keys[half..].to_vec();
                keys.truncate(half);
                keys.shrink_to(half + KEYS_SPARE);
                Some(Self::Keys(right))
            }
            Self::Nodes(nodes) if nodes.len() > NODES_MAX => Some(Self::Nodes(nodes.split_off(half))),
            Self::Keys(_) | Self::Nodes(_) => None,
        }
    }

    fn append(&mut self, other: &Self) {
        match (self, other) {
            (Self::Keys(keys), Self::Keys(more)) => {
                keys.reserve_exact(more.len());
                keys.extend_from_slice(more);
            }
            (Self::Nodes(nodes), Self::Nodes(more)) => nodes.extend_from_slice(more),
            _ => unreachable!("neighbours are of the same height"),
        }
    }

    /// True if it has so few that it goes together with a neighbour which has room.
    fn joins(&self, other: &Self) -> bool {
        let max = if matches!(self, Self::Keys(_)) { KEYS_MAX } else { NODES_MAX };
        self.len() < max / 4 && self.len() + other.len() <= max * 3 / 4
    }
}

/// Puts a key in; the new right neighbour if the node had to be split.
fn put(node: &mut Node, key: u64) -> Option<Node> {
    match node {
        Node::Keys(keys) => {
            if keys.len() == keys.capacity() {
                keys.reserve_exact(KEYS_SPARE);
            }
            keys.insert(keys.partition_point(|one| *one < key), key);
        }
        Node::Nodes(nodes) => {
            let at = nodes.partition_point(|(least, _)| *least < key).saturating_sub(1);
            let (least, child) = &mut nodes[at];
            *least = key.min(*least);
            if let Some(right) = put(Arc::make_mut(child), key) {
                nodes.insert(at + 1, (right.least(), Arc::new(right)));
            }
        }
    }
    node.split()
}

/// Takes a key out; false if it wasn't there.
fn take(node: &mut Node, key: u64) -> bool {
    let nodes = match node {
        Node::Keys(keys) => {
            let at = keys.partition_point(|one| *one < key);
            let found = keys.get(at) == Some(&key);
            if found {
                keys.remove(at);
            }
            return found;
        }
        Node::Nodes(nodes) => nodes,
    };
    let behind = nodes.partition_point(|(least, _)| *least < key);
    let before = behind.checked_sub(1).filter(|before| nodes[*before].1.next(key) == Some(key));
    let Some((_, child)) = nodes.get_mut(before.unwrap_or(behind)) else { return false };
    let found = take(Arc::make_mut(child), key);
    tidy(nodes, before.unwrap_or(behind));
    found
}

/// Puts a node in order of which something was taken.
fn tidy(nodes: &mut Vec<(u64, Arc<Node>)>, at: usize) {
    if nodes[at].1.len() == 0 {
        nodes.remove(at);
        return;
    }
    nodes[at].0 = nodes[at].1.least();
    let joins = |left: usize| {
        nodes.get(left + 1).is_some_and(|(_, right)| nodes[left].1.joins(right) || right.joins(&nodes[left].1))
    };
    if let Some(left) = [Some(at), at.checked_sub(1)].into_iter().flatten().find(|left| joins(*left)) {
        let (_, right) = nodes.remove(left + 1);
        Arc::make_mut(&mut nodes[left].1).append(&right);
    }
}

const LEAF_BITS: u32 = 28;
/// Bits of a member's hash.
pub(super) const HASH_BITS: u32 = u64::BITS - LEAF_BITS;
const KEYS_MAX: usize = 128;
/// Room is made for so many keys at a time.
const KEYS_SPARE: usize = 16;
const NODES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use base::rng::Rng;

    #[test]
    fn keys_are_found_in_order_however_they_came_and_went() {
        let mut rng = Rng::new(3);
        let mut index = Index::default();
        let mut plain: Vec<(u64, u32)> = Vec::new();
        let former = index.clone();
        for round in 0..30_000 {
            // Few hashes, so that many keys are equal.
            let (hash, leaf) = (rng.below(400), u32::try_from(rng.below(3)).unwrap());
            let growing = round % 10_000 < 6000;
            if growing || rng.one_in(4) {
                index.insert(Hash(hash), leaf);
                plain.push((hash, leaf));
            } else if !plain.is_empty() {
                let at = usize::try_from(rng.below(plain.len() as u64)).unwrap();
                let (hash, leaf) = plain.swap_remove(at);
                index.remove(Hash(hash), leaf);
            }
            let wanted = plain.iter().filter(|one| **one >= (hash, leaf)).min();
            assert_eq!(index.next(Hash(hash), leaf), wanted.map(|(hash, leaf)| (Hash(*hash), *leaf)));
            assert_eq!(index.len, plain.len());
        }
        for (hash, leaf) in plain {
            assert!(index.leaves(Hash(hash)).any(|one| one == leaf));
            index.remove(Hash(hash), leaf);
        }
        assert_eq!((index.next(Hash(0), 0), former.next(Hash(0), 0)), (None, None));
    }
}
