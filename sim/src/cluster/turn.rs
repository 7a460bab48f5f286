//! A node's turn: what the binary's driver of a lane does, with the time read once the inputs are there.

use super::machine::{Input, Life};
use super::network::Frame;
use super::scripts::run_brisk;
use super::{Happening, MS, World};
use base::codec::Reader;
use base::record::Record;
use base::{ClientId, NodeId};
use consensus::Envelope;
use node::{Event, Now, PeerMessage};
use std::collections::{BTreeMap, BTreeSet};
use storage::StorageError;

/// Of the indexes that a turn ends with, one in so many is looked at: a digest takes longer than the turn.
const COMPARED_ONE_IN: u64 = 8;

impl World {
    /// A turn comes soon, unless one is planned.
    pub(super) fn plan_turn(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).expect("it is there");
        let (slowness, lives) = (machine.slowness, machine.lives);
        let Some(life) = machine.life_mut().filter(|life| !life.turning && !life.stopped) else { return };
        life.turning = true;
        let delay = self.rng.below(self.mood.turn_ns_max) * slowness;
        self.plan(delay, Happening::Turn(node, lives));
    }

    pub(super) fn turn(&mut self, node: NodeId, life: u64) {
        let now = self.machines[&node].clock.at(self.now);
        let Some(life) = self.machine(node).awake(life) else { return };
        life.turning = false;
        for input in std::mem::take(&mut life.inbox) {
            self.take(node, now, input);
        }
        let life = self.living(node);
        if life.out.next_deadline.is_some_and(|at| at <= now.boot) {
            life.lane.on_timer(now, &mut life.out);
        }
        if life.keeper.asks_for_snapshots(&life.wal) {
            life.cutting |= life.lane.begin_snapshots(&mut life.out) > 0;
        }
        if life.cutting {
            life.cutting = life.lane.snapshot_slice(life.keeper.waiting, &mut life.out);
        }
        self.end_turn(node, now);
    }

    pub(super) fn living(&mut self, node: NodeId) -> &mut Life {
        self.machine(node).life_mut().expect("a turn is of a living process")
    }

    fn take(&mut self, node: NodeId, now: Now, input: Input) {
        if let Input::Client(client) = input {
            return self.serve(node, now, client);
        }
        let Life { lane, out, .. } = self.living(node);
        match input {
            Input::Frame(Frame { from, bytes, .. }) => {
                let mut reader = Reader::new(&bytes);
                while !reader.is_empty() {
                    let message = PeerMessage::decode(&mut reader, &bytes).expect("what a node encodes it can decode");
                    lane.on_peer(now, from, message, out);
                }
            }
            Input::Up(peer) => lane.on_peer_up(now, peer, out),
            Input::Lost(peer) => lane.on_peer_lost(now, peer, out),
            Input::Persisted(released) => {
                for envelope in released {
                    if envelope.to == node {
                        lane.on_persisted(now, envelope, out);
                    } else {
                        out.raft.messages.push(envelope);
                    }
                }
            }
            Input::Snapshot(shard, news) => lane.on_snapshot_news(now, shard, news, out),
            Input::Batch(batch) => {
                lane.on_batch(now, *batch, out);
                self.living(node).cutting = true;
            }
            Input::Timer => lane.on_timer(now, out),
            Input::LetGo(client, seq, ending) => lane.let_go(now, client, seq, ending, out),
            Input::Client(_) => unreachable!("served above"),
        }
    }

    fn end_turn(&mut self, node: NodeId, now: Now) {
        let life = self.living(node);
        life.lane.on_turn_end(now, &mut life.out);
        while run_brisk(life, now) {
            life.lane.on_turn_end(now, &mut life.out);
        }
        self.run_patient(node);
        let life = self.living(node);
        let replies = std::mem::take(&mut life.out.replies);
        // What is told may rest on what went for want of memory in this turn.
        self.note_evictions(node);
        self.deliver(replies);
        if self.send_to_peers(node, now) {
            // A peer without a link: what was asked of it comes back, and may go elsewhere.
            self.plan_turn(node);
        }
        let life = self.living(node);
        let steps = std::mem::take(&mut life.out.snapshots);
        life.cutting |= steps.iter().any(|step| matches!(step, node::SnapshotStep::Begin { .. }));
        life.keeper.hand(steps);
        let writes = std::mem::take(&mut life.out.raft.writes);
        life.jobs.extend(writes);
        life.out.garbage.clear();
        let again = life.cutting;
        assert!(life.out.sends.is_empty(), "there is one lane");
        self.observe(node);
        self.journal(node);
        self.plan_keep(node);
        self.plan_timer(node);
        if again {
            self.plan_turn(node);
        }
    }

    /// One frame per peer; true if somebody could not be asked.
    fn send_to_peers(&mut self, node: NodeId, now: Now) -> bool {
        let life = self.living(node);
        let envelopes = std::mem::take(&mut life.out.raft.messages).into_iter();
        let raft = |Envelope { to, shard, message, .. }| (to, PeerMessage::Raft { shard, message });
        let messages: Vec<(NodeId, PeerMessage)> =
            envelopes.map(raft).chain(std::mem::take(&mut life.out.peers)).collect();
        let mut frames: BTreeMap<NodeId, (Vec<u8>, bool)> = BTreeMap::new();
        for (to, message) in messages {
            let (bytes, asks) = frames.entry(to).or_default();
            message.encode(bytes);
            *asks |= matches!(message, PeerMessage::Ask { .. });
        }
        let mut unreached = false;
        for (to, (bytes, asks)) in frames {
            if !self.send(node, to, bytes) && asks {
                unreached = true;
                let life = self.living(node);
                life.lane.on_peer_lost(now, to, &mut life.out);
            }
        }
        unreached
    }

    fn deliver(&mut self, replies: Vec<(ClientId, u64, data::Reply)>) {
        for (connection, seq, reply) in replies {
            if let Some(client) = self.connections.get(&connection).copied() {
                self.on_reply(client, seq, reply);
            }
        }
    }

    /// What happened, and the states behind it.
    fn observe(&mut self, node: NodeId) {
        let life = self.living(node);
        let events = std::mem::take(&mut life.out.events);
        let mut changed = BTreeSet::new();
        for event in events {
            match event {
                Event::PeerMisbehaved { peer, what } => panic!("nobody_honest_misbehaves: {peer} sent {what}"),
                Event::Elected { shard, term } => {
                    self.count("leaders elected");
                    self.checks.a_term_has_one_leader(node, shard, term);
                }
                Event::Deposed { .. } => self.count("leaders deposed"),
                Event::Applied { shard, .. } => {
                    changed.insert(shard);
                    self.count("entries applied");
                }
                Event::SnapshotSent { .. } => self.count("snapshot sent"),
                Event::SnapshotInstalled { shard, .. } => {
                    changed.insert(shard);
                    self.count("snapshot installed");
                }
                Event::ClockOff { behind_ms: 0 } => self.count("clock: known to be right again"),
                Event::ClockOff { .. } => self.count("clock: known to be wrong"),
                Event::Ready { .. } | Event::Regrouped { .. } | Event::Evicted { .. } | Event::LocksReady { .. } => {}
                Event::BadEntry { shard, index } => panic!("entries_can_be_read: {index} of {shard} on {node}"),
            }
        }
        if changed.is_empty() {
            return;
        }
        let life = self.machines[&node].life().expect("it was just there");
        let changed = life.lane.keyspaces().filter(|(shard, _)| changed.contains(shard));
        for (shard, keyspace) in changed.filter(|(_, keyspace)| keyspace.applied_index().0 % COMPARED_ONE_IN == 0) {
            self.checks.equal_indexes_mean_equal_states(node, shard, keyspace);
        }
    }

    /// The journal takes what waits, if it rests.
    fn journal(&mut self, node: NodeId) {
        let slowness = self.machines[&node].slowness;
        let life = self.living(node);
        if life.syncing.is_some() || life.jobs.is_empty() {
            return;
        }
        let (mut records, mut then) = (Vec::<Record>::new(), Vec::new());
        for write in std::mem::take(&mut life.jobs) {
            records.push(write.record);
            then.extend(write.then);
        }
        let bytes = records.iter().map(storage::record_bytes).sum();
        let done = life.wal.make_fit(bytes).and_then(|()| life.wal.append(&records));
        life.syncing = Some(then);
        if let Err(error) = done {
            return self.on_disk_error(node, &error);
        }
        let delay = (MS / 20 + self.rng.below(self.mood.sync_ns_max)) * slowness;
        let lives = self.machines[&node].lives;
        self.plan(delay, Happening::Synced(node, lives));
    }

    /// The sync ends, whether the process is stopped or not: then it learns of it later.
    pub(super) fn on_synced(&mut self, node: NodeId, life: u64) {
        let machine = self.machine(node);
        if machine.lives != life {
            return;
        }
        let Some(life) = machine.life_mut() else { return };
        let then = life.syncing.take().expect("one sync at a time");
        if let Err(error) = life.wal.sync() {
            return self.on_disk_error(node, &error);
        }
        self.input(node, Input::Persisted(then));
        self.journal(node);
    }

    fn plan_keep(&mut self, node: NodeId) {
        let machine = self.machine(node);
        let lives = machine.lives;
        let Some(life) = machine.life_mut().filter(|life| life.keeper.has_work() && !life.keeper.busy) else { return };
        life.keeper.busy = true;
        let delay = self.rng.below(2 * MS);
        self.plan(delay, Happening::Keep(node, lives));
    }

    pub(super) fn on_keep(&mut self, node: NodeId, life: u64) {
        let machine = self.machine(node);
        if machine.lives != life {
            return;
        }
        let Some(life) = machine.life_mut() else { return };
        life.keeper.busy = false;
        match life.keeper.step(&mut life.wal) {
            Ok(news) => {
                for (shard, news) in news {
                    if matches!(news, node::SnapshotNews::Finished { .. }) {
                        self.count("snapshots");
                    }
                    self.input(node, Input::Snapshot(shard, news));
                }
                self.plan_keep(node);
            }
            Err(error) => self.on_disk_error(node, &error),
        }
    }

    fn plan_timer(&mut self, node: NodeId) {
        let now = self.now;
        let (clock, lives) = (self.machines[&node].clock, self.machines[&node].lives);
        let Some(life) = self.machine(node).life_mut() else { return };
        let Some(at) = life.out.next_deadline else { return };
        let at = clock.when(at).max(now);
        if life.timer_at.is_none_or(|planned| at < planned) {
            life.timer_at = Some(at);
            self.agenda.plan(at, Happening::Timer(node, lives));
        }
    }

    pub(super) fn on_timer(&mut self, node: NodeId, life: u64) {
        let now = self.now;
        let Some(life) = self.machine(node).awake(life) else { return };
        if life.timer_at == Some(now) {
            life.timer_at = None;
            self.plan_turn(node);
        }
    }

    fn on_disk_error(&mut self, node: NodeId, error: &StorageError) {
        if self.machines[&node].disk.stopped() {
            self.count("crash: in a disk operation");
        } else {
            assert!(matches!(error, StorageError::Io { .. }), "a_machine_stops_for_planned_faults_alone: {error}");
            self.count("crash: a sync failed");
        }
        self.crash_of_disk(node);
    }
}
