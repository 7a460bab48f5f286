//! One thing happens: an input to a plane, what it asks for, and the ledger's look at it.

use super::machine::{SYNC_NS_MIN, State};
use super::{Happening, MS, World};
use crate::group::network::Fate;
use base::{Instant, NodeId};
use consensus::lock::{Event, Outbox, Plane};
use consensus::register::{Parcel, RegisterWrite};

impl World {
    /// The next thing happens.
    pub(super) fn step(&mut self) {
        let (at, what) = self.agenda.take_next();
        self.idle = if at == self.now { self.idle + 1 } else { 0 };
        assert!(self.idle < 10_000, "time_goes_on: {what:?} at {at}");
        self.now = at;
        self.give(what);
    }

    pub(super) fn give(&mut self, what: Happening) {
        let node = match &what {
            Happening::Deliver(parcel) => parcel.to,
            Happening::Timer(node, _)
            | Happening::Synced(node, _)
            | Happening::Block(node, _)
            | Happening::View(node, _)
            | Happening::LinkLost(node, _)
            | Happening::LinkUp(node, _) => *node,
            _ => return self.happen(what),
        };
        if let State::Frozen(_, waiting) = &mut self.machine(node).state {
            return waiting.push(what);
        }
        self.happen(what);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Deliver(parcel) => self.deliver(parcel),
            Happening::Timer(node, timer) if self.machine(node).timer == timer => {
                self.machine(node).timer_at = 0;
                self.input(node, Plane::on_timer);
            }
            Happening::Timer(..) => {}
            Happening::Synced(node, life) => self.synced(node, life),
            Happening::Block(node, life) => self.lease_block(node, life),
            Happening::LinkLost(node, peer) => self.input(node, |plane, now, out| plane.on_peer_lost(now, peer, out)),
            Happening::LinkUp(node, peer) => self.input(node, |plane, now, out| plane.on_peer_up(now, peer, out)),
            Happening::View(node, view) => {
                if view.epoch() > self.machine(node).view.epoch() {
                    self.machine(node).view = view.clone();
                    self.input(node, |plane, now, out| plane.on_view(now, view, out));
                }
            }
            Happening::Client(client, turn) => self.client_acts(client, turn),
            Happening::Told(client, ask, outcome) => self.client_is_told(client, ask, outcome),
            Happening::Fault => {
                if !self.healed {
                    self.fault();
                    let wait = self.rng.below(2 * self.mood.fault_every_ns);
                    self.plan(wait, Happening::Fault);
                }
            }
            Happening::Start(node) => self.start(node),
            Happening::Thaw(node) => self.thaw(node),
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        self.input(parcel.to, |plane, now, out| {
            let judged = plane.judge(&parcel);
            assert!(judged.is_ok(), "nobody here breaks the rules: {judged:?} {parcel:?}");
            plane.on_message(now, parcel, out);
        });
    }

    /// Gives a node's plane an input, and carries out what it asks for.
    pub(super) fn input(&mut self, node: NodeId, call: impl FnOnce(&mut Plane, Instant, &mut Outbox)) {
        let at = self.now;
        let machine = self.machine(node);
        let clock = machine.clock.now(at);
        let Some(plane) = machine.plane() else { return };
        let mut out = Outbox::default();
        call(plane, clock, &mut out);
        plane.validate();
        self.steps += 1;
        self.settle(node, clock, out);
    }

    fn settle(&mut self, node: NodeId, clock: Instant, out: Outbox) {
        out.writes.iter().for_each(|write| self.ledger.on_written(self.now, write));
        let machine = self.machine(node);
        machine.unsynced.extend(out.writes);
        self.begin_sync(node);
        out.messages.into_iter().for_each(|parcel| self.send(parcel));
        for (waiter, outcome) in out.replies {
            let delay = self.rng.below(3 * MS);
            self.reply(waiter, outcome, delay);
        }
        out.events.into_iter().for_each(|event| self.note(node, event));
        if out.wants_block {
            let (life, delay) = (self.machine(node).life, self.rng.below(500 * MS));
            self.plan(delay, Happening::Block(node, life));
        }
        self.set_timer(node, clock);
    }

    fn note(&mut self, node: NodeId, event: Event) {
        match event {
            Event::Stolen => self.count("stolen"),
            Event::BallotLost => self.count("ballots lost"),
            Event::Hedged => self.count("hedged"),
            Event::Changed { rounds: 1 } => self.count("changed by one round"),
            Event::Changed { .. } => self.count("changed by two rounds"),
            Event::ReadOnly => self.count("read only"),
            Event::GivenBack => self.count("given back"),
            Event::Forgotten { .. } => self.count("forgotten"),
            Event::OtherEpoch => self.count("other epoch"),
            Event::Misbehaved { .. } => panic!("nobody here breaks the rules"),
            Event::Ready { epoch, swept, .. } => {
                self.count("epoch served");
                if swept > 0 {
                    self.count("swept");
                }
                if epoch == self.view.epoch() {
                    self.ready.insert(node);
                }
            }
        }
    }

    fn set_timer(&mut self, node: NodeId, clock: Instant) {
        let now = self.now;
        let machine = self.machine(node);
        let rate = machine.clock;
        let Some(plane) = machine.plane() else { return };
        let deadline = plane.next_deadline();
        if deadline == Instant(u64::MAX) {
            return;
        }
        let delay = rate.takes(deadline.since_ns(clock)) + 20_000;
        if machine.timer_at == 0 || now + delay < machine.timer_at {
            machine.timer_at = now + delay;
            machine.timer += 1;
            let timer = machine.timer;
            self.plan(delay, Happening::Timer(node, timer));
        }
    }

    pub(super) fn send(&mut self, parcel: Parcel) {
        match self.network.send(&mut self.rng, parcel.from, parcel.to) {
            Fate::Lost => self.count("message lost"),
            Fate::Cut => self.count("message cut off"),
            Fate::After(delay) => self.plan(delay, Happening::Deliver(parcel)),
            Fate::Late(delay) => {
                self.count("message late");
                self.plan(delay, Happening::Deliver(parcel));
            }
            Fate::Doubled(first, second) => {
                self.count("message doubled");
                self.plan(first, Happening::Deliver(parcel.clone()));
                self.plan(second, Happening::Deliver(parcel));
            }
        }
    }

    pub(super) fn begin_sync(&mut self, node: NodeId) {
        let takes = SYNC_NS_MIN + self.rng.below(self.mood.sync_ns_max);
        let machine = self.machine(node);
        if machine.syncing || machine.unsynced.is_empty() {
            return;
        }
        machine.syncing = true;
        let life = machine.life;
        self.plan(takes, Happening::Synced(node, life));
    }

    fn synced(&mut self, node: NodeId, life: u64) {
        let all = self.rng.one_in(2);
        let drawn = self.rng.next_u64();
        let machine = self.machine(node);
        if machine.life != life || !machine.is_up() {
            return;
        }
        machine.syncing = false;
        let queued = machine.unsynced.len();
        let count = if all { queued } else { 1 + usize::try_from(drawn % queued as u64).expect("few") };
        let writes = machine.sync(count);
        let upto = writes.last().map_or(0, |write| write.serial);
        self.on_durable(node, &writes);
        for parcel in writes.into_iter().flat_map(|write| write.then) {
            if parcel.to == node {
                self.input(node, |plane, now, out| plane.on_message(now, parcel, out));
            } else {
                self.send(parcel);
            }
        }
        self.input(node, |plane, now, out| plane.on_persisted(now, upto, out));
        self.begin_sync(node);
    }

    pub(super) fn on_durable(&mut self, node: NodeId, writes: &[RegisterWrite]) {
        writes.iter().for_each(|write| self.ledger.on_durable(self.now, node, write));
    }

    fn lease_block(&mut self, node: NodeId, life: u64) {
        if !self.rng.one_in(self.mood.leases_one_in) && !self.healed {
            return self.input(node, |plane, _, _| plane.on_block_failed());
        }
        let (first, count) = (self.next_token, 1 + self.rng.below(40));
        if self.machine(node).life == life {
            self.next_token += count;
            self.input(node, |plane, _, _| plane.on_block(first, count));
        }
    }
}
