//! Seeded sequences of joins, leaves and replacements, and the rules that hold after each, as functions named after them.

use super::*;
use crate::codec::DecodeError;
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// One change of a sequence.
#[derive(Clone, Copy, Debug)]
enum Step {
    Join(NodeId),
    Leave(NodeId),
    Replace(NodeId, NodeId),
}

fn ids(count: u64) -> impl Iterator<Item = NodeId> {
    let mut rng = Rng::new(count);
    (0..count).map(move |_| NodeId(rng.next_u64()))
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("small")
}

fn draw(rng: &mut Rng, placement: &Placement, nodes_max: usize) -> Step {
    let nodes = placement.nodes();
    let (new, old) = (NodeId(rng.next_u64()), nodes[below(rng, nodes.len())]);
    match rng.below(5) {
        0 => Step::Replace(old, new),
        1 | 2 if nodes.len() > 1 => Step::Leave(old),
        _ if nodes.len() < nodes_max => Step::Join(new),
        _ => Step::Leave(old),
    }
}

fn take(placement: &Placement, step: Step) -> Placement {
    let next = match step {
        Step::Join(node) => placement.join(node),
        Step::Leave(node) => placement.leave(node),
        Step::Replace(dead, with) => placement.replace(dead, with),
    };
    next.expect("the step was drawn to fit")
}

fn seats(placement: &Placement) -> BTreeMap<NodeId, usize> {
    count(placement, placement.shards().flat_map(|(_, hosts)| hosts.voters.clone()))
}

fn leads(placement: &Placement) -> BTreeMap<NodeId, usize> {
    count(placement, placement.shards().map(|(_, hosts)| hosts.leader))
}

fn count(placement: &Placement, named: impl Iterator<Item = NodeId>) -> BTreeMap<NodeId, usize> {
    let mut counts: BTreeMap<NodeId, usize> = placement.nodes().iter().map(|node| (*node, 0)).collect();
    for node in named {
        *counts.get_mut(&node).expect("only nodes are named") += 1;
    }
    counts
}

fn is_even(counts: &BTreeMap<NodeId, usize>) -> bool {
    let (least, most) = (counts.values().min(), counts.values().max());
    most.zip(least).is_some_and(|(most, least)| most - least <= 1)
}

/// Voters that shards get, and leaders that change.
fn moved(before: &Placement, after: &Placement) -> (usize, usize) {
    let changes = before.changes_to(after);
    let added = changes.iter().map(|change| change.added.len()).sum();
    (added, changes.iter().filter(|change| change.leader.is_some()).count())
}

fn a_placement_is_valid(placement: &Placement) {
    assert_eq!(placement.validate(), Ok(()));
}

fn seats_are_even(placement: &Placement) {
    assert!(is_even(&seats(placement)), "{:?}", seats(placement));
}

fn leaders_are_even(placement: &Placement) {
    assert!(is_even(&leads(placement)), "{:?}", leads(placement));
}

fn an_epoch_follows_the_other(before: &Placement, after: &Placement) {
    assert_eq!(after.epoch().0, before.epoch().0 + 1);
}

fn it_comes_back_from_its_bytes(placement: &Placement) {
    assert_eq!(Placement::decode(&placement.encode()).as_ref(), Ok(placement));
}

/// Who joins takes an even share, rounded down, and nobody else takes anything.
fn a_join_moves_the_share_of_the_new_node(before: &Placement, after: &Placement, node: NodeId) {
    let shards = usize::from(after.shard_count());
    let share = after.voters_per_shard() * shards / after.nodes().len();
    assert_eq!(seats(after)[&node], share);
    assert_eq!(moved(before, after).0, share);
}

/// What one had that left, others take; now and then one seat more moves, because nobody with room could take the last one.
fn a_leave_moves_what_the_node_had(before: &Placement, after: &Placement, node: NodeId) -> usize {
    let had = if after.voters_per_shard() < before.voters_per_shard() { 0 } else { seats(before)[&node] };
    let moved = moved(before, after).0;
    assert!(moved == had || moved == had + 1, "{moved} moved, {had} had to");
    moved - had
}

/// The heir has what the dead one had, and nothing else moves.
fn a_replacement_moves_what_the_dead_had(before: &Placement, after: &Placement, dead: NodeId, with: NodeId) {
    let had = (seats(before)[&dead], leads(before)[&dead]);
    assert_eq!((seats(after)[&with], leads(after)[&with]), had);
    assert_eq!(moved(before, after), had);
}

#[test]
fn every_sequence_of_changes_keeps_the_rules() {
    let (mut seats_extra, mut leaders, mut leaders_least) = (0, 0, 0);
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let shards = [1, 2, 3, 7, 16, 50][below(&mut rng, 6)];
        let replicas = [1, 2, 3, 3, 5, 7][below(&mut rng, 6)];
        let nodes_max = [4, 8, 20][below(&mut rng, 3)];
        let mut placement = Placement::first(ids(1 + rng.below(4)), shards, replicas).expect("a small cluster");
        for _ in 0..30 {
            let step = draw(&mut rng, &placement, nodes_max);
            let next = take(&placement, step);
            a_placement_is_valid(&next);
            seats_are_even(&next);
            leaders_are_even(&next);
            an_epoch_follows_the_other(&placement, &next);
            it_comes_back_from_its_bytes(&next);
            match step {
                Step::Join(node) => a_join_moves_the_share_of_the_new_node(&placement, &next, node),
                Step::Leave(node) => seats_extra += a_leave_moves_what_the_node_had(&placement, &next, node),
                Step::Replace(dead, with) => a_replacement_moves_what_the_dead_had(&placement, &next, dead, with),
            }
            leaders += moved(&placement, &next).1;
            leaders_least += match step {
                Step::Join(node) => leads(&next)[&node],
                Step::Leave(node) | Step::Replace(node, _) => leads(&placement)[&node],
            };
            placement = next;
        }
    }
    println!("1,800 changes: {seats_extra} seats and {} leaders more than had to move", leaders - leaders_least);
    assert!(
        leaders_least > 5_000 && leaders * 20 < leaders_least * 21,
        "{leaders} leaders moved, {leaders_least} had to"
    );
}

#[test]
fn a_large_cluster_is_even() {
    for (nodes, shards, replicas) in [(3, 1024, 3), (10, 1024, 3), (100, 1024, 5), (700, 1024, 3), (100, 8, 3)] {
        let placement = Placement::first(ids(nodes), shards, replicas).expect("within the limits");
        a_placement_is_valid(&placement);
        seats_are_even(&placement);
        leaders_are_even(&placement);
    }
}

#[test]
fn the_order_of_naming_is_of_no_matter() {
    let named: Vec<NodeId> = ids(5).collect();
    let backwards = Placement::first(named.iter().rev().copied(), 16, 3);
    assert_eq!(Placement::first(named, 16, 3), backwards);
}

/// Else a lost node would be restored from few disks, slowly, and its load would fall on few.
#[test]
fn a_lost_node_is_healed_from_many_to_many() {
    let placement = Placement::first(ids(30), 300, 3).expect("within the limits");
    for lost in placement.nodes() {
        let next = placement.leave(*lost).expect("one of the nodes");
        let changes = placement.changes_to(&next);
        let to: BTreeSet<NodeId> = changes.iter().flat_map(|change| change.added.clone()).collect();
        let others = changes.iter().flat_map(|change| placement.hosts(change.shard).voters.clone());
        let from: BTreeSet<NodeId> = others.filter(|node| node != lost).collect();
        assert!(to.len() >= 15 && from.len() >= 20, "30 shards from {} nodes to {}", from.len(), to.len());
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let two = [NodeId(1), NodeId(2)];
    let placement = Placement::first(two, 4, 3).expect("a small cluster");
    assert_eq!(Placement::first([], 4, 3), Err(Refused::NodeCount(0)));
    assert_eq!(Placement::first((0..1025).map(NodeId), 4, 3), Err(Refused::NodeCount(1025)));
    assert_eq!(Placement::first([NodeId(7), NodeId(7)], 4, 3), Err(Refused::Present(NodeId(7))));
    assert_eq!(Placement::first(two, 0, 3), Err(Refused::ShardCount(0)));
    assert_eq!(Placement::first(two, 1025, 3), Err(Refused::ShardCount(1025)));
    assert_eq!(Placement::first(two, 4, 0), Err(Refused::ReplicaCount(0)));
    assert_eq!(Placement::first(two, 4, 8), Err(Refused::ReplicaCount(8)));
    assert_eq!(placement.join(NodeId(1)), Err(Refused::Present(NodeId(1))));
    assert_eq!(placement.leave(NodeId(3)), Err(Refused::Absent(NodeId(3))));
    assert_eq!(placement.replace(NodeId(3), NodeId(4)), Err(Refused::Absent(NodeId(3))));
    assert_eq!(placement.replace(NodeId(1), NodeId(2)), Err(Refused::Present(NodeId(2))));
    let one = placement.leave(NodeId(1)).expect("another is left");
    assert_eq!(one.leave(NodeId(2)), Err(Refused::NodeCount(0)));
}

#[test]
fn slots_go_to_shards_in_equal_ranges() {
    let placement = Placement::first(ids(3), 8, 3).expect("a small cluster");
    assert_eq!([0, 2047, 2048, 16_383].map(|slot| placement.shard_of(Slot(slot)).0), [0, 0, 1, 7]);
}

#[test]
fn bytes_are_those_of_the_format() {
    let placement = Placement::first([NodeId(0x0102), NodeId(3)], 1, 3).expect("a small cluster");
    let (nodes, voters) = ([3, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 0]);
    let leader = u8::from(placement.hosts(ShardId(0)).leader == NodeId(0x0102));
    assert_eq!(placement.encode(), [&[1, 1, 3, 2][..], &nodes, &[1], &voters, &[leader]].concat());
}

#[test]
fn damaged_bytes_are_told_apart() {
    let placement = Placement::first((1..=3).map(NodeId), 2, 2).expect("a small cluster");
    let bytes = placement.encode();
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        Placement::decode(&bytes)
    };
    let first_shard = 4 + 3 * 8 + 1;
    assert_eq!(Placement::decode(&bytes), Ok(placement));
    assert_eq!(changed(0, 2), Err(Flaw::Bytes(DecodeError::Unknown(2))));
    assert_eq!(changed(1, 0), Err(Flaw::Epoch));
    assert_eq!(changed(2, 0), Err(Flaw::Replicas));
    assert_eq!(changed(4, 2), Err(Flaw::Nodes));
    assert_eq!(changed(first_shard - 1, 0), Err(Flaw::Tail));
    assert_eq!(changed(first_shard, 2), Err(Flaw::Hosts(ShardId(0))));
    assert_eq!(changed(first_shard + 4, 2), Err(Flaw::Hosts(ShardId(0))));
    for end in 0..bytes.len() {
        assert_eq!(Placement::decode(&bytes[..end]), Err(Flaw::Bytes(DecodeError::Truncated)));
    }
}
