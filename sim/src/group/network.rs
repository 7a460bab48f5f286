//! The links between machines: slow, lossy, cut in one direction or both.

use crate::group::MS;
use base::NodeId;
use base::rng::Rng;
use std::collections::BTreeSet;

#[derive(Debug)]
pub(crate) struct Network {
    delay_ns_max: u64,
    lost_one_in: u64,
    doubled_one_in: u64,
    late_one_in: u64,
    cut: BTreeSet<(NodeId, NodeId)>,
}

/// What becomes of a message: how long each of its copies takes.
#[derive(Debug)]
pub(crate) enum Fate {
    Lost,
    Cut,
    After(u64),
    Late(u64),
    Doubled(u64, u64),
}

impl Network {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let rare = |rng: &mut Rng| crate::group::one_of(rng, [20, 200, u64::MAX]);
        Self {
            delay_ns_max: crate::group::one_of(rng, [MS / 5, 2 * MS, 20 * MS]),
            lost_one_in: rare(rng),
            doubled_one_in: rare(rng),
            late_one_in: rare(rng),
            cut: BTreeSet::new(),
        }
    }

    /// A network that loses, doubles and delays many.
    pub(crate) fn storm(rng: &mut Rng) -> Self {
        let often = |rng: &mut Rng| crate::group::one_of(rng, [10, 30, 200]);
        let (lost_one_in, doubled_one_in, late_one_in) = (often(rng), often(rng), often(rng));
        Self { lost_one_in, doubled_one_in, late_one_in, ..Self::new(rng) }
    }

    pub(crate) fn send(&self, rng: &mut Rng, from: NodeId, to: NodeId) -> Fate {
        let one_in = |rng: &mut Rng, n: u64| n != u64::MAX && rng.one_in(n);
        if self.cut.contains(&(from, to)) {
            return Fate::Cut;
        }
        if one_in(rng, self.lost_one_in) {
            return Fate::Lost;
        }
        let delay = |rng: &mut Rng| MS / 20 + rng.below(self.delay_ns_max);
        let first = delay(rng);
        if one_in(rng, self.late_one_in) {
            return Fate::Late(first + rng.below(1000 * MS));
        }
        if one_in(rng, self.doubled_one_in) {
            return Fate::Doubled(first, first + rng.below(300 * MS));
        }
        Fate::After(first)
    }

    /// Cuts everything between one side and the others.
    pub(crate) fn part(&mut self, side: &BTreeSet<NodeId>, all: &[NodeId]) {
        for a in all {
            for b in all {
                if side.contains(a) != side.contains(b) {
                    self.cut.insert((*a, *b));
                }
            }
        }
    }

    pub(crate) fn cut_one_way(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    pub(crate) fn mend(&mut self) {
        self.cut.clear();
    }

    /// Nothing is lost or late any more.
    pub(crate) fn heal(&mut self) {
        self.mend();
        *self = Self {
            delay_ns_max: 2 * MS,
            lost_one_in: u64::MAX,
            doubled_one_in: u64::MAX,
            late_one_in: u64::MAX,
            cut: BTreeSet::new(),
        };
    }
}
