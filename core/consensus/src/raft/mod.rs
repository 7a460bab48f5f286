//! Raft (Ongaro and Ousterhout 2014), sans-IO: one [`Group`] per shard and replica.
//!
//! Today every group has one voter: this node. The rules that don't depend on the number of voters hold already: the
//! term is raised and made durable at each start, a leader counts its own vote only once that is durable, an entry
//! commits only when it is durable and through an entry of the leader's own term, and what was found in the log at start
//! commits only so.

mod log;

use crate::{Envelope, Write};
use base::mutation::{self, Mutation};
use base::record::{Record, RecoveredShard};
use base::{Index, NodeId, ShardId, Term};
use bytes::Bytes;
use log::Log;

/// What replicas of a group tell each other, and what durable writes tell their own replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// This replica's term and its vote for itself are durable.
    VoteStored { term: Term },
    /// This replica's log is durable up to `index`, as written in `term`.
    AppendStored { term: Term, index: Index },
}

/// What a step brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing that concerns the caller.
    None,
    /// This replica leads now; the caller proposes the term's first entry at once.
    Elected,
    /// [`Group::next_committed`] has something.
    Committed,
}

/// One replica of one group.
#[derive(Debug)]
pub struct Group {
    me: NodeId,
    shard: ShardId,
    term: Term,
    role: Role,
    log: Log,
    /// Durable in this replica's log.
    durable: Index,
    commit: Index,
    applied: Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Follower,
    Candidate,
    /// Leads, and commits only from `first` on, the first entry of its own term.
    Leader {
        first: Index,
    },
}

impl Group {
    /// The replica of `shard` on node `me` as storage recovered it.
    #[must_use]
    pub fn new(me: NodeId, shard: ShardId, recovered: RecoveredShard) -> Self {
        let snapshot = recovered.snapshot.map_or(Index(0), |(index, _)| index);
        let log = Log::new(snapshot, recovered.entries);
        let durable = log.last();
        let term = recovered.term;
        Self { me, shard, term, role: Role::Follower, log, durable, commit: snapshot, applied: snapshot }
    }

    /// Campaigns: with one voter, the vote wins once it is durable.
    pub fn campaign(&mut self, out: &mut Vec<Write>) {
        if !mutation::on(Mutation::TermNotRaised) {
            self.term = Term(self.term.0 + 1);
        }
        self.role = Role::Candidate;
        let record = Record::HardState { shard: self.shard, term: self.term, vote: Some(self.me) };
        out.push(Write { record, then: vec![self.to_me(Message::VoteStored { term: self.term })] });
    }

    /// Appends `entry` to the log; nothing if this replica doesn't lead.
    pub fn propose(&mut self, entry: Bytes, out: &mut Vec<Write>) -> Option<Index> {
        let Role::Leader { .. } = self.role else { return None };
        let index = self.log.append(self.term, entry.clone());
        let record = Record::Append { shard: self.shard, term: self.term, index, entry };
        out.push(Write { record, then: vec![self.to_me(Message::AppendStored { term: self.term, index })] });
        Some(index)
    }

    /// Takes a message.
    pub fn on_message(&mut self, message: Message) -> Progress {
        match message {
            Message::VoteStored { term } if term == self.term && self.role == Role::Candidate => {
                self.role = Role::Leader { first: self.log.last().next() };
                Progress::Elected
            }
            Message::AppendStored { term, index } if term == self.term => self.on_durable(index),
            Message::VoteStored { .. } | Message::AppendStored { .. } => Progress::None,
        }
    }

    /// The next committed entry, in order and once.
    pub fn next_committed(&mut self) -> Option<(Index, Bytes)> {
        if self.applied == self.commit {
            return None;
        }
        self.applied = self.applied.next();
        Some((self.applied, self.log.take(self.applied)))
    }

    /// True if a read may be served from the applied state: this replica leads, and an entry of its term has committed.
    #[must_use]
    pub fn may_read(&self) -> bool {
        matches!(self.role, Role::Leader { first } if self.applied >= first || mutation::on(Mutation::ReadBeforeOwnEntry))
    }

    /// True if no entry was ever written, nor a snapshot taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.log.last() == Index(0)
    }

    /// Term of the last applied entry or, where that is in a snapshot, of now: what a snapshot taken now would carry.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The last committed index.
    #[must_use]
    pub fn commit(&self) -> Index {
        self.commit
    }

    /// True while an entry waits to become durable.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.durable < self.log.last()
    }

    fn on_durable(&mut self, index: Index) -> Progress {
        assert!(index <= self.log.last(), "only what was written becomes durable");
        self.durable = self.durable.max(index);
        let Role::Leader { first } = self.role else { return Progress::None };
        if self.durable < first || self.durable <= self.commit {
            return Progress::None;
        }
        self.commit = self.durable;
        Progress::Committed
    }

    fn to_me(&self, message: Message) -> Envelope {
        Envelope { to: self.me, shard: self.shard, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::record::RecoveredEntry;

    fn entry(text: &'static [u8]) -> Bytes {
        Bytes::from_static(text)
    }

    fn led(recovered: RecoveredShard) -> (Group, Vec<Write>) {
        let mut group = Group::new(NodeId(7), ShardId(0), recovered);
        let mut out = Vec::new();
        group.campaign(&mut out);
        let vote = out.remove(0).then[0].message;
        assert_eq!(group.propose(entry(b"early"), &mut out), None, "no leader before its vote is durable");
        assert_eq!(group.on_message(vote), Progress::Elected);
        (group, out)
    }

    #[test]
    fn nothing_commits_before_it_is_durable() {
        let (mut group, mut out) = led(RecoveredShard::default());
        assert_eq!(group.propose(entry(b"a"), &mut out), Some(Index(1)));
        assert_eq!(group.propose(entry(b"b"), &mut out), Some(Index(2)));
        assert_eq!(group.next_committed(), None);
        assert!(group.busy() && !group.may_read());
        assert_eq!(group.on_message(out[1].then[0].message), Progress::Committed);
        assert_eq!(group.next_committed(), Some((Index(1), entry(b"a"))));
        assert_eq!(group.next_committed(), Some((Index(2), entry(b"b"))));
        assert_eq!(group.next_committed(), None);
        assert!(group.may_read() && !group.busy());
    }

    #[test]
    fn recovered_entries_commit_only_through_the_new_term() {
        let old = RecoveredEntry { term: Term(3), index: Index(5), entry: entry(b"old") };
        let recovered =
            RecoveredShard { term: Term(3), vote: None, snapshot: Some((Index(4), Term(2))), entries: vec![old] };
        let (mut group, mut out) = led(recovered);
        assert_eq!(group.next_committed(), None);
        assert_eq!(group.propose(entry(b"new"), &mut out), Some(Index(6)));
        assert!(matches!(out[0].record, Record::Append { term: Term(4), index: Index(6), .. }));
        assert_eq!(group.on_message(out[0].then[0].message), Progress::Committed);
        assert_eq!(group.next_committed(), Some((Index(5), entry(b"old"))));
    }

    #[test]
    fn a_notice_of_another_term_counts_for_nothing() {
        let (mut group, mut out) = led(RecoveredShard::default());
        group.propose(entry(b"a"), &mut out);
        assert_eq!(group.on_message(Message::AppendStored { term: Term(9), index: Index(1) }), Progress::None);
        assert_eq!(group.next_committed(), None);
    }
}
