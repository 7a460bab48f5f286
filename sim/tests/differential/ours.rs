//! Three replicas of our core.
//!
//! Each has a clock of its own, since followers must be able to forget while leaders stay.

use crate::cluster::{Cluster, Copies, NODES, View};
use base::record::{Payload, RecoveredShard};
use base::rng::Rng;
use base::{Instant, NodeId, ShardId};
use bytes::Bytes;
use consensus::raft::{Group, Membership, Tuning, Turned};
use consensus::{Effects, Envelope};
use sim::group::disk::Disk;

pub struct Ours {
    replicas: Vec<Replica>,
    wire: Vec<Envelope>,
}

struct Replica {
    id: NodeId,
    group: Group,
    disk: Disk,
    now_ms: u64,
}

/// A leader may beat at any time: what comes of it is the script's choice.
const TUNING: Tuning = Tuning {
    heartbeat_ms: 0,
    election_ms: 200,
    election_spread_ms: 0,
    drift_ms: 20,
    kept_bytes_max: usize::MAX,
    held_bytes_max: usize::MAX,
};

fn group(id: NodeId, recovered: RecoveredShard) -> Group {
    Group::new(id, ShardId(0), Membership::of_voters(NODES.map(NodeId)), recovered, Rng::new(id.0)).tuned(TUNING)
}

impl Ours {
    pub fn new() -> Self {
        let replica = |id| {
            let id = NodeId(id);
            Replica { id, group: group(id, RecoveredShard::default()), disk: Disk::default(), now_ms: 0 }
        };
        let mut ours = Self { replicas: NODES.map(replica).collect(), wire: Vec::new() };
        NODES.for_each(|id| ours.input(id, start));
        ours
    }

    fn replica(&mut self, node: u64) -> &mut Replica {
        &mut self.replicas[place(node)]
    }

    /// An input, and all that follows from it at home.
    fn input(&mut self, node: u64, call: impl FnOnce(&mut Group, Instant, &mut Effects) -> Turned) {
        let Replica { id, group, disk, now_ms } = &mut self.replicas[place(node)];
        let (now, mut out) = (Instant(0).plus_ms(*now_ms), Effects::default());
        let mut turned = call(group, now, &mut out);
        loop {
            if turned.elected {
                group.propose(now, Bytes::new(), &mut out);
            }
            while group.next_committed().is_some() {}
            self.wire.append(&mut out.messages);
            disk.unsynced.extend(out.writes.drain(..));
            if disk.unsynced.is_empty() {
                return;
            }
            turned = Turned::default();
            for envelope in disk.sync(1).into_iter().flat_map(|write| write.then) {
                if envelope.to == *id {
                    turned.elected |= group.on_message(now, *id, envelope.message, &mut out).elected;
                } else {
                    self.wire.push(envelope);
                }
            }
        }
    }
}

fn start(group: &mut Group, now: Instant, out: &mut Effects) -> Turned {
    group.start(now, out);
    Turned::default()
}

impl Cluster for Ours {
    fn forget_promises(&mut self) {
        self.replicas.iter_mut().filter(|one| !one.group.leads()).for_each(|one| one.now_ms += 1000);
    }

    fn campaign(&mut self, node: u64) {
        self.input(node, Group::on_timer);
    }

    fn propose(&mut self, node: u64, data: u8) {
        self.input(node, |group, now, out| {
            group.propose(now, Bytes::copy_from_slice(&[data]), out);
            Turned::default()
        });
    }

    fn beat(&mut self, node: u64) {
        self.input(node, Group::on_timer);
    }

    fn hear_nobody(&mut self, node: u64) {
        self.replica(node).now_ms += 1000;
        self.input(node, Group::on_timer);
    }

    fn transfer(&mut self, node: u64, to: u64) {
        self.input(node, |group, now, out| {
            group.transfer(now, NodeId(to), out);
            Turned::default()
        });
    }

    fn restart(&mut self, node: u64) {
        let replica = self.replica(node);
        replica.disk.crash(0);
        replica.group = group(replica.id, replica.disk.recover());
        self.input(node, start);
    }

    fn on_their_way(&self) -> Vec<(u64, u64)> {
        self.wire.iter().map(|envelope| (envelope.from.0, envelope.to.0)).collect()
    }

    fn deliver(&mut self, at: usize, copies: Copies) {
        let envelope = if copies == Copies::Two { self.wire[at].clone() } else { self.wire.swap_remove(at) };
        self.input(envelope.to.0, |group, now, out| group.on_message(now, envelope.from, envelope.message, out));
    }

    fn lose(&mut self, at: usize) {
        self.wire.swap_remove(at);
    }

    fn lose_all(&mut self) {
        self.wire.clear();
    }

    fn view(&self, node: u64) -> View {
        let Replica { group, disk, .. } = &self.replicas[place(node)];
        let (term, vote) = group.vote();
        let entry = |payload: &Payload| match payload {
            Payload::Data(bytes) => bytes.first().copied(),
            Payload::Members(_) => unreachable!("nobody changes members here"),
        };
        let log = disk.recover().entries.iter().map(|found| (found.term.0, entry(&found.payload))).collect();
        View { leads: group.leads(), term: term.0, vote: vote.map(|node| node.0), commit: group.commit().0, log }
    }
}

fn place(node: u64) -> usize {
    usize::try_from(node).expect("small") - 1
}
