//! The specification: each invariant is a function whose name says it, called after every step that could break it.

use super::machine::{Machine, Operation};
use base::record::{Payload, Record};
use base::{Index, NodeId, Term};
use consensus::raft::{Answer, Membership, Message};
use consensus::{Envelope, Write};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// What is true of the whole group.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    leaders: BTreeMap<Term, NodeId>,
    /// Terms of committed entries, from index 1 on, and those of the leaders who committed them first.
    committed: Vec<(Term, Term)>,
    /// The hash of all data up to each applied index.
    states: BTreeMap<Index, u64>,
    /// Every entry that was ever in a log: its payload and the term before it.
    entries: Entries,
    /// The latest version that a client was told of.
    told: Index,
    seen: BTreeMap<NodeId, Seen>,
}

/// By index and term: the payload's hash, and the term of the entry before.
type Entries = HashMap<(Index, Term), (u64, Option<Term>), BuildHasherDefault<DefaultHasher>>;

/// How a replica stood after its last step.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    life: u64,
    term: Term,
    vote: Option<NodeId>,
    commit: Index,
    applied: Index,
    generation: u64,
    durable: Index,
}

impl Ledger {
    pub(super) fn committed(&self) -> u64 {
        self.committed.len() as u64
    }

    pub(super) fn last_committed(&self) -> Index {
        Index(self.committed())
    }

    pub(super) fn begin(&self, id: u64) -> Operation {
        Operation { id, floor: self.told }
    }

    pub(super) fn a_term_has_one_leader(&mut self, term: Term, node: NodeId) {
        let leader = *self.leaders.entry(term).or_insert(node);
        assert_eq!(leader, node, "a_term_has_one_leader: {leader} and {node} lead in {term}");
    }

    pub(super) fn a_leader_holds_all_that_is_committed(&self, machine: &Machine, others: impl Fn() -> String) {
        let life = machine.life().expect("a leader runs");
        // A leader that won late may lack what leaders of later terms have committed meanwhile.
        let earlier = self.committed.partition_point(|(_, by)| *by < life.group.term());
        let last = Index(earlier as u64);
        let holds = last <= life.group.applied().index || life.group.term_at(last) == self.term_of(last);
        assert!(
            holds,
            "a_leader_holds_all_that_is_committed: {} leads in {} with {:?} at {last}{}",
            machine.id,
            life.group.term(),
            life.group.term_at(last),
            others()
        );
    }

    pub(super) fn logs_that_share_an_entry_share_all_before_it(&mut self, machine: &Machine, writes: &[Write]) {
        let life = machine.life().expect("who writes runs");
        for write in writes {
            let Record::Append { term, index, payload, .. } = &write.record else { continue };
            let before = life.group.term_at(Index(index.0 - 1));
            let hash = payload_hash(payload);
            let (known, known_before) = *self.entries.entry((*index, *term)).or_insert((hash, before));
            let same = known == hash && (before.is_none() || known_before.is_none() || before == known_before);
            assert!(same, "logs_that_share_an_entry_share_all_before_it: {index} of term {term} on {}", machine.id);
        }
    }

    /// `holds` tells whether a machine's disk holds an entry.
    pub(super) fn what_commits_is_durable_on_a_majority(
        &mut self,
        machine: &Machine,
        membership: &Membership,
        by: Option<Term>,
        holds: impl Fn(NodeId, Index, Term) -> bool,
    ) {
        let life = machine.life().expect("who commits runs");
        let commit = life.group.commit();
        let from = self.seen.get(&machine.id).map_or(Index(0), |seen| seen.commit);
        for index in from.0 + 1..=commit.0 {
            let index = Index(index);
            let term = life.group.term_at(index);
            match self.term_of(index) {
                Some(known) => assert!(
                    term.is_none() || term == Some(known),
                    "what_is_committed_stays: {index} was of term {known}, and is of {term:?} on {}",
                    machine.id
                ),
                None => {
                    let term = term.expect("only what is in a log commits first");
                    let by = by.unwrap_or_else(|| panic!("a_leader_commits_first: {index} on {}", machine.id));
                    assert_eq!(index.0, self.committed.len() as u64 + 1, "commits_have_no_gaps");
                    assert!(
                        membership.is_quorum(|node| holds(node, index, term)),
                        "what_commits_is_durable_on_a_majority: {index} of term {term} by {}",
                        machine.id
                    );
                    self.committed.push((term, by));
                }
            }
        }
    }

    pub(super) fn nothing_goes_back(&mut self, machine: &Machine) {
        let life = machine.life().expect("who took a step runs");
        let (term, vote) = life.group.vote();
        let now = Seen {
            life: machine.life,
            term,
            vote,
            commit: life.group.commit(),
            applied: life.group.applied().index,
            generation: life.group.generation(),
            durable: life.group.durable(),
        };
        let before = self.seen.insert(machine.id, now).unwrap_or_default();
        if before.life == now.life {
            let ordered = before.term <= now.term && before.commit <= now.commit && before.applied <= now.applied;
            let vote_stays = before.term < now.term || before.vote.is_none() || before.vote == now.vote;
            let durable_stays = before.generation < now.generation || before.durable <= now.durable;
            assert!(
                ordered && vote_stays && durable_stays,
                "nothing_goes_back: {before:?} became {now:?} on {}",
                machine.id
            );
        }
        assert!(now.applied <= now.commit, "only_what_is_committed_is_applied: {now:?} on {}", machine.id);
    }

    /// A new life begins with what is durable.
    pub(super) fn restart(&mut self, node: NodeId) {
        self.seen.remove(&node);
    }

    pub(super) fn equal_indexes_mean_equal_states(&mut self, node: NodeId, index: Index, state: u64) {
        let known = *self.states.entry(index).or_insert(state);
        assert_eq!(known, state, "equal_indexes_mean_equal_states: {index} on {node}");
    }

    /// Nothing that is durable is spoken of before it is.
    pub(super) fn only_what_is_durable_is_spoken_of(&self, machine: &Machine, envelope: &Envelope) {
        let disk = &machine.disk;
        let spoken = match &envelope.message {
            Message::PreVote { term, .. } => Term(term.0 - 1),
            // It tells of the asker's term alone.
            Message::PreVoteReply { answer: Answer::Granted, .. } => Term(0),
            other => other.term().unwrap_or_default(),
        };
        assert!(disk.term >= spoken, "only_what_is_durable_is_spoken_of: term {spoken} by {}", machine.id);
        match &envelope.message {
            Message::VoteReply { term, answer: Answer::Granted } => {
                let given = disk.term > *term || disk.vote == Some(envelope.to);
                assert!(given, "only_what_is_durable_is_spoken_of: a vote in {term} by {}", machine.id);
            }
            Message::AppendReply { matched, .. } | Message::HeartbeatReply { matched, .. } => {
                assert!(
                    disk.reaches(*matched),
                    "only_what_is_durable_is_spoken_of: entries up to {matched} by {}",
                    machine.id
                );
            }
            _ => {}
        }
    }

    /// A read tells of everything that clients were told of before it began.
    pub(super) fn reads_are_linearizable(&mut self, node: NodeId, operation: Operation, version: Index) {
        assert!(
            version >= operation.floor,
            "reads_are_linearizable: {node} read version {version} after {} had been told",
            operation.floor
        );
        self.told = self.told.max(version);
    }

    pub(super) fn writes_are_linearizable(&mut self, operation: Operation, version: Index) {
        assert!(
            version > operation.floor,
            "writes_are_linearizable: {version} was told done after {}",
            operation.floor
        );
        self.told = self.told.max(version);
    }

    fn term_of(&self, index: Index) -> Option<Term> {
        let at = usize::try_from(index.0.checked_sub(1)?).ok()?;
        self.committed.get(at).map(|(term, _)| *term)
    }
}

fn payload_hash(payload: &Payload) -> u64 {
    let mut hasher = DefaultHasher::new();
    match payload {
        Payload::Data(bytes) => (1u8, &bytes[..]).hash(&mut hasher),
        Payload::Members(bytes) => (2u8, &bytes[..]).hash(&mut hasher),
    }
    hasher.finish()
}
