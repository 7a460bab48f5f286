//! One node's locks: voter, homes, edge and watchers together. See [`crate::lock`] for the caller's duties.

use super::command::{Command, Outcome};
use super::edge::{Edge, Here};
use super::home::Home;
use super::outbox::{Event, Outbox, Waiter};
use super::shared::{Config, NOBODY, Shared};
use super::value::Lock;
use super::watch::Watchers;
use crate::register::acceptor::Acceptor;
use crate::register::ballot::{Ballot, COUNTER_MAX, LEAP_MAX};
use crate::register::rescan::Rescan;
use crate::register::sweep::Sweep;
use crate::register::{Asker, Message, Parcel, Record, Table, View};
use base::limits::LOCK_COUNT_MAX;
use base::mutation::{self, Mutation};
use base::{Epoch, Instant, NodeId};
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Hash)]
pub struct Plane {
    shared: Shared,
    homes: BTreeMap<Bytes, Home>,
    timers: BTreeSet<(Instant, Bytes)>,
    edge: Edge,
    watchers: Watchers,
    rescan: Option<Rescan>,
    sweep: Sweep,
    /// What comes after the present epoch, all of which is being written here.
    next_view: Option<View>,
    /// Where idle homes are looked for.
    cursor: Bytes,
}

/// A lock as this node's voter knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: Bytes,
    pub lock: Arc<Lock>,
    /// What is left of the grants that aren't over, by token, in milliseconds.
    pub remaining: Vec<(u64, u64)>,
}

/// How a plane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    pub epoch: Epoch,
    /// This node votes in it.
    pub votes: bool,
    pub registers: usize,
    /// Grants that this node's voter knows, those among them whose time is over and that nobody has taken yet.
    pub holders: usize,
    /// Names at home here that something is known of.
    pub homes: usize,
    /// Requests of this node's clients.
    pub pending: usize,
}

/// A message that no node that keeps the rules would send; nothing was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerMisbehaved {
    /// It proposes with another's ballot, or one of another epoch.
    ForeignBallot,
    /// A ballot further ahead than all proposals of the world.
    BallotLeaps(Ballot),
    /// A second value under a ballot that has one.
    TwoValues(Ballot),
    /// What a node tells only itself.
    NotForOthers,
    /// A request whose arguments are out of their bounds, or that names another node as its asker.
    BadRequest,
}

impl std::fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ForeignBallot => f.write_str("a proposal with a ballot that isn't its sender's"),
            Self::BallotLeaps(ballot) => write!(f, "a ballot that is impossibly far ahead: {}", ballot.counter),
            Self::TwoValues(ballot) => write!(f, "a second value under ballot {}", ballot.counter),
            Self::NotForOthers => f.write_str("a notice that a node gives only itself"),
            Self::BadRequest => f.write_str("a request for a lock whose arguments no node lets pass"),
        }
    }
}

impl Plane {
    /// The plane of a node whose log and snapshot gave back `table`.
    #[must_use]
    pub fn new(config: &Config, table: Table, now: Instant) -> Self {
        let acceptor = Acceptor::new(config.me, table, now);
        Self {
            shared: Shared::new(config, acceptor),
            homes: BTreeMap::new(),
            timers: BTreeSet::new(),
            edge: Edge::default(),
            watchers: Watchers::default(),
            rescan: None,
            sweep: Sweep::new(now.plus_ms(config.tuning.sweep_ms), config.incarnation << QUESTION_BITS),
            next_view: None,
            cursor: Bytes::new(),
        }
    }

    /// Begins.
    pub fn start(&mut self, now: Instant, out: &mut Outbox) {
        self.enter(now, out);
        self.settle(now, out);
    }

    /// A client asks. Returns the number by which the request can be cancelled; its answer may already be in `out`.
    pub fn on_request(&mut self, now: Instant, waiter: Waiter, name: Bytes, command: Command, out: &mut Outbox) -> u64 {
        let checked = command.check(&name);
        if let Err(invalid) = checked {
            out.replies.push((waiter, Outcome::Invalid(invalid)));
            return 0;
        }
        let (number, here) = self.edge.ask(now, waiter, (name, command), &self.shared, out);
        self.carry_out(now, here, out);
        self.settle(now, out);
        number
    }

    /// The client of a request is gone: what it gets is given back.
    pub fn on_cancel(&mut self, now: Instant, number: u64, out: &mut Outbox) {
        let here = self.edge.on_gone(number, &self.shared, out);
        self.carry_out(now, here, out);
        self.settle(now, out);
    }

    /// Somebody watches a lock until [`Plane::unwatch`]: [`Outbox::notices`] tells of changes, soon and not each.
    pub fn watch(&mut self, now: Instant, waiter: Waiter, name: Bytes, out: &mut Outbox) {
        self.watchers.add(now, waiter, name, &self.shared, out);
        self.settle(now, out);
    }

    /// Ends a watch.
    pub fn unwatch(&mut self, waiter: Waiter, name: &Bytes) {
        self.watchers.remove(waiter, name);
    }

    /// Takes a message: of a peer, or of this node itself from a write's `then`.
    pub fn on_message(&mut self, now: Instant, parcel: Parcel, out: &mut Outbox) {
        self.edge.on_heard(now, parcel.from, &self.shared);
        self.take(now, parcel, out);
        self.settle(now, out);
    }

    /// All writes up to this number are durable, and what follows them was delivered.
    pub fn on_persisted(&mut self, now: Instant, serial: u64, out: &mut Outbox) {
        self.shared.acceptor.on_persisted(serial, out);
        self.settle(now, out);
    }

    /// Does what is due.
    pub fn on_timer(&mut self, now: Instant, out: &mut Outbox) {
        while let Some((at, name)) = self.timers.first().filter(|(at, _)| *at <= now).cloned() {
            self.timers.remove(&(at, name.clone()));
            if let Some(home) = self.homes.get_mut(&name) {
                home.timer = Instant(u64::MAX);
                home.on_timer(now, &name, &mut self.shared, out);
            }
            self.set_timer(&name);
        }
        let here = self.edge.on_timer(now, &self.shared, out);
        self.carry_out(now, here, out);
        self.watchers.on_timer(now, &self.shared, out);
        if let Some(rescan) = self.rescan.as_mut().filter(|rescan| rescan.due() <= now) {
            rescan.on_timer(now, &mut self.shared, out);
        }
        self.sweep.on_timer(now, &mut self.shared, out);
        self.tidy(now, out);
        self.settle(now, out);
    }

    /// When [`Plane::on_timer`] wants to be called.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        let homes = self.timers.first().map_or(Instant(u64::MAX), |(at, _)| *at);
        let rescan = self.rescan.as_ref().map_or(Instant(u64::MAX), Rescan::due);
        homes.min(rescan).min(self.edge.due()).min(self.watchers.due()).min(self.sweep.due(self.table()))
    }

    /// The link to a peer is lost.
    pub fn on_peer_lost(&mut self, now: Instant, peer: NodeId, out: &mut Outbox) {
        self.shared.lost.insert(peer);
        let names: Vec<Bytes> =
            self.homes.iter().filter(|(_, home)| !home.is_idle()).map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(home) = self.homes.get_mut(&name) {
                home.on_peer_lost(now, &name, peer, &mut self.shared, out);
            }
            self.set_timer(&name);
        }
        let here = self.edge.on_peer_lost(now, peer, &self.shared, out);
        self.carry_out(now, here, out);
        self.settle(now, out);
    }

    /// The link to a peer is up (again).
    pub fn on_peer_up(&mut self, now: Instant, peer: NodeId, out: &mut Outbox) {
        self.shared.lost.remove(&peer);
        let here = self.edge.on_peer_up(now, &self.shared, out);
        self.carry_out(now, here, out);
        self.settle(now, out);
    }

    /// The placement names new voters. An older view than the present one is passed over.
    pub fn on_view(&mut self, now: Instant, view: View, out: &mut Outbox) {
        let newest = self.next_view.as_ref().map_or(self.shared.view.epoch(), View::epoch);
        if view.epoch() <= newest {
            return;
        }
        self.next_view = Some(view);
        // What the present epoch still lacks here, a majority has: nobody opens the next one before.
        if self.rescan.as_ref().is_none_or(|rescan| !rescan.taken) {
            self.rescan = None;
            self.turn_over(now, out);
        }
        self.settle(now, out);
    }

    /// The meta shard has leased this node `count` tokens from `first` on.
    pub fn on_block(&mut self, first: u64, count: u64) {
        self.shared.tokens.add(first, count);
    }

    /// The last request for a block of tokens failed.
    pub fn on_block_failed(&mut self) {
        self.shared.tokens.ask_again();
    }

    /// Locks as this node's voter knows them, by name behind `after`: held ones, and free ones that were used. A hint: this voter may
    /// lack what a majority without it has decided.
    pub fn list(&self, now: Instant, after: Option<&Bytes>) -> impl Iterator<Item = Listed> {
        self.shared.acceptor.table.behind(after).map(move |(name, _)| {
            let report = self.shared.acceptor.report(now, name);
            Listed { name: name.clone(), lock: report.lock, remaining: report.alive }
        })
    }

    /// What a snapshot holds; see [`Table::part`].
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.shared.acceptor.table
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            epoch: self.shared.view.epoch(),
            votes: self.shared.votes(),
            registers: self.shared.acceptor.table.len(),
            holders: self.shared.acceptor.holders,
            homes: self.homes.len(),
            pending: self.edge.len(),
        }
    }

    /// Whether a message may come from a node that keeps the rules.
    pub fn judge(&self, parcel: &Parcel) -> Result<(), PeerMisbehaved> {
        let leaps = |ballot: &Ballot, known: u64| {
            ballot.counter > COUNTER_MAX / 2 || ballot.counter.saturating_sub(known) > LEAP_MAX
        };
        match &parcel.message {
            Message::Prepare { ballot, .. } | Message::Accept { ballot, .. } => {
                if (ballot.node, ballot.epoch) != (parcel.from, parcel.epoch) {
                    Err(PeerMisbehaved::ForeignBallot)
                } else if leaps(ballot, self.shared.acceptor.highest) {
                    Err(PeerMisbehaved::BallotLeaps(*ballot))
                } else {
                    self.judge_value(&parcel.message)
                }
            }
            Message::Refused { promised, .. } if leaps(promised, self.shared.acceptor.highest) => {
                Err(PeerMisbehaved::BallotLeaps(*promised))
            }
            // What is said to be accepted or promised raises what is promised for names that aren't there.
            Message::Idle { .. } | Message::Stands { .. } | Message::Forget { .. } => {
                let highest = self.shared.acceptor.highest;
                let forged = parcel.message.swept().find(|ballot| match ballot.epoch.cmp(&parcel.epoch) {
                    Ordering::Greater => true,
                    Ordering::Equal => leaps(ballot, highest),
                    Ordering::Less => ballot.counter > COUNTER_MAX / 2,
                });
                forged.map_or(Ok(()), |ballot| Err(PeerMisbehaved::BallotLeaps(ballot)))
            }
            // A later epoch's may be among them, where its sender is ahead.
            Message::Part { cells, .. } => {
                let forged = cells.iter().map(|cell| cell.accepted).find(|ballot| ballot.counter > COUNTER_MAX / 2);
                forged.map_or(Ok(()), |ballot| Err(PeerMisbehaved::BallotLeaps(ballot)))
            }
            Message::Ask { asker, name, command } => {
                let own = asker.node == parcel.from && command.check(name).is_ok();
                if own { Ok(()) } else { Err(PeerMisbehaved::BadRequest) }
            }
            Message::Rescanned { .. } => Err(PeerMisbehaved::NotForOthers),
            _ => Ok(()),
        }
    }

    /// A proposer proposes one value under a ballot.
    fn judge_value(&self, message: &Message) -> Result<(), PeerMisbehaved> {
        let Message::Accept { name, ballot, lock } = message else { return Ok(()) };
        let known = self.shared.acceptor.table.cells.get(name).filter(|cell| cell.accepted == *ballot);
        match known {
            Some(cell) if cell.lock != *lock => Err(PeerMisbehaved::TwoValues(*ballot)),
            _ => Ok(()),
        }
    }

    /// Checks what must hold in every state.
    pub fn validate(&self) {
        self.shared.acceptor.validate();
    }

    /// Delivers what this node has told itself, until nothing is left.
    fn settle(&mut self, now: Instant, out: &mut Outbox) {
        while let Some(parcel) = out.own.pop_front() {
            self.take(now, parcel, out);
        }
        out.wants_block |= self.shared.tokens.wants_block();
    }

    fn carry_out(&mut self, now: Instant, here: impl IntoIterator<Item = Here>, out: &mut Outbox) {
        for one in here {
            match one {
                Here::Admit(asker, name, command) => self.admit(now, asker, &name, command, out),
                Here::Cancel(asker, name) => self.desert(now, asker, &name, out),
            }
        }
    }

    fn take(&mut self, now: Instant, parcel: Parcel, out: &mut Outbox) {
        let Parcel { from, epoch, message, .. } = parcel;
        match message {
            Message::Ask { asker, name, command } => self.admit(now, asker, &name, command, out),
            Message::Cancel { asker, name } => self.desert(now, asker, &name, out),
            Message::Pong | Message::NotReady { .. } => {}
            Message::Queued { asker } => self.edge.on_queued(from, asker, &self.shared),
            Message::Ping => self.shared.send(from, Message::Pong, out),
            Message::Answer { asker, name, outcome } => {
                let here = self.edge.on_answer(from, asker, (name, outcome), &self.shared, out);
                self.carry_out(now, here, out);
            }
            Message::Subscribe { name } => self.shared.acceptor.on_subscribe(now, from, name),
            Message::Changed { name, version, lock } => {
                self.watchers.on_changed(&name, version, &lock, out);
                self.at_home(&name, |home, shared| home.on_changed(now, &name, version, shared, out));
            }
            Message::Scan { of, after } => {
                let (me, epoch) = (self.shared.me, self.shared.view.epoch());
                let idle_ms = self.shared.tuning.idle_ms;
                self.shared.acceptor.on_scan(now, (me, from), epoch, (of, after), idle_ms, out);
            }
            Message::Part { of, after, cells, floors, last } => {
                self.on_part(now, from, of, (after, last), (cells, floors), out);
            }
            Message::Rescanned { epoch } => self.on_rescanned(now, epoch, out),
            message if epoch == self.shared.view.epoch() || mutation::on(Mutation::EpochIgnored) => {
                self.vote_or_count(now, from, message, out)
            }
            _ => out.events.push(Event::OtherEpoch),
        }
    }

    /// Messages between a proposer and voters, of this epoch.
    fn vote_or_count(&mut self, now: Instant, from: NodeId, message: Message, out: &mut Outbox) {
        let votes = self.shared.votes();
        let acceptor = &mut self.shared.acceptor;
        match message {
            Message::Prepare { name, ballot } if votes => acceptor.on_prepare(now, from, name, ballot, out),
            Message::Accept { name, ballot, lock } if votes => {
                let (own, version) = (from == self.shared.me, lock.version);
                acceptor.on_accept(now, from, name.clone(), (ballot, Arc::clone(&lock)), out);
                // Voters tell all who watch but the one whose proposal it is: that one tells itself.
                if own {
                    self.watchers.on_changed(&name, version, &lock, out);
                }
            }
            Message::Read { name, serial } if votes => {
                acceptor.on_read(now, from, (self.shared.view.epoch(), serial), name, out);
            }
            Message::Promise { name, ballot, report } => {
                self.at_home(&name, |home, shared| home.on_promise(now, &name, from, (ballot, report), shared, out));
            }
            Message::Accepted { name, ballot } => {
                self.at_home(&name, |home, shared| home.on_accepted(now, &name, from, ballot, shared, out));
            }
            Message::Refused { name, ballot, promised } => {
                self.at_home(&name, |home, shared| home.on_refused(now, &name, from, (ballot, promised), shared, out));
            }
            Message::ReadReply { name, serial, report } => {
                self.at_home(&name, |home, shared| home.on_read_reply(now, &name, from, (serial, report), shared, out));
            }
            Message::Idle { serial, chosen, cells } if votes => {
                let (epoch, idle_ms) = (self.shared.view.epoch(), self.shared.tuning.idle_ms);
                self.shared.acceptor.on_idle(now, (from, serial), (cells, chosen), (epoch, idle_ms), out);
            }
            Message::Stands { serial, promised, stands } => {
                self.sweep.on_stands(now, (from, serial), (promised, &stands), &self.shared, out);
                self.tidy(now, out);
            }
            Message::Forget { promised, cells } if votes => self.forget(promised, &cells, out),
            _ => {}
        }
    }

    /// Registers are forgotten, and with them what this node knows as their home.
    fn forget(&mut self, promised: Ballot, cells: &[(Bytes, Ballot)], out: &mut Outbox) {
        let gone = self.shared.acceptor.on_forget(promised, cells, out);
        for name in &gone {
            if self.homes.get(name).is_some_and(Home::is_idle) {
                self.forget_home(name);
            }
        }
        if !gone.is_empty() {
            out.events.push(Event::Forgotten { count: gone.len() as u64 });
        }
    }

    fn forget_home(&mut self, name: &Bytes) {
        let Some(home) = self.homes.remove(name) else { return };
        self.shared.counts_used = self.shared.counts_used.max(home.highest);
        self.timers.remove(&(home.timer, name.clone()));
    }

    /// Rounds for what the sweep can't forget as it is.
    fn tidy(&mut self, now: Instant, out: &mut Outbox) {
        let nobody = Asker { node: self.shared.me, incarnation: self.shared.incarnation, number: NOBODY };
        for name in self.sweep.take_untidy() {
            if self.homes.get(&name).is_some_and(|home| !home.is_idle()) {
                continue;
            }
            self.admit(now, nobody, &name, Command::Tidy, out);
        }
    }

    fn at_home(&mut self, name: &Bytes, call: impl FnOnce(&mut Home, &mut Shared)) {
        if let Some(home) = self.homes.get_mut(name) {
            call(home, &mut self.shared);
            self.set_timer(name);
        }
    }

    fn admit(&mut self, now: Instant, asker: Asker, name: &Bytes, command: Command, out: &mut Outbox) {
        if !self.homes.contains_key(name) {
            let full = self.shared.acceptor.table.len() >= LOCK_COUNT_MAX;
            if full && !self.shared.acceptor.table.cells.contains_key(name) {
                let outcome = Outcome::Invalid(super::Invalid::TooManyLocks);
                return self.shared.answer(asker, name, outcome, out);
            }
            self.make_room();
            self.homes.insert(name.clone(), Home::new(self.shared.counts_used));
        }
        self.at_home(name, |home, shared| home.admit(now, asker, name, command, shared, out));
    }

    fn desert(&mut self, now: Instant, asker: Asker, name: &Bytes, out: &mut Outbox) {
        self.at_home(name, |home, shared| {
            home.line.desert(asker);
            home.pump(now, name, shared, out);
        });
    }

    /// Forgets an idle home where there are many: its name's next request needs one round more.
    fn make_room(&mut self) {
        for _ in 0..IDLE_LOOKS {
            if self.homes.len() < self.shared.tuning.home_count_max {
                return;
            }
            let next = self.homes.range::<Bytes, _>((Bound::Excluded(&self.cursor), Bound::Unbounded)).next();
            let Some((name, home)) = next.or_else(|| self.homes.first_key_value()) else { return };
            let (name, idle) = (name.clone(), home.is_idle());
            if idle {
                self.forget_home(&name);
            }
            self.cursor = name;
        }
    }

    /// A home's timer is set anew if it is due sooner; one that comes too early is set again then.
    fn set_timer(&mut self, name: &Bytes) {
        let Some(home) = self.homes.get_mut(name) else { return };
        let due = home.due();
        if due < home.timer {
            self.timers.remove(&(home.timer, name.clone()));
            home.timer = due;
            self.timers.insert((due, name.clone()));
        }
    }

    /// Takes the next view.
    fn turn_over(&mut self, now: Instant, out: &mut Outbox) {
        let Some(view) = self.next_view.take() else { return };
        self.shared.view = view;
        self.shared.acceptor.highest = 0;
        self.shared.counts_used = 0;
        self.sweep.on_epoch();
        let names: Vec<Bytes> = self.homes.keys().cloned().collect();
        self.homes.values_mut().for_each(Home::on_epoch);
        self.enter(now, out);
        for name in names {
            self.at_home(&name, |home, shared| home.pump(now, &name, shared, out));
        }
    }

    /// Makes this node a voter of its view: at once if nothing was before, else by a rescan.
    fn enter(&mut self, now: Instant, out: &mut Outbox) {
        let (me, epoch) = (self.shared.me, self.shared.view.epoch());
        if !self.shared.view.has(me) {
            return;
        }
        if self.shared.acceptor.table.ready >= epoch {
            return self.tell_ready(epoch, 0, out);
        }
        self.rescan = Rescan::new(&self.shared.view);
        match &mut self.rescan {
            Some(rescan) => rescan.on_timer(now, &mut self.shared, out),
            None => {
                let then = vec![Parcel { from: me, to: me, epoch, message: Message::Rescanned { epoch } }];
                self.shared.acceptor.keep(&Record::Ready { epoch }, then, out);
            }
        }
    }

    fn on_part(
        &mut self,
        now: Instant,
        from: NodeId,
        of: Epoch,
        at: (Option<Bytes>, bool),
        what: (Vec<crate::register::Scanned>, Vec<(u16, u64)>),
        out: &mut Outbox,
    ) {
        let Some(rescan) = &mut self.rescan else { return };
        if let Some(next) = rescan.on_part(from, of, at, what) {
            self.shared.send(from, next, out);
        }
        rescan.finish(now, &mut self.shared, out);
    }

    /// All of the former epoch is durable here.
    fn on_rescanned(&mut self, now: Instant, epoch: Epoch, out: &mut Outbox) {
        let table = &mut self.shared.acceptor.table;
        table.ready = table.ready.max(epoch);
        let present = epoch == self.shared.view.epoch();
        let rescan = if present { self.rescan.take() } else { None };
        self.tell_ready(epoch, rescan.map_or(0, |rescan| rescan.swept), out);
        if present {
            self.turn_over(now, out);
        }
    }

    /// The next epoch may rely on this, so it is told when it is durable, and again at each start.
    fn tell_ready(&self, epoch: Epoch, swept: u64, out: &mut Outbox) {
        let cells = self.shared.acceptor.table.len() as u64;
        out.events.push(Event::Ready { epoch, cells, swept });
    }
}

/// Questions of a sweep in a life: their numbers are of no other.
const QUESTION_BITS: u32 = 32;
/// Homes that are looked at for an idle one whenever a new one is wanted.
const IDLE_LOOKS: usize = 4;
