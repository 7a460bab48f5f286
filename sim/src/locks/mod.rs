//! Locks on registers: the real planes under a seeded network, disks, clocks that drift, pauses, crashes and changes of epoch.
//!
//! Clients acquire, renew, release, retry, wait, are paused past their leases and vanish; some share an owner's name. What must hold
//! stands in [`ledger`], which sees what voters have made durable and what clients are told; what goes wrong, in [`faults`].
//! One seed is one run.

mod client;
mod faults;
mod finish;
pub mod ledger;
mod machine;
mod step;

use crate::agenda::Agenda;
use crate::group::network::Network;
use crate::group::{MS, one_of};
use crate::tally::Tally;
use base::rng::Rng;
use base::{Epoch, NodeId};
use client::Client;
use consensus::lock::Outcome;
use consensus::register::{Parcel, View};
use ledger::Ledger;
use machine::Machine;
use std::collections::{BTreeMap, BTreeSet};

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Inputs given to planes, before all is healed.
    pub steps: u64,
    /// A lock or two that all want, forgotten as soon as they are free, while voters change and machines fail all the time.
    pub storm: bool,
}

impl Effort {
    /// What a campaign's runs are like.
    pub const USUAL: Self = Self { steps: 10_000, storm: false };
    /// What two or three things at once need that are rare enough alone.
    pub const STORM: Self = Self { steps: 4_000, storm: true };
}

/// One run's world; see the module.
#[derive(Debug)]
pub struct World {
    rng: Rng,
    /// Nanoseconds of true time.
    now: u64,
    agenda: Agenda<Happening>,
    machines: BTreeMap<NodeId, Machine>,
    clients: BTreeMap<u64, Client>,
    network: Network,
    ledger: Ledger,
    /// The newest epoch, and who serves it.
    view: View,
    ready: BTreeSet<NodeId>,
    next_token: u64,
    next_ask: u64,
    mood: Mood,
    counts: BTreeMap<&'static str, u64>,
    steps: u64,
    /// So much has happened at this very time.
    idle: u64,
    /// Nothing breaks any more.
    healed: bool,
    /// Answers to what the end of a run asks.
    last_words: BTreeMap<u64, Outcome>,
}

/// What a run is like.
#[derive(Clone, Copy, Debug)]
struct Mood {
    fault_every_ns: u64,
    think_ns_max: u64,
    sync_ns_max: u64,
    ttl_ms_max: u64,
    names: u64,
    epochs_one_in: u64,
    /// Free registers are forgotten after so long.
    idle_ms: u64,
    /// What is broken is so many times sooner whole again.
    haste: u64,
    /// Clients ask for other times when they renew, raise fences, and lose connections but no locks.
    bold: bool,
    /// So often tokens can't be leased: one in so many times they can.
    leases_one_in: u64,
}

impl Mood {
    fn usual(rng: &mut Rng) -> Self {
        Self {
            fault_every_ns: (20 + rng.below(600)) * MS,
            think_ns_max: (1 + rng.below(100)) * MS,
            sync_ns_max: one_of(rng, [MS / 2, 5 * MS, 40 * MS]),
            ttl_ms_max: one_of(rng, [60, 300, 1000]),
            names: one_of(rng, [1, 2, 4]),
            epochs_one_in: one_of(rng, [4, 12, 1000]),
            idle_ms: one_of(rng, [5, 100, 1_500]),
            haste: 1,
            bold: false,
            leases_one_in: one_of(rng, [1, 2, 1000]),
        }
    }

    fn storm(rng: &mut Rng) -> Self {
        Self {
            fault_every_ns: (10 + rng.below(60)) * MS,
            think_ns_max: (1 + rng.below(20)) * MS,
            sync_ns_max: one_of(rng, [MS / 2, 5 * MS, 40 * MS]),
            ttl_ms_max: one_of(rng, [25, 60, 300]),
            names: one_of(rng, [1, 1, 2]),
            epochs_one_in: one_of(rng, [3, 8, 1000]),
            idle_ms: one_of(rng, [2, 5, 30]),
            haste: 20,
            bold: true,
            leases_one_in: one_of(rng, [1, 2, 1000]),
        }
    }
}

#[derive(Debug)]
enum Happening {
    Deliver(Parcel),
    Timer(NodeId, u64),
    Synced(NodeId, u64),
    Block(NodeId, u64),
    LinkLost(NodeId, NodeId),
    LinkUp(NodeId, NodeId),
    View(NodeId, View),
    /// A client does something, unless it has done something else since.
    Client(u64, u64),
    /// A client is told, if it still waits for this.
    Told(u64, u64, Outcome),
    Fault,
    Start(NodeId),
    Thaw(NodeId),
}

impl World {
    /// Runs a seed; a broken invariant is a panic that names it.
    #[must_use]
    pub fn run(seed: u64, effort: Effort) -> Tally {
        let mut world = Self::new(seed, effort.storm);
        while world.steps < effort.steps {
            world.step();
        }
        world.finish();
        world.tally()
    }

    fn new(seed: u64, storm: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mood = if storm { Mood::storm(&mut rng) } else { Mood::usual(&mut rng) };
        let count = one_of(&mut rng, [1, 2, 3, 3, 3, 4, 5]);
        let nodes = count + rng.below(3);
        let voters = (1..=count).map(NodeId).collect();
        let view = View::new(Epoch(1), voters, None).expect("a few distinct voters");
        let network = if storm { Network::storm(&mut rng) } else { Network::new(&mut rng) };
        let mut world = Self {
            rng,
            now: 0,
            agenda: Agenda::default(),
            machines: BTreeMap::new(),
            clients: BTreeMap::new(),
            network,
            ledger: Ledger::default(),
            view: view.clone(),
            ready: BTreeSet::new(),
            next_token: 1,
            next_ask: 1,
            mood,
            counts: BTreeMap::new(),
            steps: 0,
            idle: 0,
            healed: false,
            last_words: BTreeMap::new(),
        };
        world.ledger.add_view(view.clone());
        for node in (1..=nodes).map(NodeId) {
            let machine = Machine::new(node, view.clone(), &mut world.rng);
            world.machines.insert(node, machine);
            world.start(node);
        }
        for id in 0..2 + world.rng.below(6) {
            world.clients.insert(id, Client::new(id, &mut world.rng));
            world.plan(0, Happening::Client(id, 0));
        }
        world.plan(0, Happening::Fault);
        world
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

    fn any_node(&mut self) -> NodeId {
        NodeId(1 + self.rng.below(self.machines.len() as u64))
    }

    fn tally(self) -> Tally {
        let mut tally = Tally { runs: 1, ..Tally::default() };
        tally.events_by("steps", self.steps);
        tally.events_by("changes chosen", self.ledger.chosen);
        tally.events_by("virtual milliseconds", self.now / MS);
        self.counts.iter().for_each(|(name, n)| tally.events_by(name, *n));
        tally
    }
}

/// What every campaign of many runs must have seen.
pub const REQUIRED: &[&str] = &[
    "acquired",
    "ballots lost",
    "changed by one round",
    "changed by two rounds",
    "client gone",
    "client paused past its lease",
    "crash: restarted at once",
    "crash: unsynced writes lost",
    "epoch opened",
    "epoch served",
    "fenced write refused",
    "forgotten",
    "frozen",
    "given back",
    "granted after waiting",
    "hedged",
    "holder died",
    "info",
    "link lost wrongly",
    "lost",
    "message doubled",
    "message late",
    "message lost",
    "no quorum",
    "one way cut",
    "other epoch",
    "partition in two",
    "read only",
    "refused",
    "released",
    "renewed",
    "retried by id",
    "snapshot cut",
    "stolen",
    "swept",
    "unknown",
];
