//! One replica in a state of the model: the real group, what its disk holds, and what waits for that disk.

use base::rng::Rng;
use base::{Index, Instant, NodeId, ShardId};
use consensus::raft::{Group, Membership, Message, Ticket, Tuning};
use sim::group::disk::Disk;
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Clone, Debug, Hash)]
pub struct Replica {
    pub id: NodeId,
    pub group: Group,
    pub disk: Disk,
    /// Notices of durable writes that have not arrived, where they may overtake each other.
    pub notices: Vec<Message>,
    /// What its clock shows.
    pub clock_ms: u64,
    /// A read that waits for a round, and what had been told to clients when it came.
    pub read: Option<(Ticket, Index)>,
}

impl Replica {
    /// A replica with an empty disk.
    pub fn new(id: NodeId, members: Membership, tuning: Tuning) -> Self {
        let disk = Disk::default();
        let group = Group::new(id, SHARD, members, disk.recover(), Rng::new(0)).tuned(tuning);
        Self { id, group, disk, notices: Vec::new(), clock_ms: 0, read: None }
    }

    /// Its process ends, and begins anew with what is durable.
    pub fn crash(&mut self, members: Membership, tuning: Tuning) {
        self.disk.crash(0);
        self.notices.clear();
        self.read = None;
        self.group = Group::new(self.id, SHARD, members, self.disk.recover(), Rng::new(0)).tuned(tuning);
    }

    pub fn now(&self) -> Instant {
        Instant(0).plus_ms(self.clock_ms)
    }
}

const SHARD: ShardId = ShardId(0);

/// 64 bits that stand for a value.
pub fn print_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
