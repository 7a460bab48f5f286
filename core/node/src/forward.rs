//! Work for a shard that another node leads, or that nobody leads for now.
//!
//! It waits in order until a leader is known, goes there, and is answered from there. A node that doesn't lead when an ask comes has
//! refused all later ones of that term, so they come back together and in order. One that led, and gives back what stood in line with a script,
//! may have done what came later from other clients: so only this ask comes back, and its client's later ones. What became of a write whose leader's
//! link broke is not known: its client is told so. A read of that kind is asked again, and so is what goes under an id.

use crate::outbox::{Now, Outbox};
use crate::peer::{Asker, PeerMessage, Work};
use crate::replica::{Origin, Replica, Waiter};
use base::{Instant, NodeId, Term};
use data::{Refused, Reply};
use std::collections::VecDeque;

/// Work that this node doesn't do itself.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// No leader is known, or it has just refused.
    parked: VecDeque<Parked>,
    /// Sent to a leader and not answered, oldest first.
    sent: VecDeque<Sent>,
    /// The leader that has refused last, or whose link broke: nothing more goes to it in that term.
    refused: Option<(NodeId, Term)>,
}

#[derive(Debug)]
struct Parked {
    waiter: Waiter,
    work: Work,
    since: Instant,
}

#[derive(Debug)]
struct Sent {
    to: NodeId,
    term: Term,
    parked: Parked,
}

/// Work waits for a leader, and for its answer, so long.
pub(crate) const PATIENCE_MS: u64 = 5_000;
/// And so long in all for the answer of one that has a successor: it may be cut off with no link broken, and nobody else
/// will answer.
const SUPERSEDED_PATIENCE_MS: u64 = 600;

impl Elsewhere {
    /// Parks an ask again that `to` has refused in a term, with the later ones of its client or of everyone. False if nothing was
    /// known of it.
    fn take_back(&mut self, to: (NodeId, Term), asked_by: Asker, also_later: bool) -> bool {
        let of = |one: &Sent| (one.to, one.term) == to;
        let client = |one: &Sent| (one.parked.waiter.origin, one.parked.waiter.client);
        let first = self.sent.iter().position(|one| of(one) && asker(one.parked.waiter) == asked_by);
        let Some(at) = first else { return false };
        let asked_by = client(&self.sent[at]);
        let comes_back = |one: &Sent| of(one) && (also_later || client(one) == asked_by);
        // A leader gives back all that it holds, one by one and oldest first: mostly there is one ask, near the front.
        let mut refused: Vec<Parked> = self.sent.remove(at).map(|one| one.parked).into_iter().collect();
        if self.sent.range(at..).any(comes_back) {
            for one in self.sent.split_off(at) {
                if comes_back(&one) { refused.push(one.parked) } else { self.sent.push_back(one) }
            }
        }
        refused.into_iter().rev().for_each(|parked| self.parked.push_front(parked));
        true
    }
}

impl Replica {
    /// Takes work that another node must do.
    pub(crate) fn defer(&mut self, now: Now, waiter: Waiter, work: Work, out: &mut Outbox) {
        self.elsewhere.parked.push_back(Parked { waiter, work, since: now.boot });
        self.send_parked(now, out);
    }

    /// Sends what waits to the leader, if another node leads.
    pub(crate) fn send_parked(&mut self, now: Now, out: &mut Outbox) {
        let (Some(leader), term) = (self.group.leader(), self.group.term()) else { return };
        if self.group.leads() || self.elsewhere.refused == Some((leader, term)) {
            return;
        }
        for parked in self.elsewhere.parked.drain(..) {
            let (shard, asker, work) = (self.shard, asker(parked.waiter), parked.work.clone());
            out.peers.push((leader, PeerMessage::Ask { shard, term, asker, work }));
            self.elsewhere.sent.push_back(Sent { to: leader, term, parked });
        }
        // Behind what their clients have asked before.
        self.send_waiting(now, leader, term, out);
    }

    /// What waits for a leader, now that this node leads.
    pub(crate) fn take_parked(&mut self) -> Vec<(Waiter, Work)> {
        self.elsewhere.parked.drain(..).map(|parked| (parked.waiter, parked.work)).collect()
    }

    /// Whom an answer is for, unless that was given up.
    pub(crate) fn on_answer(&mut self, from: NodeId, asked_by: Asker) -> Option<Waiter> {
        if let Some(waiter) = self.on_wait_answer(from, asked_by) {
            return Some(waiter);
        }
        let of = |sent: &Sent| sent.to == from && asker(sent.parked.waiter) == asked_by;
        let at = self.elsewhere.sent.iter().position(of)?;
        self.elsewhere.sent.remove(at).map(|sent| sent.parked.waiter)
    }

    /// A node refused an ask of a term, and with it all later ones of its client, or of everyone.
    pub(crate) fn on_not_leader(
        &mut self,
        now: Now,
        from: NodeId,
        (asked_by, term): (Asker, Term),
        also_later: bool,
        out: &mut Outbox,
    ) {
        let about_a_wait = self.on_wait_refused(now, from, asked_by, term);
        if about_a_wait || self.elsewhere.take_back((from, term), asked_by, also_later) {
            self.elsewhere.refused = Some((from, term));
            self.send_parked(now, out);
        }
    }

    /// The link to a node broke: what it was asked may or may not have been done.
    pub(crate) fn on_link_lost(&mut self, now: Now, peer: NodeId, out: &mut Outbox) -> Vec<(Waiter, Reply)> {
        self.on_wait_link_lost(now, peer, out);
        if self.group.leader() == Some(peer) {
            self.elsewhere.refused = Some((peer, self.group.term()));
        }
        let sent = std::mem::take(&mut self.elsewhere.sent);
        let (lost, kept): (VecDeque<Sent>, VecDeque<Sent>) = sent.into_iter().partition(|sent| sent.to == peer);
        self.elsewhere.sent = kept;
        self.in_doubt_or_again(lost)
    }

    /// There is a link to a node again.
    pub(crate) fn on_link(&mut self, now: Now, peer: NodeId, out: &mut Outbox) {
        self.elsewhere.refused.take_if(|(refused, _)| *refused == peer);
        self.send_parked(now, out);
    }

    /// Gives up what has waited too long, and asks reads again whose leader has a successor.
    pub(crate) fn give_up(&mut self, now: Now, out: &mut Outbox) -> Vec<(Waiter, Reply)> {
        let mut answers = self.give_up_superseded(now.boot);
        answers.append(&mut self.give_up_waiting(now.boot));
        self.send_parked(now, out);
        let late = |parked: &Parked| now.boot >= parked.since.plus_ms(PATIENCE_MS);
        while let Some(sent) = self.elsewhere.sent.pop_front_if(|sent| late(&sent.parked)) {
            let reply = if sent.parked.work.is_write() { indoubt() } else { no_quorum() };
            answers.push((sent.parked.waiter, reply));
        }
        while let Some(parked) = self.elsewhere.parked.pop_front_if(|parked| late(parked)) {
            answers.push((parked.waiter, no_quorum()));
        }
        answers
    }

    fn give_up_superseded(&mut self, now: Instant) -> Vec<(Waiter, Reply)> {
        let (term, led) = (self.group.term(), self.group.leader().is_some());
        let superseded =
            |sent: &Sent| led && sent.term < term && now >= sent.parked.since.plus_ms(SUPERSEDED_PATIENCE_MS);
        if !self.elsewhere.sent.iter().any(superseded) {
            return Vec::new();
        }
        let (gone, kept): (VecDeque<Sent>, VecDeque<Sent>) =
            std::mem::take(&mut self.elsewhere.sent).into_iter().partition(superseded);
        self.elsewhere.sent = kept;
        self.in_doubt_or_again(gone)
    }

    /// The writes among what was sent in vain are in doubt; reads, and what goes under an id, wait for a leader again.
    fn in_doubt_or_again(&mut self, gone: VecDeque<Sent>) -> Vec<(Waiter, Reply)> {
        let mut answers = Vec::new();
        for Sent { parked, .. } in gone.into_iter().rev() {
            if parked.work.may_be_asked_again() {
                self.elsewhere.parked.push_front(parked);
            } else {
                answers.push((parked.waiter, indoubt()));
            }
        }
        answers.reverse();
        answers
    }
}

/// The outcome of a write is not known.
pub(crate) fn indoubt() -> Reply {
    refusal(
        "INDOUBT the leader of this shard was lost before it answered; the command may have taken effect or may yet; \
         read to find out before sending it again",
    )
}

/// A write had no effect since its leader was deposed.
pub(crate) fn try_again() -> Reply {
    refusal(
        "TRYAGAIN the leader of this shard changed before the command was agreed on; nothing was changed; send it again",
    )
}

pub(crate) fn no_quorum() -> Reply {
    refusal(
        "NOQUORUM no leader of this shard was found in time: fewer than a majority of its nodes can be reached; nothing was \
         changed; see `tidegate status`, and send it again",
    )
}

fn refusal(text: &str) -> Reply {
    Reply::Error(Refused::Text(text.to_owned()))
}

/// How a waiter of this node is called on another.
fn asker(waiter: Waiter) -> Asker {
    let Origin::Lane(lane) = waiter.origin else { unreachable!("what comes from another node is not sent on") };
    Asker { lane, client: waiter.client, seq: waiter.seq, part: waiter.part }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{Part, waiter};
    use base::{ClientId, LaneId};

    const LEADER: (NodeId, Term) = (NodeId(2), Term(7));

    fn parked(client: u64, seq: u64) -> Parked {
        let args = vec![b"incr".to_vec(), b"n".to_vec()];
        let command = data::command::find(b"incr").expect("it is in the table");
        let work = Work::Command { joins: false, queued: data::batch::Queued { db: 0, command, args } };
        let waiter = waiter(Origin::Lane(LaneId(0)), ClientId(client), seq, Part::No);
        Parked { waiter, work, since: Instant(0) }
    }

    fn asks(of: &[(u64, u64)]) -> Elsewhere {
        let (to, term) = LEADER;
        let sent = of.iter().map(|(client, seq)| Sent { to, term, parked: parked(*client, *seq) }).collect();
        Elsewhere { sent, ..Elsewhere::default() }
    }

    fn who<'a>(parked: impl Iterator<Item = &'a Parked>) -> Vec<(u64, u64)> {
        parked.map(|one| (one.waiter.client.0, one.waiter.seq)).collect()
    }

    #[test]
    fn what_a_leader_gives_back_says_nothing_of_others() {
        // A script of client 1 was run apart while the call of client 2 behind it was logged: only the script comes back.
        let mut elsewhere = asks(&[(3, 1), (1, 1), (2, 1), (1, 2)]);
        assert!(elsewhere.take_back(LEADER, asker(parked(1, 1).waiter), false));
        assert_eq!(who(elsewhere.parked.iter()), [(1, 1), (1, 2)]);
        assert_eq!(who(elsewhere.sent.iter().map(|one| &one.parked)), [(3, 1), (2, 1)]);
    }

    #[test]
    fn who_does_not_lead_has_refused_all_that_came_later() {
        let mut elsewhere = asks(&[(3, 1), (1, 1), (2, 1), (1, 2)]);
        assert!(elsewhere.take_back(LEADER, asker(parked(1, 1).waiter), true));
        assert_eq!(who(elsewhere.parked.iter()), [(1, 1), (2, 1), (1, 2)]);
        assert_eq!(who(elsewhere.sent.iter().map(|one| &one.parked)), [(3, 1)]);
        assert!(!elsewhere.take_back(LEADER, asker(parked(2, 1).waiter), true), "it came back already");
        let of_another_term = (LEADER.0, Term(6));
        assert!(!elsewhere.take_back(of_another_term, asker(parked(3, 1).waiter), true));
    }
}
