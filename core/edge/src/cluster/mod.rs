//! A Redis Cluster to clients that route by themselves: where the slots are, and who is to be asked instead.
//!
//! A [`Map`] is what a node knows of the cluster at a time, an immutable value that is swapped whole; whoever drives
//! sessions makes it. `answer` is what CLUSTER says of it, `check` what becomes of a command.
//!
//! Redis knows masters with slots and replicas of one master each. Here a node leads some shards and holds others, so the
//! roles are told so that every client's view is of use: who leads anything is a master, and a replica of nothing. Of
//! clients that list the nodes by role, some take the role that they see first, and would leave a leader out where they ask
//! all masters. Who leads nothing is a replica of what it holds. CLUSTER SHARDS tells it all.

mod answer;
pub(crate) mod check;
#[cfg(test)]
mod tests;

pub use check::{Place, View};

use base::{Epoch, Index, NodeId, ShardId, Slot, Term};

/// What a node knows of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    pub me: NodeId,
    pub epoch: Epoch,
    /// In rising order.
    pub members: Vec<Member>,
    /// By number.
    pub shards: Vec<Hosts>,
}

/// A node, as clients reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    /// Of its cluster endpoint; nothing until it has told.
    pub address: Option<Address>,
    pub link: Link,
}

/// Where a node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
    /// For its peers.
    pub peers_port: u16,
}

/// How a node is linked to the one that tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Myself,
    /// Since that time, in milliseconds since the Unix epoch.
    Up(u64),
    Down,
}

/// The nodes of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    pub leader: Leader,
    /// In rising order.
    pub voters: Vec<NodeId>,
    pub term: Term,
    /// How far this node has applied the shard's log.
    pub applied: Index,
}

/// Who leads a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leader {
    Node(NodeId),
    /// Nobody for a moment: what comes meanwhile waits here, and is sent to whoever is elected.
    Awaited,
    /// Nobody for long.
    Nobody,
}

impl Map {
    /// A node that is alone and leads all shards.
    #[must_use]
    pub fn alone(me: Member, shards: u16) -> Self {
        let id = me.id;
        let hosts = Hosts { leader: Leader::Node(id), voters: vec![id], term: Term(1), applied: Index(0) };
        Self { me: id, epoch: Epoch(1), members: vec![me], shards: vec![hosts; usize::from(shards)] }
    }

    /// The shard of a slot.
    #[must_use]
    pub fn shard_of(&self, slot: Slot) -> ShardId {
        slot.shard(self.shard_count())
    }

    /// True if this node leads the shard, or whoever does will be asked from here.
    #[must_use]
    pub fn is_served_here(&self, shard: ShardId) -> bool {
        matches!(self.owner(self.hosts(shard)), Some(owner) if owner == self.me)
    }

    fn hosts(&self, shard: ShardId) -> &Hosts {
        &self.shards[usize::from(shard.0)]
    }

    fn shard_count(&self) -> u16 {
        u16::try_from(self.shards.len()).expect("there are no more than SHARD_COUNT_MAX")
    }

    fn member(&self, id: NodeId) -> Option<&Member> {
        let at = self.members.binary_search_by_key(&id, |member| member.id).ok()?;
        Some(&self.members[at])
    }

    /// Whom to ask for a shard: this node, while it waits for a leader.
    fn owner(&self, hosts: &Hosts) -> Option<NodeId> {
        match hosts.leader {
            Leader::Node(node) => Some(node),
            Leader::Awaited => Some(self.me),
            Leader::Nobody => None,
        }
    }

    fn is_master(&self, node: NodeId) -> bool {
        self.shards.iter().any(|hosts| self.owner(hosts) == Some(node))
    }

    /// The first and the last slot of a shard.
    fn slots(&self, shard: ShardId) -> (u16, u16) {
        let count = self.shard_count();
        let end = match shard.0 + 1 {
            next if next == count => base::slot::SLOT_COUNT,
            next => Slot::first_of(ShardId(next), count).0,
        };
        (Slot::first_of(shard, count).0, end - 1)
    }

    /// All shards by number.
    fn all(&self) -> impl Iterator<Item = (ShardId, &Hosts)> {
        (0..).map(ShardId).zip(&self.shards)
    }
}

impl Address {
    /// `host:port`, as MOVED names it.
    fn endpoint(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}
