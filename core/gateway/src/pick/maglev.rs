//! Maglev's table: from a key to an endpoint in one look, evenly to a fraction of a percent.
//!
//! Each endpoint has a permutation of the places of a table of prime size, drawn by its identity; in turns, each takes its next
//! place that is free (Eisenbud and others, NSDI 2016, section 3.4). Weights are turns: who has half of the largest weight takes a
//! place every other round. A change moves the keys of who came or went and, unlike on a ring, a few others: with 65,537 places
//! and ten endpoints a few percent of a share.

use crate::endpoints::Endpoint;
use base::rng::Rng;

/// Places of a list of endpoints, by key.
#[derive(Debug)]
pub(crate) struct Maglev {
    /// Empty if nobody has a weight.
    table: Vec<u16>,
}

impl Maglev {
    pub(crate) fn new(list: &[Endpoint]) -> Self {
        let mut takers: Vec<Taker> = (0u16..)
            .zip(list)
            .filter(|(_, endpoint)| endpoint.weight > 0)
            .map(|(place, endpoint)| Taker::new(place, endpoint))
            .collect();
        // The order of a list must not matter: those who know the same endpoints agree.
        takers.sort_unstable_by_key(|taker| taker.identity);
        let Some(heaviest) = takers.iter().map(|taker| taker.weight).max() else { return Self { table: Vec::new() } };
        let (mut table, mut left) = (vec![FREE; SIZE], SIZE);
        loop {
            for taker in &mut takers {
                taker.due += taker.weight;
                if taker.due < heaviest {
                    continue;
                }
                taker.due -= heaviest;
                taker.take(&mut table);
                left -= 1;
                if left == 0 {
                    return Self { table };
                }
            }
        }
    }

    /// Places in the order in which a key prefers them; any may come often. What lies behind a key's place in the table is as good
    /// as drawn, so the keys of one who is out spread over all others.
    pub(crate) fn walk(&self, key: u64) -> impl Iterator<Item = usize> {
        let from = if self.table.is_empty() { 0 } else { Rng::new(key).below(SIZE as u64) };
        let from = usize::try_from(from).expect("below the size of the table");
        let (before, behind) = self.table.split_at(from.min(self.table.len()));
        behind.iter().chain(before).map(|place| usize::from(*place))
    }
}

/// Who takes places.
struct Taker {
    place: u16,
    identity: u64,
    weight: u64,
    due: u64,
    at: usize,
    skip: usize,
}

impl Taker {
    fn new(place: u16, endpoint: &Endpoint) -> Self {
        let mut rng = Rng::new(endpoint.identity);
        let mut draw = |below: usize| usize::try_from(rng.below(below as u64)).expect("below a usize");
        let (at, skip) = (draw(SIZE), 1 + draw(SIZE - 1));
        Self { place, identity: endpoint.identity, weight: u64::from(endpoint.weight), due: 0, at, skip }
    }

    fn take(&mut self, table: &mut [u16]) {
        while table[self.at] != FREE {
            self.at = (self.at + self.skip) % SIZE;
        }
        table[self.at] = self.place;
    }
}

/// A prime, more than sixty times the most endpoints.
const SIZE: usize = 65_537;
const FREE: u16 = u16::MAX;
const _: () = assert!(crate::endpoints::ENDPOINT_COUNT_MAX < FREE as usize, "a place is no free place");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointId;

    fn list(n: u32) -> Vec<Endpoint> {
        let identity = |n: u32| Rng::new(u64::from(n) + 77).next_u64();
        (0..n).map(|n| Endpoint { id: EndpointId(n), weight: 1, identity: identity(n) }).collect()
    }

    fn owners(list: &[Endpoint]) -> Vec<EndpointId> {
        Maglev::new(list).table.iter().map(|place| list[usize::from(*place)].id).collect()
    }

    #[test]
    fn a_change_moves_few_more_than_its_share() {
        for n in 2..=10 {
            let all = list(n);
            let before = owners(&all);
            for gone in 0..n as usize {
                let mut fewer = all.clone();
                fewer.remove(gone);
                let moved = before.iter().zip(owners(&fewer)).filter(|(a, b)| *a != b).count();
                let shares = moved as f64 * f64::from(n) / SIZE as f64;
                assert!((1.0 - 1e-3..=1.2).contains(&shares), "{gone} of {n} gone: {shares} shares moved");
            }
        }
    }

    #[test]
    fn all_have_the_same_and_order_does_not_matter() {
        let mut all = list(7);
        let owners_before = owners(&all);
        for n in 0..7 {
            let has = owners_before.iter().filter(|id| **id == EndpointId(n)).count();
            assert!(has.abs_diff(SIZE / 7) <= 1, "{n} has {has}");
        }
        all.reverse();
        assert_eq!(owners(&all), owners_before);
    }

    #[test]
    fn weights_are_shares() {
        let mut all = list(3);
        (all[1].weight, all[2].weight) = (2, 0);
        let owners = owners(&all);
        let has = |n| owners.iter().filter(|id| **id == EndpointId(n)).count();
        assert_eq!(has(2), 0);
        assert!(has(1).abs_diff(2 * has(0)) <= 2, "{} and {}", has(0), has(1));
        assert!(Maglev::new(&[]).walk(3).next().is_none());
    }
}
