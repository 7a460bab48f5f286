//! One run: a machine that crashes again and again under clients that never stop asking.

pub mod client;
mod compare;

pub mod crashes;
mod fences;
pub mod ledger;
pub mod machine;
mod memory;
pub mod once;
mod scripts;
pub mod serve;
mod waits;

use crate::disk::SimDisk;
use crate::tally::Tally;
use crate::workload::{Habits, Workload};
use base::rng::Rng;
use base::time::{Instant, NS_PER_MS};
use base::{ClientId, ShardId};
use client::Client;
use ledger::Ledger;
use machine::{Machine, Shape};
use node::Now;
use std::collections::BTreeMap;
use storage::StorageError;

/// Where wall clocks begin.
pub const WALL_START_MS: u64 = 1_700_000_000_000;

/// How long and how hard a run is.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Commands that must take effect.
    pub commands: u64,
    pub crashes: u64,
}

/// One run; see the module.
#[derive(Debug)]
pub struct World {
    pub(crate) rng: Rng,
    pub(crate) effort: Effort,
    pub(crate) shape: Shape,
    pub(crate) disk: SimDisk,
    pub(crate) machine: Machine,
    pub(crate) ledgers: Vec<Ledger>,
    pub(crate) clients: BTreeMap<ClientId, Client>,
    pub(crate) next_client: u64,
    pub(crate) workload: Workload,
    pub(crate) gathers: BTreeMap<(ClientId, u64), serve::Gather>,
    pub(crate) promises: once::Promises,
    pub(crate) holders: fences::Holders,
    pub(crate) watches_of_execs: BTreeMap<(ClientId, u64), Vec<crate::oracle::Watch>>,
    /// Nanoseconds on the machine's boot clock; the wall clock is this and an offset.
    boot_ns: u64,
    wall_offset_ms: u64,
    pub(crate) pipeline_max: u64,
    pub(crate) client_count: u64,
    pub(crate) done: u64,
    pub(crate) crashed: u64,
    pub(crate) tally: Tally,
}

/// The machine has stopped.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// By a fault that was planned.
    Fault(StorageError),
    /// For lack of space in the middle of a write.
    Full,
}

impl From<StorageError> for Stopped {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NoSpace { .. } => Self::Full,
            other => Self::Fault(other),
        }
    }
}

const CAPACITY_BYTES: u64 = 1 << 40;

impl World {
    /// The run of `seed`.
    ///
    /// # Panics
    ///
    /// If an invariant does not hold; the panic names it.
    #[must_use]
    pub fn run(seed: u64, effort: Effort) -> Tally {
        let mut world = Self::begin(seed, effort);
        world.settle_or_crash();
        let mut next_crash = world.crash_distance();
        while world.done < effort.commands || world.crashed < effort.crashes {
            let outcome = world.step();
            match outcome {
                Ok(()) if world.done < next_crash => {}
                Ok(()) => {
                    world.plan_crash();
                    next_crash = world.done + world.crash_distance();
                }
                Err(stopped) => {
                    world.on_stopped(&stopped);
                    next_crash = world.done + world.crash_distance();
                }
            }
        }
        world.finish();
        world.tally.runs = 1;
        world.tally.events_by("waits begun", world.ledgers.iter().map(|ledger| ledger.waited).sum());
        world.tally.events_by("waits served", world.ledgers.iter().map(|ledger| ledger.served).sum());
        world.tally.disk(world.disk.counts());
        world.tally
    }

    fn begin(seed: u64, effort: Effort) -> Self {
        let mut rng = Rng::new(seed);
        let shards = [1, 1, 1, 2, 3][usize::try_from(rng.below(5)).expect("small")];
        let segment_bytes = [32 * 1024, 64 * 1024, 256 * 1024][usize::try_from(rng.below(3)).expect("small")];
        let shape = Shape {
            shards,
            lanes: if rng.one_in(2) { 1 } else { 2 },
            segment_bytes,
            snapshot_after_bytes: segment_bytes * (1 + rng.below(4)),
            room_bytes: segment_bytes * (1 + rng.below(2)),
            queued_one_in: [1, 2, 20, 1_000_000][usize::try_from(rng.below(4)).expect("small")],
            once_kept_ms: [30, 1_000, 600_000][usize::try_from(rng.below(3)).expect("small")],
            memory: memory::drawn(seed, shards),
        };
        let habits = Habits {
            cross_one_in: 6,
            large_one_in: [6, 30, 200][usize::try_from(rng.below(3)).expect("small")],
            large_bytes_max: [4_000, 20_000, 60_000][usize::try_from(rng.below(3)).expect("small")],
            flush_one_in: 150,
            ttl_ms_max: [20, 400, 20_000][usize::try_from(rng.below(3)).expect("small")],
            multi_one_in: 12,
        };
        let disk = SimDisk::new(rng.next_u64(), CAPACITY_BYTES);
        let (machine, _) = Machine::recover(&disk, shape, rng.next_u64()).expect("an empty disk has no faults yet");
        let (pipeline_max, client_count) = (1 + rng.below(24), 1 + rng.below(6));
        Self {
            effort,
            shape,
            disk,
            machine,
            ledgers: (0..shards).map(|shard| Ledger::new(ShardId(shard), shape.once_kept_ms)).collect(),
            clients: BTreeMap::new(),
            next_client: 1,
            workload: Workload::new(habits),
            gathers: BTreeMap::new(),
            promises: once::Promises::default(),
            holders: fences::Holders::default(),
            watches_of_execs: BTreeMap::new(),
            boot_ns: rng.below(1 << 40),
            wall_offset_ms: WALL_START_MS,
            pipeline_max,
            client_count,
            done: 0,
            crashed: 0,
            tally: Tally::default(),
            rng,
        }
    }

    /// One step of whoever's turn it is.
    fn step(&mut self) -> Result<(), Stopped> {
        self.boot_ns += self.rng.below(400_000);
        match self.rng.below(100) {
            0..=54 => self.client_turn(),
            55..=74 => match self.machine.busy_lane(&mut self.rng) {
                Some(lane) => self.lane_turn(lane),
                None => Ok(()),
            },
            75..=84 => Ok(self.machine.journal(&mut self.rng).map(drop)?),
            85 | 86 => {
                self.end_a_script();
                Ok(())
            }
            87..=95 => self.keeper_turn(),
            96 => {
                self.pass_time();
                Ok(())
            }
            97 => Ok(self.machine.seal()?),
            98 => {
                self.change_space();
                Ok(())
            }
            _ => {
                let lane = self.any_lane();
                self.lane_turn(lane)
            }
        }
    }

    fn any_lane(&mut self) -> usize {
        usize::try_from(self.rng.below(self.machine.lanes.len() as u64)).expect("few lanes")
    }

    fn keeper_turn(&mut self) -> Result<(), Stopped> {
        let finished = self.machine.keep()?;
        self.tally.events_by("snapshots", finished);
        for lane in 0..self.machine.lanes.len() {
            self.machine.cut(lane);
            let steps = std::mem::take(&mut self.machine.outs[lane].snapshots);
            self.machine.hand_to_keeper(steps);
        }
        Ok(())
    }

    /// Time passes, and now and then the wall clock is set.
    fn pass_time(&mut self) {
        let ms = match self.rng.below(10) {
            0 => self.rng.below(5_000),
            1 | 2 => self.rng.below(300),
            _ => self.rng.below(20),
        };
        self.boot_ns += ms * NS_PER_MS;
        if self.rng.one_in(4) {
            let by = self.rng.below(3_600_000);
            if self.rng.one_in(2) {
                self.wall_offset_ms = self.wall_offset_ms.saturating_sub(by).max(WALL_START_MS / 2);
                self.tally.event("clock: wall jumped back");
            } else {
                self.wall_offset_ms += by;
                self.tally.event("clock: wall jumped ahead");
            }
        }
    }

    /// The disk fills up or is given room.
    fn change_space(&mut self) {
        if self.rng.one_in(6) {
            let room = self.rng.below(3 * self.shape.segment_bytes);
            self.disk.set_capacity(self.disk.used_bytes() + room);
        } else {
            self.disk.set_capacity(CAPACITY_BYTES);
        }
    }

    /// The clocks, read now.
    pub(crate) fn now(&self) -> Now {
        Now { boot: Instant(self.boot_ns), wall_ms: self.wall_offset_ms + self.boot_ns / NS_PER_MS }
    }

    fn crash_distance(&mut self) -> u64 {
        let mean = self.effort.commands / (self.effort.crashes + 1);
        1 + self.rng.below(2 * mean.max(1))
    }

    /// Everything that was asked is answered once the faults stop, and the state is right.
    fn finish(&mut self) {
        self.disk.set_capacity(CAPACITY_BYTES);
        let mut steps = 0_u64;
        while self.clients.values().any(|client| client.waiting() > 0) || self.machine.working() {
            steps += 1;
            assert!(steps < 1_000_000, "every_command_is_answered: some were not after the faults stopped");
            let outcome = self.drain();
            if let Err(stopped) = outcome {
                self.on_stopped(&stopped);
            }
        }
        self.check_states();
    }

    fn drain(&mut self) -> Result<(), Stopped> {
        self.let_everybody_go();
        self.boot_ns += 1_000_000;
        for lane in 0..self.machine.lanes.len() {
            self.lane_turn(lane)?;
        }
        self.end_a_script();
        self.machine.journal(&mut self.rng)?;
        self.keeper_turn()
    }

    pub(crate) fn check_states(&self) {
        for lane in &self.machine.lanes {
            for (shard, keyspace) in lane.keyspaces() {
                self.ledgers[usize::from(shard.0)].equal_entries_give_equal_states(keyspace);
            }
        }
    }
}
