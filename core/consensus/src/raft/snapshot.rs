//! A snapshot stands for a part of the log.

use super::membership::Membership;
use super::message::{Message, Position};
use super::{Group, Role};
use crate::{Effects, Write};
use base::mutation::{self, Mutation};
use base::record::{Record, SnapshotMark};
use base::{Instant, NodeId, Term};

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

    /// Forgets memberships that no snapshot will be asked for: those before the one at the last applied entry.
    pub fn forget_members(&mut self) {
        let at = self.members.iter().rposition(|(from, _)| *from <= self.applied.index).unwrap_or(0);
        self.members.drain(..at);
    }
}
