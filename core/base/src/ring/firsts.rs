//! The first choice of each item among its nodes, spread as evenly as the seats allow.
//!
//! Who holds a seat and who is the first choice are separate loads: the leader of a shard does most of its work. First
//! choices are kept where they are as far as can be. Where a node has too many, a shortest chain of hand-overs is
//! sought, from it over nodes that are second choice of its items to one with too few: an augmenting path in a flow of
//! items to nodes. No chain is missed, so the bounds hold whenever any choice keeps them.
//!
//! And one does where seats are even: let each item give 1 / r to each of its r nodes. A node with q or q + 1 seats then
//! has between q / r and (q + 1) / r, and a flow in fractions can be rounded to whole items without leaving the whole
//! numbers around (the flow's integrality). Since no whole number lies strictly between q / r and (q + 1) / r, all
//! nodes fit between two whole numbers that follow each other.

use std::collections::VecDeque;

/// The least and the most items that may have a node as their first choice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub least: usize,
    pub most: usize,
}

/// The first choice of each item, as a place among nodes.
#[derive(Debug)]
pub(crate) struct Firsts<'a> {
    holders: &'a [Vec<usize>],
    /// For each item one of its holders.
    first: Vec<usize>,
    /// For each node the items whose first choice it is.
    led: Vec<Vec<usize>>,
}

impl<'a> Firsts<'a> {
    /// Keeps what `wished` says where that node holds the item; other items take the holder that has the fewest.
    pub fn new(holders: &'a [Vec<usize>], nodes: usize, wished: &[Option<usize>]) -> Self {
        let mut firsts = Self { holders, first: vec![0; holders.len()], led: vec![Vec::new(); nodes] };
        let kept = |item: usize| wished[item].filter(|place| holders[item].contains(place));
        for item in 0..holders.len() {
            if let Some(place) = kept(item) {
                firsts.set(item, place);
            }
        }
        for item in (0..holders.len()).filter(|item| kept(*item).is_none()) {
            let fewest = holders[item].iter().copied().min_by_key(|place| firsts.led[*place].len());
            firsts.set(item, fewest.expect("an item has a holder"));
        }
        firsts
    }

    /// Brings all nodes into the span, as far as the seats allow, and gives the first choice of each item.
    pub fn spread(mut self, span: Span) -> Vec<usize> {
        for place in 0..self.led.len() {
            while self.led[place].len() > span.most && self.give_one(place, span.most) {}
        }
        for place in 0..self.led.len() {
            while self.led[place].len() < span.least && self.take_one(place, span.least) {}
        }
        self.first
    }

    /// Hands items over along a shortest chain from `from` to a node that has fewer than `most`.
    fn give_one(&mut self, from: usize, most: usize) -> bool {
        let mut search = Search::new(from, self.led.len());
        while let Some(at) = search.next() {
            if self.led[at].len() < most {
                for (giver, item, taker) in search.chain_to(at) {
                    self.hand_over(item, giver, taker);
                }
                return true;
            }
            for item in &self.led[at] {
                for next in &self.holders[*item] {
                    search.reach(*next, at, *item);
                }
            }
        }
        false
    }

    /// Hands items over along a shortest chain to `to` from a node that has more than `least`.
    fn take_one(&mut self, to: usize, least: usize) -> bool {
        let mut held = vec![Vec::new(); self.led.len()];
        for (item, places) in self.holders.iter().enumerate() {
            for place in places {
                held[*place].push(item);
            }
        }
        let mut search = Search::new(to, self.led.len());
        while let Some(at) = search.next() {
            if self.led[at].len() > least {
                for (taker, item, giver) in search.chain_to(at) {
                    self.hand_over(item, giver, taker);
                }
                return true;
            }
            for item in &held[at] {
                search.reach(self.first[*item], at, *item);
            }
        }
        false
    }

    fn set(&mut self, item: usize, place: usize) {
        self.first[item] = place;
        self.led[place].push(item);
    }

    fn hand_over(&mut self, item: usize, giver: usize, taker: usize) {
        self.led[giver].retain(|led| *led != item);
        self.set(item, taker);
    }
}

/// A breadth-first search over nodes that remembers how each was reached.
struct Search {
    queue: VecDeque<usize>,
    /// For each node the one before it and the item between them.
    by: Vec<Option<(usize, usize)>>,
    start: usize,
}

impl Search {
    fn new(start: usize, nodes: usize) -> Self {
        Self { queue: VecDeque::from([start]), by: vec![None; nodes], start }
    }

    fn next(&mut self) -> Option<usize> {
        self.queue.pop_front()
    }

    fn reach(&mut self, node: usize, before: usize, item: usize) {
        if node != self.start && self.by[node].is_none() {
            self.by[node] = Some((before, item));
            self.queue.push_back(node);
        }
    }

    /// The steps from the start to a node, the last one first: node before, item, node behind.
    fn chain_to(&self, end: usize) -> Vec<(usize, usize, usize)> {
        let mut chain = Vec::new();
        let mut at = end;
        while let Some((before, item)) = self.by[at] {
            chain.push((before, item, at));
            at = before;
        }
        chain
    }
}
