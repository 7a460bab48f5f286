//! Members come and go by joint consensus, and leaders hand over.
//!
//! A membership counts from the moment it is in the log. A change of voters goes through a joint membership, which the
//! leader leaves by a second entry once the first has committed; another change waits until then. A learner is promoted
//! only when it lacks few entries, or the group might wait for it.

use super::message::Message;
use super::progress::{Flow, Progress};
use super::{Group, Role};
use crate::Effects;
use base::mutation::{self, Mutation};
use base::record::Payload;
use base::{Index, Instant, NodeId, Term};

pub use super::membership::{Change, ChangeRefused};

/// A leader steps back for another member.
#[derive(Clone, Debug, Hash)]
pub(super) struct Transfer {
    pub(super) to: NodeId,
    pub(super) until: Instant,
    pub(super) told: bool,
}

/// A learner may lack so many entries when it is promoted.
const LAG_COUNT_MAX: u64 = 1000;

/// One that has not answered yet may hold anything, or be down.
fn lags(matched: u64, last: u64) -> bool {
    matched + LAG_COUNT_MAX < last || matched == 0
}

/// A voter may lack so many entries when it is asked to take over: they are on their way to it.
const HEIR_LAG_COUNT_MAX: u64 = 100;

impl Group {
    /// Begins a change of members; complete when [`Group::membership`] is neither joint nor of an uncommitted entry.
    pub fn change(&mut self, now: Instant, changes: &[Change], out: &mut Effects) -> Result<Index, ChangeRefused> {
        let Role::Leader(leader) = &self.role else { return Err(ChangeRefused::NotLeader) };
        if leader.is_stepping_back() || self.commit < leader.first {
            return Err(ChangeRefused::NotLeader);
        }
        let (since, membership) = self.members.last().expect("a group has members");
        if *since > self.commit && !mutation::on(Mutation::SecondChangeUnwaited) {
            return Err(ChangeRefused::Unfinished);
        }
        let last = self.log.last().index.0;
        for change in changes {
            if let Change::Promote(node) = change
                && leader.peers.get(node).is_some_and(|peer| lags(peer.matched.0, last))
            {
                return Err(ChangeRefused::Lagging(*node));
            }
        }
        let mut next = if mutation::on(Mutation::SecondChangeUnwaited) {
            membership.settled().changed(changes)?
        } else {
            membership.changed(changes)?
        };
        if mutation::on(Mutation::ChangeWithoutJoint) {
            next = next.settled();
        }
        Ok(self.append_own(now, Payload::Members(next.encode()), out))
    }

    /// True until the last change of members is complete.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        let (since, membership) = self.members.last().expect("a group has members");
        *since > self.commit || membership.is_joint()
    }

    /// Steps back for `to`, a voter: it campaigns once it holds the whole log. False if that makes no sense.
    pub fn transfer(&mut self, now: Instant, to: NodeId, out: &mut Effects) -> bool {
        let (until, votes) = (now.plus_ms(self.tuning.election_ms), self.membership().is_voter(to));
        let Role::Leader(leader) = &mut self.role else { return false };
        if to == self.me || !votes || leader.is_stepping_back() {
            return false;
        }
        leader.transfer = Some(Transfer { to, until, told: false });
        self.go_on_with_transfer(out);
        true
    }

    /// True if `node` could take over at once, as far as this leader knows: it votes, was heard lately, and lacks little.
    #[must_use]
    pub fn could_lead(&self, now: Instant, node: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let last = self.log.last().index;
        let fit = |peer: &Progress| {
            let heard = now < peer.heard_at.plus_ms(self.tuning.heartbeat_ms * 3);
            heard && matches!(peer.flow, Flow::Stream { .. }) && peer.matched.0 + HEIR_LAG_COUNT_MAX >= last.0
        };
        self.membership().is_voter(node) && !self.is_changing() && leader.peers.get(&node).is_some_and(fit)
    }

    /// Who could take over best: of those who could, the one that lacks the least.
    #[must_use]
    pub fn heir(&self, now: Instant) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else { return None };
        let fit = leader.peers.iter().filter(|(node, _)| self.could_lead(now, **node));
        fit.max_by_key(|(_, peer)| peer.matched).map(|(node, _)| *node)
    }

    /// Lets others campaign first, if nobody leads yet.
    pub fn put_off_campaign(&mut self, ms: u64) {
        if self.term == Term(0) {
            self.campaign_at = self.campaign_at.plus_ms(ms);
        }
    }

    /// From now on this replica doesn't campaign: its node is about to stop. It goes on voting, and leading until it hands over.
    pub fn retire(&mut self) {
        self.retired = true;
    }

    /// Tells the one that takes over to campaign, once it holds the whole log.
    pub(super) fn go_on_with_transfer(&mut self, out: &mut Effects) {
        let (last, term) = (self.log.last().index, self.term);
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = leader.transfer.as_mut().filter(|transfer| !transfer.told) else { return };
        if leader.peers.get(&transfer.to).is_none_or(|peer| peer.matched < last) {
            return;
        }
        transfer.told = true;
        leader.lease_barred = true;
        let to = transfer.to;
        self.send(to, Message::TimeoutNow { term }, out);
    }

    /// The members have changed: the leader keeps track of all of them, and of nobody else.
    pub(super) fn follow_membership(&mut self, now: Instant) {
        let (last, members) = (self.log.last().index, self.other_members());
        let Role::Leader(leader) = &mut self.role else { return };
        leader.peers.retain(|peer, _| members.contains(peer));
        for member in members {
            leader.peers.entry(member).or_insert_with(|| Progress::new(last, now));
        }
    }

    /// Something committed: perhaps a membership.
    pub(super) fn on_membership_committed(&mut self, now: Instant, out: &mut Effects) {
        let (since, membership) = self.members.last().expect("a group has members");
        if *since > self.commit || !self.leads() {
            return;
        }
        if membership.is_joint() {
            let settled = membership.settled();
            self.append_own(now, Payload::Members(settled.encode()), out);
        } else if !membership.is_voter(self.me) {
            self.become_follower(now, self.term, None);
        }
    }
}
