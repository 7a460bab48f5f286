//! Ends of the machine's lives, and what must be there at the next start.

use super::machine::Machine;
use super::{Stopped, World};
use crate::disk::Loss;
use base::ShardId;
use storage::StorageError;

/// How many times a bit turns, each time on the same sealed disk.
const BITS_TURNED: usize = 6;

impl World {
    /// A crash of some kind, now or soon.
    pub(crate) fn plan_crash(&mut self) {
        match self.rng.below(8) {
            0 | 1 => {
                self.tally.event("crash: process killed");
                self.crash(Loss::Nothing);
            }
            2 => self.power_cut(),
            3 | 4 => self.disk.stop_in(self.rng.below(80)),
            5 => self.disk.fail_sync_in(self.rng.below(20)),
            6 => self.stop_cleanly(),
            _ => self.rot(),
        }
    }

    fn power_cut(&mut self) {
        self.tally.event("crash: power cut");
        let loss = self.draw_loss();
        self.crash(loss);
    }

    fn draw_loss(&mut self) -> Loss {
        if self.rng.one_in(3) { Loss::All } else { Loss::Mixed }
    }

    /// The machine has stopped by itself.
    pub(crate) fn on_stopped(&mut self, stopped: &Stopped) {
        let loss = match stopped {
            Stopped::Full | Stopped::Fault(_) if self.disk.stopped() => {
                self.tally.event("crash: in a disk operation");
                self.draw_loss()
            }
            Stopped::Fault(StorageError::Io { .. }) => {
                self.tally.event("crash: a sync failed");
                Loss::Nothing
            }
            Stopped::Full => panic!("a_full_disk_stops_nothing"),
            Stopped::Fault(other) => panic!("a_machine_stops_for_planned_faults_alone: {other}"),
        };
        self.crash(loss);
    }

    /// This life ends; the next begins.
    fn crash(&mut self, loss: Loss) {
        self.crashed += 1;
        self.end_life();
        self.disk.restart(loss);
        self.come_back();
    }

    fn end_life(&mut self) {
        self.lose_promises();
        self.clients.clear();
        self.gathers.clear();
        self.watches_of_execs.clear();
        self.ledgers.iter_mut().for_each(super::ledger::Ledger::crash);
    }

    /// SIGTERM: what was begun is finished, the tail is sealed.
    fn stop_cleanly(&mut self) {
        if self.drain_and_seal().is_ok() {
            self.tally.event("clean stop");
            let waiting: usize = self.clients.values().map(super::client::Client::waiting).sum();
            assert_eq!(waiting, 0, "a_clean_stop_answers_all");
            self.crash(Loss::All);
        } else {
            self.power_cut();
        }
    }

    fn drain_and_seal(&mut self) -> Result<(), Stopped> {
        // What waits for space is answered once there is some.
        self.disk.set_capacity(super::CAPACITY_BYTES);
        while self.clients.values().any(|client| client.waiting() > 0) || self.machine.working() {
            self.drain()?;
        }
        Ok(self.machine.seal()?)
    }

    /// A bit turns on a disk whose log is sealed: it is noticed, or it was of no use.
    fn rot(&mut self) {
        if self.drain_and_seal().is_err() {
            return self.power_cut();
        }
        self.end_life();
        self.crashed += 1;
        self.disk.restart(Loss::All);
        for _ in 0..BITS_TURNED {
            let image = self.disk.image();
            if let Some((file, byte)) = self.disk.turn_a_bit() {
                self.start_from_rot(&file, byte);
            }
            self.disk.bring_back(image);
            self.disk.restart(Loss::Nothing);
        }
        self.come_back();
    }

    fn start_from_rot(&mut self, file: &str, byte: usize) {
        match Machine::recover(&self.disk, self.shape, self.rng.next_u64()) {
            Err(StorageError::Corrupt { .. }) => self.tally.event("rot noticed"),
            Err(StorageError::NoSpace { .. }) => self.tally.event("start without space"),
            Err(other) => panic!("rot_is_told_as_rot: a bit of {file} at {byte} turned, and: {other}"),
            Ok((_, recovery)) => {
                for (shard, ledger) in (0..).zip(&mut self.ledgers) {
                    let found = recovery.shards.get(&ShardId(shard)).cloned().unwrap_or_default();
                    ledger.rot_is_never_served(&found, file, byte);
                }
                self.tally.event("rot survived");
            }
        }
    }

    /// Recovers until a start is not interrupted, and checks what is there.
    fn come_back(&mut self) {
        loop {
            if self.rng.one_in(4) {
                self.disk.stop_in(self.rng.below(40));
            }
            let seed = self.rng.next_u64();
            match Machine::recover(&self.disk, self.shape, seed) {
                Ok((machine, recovery)) => {
                    self.tally.events_by("torn tails cut", recovery.cut.len() as u64);
                    for (shard, ledger) in (0..).zip(&mut self.ledgers) {
                        let found = recovery.shards.get(&ShardId(shard)).cloned().unwrap_or_default();
                        self.tally.events_by("snapshots loaded", u64::from(found.snapshot.is_some()));
                        ledger.no_acknowledged_write_is_lost(&found);
                    }
                    self.machine = machine;
                    if self.settle().is_ok() {
                        return;
                    }
                }
                Err(StorageError::NoSpace { .. }) => {
                    self.tally.event("start without space");
                    self.disk.set_capacity(super::CAPACITY_BYTES);
                }
                Err(error) => assert!(self.disk.stopped(), "the_node_always_starts: {error}"),
            }
            self.tally.event("crash: during recovery");
            self.ledgers.iter_mut().for_each(super::ledger::Ledger::crash);
            let loss = self.draw_loss();
            self.disk.restart(loss);
        }
    }

    /// The machine's first turns: the log is applied.
    fn settle(&mut self) -> Result<(), Stopped> {
        let mut turns = 0;
        while !self.machine.lanes.iter().all(node::Lane::ready) {
            turns += 1;
            assert!(turns < 1000, "a_recovered_shard_gets_ready");
            if turns == 100 {
                self.tally.event("start waited for space");
                self.disk.set_capacity(super::CAPACITY_BYTES);
            }
            for lane in 0..self.machine.lanes.len() {
                self.lane_turn(lane)?;
            }
            self.machine.journal(&mut self.rng)?;
        }
        self.check_states();
        Ok(())
    }

    /// The first start.
    pub(crate) fn settle_or_crash(&mut self) {
        self.settle().expect("the first start meets no faults");
    }
}
