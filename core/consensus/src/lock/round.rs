//! The rounds of a home: a read; a promise; an acceptance. Each ends when a quorum has answered, or too many have refused.

use super::command::Outcome;
use super::home::{Cached, Home};
use super::line::{Basis, Found, Plan, Verdict};
use super::outbox::{Event, Outbox};
use super::shared::Shared;
use super::value::Lock;
use crate::register::ballot::{Ballot, COUNTER_MAX};
use crate::register::{Message, Report};
use base::mutation::{self, Mutation};
use base::{Instant, NodeId};
use bytes::Bytes;
use std::sync::Arc;

/// What is under way.
#[derive(Clone, Debug, Hash)]
pub(crate) enum Round {
    Idle,
    Read(Asking<u64>),
    Prepare(Asking<Ballot>),
    Accept(Accepting),
}

/// Voters are asked what they have.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Asking<N> {
    pub(crate) number: N,
    /// Requests from this number on came after it began.
    before: u64,
    reports: Vec<(NodeId, Report)>,
    refused: Vec<NodeId>,
    patience: Patience,
}

/// Voters are asked to accept.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Accepting {
    ballot: Ballot,
    lock: Arc<Lock>,
    done: Vec<(u64, Outcome)>,
    /// Requests from this number on came after it began.
    before: u64,
    /// When those who are left over may look again, if that is known.
    soonest_ms: Option<u64>,
    accepted: Vec<NodeId>,
    refused: Vec<NodeId>,
    rounds: u8,
    stolen: u64,
    patience: Patience,
}

/// When those who haven't answered are asked again.
#[derive(Clone, Copy, Debug, Hash)]
struct Patience {
    at: Instant,
    wait_ms: u64,
    /// A quorum has answered, but one more could change what comes of it.
    lingers: bool,
}

/// The longest time between two messages to a silent voter.
const RESEND_MS_MAX: u64 = 1_000;
/// How long a quorum waits for one more answer that could change what comes of it.
const LINGER_MS: u64 = 5;

impl Round {
    /// What requests will be told if this round succeeds.
    pub(crate) fn done(&self) -> &[(u64, Outcome)] {
        if let Self::Accept(round) = self { &round.done } else { &[] }
    }

    /// When somebody is to be asked again.
    pub(crate) fn again_at(&self) -> Option<Instant> {
        match self {
            Self::Idle => None,
            Self::Read(round) => Some(round.patience.at),
            Self::Prepare(round) => Some(round.patience.at),
            Self::Accept(round) => Some(round.patience.at),
        }
    }
}

impl Patience {
    fn new(now: Instant, shared: &Shared) -> Self {
        let wait_ms = shared.tuning.resend_ms;
        Self { at: now.plus_ms(wait_ms), wait_ms, lingers: false }
    }

    fn again(&mut self, now: Instant) {
        self.wait_ms = (self.wait_ms * 2).min(RESEND_MS_MAX);
        self.at = now.plus_ms(self.wait_ms);
    }

    fn linger(&mut self, now: Instant) {
        if !self.lingers {
            self.lingers = true;
            self.at = self.at.min(now.plus_ms(LINGER_MS));
        }
    }
}

impl<N> Asking<N> {
    fn new(number: N, home: &Home, now: Instant, shared: &Shared) -> Self {
        let patience = Patience::new(now, shared);
        Self { number, before: home.line.next(), reports: Vec::new(), refused: Vec::new(), patience }
    }

    fn has(&self, node: NodeId) -> bool {
        self.reports.iter().any(|(known, _)| *known == node)
    }

    /// Voters who may still answer.
    fn missing(&self, shared: &Shared) -> usize {
        shared.reachable().filter(|node| !self.has(*node) && !self.refused.contains(node)).count()
    }

    fn is_hopeless(&self, shared: &Shared) -> bool {
        !self.refused.is_empty() && self.reports.len() + self.missing(shared) < shared.view.quorum()
    }
}

impl Home {
    /// Asks what voters have, promising nothing.
    pub(crate) fn read(&mut self, now: Instant, name: &Bytes, shared: &mut Shared, out: &mut Outbox) {
        let serial = shared.next_read();
        self.look_at = Instant(u64::MAX);
        self.poked = false;
        self.round = Round::Read(Asking::new(serial, self, now, shared));
        shared.ask_voters(&[], &Message::Read { name: name.clone(), serial }, out);
    }

    /// Asks for promises.
    pub(crate) fn prepare(&mut self, now: Instant, name: &Bytes, shared: &mut Shared, out: &mut Outbox) {
        let epoch = shared.view.epoch();
        self.cached = None;
        self.know(now, None);
        self.poked = false;
        self.highest = self.highest.max(shared.acceptor.promised(name, epoch)) + 1;
        assert!(self.highest < COUNTER_MAX, "forged ballots are refused, and no honest one comes so far");
        let ballot = Ballot { epoch, counter: self.highest, node: shared.me, incarnation: shared.incarnation };
        self.round = Round::Prepare(Asking::new(ballot, self, now, shared));
        shared.ask_voters(&[], &Message::Prepare { name: name.clone(), ballot }, out);
    }

    /// Asks voters to accept what a plan comes to.
    pub(crate) fn propose(
        &mut self,
        now: Instant,
        name: &Bytes,
        (ballot, plan): (Ballot, Plan),
        (rounds, soonest_ms): (u8, Option<u64>),
        shared: &mut Shared,
        out: &mut Outbox,
    ) {
        let Plan { mut lock, done, stolen, ahead, .. } = plan;
        for holder in lock.holders.iter_mut().filter(|holder| holder.since == Ballot::ZERO) {
            holder.since = ballot;
        }
        let lock = Arc::new(lock);
        self.line.try_out(&done);
        self.line.note_ahead(&ahead);
        self.poked = false;
        self.highest = self.highest.max(ballot.next().counter);
        let message = Message::Accept { name: name.clone(), ballot, lock: Arc::clone(&lock) };
        self.round = Round::Accept(Accepting {
            ballot,
            lock,
            done,
            before: self.line.next(),
            soonest_ms,
            accepted: Vec::new(),
            refused: Vec::new(),
            rounds,
            stolen,
            patience: Patience::new(now, shared),
        });
        shared.ask_voters(&[], &message, out);
    }

    pub(crate) fn on_read_reply(
        &mut self,
        now: Instant,
        name: &Bytes,
        from: NodeId,
        (serial, report): (u64, Report),
        shared: &mut Shared,
        out: &mut Outbox,
    ) {
        match &mut self.round {
            Round::Read(round) if round.number == serial && !round.has(from) => {
                round.reports.push((from, report));
                self.weigh_read(now, name, shared, out);
            }
            _ => {}
        }
    }

    /// Ends a read if it can be ended.
    fn weigh_read(&mut self, now: Instant, name: &Bytes, shared: &mut Shared, out: &mut Outbox) {
        let Round::Read(round) = &mut self.round else { return };
        let quorum = shared.view.quorum();
        if round.reports.len() < quorum {
            return;
        }
        let verdict = Verdict::of(&round.reports, quorum);
        let accepted = verdict.best.accepted;
        // A ballot of a former epoch that a majority reports was perhaps never chosen there.
        let of_now = accepted == Ballot::ZERO || accepted.epoch == shared.view.epoch();
        let is_chosen = verdict.count >= quorum && (of_now || mutation::on(Mutation::OldEpochCountsAsChosen));
        if !is_chosen && round.missing(shared) > 0 && !round.patience.lingers {
            return round.patience.linger(now);
        }
        let before = round.before;
        self.round = Round::Idle;
        if !is_chosen {
            return self.prepare(now, name, shared, out);
        }
        if self.cached.as_ref().is_some_and(|cached| cached.base != accepted) {
            self.cached = None;
            self.know(now, None);
        }
        let lock = verdict.lock();
        let basis = Basis { lock: &lock, expired: &[], remaining: &verdict.remaining, before, now };
        let plan = self.line.plan(basis, &mut shared.tokens);
        let steals = plan.blocked && !verdict.expired.is_empty();
        if plan.changed || steals {
            return self.prepare(now, name, shared, out);
        }
        out.events.push(Event::ReadOnly);
        self.deliver(now, name, plan.done, shared, out);
        self.queue(now, name, (before, Found::ByRound), verdict.soonest_ms(), shared, out);
        self.pump(now, name, shared, out);
    }

    pub(crate) fn on_promise(
        &mut self,
        now: Instant,
        name: &Bytes,
        from: NodeId,
        (ballot, report): (Ballot, Report),
        shared: &mut Shared,
        out: &mut Outbox,
    ) {
        match &mut self.round {
            Round::Prepare(round) if round.number == ballot && !round.has(from) => {
                round.reports.push((from, report));
                self.weigh_promises(now, name, shared, out);
            }
            _ => {}
        }
    }

    /// Goes on with a quorum's promises.
    fn weigh_promises(&mut self, now: Instant, name: &Bytes, shared: &mut Shared, out: &mut Outbox) {
        let Round::Prepare(round) = &mut self.round else { return };
        let quorum = shared.view.quorum();
        if round.reports.len() < quorum {
            return;
        }
        let verdict = Verdict::of(&round.reports, quorum);
        let lock = verdict.lock();
        let by_one = mutation::on(Mutation::StealByOneVerdict);
        let all: Vec<u64> = lock.holders.iter().map(|holder| holder.token).filter(|_| by_one).collect();
        let expired = if by_one { &all } else { &verdict.expired };
        let basis = Basis { lock: &lock, expired, remaining: &verdict.remaining, before: u64::MAX, now };
        let plan = self.line.plan(basis, &mut shared.tokens);
        // One more voter may find a holder expired whom the quickest do not.
        if plan.blocked && round.missing(shared) > 0 && !round.patience.lingers {
            return round.patience.linger(now);
        }
        let (ballot, before) = (round.number, round.before);
        let accepted = verdict.best.accepted;
        let of_now = accepted == Ballot::ZERO || accepted.epoch == shared.view.epoch();
        let is_chosen = verdict.count >= quorum && of_now;
        self.round = Round::Idle;
        if plan.changed || !is_chosen {
            let soonest_ms = verdict.remaining.iter().map(|(_, ms)| *ms).min();
            return self.propose(now, name, (ballot, plan), (2, soonest_ms), shared, out);
        }
        let done = plan.done.into_iter().filter(|(number, _)| *number < before).collect();
        self.duels = 0;
        self.cached = Some(Cached { ballot, base: accepted, lock: Arc::new(lock) });
        self.deliver(now, name, done, shared, out);
        self.queue(now, name, (before, Found::ByRound), verdict.soonest_ms(), shared, out);
        self.pump(now, name, shared, out);
    }

    pub(crate) fn on_accepted(
        &mut self,
        now: Instant,
        name: &Bytes,
        from: NodeId,
        ballot: Ballot,
        shared: &mut Shared,
        out: &mut Outbox,
    ) {
        let Round::Accept(round) = &mut self.round else { return };
        if round.ballot != ballot || round.accepted.contains(&from) {
            return;
        }
        round.accepted.push(from);
        if round.accepted.len() < shared.view.quorum() {
            return;
        }
        let Round::Accept(round) = std::mem::replace(&mut self.round, Round::Idle) else { return };
        out.events.push(Event::Changed { rounds: round.rounds });
        out.events.extend((0..round.stolen).map(|_| Event::Stolen));
        self.duels = 0;
        if round.refused.is_empty() {
            self.cached = Some(Cached { ballot: ballot.next(), base: ballot, lock: Arc::clone(&round.lock) });
        }
        self.know(now, Some(Arc::clone(&round.lock)));
        self.deliver(now, name, round.done, shared, out);
        self.queue(now, name, (round.before, Found::ByRound), round.soonest_ms, shared, out);
        self.pump(now, name, shared, out);
    }

    /// A voter has promised a higher ballot.
    pub(crate) fn on_refused(
        &mut self,
        now: Instant,
        name: &Bytes,
        from: NodeId,
        (ballot, promised): (Ballot, Ballot),
        shared: &mut Shared,
        out: &mut Outbox,
    ) {
        if promised.epoch == shared.view.epoch() {
            self.highest = self.highest.max(promised.counter);
        }
        match &mut self.round {
            Round::Prepare(round) if round.number == ballot && !round.refused.contains(&from) => {
                round.refused.push(from);
            }
            Round::Accept(round) if round.ballot == ballot && !round.refused.contains(&from) => {
                round.refused.push(from);
            }
            _ => return,
        }
        self.round_without(now, name, shared, out);
    }

    /// Ends a round that can't succeed any more.
    pub(crate) fn round_without(&mut self, now: Instant, name: &Bytes, shared: &mut Shared, out: &mut Outbox) {
        let hopeless = match &self.round {
            Round::Prepare(round) => round.is_hopeless(shared),
            Round::Accept(round) => {
                let open = |node: &NodeId| !round.accepted.contains(node) && !round.refused.contains(node);
                let left = shared.reachable().filter(open).count();
                !round.refused.is_empty() && round.accepted.len() + left < shared.view.quorum()
            }
            Round::Idle | Round::Read(_) => false,
        };
        if hopeless {
            self.lose(now, name, shared, out);
        }
    }

    /// The ballot is lost: begin anew with a higher one, after a while.
    fn lose(&mut self, now: Instant, name: &Bytes, shared: &mut Shared, out: &mut Outbox) {
        out.events.push(Event::BallotLost);
        let round = std::mem::replace(&mut self.round, Round::Idle);
        self.cached = None;
        self.know(now, None);
        if let (Round::Accept(round), true) = (round, mutation::on(Mutation::CacheKeptOnRefusal)) {
            let ballot = Ballot { counter: self.highest + 1, ..round.ballot };
            self.cached = Some(Cached { ballot, base: round.ballot, lock: round.lock });
        }
        self.not_before = shared.backoff(now, self.duels);
        self.duels += 1;
        // For those in line too, who would else wait for a change that may have come before this.
        self.poked = !mutation::on(Mutation::LineForgottenWithRound);
        self.pump(now, name, shared, out);
    }

    /// Asks those again who haven't answered, or goes on without them.
    pub(crate) fn push_round(&mut self, now: Instant, name: &Bytes, shared: &mut Shared, out: &mut Outbox) {
        if self.round.again_at().is_none_or(|at| now < at) {
            return;
        }
        let name_of = name.clone();
        match &mut self.round {
            Round::Idle => {}
            _ if self.line.is_empty() => self.round = Round::Idle,
            Round::Read(round) if round.patience.lingers => self.weigh_read(now, name, shared, out),
            Round::Prepare(round) if round.patience.lingers => self.weigh_promises(now, name, shared, out),
            Round::Prepare(Asking { refused, .. }) | Round::Accept(Accepting { refused, .. })
                if !refused.is_empty() =>
            {
                self.lose(now, name, shared, out);
            }
            Round::Read(round) => {
                round.patience.again(now);
                let answered: Vec<NodeId> = round.reports.iter().map(|(node, _)| *node).collect();
                shared.ask_voters(&answered, &Message::Read { name: name_of, serial: round.number }, out);
            }
            Round::Prepare(round) => {
                round.patience.again(now);
                let answered: Vec<NodeId> = round.reports.iter().map(|(node, _)| *node).collect();
                shared.ask_voters(&answered, &Message::Prepare { name: name_of, ballot: round.number }, out);
            }
            Round::Accept(round) => {
                round.patience.again(now);
                let (ballot, lock) = (round.ballot, Arc::clone(&round.lock));
                shared.ask_voters(&round.accepted, &Message::Accept { name: name_of, ballot, lock }, out);
            }
        }
    }
}
