//! Scripts in the world of one machine: brisk ones run in the turn that wants them, those that take long end some steps later.

use super::World;
use super::machine::Patient;
use base::{ClientId, ShardId};
use data::batch::{End, Pace, Purpose};
use node::Now;
use std::collections::BTreeSet;

impl World {
    /// Runs what a lane wants run.
    pub(super) fn run_scripts(&mut self, lane: usize, now: Now) {
        if let Some(patient) = self.machine.ending.take() {
            self.run_batch(patient, now);
        }
        while let Some(batch) = self.machine.outs[lane].batches.pop() {
            let ledger = &mut self.ledgers[usize::from(batch.shard.0)];
            ledger.lend(now, batch.purpose);
            let one = Patient { lane, before: batch.entry.count(), batch, since: now };
            // One at a time: when two come back, it doesn't show which of them held a part of an answer.
            if one.batch.pace == Pace::Patient && self.machine.patient.is_empty() && self.rng.one_in(2) {
                self.machine.patient.push_back(one);
            } else {
                self.run_batch(one, now);
            }
        }
    }

    /// What would be held for it can't be told apart here: a part of an answer shows only with the others. (Clusters have both.)
    pub(super) fn end_script_of(&mut self, shard: ShardId) {
        while self.machine.patient.iter().any(|one| one.batch.shard == shard) {
            self.end_a_script();
        }
    }

    /// A script that took long comes to its end.
    pub(super) fn end_a_script(&mut self) {
        self.machine.ending = self.machine.patient.pop_front();
        if let Some(Patient { lane, .. }) = self.machine.ending {
            self.tally.event("script run apart");
            let now = self.now();
            self.call(lane, now, Vec::new(), |_, _| {});
        }
    }

    fn run_batch(&mut self, one: Patient, now: Now) {
        let Patient { lane, batch, since, before } = one;
        let (shard, purpose) = (batch.shard, batch.purpose);
        let batch = self.machine.engines[lane].run(batch);
        if matches!(batch.end, End::TooSlow | End::Untouched) {
            self.tally.event("script too slow for its lane");
        }
        if let Purpose::Entry { .. } = purpose {
            let ledger = &mut self.ledgers[usize::from(shard.0)];
            for effect in ledger.tried(since, &batch, before) {
                self.tally.event("script without an entry");
                self.on_effect(shard, effect);
            }
        }
        self.machine.lanes[lane].on_batch(now, batch, &mut self.machine.outs[lane]);
    }

    /// Reads that were held while the state was lent have been answered now that it is back.
    pub(super) fn settle_held(&mut self, lane: usize, now: Now, answered: &BTreeSet<(ClientId, u64)>) {
        for (client, seq) in answered.iter().copied() {
            for shard in 0..self.ledgers.len() {
                let shard = ShardId(u16::try_from(shard).expect("few shards"));
                if usize::from(self.machine.routing.lane_of(shard).0) != lane {
                    continue;
                }
                let ledger = &mut self.ledgers[usize::from(shard.0)];
                if let Some(pending) = ledger.take_arrived(client, seq) {
                    let effect = ledger.read(now, pending);
                    self.on_effect(shard, effect);
                }
            }
        }
    }
}
