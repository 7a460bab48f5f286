//! What goes wrong, and how it ends.

use super::machine::State;
use super::{Happening, MS, World};
use base::{Epoch, NodeId};
use consensus::register::View;
use std::collections::BTreeSet;

impl World {
    pub(super) fn fault(&mut self) {
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        let (node, other) = (self.any_node(), self.any_node());
        if self.rng.one_in(self.mood.epochs_one_in) {
            return self.open_epoch();
        }
        match self.rng.below(12) {
            0 | 1 => self.crash(node),
            2 | 3 => self.freeze(node),
            4 => {
                let side: BTreeSet<NodeId> = nodes.iter().copied().filter(|_| self.rng.one_in(2)).collect();
                self.network.part(&side, &nodes);
                self.count("partition in two");
            }
            5 => {
                self.network.cut_one_way(node, other);
                self.count("one way cut");
            }
            6..=8 => self.network.mend(),
            9 => {
                if self.machine(node).cut() {
                    self.count("snapshot cut");
                } else {
                    let _ = self.machine(node).cut();
                }
            }
            _ if node != other => {
                self.count("link lost wrongly");
                self.give(Happening::LinkLost(node, other));
                let pause = self.rng.below(800 * MS / self.mood.haste);
                self.plan(pause, Happening::LinkUp(node, other));
            }
            _ => {}
        }
    }

    pub(super) fn start(&mut self, node: NodeId) {
        let (now, idle_ms) = (self.now, self.mood.idle_ms);
        let mut rng = self.rng.clone();
        self.rng.next_u64();
        let machine = self.machine(node);
        if !machine.is_down() {
            return;
        }
        machine.start(now, idle_ms, &mut rng);
        self.input(node, |plane, now, out| plane.start(now, out));
        for other in self.others(node) {
            let delay = self.rng.below(50 * MS);
            self.plan(delay, Happening::LinkUp(other, node));
        }
    }

    fn others(&self, node: NodeId) -> Vec<NodeId> {
        self.machines.keys().copied().filter(|other| *other != node).collect()
    }

    fn crash(&mut self, node: NodeId) {
        let (drawn, at_once) = (self.rng.next_u64(), self.rng.one_in(2));
        let machine = self.machine(node);
        if machine.is_down() {
            return;
        }
        let unsynced = machine.unsynced.len() as u64;
        let kept = drawn % (unsynced + 1);
        let survived = machine.crash(usize::try_from(kept).expect("few"));
        self.on_durable(node, &survived);
        if kept < unsynced {
            self.count("crash: unsynced writes lost");
        }
        self.break_connections(node);
        for other in self.others(node) {
            if self.rng.one_in(2) {
                let delay = self.rng.below(10 * MS);
                self.plan(delay, Happening::LinkLost(other, node));
            }
        }
        let pause = if at_once {
            self.count("crash: restarted at once");
            self.rng.below(30 * MS)
        } else {
            self.rng.below(2000 * MS / self.mood.haste)
        };
        self.plan(pause, Happening::Start(node));
    }

    fn freeze(&mut self, node: NodeId) {
        let pause = self.rng.below(1000 * MS / self.mood.haste);
        let machine = self.machine(node);
        if !machine.is_up() {
            return;
        }
        if let State::Up(plane) = std::mem::replace(&mut machine.state, State::Down) {
            machine.state = State::Frozen(plane, Vec::new());
        }
        self.count("frozen");
        self.plan(pause, Happening::Thaw(node));
    }

    pub(super) fn thaw(&mut self, node: NodeId) {
        let machine = self.machine(node);
        match std::mem::replace(&mut machine.state, State::Down) {
            State::Frozen(plane, waiting) => {
                machine.state = State::Up(plane);
                waiting.into_iter().for_each(|what| self.give(what));
            }
            other => machine.state = other,
        }
    }

    /// The placement names other voters, or the same again for a sweep: only when the present epoch is served by a majority.
    fn open_epoch(&mut self) {
        let old = self.view.clone();
        if self.ready.iter().filter(|node| old.has(**node)).count() < old.quorum() {
            return;
        }
        let mut voters: Vec<NodeId> = old.voters().to_vec();
        if self.rng.one_in(2) {
            voters = self.machines.keys().copied().filter(|_| self.rng.one_in(2)).take(5).collect();
        }
        let before = Some((old.epoch(), old.voters().to_vec()));
        let Ok(view) = View::new(Epoch(old.epoch().0 + 1), voters, before) else { return };
        self.count("epoch opened");
        self.ledger.add_view(view.clone());
        self.ready.clear();
        self.view = view.clone();
        let slow = if self.rng.one_in(2) { 20 } else { 1500 / self.mood.haste };
        for node in self.machines.keys().copied().collect::<Vec<_>>() {
            let delay = self.rng.below(slow * MS);
            self.plan(delay, Happening::View(node, view.clone()));
        }
    }

    /// Everything works from now on.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        self.network.heal();
        self.mood.sync_ns_max = MS;
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        for node in &nodes {
            self.thaw(*node);
            self.start(*node);
        }
        for node in &nodes {
            let view = self.view.clone();
            self.plan(MS, Happening::View(*node, view));
            for other in self.others(*node) {
                // Behind all news of lost links that are on their way.
                self.plan(20 * MS, Happening::LinkUp(*node, other));
            }
        }
    }
}
