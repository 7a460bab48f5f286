//! Who leads: campaigns, votes, and the promises about leases that bind voters.
//!
//! A campaign begins with a pre-vote (thesis 9.6), so that a replica which was cut off doesn't depose a leader that
//! others hear. A voter that has heard its leader refuses its vote for `election_ms` (thesis 6.4.1): leases rest on
//! that, and so a restarted voter waits as long before it votes at all.

use super::leader::Leader;
use super::message::{Answer, Message, Position, Why};
use super::{Group, Role};
use crate::Effects;
use base::mutation::{self, Mutation};
use base::{Index, Instant, NodeId, Term};

impl Group {
    /// The node's link to `peer` broke: if that leads, its death is probable, and nobody waits longer than promised.
    pub fn on_peer_lost(&mut self, now: Instant, peer: NodeId) {
        if self.leader == Some(peer) && !self.leads() {
            let promised = self.heard_at.map_or(now, |at| at.plus_ms(self.tuning.election_ms)).max(now);
            let hurry = promised.plus_ms(self.rng.below(self.tuning.election_spread_ms / 4 + 1));
            self.campaign_at = self.campaign_at.min(hurry);
        }
    }

    /// True if this replica may ask for votes: it has one, or had one in a membership that may still count. Its own
    /// doesn't count if it has none now (thesis 4.2.2): it may hold entries that nobody else of the new voters does.
    pub(super) fn may_campaign(&self) -> bool {
        let from = self.members.iter().rposition(|(since, _)| *since <= self.commit).unwrap_or(0);
        !self.retired && self.members[from..].iter().any(|(_, membership)| membership.is_voter(self.me))
    }

    /// Asks who would vote for this replica.
    pub(super) fn pre_campaign(&mut self, now: Instant, out: &mut Effects) {
        self.await_leader(now);
        if now < self.quarantined_until {
            return;
        }
        if self.membership().is_alone(self.me) {
            return self.campaign(Why::Silence, out);
        }
        (self.role, self.leader) = (Role::PreCandidate { granted: vec![self.me] }, None);
        if self.membership().is_quorum(|node| node == self.me) {
            return self.campaign(Why::Silence, out);
        }
        let message = Message::PreVote { term: Term(self.term.0 + 1), last: self.log.last() };
        for peer in self.other_voters() {
            self.send(peer, message.clone(), out);
        }
    }

    /// Asks for votes in the next term.
    pub(super) fn campaign(&mut self, why: Why, out: &mut Effects) {
        if !mutation::on(Mutation::TermNotRaised) {
            self.term = Term(self.term.0 + 1);
        }
        self.vote = Some(self.me);
        self.verified = Index(0);
        (self.role, self.leader) = (Role::Candidate { granted: Vec::new() }, None);
        let ask = Message::Vote { term: self.term, last: self.log.last(), why };
        let messages = self.other_voters().into_iter().map(|peer| (peer, ask.clone())).collect();
        self.persist(messages, out);
    }

    /// The candidate's own vote is durable, and so counts.
    pub(super) fn on_own_vote_stored(&mut self, now: Instant, out: &mut Effects) {
        let me = self.me;
        if let Role::Candidate { granted } = &mut self.role {
            if !granted.contains(&me) {
                granted.push(me);
            }
            self.count_votes(now, out);
        }
    }

    pub(super) fn on_pre_vote(&mut self, now: Instant, from: NodeId, term: Term, last: Position, out: &mut Effects) {
        let grants = term > self.term && self.accepts_log(last) && !self.has_promised(now);
        let reply = if grants {
            Message::PreVoteReply { term, answer: Answer::Granted }
        } else {
            Message::PreVoteReply { term: self.term, answer: Answer::Refused }
        };
        self.send(from, reply, out);
    }

    pub(super) fn on_pre_vote_reply(
        &mut self,
        now: Instant,
        from: NodeId,
        term: Term,
        answer: Answer,
        out: &mut Effects,
    ) {
        if answer == Answer::Refused {
            return self.learn_term(now, term, out);
        }
        let wanted = Term(self.term.0 + 1);
        let Role::PreCandidate { granted } = &mut self.role else { return };
        if term != wanted || granted.contains(&from) {
            return;
        }
        granted.push(from);
        let granted = granted.clone();
        if self.membership().is_quorum(|node| granted.contains(&node)) {
            self.campaign(Why::Silence, out);
        }
    }

    pub(super) fn on_vote(
        &mut self,
        now: Instant,
        from: NodeId,
        term: Term,
        last: Position,
        why: Why,
        out: &mut Effects,
    ) {
        let bound = match why {
            Why::Silence => self.has_promised(now),
            // The leader holds no lease any more; one of a former life may be another's.
            Why::Transfer => now < self.quarantined_until,
        };
        if term < self.term || bound {
            let reply = Message::VoteReply { term: self.term, answer: Answer::Refused };
            return self.send(from, reply, out);
        }
        let before = (self.term, self.vote);
        if term > self.term {
            self.become_follower(now, term, None);
        }
        let grants = self.vote.is_none_or(|to| to == from) && self.accepts_log(last) && !self.leads();
        let reply = if grants {
            self.vote = Some(from);
            self.await_leader(now);
            Message::VoteReply { term, answer: Answer::Granted }
        } else {
            Message::VoteReply { term, answer: Answer::Refused }
        };
        if (self.term, self.vote) == before {
            self.send(from, reply, out);
        } else {
            self.persist(vec![(from, reply)], out);
        }
    }

    pub(super) fn on_vote_reply(&mut self, now: Instant, from: NodeId, term: Term, answer: Answer, out: &mut Effects) {
        self.learn_term(now, term, out);
        if term != self.term || answer == Answer::Refused {
            return;
        }
        if let Role::Candidate { granted } = &mut self.role
            && !granted.contains(&from)
        {
            granted.push(from);
            self.count_votes(now, out);
        }
    }

    /// A transferring leader asks for a campaign.
    pub(super) fn on_timeout_now(&mut self, from: NodeId, term: Term, out: &mut Effects) {
        if term == self.term && self.leader == Some(from) && self.may_campaign() && !self.leads() {
            self.campaign(Why::Transfer, out);
        }
    }

    /// Follows the leader of `term`, if that is not over; true if it does.
    pub(super) fn follow(&mut self, now: Instant, from: NodeId, term: Term, out: &mut Effects) -> bool {
        if term < self.term {
            // Its sender learns that its term is over.
            let reply = Message::HeartbeatReply { term: self.term, probe: 0, matched: Index(0) };
            self.send(from, reply, out);
            return false;
        }
        assert!(!(term == self.term && self.leads()), "a term has one leader");
        if term > self.term {
            self.become_follower(now, term, Some(from));
            self.persist(Vec::new(), out);
        } else if self.leader != Some(from) {
            self.become_follower(now, term, Some(from));
        }
        self.heard_at = Some(now);
        self.await_leader(now);
        true
    }

    /// A later term than its own: whoever led is deposed.
    pub(super) fn learn_term(&mut self, now: Instant, term: Term, out: &mut Effects) {
        if term > self.term {
            self.become_follower(now, term, None);
            self.persist(Vec::new(), out);
        }
    }

    /// Follows `leader` in `term`, or nobody yet. A new term must be persisted by the caller.
    pub(super) fn become_follower(&mut self, now: Instant, term: Term, leader: Option<NodeId>) {
        self.turned.deposed |= self.leads();
        if term > self.term {
            (self.term, self.vote) = (term, None);
            // What it promised the former leader stays promised: `heard_at` is of any term.
            self.verified = Index(0);
        }
        (self.role, self.leader) = (Role::Follower, leader);
        self.await_leader(now);
    }

    /// From now on so long without a leader lets this replica campaign.
    pub(super) fn await_leader(&mut self, now: Instant) {
        let chance = self.rng.below(self.tuning.election_spread_ms + 1);
        self.campaign_at = now.plus_ms(self.tuning.election_ms + chance).max(self.quarantined_until);
    }

    /// Everyone with a vote but this replica.
    pub(super) fn other_voters(&self) -> Vec<NodeId> {
        self.membership().voters().filter(|node| *node != self.me).collect()
    }

    fn accepts_log(&self, last: Position) -> bool {
        last.is_up_to_date_with(self.log.last()) || mutation::on(Mutation::VoteForOlderLog)
    }

    /// True while a leader may rely on this replica not voting for another.
    fn has_promised(&self, now: Instant) -> bool {
        let heard = self.heard_at.is_some_and(|at| now < at.plus_ms(self.tuning.election_ms));
        now < self.quarantined_until || heard || self.leads()
    }

    fn count_votes(&mut self, now: Instant, out: &mut Effects) {
        let Role::Candidate { granted } = &self.role else { return };
        if self.membership().is_quorum(|node| granted.contains(&node)) && granted.contains(&self.me) {
            let (last, peers) = (self.log.last().index, self.other_members());
            self.role = Role::Leader(Box::new(Leader::new(last, peers, now, self.tuning)));
            self.leader = None;
            self.turned.elected = true;
            self.beat(now, out);
        }
    }
}
