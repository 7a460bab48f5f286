//! What a change of nodes moves, and how evenly nodes are loaded: measured, in units of the fair share.
//!
//! The fair share of a change is K / n, n being the larger of the two numbers of nodes: what the node that joins or leaves
//! holds if all hold the same.

use base::limits::SHARD_COUNT_MAX;
use base::ring::{Position, Ring};
use base::rng::Rng;
use base::{NodeId, Placement};
use std::collections::BTreeMap;

/// What was measured where `nodes` nodes are one more or one fewer than before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measured {
    /// The number of nodes with the one that joins or leaves.
    pub nodes: usize,
    /// What moved / (K / n).
    pub moved: f64,
    /// The largest load / the mean load.
    pub load: f64,
}

/// The same `count` nodes each time: random ids.
pub fn nodes(count: usize) -> Vec<NodeId> {
    let mut rng = Rng::new(42);
    (0..count).map(|_| NodeId(rng.next_u64())).collect()
}

pub fn ring(count: usize) -> Ring {
    Ring::new(nodes(count))
}

pub fn keys(count: u64) -> Vec<Position> {
    (0..count).map(Position::of_key).collect()
}

/// The plain ring, as if there were keys without end: the worst of all its nodes.
///
/// What a node owns is what moves when it joins last or leaves first, so one pass tells the worst of all 2 n changes.
pub fn shares(ring: &Ring) -> Measured {
    let count = ring.nodes().len();
    let worst = fraction(ring.shares().into_iter().max().unwrap_or(0), 1 << 48) * as_f64(count);
    Measured { nodes: count, moved: worst, load: worst }
}

/// The plain ring, by keys: what moves when the last of `count` nodes joins.
pub fn plain(count: usize, keys: &[Position]) -> Measured {
    let owners = |count| {
        let ring = ring(count);
        keys.iter().map(|key| ring.owner(*key).into_iter().collect()).collect::<Vec<Vec<NodeId>>>()
    };
    compare(&owners(count - 1), &owners(count), count)
}

/// The bounded ring: what moves from one to another of one node more, or back again.
pub fn bounded(fewer: &Ring, all: &Ring, keys: &[Position]) -> Measured {
    compare(&fewer.assign(keys, 1), &all.assign(keys, 1), all.nodes().len())
}

/// A placement: what moves when the last of `count` nodes joins. What moves when one leaves is its load.
pub fn placement(count: usize) -> Measured {
    let voters = |of: &Placement| of.shards().map(|(_, hosts)| hosts.voters.clone()).collect::<Vec<_>>();
    let nodes = nodes(count);
    let fewer = Placement::first(nodes[..count - 1].iter().copied(), SHARD_COUNT_MAX, 3).expect("within the limits");
    let all = fewer.join(nodes[count - 1]).expect("a node more");
    compare(&voters(&fewer), &voters(&all), count)
}

/// What moved from one assignment to another of one node more, `count` in all, and the largest load of the second.
pub fn compare(before: &[Vec<NodeId>], after: &[Vec<NodeId>], count: usize) -> Measured {
    let mean = as_f64(seats(after)) / as_f64(count);
    Measured { nodes: count, moved: as_f64(moved(before, after)) / mean, load: as_f64(most(after)) / mean }
}

fn seats(assigned: &[Vec<NodeId>]) -> usize {
    assigned.iter().map(Vec::len).sum()
}

fn moved(before: &[Vec<NodeId>], after: &[Vec<NodeId>]) -> usize {
    let new = |(old, new): (&Vec<NodeId>, &Vec<NodeId>)| new.iter().filter(|one| !old.contains(one)).count();
    before.iter().zip(after).map(new).sum()
}

/// The largest load of a node.
pub fn most(assigned: &[Vec<NodeId>]) -> usize {
    let mut load: BTreeMap<NodeId, usize> = BTreeMap::new();
    for node in assigned.iter().flatten() {
        *load.entry(*node).or_default() += 1;
    }
    load.values().max().copied().unwrap_or(0)
}

/// The first choices alone.
pub fn firsts(of: &[Vec<NodeId>]) -> Vec<Vec<NodeId>> {
    of.iter().map(|holders| holders[..1].to_vec()).collect()
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("counts of a test are small"))
}

#[expect(clippy::cast_precision_loss, reason = "both are below 2^53")]
fn fraction(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
