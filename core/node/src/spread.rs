//! Leaders where they should be: spread over the nodes as the placement wishes, and off a node that is about to stop or has
//! no room in its log.
//!
//! Whoever leads a shard decides by itself: it hands over to the node that should lead, if that is linked, votes and lacks
//! nearly nothing. While nodes are away, the placement that the others would have without them says who should; so every
//! node that sees the same links wishes the same. Nothing moves for some seconds after a link has come or gone, and no shard moves
//! twice within some more: a node that comes and goes doesn't make leaders follow it.
//!
//! Handing over takes some messages and syncs. Meanwhile work for the shard is held here, in order: no client is told
//! anything. It goes on when another leads, here or wherever that is, or when the attempt was in vain.

use crate::lane::Lane;
use crate::outbox::{Now, Outbox};
use crate::peer::{Asker, PeerMessage, Work};
use crate::replica::{Origin, Replica, Waiter};
use base::{Epoch, Instant, NodeId, Placement, Roster, ShardId, Term};
use data::{Refused, Reply};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a lane knows of who should lead.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    /// The roster as it was when the node stopped last: good enough for wishes until the meta shard has told.
    former: Option<Arc<Roster>>,
    linked: BTreeSet<NodeId>,
    /// When a link last came or went.
    changed_at: Instant,
    /// Who should lead, by shard, of which placement and links.
    wished: Option<(Epoch, Vec<NodeId>)>,
    /// When a shard was last handed over.
    handed_at: BTreeMap<ShardId, Instant>,
    /// This node is about to stop; who should lead then, by shard, as far as that is known.
    leaving: Option<Vec<NodeId>>,
}

/// Work that waits while its leader hands over.
#[derive(Debug)]
pub(crate) struct Held {
    waiter: Waiter,
    work: Work,
    term: Term,
}

/// Nothing moves for so long after a link has come or gone.
const SETTLE_MS: u64 = 3_000;
/// A shard that was handed over is not, for so long.
const COOL_MS: u64 = 10_000;
/// So much later campaign those that a new cluster's placement doesn't wish for.
const YIELD_MS: u64 = 300;
/// With more nodes than this, nobody is looked for in the place of those that are away.
const NODES_MAX: usize = 64;

impl Spread {
    pub(crate) fn on_up(&mut self, now: Now, peer: NodeId) {
        self.linked.insert(peer);
        (self.changed_at, self.wished) = (now.boot, None);
    }

    /// Nodes to which there is a link.
    pub(crate) fn linked(&self) -> impl Iterator<Item = NodeId> {
        self.linked.iter().copied()
    }

    pub(crate) fn on_lost(&mut self, now: Now, peer: NodeId) {
        self.linked.remove(&peer);
        (self.changed_at, self.wished) = (now.boot, None);
    }

    /// Who should lead each shard, as far as nodes are linked.
    fn wishes(&mut self, me: NodeId, placement: &Placement) -> &[NodeId] {
        let epoch = placement.epoch();
        if self.wished.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let away = placement.nodes().iter().filter(|node| **node != me && !self.linked.contains(node));
            let mut without = placement.clone();
            for node in away.take(if placement.nodes().len() > NODES_MAX { 0 } else { NODES_MAX }) {
                without = without.leave(*node).unwrap_or(without);
            }
            self.wished = Some((epoch, without.shards().map(|(_, hosts)| hosts.leader).collect()));
        }
        self.wished.as_ref().map_or(&[], |(_, wished)| wished)
    }
}

impl Lane {
    /// The first leaders of a cluster that is being made: those that its first placement wishes campaign before others.
    pub(crate) fn yield_to_first_leaders(&mut self, members: &[NodeId]) {
        let (me, shards) = (self.config.node, self.config.routing.shard_count());
        let replicas = u8::try_from(members.len()).unwrap_or(u8::MAX);
        let Ok(first) = Placement::first(members.iter().copied(), shards, replicas) else { return };
        let fresh = self.replicas.iter_mut().flatten().filter(|replica| replica.group.is_empty());
        for replica in fresh.filter(|replica| replica.shard().0 < shards) {
            if first.hosts(replica.shard()).leader != me {
                replica.group.put_off_campaign(YIELD_MS);
            }
        }
    }

    /// The roster that was written down when the node ran last. It moves leaders and no members: it may be old.
    pub fn recall_roster(&mut self, roster: Arc<Roster>) {
        self.spread.former = Some(roster);
    }

    /// Hands one shard over, if another node should lead it. Regular work.
    pub(crate) fn spread_leaders(&mut self, now: Now, out: &mut Outbox) {
        if self.spread.leaving.is_some() || self.full {
            return self.hand_all_over(now, out);
        }
        let Some(roster) = self.roster.clone().or_else(|| self.spread.former.clone()) else { return };
        if now.boot < self.spread.changed_at.plus_ms(SETTLE_MS) {
            return;
        }
        let me = self.config.node;
        let (wished, handed_at) = (self.spread.wishes(me, roster.placement()).to_vec(), &self.spread.handed_at);
        let wishes = self.replicas.iter_mut().flatten().filter_map(|replica| {
            let to = wished.get(usize::from(replica.shard().0)).copied().filter(|to| *to != me)?;
            let cool = handed_at.get(&replica.shard()).is_none_or(|at| now.boot >= at.plus_ms(COOL_MS));
            (cool && replica.takes_work() && replica.group.could_lead(now.boot, to)).then_some((replica, to))
        });
        // One at a time: each costs its shard some milliseconds.
        let Some((replica, to)) = wishes.into_iter().next() else { return };
        let shard = replica.shard();
        replica.hand_over(now, to, out);
        self.spread.handed_at.insert(shard, now.boot);
    }

    /// The node is about to stop: others are to lead its shards, and it leads nothing any more.
    pub fn leave(&mut self, now: Now, out: &mut Outbox) {
        let roster = self.roster.clone().or_else(|| self.spread.former.clone());
        let without = roster.and_then(|roster| roster.placement().leave(self.config.node).ok());
        let heirs = without.iter().flat_map(Placement::shards).map(|(_, hosts)| hosts.leader);
        self.spread.leaving = Some(heirs.collect());
        self.replicas.iter_mut().flatten().for_each(|replica| replica.group.retire());
        self.hand_all_over(now, out);
    }

    /// Whether the log of this node has room for clients' writes. If not, others are to lead: what comes meanwhile waits for them.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Makes way in a shard whose leader has no room: true if another leads, or will; false if nobody could.
    pub(crate) fn leave_full(&mut self, now: Now, shard: ShardId, out: &mut Outbox) -> bool {
        let replica = self.replica(shard);
        if replica.takes_work()
            && let Some(to) = replica.group.heir(now.boot)
        {
            replica.hand_over(now, to, out);
        }
        !replica.takes_work()
    }

    /// True once it leads nothing that another could lead: a node that leaves may stop.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.replicas
            .iter()
            .flatten()
            .all(|replica| !replica.leads() || replica.group.membership().is_alone(self.config.node))
    }

    fn hand_all_over(&mut self, now: Now, out: &mut Outbox) {
        let wished = self.spread.leaving.clone().unwrap_or_default();
        for replica in self.replicas.iter_mut().flatten().filter(|replica| replica.takes_work()) {
            let wish = wished.get(usize::from(replica.shard().0)).copied();
            let heir =
                wish.filter(|to| replica.group.could_lead(now.boot, *to)).or_else(|| replica.group.heir(now.boot));
            if let Some(to) = heir {
                replica.hand_over(now, to, out);
            }
        }
    }

    /// Lets go what was held for a leader that is none any more.
    pub(crate) fn release(&mut self, now: Now, shard: ShardId, out: &mut Outbox) {
        for Held { waiter, work, term } in std::mem::take(&mut self.replica(shard).held) {
            let Waiter { origin, client, seq, part, .. } = waiter;
            match origin {
                Origin::Node(from, lane) => {
                    // Others may have gone past it, if it stood in line with a script before it was held.
                    let asker = Asker { lane, client, seq, part };
                    out.peers.push((from, PeerMessage::NotLeader { asker, shard, term, also_later: false }));
                }
                Origin::Lane(_) => self.replica(shard).defer(now, waiter, work, out),
            }
        }
    }
}

/// The answer to a write that nobody has room for.
pub(crate) fn no_room() -> Reply {
    Reply::Error(Refused::Text(
        "MISCONF the disk of this shard's leader has no room for the write-ahead log, and no other node could lead now; nothing \
         was changed. Reads go on. Free space in the data directory and writes go on by themselves"
            .to_owned(),
    ))
}

impl Replica {
    /// True if it leads, and isn't handing over: work is done here, now.
    pub(crate) fn takes_work(&self) -> bool {
        self.group.may_propose() && self.is_home()
    }

    /// Keeps work until it is known who leads.
    pub(crate) fn keep_work(&mut self, waiter: Waiter, work: Work) {
        self.held.push(Held { waiter, work, term: self.group.term() });
    }

    /// Work that was held in vain.
    pub(crate) fn take_held(&mut self) -> Vec<(Waiter, Work)> {
        std::mem::take(&mut self.held).into_iter().map(|held| (held.waiter, held.work)).collect()
    }

    /// Steps back for `to`. What has been logged is proposed first: nobody is told that it was lost.
    pub(crate) fn hand_over(&mut self, now: Now, to: NodeId, out: &mut Outbox) {
        if self.group.has_settled() && self.is_home() {
            self.propose_all(now, out);
            for (waiter, work) in self.take_line() {
                self.keep_work(waiter, work);
            }
            self.group.transfer(now.boot, to, &mut out.raft);
        }
    }
}
