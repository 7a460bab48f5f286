//! Consistent hashing with bounded loads: many items on some nodes, none of which gets more than 1.1 times the mean.
//!
//! A plain ring bounds shares of the circle, not of items: of 16,384 items on 100 nodes somebody gets 1.19 times the mean by
//! chance. Here a node has a capacity and an item whose node is full goes on clockwise (Mirrokni, Thorup, Zadimoghaddam:
//! Consistent Hashing with Bounded Loads, 2016). The capacities add up to 1.1 times all seats: some nodes may have
//! one more than the others, so that one node more or less changes few capacities, not all at once.
//!
//! The result depends on items and nodes alone, not on what came before: parties that know the same nodes agree without
//! a word. The price is that a changed capacity pushes items on, and those push others. That is little where nodes have
//! many items, since few are full: with 200 items per node a change moves 1.05 shares on 100 nodes and 1.3 on 1,000, with
//! 10 per node 2.4 and 4.1 (means; docs/ring.md has a picture). Few items, as shards are, want a `Placement`, which
//! knows the former assignment and moves exactly what it must.

use super::firsts::{Firsts, Span};
use super::seats::{Quota, Seats};
use super::{Position, Ring};
use crate::NodeId;
use crate::limits::LOAD_PERCENT_MAX;

/// The most seats that a node may get, when `total` are shared by `nodes`: 1.1 times the mean, rounded up.
#[must_use]
pub const fn share_max(total: usize, nodes: usize) -> usize {
    (total * LOAD_PERCENT_MAX).div_ceil(100 * nodes)
}

impl Ring {
    /// Seats each item on `replicas` distinct nodes (all nodes, if there are fewer), the first choice first.
    ///
    /// No node has more seats than `share_max(items * replicas, nodes)`, and none is the first choice of more items than
    /// `share_max(items, nodes)`. Earlier items are seated first: an item's place in the list is its priority.
    #[must_use]
    pub fn assign(&self, items: &[Position], replicas: usize) -> Vec<Vec<NodeId>> {
        let nodes = self.nodes().len();
        let replicas = replicas.min(nodes);
        if replicas == 0 {
            return vec![Vec::new(); items.len()];
        }
        let room = (items.len() * replicas * LOAD_PERCENT_MAX).div_ceil(100);
        let quota = Quota::even(room, nodes).at_most(items.len());
        let mut seats = Seats::new(vec![Vec::new(); items.len()], nodes, quota);
        for (item, key) in items.iter().enumerate() {
            seats.fill(self, item, *key, replicas);
        }
        let holders = seats.into_holders();
        let firsts = first_choices(&holders, nodes);
        let named = holders.into_iter().zip(firsts).map(|(mut places, first)| {
            // Those behind the first choice stay in their order.
            let at = places.iter().position(|place| *place == first).expect("the first choice is a holder");
            places[..=at].rotate_right(1);
            places.into_iter().map(|place| self.nodes()[place]).collect()
        });
        named.collect()
    }
}

/// The nearest holder that is not yet the first choice of too many; where all are, chains of hand-overs make room.
fn first_choices(holders: &[Vec<usize>], nodes: usize) -> Vec<usize> {
    let most = share_max(holders.len(), nodes);
    let mut led = vec![0; nodes];
    let wished: Vec<Option<usize>> = holders
        .iter()
        .map(|places| {
            let first = places.iter().copied().find(|place| led[*place] < most).unwrap_or(places[0]);
            led[first] += 1;
            Some(first)
        })
        .collect();
    Firsts::new(holders, nodes, &wished).spread(Span { least: 0, most })
}
