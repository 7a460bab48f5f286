//! What a leader does: entries to its followers, heartbeats, and the commit of what a majority holds durably.
//!
//! The leader's own log counts once it is durable, like every other. An entry commits through one of the leader's own
//! term only (Raft section 5.4.2). A leader that a quorum doesn't answer for `election_ms` steps down.

use super::change::Transfer;
use super::message::{Entry, Message, Position};
use super::progress::{Flow, Progress};
use super::{Group, Role, Tuning};
use crate::Effects;
use base::mutation::{self, Mutation};
use base::record::Payload;
use base::{Index, Instant, NodeId, Term};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Debug, Hash)]
pub(super) struct Leader {
    /// Its first own entry; before that is applied it serves no read.
    pub(super) first: Index,
    pub(super) peers: BTreeMap<NodeId, Progress>,
    pub(super) beat_at: Instant,
    /// Heartbeats are numbered; those that may still be answered, with the time of sending.
    pub(super) probe: u64,
    pub(super) probes: VecDeque<(u64, Instant)>,
    /// When the last heartbeat was sent that a quorum has answered, and its number.
    pub(super) answered: Option<(u64, Instant)>,
    pub(super) transfer: Option<Transfer>,
    /// TimeoutNow was sent: from then on others may vote in spite of their promises.
    pub(super) lease_barred: bool,
}

/// The bytes of one message's entries; one larger entry makes a larger message.
const APPEND_BYTES_MAX: usize = 1024 * 1024;
/// Heartbeats whose sending is remembered.
const PROBES_MAX: usize = 64;

impl Leader {
    pub(super) fn new(last: Index, peers: Vec<NodeId>, now: Instant, tuning: Tuning) -> Self {
        Self {
            first: last.next(),
            peers: peers.into_iter().map(|peer| (peer, Progress::new(last, now))).collect(),
            beat_at: now.next_multiple_of_ms(tuning.heartbeat_ms),
            probe: 0,
            probes: VecDeque::new(),
            answered: None,
            transfer: None,
            lease_barred: false,
        }
    }

    pub(super) fn is_stepping_back(&self) -> bool {
        self.transfer.is_some()
    }
}

impl Group {
    /// A leader's regular work.
    pub(super) fn on_beat(&mut self, now: Instant, out: &mut Effects) {
        let Tuning { heartbeat_ms, election_ms, .. } = self.tuning;
        let me = self.me;
        let Role::Leader(leader) = &mut self.role else { return };
        // Rounds for reads don't put this off: they may come all the time.
        // Those of all shards come at once: a node wakes, and sends a frame, for all of them.
        leader.beat_at = now.next_multiple_of_ms(heartbeat_ms);
        let hears =
            |node| node == me || leader.peers.get(&node).is_some_and(|peer| now < peer.heard_at.plus_ms(election_ms));
        let heard = self.members.last().expect("a group has members").1.is_quorum(hears);
        if leader.transfer.as_ref().is_some_and(|transfer| now >= transfer.until) {
            leader.transfer = None;
        }
        if heard {
            self.beat(now, out);
        } else {
            self.become_follower(now, self.term, None);
        }
    }

    /// Heartbeats to everyone.
    pub(super) fn beat(&mut self, now: Instant, out: &mut Effects) {
        let (term, commit) = (self.term, self.commit);
        let Role::Leader(leader) = &mut self.role else { return };
        leader.probe += 1;
        // One that is not remembered counts as sent when the last remembered one was.
        if leader.probes.len() < PROBES_MAX {
            leader.probes.push_back((leader.probe, now));
        }
        let probe = leader.probe;
        let told: Vec<(NodeId, Index, u64)> =
            leader.peers.iter().map(|(peer, it)| (*peer, it.matched, it.probe)).collect();
        for (peer, matched, answered) in told {
            let fresh = self.fresh_for(now, answered);
            self.send(peer, Message::Heartbeat { term, probe, commit: commit.min(matched), fresh }, out);
        }
        // Its own answer is here already; the only voter needs no other.
        self.on_answers(now);
    }

    /// Appends an entry of its own, and sends it to whoever can take it.
    pub(super) fn append_own(&mut self, now: Instant, payload: Payload, out: &mut Effects) -> Index {
        let members_change = matches!(payload, Payload::Members(_));
        let index = self.append(Entry { term: self.term, payload }, out);
        if members_change {
            self.follow_membership(now);
        }
        self.send_entries(out);
        index
    }

    /// Sends what can be sent to everyone.
    pub(super) fn send_entries(&mut self, out: &mut Effects) {
        let Role::Leader(leader) = &self.role else { return };
        for peer in leader.peers.keys().copied().collect::<Vec<_>>() {
            self.send_entries_to(peer, out);
        }
    }

    fn send_entries_to(&mut self, to: NodeId, out: &mut Effects) {
        let (last, base, term, shard, commit) =
            (self.log.last().index, self.log.base(), self.term, self.shard, self.commit);
        loop {
            let Role::Leader(leader) = &mut self.role else { return };
            let probe = leader.probe;
            let Some(peer) = leader.peers.get_mut(&to).filter(|peer| peer.may_send()) else { return };
            let probing = matches!(peer.flow, Flow::Probe { .. });
            if peer.next > last && !probing {
                return;
            }
            if peer.next <= base.index {
                peer.flow = Flow::Snapshot;
                return out.lagging.push((shard, to));
            }
            let before = Index(peer.next.0 - 1);
            let prev = Position { index: before, term: self.log.term_at(before).expect("it is not before the base") };
            let entries = self.log.slice(peer.next, APPEND_BYTES_MAX);
            let bytes = entries.iter().map(Entry::bytes).sum();
            peer.on_sent(Index(before.0 + entries.len() as u64), bytes, probe);
            self.send(to, Message::Append { term, prev, entries, commit }, out);
        }
    }

    /// True if this replica leads in `term`, the one a reply speaks of; a later one deposes it.
    pub(super) fn leads_in(&mut self, now: Instant, term: Term, out: &mut Effects) -> bool {
        self.learn_term(now, term, out);
        term == self.term && self.leads()
    }

    pub(super) fn on_append_reply(&mut self, now: Instant, from: NodeId, matched: Index, out: &mut Effects) {
        let last = self.log.last().index;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peers.get_mut(&from) else { return };
        assert!(matched <= last, "a follower of this term has nothing that its leader lacks");
        peer.heard_at = now;
        if peer.on_matched(matched) {
            self.leave_snapshot(from);
            self.advance_commit(now, out);
        }
        self.send_entries_to(from, out);
        self.go_on_with_transfer(out);
    }

    pub(super) fn on_append_rejected(
        &mut self,
        now: Instant,
        from: NodeId,
        asked: Index,
        hint: Position,
        out: &mut Effects,
    ) {
        let meets = self.log.last_with_at_most(hint);
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peers.get_mut(&from) else { return };
        peer.heard_at = now;
        if peer.on_rejected(asked, meets.index.min(Index(asked.0 - 1)).next()) {
            self.send_entries_to(from, out);
        }
    }

    pub(super) fn on_heartbeat_reply(
        &mut self,
        now: Instant,
        from: NodeId,
        probe: u64,
        matched: Index,
        out: &mut Effects,
    ) {
        let shard = self.shard;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.peers.get_mut(&from) else { return };
        peer.heard_at = now;
        peer.probe = peer.probe.max(probe);
        let news = peer.matched < matched && peer.on_matched(matched);
        peer.on_heartbeat_answered(probe, matched);
        if news {
            self.advance_commit(now, out);
        }
        if !self.leave_snapshot(from) {
            out.lagging.push((shard, from));
        }
        self.on_answers(now);
        self.send_entries_to(from, out);
        self.go_on_with_transfer(out);
    }

    /// A peer that got its snapshot gets entries again; false if it still waits for one.
    fn leave_snapshot(&mut self, of: NodeId) -> bool {
        let base = self.log.base().index;
        let Role::Leader(leader) = &mut self.role else { return true };
        let Some(peer) = leader.peers.get_mut(&of) else { return true };
        if matches!(peer.flow, Flow::Snapshot) {
            if peer.matched < base {
                return false;
            }
            peer.probe_from(peer.matched.next());
        }
        true
    }

    /// Commits what a majority holds durably, through an entry of this term.
    pub(super) fn advance_commit(&mut self, now: Instant, out: &mut Effects) {
        let Role::Leader(leader) = &self.role else { return };
        let held = |node: NodeId| {
            if node == self.me { self.durable.0 } else { leader.peers.get(&node).map_or(0, |peer| peer.matched.0) }
        };
        let mut agreed = Index(self.membership().agreed(held));
        if mutation::on(Mutation::CommitWithoutQuorum) {
            agreed = Index(self.membership().voters().map(held).max().unwrap_or(0));
        }
        let own = self.log.term_at(agreed) == Some(self.term) || mutation::on(Mutation::CommitOldTermDirectly);
        if agreed <= self.commit || !own {
            return;
        }
        self.commit = agreed;
        self.on_membership_committed(now, out);
    }

    /// Everyone else in the group, learners too.
    pub(super) fn other_members(&self) -> Vec<NodeId> {
        self.membership().members().filter(|node| *node != self.me).collect()
    }
}
