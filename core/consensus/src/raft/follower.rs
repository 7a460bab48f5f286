//! What a follower does: it takes the leader's entries, drops what differs, and answers for what is durable.

use super::Group;
use super::fresh::Fresh;
use super::message::{Entry, Message, Position};
use crate::Effects;
use base::mutation::{self, Mutation};
use base::{Index, Instant, NodeId, Term};

impl Group {
    pub(super) fn on_append(
        &mut self,
        from: NodeId,
        prev: Position,
        entries: Vec<Entry>,
        commit: Index,
        out: &mut Effects,
    ) {
        let base = self.log.base();
        let end = Index(prev.index.0 + entries.len() as u64);
        if prev.index >= base.index && self.log.term_at(prev.index) != Some(prev.term) {
            let before = Position { index: Index(prev.index.0 - 1), term: prev.term };
            let hint = self.log.last_with_at_most(before);
            let message = Message::AppendRejected { term: self.term, asked: prev.index, hint };
            return self.send(from, message, out);
        }
        // What lies before the base is committed, and so equal.
        for (at, entry) in entries.into_iter().enumerate() {
            let index = Index(prev.index.0 + 1 + at as u64);
            match self.log.term_at(index) {
                _ if index <= base.index => continue,
                Some(term) if term == entry.term => continue,
                Some(_) => self.cut_from(index),
                None => {}
            }
            assert_eq!(self.append(entry, out), index, "entries have no gaps");
        }
        self.verified = self.verified.max(end);
        self.commit = self.commit.max(commit.min(self.verified));
        if self.durable >= end || mutation::on(Mutation::AckBeforeDurable) {
            let matched = if mutation::on(Mutation::AckBeforeDurable) { self.verified } else { self.matched() };
            self.send(from, Message::AppendReply { term: self.term, matched }, out);
        }
    }

    pub(super) fn on_heartbeat(
        &mut self,
        now: Instant,
        from: NodeId,
        (term, probe): (Term, u64),
        commit: Index,
        fresh: Fresh,
        out: &mut Effects,
    ) {
        if term < self.term && mutation::on(Mutation::LeaseAcrossVote) {
            return self.send(from, Message::HeartbeatReply { term, probe, matched: Index(0) }, out);
        }
        if self.follow(now, from, term, out) {
            self.commit = self.commit.max(commit.min(self.verified));
            let matched = self.matched();
            self.on_fresh(now, from, probe, fresh);
            self.send(from, Message::HeartbeatReply { term, probe, matched }, out);
        }
    }

    /// The log is durable up to `index`, if it was not cut back since.
    pub(super) fn on_append_stored(&mut self, now: Instant, generation: u64, index: Index, out: &mut Effects) {
        if generation != self.generation && !mutation::on(Mutation::NoticeFromBeforeCut) {
            return;
        }
        let before = self.durable;
        self.durable = if mutation::on(Mutation::NoticesInOrderOnly) { index } else { self.durable.max(index) };
        assert!(self.durable <= self.log.last().index, "only what was written becomes durable");
        if self.leads() {
            self.advance_commit(now, out);
        } else if self.durable > before
            && let Some(leader) = self.leader
        {
            let matched = self.matched();
            self.send(leader, Message::AppendReply { term: self.term, matched }, out);
        }
    }

    /// Durable here and equal to the leader's log.
    fn matched(&self) -> Index {
        self.verified.min(self.durable)
    }
}
