//! Linearizable reads without a log entry: under a lease, or by a round of heartbeats that all reads of a turn share.
//!
//! A lease lasts `lease_ms` from the *sending* of a heartbeat that a quorum has answered in this term: each of them
//! votes for nobody else for `election_ms` from its receiving, which is later (thesis 6.4.1). It is given up before
//! TimeoutNow is sent, for the rest of the term. Before an entry of its own term is applied a leader can't know what was
//! committed before it (thesis 6.4).

use super::{Group, Role};
use crate::Effects;
use base::mutation::{self, Mutation};
use base::{Index, Instant, NodeId, Term};

/// A round of heartbeats that will tell whether this replica led when it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    term: Term,
    probe: u64,
    /// What was committed when it was taken; it must be applied before the read.
    index: Index,
}

impl Group {
    /// True if a read may be served from the applied state at `now`, which was read after the read came.
    #[must_use]
    pub fn may_read(&self, now: Instant) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        if !self.has_settled() || self.applied.index < self.commit {
            return false;
        }
        if self.membership().is_alone(self.me) {
            return true;
        }
        let lease_ms = self.tuning.lease_ms();
        let holds = leader.answered.is_some_and(|(_, sent_at)| now < sent_at.plus_ms(lease_ms));
        holds && (!leader.lease_barred || mutation::on(Mutation::LeaseKeptInTransfer))
    }

    /// Begins a round for all reads that have come; nothing if this replica doesn't lead, or not long enough.
    pub fn begin_read(&mut self, now: Instant, out: &mut Effects) -> Option<Ticket> {
        if !self.leads() || !self.has_settled() {
            return None;
        }
        self.beat(now, out);
        let Role::Leader(leader) = &self.role else { return None };
        Some(Ticket { term: self.term, probe: leader.probe, index: self.commit })
    }

    /// True if reads of this ticket may be served from the applied state; nothing if they never will be.
    #[must_use]
    pub fn is_confirmed(&self, ticket: Ticket) -> Option<bool> {
        let Role::Leader(leader) = &self.role else { return None };
        if ticket.term != self.term {
            return None;
        }
        let answered = leader.answered.is_some_and(|(probe, _)| probe >= ticket.probe);
        let alone = self.membership().is_alone(self.me);
        Some((alone || answered) && self.applied.index >= ticket.index)
    }

    /// The answers to heartbeats have changed.
    pub(super) fn on_answers(&mut self, now: Instant) {
        let me = self.me;
        let Role::Leader(leader) = &mut self.role else { return };
        let members = &self.members.last().expect("a group has members").1;
        let answered = |node: NodeId| {
            if node == me { u64::MAX } else { leader.peers.get(&node).map_or(0, |peer| peer.probe) }
        };
        let probe = members.agreed(answered).min(leader.probe);
        let mut sent_at = leader.answered.map(|(_, sent_at)| sent_at);
        while let Some((_, at)) = leader.probes.pop_front_if(|(older, _)| *older <= probe) {
            sent_at = Some(at);
        }
        if let Some(sent_at) = sent_at
            && leader.answered.is_none_or(|(before, _)| before < probe)
        {
            let from = if mutation::on(Mutation::LeaseFromAnswer) { now } else { sent_at };
            leader.answered = Some((probe, from));
        }
    }

    /// True if this replica leads and an entry of its own term is applied: it knows what was committed before it.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        self.applied.index >= leader.first || mutation::on(Mutation::ReadBeforeOwnEntry)
    }
}
