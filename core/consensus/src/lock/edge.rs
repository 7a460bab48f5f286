//! The edge: takes clients' requests, brings each to its name's home, and brings the answer back.
//!
//! A home with requests of ours is asked whether it is there; one that is silent for a while is passed over until it is heard, and
//! what it has is asked of the next home too. The same request at two homes is done once: an acquisition by its id, a renewal
//! and a release by their token. A second grant, or one that comes when its client is gone, is given back.

use super::command::{Command, Outcome};
use super::outbox::{Event, Outbox, Waiter};
use super::shared::{NOBODY, Shared};
use crate::register::{Asker, Message};
use base::mutation::{self, Mutation};
use base::{Instant, NodeId};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A client's request that isn't answered yet.
#[derive(Clone, Debug, Hash)]
struct Pending {
    /// None if the client is gone.
    waiter: Option<Waiter>,
    name: Bytes,
    command: Command,
    /// Homes that may still answer, and those of them that have said that they have it.
    asked: Vec<NodeId>,
    queued: Vec<NodeId>,
    /// More than one home had it: it may take effect at another than the one that answers.
    twice: bool,
    gives_up: Instant,
    /// When it is sent again to the homes that have said nothing to it, and after how long then.
    again: Option<(Instant, u64)>,
    /// It was sent again so often, to a home that may have answered before.
    resent: u32,
}

/// A home as its requests see it.
#[derive(Clone, Debug, Default, Hash)]
struct Peer {
    outstanding: BTreeSet<u64>,
    /// When it is asked whether it is there.
    ping_at: Option<Instant>,
    /// Since when an answer is owed.
    silent_since: Option<Instant>,
    suspect: bool,
}

#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Edge {
    next: u64,
    pending: BTreeMap<u64, Pending>,
    peers: BTreeMap<NodeId, Peer>,
    /// When requests at other nodes are given up.
    ends: BTreeSet<(Instant, u64)>,
    /// When requests at other nodes are sent again.
    agains: BTreeSet<(Instant, u64)>,
    /// The last requests that were at other nodes, with the tokens that their clients were given.
    told: BTreeMap<u64, Option<u64>>,
    told_order: VecDeque<u64>,
}

/// What is to be done at this node's own homes.
#[derive(Debug)]
pub(crate) enum Here {
    Admit(Asker, Bytes, Command),
    Cancel(Asker, Bytes),
}

const TOLD_COUNT_MAX: usize = 16 * 1024;
/// How much longer than its home the edge waits for an answer.
const GRACE_MS: u64 = 500;
/// The longest time between two sendings of a request that its home has said nothing to.
const AGAIN_MS_MAX: u64 = 800;

impl Edge {
    /// A client's request: its number, by which it may be cancelled.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        waiter: Waiter,
        (name, mut command): (Bytes, Command),
        shared: &Shared,
        out: &mut Outbox,
    ) -> (u64, Option<Here>) {
        self.next += 1;
        let number = self.next;
        let mut wait_ms = 0;
        if let Command::Acquire(acquire) = &mut command {
            wait_ms = acquire.wait_ms;
            if acquire.id.is_empty() {
                acquire.id = made_up_id(shared, number);
            }
        }
        let gives_up = now.plus_ms(wait_ms + shared.tuning.patience_ms + GRACE_MS);
        let waiter = Some(waiter);
        let pending = Pending {
            waiter,
            name,
            command,
            asked: Vec::new(),
            queued: Vec::new(),
            twice: false,
            gives_up,
            again: None,
            resent: 0,
        };
        self.pending.insert(number, pending);
        (number, self.pass_on(now, number, shared, out))
    }

    /// Gives a request to the best home that doesn't have it.
    fn pass_on(&mut self, now: Instant, number: u64, shared: &Shared, out: &mut Outbox) -> Option<Here> {
        let pending = self.pending.get_mut(&number)?;
        let free = |node: &NodeId| !pending.asked.contains(node) && !shared.lost.contains(node);
        let well = |node: &NodeId| self.peers.get(node).is_none_or(|peer| !peer.suspect);
        let homes = || shared.view.homes(&pending.name).filter(free);
        let first = homes().find(well);
        let to = if pending.asked.is_empty() { first.or_else(|| homes().next()) } else { first };
        let Some(to) = to else {
            if pending.asked.is_empty() {
                self.ends.insert((pending.gives_up, number));
            }
            return None;
        };
        if !pending.asked.is_empty() {
            out.events.push(Event::Hedged);
            pending.twice = true;
        }
        pending.asked.push(to);
        let asker = Asker { node: shared.me, incarnation: shared.incarnation, number };
        let (name, command) = (pending.name.clone(), pending.command_now(now, shared));
        if to == shared.me {
            return Some(Here::Admit(asker, name, command));
        }
        self.ends.insert((pending.gives_up, number));
        set_again(&mut self.agains, pending, number, Some((now, shared.tuning.resend_ms)));
        let peer = self.peers.entry(to).or_default();
        peer.outstanding.insert(number);
        if peer.ping_at.is_none() {
            peer.ping_at = Some(now.plus_ms(shared.tuning.hedge_ms / 2));
        }
        shared.send(to, Message::Ask { asker, name, command }, out);
        None
    }

    /// A home's answer.
    pub(crate) fn on_answer(
        &mut self,
        from: NodeId,
        asker: Asker,
        (name, outcome): (Bytes, Outcome),
        shared: &Shared,
        out: &mut Outbox,
    ) -> Vec<Here> {
        if (asker.node, asker.incarnation) != (shared.me, shared.incarnation) || asker.number == NOBODY {
            return Vec::new();
        }
        let number = asker.number;
        self.let_go(number, from);
        let Some(pending) = self.pending.get_mut(&number) else {
            return self.on_late(number, from, (name, outcome), shared, out);
        };
        pending.forget(from);
        let vague = matches!(outcome, Outcome::NoQuorum | Outcome::Overloaded | Outcome::Unknown);
        if vague && !pending.asked.is_empty() {
            pending.twice = true;
            return Vec::new();
        }
        let releases = matches!(pending.command, Command::Release { .. });
        let twice = pending.twice || pending.resent > 0;
        let outcome = match outcome {
            Outcome::NoQuorum | Outcome::Overloaded if twice => Outcome::Unknown,
            // The other home may have released it, or this one, when it was asked first.
            Outcome::Lost if twice && releases => Outcome::Unknown,
            other => other,
        };
        self.finish(asker, outcome, (from, shared), out)
    }

    /// Tells the client, and whoever still has the request.
    fn finish(
        &mut self,
        asker: Asker,
        outcome: Outcome,
        (from, shared): (NodeId, &Shared),
        out: &mut Outbox,
    ) -> Vec<Here> {
        let number = asker.number;
        let Some(mut pending) = self.pending.remove(&number) else { return Vec::new() };
        self.ends.remove(&(pending.gives_up, number));
        set_again(&mut self.agains, &mut pending, number, None);
        let mut here = Vec::new();
        for node in pending.asked {
            self.let_go(number, node);
            let name = pending.name.clone();
            if node == shared.me {
                here.push(Here::Cancel(asker, name));
            } else {
                shared.send(node, Message::Cancel { asker, name }, out);
            }
        }
        let elsewhere = from != shared.me || pending.twice;
        let token = if let Outcome::Granted { token, .. } = outcome { Some(token) } else { None };
        match (pending.waiter, pending.command, token) {
            (Some(waiter), Command::Acquire(_), _) => {
                if elsewhere {
                    self.remember(number, token);
                }
                out.replies.push((waiter, outcome));
            }
            (Some(waiter), _, _) => out.replies.push((waiter, outcome)),
            (None, Command::Acquire(acquire), Some(token)) => {
                self.remember(number, None);
                // With an id of its own the client may have asked at another node too, and use the grant. Of one that was made up here nobody
                // else knows, however often it was asked for. What was held before is held still.
                let again = acquire.token.is_some() && !mutation::on(Mutation::ReentryReleased);
                let command = match acquire.id == made_up_id(shared, number) {
                    _ if again => None,
                    true => Some(Command::Release { owner: acquire.owner, token }),
                    false => Some(Command::GiveBack { token }),
                };
                let back = command.and_then(|command| give_back(from, pending.name, command, shared, out));
                here.extend(back);
            }
            (None, ..) => {}
        }
        here
    }

    fn remember(&mut self, number: u64, token: Option<u64>) {
        self.told.insert(number, token);
        self.told_order.push_back(number);
        if self.told_order.len() > TOLD_COUNT_MAX
            && let Some(oldest) = self.told_order.pop_front()
        {
            self.told.remove(&oldest);
        }
    }

    /// An answer to what was answered before: a grant of another token is given back.
    fn on_late(
        &mut self,
        number: u64,
        from: NodeId,
        (name, outcome): (Bytes, Outcome),
        shared: &Shared,
        out: &mut Outbox,
    ) -> Vec<Here> {
        let Outcome::Granted { token, .. } = outcome else { return Vec::new() };
        match self.told.get(&number) {
            Some(told) if *told != Some(token) => {
                give_back(from, name, Command::GiveBack { token }, shared, out).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// A home has the request: it was not lost.
    pub(crate) fn on_queued(&mut self, from: NodeId, asker: Asker, shared: &Shared) {
        if (asker.node, asker.incarnation) != (shared.me, shared.incarnation) {
            return;
        }
        let Some(pending) = self.pending.get_mut(&asker.number).filter(|pending| pending.asked.contains(&from)) else {
            return;
        };
        // What was sent twice, and is there, came the first time and is not answered. Of more, the first may be, and the second be there.
        if pending.resent == 1 && pending.asked == [from] {
            pending.resent = 0;
        }
        if !pending.queued.contains(&from) {
            pending.queued.push(from);
        }
        if pending.silent(shared.me).next().is_none() {
            set_again(&mut self.agains, pending, asker.number, None);
        }
    }

    /// Sends again what homes have said nothing to: a node that begins, or whose link has too much to send, doesn't hear all it is asked,
    /// and answers pings all the same.
    fn ask_again(&mut self, now: Instant, shared: &Shared, out: &mut Outbox) {
        while let Some((at, number)) = self.agains.first().copied().filter(|(at, _)| *at <= now) {
            self.agains.remove(&(at, number));
            let Some(pending) = self.pending.get_mut(&number) else { continue };
            if pending.silent(shared.me).next().is_none() {
                pending.again = None;
                continue;
            }
            let wait_ms = pending.again.map_or(shared.tuning.resend_ms, |(_, wait_ms)| wait_ms * 2);
            set_again(&mut self.agains, pending, number, Some((now, wait_ms.min(AGAIN_MS_MAX))));
            pending.resent += 1;
            let asker = Asker { node: shared.me, incarnation: shared.incarnation, number };
            for to in pending.silent(shared.me) {
                let (name, command) = (pending.name.clone(), pending.command_now(now, shared));
                shared.send(to, Message::Ask { asker, name, command }, out);
            }
        }
    }

    fn let_go(&mut self, number: u64, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.outstanding.remove(&number);
        }
    }

    /// A client is gone.
    pub(crate) fn on_gone(&mut self, number: u64, shared: &Shared, out: &mut Outbox) -> Vec<Here> {
        let Some(pending) = self.pending.get_mut(&number) else { return Vec::new() };
        pending.waiter = None;
        let asker = Asker { node: shared.me, incarnation: shared.incarnation, number };
        let (name, asked) = (pending.name.clone(), pending.asked.clone());
        if asked.contains(&shared.me) {
            // Its home drops it, or gives back what comes of it, and answers no more.
            set_again(&mut self.agains, pending, number, None);
            let grants = matches!(&pending.command, Command::Acquire(acquire) if acquire.token.is_none());
            self.pending.remove(&number);
            // What comes late of an acquisition is given back. Whoever asked for more of what he holds, as by raising its fence, keeps that.
            if grants || mutation::on(Mutation::ReentryReleased) {
                self.remember(number, None);
            }
        }
        let mut here = Vec::new();
        for node in asked {
            if node == shared.me {
                here.push(Here::Cancel(asker, name.clone()));
            } else {
                shared.send(node, Message::Cancel { asker, name: name.clone() }, out);
            }
        }
        here
    }

    /// Something came from a peer.
    pub(crate) fn on_heard(&mut self, now: Instant, from: NodeId, shared: &Shared) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.silent_since = None;
        peer.suspect = false;
        peer.ping_at = (!peer.outstanding.is_empty()).then(|| now.plus_ms(shared.tuning.hedge_ms / 2));
    }

    /// A link is lost: what was asked there is asked elsewhere.
    pub(crate) fn on_peer_lost(&mut self, now: Instant, lost: NodeId, shared: &Shared, out: &mut Outbox) -> Vec<Here> {
        let Some(peer) = self.peers.remove(&lost) else { return Vec::new() };
        let mut here = Vec::new();
        for number in peer.outstanding {
            if let Some(pending) = self.pending.get_mut(&number) {
                pending.forget(lost);
                pending.twice = true;
                if pending.asked.is_empty() {
                    out.events.push(Event::Hedged);
                    here.extend(self.pass_on(now, number, shared, out));
                }
            }
        }
        here
    }

    /// A link is back: what could be asked nowhere goes there.
    pub(crate) fn on_peer_up(&mut self, now: Instant, shared: &Shared, out: &mut Outbox) -> Vec<Here> {
        let stuck = self.pending.iter().filter(|(_, pending)| pending.asked.is_empty());
        let stuck: Vec<u64> = stuck.map(|(number, _)| *number).collect();
        stuck.into_iter().filter_map(|number| self.pass_on(now, number, shared, out)).collect()
    }

    /// When [`Edge::on_timer`] has something to do.
    pub(crate) fn due(&self) -> Instant {
        let pings = self.peers.values().filter_map(|peer| peer.ping_at);
        let ends = self.ends.first().map(|(at, _)| *at);
        let agains = self.agains.first().map(|(at, _)| *at);
        pings.chain(ends).chain(agains).min().unwrap_or(Instant(u64::MAX))
    }

    /// Asks who is silent whether it is there, and gives up what takes too long.
    pub(crate) fn on_timer(&mut self, now: Instant, shared: &Shared, out: &mut Outbox) -> Vec<Here> {
        let mut hedged: Vec<u64> = Vec::new();
        for (node, peer) in &mut self.peers {
            if peer.ping_at.is_none_or(|at| now < at) {
                continue;
            }
            if peer.outstanding.is_empty() && !peer.suspect {
                peer.ping_at = None;
                continue;
            }
            let since = *peer.silent_since.get_or_insert(now);
            if now >= since.plus_ms(shared.tuning.hedge_ms / 2) && !peer.suspect {
                peer.suspect = true;
                hedged.extend(&peer.outstanding);
            }
            peer.ping_at = Some(now.plus_ms(shared.tuning.hedge_ms / 2));
            shared.send(*node, Message::Ping, out);
        }
        let mut here: Vec<Here> =
            hedged.into_iter().filter_map(|number| self.pass_on(now, number, shared, out)).collect();
        self.ask_again(now, shared, out);
        while let Some((at, number)) = self.ends.first().copied().filter(|(at, _)| *at <= now) {
            self.ends.remove(&(at, number));
            if let Some(pending) = self.pending.get(&number) {
                let untold = pending.asked.is_empty() && !pending.twice && pending.resent == 0
                    || pending.command == Command::Info;
                let outcome = if untold { Outcome::NoQuorum } else { Outcome::Unknown };
                let asker = Asker { node: shared.me, incarnation: shared.incarnation, number };
                here.extend(self.finish(asker, outcome, (shared.me, shared), out));
            }
        }
        here
    }

    /// Requests that aren't answered yet.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }
}

impl Pending {
    /// Other nodes that were asked and have said nothing to it.
    fn silent(&self, me: NodeId) -> impl Iterator<Item = NodeId> {
        self.asked.iter().copied().filter(move |node| *node != me && !self.queued.contains(node))
    }

    /// A node answers it no more.
    fn forget(&mut self, node: NodeId) {
        self.asked.retain(|asked| *asked != node);
        self.queued.retain(|queued| *queued != node);
    }

    /// What a home is asked now: it waits no longer than the client does, and for nobody not at all. Then it says what it has granted, if it has,
    /// which is given back.
    fn command_now(&self, now: Instant, shared: &Shared) -> Command {
        let mut command = self.command.clone();
        if let Command::Acquire(acquire) = &mut command {
            let left_ms = self.gives_up.since_ns(now) / base::time::NS_PER_MS;
            let waits_ms = left_ms.saturating_sub(shared.tuning.patience_ms + GRACE_MS);
            acquire.wait_ms = if self.waiter.is_some() { acquire.wait_ms.min(waits_ms) } else { 0 };
        }
        command
    }
}

/// When a request is sent again: so long after now, or not at all.
fn set_again(agains: &mut BTreeSet<(Instant, u64)>, pending: &mut Pending, number: u64, next: Option<(Instant, u64)>) {
    if let Some((at, _)) = pending.again.take() {
        agains.remove(&(at, number));
    }
    if let Some((now, wait_ms)) = next {
        let at = now.plus_ms(wait_ms);
        agains.insert((at, number));
        pending.again = Some((at, wait_ms));
    }
}

/// An id that no client gives: this node's, of this life, and the request's.
fn made_up_id(shared: &Shared, number: u64) -> Bytes {
    let mut id = vec![0];
    id.extend_from_slice(&shared.me.0.to_le_bytes());
    base::codec::put_varint(&mut id, shared.incarnation);
    base::codec::put_varint(&mut id, number);
    Bytes::from(id)
}

fn give_back(home: NodeId, name: Bytes, command: Command, shared: &Shared, out: &mut Outbox) -> Option<Here> {
    out.events.push(Event::GivenBack);
    let asker = Asker { node: shared.me, incarnation: shared.incarnation, number: NOBODY };
    if home == shared.me {
        return Some(Here::Admit(asker, name, command));
    }
    shared.send(home, Message::Ask { asker, name, command }, out);
    None
}
