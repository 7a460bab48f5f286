//! The order of a large sorted set: a tree over its leaves that knows how many members stand below each node.
//!
//! A node tells of each child the lowest score below it; only where scores are equal is the first member looked up. Members
//! stand in the leaves alone.

use super::leaves::{LeafId, Leaves};
use super::packed::{Entry, Packed};
use crate::value::Word;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    root: Arc<Vec<Child>>,
}

#[derive(Clone, Debug)]
struct Child {
    node: Node,
    /// Members below.
    count: usize,
    /// The lowest score below.
    score: f64,
}

#[derive(Clone, Debug)]
enum Node {
    Leaf(LeafId),
    Inner(Arc<Vec<Child>>),
}

/// A place in the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) score: f64,
    pub(super) member: &'a [u8],
}

/// Members that stand in another leaf than before: all that are in `to` after a split; after a merge all that were in `from`,
/// which the caller removes when it has read them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moved {
    Split { from: LeafId, to: LeafId },
    Merged { from: LeafId, to: LeafId },
}

/// Where a new member was put, before what was moved after that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Put {
    pub(super) leaf: LeafId,
    pub(super) moved: Option<Moved>,
}

impl Tree {
    /// Puts a member in that isn't there.
    pub(super) fn insert(&mut self, leaves: &mut Leaves, place: Place<'_>) -> Put {
        let root = Arc::make_mut(&mut self.root);
        if root.is_empty() {
            let leaf = leaves.insert(Packed::default());
            root.push(Child { node: Node::Leaf(leaf), count: 0, score: place.score });
        }
        let put = insert(root, leaves, place);
        if let Some(right) = split(root) {
            let left = std::mem::take(root);
            *root = vec![Child::inner(left), Child::inner(right)];
        }
        put
    }

    /// Takes a member out that is there.
    pub(super) fn remove(&mut self, leaves: &mut Leaves, place: Place<'_>) -> Option<Moved> {
        let moved = remove(Arc::make_mut(&mut self.root), leaves, place);
        while let [Child { node: Node::Inner(only), .. }] = &self.root[..] {
            self.root = only.clone();
        }
        moved
    }

    /// How many members stand before a place.
    pub(super) fn rank(&self, leaves: &Leaves, place: Place<'_>) -> usize {
        self.before(
            leaves,
            |child| child.begins_by(leaves, place),
            |entry| entry.order(place.score, place.member).is_lt(),
        )
    }

    /// How many members have scores for which `low` is true: all up to some score.
    pub(super) fn lower(&self, leaves: &Leaves, low: impl Fn(f64) -> bool) -> usize {
        self.before(leaves, |child| low(child.score), |entry| low(entry.score))
    }

    /// How many members stand before some place: `begins` is true for the children that begin before it or there, `is` for the
    /// entries before it.
    fn before(&self, leaves: &Leaves, begins: impl Fn(&Child) -> bool, is: impl Fn(&Entry<'_>) -> bool) -> usize {
        let (mut children, mut rank) = (&self.root, 0);
        loop {
            let Some(at) = children.partition_point(&begins).checked_sub(1) else { return rank };
            rank += children[..at].iter().map(|child| child.count).sum::<usize>();
            match &children[at].node {
                Node::Inner(inner) => children = inner,
                Node::Leaf(leaf) => return rank + leaves.get(*leaf).entries().take_while(&is).count(),
            }
        }
    }

    /// The leaf in which the member of a rank stands, and how many stand before it there.
    pub(super) fn seek<'a>(&self, leaves: &'a Leaves, mut rank: usize) -> Option<(&'a Packed, usize)> {
        let mut children = &self.root;
        loop {
            let at = children.iter().position(|child| {
                let here = rank < child.count;
                rank -= if here { 0 } else { child.count };
                here
            })?;
            match &children[at].node {
                Node::Inner(inner) => children = inner,
                Node::Leaf(leaf) => return Some((leaves.get(*leaf), rank)),
            }
        }
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.root.iter().map(|child| child.count).sum()
    }
}

impl Child {
    fn inner(children: Vec<Self>) -> Self {
        let (count, score) = (children.iter().map(|child| child.count).sum(), children[0].score);
        Self { node: Node::Inner(Arc::new(children)), count, score }
    }

    fn leaf(leaves: &Leaves, id: LeafId) -> Self {
        let leaf = leaves.get(id);
        let score = leaf.entries().next().expect("a leaf has members").score;
        Self { node: Node::Leaf(id), count: leaf.len(), score }
    }

    /// True if its first member stands before a place or there.
    fn begins_by(&self, leaves: &Leaves, place: Place<'_>) -> bool {
        self.score < place.score
            || (self.score == place.score && self.first(leaves).read(|first| first <= place.member))
    }

    fn first<'a>(&self, leaves: &'a Leaves) -> Word<'a> {
        let mut child = self;
        loop {
            match &child.node {
                Node::Inner(inner) => child = &inner[0],
                Node::Leaf(leaf) => return leaves.get(*leaf).entries().next().expect("a leaf has members").member,
            }
        }
    }

    /// True if there is so little in it that it goes together with a neighbour which has room.
    fn joins(&self, leaves: &Leaves, other: &Self) -> bool {
        let (own, others, max) = match (&self.node, &other.node) {
            (Node::Leaf(own), Node::Leaf(other)) => {
                (leaves.get(*own).used_bytes(), leaves.get(*other).used_bytes(), LEAF_BYTES_MAX)
            }
            (Node::Inner(own), Node::Inner(other)) => (own.len(), other.len(), CHILDREN_MAX),
            _ => unreachable!("neighbours are of the same height"),
        };
        own < max / 4 && own + others <= max * 3 / 4
    }
}

/// Where a place is below a node that has children.
fn child_of(children: &[Child], leaves: &Leaves, place: Place<'_>) -> usize {
    children.partition_point(|child| child.begins_by(leaves, place)).saturating_sub(1)
}

fn insert(children: &mut Vec<Child>, leaves: &mut Leaves, place: Place<'_>) -> Put {
    // The very first leaf is empty yet: it has no first member to compare.
    let at = if children.len() == 1 { 0 } else { child_of(children, leaves, place) };
    let last = at + 1 == children.len();
    let child = &mut children[at];
    child.count += 1;
    child.score = child.score.min(place.score);
    match &mut child.node {
        Node::Inner(inner) => {
            let inner = Arc::make_mut(inner);
            let put = insert(inner, leaves, place);
            if let Some(right) = split(inner) {
                let right = Child::inner(right);
                child.count -= right.count;
                children.insert(at + 1, right);
            }
            put
        }
        Node::Leaf(leaf) => {
            let leaf = *leaf;
            let moved = leaves.change(leaf, |packed| {
                let rank = packed.insert(place.score, place.member);
                let full = packed.used_bytes() > LEAF_BYTES_MAX && packed.len() > 1;
                // What comes in order leaves full leaves behind.
                let cut = if last && rank + 1 == packed.len() { rank } else { packed.middle() };
                full.then(|| packed.split(cut))
            });
            let moved = moved.map(|right| {
                let to = leaves.insert(right);
                let right = Child::leaf(leaves, to);
                children[at].count -= right.count;
                children.insert(at + 1, right);
                Moved::Split { from: leaf, to }
            });
            Put { leaf, moved }
        }
    }
}

/// Takes out the upper part if there are too many children.
fn split(children: &mut Vec<Child>) -> Option<Vec<Child>> {
    (children.len() > CHILDREN_MAX).then(|| children.split_off(CHILDREN_MAX / 2))
}

fn remove(children: &mut Vec<Child>, leaves: &mut Leaves, place: Place<'_>) -> Option<Moved> {
    let at = child_of(children, leaves, place);
    let child = &mut children[at];
    child.count -= 1;
    let moved = match &mut child.node {
        Node::Inner(inner) => {
            let inner = Arc::make_mut(inner);
            let moved = remove(inner, leaves, place);
            child.score = inner.first().map_or(child.score, |first| first.score);
            moved
        }
        Node::Leaf(leaf) => {
            let first = leaves.change(*leaf, |packed| {
                let entry = packed.entries().find(|entry| entry.order(place.score, place.member).is_eq());
                let found = entry.expect("the member stands where the order says").place();
                packed.remove(found);
                packed.entries().next().map(|first| first.score)
            });
            child.score = first.unwrap_or(child.score);
            None
        }
    };
    if child.count == 0 {
        if let Node::Leaf(leaf) = children.remove(at).node {
            leaves.remove(leaf);
        }
        return moved;
    }
    // Leaves stand on one level alone, so of all joins one at most moves members.
    let joined = join(children, leaves, at);
    moved.or(joined)
}

/// Joins a child with a neighbour if that is due.
fn join(children: &mut Vec<Child>, leaves: &mut Leaves, at: usize) -> Option<Moved> {
    let due = |left: &usize| {
        let (Some(one), Some(other)) = (children.get(*left), children.get(left + 1)) else { return false };
        one.joins(leaves, other) || other.joins(leaves, one)
    };
    let left = [Some(at), at.checked_sub(1)].into_iter().flatten().find(due)?;
    let right = children.remove(left + 1);
    let child = &mut children[left];
    child.count += right.count;
    match (&mut child.node, right.node) {
        (Node::Inner(inner), Node::Inner(right)) => {
            Arc::make_mut(inner).extend_from_slice(&right);
            None
        }
        (Node::Leaf(to), Node::Leaf(from)) => {
            let to = *to;
            let right = leaves.get(from).clone();
            leaves.change(to, |packed| packed.append(&right));
            Some(Moved::Merged { from, to })
        }
        _ => unreachable!("neighbours are of the same height"),
    }
}

/// A leaf is split above this, unless it is one member.
const LEAF_BYTES_MAX: usize = 512;
const CHILDREN_MAX: usize = 64;
