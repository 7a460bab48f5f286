//! What must hold in a cluster, as functions whose names say it.

use super::fences::Cells;
use super::queues::Queues;
use super::{MS, World};
use base::{Index, NodeId, ShardId, Stamp, Term};
use data::Keyspace;
use history::{History, Verdict, check, configurations, report};
use std::collections::{BTreeMap, BTreeSet};

/// What the checks remember.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// What clients did and saw.
    pub(super) history: History,
    leaders: BTreeMap<(ShardId, Term), NodeId>,
    /// The digest and the stamp of each state that somebody was in, and who first.
    states: BTreeMap<(ShardId, Index), (u64, Stamp, NodeId)>,
    pub(super) queues: Queues,
    pub(super) cells: Cells,
    /// Entries whose evictions are in the history.
    pub(super) evictions: BTreeSet<(ShardId, Index)>,
    /// States that a second node was in too.
    pub(super) compared: u64,
}

/// Configurations that the search for an order may try.
const CONFIGURATIONS_MAX: u64 = 200_000;

impl Checks {
    pub(super) fn a_term_has_one_leader(&mut self, node: NodeId, shard: ShardId, term: Term) {
        let leader = *self.leaders.entry((shard, term)).or_insert(node);
        assert_eq!(leader, node, "a_term_has_one_leader: of {shard} in {term}");
    }

    pub(super) fn equal_indexes_mean_equal_states(&mut self, node: NodeId, shard: ShardId, keyspace: &Keyspace) {
        let (index, stamp) = (keyspace.applied_index(), keyspace.applied_stamp());
        let here = (keyspace.digest(), stamp, node);
        let first = *self.states.entry((shard, index)).or_insert(here);
        assert!(
            (first.0, first.1) == (here.0, here.1),
            "equal_indexes_mean_equal_states: {node} differs from {} at {index} of {shard}: {first:?} {here:?}",
            first.2
        );
        self.compared += u64::from(first.2 != node);
        let before = self.states.range((shard, Index(0))..(shard, index)).next_back();
        let goes_on = before.is_none_or(|(_, (_, earlier, _))| *earlier <= stamp);
        assert!(goes_on, "stamps_never_go_back: {shard} at {index} on {node}");
    }
}

impl World {
    pub(super) fn histories_are_linearizable(&mut self) {
        let verdict = check(&self.checks.history, configurations(CONFIGURATIONS_MAX));
        let counts = verdict.counts();
        for (name, n) in [
            ("history: operations", counts.operations),
            ("history: unknown outcome", counts.unknown),
            ("history: configurations", counts.configurations),
        ] {
            *self.counts.entry(name).or_default() += n;
        }
        match verdict {
            Verdict::Linearizable(_) => self.count("history: linearizable"),
            Verdict::Undecided(..) => self.count("history: undecided"),
            Verdict::Violation(..) => {
                let told = report::text(&self.checks.history, &verdict);
                panic!("histories_are_linearizable: at {} ms: {told}", self.now / MS)
            }
        }
    }
}
