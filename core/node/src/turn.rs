//! What a lane does at the end of a turn, and when time has passed.

use crate::lane::Lane;
use crate::outbox::{Now, Outbox, SnapshotNews, SnapshotWaiting};
use base::ShardId;

/// How often dead keys are looked for.
const TICK_MS: u64 = 100;

impl Lane {
    /// The driver has no more input for now: open entries are proposed.
    pub fn on_turn_end(&mut self, now: Now, out: &mut Outbox) {
        self.look_at_memory();
        self.look_at_fences(now, out);
        while let Some(shard) = self.dirty.pop() {
            self.begin_round(now, shard, out);
            self.evict(now, shard, out);
            if let Some(replica) = &mut self.replicas[usize::from(shard.0)] {
                replica.log_endings();
                replica.propose_open(now, out);
            }
        }
        self.send_snapshots(now, out);
        self.set_deadline(now, out);
    }

    /// Regular work: the groups' own time, and dead keys. Call it when [`Outbox::next_deadline`] says so.
    pub fn on_timer(&mut self, now: Now, out: &mut Outbox) {
        let tick = now.boot >= self.tick_at;
        self.locks_on_timer(now, out);
        for shard in self.config.routing.groups() {
            if self.owns(shard) {
                self.watch_scripts(now, shard, out);
            }
            let Some(replica) = self.replicas[usize::from(shard.0)].as_mut() else { continue };
            if now.boot >= replica.next_deadline() || tick {
                self.with_answers(shard, out, |replica, out, answered| replica.on_timer(now, out, answered));
                self.resume(now, shard, out);
            }
            if tick {
                self.replica(shard).tick_if_due(now, out);
                self.replica(shard).tidy_transfers(now, out);
            }
        }
        if tick {
            self.keep_cluster(now, out);
            self.keep_tokens(now, out);
            self.keep_time(now, out);
            self.give_up_questions(now, out);
            self.spread_leaders(now, out);
            self.tick_at = now.boot.next_multiple_of_ms(TICK_MS);
        }
        self.set_deadline(now, out);
    }

    /// Starts a snapshot of each shard that has none running; how many were started.
    pub fn begin_snapshots(&mut self, out: &mut Outbox) -> usize {
        let registers = usize::from(self.begin_rewrite());
        registers
            + self.replicas.iter_mut().flatten().map(|replica| usize::from(replica.begin_snapshot(out))).sum::<usize>()
    }

    /// Gives running snapshots a slice, given what of former ones waits for the disk. True while any runs.
    pub fn snapshot_slice(&mut self, waiting: SnapshotWaiting, out: &mut Outbox) -> bool {
        if self.rewrite_slice(out) {
            return true;
        }
        let Some(replica) = self.replicas.iter_mut().flatten().find(|replica| replica.cutting()) else { return false };
        replica.snapshot_slice(waiting, out);
        let shard = replica.shard();
        self.soil(shard);
        true
    }

    /// What became of a step of a shard's snapshots.
    pub fn on_snapshot_news(&mut self, now: Now, shard: ShardId, news: SnapshotNews, out: &mut Outbox) {
        if self.owns(shard) {
            self.with_answers(shard, out, |replica, out, answered| replica.on_snapshot_news(now, news, out, answered));
        }
    }

    pub(crate) fn set_deadline(&self, now: Now, out: &mut Outbox) {
        let groups = self.replicas.iter().flatten().map(|replica| replica.next_deadline()).min();
        let scripts = self.replicas.iter().flatten().filter_map(|replica| replica.script_deadline()).min();
        out.next_deadline =
            groups.into_iter().chain(scripts).chain(self.locks_due()).chain([self.tick_at.max(now.boot)]).min();
    }
}
