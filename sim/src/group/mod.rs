//! Whole groups of replicas: the real Raft core under a seeded network, disks, clocks and failures.
//!
//! Payloads are numbers and the state is a hash of all of them, so that a step costs a microsecond and hundreds of
//! millions are affordable. What is checked after each step stands in [`checks`]; what goes wrong, in [`faults`].
//! One seed is one run.

mod checks;
pub mod disk;
mod faults;
mod machine;
pub(crate) mod network;
mod step;

use crate::agenda::Agenda;
use crate::tally::Tally;
use base::rng::Rng;
use base::{NodeId, ShardId};
use checks::Ledger;
use consensus::raft::Message;
use consensus::{Effects, Envelope};
use machine::{Image, Machine};
use network::Network;
use std::collections::BTreeMap;

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Inputs given to replicas, before all is healed.
    pub steps: u64,
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
    ledger: Ledger,
    next_node: u64,
    next_operation: u64,
    mood: Mood,
    counts: BTreeMap<&'static str, u64>,
    steps: u64,
    /// Nothing breaks any more.
    healed: bool,
}

/// What a run is like.
#[derive(Clone, Copy, Debug)]
struct Mood {
    fault_every_ns: u64,
    client_every_ns: u64,
    sync_ns_max: u64,
    kept_bytes_max: usize,
}

#[derive(Debug)]
enum Happening {
    Deliver(Envelope),
    /// A notice of a machine's own disk, of its so many-th life.
    Notice(NodeId, u64, Message),
    Timer(NodeId, u64),
    Synced(NodeId, u64),
    Snapshot(Shipment),
    Client,
    Fault,
    Start(NodeId),
    Thaw(NodeId),
}

/// A snapshot on its way.
#[derive(Clone, Debug)]
struct Shipment {
    from: NodeId,
    to: NodeId,
    term: base::Term,
    image: Image,
}

const SHARD: ShardId = ShardId(0);
pub(crate) const MS: u64 = 1_000_000;
/// True time in which a healed group must make progress.
const HEALING_NS: u64 = 20_000 * MS;

pub(crate) fn one_of<T: Copy, const N: usize>(rng: &mut Rng, of: [T; N]) -> T {
    of[usize::try_from(rng.below(N as u64)).expect("an index of an array")]
}

impl World {
    /// Runs a seed; a broken invariant is a panic that names it.
    #[must_use]
    pub fn run(seed: u64, effort: Effort) -> Tally {
        let mut world = Self::new(seed);
        while world.steps < effort.steps {
            world.step();
        }
        world.heal();
        world.group_makes_progress_once_healed();
        world.tally()
    }

    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mood = Mood {
            fault_every_ns: (20 + rng.below(400)) * MS,
            client_every_ns: (1 + rng.below(10)) * MS,
            sync_ns_max: one_of(&mut rng, [MS / 2, 5 * MS, 40 * MS]),
            kept_bytes_max: one_of(&mut rng, [300, 3000, 1 << 20]),
        };
        let count = one_of(&mut rng, [1, 2, 3, 3, 3, 4, 5]);
        let network = Network::new(&mut rng);
        let mut world = Self {
            rng,
            now: 0,
            agenda: Agenda::default(),
            machines: BTreeMap::new(),
            network,
            ledger: Ledger::default(),
            next_node: 1,
            next_operation: 0,
            mood,
            counts: BTreeMap::new(),
            steps: 0,
            healed: false,
        };
        let voters: Vec<NodeId> = (1..=count).map(NodeId).collect();
        world.next_node = count + 1;
        for node in &voters {
            world.add_machine(*node, &voters);
        }
        world.plan(0, Happening::Client);
        world.plan(0, Happening::Fault);
        world
    }

    /// A new machine with an empty disk; `voters` are those that it was told of.
    fn add_machine(&mut self, node: NodeId, voters: &[NodeId]) {
        let machine = Machine::new(node, voters.to_vec(), &mut self.rng);
        self.machines.insert(node, machine);
        self.start(node);
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

    /// Gives a node's group an input, and carries out what it asks for.
    fn input(
        &mut self,
        node: NodeId,
        call: impl FnOnce(&mut Machine, base::Instant, &mut Effects) -> consensus::raft::Turned,
    ) {
        let now = self.now;
        let machine = self.machine(node);
        if !machine.is_running() {
            return;
        }
        let clock = machine.now(now);
        let before = (machine.group().term(), machine.group().last().index);
        let mut out = Effects::default();
        let turned = call(machine, clock, &mut out);
        self.steps += 1;
        self.settle(node, clock, before, turned, out);
    }

    fn tally(self) -> Tally {
        let mut tally = Tally { runs: 1, ..Tally::default() };
        tally.events_by("steps", self.steps);
        tally.events_by("entries committed", self.ledger.committed());
        tally.events_by("virtual milliseconds", self.now / MS);
        self.counts.iter().for_each(|(name, n)| tally.events_by(name, *n));
        tally
    }
}

/// What every campaign of many runs must have seen.
pub const REQUIRED: &[&str] = &[
    "crash: unsynced writes lost",
    "crash: restarted at once",
    "disk lost",
    "frozen",
    "leaders elected",
    "leaders deposed",
    "log cut back",
    "members changed",
    "message doubled",
    "message lost",
    "message late",
    "notice overtaken",
    "partition in two",
    "one way cut",
    "leader transfer",
    "snapshot installed",
    "snapshot known already",
    "read under lease",
    "read by a round",
    "write done",
    "write unknown",
];
