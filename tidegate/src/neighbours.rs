//! What a lane knows of the other nodes, and the map that it draws of it for clients that route by themselves.
//!
//! The map is drawn anew at the end of a turn in which something has changed: a leader, a link, the members, a node's card.
//! Whoever serves a client reads it without a lock. It is made of this node's own knowledge; where that is behind, the node
//! that a client is sent to knows better, and says so.

use crate::clock;
use crate::peers::Card;
use crate::shared::Ports;
use base::{Epoch, Instant, NodeId, ShardId};
use edge::cluster::{Address, Hosts, Leader, Link, Map, Member};
use node::{Now, ShardStatus};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug)]
pub struct Neighbours {
    me: NodeId,
    own: Card,
    cards: BTreeMap<NodeId, Card>,
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
    pub fn new(me: NodeId, own: Card) -> Self {
        Self {
            me,
            own,
            cards: BTreeMap::new(),
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

    /// A node has told where it serves.
    pub fn on_card(&mut self, node: NodeId, card: Card) {
        self.cards.insert(node, card);
        self.outdate();
    }

    /// True if the map should be drawn anew.
    pub fn wants_map(&self, now: Instant) -> bool {
        self.outdated || self.look_at.is_some_and(|at| now >= at)
    }

    /// The map as of now.
    pub fn draw(&mut self, now: Now, shards: Vec<(ShardId, ShardStatus)>) -> Map {
        self.outdated = false;
        self.leaderless.retain(|shard, _| shards.iter().any(|(known, _)| known == shard));
        let mut nodes: Vec<NodeId> = shards.iter().flat_map(|(_, status)| status.voters.iter().copied()).collect();
        nodes.push(self.me);
        nodes.sort_unstable();
        nodes.dedup();
        let members = nodes.into_iter().map(|node| self.member(node)).collect();
        let shards = shards.into_iter().map(|(shard, status)| self.hosts(now.boot, shard, status)).collect();
        self.look_at =
            self.leaderless.values().map(|since| since.plus_ms(AWAIT_LEADER_MS)).filter(|at| *at > now.boot).min();
        Map { me: self.me, epoch: Epoch(1), members, shards }
    }

    fn hosts(&mut self, now: Instant, shard: ShardId, status: ShardStatus) -> Hosts {
        // A leader whose link broke is probably dead: another will be elected.
        let known = status.leader.filter(|node| *node == self.me || self.linked.contains_key(node));
        let leader = match known {
            Some(node) => {
                self.leaderless.remove(&shard);
                Leader::Node(node)
            }
            None if now < self.leaderless.entry(shard).or_insert(now).plus_ms(AWAIT_LEADER_MS) => Leader::Awaited,
            None => Leader::Nobody,
        };
        Hosts { leader, voters: status.voters, term: status.term, applied: status.applied }
    }

    fn member(&self, id: NodeId) -> Member {
        let card = if id == self.me { Some(&self.own) } else { self.cards.get(&id) };
        let address = card.map(|card| Address { host: card.host.clone(), port: card.cluster, peers_port: card.peers });
        let link = match self.linked.get(&id) {
            _ if id == self.me => Link::Myself,
            Some(since_ms) => Link::Up(*since_ms),
            None => Link::Down,
        };
        Member { id, address, link }
    }
}

/// The map of a node that is no part of a cluster.
pub fn alone(node: NodeId, ports: Ports, shards: u16) -> Map {
    let address = Address { host: HOST.to_owned(), port: ports.cluster, peers_port: 0 };
    Map::alone(Member { id: node, address: Some(address), link: Link::Myself }, shards)
}

/// Where all ports are, for now.
pub const HOST: &str = "127.0.0.1";
