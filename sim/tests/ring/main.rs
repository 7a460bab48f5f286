//! How much moves when a node joins or leaves, and how evenly nodes are loaded, from 3 to 1,000 nodes: the bars, and the
//! picture and table of docs/ring.md, which must be what the code gives.
//!
//! `REWRITE=1 cargo test -p sim --test ring` makes picture and table anew, for review.

mod figure;
mod measure;

use base::ring::share_max;
use measure::{Measured, bounded, compare, firsts, keys, most, placement, plain, ring, shares};
use std::path::PathBuf;
use std::sync::LazyLock;

/// The sizes that are told of.
const SIZES: [usize; 12] = [3, 5, 10, 20, 30, 50, 70, 100, 200, 300, 500, 1000];
/// As many items as there are hash slots.
const ITEMS: u64 = 16_384;

/// What was measured at one size.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The plain ring and the worst of its nodes.
    pub plain: Measured,
    /// The bounded ring, with as many items as there are slots, and never fewer than 200 per node.
    pub bounded: Measured,
    /// As many shards as there may be, with three replicas.
    pub placement: Measured,
}

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let row = |count| {
        let items = keys(ITEMS.max(200 * u64::try_from(count).expect("small")));
        let (fewer, all) = (ring(count - 1), ring(count));
        Row { plain: shares(&all), bounded: bounded(&fewer, &all, &items), placement: placement(count) }
    };
    SIZES.into_iter().map(row).collect()
});

#[test]
fn any_node_of_a_plain_ring_takes_or_leaves_at_most_1_1_shares() {
    for row in ROWS.iter() {
        assert!(row.plain.moved <= 1.1, "{row:?}");
    }
}

#[test]
fn who_joins_a_plain_ring_takes_at_most_1_1_shares_of_a_million_keys() {
    let keys = keys(1_000_000);
    for count in [3, 10, 100, 1000] {
        let measured = plain(count, &keys);
        println!("{measured:?}");
        assert!(measured.moved <= 1.1, "{measured:?}");
    }
}

#[test]
fn a_change_of_a_bounded_ring_moves_at_most_1_5_shares_up_to_100_nodes() {
    let keys = keys(ITEMS);
    let mut before = ring(2).assign(&keys, 1);
    let mut all = Vec::new();
    for count in 3..=100 {
        let after = ring(count).assign(&keys, 1);
        all.push(compare(&before, &after, count).moved);
        before = after;
    }
    let (worst, sum) = all.iter().fold((0.0, 0.0), |(worst, sum), moved| (f64::max(worst, *moved), sum + moved));
    println!("bounded ring, {ITEMS} items, 3 to 100 nodes: {:.3} in the mean, {worst:.3} at most", sum / 98.0);
    assert!(worst <= 1.5, "{all:?}");
}

#[test]
fn a_change_of_a_bounded_ring_with_replicas_moves_at_most_1_5_shares_up_to_100_nodes() {
    let keys = keys(ITEMS);
    for count in SIZES.into_iter().filter(|count| (4..=100).contains(count)) {
        let (before, after) = (ring(count - 1).assign(&keys, 3), ring(count).assign(&keys, 3));
        let seats = compare(&before, &after, count);
        let leaders = compare(&firsts(&before), &firsts(&after), count);
        assert!(seats.moved <= 1.5 && leaders.moved <= 1.5, "{seats:?} {leaders:?}");
    }
}

#[test]
fn eighty_items_per_node_are_enough_for_a_bounded_ring_of_100() {
    for count in 95..=100 {
        let measured = bounded(&ring(count - 1), &ring(count), &keys(80 * u64::try_from(count).expect("small")));
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
fn who_joins_a_placement_takes_one_share_and_loads_are_the_mean_in_whole_seats() {
    for row in ROWS.iter() {
        assert!(row.placement.moved <= 1.0, "{row:?}");
        let mean = (1024.0 * 3.0) / f64::from(u16::try_from(row.placement.nodes).expect("small"));
        assert!(row.placement.load * mean < mean.ceil() + 1e-9, "{row:?}");
    }
}

#[test]
fn docs_show_what_is_measured() {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let page = std::fs::read_to_string(docs.join("ring.md")).expect("the page is there");
    let (before, rest) = page.split_once("<!-- measured -->\n").expect("the page says where the table begins");
    let (_, after) = rest.split_once("<!-- end -->\n").expect("the page says where the table ends");
    let table = figure::table(&ROWS);
    println!("{table}");
    for (name, made) in [
        ("ring.md", format!("{before}<!-- measured -->\n{table}<!-- end -->\n{after}")),
        ("ring.svg", figure::picture(&ROWS)),
    ] {
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(docs.join(name), &made).expect("the file can be written");
        }
        let there = std::fs::read_to_string(docs.join(name)).expect("the file is there");
        assert!(there == made, "docs/{name} shows other figures than the code gives: REWRITE=1 makes it anew");
    }
}
