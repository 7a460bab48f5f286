//! How much moves when a node joins or leaves, and how evenly nodes are loaded, from 3 to 1,000 nodes: the bars, and the
//! tables (`cargo test -p sim --test ring -- --nocapture`).

mod measure;

use base::ring::share_max;
use measure::{Measured, arcs, compare, firsts, keys, most, plain, ring};

/// The sizes that are told of.
const SIZES: [usize; 13] = [3, 5, 10, 20, 30, 50, 70, 100, 200, 300, 500, 700, 1000];
/// As many items as there are hash slots.
const ITEMS: u64 = 16_384;
const HEAD: &str = "     n  moved / (K/n)  load / mean";

#[test]
fn any_node_of_a_plain_ring_takes_or_leaves_at_most_1_1_shares() {
    println!("plain ring, keys without end: the worst of all nodes\n{HEAD}");
    for measured in SIZES.map(arcs) {
        tell(measured);
        assert!(measured.moved <= 1.1, "{measured:?}");
    }
}

#[test]
fn who_joins_a_plain_ring_takes_at_most_1_1_shares_of_a_million_keys() {
    let keys = keys(1_000_000);
    println!("plain ring, 1,000,000 keys: one joins\n{HEAD}");
    for count in [3, 10, 100, 1000] {
        let measured = plain(count, &keys);
        tell(measured);
        assert!(measured.moved <= 1.1, "{measured:?}");
    }
}

#[test]
fn a_change_of_a_bounded_ring_moves_at_most_1_5_shares_up_to_100_nodes() {
    let keys = keys(ITEMS);
    println!("bounded ring, {ITEMS} items: one joins or leaves\n{HEAD}");
    let mut before = ring(2).assign(&keys, 1);
    for count in 3..=100 {
        let after = ring(count).assign(&keys, 1);
        let measured = compare(&before, &after, count);
        before = after;
        if SIZES.contains(&count) {
            tell(measured);
        }
        assert!(measured.moved <= 1.5, "{measured:?}");
    }
}

#[test]
fn nobody_on_a_bounded_ring_has_more_than_1_1_times_the_mean() {
    let keys = keys(ITEMS);
    for (count, replicas) in [(3, 1), (5, 3), (10, 1), (30, 3), (100, 1), (200, 3), (500, 1), (1000, 3)] {
        let assigned = ring(count).assign(&keys, replicas);
        assert!(most(&assigned) <= share_max(keys.len() * replicas, count), "{count} nodes, {replicas} replicas");
        assert!(most(&firsts(&assigned)) <= share_max(keys.len(), count), "{count} nodes, {replicas} replicas");
    }
}

#[test]
fn a_change_of_a_bounded_ring_with_replicas_moves_at_most_1_5_shares_up_to_100_nodes() {
    let keys = keys(ITEMS);
    println!("bounded ring, {ITEMS} items with 3 replicas; then their first choices alone\n{HEAD}");
    for count in SIZES.into_iter().filter(|count| (4..=100).contains(count)) {
        let (before, after) = (ring(count - 1).assign(&keys, 3), ring(count).assign(&keys, 3));
        let seats = compare(&before, &after, count);
        let leaders = compare(&firsts(&before), &firsts(&after), count);
        tell(seats);
        tell(leaders);
        assert!(seats.moved <= 1.5 && leaders.moved <= 1.5, "{seats:?} {leaders:?}");
    }
}

fn tell(measured: Measured) {
    println!("{:>6}  {:>13.3}  {:>11.3}", measured.nodes, measured.moved, measured.load);
}
