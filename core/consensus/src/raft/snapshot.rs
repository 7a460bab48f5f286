//! A snapshot stands for a part of the log.

use super::membership::Membership;
use super::message::{Message, Position};
use super::progress::{Flow, Progress};
use super::{Group, Role, Tuning};
use crate::{Effects, Write};
use base::mutation::{self, Mutation};
use base::record::{Record, SnapshotMark};
use base::{Index, Instant, NodeId, Term};

/// While a snapshot is on its way, so many times as much is held: else it would be of no use when it is there.
const HELD_FACTOR: usize = 4;
/// A peer that has left so many heartbeats unanswered is not waited for.
const UNANSWERED_MAX: u64 = 20;

impl Group {
    /// A snapshot of the leader of `term`, durable here, is to stand for the log up to `at`. True if it does: then the
    /// caller replaces its state by it, before it does anything else. False if the log holds all that already.
    pub fn install(
        &mut self,
        now: Instant,
        (from, term): (NodeId, Term),
        at: Position,
        members: Membership,
        out: &mut Effects,
    ) -> bool {
        if !self.follow(now, from, term, out) {
            return false;
        }
        if at.index <= self.commit && !mutation::on(Mutation::SnapshotOverCommitted) {
            let matched = self.commit.min(self.durable);
            self.send(from, Message::AppendReply { term: self.term, matched }, out);
            return false;
        }
        assert!(matches!(self.role, Role::Follower), "who takes a snapshot follows");
        if !self.log.install(at) {
            // Of the log that was, what is committed was the same; its tail is not spoken of again.
            self.generation += 1;
            self.durable = self.durable.min(self.commit);
            self.members.clear();
        }
        self.members.retain(|(index, _)| *index > at.index);
        self.members.insert(0, (at.index, members.clone()));
        (self.commit, self.applied) = (at.index, at);
        self.verified = self.verified.max(at.index);
        let mark = SnapshotMark { term: at.term, index: at.index, members: members.encode() };
        let record = Record::SnapMark { shard: self.shard, mark };
        let stored = Message::AppendStored { generation: self.generation, index: at.index };
        out.writes.push(Write { record, then: vec![self.to_me(stored)] });
        true
    }

    /// A snapshot at `from` is on its way to a peer, which will need what follows it; nothing when none is.
    pub fn hold(&mut self, from: Option<Index>) {
        self.held_from = from;
    }

    /// The entries from here on are in memory: a snapshot at this index or behind it can be followed by entries.
    #[must_use]
    pub fn first_kept(&self) -> Index {
        self.log.base().index
    }

    /// True while `peer` waits for a snapshot.
    #[must_use]
    pub fn is_lagging(&self, peer: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        leader.peers.get(&peer).is_some_and(|peer| matches!(peer.flow, Flow::Snapshot))
    }

    /// Lets go of applied entries, up to `applied`, that no peer should still need.
    pub(super) fn let_go(&mut self, applied: Index) {
        if self.membership().is_alone(self.me) {
            return self.log.let_go(applied, 0);
        }
        let Tuning { kept_bytes_max, held_bytes_max, .. } = self.tuning;
        if self.log.bytes() <= kept_bytes_max {
            return;
        }
        let held = if self.held_from.is_some() { held_bytes_max.saturating_mul(HELD_FACTOR) } else { held_bytes_max };
        self.log.let_go(applied, held);
        self.log.let_go(applied.min(self.needed_from()), kept_bytes_max);
    }

    /// What a peer that answers may still have to get stands behind this.
    fn needed_from(&self) -> Index {
        let Role::Leader(leader) = &self.role else { return Index(u64::MAX) };
        let probe = leader.probe;
        let answers = |peer: &&Progress| peer.probe + UNANSWERED_MAX >= probe && !matches!(peer.flow, Flow::Snapshot);
        let streamed = leader.peers.values().filter(answers).map(|peer| peer.matched).min();
        streamed.into_iter().chain(self.held_from).min().unwrap_or(Index(u64::MAX))
    }

    /// Forgets memberships that no snapshot will be asked for: those before the one at the last applied entry.
    pub fn forget_members(&mut self) {
        let at = self.members.iter().rposition(|(from, _)| *from <= self.applied.index).unwrap_or(0);
        self.members.drain(..at);
    }
}
