//! What a lane knows of the other nodes, and the map that it draws of it for clients that route by themselves.
//!
//! The map is drawn anew at the end of a turn in which something has changed: a leader, a link, the members, an address.
//! Whoever serves a client reads it without a lock. It is made of this node's own knowledge; where that is behind, the node
//! that a client is sent to knows better, and says so.

use crate::clock;
use crate::shared::Ports;
use base::{Epoch, Instant, NodeId, Roster, ShardId};
use edge::cluster::{Address, Hosts, Leader, Link, Map, Member};
use node::{Now, ShardStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Neighbours {
    me: NodeId,
    own: Address,
    roster: Option<Arc<Roster>>,
    /// Who is linked, since when in milliseconds since the Unix epoch.
    linked: BTreeMap<NodeId, u64>,
    /// Shards without a leader, and since when.
    leaderless: BTreeMap<ShardId, Instant>,
    outdated: bool,
    /// When a shard may have been without a leader for too long.
    look_at: Option<Instant>,
}

/// So long a shard may be without a leader before its clients are told so: an election takes a third of it.
const AWAIT_LEADER_MS: u64 = 1_000;

impl Neighbours {
    /// Of a node that has heard from nobody.
    pub fn new(me: NodeId, ports: Ports) -> Self {
        Self {
            me,
            own: address(ports),
            roster: None,
            linked: BTreeMap::new(),
            leaderless: BTreeMap::new(),
            outdated: true,
            look_at: None,
        }
    }

    /// Something has changed that the map shows.
    pub fn outdate(&mut self) {
        self.outdated = true;
    }

    /// There is a link to a node.
    pub fn on_up(&mut self, node: NodeId) {
        self.linked.insert(node, clock::wall_ms());
        self.outdate();
    }

    /// A link broke.
    pub fn on_lost(&mut self, node: NodeId) {
        self.linked.remove(&node);
        self.outdate();
    }

    /// The cluster's roster has changed.
    pub fn on_roster(&mut self, roster: Arc<Roster>) {
        self.roster = Some(roster);
        self.outdate();
    }

    /// True if the map should be drawn anew.
    pub fn wants_map(&self, now: Instant) -> bool {
        self.outdated || self.look_at.is_some_and(|at| now >= at)
    }

    /// The map as of now; `shards` are all that have slots.
    pub fn draw(&mut self, now: Now, shards: Vec<(ShardId, ShardStatus)>) -> Map {
        self.outdated = false;
        let nodes = self.roster.iter().flat_map(|roster| roster.cards().keys().copied());
        let voters = shards.iter().flat_map(|(_, status)| status.voters.iter().copied());
        let nodes: BTreeSet<NodeId> = nodes.chain(voters).chain([self.me]).collect();
        let members = nodes.into_iter().map(|node| self.member(node)).collect();
        let shards = shards.into_iter().map(|(shard, status)| self.hosts(now.boot, shard, status)).collect();
        let ends = self.leaderless.values().map(|since| since.plus_ms(AWAIT_LEADER_MS));
        self.look_at = ends.filter(|at| *at > now.boot).min();
        let epoch = self.roster.as_ref().map_or(Epoch(0), |roster| roster.epoch());
        Map { me: self.me, epoch, members, shards }
    }

    fn hosts(&mut self, now: Instant, shard: ShardId, status: ShardStatus) -> Hosts {
        // A leader whose link broke is probably dead: another will be elected.
        let known = status.leader.filter(|node| *node == self.me || self.linked.contains_key(node));
        if known.is_some() {
            self.leaderless.remove(&shard);
        }
        let leader = match known {
            Some(node) if self.address_of(node).is_some() => Leader::Node(node),
            // Until it has said where it listens, what is for it goes there from here.
            Some(_) => Leader::Awaited,
            None if now < self.leaderless.entry(shard).or_insert(now).plus_ms(AWAIT_LEADER_MS) => Leader::Awaited,
            None => Leader::Nobody,
        };
        Hosts { leader, voters: status.voters, term: status.term, applied: status.applied }
    }

    fn member(&self, id: NodeId) -> Member {
        let link = match self.linked.get(&id) {
            _ if id == self.me => Link::Myself,
            Some(since_ms) => Link::Up(*since_ms),
            None => Link::Down,
        };
        Member { id, address: self.address_of(id), link }
    }

    /// Where clients reach a node.
    fn address_of(&self, id: NodeId) -> Option<Address> {
        if id == self.me {
            return Some(self.own.clone());
        }
        let card = self.roster.as_ref()?.cards().get(&id)?;
        let (cluster, peers) = (card.cluster.parse::<SocketAddr>().ok()?, card.peers.parse::<SocketAddr>().ok());
        let peers_port = peers.map_or(0, |address| address.port());
        Some(Address { host: cluster.ip().to_string(), port: cluster.port(), peers_port })
    }
}

fn address(ports: Ports) -> Address {
    Address { host: HOST.to_owned(), port: ports.cluster, peers_port: ports.peers.unwrap_or(0) }
}

/// The map of a node that is no part of a cluster.
pub fn alone(node: NodeId, ports: Ports, shards: u16) -> Map {
    Map::alone(Member { id: node, address: Some(address(ports)), link: Link::Myself }, shards)
}

/// Where all ports are, for now.
pub const HOST: &str = "127.0.0.1";
