//! The steward keeps the cluster's roster true: it founds it, says where this node listens, and has every group that is led
//! here follow it.
//!
//! The roster is the state of the meta shard, so each change of it is one entry of a log, and every node learns it by applying
//! that. Who shall vote where is a wish in it; the leader of each group carries it out step by step, and whoever
//! leads next goes on where it stopped: newcomers come as learners, and once they hold nearly everything one joint change
//! makes them voters and lets others go.

use crate::lane::{Lane, Part, waiter};
use crate::outbox::{LaneMessage, Now, Outbox, Queued};
use crate::replica::{Origin, Replica};
use base::roster::{Card, Roster};
use base::{ClientId, Index, Instant, NodeId, ShardId};
use consensus::raft::Change;
use data::command::nodes;
use data::command::voters::{self, Voters};
use std::sync::Arc;

/// What a node knows of its cluster when it starts for the first time.
#[derive(Clone, Debug)]
pub struct Founding {
    /// The first nodes, and where they listen for peers.
    pub members: Vec<(NodeId, String)>,
    /// Where this one listens.
    pub card: Card,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Steward {
    founding: Founding,
    me: NodeId,
    /// The roster as it was applied here, and at which index.
    pub(crate) roster: Option<Arc<Roster>>,
    seen: Index,
    /// Who votes on locks, as it was applied here.
    voters: Option<Voters>,
    /// Nothing is asked for twice within a while.
    asked_at: Option<Instant>,
    /// Numbers what the steward asks.
    pub(crate) seq: u64,
}

/// The client that the steward asks as: no connection has this number.
pub(crate) const NOBODY: ClientId = ClientId(0);
/// What was asked for may be lost: then it is asked for again.
const ASK_AGAIN_MS: u64 = 1_000;

impl Steward {
    pub(crate) fn new(me: NodeId, founding: Founding) -> Self {
        Self { founding, me, roster: None, seen: Index(0), voters: None, asked_at: None, seq: 0 }
    }

    /// Looks at the meta shard; true if the roster has changed.
    pub(crate) fn look(&mut self, meta: &Replica) -> bool {
        if !meta.is_home() {
            return false;
        }
        let keyspace = meta.state().keyspace();
        if keyspace.applied_index() == self.seen {
            return false;
        }
        self.seen = keyspace.applied_index();
        self.voters = voters::voters(keyspace);
        let found = nodes::roster(keyspace);
        if found.as_ref() == self.roster.as_deref() {
            return false;
        }
        self.roster = found.map(Arc::new);
        self.asked_at = None;
        true
    }

    /// What the roster lacks, as a command for the meta shard.
    pub(crate) fn wants(&mut self, now: Now, meta: &Replica, shards: u16) -> Option<Vec<Vec<u8>>> {
        if self.asked_at.is_some_and(|at| now.boot < at.plus_ms(ASK_AGAIN_MS)) {
            return None;
        }
        let wanted = match &self.roster {
            None if meta.leads() && meta.is_ready() => self.found(shards),
            Some(roster) if roster.cards().get(&self.me).is_some_and(|known| *known != self.founding.card) => {
                self.announce()
            }
            _ => return None,
        };
        self.asked_at = Some(now.boot);
        self.seq += 1;
        Some(wanted)
    }

    fn found(&self, shards: u16) -> Vec<Vec<u8>> {
        let members = &self.founding.members;
        let mut words = vec!["NODES.FOUND".to_owned(), shards.to_string(), members.len().to_string()];
        words.extend(members.iter().flat_map(|(node, peers)| [format!("{:016x}", node.0), peers.clone()]));
        words.into_iter().map(String::into_bytes).collect()
    }

    fn announce(&self) -> Vec<Vec<u8>> {
        let Card { peers, resp, cluster, admin } = &self.founding.card;
        let id = format!("{:016x}", self.me.0);
        let words = ["NODES.ANNOUNCE", &id, peers, resp, cluster, admin];
        words.into_iter().map(|word| word.as_bytes().to_vec()).collect()
    }
}

impl Lane {
    /// The node is one of a cluster: the lane of the meta shard keeps its roster.
    pub fn keep_roster(&mut self, founding: Founding) {
        let members: Vec<NodeId> = founding.members.iter().map(|(node, _)| *node).collect();
        self.yield_to_first_leaders(&members);
        let here = self.config.routing.meta_shard().is_some_and(|meta| self.owns(meta));
        self.steward = here.then(|| Steward::new(self.config.node, founding));
    }

    /// The steward's regular work, and that of the groups which this node leads.
    pub(crate) fn keep_cluster(&mut self, now: Now, out: &mut Outbox) {
        let routing = self.config.routing;
        if let (Some(meta), Some(mut steward)) = (routing.meta_shard(), self.steward.take()) {
            if steward.look(self.replica(meta)) {
                self.roster.clone_from(&steward.roster);
                out.roster.clone_from(&steward.roster);
                let others = routing.lanes().filter(|lane| *lane != self.config.lane);
                out.sends.extend(
                    others
                        .zip(steward.roster.iter().cycle())
                        .map(|(lane, roster)| (lane, LaneMessage::Roster(roster.clone()))),
                );
            }
            if let Some(words) = steward.wants(now, self.replica(meta), routing.shard_count()) {
                self.ask_meta(now, meta, steward.seq, words, out);
            }
            self.follow_voters(now, steward.voters.as_ref(), out);
            self.steward = Some(steward);
        }
        let Some(roster) = self.roster.clone() else { return };
        let me = self.config.node;
        for replica in self.replicas.iter_mut().flatten() {
            let hosts = (replica.shard().0 < roster.placement().shard_count())
                .then(|| roster.placement().hosts(replica.shard()).voters.as_slice());
            // The meta shard is everywhere.
            replica.follow_roster(now, me, hosts.unwrap_or(roster.placement().nodes()), out);
        }
    }

    /// Gives the meta shard a command whose answer nobody waits for.
    fn ask_meta(&mut self, now: Now, meta: ShardId, seq: u64, args: Vec<Vec<u8>>, out: &mut Outbox) {
        let command = data::command::find(&args[0]).expect("the steward knows the meta shard's commands");
        let waiter = waiter(Origin::Lane(self.config.lane), NOBODY, seq, Part::No);
        self.run(now, meta, waiter, false, &Queued { db: 0, command, args }, out);
    }
}

impl Replica {
    /// Takes the next step, if any, towards the voters that the roster wants; only whoever leads does.
    pub(crate) fn follow_roster(&mut self, now: Now, me: NodeId, wanted: &[NodeId], out: &mut Outbox) {
        if !self.group.leads() || !self.group.has_settled() || self.group.is_changing() || !self.is_home() {
            return;
        }
        let membership = self.group.membership();
        let votes = |node: &NodeId| membership.is_voter(*node);
        let (there, missing): (Vec<NodeId>, Vec<NodeId>) = wanted.iter().copied().partition(votes);
        let extra: Vec<NodeId> = membership.members().filter(|node| !wanted.contains(node)).collect();
        if missing.is_empty() && extra.is_empty() {
            return;
        }
        if missing.is_empty() && !wanted.contains(&me) {
            // Whoever leads next lets this one go: nobody waits for an election then.
            if let Some(to) = there.first() {
                self.hand_over(now, *to, out);
            }
            return;
        }
        let learns = |node: &NodeId| membership.members().any(|member| member == *node);
        let strangers: Vec<NodeId> = missing.iter().copied().filter(|node| !learns(node)).collect();
        let changes: Vec<Change> = if strangers.is_empty() {
            let leave = extra.into_iter().filter(|node| *node != me).map(Change::Remove);
            missing.into_iter().map(Change::Promote).chain(leave).collect()
        } else {
            strangers.into_iter().map(Change::AddLearner).collect()
        };
        // A learner that lacks too much is promoted at a later look.
        let _ = self.group.change(now.boot, &changes, &mut out.raft);
    }
}
