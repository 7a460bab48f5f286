//! A cluster of whole nodes under one seed: real lanes, storage over simulated disks, peer messages as bytes on links that
//! break, clocks that drift and jump, and clients whose histories must have an order.
//!
//! Time is a queue of happenings. A node takes its inputs a turn at a time, as the binary's driver does ([`machine`]); what
//! it sends goes over [`network`]; [`faults`] says what goes wrong, [`checks`] what must hold all the same. One seed is one
//! run. The core is driven in `machine.rs` and `turn.rs` alone.

mod checks;
mod client;
mod faults;
mod fences;
mod finish;
mod keeper;
mod machine;
mod memory;
mod network;
mod queues;
mod scripts;
mod turn;

use crate::agenda::Agenda;
use crate::group::one_of;
use crate::tally::Tally;
use base::rng::Rng;
use base::{ClientId, NodeId};
use checks::Checks;
use client::Client;
use machine::{Input, Machine};
use network::Network;
use node::Memory;
use std::collections::BTreeMap;

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Commands that are answered, before all is healed.
    pub commands: u64,
}

/// One run's world; see the module.
#[derive(Debug)]
pub struct World {
    rng: Rng,
    /// Nanoseconds of true time.
    now: u64,
    agenda: Agenda<Happening>,
    machines: BTreeMap<NodeId, Machine>,
    network: Network,
    clients: Vec<Client>,
    /// Which client a connection is of.
    connections: BTreeMap<ClientId, usize>,
    next_connection: u64,
    checks: Checks,
    mood: Mood,
    counts: BTreeMap<&'static str, u64>,
    commands: BTreeMap<&'static str, u64>,
    answered: u64,
    steps: u64,
    phase: Phase,
}

/// What a run is like.
#[derive(Clone, Copy, Debug)]
struct Mood {
    shards: u16,
    fault_every_ns: u64,
    think_ns_max: u64,
    sync_ns_max: u64,
    turn_ns_max: u64,
    pipeline_max: u64,
    /// What each node may use, and what it does about more.
    memory: Memory,
    segment_bytes: u64,
    snapshot_after_bytes: u64,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Things go wrong.
    Faults,
    /// Nothing breaks any more, and clients go on.
    Healed,
    /// Clients ask for nothing new by themselves.
    Quiet,
}

#[derive(Debug)]
enum Happening {
    /// A frame reaches the other end of its link.
    Frame(network::Frame),
    /// One end of a link learns that it is there, or that it broke.
    Up(NodeId, NodeId, u64),
    Lost(NodeId, NodeId, u64),
    Dial(NodeId, NodeId),
    Break(NodeId, NodeId),
    /// In the so many-th life of a node: its turn, its timer, its sync, its keeper.
    Turn(NodeId, u64),
    Timer(NodeId, u64),
    Synced(NodeId, u64),
    Keep(NodeId, u64),
    /// A script that took long, in the so many-th life of a node.
    Script(NodeId, u64, Box<data::batch::Batch>),
    Client(usize),
    Fault,
    Start(NodeId),
    Thaw(NodeId),
}

const MS: u64 = 1_000_000;
/// A run that gets no answers ends all the same.
const FAULTS_NS_MAX: u64 = 60_000 * MS;

fn index(n: u64) -> usize {
    usize::try_from(n).expect("a place in memory")
}

impl World {
    /// Runs a seed; a broken invariant is a panic that names it.
    #[must_use]
    pub fn run(seed: u64, effort: Effort) -> Tally {
        let mut world = Self::new(seed);
        while world.answered < effort.commands && world.now < FAULTS_NS_MAX {
            world.step();
        }
        world.heal();
        world.a_healed_cluster_serves();
        world.every_command_is_answered();
        world.nobody_waits_whom_nobody_knows();
        world.replicas_become_equal();
        world.last_reads();
        world.queues_are_whole();
        world.histories_are_linearizable();
        world.tally()
    }

    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let segment_bytes = one_of(&mut rng, [128 * 1024, 512 * 1024, 2048 * 1024]);
        let mood = Mood {
            shards: one_of(&mut rng, [1, 1, 2, 3]),
            fault_every_ns: one_of(&mut rng, [100, 300, 1_000]) * MS,
            think_ns_max: one_of(&mut rng, [10, 40, 160]) * MS,
            sync_ns_max: one_of(&mut rng, [MS / 2, 4 * MS, 30 * MS]),
            turn_ns_max: one_of(&mut rng, [MS / 20, MS / 2]),
            pipeline_max: one_of(&mut rng, [1, 1, 4]),
            memory: Memory::default(),
            segment_bytes,
            snapshot_after_bytes: segment_bytes * (2 + rng.below(3)),
        };
        // Of its own: seeds that are known for what they found draw what they drew.
        let mood = Mood { memory: memory::drawn(&mut Rng::new(!seed), mood.shards), ..mood };
        let (count, clients) = (one_of(&mut rng, [3, 3, 3, 5]), 3 + rng.below(4));
        let network = Network::new(&mut rng);
        let mut world = Self {
            rng,
            now: 0,
            agenda: Agenda::default(),
            machines: BTreeMap::new(),
            network,
            clients: (0..clients).map(Client::new).collect(),
            connections: BTreeMap::new(),
            next_connection: 1,
            checks: Checks::default(),
            mood,
            counts: BTreeMap::new(),
            commands: BTreeMap::new(),
            answered: 0,
            steps: 0,
            phase: Phase::Faults,
        };
        world.begin(count);
        world
    }

    fn begin(&mut self, count: u64) {
        let members: Vec<NodeId> = (1..=count).map(NodeId).collect();
        for node in &members {
            let machine = Machine::new(*node, &members, &self.mood, &mut self.rng);
            self.machines.insert(*node, machine);
            self.start(*node);
        }
        for (at, a) in members.iter().enumerate() {
            for b in &members[at + 1..] {
                self.plan(0, Happening::Dial(*a, *b));
            }
        }
        for client in 0..self.clients.len() {
            self.plan(0, Happening::Client(client));
        }
        self.plan(500 * MS, Happening::Fault);
    }

    fn plan(&mut self, delay: u64, what: Happening) {
        self.agenda.plan(self.now + delay, what);
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn machine(&mut self, node: NodeId) -> &mut Machine {
        self.machines.get_mut(&node).expect("machines never leave the world")
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.machines.keys().copied().collect()
    }

    fn any_node(&mut self) -> NodeId {
        let nodes = self.nodes();
        nodes[index(self.rng.below(nodes.len() as u64))]
    }

    /// The next happening.
    fn step(&mut self) {
        let (at, what) = self.agenda.take_next();
        self.now = self.now.max(at);
        self.steps += 1;
        match what {
            Happening::Frame(frame) => self.on_frame(frame),
            Happening::Up(node, peer, epoch) => self.on_up(node, peer, epoch),
            Happening::Lost(node, peer, epoch) => self.on_lost(node, peer, epoch),
            Happening::Dial(a, b) => self.dial(a, b),
            Happening::Break(a, b) => self.break_link(a, b),
            Happening::Turn(node, life) => self.turn(node, life),
            Happening::Timer(node, life) => self.on_timer(node, life),
            Happening::Synced(node, life) => self.on_synced(node, life),
            Happening::Keep(node, life) => self.on_keep(node, life),
            Happening::Script(node, life, batch) => self.on_script(node, life, batch),
            Happening::Client(client) => self.on_client(client),
            Happening::Fault => self.on_fault(),
            Happening::Start(node) => self.start(node),
            Happening::Thaw(node) => self.thaw(node),
        }
    }

    /// Something for a node's next turn; lost if it isn't running.
    fn input(&mut self, node: NodeId, input: Input) {
        let Some(life) = self.machine(node).life_mut() else { return };
        life.inbox.push_back(input);
        self.plan_turn(node);
    }

    fn tally(self) -> Tally {
        let mut tally = Tally { runs: 1, ..Tally::default() };
        self.commands.iter().for_each(|(name, n)| _ = tally.commands.insert((*name).to_owned(), *n));
        tally.events_by("steps", self.steps);
        tally.events_by("virtual milliseconds", self.now / MS);
        tally.events_by("waits begun", self.checks.queues.waited);
        self.counts.iter().for_each(|(name, n)| tally.events_by(name, *n));
        self.machines.values().for_each(|machine| tally.disk(machine.disk.counts()));
        tally
    }
}

/// What every campaign of many runs must have seen.
pub const REQUIRED: &[&str] = &[
    "answer: fenced",
    "answer: in doubt",
    "answer: no quorum",
    "answer: out of memory",
    "answer: try again",
    "cells asked",
    "client gave up",
    "clock: wall jumped",
    "crash: in a disk operation",
    "crash: power cut",
    "crash: process killed",
    "crash: a sync failed",
    "disk sectors lost",
    "entries applied",
    "eviction",
    "leaders deposed",
    "leaders elected",
    "link broken",
    "node stopped",
    "node slow",
    "one way cut",
    "pair cut",
    "partition in two",
    "script run apart",
    "scripts asked",
    "snapshot installed",
    "snapshots",
    "states compared",
    "waits begun",
    "waits served",
    "waits lost with their client",
    "waits ended by another client",
];
