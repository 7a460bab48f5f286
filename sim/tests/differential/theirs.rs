//! Three replicas of the `raft` crate, driven as its documentation says.

use crate::cluster::{Cluster, Copies, NODES, View};
use raft::eraftpb::{ConfState, Entry, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole, Storage};

pub struct Theirs {
    nodes: Vec<RawNode<MemStorage>>,
    wire: Vec<Message>,
}

/// So many ticks without a word from its leader free a follower of its promise.
const ELECTION_TICKS: usize = 10;
/// Timers fire when the script says so.
const NEVER: usize = 1_000_000_000;

pub fn config(id: u64) -> Config {
    Config {
        id,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: 1,
        min_election_tick: NEVER,
        max_election_tick: NEVER + 1,
        check_quorum: true,
        pre_vote: true,
        max_size_per_msg: 1 << 20,
        ..Config::default()
    }
}

pub fn logger() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

impl Theirs {
    pub fn new() -> Self {
        let members = ConfState { voters: NODES.collect(), ..ConfState::default() };
        let node = |id| {
            let store = MemStorage::new_with_conf_state(members.clone());
            RawNode::new(&config(id), store, &logger()).expect("the configuration is valid")
        };
        Self { nodes: NODES.map(node).collect(), wire: Vec::new() }
    }

    /// An input, and all that follows from it at home.
    fn input(&mut self, node: u64, call: impl FnOnce(&mut RawNode<MemStorage>)) {
        let node = &mut self.nodes[place(node)];
        call(node);
        while node.has_ready() {
            let mut ready = node.ready();
            self.wire.extend(ready.take_messages());
            let store = node.store().clone();
            store.wl().append(ready.entries()).expect("entries follow each other");
            if let Some(state) = ready.hs() {
                store.wl().set_hardstate(state.clone());
            }
            self.wire.extend(ready.take_persisted_messages());
            let mut light = node.advance(ready);
            if let Some(commit) = light.commit_index() {
                store.wl().mut_hard_state().commit = commit;
            }
            self.wire.extend(light.take_messages());
            node.advance_apply();
        }
    }
}

impl Cluster for Theirs {
    fn forget_promises(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.raft.state != StateRole::Leader) {
            (0..ELECTION_TICKS).for_each(|_| _ = node.tick());
        }
    }

    fn campaign(&mut self, node: u64) {
        self.input(node, |node| node.campaign().expect("a replica may campaign"));
    }

    fn propose(&mut self, node: u64, data: u8) {
        // A leader that steps back refuses, as ours does.
        self.input(node, |node| drop(node.propose(Vec::new(), vec![data])));
    }

    fn beat(&mut self, node: u64) {
        self.input(node, RawNode::ping);
    }

    fn hear_nobody(&mut self, node: u64) {
        // The first check sees who was heard before.
        self.input(node, |node| (0..2 * ELECTION_TICKS).for_each(|_| _ = node.tick()));
    }

    fn transfer(&mut self, node: u64, to: u64) {
        self.input(node, |node| node.transfer_leader(to));
    }

    fn restart(&mut self, node: u64) {
        let store = self.nodes[place(node)].store().clone();
        self.nodes[place(node)] = RawNode::new(&config(node), store, &logger()).expect("the configuration is valid");
    }

    fn on_their_way(&self) -> Vec<(u64, u64)> {
        self.wire.iter().map(|message| (message.from, message.to)).collect()
    }

    fn deliver(&mut self, at: usize, copies: Copies) {
        let message = if copies == Copies::Two { self.wire[at].clone() } else { self.wire.swap_remove(at) };
        // What it refuses it would not have acted on.
        self.input(message.to, |node| drop(node.step(message)));
    }

    fn lose(&mut self, at: usize) {
        self.wire.swap_remove(at);
    }

    fn lose_all(&mut self) {
        self.wire.clear();
    }

    fn view(&self, node: u64) -> View {
        let raft = &self.nodes[place(node)].raft;
        let store = raft.store();
        let (first, last) = (store.first_index().expect("it knows"), store.last_index().expect("it knows"));
        let context = raft::GetEntriesContext::empty(false);
        let entries = if first > last {
            Vec::new()
        } else {
            store.entries(first, last + 1, None, context).expect("they are there")
        };
        let told = |entry: &Entry| (entry.term, entry.data.first().copied());
        View {
            leads: raft.state == StateRole::Leader,
            term: raft.term,
            vote: Some(raft.vote).filter(|node| *node != 0),
            commit: raft.raft_log.committed,
            log: entries.iter().map(told).collect(),
        }
    }
}

fn place(node: u64) -> usize {
    usize::try_from(node).expect("small") - 1
}
