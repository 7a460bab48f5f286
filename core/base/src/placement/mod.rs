//! Which nodes host which shard: the placement, a value with an epoch, and its changes.
//!
//! A placement is agreed state: each change makes a new one out of the former, so it can do what a function of the nodes
//! alone can't. Seats are even (no node has two more than another) and a change moves as few as can be: who joins takes
//! its share and nothing else moves; who leaves has its seats taken by others, each once. The ring still says
//! *which*: a shard's seats go to the first nodes clockwise from it that have room, and who joins draws the shards nearest to
//! it. So a lost node's shards have their other replicas all over the cluster, which then heals from many sides.
//!
//! Capacity is the even share, not 1.1 times it as on the bounded ring: slack gains nothing where the former placement is
//! known, and even seats are what makes even leaders possible (`ring::firsts` shows why). Preferred leaders are balanced
//! apart, to within one, and kept where they are as far as that allows.
//!
//! Nodes agree on a placement's bytes, not on how it was made: who proposes a change makes it once, so another version may make
//! better ones.
//!
//! What this leaves to others: carrying a change out, as learners that catch up and joint consensus, one shard after another
//! ([`Placement::changes_to`] lists what is to do), and agreeing on it. A preferred leader is a wish, not a claim.

mod codec;
mod refused;
#[cfg(test)]
mod tests;

pub use refused::{Flaw, Refused};

use crate::limits::{NODE_COUNT_MAX, REPLICA_COUNT_MAX, SHARD_COUNT_MAX};
use crate::ring::firsts::{Firsts, Span};
use crate::ring::seats::{Quota, Seats};
use crate::ring::{Position, Ring};
use crate::{Epoch, NodeId, ShardId, Slot};

/// Who hosts what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    epoch: Epoch,
    /// How many voters a shard has as soon as there are as many nodes.
    replicas: u8,
    /// In rising order.
    nodes: Vec<NodeId>,
    /// By number.
    shards: Vec<Hosts>,
}

/// The nodes of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// In rising order.
    pub voters: Vec<NodeId>,
    /// The voter that should lead while it can.
    pub leader: NodeId,
}

/// What a new placement asks of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub shard: ShardId,
    /// Voters that it gets.
    pub added: Vec<NodeId>,
    /// Voters that it loses.
    pub removed: Vec<NodeId>,
    /// Who should lead from now on, if that is somebody else.
    pub leader: Option<NodeId>,
}

impl Placement {
    /// The placement of a new cluster, epoch 1: `shards` shards with `replicas` voters each, or as many as there are nodes.
    pub fn first(nodes: impl IntoIterator<Item = NodeId>, shards: u16, replicas: u8) -> Result<Self, Refused> {
        let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
        nodes.sort_unstable();
        if let Some(twice) = nodes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Refused::Present(twice[0]));
        }
        if nodes.is_empty() || nodes.len() > usize::from(NODE_COUNT_MAX) {
            return Err(Refused::NodeCount(nodes.len()));
        }
        if shards == 0 || shards > SHARD_COUNT_MAX {
            return Err(Refused::ShardCount(shards));
        }
        if replicas == 0 || replicas > REPLICA_COUNT_MAX {
            return Err(Refused::ReplicaCount(replicas));
        }
        let nobody = vec![Former::default(); usize::from(shards)];
        Ok(Self::settled(Epoch(1), replicas, nodes, &nobody))
    }

    /// A node more: it takes an even share of the seats, the leaders and nothing else.
    pub fn join(&self, node: NodeId) -> Result<Self, Refused> {
        let Err(at) = self.nodes.binary_search(&node) else { return Err(Refused::Present(node)) };
        if self.nodes.len() >= usize::from(NODE_COUNT_MAX) {
            return Err(Refused::NodeCount(self.nodes.len() + 1));
        }
        let mut nodes = self.nodes.clone();
        nodes.insert(at, node);
        Ok(Self::settled(self.epoch.next(), self.replicas, nodes, &self.former()))
    }

    /// A node fewer: others take its seats and its leaders.
    pub fn leave(&self, node: NodeId) -> Result<Self, Refused> {
        let Ok(at) = self.nodes.binary_search(&node) else { return Err(Refused::Absent(node)) };
        if self.nodes.len() == 1 {
            return Err(Refused::NodeCount(0));
        }
        let mut nodes = self.nodes.clone();
        nodes.remove(at);
        Ok(Self::settled(self.epoch.next(), self.replicas, nodes, &self.former()))
    }

    /// Another node in the place of one: it takes over its seats and leaders as they are, and nothing else moves.
    pub fn replace(&self, dead: NodeId, with: NodeId) -> Result<Self, Refused> {
        let Ok(at) = self.nodes.binary_search(&dead) else { return Err(Refused::Absent(dead)) };
        if self.nodes.binary_search(&with).is_ok() {
            return Err(Refused::Present(with));
        }
        let heir = |node: &mut NodeId| *node = if *node == dead { with } else { *node };
        let mut next = Self { epoch: self.epoch.next(), ..self.clone() };
        next.nodes[at] = with;
        next.nodes.sort_unstable();
        for hosts in &mut next.shards {
            hosts.voters.iter_mut().for_each(heir);
            hosts.voters.sort_unstable();
            heir(&mut hosts.leader);
        }
        Ok(next)
    }

    /// Its number: each change has the next one.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The nodes in rising order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// How many voters a shard has as soon as there are as many nodes.
    #[must_use]
    pub fn replicas(&self) -> u8 {
        self.replicas
    }

    /// How many shards there are.
    #[must_use]
    pub fn shard_count(&self) -> u16 {
        u16::try_from(self.shards.len()).expect("there are no more than SHARD_COUNT_MAX")
    }

    /// All shards with their nodes.
    pub fn shards(&self) -> impl Iterator<Item = (ShardId, &Hosts)> {
        (0..).map(ShardId).zip(&self.shards)
    }

    /// The nodes of a shard below the count.
    #[must_use]
    pub fn hosts(&self, shard: ShardId) -> &Hosts {
        &self.shards[usize::from(shard.0)]
    }

    /// The shard of a slot.
    #[must_use]
    pub fn shard_of(&self, slot: Slot) -> ShardId {
        slot.shard(self.shard_count())
    }

    /// What is to do from here to `next`, a placement of the same shards: the shards that change.
    #[must_use]
    pub fn changes_to(&self, next: &Self) -> Vec<Change> {
        let less =
            |these: &[NodeId], those: &[NodeId]| these.iter().copied().filter(|node| !those.contains(node)).collect();
        let both = self.shards().zip(&next.shards);
        let all = both.map(|((shard, old), new)| Change {
            shard,
            added: less(&new.voters, &old.voters),
            removed: less(&old.voters, &new.voters),
            leader: (new.leader != old.leader).then_some(new.leader),
        });
        all.filter(|change| !change.added.is_empty() || !change.removed.is_empty() || change.leader.is_some()).collect()
    }

    /// What every placement keeps; the decoder refuses others.
    pub fn validate(&self) -> Result<(), Flaw> {
        self.validate_head()?;
        if !within(self.shards.len(), usize::from(SHARD_COUNT_MAX)) {
            return Err(Flaw::Shards);
        }
        let sound = |hosts: &Hosts| {
            hosts.voters.len() == self.voters_per_shard()
                && is_rising(&hosts.voters)
                && hosts.voters.iter().all(|voter| self.nodes.binary_search(voter).is_ok())
                && hosts.voters.contains(&hosts.leader)
        };
        match self.shards().find(|(_, hosts)| !sound(hosts)) {
            Some((shard, _)) => Err(Flaw::Hosts(shard)),
            None => Ok(()),
        }
    }

    /// What the shards are read by.
    fn validate_head(&self) -> Result<(), Flaw> {
        if self.epoch == Epoch(0) || self.epoch > Epoch::MAX {
            return Err(Flaw::Epoch);
        }
        if !within(usize::from(self.replicas), usize::from(REPLICA_COUNT_MAX)) {
            return Err(Flaw::Replicas);
        }
        if !within(self.nodes.len(), usize::from(NODE_COUNT_MAX)) || !is_rising(&self.nodes) {
            return Err(Flaw::Nodes);
        }
        Ok(())
    }

    fn voters_per_shard(&self) -> usize {
        usize::from(self.replicas).min(self.nodes.len())
    }

    fn former(&self) -> Vec<Former> {
        self.shards.iter().map(|hosts| Former { voters: hosts.voters.clone(), leader: Some(hosts.leader) }).collect()
    }

    /// Shards settled on `nodes`, where they were before as far as can be.
    fn settled(epoch: Epoch, replicas: u8, nodes: Vec<NodeId>, former: &[Former]) -> Self {
        let place = |node: &NodeId| nodes.binary_search(node).ok();
        let kept = former.iter().map(|shard| shard.voters.iter().filter_map(place).collect()).collect();
        let holders = seated(&nodes, usize::from(replicas).min(nodes.len()), kept);

        let wished: Vec<Option<usize>> = former.iter().map(|shard| place(&shard.leader?)).collect();
        let span = Span { least: holders.len() / nodes.len(), most: holders.len().div_ceil(nodes.len()) };
        let leaders = Firsts::new(&holders, nodes.len(), &wished).spread(span);

        let named = holders.into_iter().zip(leaders).map(|(mut places, leader)| {
            // Places rise with ids.
            places.sort_unstable();
            Hosts { voters: places.into_iter().map(|place| nodes[place]).collect(), leader: nodes[leader] }
        });
        let shards = named.collect();
        Self { epoch, replicas, nodes, shards }
    }
}

fn within(count: usize, most: usize) -> bool {
    (1..=most).contains(&count)
}

fn is_rising(nodes: &[NodeId]) -> bool {
    nodes.is_sorted_by(|one, next| one < next)
}

/// A shard before the change.
#[derive(Clone, Debug, Default)]
struct Former {
    voters: Vec<NodeId>,
    leader: Option<NodeId>,
}

/// Gives each shard `wanted` seats, evenly over the nodes, the kept ones as far as can be.
fn seated(nodes: &[NodeId], wanted: usize, kept: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    let keys: Vec<Position> = (0..).take(kept.len()).map(Position::of_key).collect();
    let short: Vec<usize> = (0..kept.len()).filter(|shard| kept[*shard].len() < wanted).collect();
    let mut seats = Seats::new(kept, nodes.len(), Quota::even(keys.len() * wanted, nodes.len()));
    if !short.is_empty() {
        let ring = Ring::new(nodes.iter().copied());
        for shard in short {
            seats.fill(&ring, shard, keys[shard], wanted);
        }
    }
    seats.level(|shard, place| keys[shard].until_node(nodes[place]));
    seats.into_holders()
}
