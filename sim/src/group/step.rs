//! One step of the world: the next thing that happens, and what comes of it.

use super::machine::{Operation, SYNC_NS_MIN};
use super::network::Fate;
use super::{Happening, MS, Shipment, World};
use base::mutation::{self, Mutation};
use base::record::{Record, SnapshotMark};
use base::{Index, Instant, NodeId, Term};
use bytes::Bytes;
use consensus::raft::Turned;
use consensus::{Effects, Envelope, Write};
use std::hash::{DefaultHasher, Hash, Hasher};

impl World {
    pub(super) fn step(&mut self) {
        let (at, what) = self.agenda.take_next();
        self.now = at;
        match what {
            Happening::Client => {
                self.clients();
                let pause = 1 + self.rng.below(2 * self.mood.client_every_ns);
                self.plan(pause, Happening::Client);
            }
            Happening::Fault => {
                if !self.healed {
                    self.fault();
                    let pause = 1 + self.rng.below(2 * self.mood.fault_every_ns);
                    self.plan(pause, Happening::Fault);
                }
            }
            Happening::Start(node) => self.start(node),
            Happening::Thaw(node) => self.thaw(node),
            other => self.give(other),
        }
    }

    /// Gives a machine something, unless it is stopped: then that waits.
    pub(super) fn give(&mut self, what: Happening) {
        let node = match &what {
            Happening::Deliver(envelope) => envelope.to,
            Happening::Notice(node, ..) | Happening::Timer(node, _) | Happening::Synced(node, _) => *node,
            Happening::Snapshot(shipment) => shipment.to,
            _ => unreachable!("these are nobody's"),
        };
        let Some(machine) = self.machines.get_mut(&node) else { return };
        let Some(life) = machine.life_mut() else { return };
        if life.frozen.is_some() {
            return life.waiting.push(what);
        }
        match what {
            Happening::Deliver(Envelope { from, message, .. }) => {
                let judged = machine.group().judge(from, &message);
                assert_eq!(judged, Ok(()), "nobody_honest_misbehaves: {from} to {node}: {message:?}");
                self.input(node, |machine, now, out| machine.group().on_message(now, from, message, out));
            }
            Happening::Notice(_, life, message) if machine.life == life => {
                self.input(node, |machine, now, out| machine.group().on_message(now, node, message, out));
            }
            Happening::Timer(_, timer) if machine.timer == timer => {
                machine.timer_at = 0;
                self.input(node, |machine, now, out| machine.group().on_timer(now, out));
            }
            Happening::Synced(_, life) if machine.life == life => self.synced(node),
            Happening::Snapshot(shipment) => self.install(shipment),
            _ => {}
        }
    }

    /// Some of what waits for the disk is durable: what follows may leave.
    fn synced(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).expect("the caller looked");
        machine.syncing = false;
        let waiting = machine.disk.unsynced.len();
        if waiting == 0 {
            return;
        }
        let count = 1 + usize::try_from(self.rng.below(waiting as u64)).expect("few");
        let life = machine.life;
        let synced = machine.disk.sync(count);
        let mut notices = Vec::new();
        for envelope in synced.into_iter().flat_map(|write| write.then) {
            if envelope.to == node {
                notices.push(envelope.message);
            } else {
                self.send(envelope);
            }
        }
        // Lanes are told by other threads: notices may overtake each other.
        if notices.len() > 1 && self.rng.one_in(4) {
            self.count("notice overtaken");
            let at = usize::try_from(self.rng.below(notices.len() as u64)).expect("few");
            notices.rotate_left(at);
        }
        for message in notices {
            let delay = self.rng.below(MS / 10);
            self.plan(delay, Happening::Notice(node, life, message));
        }
        self.begin_sync(node);
    }

    fn begin_sync(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).expect("the caller looked");
        if !machine.syncing && !machine.disk.unsynced.is_empty() {
            machine.syncing = true;
            let life = machine.life;
            let takes = SYNC_NS_MIN + self.rng.below(self.mood.sync_ns_max);
            self.plan(takes, Happening::Synced(node, life));
        }
    }

    pub(super) fn send(&mut self, envelope: Envelope) {
        let machine = &self.machines[&envelope.from];
        self.ledger.only_what_is_durable_is_spoken_of(machine, &envelope);
        match self.network.send(&mut self.rng, envelope.from, envelope.to) {
            Fate::Cut => {}
            Fate::Lost => self.count("message lost"),
            Fate::After(delay) => self.plan(delay, Happening::Deliver(envelope)),
            Fate::Late(delay) => {
                self.count("message late");
                self.plan(delay, Happening::Deliver(envelope));
            }
            Fate::Doubled(first, second) => {
                self.count("message doubled");
                self.plan(first, Happening::Deliver(envelope.clone()));
                self.plan(second, Happening::Deliver(envelope));
            }
        }
    }

    /// Checks what a step brought about, and carries it out.
    pub(super) fn settle(
        &mut self,
        node: NodeId,
        clock: Instant,
        (before, last): (Term, Index),
        turned: Turned,
        mut out: Effects,
    ) {
        if turned.deposed {
            self.count("leaders deposed");
        }
        if turned.elected {
            self.count("leaders elected");
            let machine = &self.machines[&node];
            let term = machine.leads().expect("it was elected");
            self.ledger.a_term_has_one_leader(term, node);
            self.ledger.a_leader_holds_all_that_is_committed(machine, || {
                self.machines.values().map(|one| format!("\n{}", one.summary())).collect()
            });
            let first = self.machine(node).group().propose(clock, Bytes::new(), &mut out);
            assert!(first.is_some(), "a_leader_may_propose");
        }
        let cut = |write: &Write| matches!(write.record, Record::Append { index, .. } if index <= last);
        if out.writes.iter().any(cut) {
            self.count("log cut back");
        }
        let machine = &self.machines[&node];
        self.ledger.logs_that_share_an_entry_share_all_before_it(machine, &out.writes);
        let membership = machine.life().expect("it took a step").group.membership().clone();
        let machines = &self.machines;
        let holds = |node: NodeId, index, term| machines.get(&node).is_some_and(|one| one.disk.holds(index, term));
        let by = if turned.deposed { Some(before) } else { machine.leads() };
        self.ledger.what_commits_is_durable_on_a_majority(machine, &membership, by, holds);
        self.apply(node);
        self.ledger.nothing_goes_back(&self.machines[&node]);
        let machine = self.machine(node);
        machine.disk.unsynced.extend(out.writes);
        out.messages.into_iter().for_each(|envelope| self.send(envelope));
        for (_, to) in out.lagging {
            self.ship(node, to);
        }
        self.begin_sync(node);
        self.set_timer(node);
        self.finish_reads(node);
    }

    fn apply(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).expect("it took a step");
        let life = machine.life_mut().expect("it took a step");
        while let Some((index, entry)) = life.group.next_committed() {
            let mut hasher = DefaultHasher::new();
            (life.applied.1, index.0, &entry[..]).hash(&mut hasher);
            life.applied = (index, hasher.finish());
            self.ledger.equal_indexes_mean_equal_states(node, index, life.applied.1);
            if let Some(operation) = life.writes.remove(&index) {
                if entry[..] == operation.id.to_le_bytes() {
                    *self.counts.entry("write done").or_default() += 1;
                    self.ledger.writes_are_linearizable(operation, index);
                } else {
                    *self.counts.entry("write unknown").or_default() += 1;
                }
            }
        }
        life.group.forget_members();
    }

    fn set_timer(&mut self, node: NodeId) {
        let now = self.now;
        let machine = self.machines.get_mut(&node).expect("it took a step");
        let deadline = machine.group().next_deadline();
        if deadline == Instant(u64::MAX) {
            return;
        }
        let delay = machine.until(now, deadline);
        if machine.timer_at != 0 && machine.timer_at <= now + delay && machine.timer_at > now {
            // An earlier look is planned; it does no harm.
            return;
        }
        machine.timer += 1;
        machine.timer_at = now + delay;
        let timer = machine.timer;
        self.plan(delay, Happening::Timer(node, timer));
    }

    /// Clients try a read and a write somewhere.
    fn clients(&mut self) {
        let running: Vec<NodeId> = self.machines.keys().copied().collect();
        let node = running[usize::try_from(self.rng.below(running.len() as u64)).expect("few")];
        if self.rng.one_in(2) {
            self.write(node);
        }
        self.read(node);
    }

    pub(super) fn write(&mut self, node: NodeId) {
        let Some(term) = self.machine(node).leads() else { return };
        self.next_operation += 1;
        let operation = self.ledger.begin(self.next_operation);
        self.input(node, |machine, now, out| {
            let payload = Bytes::copy_from_slice(&operation.id.to_le_bytes());
            if let Some(index) = machine.group().propose(now, payload, out) {
                let life = machine.life_mut().expect("it runs");
                assert_eq!(life.group.term_at(index), Some(term), "a proposal has the leader's term");
                life.writes.insert(index, operation);
            }
            Turned::default()
        });
    }

    fn read(&mut self, node: NodeId) {
        self.next_operation += 1;
        let operation = self.ledger.begin(self.next_operation);
        let now = self.now;
        let machine = self.machine(node);
        let at = machine.now(now);
        let Some(life) = machine.life_mut().filter(|life| life.group.leads()) else { return };
        let looked_at = match life.frozen {
            // The process reads the time when it goes on, since the read came while it was stopped.
            Some(_) if !mutation::on(Mutation::NowReadBeforeInput) => return,
            Some(stopped) => stopped,
            None => at,
        };
        if life.group.may_read(looked_at) {
            let version = life.applied.0;
            self.count("read under lease");
            self.ledger.reads_are_linearizable(node, operation, version);
        } else if life.frozen.is_none() {
            self.input(node, |machine, now, out| {
                if let Some(ticket) = machine.group().begin_read(now, out) {
                    machine.life_mut().expect("it runs").reads.push((ticket, operation));
                }
                Turned::default()
            });
        }
    }

    fn finish_reads(&mut self, node: NodeId) {
        let life = self.machines.get_mut(&node).and_then(|machine| machine.life_mut()).expect("it took a step");
        let version = life.applied.0;
        let mut done: Vec<Operation> = Vec::new();
        let group = &life.group;
        life.reads.retain(|(ticket, operation)| match group.is_confirmed(*ticket) {
            Some(true) => {
                done.push(*operation);
                false
            }
            Some(false) => true,
            None => false,
        });
        for operation in done {
            self.count("read by a round");
            self.ledger.reads_are_linearizable(node, operation, version);
        }
    }

    /// A leader's node sends a snapshot of its state, as it is now.
    fn ship(&mut self, from: NodeId, to: NodeId) {
        if self.network_is_cut(from, to) || !self.rng.one_in(3) {
            return;
        }
        let machine = &self.machines[&from];
        let (Some(image), Some(term)) = (machine.image(), machine.leads()) else { return };
        let takes = MS + self.rng.below(100 * MS);
        self.plan(takes, Happening::Snapshot(Shipment { from, to, term, image }));
    }

    fn network_is_cut(&mut self, from: NodeId, to: NodeId) -> bool {
        matches!(self.network.send(&mut self.rng, from, to), Fate::Cut)
    }

    /// A snapshot has come whole, and its file is durable.
    fn install(&mut self, shipment: Shipment) {
        let Shipment { from, to, term, image } = shipment;
        let mut installed = false;
        self.input(to, |machine, now, out| {
            let (at, members) = (image.at, image.members.clone());
            installed = machine.group().install(now, (from, term), at, members, out);
            if installed {
                machine.images.insert(at.index, image.clone());
                let life = machine.life_mut().expect("it runs");
                life.applied = (image.version, image.hash);
                life.writes.clear();
            }
            Turned::default()
        });
        self.count(if installed { "snapshot installed" } else { "snapshot known already" });
    }

    /// A machine cuts a snapshot of its own; the mark follows when its file is durable.
    pub(super) fn cut_snapshot(&mut self, node: NodeId) {
        let machine = self.machine(node);
        let Some(image) = machine.image().filter(|image| image.at.index > Index(0)) else { return };
        let newer = machine.disk.mark().is_none_or(|mark| mark.index < image.at.index);
        let queued = machine.disk.unsynced.iter().any(|write| matches!(write.record, Record::SnapMark { .. }));
        if !newer || queued {
            return;
        }
        let mark = SnapshotMark { index: image.at.index, term: image.at.term, members: image.members.encode() };
        machine.images.insert(image.at.index, image);
        let record = Record::SnapMark { shard: super::SHARD, mark };
        machine.disk.unsynced.push_back(Write { record, then: Vec::new() });
        self.begin_sync(node);
    }

    /// What came while a machine was stopped.
    pub(super) fn waiting(&mut self, node: NodeId) -> Vec<Happening> {
        self.machine(node).life_mut().map_or_else(Vec::new, |life| std::mem::take(&mut life.waiting))
    }
}
