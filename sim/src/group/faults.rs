//! What goes wrong, and how it ends.

use super::machine::State;
use super::{HEALING_NS, Happening, MS, World};
use base::mutation::{self, Mutation};
use base::{Index, NodeId};
use consensus::raft::{Change, Turned};
use std::collections::BTreeSet;

/// So many nodes may join in a run.
const NODES_MAX: u64 = 9;

impl World {
    pub(super) fn fault(&mut self) {
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        let node = nodes[usize::try_from(self.rng.below(nodes.len() as u64)).expect("few")];
        match self.rng.below(16) {
            0 | 1 => self.crash(node),
            2 => self.freeze(node),
            3 => {
                let side: BTreeSet<NodeId> = nodes.iter().copied().filter(|_| self.rng.one_in(2)).collect();
                self.network.part(&side, &nodes);
                self.count("partition in two");
            }
            4 => {
                let other = nodes[usize::try_from(self.rng.below(nodes.len() as u64)).expect("few")];
                self.network.cut_one_way(node, other);
                self.count("one way cut");
            }
            5..=7 => self.network.mend(),
            8 | 9 => self.cut_snapshot(node),
            10 => self.lose_disk(node),
            11 | 12 => self.change_members(),
            13 => self.hand_leadership(),
            _ => {
                // The link broke: both ends notice, perhaps wrongly.
                let other = nodes[usize::try_from(self.rng.below(nodes.len() as u64)).expect("few")];
                self.input(node, |machine, now, _| {
                    machine.group().on_peer_lost(now, other);
                    Turned::default()
                });
            }
        }
    }

    pub(super) fn start(&mut self, node: NodeId) {
        let kept_bytes_max = self.mood.kept_bytes_max;
        let mut rng = self.rng.clone();
        self.rng.next_u64();
        let machine = self.machine(node);
        if !matches!(machine.state, State::Down) {
            return;
        }
        machine.start(kept_bytes_max, &mut rng);
        self.ledger.restart(node);
        self.input(node, |machine, now, out| {
            machine.group().start(now, out);
            Turned::default()
        });
    }

    fn crash(&mut self, node: NodeId) {
        let kept = self.rng.next_u64();
        let at_once = self.rng.one_in(2);
        let machine = self.machine(node);
        if machine.life().is_none() {
            return;
        }
        machine.state = State::Down;
        let unsynced = machine.disk.unsynced.len() as u64;
        machine.disk.crash(usize::try_from(kept % (unsynced + 1)).expect("few"));
        let unknown = unsynced > kept % (unsynced + 1);
        if unknown {
            self.count("crash: unsynced writes lost");
        }
        let pause = if at_once {
            self.count("crash: restarted at once");
            self.rng.below(30 * MS)
        } else {
            self.rng.below(3000 * MS)
        };
        self.plan(pause, Happening::Start(node));
    }

    fn freeze(&mut self, node: NodeId) {
        let (now, pause) = (self.now, self.rng.below(1000 * MS));
        let machine = self.machine(node);
        let clock = machine.now(now);
        let Some(life) = machine.life_mut().filter(|life| life.frozen.is_none()) else { return };
        life.frozen = Some(clock);
        self.count("frozen");
        self.plan(pause, Happening::Thaw(node));
    }

    pub(super) fn thaw(&mut self, node: NodeId) {
        let Some(life) = self.machine(node).life_mut() else { return };
        life.frozen = None;
        for what in self.waiting(node) {
            self.give(what);
        }
    }

    /// A disk is gone for good. It happens only where the others are a majority without it, and one at a time.
    fn lose_disk(&mut self, node: NodeId) {
        let lost: Vec<NodeId> = self.machines.values().filter(|one| one.is_lost()).map(|one| one.id).collect();
        let Some(leader) = self.leader() else { return };
        let life = self.machines[&leader].life().expect("a leader runs");
        let membership = life.group.membership();
        let (voters, settled) = (membership.voters().count(), !membership.is_joint());
        let replaced = lost.iter().all(|one| !membership.contains(*one));
        let others_hold_all = membership.is_quorum(|one| {
            one != node && self.machines.get(&one).is_some_and(|it| it.disk.reaches(self.ledger.last_committed()))
        });
        if leader == node || voters < 3 || !settled || !replaced || !others_hold_all || lost.len() > 2 {
            return;
        }
        self.count("disk lost");
        if mutation::on(Mutation::LostDiskKeepsName) {
            let machine = self.machine(node);
            machine.state = State::Down;
            machine.disk = super::disk::Disk::default();
            machine.images.clear();
            return self.plan(MS, Happening::Start(node));
        }
        // What it held counts as having been durable; nobody will see it again.
        self.machine(node).state = State::Lost;
    }

    /// The leader of the latest term among those that run.
    pub(super) fn leader(&self) -> Option<NodeId> {
        let running = self.machines.values().filter(|machine| machine.is_running());
        running.filter_map(|machine| Some((machine.leads()?, machine.id))).max().map(|(_, node)| node)
    }

    fn change_members(&mut self) {
        let Some(leader) = self.leader() else { return };
        let membership = self.machines[&leader].life().expect("a leader runs").group.membership().clone();
        let lost = membership.members().find(|node| self.machines[node].is_lost());
        let learner = membership.learners().first().copied();
        let voters: Vec<NodeId> = membership.voters().collect();
        let any = voters[usize::try_from(self.rng.below(voters.len() as u64)).expect("few")];
        let mut changes = Vec::new();
        match (learner, lost) {
            (Some(learner), Some(lost)) => changes = vec![Change::Promote(learner), Change::Remove(lost)],
            (Some(learner), None) if self.rng.one_in(2) => {
                changes = vec![Change::Promote(learner), Change::Remove(any)]
            }
            (Some(learner), None) => changes.push(Change::Promote(learner)),
            (None, _) if voters.len() > 3 && self.rng.one_in(2) => changes.push(Change::Remove(lost.unwrap_or(any))),
            (None, _) if self.next_node <= NODES_MAX => {
                let node = NodeId(self.next_node);
                self.next_node += 1;
                self.add_machine(node, &voters);
                changes.push(Change::AddLearner(node));
            }
            (None, _) => return,
        }
        let mut accepted = false;
        self.input(leader, |machine, now, out| {
            accepted = machine.group().change(now, &changes, out).is_ok();
            Turned::default()
        });
        self.count(if accepted { "members changed" } else { "change refused" });
    }

    fn hand_leadership(&mut self) {
        let Some(leader) = self.leader() else { return };
        let voters: Vec<NodeId> =
            self.machines[&leader].life().expect("it leads").group.membership().voters().collect();
        let to = voters[usize::try_from(self.rng.below(voters.len() as u64)).expect("few")];
        let mut accepted = false;
        self.input(leader, |machine, now, out| {
            accepted = machine.group().transfer(now, to, out);
            Turned::default()
        });
        if accepted {
            self.count("leader transfer");
        }
    }

    /// Everything works from now on, but for disks that are gone.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        self.network.heal();
        self.mood.sync_ns_max = MS;
        let nodes: Vec<NodeId> = self.machines.keys().copied().collect();
        for node in nodes {
            self.thaw(node);
            self.start(node);
        }
    }

    pub(super) fn group_makes_progress_once_healed(&mut self) {
        let end = self.now + HEALING_NS;
        // Everything that clients were told by then, and one more.
        let mut wanted = None;
        while self.now < end {
            self.step();
            if let (Some(leader), None) = (self.leader(), wanted) {
                let life = self.machines[&leader].life().expect("it leads");
                wanted = life.group.has_settled().then(|| life.group.last().index.next());
            }
            if wanted.is_some_and(|wanted| self.all_members_have_applied(wanted)) {
                return;
            }
        }
        let states: Vec<String> = self.machines.values().map(|one| one.summary()).collect();
        panic!("group_makes_progress_once_healed: wanted {wanted:?} at {} of {end}\n{}", self.now, states.join("\n"));
    }

    fn all_members_have_applied(&self, wanted: Index) -> bool {
        let Some(leader) = self.leader() else { return false };
        let membership = self.machines[&leader].life().expect("it leads").group.membership();
        membership.members().all(|node| {
            let machine = &self.machines[&node];
            machine.is_lost() || machine.life().is_some_and(|life| life.group.applied().index >= wanted)
        })
    }
}
