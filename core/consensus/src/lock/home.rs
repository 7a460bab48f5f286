//! A name's home: requests in, one round at a time, answers out.
//!
//! What is to be done next is decided in [`Home::pump`] alone, whenever something came or a round has ended. A round changes
//! the register if some request does; else a read confirms what the others are told. With a ballot that the last change left
//! behind, a change is one round.

use super::command::{Command, Outcome};
use super::line::{Basis, Found, Line, Op, Place, Verdict};
use super::outbox::{Event, Outbox};
use super::round::Round;
use super::shared::{NOBODY, Shared};
use super::value::Lock;
use crate::register::acceptor::SUBSCRIPTION_MS;
use crate::register::{Asker, Ballot, Message};
use base::limits::LOCK_WAITER_COUNT_MAX;
use base::mutation::{self, Mutation};
use base::{Instant, NodeId};
use bytes::Bytes;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Home {
    pub(crate) line: Line,
    pub(crate) round: Round,
    pub(crate) cached: Option<Cached>,
    /// The lock as this home has chosen it last.
    chosen: Option<Arc<Lock>>,
    /// Grants of its line that were told since, in their order.
    told: Vec<u64>,
    /// While enough of the line is left, what was handed on is written by one round, no later than this.
    write_by: Instant,
    /// The highest count that was used or seen for this name in this epoch.
    pub(crate) highest: u64,
    /// Ballots lost since the last success.
    pub(crate) duels: u32,
    /// No round begins before this.
    pub(crate) not_before: Instant,
    /// When those in line may look whether a holder's time is over.
    pub(crate) look_at: Instant,
    /// The register has changed by another's proposal, or may have.
    pub(crate) poked: bool,
    subscribed_until: Instant,
    expires_at: Instant,
    /// When the plane's timer for this home is set.
    pub(crate) timer: Instant,
}

/// A ballot that a majority has promised, with what it had accepted then.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Cached {
    pub(crate) ballot: Ballot,
    pub(crate) base: Ballot,
    pub(crate) lock: Arc<Lock>,
}

/// Where a holder's time is over for this node's own voter, others are asked after so long.
const LOOK_MS: u64 = 20;
/// What is handed on in line is written so soon, or sooner if fewer than so many are left who can be told.
const WRITE_MS: u64 = 2;
const LEFT_MIN: usize = 4;
const NEVER: Instant = Instant(u64::MAX);

impl Home {
    pub(crate) fn new(highest: u64) -> Self {
        Self {
            line: Line::default(),
            round: Round::Idle,
            cached: None,
            chosen: None,
            told: Vec::new(),
            write_by: Instant(0),
            highest,
            duels: 0,
            not_before: Instant(0),
            look_at: NEVER,
            poked: false,
            subscribed_until: Instant(0),
            expires_at: NEVER,
            timer: NEVER,
        }
    }

    /// A request comes.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        asker: Asker,
        name: &Bytes,
        command: Command,
        shared: &mut Shared,
        out: &mut Outbox,
    ) {
        if let Some(place) = self.line.place_of(asker) {
            if matches!(place, Place::New | Place::InLine) && asker.node != shared.me {
                shared.send(asker.node, Message::Queued { asker }, out);
            }
            return;
        }
        if self.line.len() >= LOCK_WAITER_COUNT_MAX {
            return shared.answer(asker, name, Outcome::Overloaded, out);
        }
        let wait_ms = if let Command::Acquire(acquire) = &command { acquire.wait_ms } else { 0 };
        let until = now.plus_ms(wait_ms);
        let gives_up = until.plus_ms(shared.tuning.patience_ms);
        self.expires_at = self.expires_at.min(if wait_ms > 0 { until } else { gives_up });
        let op = Op::new(asker, command, (until, gives_up));
        let over = match &op.command {
            Command::Release { owner, token } => Some((owner.clone(), *token)),
            Command::Renew { owner, token, .. } if mutation::on(Mutation::ToldTooSoon) => Some((owner.clone(), *token)),
            _ => None,
        };
        self.line.push(op);
        if let Some((owner, token)) = over {
            self.hand_on(now, name, (&owner, token), shared, out);
        }
        self.pump(now, name, shared, out);
    }

    /// The holder gives the lock back: who is next, if his grant was made ahead, is told at once. That the former one's is over is
    /// written with the next change; until then nobody else can be granted the lock, and whoever is told shows by his token that it was.
    fn hand_on(
        &mut self,
        now: Instant,
        name: &Bytes,
        (owner, token): (&Bytes, u64),
        shared: &Shared,
        out: &mut Outbox,
    ) {
        let Some(chosen) = &self.chosen else { return };
        let [holder] = &chosen.holders[..] else { return };
        let mut fence = chosen.fence;
        let (mut present, mut next) = (holder, 0);
        while self.told.get(next).is_some_and(|told| chosen.line.get(next).is_some_and(|one| one.token == *told)) {
            present = &chosen.line[next];
            fence = Lock::fence_behind(fence, present);
            next += 1;
        }
        let Some(heir) = chosen.line.get(next).filter(|_| present.token == token && present.owner == *owner) else {
            return;
        };
        let Some(asker) = self.line.tell(heir, now) else { return };
        self.line.note_handed_on();
        if self.told.is_empty() {
            self.write_by = now.plus_ms(WRITE_MS);
        }
        self.told.push(heir.token);
        let fence = Lock::fence_behind(fence, heir);
        shared.answer(asker, name, Outcome::Granted { token: heir.token, fence, remaining_ms: 0 }, out);
    }

    /// What is chosen is known, if this home has chosen it itself and nobody else has since, as far as is known.
    pub(crate) fn know(&mut self, now: Instant, lock: Option<Arc<Lock>>) {
        self.told.clear();
        self.write_by = now.plus_ms(WRITE_MS);
        if let Some(lock) = lock.as_deref().filter(|lock| !lock.line.is_empty()) {
            let told: Vec<u64> = self.line.told().collect();
            self.told.extend(lock.line.iter().map(|one| one.token).take_while(|token| told.contains(token)));
        }
        self.chosen = lock;
    }

    /// Whoever gives the lock back hands it on without a round: until few are left who can be told, one round is to do for several.
    fn gathers(&self) -> bool {
        let left = self.chosen.as_ref().map_or(0, |lock| lock.line.len().saturating_sub(self.told.len()));
        !self.told.is_empty() && left >= LEFT_MIN
    }

    /// Begins the round that is wanted now, if none is under way.
    pub(crate) fn pump(&mut self, now: Instant, name: &Bytes, shared: &mut Shared, out: &mut Outbox) {
        if !matches!(self.round, Round::Idle) {
            return;
        }
        self.line.drop_deserted();
        if self.line.is_empty() {
            self.line.shrink();
            (self.poked, self.look_at, self.expires_at) = (false, NEVER, NEVER);
            return;
        }
        if now < self.not_before {
            return;
        }
        let looks = self.poked || (now >= self.look_at && self.line.has_waiting());
        if !self.line.has_new() && !looks {
            return;
        }
        if now < self.write_by && self.gathers() {
            return;
        }
        let basis = self.cached.as_ref().map(|cached| Arc::clone(&cached.lock));
        match basis {
            Some(lock) => self.go_on(now, name, &lock, looks, shared, out),
            None => self.begin(now, name, looks, shared, out),
        }
    }

    /// The next round where a ballot is at hand.
    fn go_on(&mut self, now: Instant, name: &Bytes, lock: &Lock, looks: bool, shared: &mut Shared, out: &mut Outbox) {
        let own = Verdict::of(&[(shared.me, shared.acceptor.report(now, name))], 1);
        let expired = if mutation::on(Mutation::StealByCachedBallot) { own.expired } else { Vec::new() };
        let basis = Basis { lock, expired: &expired, remaining: &own.remaining, before: u64::MAX, now };
        let plan = self.line.plan(basis, &mut shared.tokens);
        if plan.changed {
            let cached = self.cached.take().expect("the caller looked");
            return self.propose(now, name, (cached.ballot, plan), (1, None), shared, out);
        }
        if plan.done.is_empty() && !looks && now < self.subscribed_until {
            return self.queue(now, name, (self.line.next(), Found::Cached), None, shared, out);
        }
        if mutation::on(Mutation::RefusalUnconfirmed) && !plan.done.is_empty() {
            self.deliver(now, name, plan.done, shared, out);
            return self.queue(now, name, (self.line.next(), Found::Cached), None, shared, out);
        }
        self.read(now, name, shared, out);
    }

    /// The next round where none is: what this node's own voter has accepted tells whether a change is likely.
    fn begin(&mut self, now: Instant, name: &Bytes, looks: bool, shared: &mut Shared, out: &mut Outbox) {
        let own = Verdict::of(&[(shared.me, shared.acceptor.report(now, name))], 1);
        let lock = own.lock();
        let basis = Basis { lock: &lock, expired: &[], remaining: &own.remaining, before: u64::MAX, now };
        let plan = self.line.plan(basis, &mut shared.tokens);
        let asks = self.line.iter().all(|op| matches!(op.command, Command::Info));
        if asks || looks || (!plan.changed && shared.votes()) {
            self.read(now, name, shared, out);
        } else {
            self.prepare(now, name, shared, out);
        }
    }

    /// Tells requests what came of them. Whom nobody waits for gives back what he got.
    pub(crate) fn deliver(
        &mut self,
        now: Instant,
        name: &Bytes,
        done: Vec<(u64, Outcome)>,
        shared: &mut Shared,
        out: &mut Outbox,
    ) {
        for (number, outcome) in done {
            let Some(op) = self.line.take(number) else { continue };
            if op.place == Place::Told {
                continue;
            }
            let deserted = op.place == Place::Deserted || op.place == Place::Leaving && op.asker.number == NOBODY;
            let nobody = deserted || shared.lost.contains(&op.asker.node);
            match (&outcome, op.command) {
                (Outcome::Granted { token, .. }, Command::Acquire(_)) if nobody => {
                    out.events.push(Event::GivenBack);
                    self.give_back(now, *token, shared);
                }
                _ if nobody => {}
                _ => shared.answer(op.asker, name, outcome, out),
            }
        }
    }

    fn give_back(&mut self, now: Instant, token: u64, shared: &Shared) {
        let asker = Asker { node: shared.me, incarnation: shared.incarnation, number: NOBODY };
        let gives_up = now.plus_ms(shared.tuning.patience_ms);
        self.expires_at = self.expires_at.min(gives_up);
        let command = Command::GiveBack { token };
        self.line.push(Op::new(asker, command, (now, gives_up)));
    }

    /// Those whom the last round left over stand in line, and voters are asked to tell of changes. The lock may be free after
    /// `soonest_ms`; without it this node's own voter tells.
    pub(crate) fn queue(
        &mut self,
        now: Instant,
        name: &Bytes,
        (before, found): (u64, Found),
        soonest_ms: Option<u64>,
        shared: &mut Shared,
        out: &mut Outbox,
    ) {
        for asker in self.line.stand_in_line(before, found) {
            if asker.node != shared.me {
                shared.send(asker.node, Message::Queued { asker }, out);
            }
        }
        if !self.line.has_waiting() {
            return;
        }
        self.expires_at = self.line.expires_at(&[]);
        if now >= self.subscribed_until {
            self.subscribed_until = now.plus_ms(SUBSCRIPTION_MS / 3);
            shared.ask_voters(&[], &Message::Subscribe { name: name.clone() }, out);
        }
        let soonest_ms = soonest_ms.unwrap_or_else(|| self.soonest_ms(now, name, shared));
        let again = now.plus_ms(soonest_ms.max(1)).min(self.subscribed_until);
        self.look_at = if self.look_at > now { self.look_at.min(again) } else { again };
    }

    /// When some holder's time is over as this node's own voter counts it; soon if it counts no longer, for others may still.
    fn soonest_ms(&self, now: Instant, name: &Bytes, shared: &Shared) -> u64 {
        let report = shared.acceptor.report(now, name);
        let lock = self.cached.as_ref().map_or(&report.lock, |cached| &cached.lock);
        let left = |token| report.alive.iter().find(|(known, _)| *known == token).map(|(_, ms)| *ms + 1);
        let soonest = lock.holders.iter().map(|holder| left(holder.token).unwrap_or(LOOK_MS)).min();
        soonest.unwrap_or(LOOK_MS)
    }

    /// Does what is due.
    pub(crate) fn on_timer(&mut self, now: Instant, name: &Bytes, shared: &mut Shared, out: &mut Outbox) {
        if now >= self.expires_at {
            let flying = self.round.done();
            for (op, outcome) in self.line.expire(now, flying) {
                shared.answer(op.asker, name, outcome, out);
            }
            self.expires_at = self.line.expires_at(self.round.done());
        }
        self.push_round(now, name, shared, out);
        self.pump(now, name, shared, out);
    }

    /// When [`Home::on_timer`] has something to do.
    pub(crate) fn due(&self) -> Instant {
        let mut due = self.expires_at;
        match self.round.again_at() {
            Some(at) => due = due.min(at),
            None if self.line.is_empty() => {}
            None => {
                if self.line.has_waiting() {
                    let gathered = if self.gathers() { self.write_by } else { Instant(0) };
                    due = due.min(self.look_at.max(self.not_before).max(gathered));
                }
                if self.poked || self.line.has_new() {
                    let gathered = if self.gathers() { self.write_by } else { Instant(0) };
                    due = due.min(self.not_before.max(gathered));
                }
            }
        }
        due
    }

    /// The register was changed by another.
    pub(crate) fn on_changed(
        &mut self,
        now: Instant,
        name: &Bytes,
        version: u64,
        shared: &mut Shared,
        out: &mut Outbox,
    ) {
        let known = self.cached.as_ref().is_some_and(|cached| cached.lock.version >= version);
        if self.line.has_waiting() && !known {
            self.poked = true;
            self.pump(now, name, shared, out);
        }
    }

    /// Another epoch begins: nothing of the former one counts here.
    pub(crate) fn on_epoch(&mut self) {
        self.round = Round::Idle;
        self.cached = None;
        self.know(Instant(0), None);
        (self.highest, self.duels, self.not_before) = (0, 0, Instant(0));
        self.subscribed_until = Instant(0);
        self.poked = true;
    }

    /// A node can't be reached: nobody waits for what it has asked, and its vote isn't waited for.
    pub(crate) fn on_peer_lost(
        &mut self,
        now: Instant,
        name: &Bytes,
        peer: NodeId,
        shared: &mut Shared,
        out: &mut Outbox,
    ) {
        self.line.desert_node(peer);
        self.round_without(now, name, shared, out);
        self.pump(now, name, shared, out);
    }

    /// True if forgetting it costs the next request a round and nothing else.
    pub(crate) fn is_idle(&self) -> bool {
        self.line.is_empty() && matches!(self.round, Round::Idle)
    }
}
