//! The end of a run: nothing breaks any more, and the cluster must come to itself.

use super::client::keys;
use super::{MS, Phase, World};
use base::NodeId;

/// True time in which a healed cluster must serve everyone again.
const HEALING_NS: u64 = 60_000 * MS;
/// So many answers show that it does.
const ANSWERS: u64 = 50;

impl World {
    /// Everything works from now on.
    pub(super) fn heal(&mut self) {
        self.phase = Phase::Healed;
        self.mend();
        self.network.heal();
        self.mood.sync_ns_max = self.mood.sync_ns_max.min(4 * MS);
        for node in self.nodes() {
            let machine = self.machine(node);
            machine.slowness = 1;
            if !machine.disk.stopped() {
                machine.disk.be_sound();
            }
            self.thaw(node);
            self.start(node);
        }
    }

    /// Runs until `done` holds; a panic that names the rule if that takes too long.
    pub(super) fn until(&mut self, rule: &str, done: impl Fn(&Self) -> bool) {
        let end = self.now + HEALING_NS;
        while !done(self) {
            assert!(self.now < end, "{rule}: not in {} ms\n{}", HEALING_NS / MS, self.told());
            self.step();
        }
    }

    pub(super) fn a_healed_cluster_serves(&mut self) {
        let wanted = self.answered + ANSWERS;
        self.until("a_healed_cluster_serves", |world| {
            world.answered >= wanted && world.lives().all(|(_, life)| life.lane.ready())
        });
    }

    pub(super) fn every_command_is_answered(&mut self) {
        self.phase = Phase::Quiet;
        // Nothing is pushed any more: who waits without end does so.
        for client in 0..self.clients.len() {
            if self.clients[client].waits_without_end() {
                self.leave(client);
            }
        }
        self.until("every_command_is_answered", |world| !world.clients.iter().any(super::Client::waits));
    }

    /// Those whose clients are gone are let go; whose time was called over leaves with the next entry.
    pub(super) fn nobody_waits_whom_nobody_knows(&mut self) {
        self.until("nobody_waits_whom_nobody_knows", |world| {
            let mut waits =
                world.lives().flat_map(|(_, life)| life.lane.keyspaces()).map(|(_, keyspace)| keyspace.waits());
            waits.all(|waits| waits.lines().flat_map(|(.., ids)| ids).all(|id| waits.until(id).is_some()))
        });
    }

    /// All replicas have applied the same, and so their states are the same.
    pub(super) fn replicas_become_equal(&mut self) {
        self.until("replicas_become_equal", |world| {
            let mut ends = world.lives().map(|(_, life)| {
                let statuses = life.lane.statuses();
                statuses.map(|(shard, status)| (shard, status.applied, status.commit)).collect::<Vec<_>>()
            });
            let first = ends.next().expect("there are nodes");
            ends.all(|other| other == first) && world.lives().count() == world.machines.len()
        });
        for machine in self.machines.values() {
            let life = machine.life().expect("all run");
            for (shard, keyspace) in life.lane.keyspaces() {
                self.checks.equal_indexes_mean_equal_states(machine.id, shard, keyspace);
            }
        }
        let compared = self.checks.compared;
        self.counts.insert("states compared", compared);
    }

    /// What was acknowledged is there, whichever node is asked.
    pub(super) fn last_reads(&mut self) {
        for (at, node) in self.nodes().into_iter().enumerate() {
            let client = at % self.clients.len();
            self.leave(client);
            self.connect(client, node);
            for key in keys() {
                self.ask(client, &[vec!["GET".to_owned(), key]]);
            }
            self.until("last_reads_are_answered", |world| !world.clients[client].waits());
        }
    }

    fn lives(&self) -> impl Iterator<Item = (NodeId, &super::machine::Life)> {
        self.machines.iter().filter_map(|(node, machine)| Some((*node, machine.life()?)))
    }

    fn told(&self) -> String {
        let mut lines = Vec::new();
        for (node, life) in self.lives() {
            lines.push(format!("{node}: stopped {} turning {} inbox {}", life.stopped, life.turning, life.inbox.len()));
            lines.extend(life.lane.statuses().map(|(shard, status)| format!("  {shard}: {status:?}")));
        }
        lines.extend(self.clients.iter().filter(|one| one.waits()).map(|one| format!("waits: {one:?}")));
        lines.join("\n")
    }
}
