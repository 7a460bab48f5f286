//! A consistent-hash ring of endpoints (`base::ring`), with weights.
//!
//! An endpoint of k times the least weight lies on the ring as k nodes, the first of which is its identity: whose weight changes
//! takes or gives its own share only. Weights that differ by more than [`TIMES_MAX`], or that would need more nodes than a ring
//! has, are rounded.

use crate::endpoints::{ENDPOINT_COUNT_MAX, Endpoint};
use base::NodeId;
use base::ring::{Position, Ring};

/// Places of a list of endpoints, by key.
#[derive(Debug)]
pub(crate) struct KeyRing {
    ring: Ring,
    /// The place in the list for each of the ring's nodes, in its order.
    places: Vec<usize>,
}

impl KeyRing {
    pub(crate) fn new(list: &[Endpoint]) -> Self {
        let weights = || list.iter().map(|endpoint| u64::from(endpoint.weight)).filter(|weight| *weight > 0);
        let (least, sum) = (weights().min().unwrap_or(1), weights().sum::<u64>());
        // Each weight is counted in units; all units together have to find room on the ring.
        let room = (ENDPOINT_COUNT_MAX - list.len()).max(1) as u64;
        let unit = least.max(sum.div_ceil(room));
        let mut nodes: Vec<(NodeId, usize)> = Vec::new();
        for (place, endpoint) in list.iter().enumerate().filter(|(_, endpoint)| endpoint.weight > 0) {
            let times = (u64::from(endpoint.weight) / unit).clamp(1, TIMES_MAX);
            nodes.extend((0..times).map(|n| (NodeId(twin(endpoint.identity, n)), place)));
        }
        nodes.sort_unstable();
        nodes.dedup_by_key(|(node, _)| *node);
        let ring = Ring::new(nodes.iter().map(|(node, _)| *node));
        Self { ring, places: nodes.into_iter().map(|(_, place)| place).collect() }
    }

    /// Places in the order in which a key prefers them; one may come more than once.
    pub(crate) fn walk(&self, key: u64) -> impl Iterator<Item = usize> {
        self.ring.walk(Position::of_key(key)).map(|node| {
            let at = self.ring.nodes().binary_search(&node).expect("the ring walks over its own nodes");
            self.places[at]
        })
    }
}

/// The nth node of an identity; the first is the identity itself.
fn twin(identity: u64, n: u64) -> u64 {
    identity ^ n.wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

const TIMES_MAX: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EndpointId;
    use base::rng::Rng;

    fn list(weights: &[u32]) -> Vec<Endpoint> {
        let identity = |n: u32| Rng::new(u64::from(n)).next_u64();
        let numbered = (0u32..).zip(weights);
        numbered.map(|(n, weight)| Endpoint { id: EndpointId(n), weight: *weight, identity: identity(n) }).collect()
    }

    fn owners(list: &[Endpoint]) -> Vec<EndpointId> {
        let ring = KeyRing::new(list);
        (0..20_000).map(|key| list[ring.walk(key).next().unwrap()].id).collect()
    }

    #[test]
    fn who_leaves_moves_its_own_keys_and_no_others() {
        for n in [2, 3, 5, 10, 30] {
            let all = list(&vec![1; n]);
            let before = owners(&all);
            let moved_max = 1.1 * 20_000.0 / n as f64;
            for gone in 0..n {
                let mut fewer = all.clone();
                let gone = fewer.remove(gone).id;
                let moved = before.iter().zip(owners(&fewer)).filter(|(a, b)| *a != b);
                let moved: Vec<EndpointId> = moved.map(|(a, _)| *a).collect();
                assert!(moved.iter().all(|id| *id == gone), "only keys of the one that left move");
                // Keys are drawn too: three standard deviations of that chance are no matter of the ring.
                let chance = 3.0 * (20_000.0 / n as f64).sqrt();
                assert!(moved.len() as f64 <= moved_max + chance, "{} of {n} moved, {moved_max}", moved.len());
            }
        }
    }

    #[test]
    fn weights_are_shares() {
        let owners = owners(&list(&[1, 2, 5]));
        let share = |n| owners.iter().filter(|id| **id == EndpointId(n)).count() as f64 / owners.len() as f64;
        for (n, wanted) in [(0, 0.125), (1, 0.25), (2, 0.625)] {
            assert!((share(n) - wanted).abs() < 0.1 * wanted, "{n}: {} instead of {wanted}", share(n));
        }
    }

    #[test]
    fn weights_far_apart_and_many_endpoints_find_room() {
        let mut weights = vec![1_000_000; 1000];
        weights.extend([1; 24]);
        assert!(KeyRing::new(&list(&weights)).ring.nodes().len() <= ENDPOINT_COUNT_MAX);
        assert!(KeyRing::new(&[]).walk(1).next().is_none());
    }
}
