//! Some planes that hear each other at once, unless the test says otherwise; disks that sync when told.

use crate::lock::{Acquire, Claim, Command, Config, Event, Notice, Outbox, Outcome, Plane, Tuning, Waiter};
use crate::register::{Parcel, RegisterWrite, Table, View};
use base::{Epoch, Instant, NodeId};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub struct Cluster {
    pub now: Instant,
    pub nodes: BTreeMap<NodeId, Node>,
    pub flying: VecDeque<Parcel>,
    /// Neither heard nor hearing.
    pub stopped: BTreeSet<NodeId>,
    /// Messages that are lost.
    pub loses: fn(&Parcel) -> bool,
    pub replies: Vec<(u64, Outcome)>,
    pub notices: Vec<Notice>,
    pub events: Vec<Event>,
    pub writes: usize,
    pub view: View,
    waiters: u64,
}

pub struct Node {
    pub plane: Plane,
    log: Vec<u8>,
    unsynced: VecDeque<RegisterWrite>,
    incarnation: u64,
}

/// Above those of [`Cluster::ask`].
const NOBODYS: u64 = 900;

pub fn view(epoch: u64, voters: u64, before: Option<(u64, u64)>) -> View {
    let of = |count: u64| (1..=count).map(NodeId).collect::<Vec<_>>();
    View::new(Epoch(epoch), of(voters), before.map(|(epoch, count)| (Epoch(epoch), of(count)))).unwrap()
}

pub fn acquire(owner: &'static str, ttl_ms: u64) -> Acquire {
    let owner = Bytes::from_static(owner.as_bytes());
    Acquire { owner, ttl_ms, wait_ms: 0, claim: Claim::Exclusive, token: None, id: Bytes::new() }
}

pub fn token(outcome: &Outcome) -> u64 {
    let Outcome::Granted { token, .. } = outcome else { panic!("not granted: {outcome:?}") };
    *token
}

fn plane(node: NodeId, incarnation: u64, view: &View, table: Table, now: Instant) -> Plane {
    let tuning = Tuning::default();
    let config =
        Config { me: node, incarnation, generation: 0, view: view.clone(), seed: node.0 + incarnation, tuning };
    Plane::new(&config, table, now)
}

impl Cluster {
    pub fn new(count: u64) -> Self {
        let (now, view) = (Instant(1_000_000_000), view(1, count, None));
        let mut cluster = Self {
            now,
            nodes: BTreeMap::new(),
            flying: VecDeque::new(),
            stopped: BTreeSet::new(),
            loses: |_| false,
            replies: Vec::new(),
            notices: Vec::new(),
            events: Vec::new(),
            writes: 0,
            view,
            waiters: 0,
        };
        for id in (1..=count).map(NodeId) {
            cluster.begin(id, 1, Vec::new());
        }
        cluster.run();
        cluster.writes = 0;
        cluster.events.clear();
        cluster
    }

    fn begin(&mut self, id: NodeId, incarnation: u64, log: Vec<u8>) {
        let mut table = Table::default();
        table.replay(&log).unwrap();
        let plane = plane(id, incarnation, &self.view, table, self.now);
        self.nodes.insert(id, Node { plane, log, unsynced: VecDeque::new(), incarnation });
        self.input(id, |plane, now, out| plane.start(now, out));
    }

    /// It forgets all but what was synced.
    pub fn restart(&mut self, id: u64) {
        self.crash(NodeId(id), 0);
        self.run();
    }

    /// It forgets all but what was synced and the first `kept` writes that were not, and starts again.
    pub fn crash(&mut self, id: NodeId, kept: usize) {
        let Node { mut log, unsynced, incarnation, .. } = self.nodes.remove(&id).unwrap();
        unsynced.iter().take(kept).for_each(|write| log.extend_from_slice(&write.record));
        self.begin(id, incarnation + 1, log);
    }

    /// What its log says with so many of the writes that aren't synced.
    pub fn durable(&self, id: NodeId, kept: usize) -> Table {
        let node = &self.nodes[&id];
        let mut table = Table::default();
        table.replay(&node.log).unwrap();
        node.unsynced.iter().take(kept).for_each(|write| table.replay(&write.record).unwrap());
        table
    }

    /// How many writes it has that aren't synced.
    pub fn unsynced(&self, id: NodeId) -> usize {
        self.nodes[&id].unsynced.len()
    }

    /// It has no link to a peer.
    pub fn lose(&mut self, id: NodeId, peer: NodeId) {
        self.input(id, |plane, now, out| plane.on_peer_lost(now, peer, out));
    }

    /// Nodes are told of a view.
    pub fn begin_turn_over(&mut self, view: &View, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            self.input(NodeId(id), |plane, now, out| plane.on_view(now, view.clone(), out));
        }
    }

    /// Nodes are told of a view, and do what they can do about it at once.
    pub fn turn_over(&mut self, view: &View, ids: impl IntoIterator<Item = u64>) {
        self.begin_turn_over(view, ids);
        self.run();
    }

    pub fn input(&mut self, id: NodeId, call: impl FnOnce(&mut Plane, Instant, &mut Outbox)) {
        let mut out = Outbox::default();
        let node = self.nodes.get_mut(&id).unwrap();
        call(&mut node.plane, self.now, &mut out);
        node.plane.validate();
        if out.wants_block {
            node.plane.on_block(id.0 << 30, 1 << 21);
        }
        self.writes += out.writes.len();
        node.unsynced.extend(out.writes);
        self.flying.extend(out.messages);
        self.replies.extend(out.replies.into_iter().map(|(waiter, outcome)| (waiter.0, outcome)));
        self.notices.extend(out.notices);
        self.events.extend(out.events);
    }

    pub fn sync(&mut self, id: NodeId) {
        let writes = std::mem::take(&mut self.nodes.get_mut(&id).unwrap().unsynced);
        for write in writes {
            self.nodes.get_mut(&id).unwrap().log.extend_from_slice(&write.record);
            for parcel in write.then {
                if parcel.to == id {
                    self.input(id, |plane, now, out| plane.on_message(now, parcel, out));
                } else {
                    self.flying.push_back(parcel);
                }
            }
            self.input(id, |plane, now, out| plane.on_persisted(now, write.serial, out));
        }
    }

    /// Until nothing is on its way.
    pub fn run(&mut self) {
        while self.deliver_next().is_some() {}
    }

    /// All that is written is synced, and the next message is heard, if it can be.
    pub fn deliver_next(&mut self) -> Option<Parcel> {
        let ids: Vec<NodeId> = self.nodes.keys().copied().filter(|id| !self.stopped.contains(id)).collect();
        for id in ids {
            while !self.nodes[&id].unsynced.is_empty() {
                self.sync(id);
            }
        }
        let parcel = self.flying.pop_front()?;
        let heard =
            !self.stopped.contains(&parcel.from) && !self.stopped.contains(&parcel.to) && !(self.loses)(&parcel);
        if heard && self.nodes.contains_key(&parcel.to) {
            let mut bytes = Vec::new();
            parcel.encode(&mut bytes);
            let mut reader = base::codec::Reader::new(&bytes);
            let back = Parcel::decode(&mut reader, parcel.from, parcel.to).unwrap();
            assert_eq!((&back, reader.is_empty()), (&parcel, true));
            let heard = parcel.clone();
            self.input(parcel.to, |plane, now, out| {
                plane.judge(&heard).unwrap();
                plane.on_message(now, heard, out);
            });
        }
        Some(parcel)
    }

    /// Time passes; timers fire when they are due.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.plus_ms(ms);
        loop {
            let running = self.nodes.iter().filter(|(id, _)| !self.stopped.contains(id));
            let next = running.map(|(id, node)| (node.plane.next_deadline().max(self.now), *id)).min();
            let Some((at, id)) = next.filter(|(at, _)| *at <= end) else { break };
            self.now = at;
            self.input(id, |plane, now, out| plane.on_timer(now, out));
            self.run();
        }
        self.now = end;
    }

    /// A request whose answer may come later.
    pub fn ask(&mut self, id: u64, name: &'static str, command: Command) -> u64 {
        self.waiters += 1;
        let (waiter, name) = (self.waiters, Bytes::from_static(name.as_bytes()));
        self.input(NodeId(id), |plane, now, out| {
            plane.on_request(now, Waiter(waiter), name, command, out);
        });
        self.run();
        waiter
    }

    /// A request whose client may go before anything of it has passed: its number, by which it is cancelled.
    pub fn begin_request(&mut self, id: u64, name: &'static str, command: Command) -> u64 {
        let mut number = 0;
        self.input(NodeId(id), |plane, now, out| {
            number = plane.on_request(now, Waiter(NOBODYS), Bytes::from_static(name.as_bytes()), command, out);
        });
        number
    }

    pub fn cancel(&mut self, id: u64, number: u64) {
        self.input(NodeId(id), |plane, now, out| plane.on_cancel(now, number, out));
    }

    pub fn answer(&mut self, waiter: u64) -> Option<Outcome> {
        let at = self.replies.iter().position(|(known, _)| *known == waiter)?;
        Some(self.replies.remove(at).1)
    }

    /// A request and its answer, which comes at once.
    pub fn call(&mut self, id: u64, name: &'static str, command: Command) -> Outcome {
        let waiter = self.ask(id, name, command);
        self.answer(waiter).expect("it is answered")
    }

    pub fn acquire(&mut self, id: u64, name: &'static str, owner: &'static str) -> Outcome {
        self.call(id, name, Command::Acquire(acquire(owner, 1000)))
    }

    pub fn release(&mut self, id: u64, name: &'static str, owner: &'static str, token: u64) -> Outcome {
        self.call(id, name, Command::Release { owner: Bytes::from_static(owner.as_bytes()), token })
    }

    /// The grants that each voter knows.
    pub fn holders(&self) -> Vec<usize> {
        self.nodes.values().map(|node| node.plane.status().holders).collect()
    }

    pub fn count(&self, event: Event) -> usize {
        self.events.iter().filter(|one| **one == event).count()
    }
}
