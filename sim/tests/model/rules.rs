//! The specification: each rule is a function whose name says it, called after every step that could break it.
//!
//! A broken rule panics with its name. The model notes that in the state, and the checker finds it there.

use crate::replica::Replica;
use crate::state::State;
use base::record::Record;
use base::{Index, NodeId, Term};
use consensus::Write;
use consensus::raft::{Answer, Group, Message};
use std::collections::BTreeMap;

/// What the rules remember.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ledger {
    leaders: BTreeMap<Term, NodeId>,
    /// Committed entries from index 1 on: their terms, and those of the leaders who committed them first.
    committed: Vec<(Term, Term)>,
    /// The last entry that a client may have been told of.
    told: Index,
}

impl Ledger {
    pub fn told(&self) -> Index {
        self.told
    }

    pub fn has_leader(&self) -> bool {
        !self.leaders.is_empty()
    }

    pub fn has_committed(&self) -> bool {
        !self.committed.is_empty()
    }

    pub fn on_elected(&mut self, id: NodeId, group: &Group) {
        let term = group.term();
        let leader = *self.leaders.entry(term).or_insert(id);
        assert_eq!(leader, id, "a_term_has_one_leader: {leader} and {id} lead in {term}");
        for (index, (of, by)) in (1..).map(Index).zip(&self.committed) {
            // A leader that won late may lack what leaders of later terms have committed meanwhile.
            let later = *by >= term;
            let holds = index <= group.applied().index || group.term_at(index) == Some(*of);
            assert!(later || holds, "a_leader_holds_all_that_is_committed: {id} lacks {index} of term {of}");
        }
    }

    pub fn logs_that_share_an_entry_share_all_before_it(state: &State, id: NodeId, writes: &[Write]) {
        let appends = writes.iter().any(|write| matches!(write.record, Record::Append { .. }));
        let one = &state.replica(id).group;
        for other in state.replicas().filter(|other| appends && other.id != id) {
            let last = one.last().index.min(other.group.last().index);
            let mut shared = false;
            for index in (1..=last.0).rev().map(Index) {
                let Some((here, there)) = one.term_at(index).zip(other.group.term_at(index)) else { break };
                assert!(
                    !shared || here == there,
                    "logs_that_share_an_entry_share_all_before_it: {id} and {} differ at {index}",
                    other.id
                );
                shared |= here == there;
            }
        }
    }

    /// `before` is the replica as it was before the step that commits: its membership decided.
    pub fn on_commit(&mut self, state: &State, before: &Replica, after: &Group) {
        let id = before.id;
        for index in (before.group.commit().0 + 1..=after.commit().0).map(Index) {
            let term = after.term_at(index);
            let at = usize::try_from(index.0).expect("small") - 1;
            if let Some((known, _)) = self.committed.get(at) {
                let same = term.is_none_or(|term| term == *known);
                assert!(same, "what_is_committed_stays: {index} was of term {known}, and is of {term:?} on {id}");
                continue;
            }
            let leads = before.group.leads() && at == self.committed.len();
            assert!(leads, "a_leader_commits_first: {index} on {id}");
            let term = term.expect("only what is in a log commits first");
            let holds = |node| state.replica(node).disk.holds(index, term);
            assert!(
                before.group.membership().is_quorum(holds),
                "what_commits_is_durable_on_a_quorum: {index} of term {term} by {id}"
            );
            self.committed.push((term, before.group.term()));
        }
    }

    pub fn what_is_applied_was_proposed_by_its_leader(&self, group: &Group, index: Index, entry: &[u8]) {
        let proposer = group.term_at(index).and_then(|term| self.leaders.get(&term));
        let same = proposer.is_none_or(|leader| entry == leader.0.to_le_bytes());
        assert!(same, "what_is_applied_was_proposed_by_its_leader: {index} holds {entry:?}");
    }

    /// Who leads may tell clients of what it has applied.
    pub fn tell(&mut self, group: &Group) {
        if group.leads() {
            self.told = self.told.max(group.applied().index);
        }
    }

    pub fn nothing_goes_back(before: &Replica, after: &Group) {
        let Replica { id, group, .. } = before;
        let ((term, vote), (term_after, vote_after)) = (group.vote(), after.vote());
        assert!(term <= term_after, "nothing_goes_back: term {term} to {term_after} on {id}");
        let stays = term < term_after || vote.is_none() || vote == vote_after;
        assert!(stays, "nothing_goes_back: the vote for {vote:?} in {term} on {id}");
        let (commit, applied) = (after.commit(), after.applied().index);
        assert!(group.commit() <= commit, "nothing_goes_back: commit {} to {commit} on {id}", group.commit());
        let ordered = group.applied().index <= applied && applied <= commit;
        assert!(ordered, "nothing_goes_back: applied {applied} on {id}");
        let cut = group.generation() < after.generation();
        let (durable, durable_after) = (group.durable(), after.durable());
        assert!(cut || durable <= durable_after, "nothing_goes_back: durable {durable} to {durable_after} on {id}");
    }

    pub fn only_what_is_durable_is_spoken_of(replica: &Replica, to: NodeId, message: &Message) {
        let disk = &replica.disk;
        let spoken = match message {
            Message::PreVote { term, .. } => Term(term.0 - 1),
            // It tells of the asker's term alone.
            Message::PreVoteReply { answer: Answer::Granted, .. } => Term(0),
            other => other.term().expect("what travels has a term"),
        };
        let of_message = match message {
            Message::VoteReply { term, answer: Answer::Granted } => disk.term > *term || disk.vote == Some(to),
            Message::AppendReply { matched, .. } | Message::HeartbeatReply { matched, .. } => disk.reaches(*matched),
            _ => true,
        };
        assert!(disk.term >= spoken && of_message, "only_what_is_durable_is_spoken_of: {message:?} by {}", replica.id);
    }

    pub fn no_read_under_a_lease_is_stale(&self, replica: &Replica) {
        let version = replica.group.applied().index;
        let stale = version < self.told && replica.group.may_read(replica.now());
        assert!(!stale, "no_read_under_a_lease_is_stale: {} reads {version} after {}", replica.id, self.told);
    }

    pub fn no_read_by_a_round_is_stale(group: &Group, floor: Index) {
        let version = group.applied().index;
        assert!(version >= floor, "no_read_by_a_round_is_stale: {version} after {floor}");
    }
}
