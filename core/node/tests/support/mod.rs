//! Three nodes whose links and disks work at once or not at all.

use base::record::RecoveredShard;
use base::roster::Card;
use base::{ClientId, Instant, LaneId, NodeId, ShardId};
use data::{Reply, command};
use node::{Event, Founding, Lane, LaneConfig, Now, Outbox, PeerMessage, RecoveredReplica, Request, Routing};
use std::collections::{BTreeMap, VecDeque};

pub const CLIENT: ClientId = ClientId(5);

pub const MEMBERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

pub struct Node {
    pub lane: Lane,
    pub out: Outbox,
    pub up: bool,
}

pub struct Cluster {
    pub now: Now,
    /// How far the wall clocks of some nodes are ahead.
    pub ahead_ms: BTreeMap<NodeId, u64>,
    pub shards: u16,
    pub nodes: BTreeMap<NodeId, Node>,
    pub links: BTreeMap<(NodeId, NodeId), VecDeque<PeerMessage>>,
    pub seq: u64,
    pub replies: BTreeMap<(NodeId, u64), Reply>,
}

impl Cluster {
    pub fn new(shards: u16) -> Self {
        let now = Now { boot: Instant(1_000_000_000), wall_ms: 1_700_000_000_000 };
        let mut cluster = Self {
            now,
            ahead_ms: BTreeMap::new(),
            shards,
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            seq: 0,
            replies: BTreeMap::new(),
        };
        MEMBERS.into_iter().for_each(|node| cluster.begin(node));
        cluster
    }

    /// Starts a node with an empty disk.
    pub fn begin(&mut self, node: NodeId) {
        let routing = Routing::new(self.shards, 1).with_meta();
        let config = LaneConfig { node, lane: LaneId(0), routing, seed: node.0 };
        let empty = |shard| RecoveredReplica { shard, log: RecoveredShard::default(), keyspace: None };
        let mut out = Outbox::default();
        let mut lane = Lane::start(self.now, config, &MEMBERS, routing.groups().map(empty).collect(), &mut out);
        let members = MEMBERS.map(|node| (node, peers_of(node))).to_vec();
        lane.keep_roster(Founding { members, card: card(node) });
        self.nodes.insert(node, Node { lane, out, up: true });
    }

    /// Lets time pass, and all that follows from it.
    pub fn pass_ms(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(5) {
            self.now.boot = self.now.boot.plus_ms(5);
            self.now.wall_ms += 5;
            let ahead_ms = self.ahead_ms.clone();
            for (id, node) in self.nodes.iter_mut().filter(|(_, node)| node.up) {
                if node.out.next_deadline.is_some_and(|at| at <= self.now.boot) {
                    node.lane.on_timer(shown(self.now, &ahead_ms, *id), &mut node.out);
                }
            }
            self.settle();
        }
    }

    /// Syncs and delivers until nothing is left to do.
    pub fn settle(&mut self) {
        loop {
            let mut busy = false;
            let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
            for id in ids {
                busy |= self.turn(id);
            }
            let links: Vec<_> = std::mem::take(&mut self.links).into_iter().collect();
            busy |= links.iter().any(|(_, messages)| !messages.is_empty());
            self.deliver(links);
            if !busy {
                return;
            }
        }
    }

    /// Hands messages to those they are for.
    pub fn deliver(&mut self, links: Vec<((NodeId, NodeId), VecDeque<PeerMessage>)>) {
        for ((from, to), messages) in links {
            let now = shown(self.now, &self.ahead_ms, to);
            let node = self.nodes.get_mut(&to).expect("it exists");
            for message in messages.into_iter().filter(|_| node.up) {
                node.lane.on_peer(now, from, message, &mut node.out);
            }
        }
    }

    /// Ends a node's turn; true if that let something go.
    pub fn turn(&mut self, id: NodeId) -> bool {
        let node = self.nodes.get_mut(&id).expect("it exists");
        if !node.up {
            return false;
        }
        let now = shown(self.now, &self.ahead_ms, id);
        node.lane.on_turn_end(now, &mut node.out);
        let mut send = |to, message| self.links.entry((id, to)).or_default().push_back(message);
        let mut busy = false;
        for envelope in std::mem::take(&mut node.out.raft.messages) {
            send(envelope.to, PeerMessage::Raft { shard: envelope.shard, message: envelope.message });
        }
        for (to, message) in std::mem::take(&mut node.out.peers) {
            send(to, message);
        }
        for write in std::mem::take(&mut node.out.raft.writes) {
            for envelope in write.then {
                busy = true;
                if envelope.to == id {
                    node.lane.on_persisted(now, envelope, &mut node.out);
                } else {
                    send(envelope.to, PeerMessage::Raft { shard: envelope.shard, message: envelope.message });
                }
            }
        }
        for (client, seq, reply) in std::mem::take(&mut node.out.replies) {
            if client == ClientId(0) {
                // What the steward asked for.
                continue;
            }
            assert!(self.replies.insert((id, seq), reply).is_none(), "nothing is answered twice");
        }
        for event in std::mem::take(&mut node.out.events) {
            assert!(!matches!(event, Event::BadEntry { .. } | Event::PeerMisbehaved { .. }), "{event:?}");
        }
        busy
    }

    pub fn send(&mut self, id: NodeId, words: &[&str]) -> (NodeId, u64) {
        self.send_as(CLIENT, id, words)
    }

    /// The same by another client.
    pub fn send_as(&mut self, client: ClientId, id: NodeId, words: &[&str]) -> (NodeId, u64) {
        let args: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let command = command::find(args[0]).expect("the test names commands that exist");
        self.seq += 1;
        let request = Request { client, seq: self.seq, db: 0, joins: false, command, args: &args };
        let node = self.nodes.get_mut(&id).expect("it exists");
        node.lane.on_request(self.now, request, &mut node.out);
        (id, self.seq)
    }

    pub fn ask(&mut self, id: NodeId, words: &[&str]) -> Reply {
        let sent = self.send(id, words);
        self.settle();
        self.reply(sent)
    }

    pub fn reply(&mut self, sent: (NodeId, u64)) -> Reply {
        self.replies.remove(&sent).unwrap_or_else(|| panic!("{sent:?} has no reply"))
    }

    pub fn leader(&self, shard: ShardId) -> NodeId {
        let leads = |node: &Node| node.up && node.lane.statuses().any(|(id, status)| id == shard && status.leads);
        *self.nodes.iter().find(|(_, node)| leads(node)).expect("somebody leads").0
    }

    /// Tells every node that it is linked to all others that run.
    pub fn link_all(&mut self) {
        let up: Vec<NodeId> = self.nodes.iter().filter(|(_, node)| node.up).map(|(id, _)| *id).collect();
        for id in &up {
            let now = shown(self.now, &self.ahead_ms, *id);
            let node = self.nodes.get_mut(id).expect("it exists");
            up.iter().filter(|peer| *peer != id).for_each(|peer| node.lane.on_peer_up(now, *peer, &mut node.out));
        }
        self.settle();
    }

    pub fn kill(&mut self, id: NodeId) {
        self.nodes.get_mut(&id).expect("it exists").up = false;
        self.links.retain(|(from, to), _| *from != id && *to != id);
        for node in self.nodes.values_mut().filter(|node| node.up) {
            node.lane.on_peer_lost(self.now, id, &mut node.out);
        }
        self.settle();
    }
}

/// What time a node has whose clock may be wrong.
pub fn shown(now: Now, ahead_ms: &BTreeMap<NodeId, u64>, id: NodeId) -> Now {
    Now { wall_ms: now.wall_ms + ahead_ms.get(&id).copied().unwrap_or(0), ..now }
}

pub fn peers_of(node: NodeId) -> String {
    format!("host-{}:7380", node.0)
}

pub fn card(node: NodeId) -> Card {
    let at = |port: u16| format!("host-{}:{port}", node.0);
    Card { peers: peers_of(node), resp: at(6379), cluster: at(6381), admin: at(7379) }
}

pub fn ready(shards: u16) -> Cluster {
    let mut cluster = Cluster::new(shards);
    cluster.pass_ms(1000);
    assert!(cluster.nodes.values().all(|node| node.lane.ready()), "a cluster is ready within a second");
    cluster
}
