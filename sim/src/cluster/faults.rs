//! What goes wrong.

use super::{Happening, MS, Phase, World, one_of};
use crate::disk::Loss;
use base::NodeId;
use std::collections::BTreeSet;

impl World {
    pub(super) fn on_fault(&mut self) {
        if self.phase != Phase::Faults {
            return;
        }
        let delay = self.rng.below(2 * self.mood.fault_every_ns);
        self.plan(delay, Happening::Fault);
        let (node, other) = (self.any_node(), self.any_node());
        match self.rng.below(24) {
            0..=2 => self.kill(node),
            3 | 4 => self.cut_power(node),
            5 => self.machines[&node].disk.stop_in(self.rng.below(60)),
            6 => self.machines[&node].disk.fail_sync_in(self.rng.below(20)),
            7..=9 => self.stop(node),
            10 => self.slow_down(node),
            11 => self.jump(node),
            12..=14 if node != other => self.break_link(node.min(other), node.max(other)),
            15 => self.part(),
            16 if node != other => {
                self.count("one way cut");
                self.cut(&[(node, other)]);
            }
            17 if node != other => {
                self.count("pair cut");
                self.cut(&[(node, other), (other, node)]);
            }
            18..=22 => self.mend(),
            _ => {}
        }
    }

    fn part(&mut self) {
        let nodes = self.nodes();
        let side: BTreeSet<NodeId> = nodes.iter().copied().filter(|_| self.rng.one_in(2)).collect();
        let across = |a: &NodeId, b: &NodeId| side.contains(a) != side.contains(b);
        let cut: Vec<(NodeId, NodeId)> =
            nodes.iter().flat_map(|a| nodes.iter().filter(move |b| across(a, b)).map(|b| (*a, *b))).collect();
        if !cut.is_empty() {
            self.count("partition in two");
            self.cut(&cut);
        }
    }

    /// Nothing goes through any more, and after a while the connections may break of it.
    fn cut(&mut self, links: &[(NodeId, NodeId)]) {
        for (from, to) in links {
            self.network.cut.insert((*from, *to));
            if self.rng.one_in(2) {
                let delay = self.rng.below(3_000 * MS);
                self.plan(delay, Happening::Break(*from, *to));
            }
        }
    }

    fn kill(&mut self, node: NodeId) {
        if self.machines[&node].life().is_some() {
            self.count("crash: process killed");
            self.crash(node, Loss::Nothing);
        }
    }

    fn cut_power(&mut self, node: NodeId) {
        if self.machines[&node].life().is_some() {
            self.count("crash: power cut");
            let loss = if self.rng.one_in(3) { Loss::All } else { Loss::Mixed };
            self.crash(node, loss);
        }
    }

    /// The disk made the process stop.
    pub(super) fn crash_of_disk(&mut self, node: NodeId) {
        let loss = if self.machines[&node].disk.stopped() {
            one_of(&mut self.rng, [Loss::Mixed, Loss::Mixed, Loss::All])
        } else {
            Loss::Nothing
        };
        self.crash(node, loss);
    }

    fn crash(&mut self, node: NodeId, loss: Loss) {
        let machine = self.machine(node);
        machine.end();
        machine.disk.restart(loss);
        self.drop_links(node);
        for client in 0..self.clients.len() {
            if self.clients[client].node() == Some(node) {
                self.leave(client);
            }
        }
        let delay = if self.rng.one_in(2) { self.rng.below(30 * MS) } else { self.rng.below(4_000 * MS) };
        self.plan(delay, Happening::Start(node));
    }

    /// A process begins, and reads its disk; what it meets there may stop it again.
    pub(super) fn start(&mut self, node: NodeId) {
        let (now, mood) = (self.now, self.mood);
        let machine = self.machines.get_mut(&node).expect("machines never leave the world");
        if machine.life().is_some() {
            return;
        }
        match machine.start(now, &mood, &mut self.rng) {
            Ok(started) => {
                *self.counts.entry("snapshot loaded").or_default() += started.loaded;
                *self.counts.entry("torn tail cut").or_default() += started.torn;
                self.plan_turn(node);
            }
            Err(error) => {
                let planned = machine.disk.stopped() || matches!(error, storage::StorageError::Io { .. });
                assert!(planned, "the_node_always_starts: {node}: {error}");
                self.count("crash: during recovery");
                self.crash_of_disk(node);
            }
        }
    }

    /// SIGSTOP: the process stands still while the world goes on.
    fn stop(&mut self, node: NodeId) {
        let Some(life) = self.machine(node).life_mut().filter(|life| !life.stopped) else { return };
        life.stopped = true;
        self.count("node stopped");
        let longest = one_of(&mut self.rng, [200, 800, 3_000]) * MS;
        let delay = self.rng.below(longest);
        self.plan(delay, Happening::Thaw(node));
    }

    pub(super) fn thaw(&mut self, node: NodeId) {
        let Some(life) = self.machine(node).life_mut().filter(|life| life.stopped) else { return };
        life.stopped = false;
        life.turning = false;
        life.timer_at = None;
        self.plan_turn(node);
    }

    /// A node's processor and disk are slow for as long as they are.
    fn slow_down(&mut self, node: NodeId) {
        self.count("node slow");
        let slowness = one_of(&mut self.rng, [1, 1, 4, 20]);
        self.machine(node).slowness = slowness;
    }

    fn jump(&mut self, node: NodeId) {
        self.count("clock: wall jumped");
        let (by, ahead) = (self.rng.below(3_600_000), self.rng.one_in(2));
        let wall = &mut self.machine(node).clock.wall_offset_ms;
        *wall = if ahead { *wall + by } else { *wall - by };
    }
}
