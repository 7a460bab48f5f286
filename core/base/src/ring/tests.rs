//! What a ring promises, on small rings and seeded nodes. How evenly it shares and how little moves is measured, for 3 to
//! 1,000 nodes, by `sim/tests/ring`.

use super::*;
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

fn nodes(count: usize, seed: u64) -> Vec<NodeId> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| NodeId(rng.next_u64())).collect()
}

fn keys(count: u64) -> Vec<Position> {
    (0..count).map(Position::of_key).collect()
}

fn ring(nodes: &[NodeId]) -> Ring {
    Ring::new(nodes.iter().copied())
}

#[test]
fn an_empty_ring_owns_nothing() {
    let ring = ring(&[]);
    assert_eq!(ring.owner(Position::of_key(1)), None);
    assert_eq!(ring.walk(Position::of_key(1)).count(), 0);
    assert_eq!(ring.assign(&keys(2), 3), [vec![], vec![]]);
}

#[test]
fn the_order_of_naming_is_of_no_matter() {
    let named = nodes(9, 1);
    let backwards: Vec<NodeId> = named.iter().rev().chain(&named).copied().collect();
    let (one, other) = (ring(&named), ring(&backwards));
    assert_eq!(one.nodes(), other.nodes());
    for key in keys(1000) {
        assert_eq!(one.owner(key), other.owner(key));
    }
}

#[test]
fn a_walk_meets_every_node_once_the_nearest_first() {
    let ring = ring(&nodes(9, 2));
    for key in keys(200) {
        let met: Vec<NodeId> = ring.walk(key).collect();
        let ways: Vec<u64> = met.iter().map(|node| key.until_node(*node)).collect();
        assert!(ways.is_sorted(), "{ways:?}");
        assert_eq!(met.iter().copied().collect::<BTreeSet<_>>().len(), 9);
        assert_eq!(ring.owner(key), Some(met[0]));
    }
}

#[test]
fn who_joins_or_leaves_changes_nothing_but_its_own_place() {
    let all = nodes(12, 3);
    let (less, more) = (ring(&all[..11]), ring(&all));
    for key in keys(1000) {
        let before: Vec<NodeId> = less.walk(key).collect();
        let after: Vec<NodeId> = more.walk(key).filter(|node| *node != all[11]).collect();
        assert_eq!(before, after);
    }
}

#[test]
fn shares_are_the_chances_of_keys() {
    assert_eq!(ring(&nodes(1, 6)).shares(), [1 << 48]);
    let ring = ring(&nodes(3, 6));
    assert_eq!(ring.shares().iter().sum::<u64>(), 1 << 48);
    for (node, share) in ring.nodes().iter().zip(ring.shares()) {
        let owned = keys(100_000).iter().filter(|key| ring.owner(**key) == Some(*node)).count() as u64;
        assert!(owned.abs_diff((share * 100_000) >> 48) < 500, "{owned} of 100,000 keys for {share} of 2^48");
    }
}

/// Nobody has more seats than the bound allows.
fn loads_are_bounded<'a>(of: impl Iterator<Item = &'a NodeId>, total: usize, nodes: usize) {
    let mut load: BTreeMap<NodeId, usize> = BTreeMap::new();
    for node in of {
        *load.entry(*node).or_default() += 1;
    }
    let most = load.values().max().copied().unwrap_or(0);
    assert!(most <= share_max(total, nodes), "{most} of {total} on one of {nodes} nodes");
}

#[test]
fn items_sit_on_distinct_nodes_and_loads_are_bounded() {
    for nodes_count in [1, 2, 3, 4, 5, 7, 16, 40] {
        let ring = ring(&nodes(nodes_count, 4));
        for (items, replicas) in [(1, 1), (1, 3), (7, 2), (64, 3), (64, 5), (500, 1), (500, 3), (500, 7)] {
            let assigned = ring.assign(&keys(items), replicas);
            let replicas = replicas.min(nodes_count);
            for holders in &assigned {
                assert_eq!(holders.iter().collect::<BTreeSet<_>>().len(), replicas);
            }
            loads_are_bounded(assigned.iter().flatten(), assigned.len() * replicas, nodes_count);
            loads_are_bounded(assigned.iter().map(|holders| &holders[0]), assigned.len(), nodes_count);
        }
    }
}

#[test]
fn an_item_goes_to_its_owner_while_there_is_room() {
    let ring = ring(&nodes(10, 5));
    let keys = keys(10_000);
    let assigned = ring.assign(&keys, 1);
    let at_home = keys.iter().zip(&assigned).filter(|(key, holders)| ring.owner(**key) == Some(holders[0])).count();
    assert_eq!(at_home, 10_000, "ten nodes share 10,000 items to within 1.1 by themselves");
}
