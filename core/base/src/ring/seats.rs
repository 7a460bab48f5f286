//! Items with seats on distinct nodes, and a bound on how many seats a node has.
//!
//! Nodes and items go by number here. An item takes the nodes of its order of preference that have room. That can end
//! with room on nodes alone that hold the item already: then a seat of another item moves there and leaves its own,
//! which is always possible.
//!
//! Proof, where the quota has room for all seats to come and allows no node more seats than there are items. A node with
//! room, X, holds our item, which has fewer than r nodes. An item t that X misses and that has r nodes, or r - 1 as ours,
//! has one that ours has not, and can move from there to X. Where all items have r - 1 nodes or more, as when a node has
//! left, any t does, and X misses one since it has room. Where items are filled one after another from nothing, t must be
//! filled: fewer than r nodes have room, for r seats of each item to come, so one of them has more room than there are
//! items to come, and misses one that is filled.

use super::{Position, Ring};

/// How many seats a node may have: `each`, and `more` of the nodes, whichever they are, one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub each: usize,
    pub more: usize,
}

impl Quota {
    /// `total` places over `nodes` nodes as evenly as can be.
    pub fn even(total: usize, nodes: usize) -> Self {
        Self { each: total / nodes, more: total % nodes }
    }

    /// No more than `most` for any node.
    pub fn at_most(self, most: usize) -> Self {
        if self.each < most { self } else { Self { each: most, more: 0 } }
    }
}

/// Who sits where.
#[derive(Clone, Debug)]
pub(crate) struct Seats {
    /// For each item the places of its nodes.
    holders: Vec<Vec<usize>>,
    /// For each node how many seats it has.
    load: Vec<usize>,
    /// How many nodes have more than `quota.each`.
    above: usize,
    quota: Quota,
    /// Seats of this making, as (item, place): they may be moved for nothing.
    fresh: Vec<(usize, usize)>,
}

impl Seats {
    /// Seats as they are. There must be room by the quota for all that are to come.
    pub fn new(holders: Vec<Vec<usize>>, nodes: usize, quota: Quota) -> Self {
        let mut load = vec![0; nodes];
        for place in holders.iter().flatten() {
            load[*place] += 1;
        }
        let above = load.iter().filter(|load| **load > quota.each).count();
        Self { holders, load, above, quota, fresh: Vec::new() }
    }

    /// For each item its nodes: those that it kept, then those it got, the most preferred first.
    pub fn into_holders(self) -> Vec<Vec<usize>> {
        self.holders
    }

    /// Gives an item that lacks some of `wanted` seats the others, on the first nodes clockwise from it that have room.
    pub fn fill(&mut self, ring: &Ring, item: usize, key: Position, wanted: usize) {
        for place in ring.places(key) {
            if self.has_room(place) && !self.holders[item].contains(&place) {
                self.sit(item, place);
                if self.holders[item].len() == wanted {
                    return;
                }
            }
        }
        while self.holders[item].len() < wanted {
            self.fill_by_swap(ring, item, key);
        }
    }

    /// Moves seats from nodes with too many to nodes with too few, as few as can be. `way(item, place)` says how far the
    /// node is from the item: near items go, far nodes give.
    pub fn level(&mut self, way: impl Fn(usize, usize) -> u64) {
        while let Some(to) =
            (0..self.load.len()).filter(|place| self.wants(*place)).min_by_key(|place| self.load[*place])
        {
            self.draw(to, &way);
        }
    }

    /// Brings seats to a node until it has enough.
    ///
    /// One pass does: a node that must give has more seats than this one, so one of an item that this one has not; and what
    /// must give at the end had to all along.
    fn draw(&mut self, to: usize, way: &impl Fn(usize, usize) -> u64) {
        let strange = (0..self.holders.len()).filter(|item| !self.holders[*item].contains(&to));
        let mut items: Vec<(u64, usize)> = strange.map(|item| (way(item, to), item)).collect();
        items.sort_unstable();
        for (_, item) in items {
            if !self.wants(to) {
                return;
            }
            let givers = self.holders[item].iter().copied().filter(|place| self.must_give(*place));
            if let Some(from) = givers.max_by_key(|place| way(item, *place)) {
                self.stand_up(item, from);
                self.sit(item, to);
            }
        }
    }

    /// Seats an item although all nodes with room hold it already.
    fn fill_by_swap(&mut self, ring: &Ring, item: usize, key: Position) {
        let open: Vec<usize> = ring.places(key).filter(|place| self.has_room(*place)).collect();
        let find = |only_fresh| {
            let mut all = open.iter().filter_map(|to| Some((*to, self.swap_for(item, *to, only_fresh)?)));
            all.next()
        };
        let (to, (other, from)) = find(true).or_else(|| find(false)).expect("shown in the header");
        self.stand_up(other, from);
        self.sit(other, to);
        self.sit(item, from);
    }

    /// A seat, as (item, place), that may move to `to` and be taken by `item`.
    fn swap_for(&self, item: usize, to: usize, only_fresh: bool) -> Option<(usize, usize)> {
        let taken = &self.holders[item];
        let fits = |(other, from): &(usize, usize)| !taken.contains(from) && !self.holders[*other].contains(&to);
        if only_fresh {
            return self.fresh.iter().copied().find(fits);
        }
        let all =
            self.holders.iter().enumerate().flat_map(|(other, places)| places.iter().map(move |place| (other, *place)));
        all.into_iter().find(fits)
    }

    fn has_room(&self, place: usize) -> bool {
        self.load[place] < self.quota.each || (self.load[place] == self.quota.each && self.above < self.quota.more)
    }

    /// True if the node has too few seats, or could take one from somebody with far too many.
    fn wants(&self, place: usize) -> bool {
        let load = self.load[place];
        load < self.quota.each || (load == self.quota.each && self.load.iter().any(|load| *load > self.quota.each + 1))
    }

    fn must_give(&self, place: usize) -> bool {
        let most = self.quota.each + 1;
        self.load[place] > most || (self.load[place] == most && self.above > self.quota.more)
    }

    fn sit(&mut self, item: usize, place: usize) {
        self.holders[item].push(place);
        self.fresh.push((item, place));
        self.load[place] += 1;
        self.above += usize::from(self.load[place] == self.quota.each + 1);
    }

    fn stand_up(&mut self, item: usize, place: usize) {
        self.holders[item].retain(|held| *held != place);
        self.fresh.retain(|seat| *seat != (item, place));
        self.above -= usize::from(self.load[place] == self.quota.each + 1);
        self.load[place] -= 1;
    }
}
