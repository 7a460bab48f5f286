//! A consistent-hash ring: which of some nodes a key belongs to, so that few keys move when a node comes or goes.
//!
//! Nodes and keys lie on a circle (`position`), each node at 2,048 points. A key belongs to the node of the first point
//! clockwise from it (Karger and others, 1997). Whoever joins takes keys from all others evenly, and takes nothing else
//! from its place; whoever leaves hands its own keys to all others. The nodes met when one goes on clockwise are a key's
//! order of preference, in which a node that joins or leaves changes nothing but its own place: who is full, dead
//! or taken already is passed over ([`Ring::walk`]).
//!
//! Two things are built on that order. `bounded` assigns many items at once with a bound on every node's load, by a
//! function of the items and nodes alone. `placement`, beside this module, assigns shards and knows the former
//! placement, so it can balance exactly; both seat replicas by `seats` and choose leaders by `firsts`.
//!
//! A ring is a value: whoever wants another one makes it. It costs 8.5 bytes a point, 17 MB for 1,000 nodes; a look-up
//! goes to one of its buckets of some eight points by the first bits of the key, then halves it.

mod bounded;
pub(crate) mod firsts;
mod position;
pub(crate) mod seats;
#[cfg(test)]
mod tests;

pub use bounded::share_max;
pub use position::{POINTS_PER_NODE, Position};

use crate::NodeId;
use crate::limits::NODE_COUNT_MAX;

/// Nodes on the circle.
#[derive(Clone, Debug)]
pub struct Ring {
    /// In rising order; a node's place here stands in its points.
    nodes: Vec<NodeId>,
    /// In rising order.
    points: Vec<Point>,
    /// For each bucket of positions, how many points lie before it; and all of them at the end.
    starts: Vec<u32>,
}

impl Ring {
    /// A ring of these nodes, in whatever order they are named.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
        nodes.sort_unstable();
        nodes.dedup();
        assert!(nodes.len() <= usize::from(NODE_COUNT_MAX), "who admits a node looks at the limit");
        let placed = nodes.iter().zip(0u16..);
        let mut points: Vec<Point> = placed
            .flat_map(|(node, place)| Position::points_of(*node).map(move |position| Point::new(position, place)))
            .collect();
        points.sort_unstable();
        let starts = starts(&points);
        Self { nodes, points, starts }
    }

    /// The nodes in rising order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The node that a key belongs to; nobody if the ring is empty.
    #[must_use]
    pub fn owner(&self, key: Position) -> Option<NodeId> {
        let point = self.points.get(self.first_point(key))?;
        Some(self.nodes[point.place()])
    }

    /// All nodes, each once, in the order in which one meets them clockwise from a key: the owner first.
    pub fn walk(&self, key: Position) -> impl Iterator<Item = NodeId> {
        self.places(key).map(|place| self.nodes[place])
    }

    /// How many of the 2^48 positions belong to each of [`Self::nodes`].
    #[must_use]
    pub fn shares(&self) -> Vec<u64> {
        let mut shares = vec![0; self.nodes.len()];
        let mut before = self.points.last().copied();
        for point in &self.points {
            let since = before.replace(*point).map_or(0, |before| before.position().until(point.position()));
            shares[point.place()] += since;
        }
        shares
    }

    /// As [`Self::walk`], by their places among [`Self::nodes`].
    pub(crate) fn places(&self, key: Position) -> Places<'_> {
        Places { ring: self, at: self.first_point(key), met: Met::default(), left: self.nodes.len() }
    }

    /// Where the first point at or behind a key stands, around the circle.
    fn first_point(&self, key: Position) -> usize {
        let from = Point::new(key, 0);
        let bucket = from.bucket(self.starts.len() - 1);
        let (start, end) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
        let at = start + self.points[start..end].partition_point(|point| *point < from);
        if at == self.points.len() { 0 } else { at }
    }
}

/// A position and, in the low 16 bits, the place of the node that lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point(u64);

impl Point {
    fn new(position: Position, place: u16) -> Self {
        Self(position.number() << 16 | u64::from(place))
    }

    fn position(self) -> Position {
        Position::at(self.0 >> 16)
    }

    fn place(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    /// Which of `count` equal parts of the circle it lies in.
    fn bucket(self, count: usize) -> usize {
        let wide = (u128::from(self.0) * count as u128) >> 64;
        usize::try_from(wide).expect("a point lies in one of the buckets")
    }
}

fn starts(points: &[Point]) -> Vec<u32> {
    let count = (points.len() / POINTS_PER_BUCKET).max(1);
    let mut starts = vec![0; count + 1];
    for point in points {
        starts[point.bucket(count) + 1] += 1;
    }
    for bucket in 0..count {
        starts[bucket + 1] += starts[bucket];
    }
    starts
}

const POINTS_PER_BUCKET: usize = 8;

/// The places of nodes clockwise from a key, each once.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    ring: &'a Ring,
    at: usize,
    met: Met,
    left: usize,
}

impl Iterator for Places<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        loop {
            let place = self.ring.points[self.at].place();
            self.at = (self.at + 1) % self.ring.points.len();
            if self.met.is_new(place) {
                return Some(place);
            }
        }
    }
}

/// A bit for each node: set once it was met.
#[derive(Debug, Default)]
struct Met([u64; NODE_COUNT_MAX as usize / 64]);

impl Met {
    fn is_new(&mut self, place: usize) -> bool {
        let (word, bit) = (&mut self.0[place / 64], 1 << (place % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

const _: () = assert!(NODE_COUNT_MAX.is_multiple_of(64), "every node has its bit");
