//! Votes and pre-votes as a function of (term, vote, log) and the request.
//!
//! They agree in all requests, but for a pre-vote for the very term that the voter is in: theirs may grant it, ours
//! refuses and tells its term. Candidates ask for the term behind their own, so this one is behind, and learns.

use crate::cluster::NODES;
use crate::theirs::{config, logger};
use base::record::{Payload, RecoveredEntry, RecoveredShard};
use base::rng::Rng;
use base::{Index, Instant, NodeId, ShardId, Term};
use bytes::Bytes;
use consensus::Effects;
use consensus::raft::{Answer, Group, Membership, Message, Position, Why};
use raft::eraftpb::{self, ConfState, HardState, MessageType};
use raft::storage::MemStorage;
use raft::{RawNode, Storage};

/// A voter that was restarted long ago, and the request that it gets.
#[derive(Debug)]
struct Case {
    term: u64,
    vote: Option<u64>,
    log: Vec<u64>,
    asked: Asked,
    for_term: u64,
    last: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    PreVote,
    Vote,
}

/// Whether the vote was given, and the voter's term and vote from then on.
type Outcome = (bool, u64, Option<u64>);

const CANDIDATE: u64 = 2;

impl Case {
    fn draw(rng: &mut Rng) -> Self {
        let term = rng.below(5);
        let mut log: Vec<u64> =
            (0..rng.below(5)).map(|_| 1 + rng.below(term.max(1))).filter(|of| *of <= term).collect();
        log.sort_unstable();
        let vote = Some(rng.below(4)).filter(|node| *node != 0 && term > 0);
        let last_term = rng.below(6);
        let last = if last_term == 0 { (0, 0) } else { (1 + rng.below(6), last_term) };
        let asked = if rng.one_in(2) { Asked::Vote } else { Asked::PreVote };
        Self { term, vote, log, asked, for_term: 1 + rng.below(6), last }
    }

    /// The one request in which the answers differ.
    fn is_behind(&self) -> bool {
        self.asked == Asked::PreVote && self.for_term == self.term
    }

    fn ours(&self) -> Outcome {
        let entry = |(index, term): (u64, &u64)| RecoveredEntry {
            term: Term(*term),
            index: Index(index),
            payload: Payload::Data(Bytes::new()),
        };
        let recovered = RecoveredShard {
            term: Term(self.term),
            vote: self.vote.map(NodeId),
            snapshot: None,
            entries: (1..).zip(&self.log).map(entry).collect(),
        };
        let members = Membership::of_voters(NODES.map(NodeId));
        let mut group = Group::new(NodeId(1), ShardId(0), members, recovered, Rng::new(1));
        let (mut out, later) = (Effects::default(), Instant(0).plus_ms(10_000));
        group.start(Instant(0), &mut out);
        let (term, last) = (Term(self.for_term), Position { index: Index(self.last.0), term: Term(self.last.1) });
        let request = match self.asked {
            Asked::PreVote => Message::PreVote { term, last },
            Asked::Vote => Message::Vote { term, last, why: Why::Silence },
        };
        group.on_message(later, NodeId(CANDIDATE), request, &mut out);
        let sent = out.writes.into_iter().flat_map(|write| write.then).chain(out.messages);
        let granted = sent.map(|envelope| envelope.message).any(|message| {
            let (Message::PreVoteReply { answer, .. } | Message::VoteReply { answer, .. }) = message else {
                return false;
            };
            answer == Answer::Granted
        });
        let (term, vote) = group.vote();
        (granted, term.0, vote.map(|node| node.0))
    }

    fn theirs(&self) -> Outcome {
        let store = MemStorage::new_with_conf_state(ConfState { voters: NODES.collect(), ..ConfState::default() });
        let entry = |(index, term): (u64, &u64)| eraftpb::Entry { index, term: *term, ..Default::default() };
        let entries: Vec<eraftpb::Entry> = (1..).zip(&self.log).map(entry).collect();
        store.wl().append(&entries).expect("entries follow each other");
        let vote = self.vote.unwrap_or(0);
        store.wl().set_hardstate(HardState { term: self.term, vote, ..HardState::default() });
        assert!(store.initial_state().is_ok());
        let mut node = RawNode::new(&config(1), store, &logger()).expect("the configuration is valid");
        let kind = match self.asked {
            Asked::PreVote => MessageType::MsgRequestPreVote,
            Asked::Vote => MessageType::MsgRequestVote,
        };
        let mut request = eraftpb::Message {
            from: CANDIDATE,
            to: 1,
            term: self.for_term,
            index: self.last.0,
            log_term: self.last.1,
            ..Default::default()
        };
        request.set_msg_type(kind);
        node.step(request).expect("a member asks");
        let answers = [MessageType::MsgRequestPreVoteResponse, MessageType::MsgRequestVoteResponse];
        let granted = node.raft.msgs.iter().any(|sent| answers.contains(&sent.get_msg_type()) && !sent.reject);
        (granted, node.raft.term, Some(node.raft.vote).filter(|node| *node != 0))
    }
}

/// How many requests were compared, granted, and left out as told above.
pub fn compare(seed: u64, cases: u64) -> (u64, u64, u64) {
    let mut rng = Rng::new(seed);
    let (mut compared, mut granted, mut behind) = (0, 0, 0);
    for _ in 0..cases {
        let case = Case::draw(&mut rng);
        let (ours, theirs) = (case.ours(), case.theirs());
        if case.is_behind() {
            assert!(!ours.0, "a_pre_vote_for_the_present_is_refused: {case:?}");
            behind += 1;
            continue;
        }
        assert_eq!(ours, theirs, "votes_agree: {case:?}");
        compared += 1;
        granted += u64::from(ours.0);
    }
    (compared, granted, behind)
}
