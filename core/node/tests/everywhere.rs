//! Messages and questions for every lane of every node: two nodes with two lanes each, whose links lose nothing unless
//! they break.

use base::{ClientId, Instant, LaneId, NodeId};
use bytes::Bytes;
use data::Reply;
use data::command::pubsub::{Everywhere, Message, Topic};
use node::{Lane, LaneConfig, Now, Outbox, PeerMessage, Reach, RecoveredReplica, Routing};
use std::collections::BTreeMap;

const NODES: [NodeId; 2] = [NodeId(1), NodeId(2)];
const LANES: u16 = 2;
const PUBLISHER: ClientId = ClientId(9);

type At = (NodeId, LaneId);

struct World {
    now: Now,
    lanes: BTreeMap<At, (Lane, Outbox)>,
    /// Nodes whose inputs wait.
    stopped: Vec<NodeId>,
    waiting: Vec<(NodeId, NodeId, PeerMessage)>,
    seq: u64,
    replies: BTreeMap<(At, u64), Reply>,
    got: Vec<(At, Message)>,
}

impl World {
    fn new() -> Self {
        let now = Now { boot: Instant(1_000_000_000), wall_ms: 1_700_000_000_000 };
        let mut lanes = BTreeMap::new();
        for node in NODES {
            for lane in (0..LANES).map(LaneId) {
                let routing = Routing::new(2, LANES);
                let config = LaneConfig { node, lane, routing, seed: node.0 };
                let mut out = Outbox::default();
                let none = Vec::<RecoveredReplica>::new();
                lanes.insert((node, lane), (Lane::start(now, config, &NODES, none, &mut out), out));
            }
        }
        let mut world = Self {
            now,
            lanes,
            stopped: Vec::new(),
            waiting: Vec::new(),
            seq: 0,
            replies: BTreeMap::new(),
            got: Vec::new(),
        };
        for (node, other) in [(NODES[0], NODES[1]), (NODES[1], NODES[0])] {
            world.with((node, LaneId(0)), |lane, now, out| lane.on_peer_up(now, other, out));
        }
        world.settle();
        world
    }

    fn with(&mut self, at: At, call: impl FnOnce(&mut Lane, Now, &mut Outbox)) {
        let (lane, out) = self.lanes.get_mut(&at).expect("it exists");
        call(lane, self.now, out);
    }

    fn listen(&mut self, at: At, client: u64, topic: Topic, name: &str) {
        self.with(at, |lane, _, _| lane.topics_mut().listen(ClientId(client), topic, name.as_bytes()));
    }

    fn send(&mut self, at: At, what: Everywhere, reach: Reach) -> (At, u64) {
        self.seq += 1;
        let seq = self.seq;
        self.with(at, |lane, now, out| lane.on_everywhere(now, (PUBLISHER, seq), what, reach, out));
        self.settle();
        (at, seq)
    }

    fn ask(&mut self, at: At, what: Everywhere, reach: Reach) -> Reply {
        let sent = self.send(at, what, reach);
        self.replies.remove(&sent).expect("it is answered")
    }

    fn settle(&mut self) {
        loop {
            let mut busy = false;
            for at in self.lanes.keys().copied().collect::<Vec<_>>() {
                let (_, out) = self.lanes.get_mut(&at).expect("it exists");
                let (sends, peers) = (std::mem::take(&mut out.sends), std::mem::take(&mut out.peers));
                self.got.extend(out.messages.drain(..).map(|message| (at, message)));
                self.replies.extend(out.replies.drain(..).map(|(_, seq, reply)| ((at, seq), reply)));
                busy |= !sends.is_empty();
                assert!(at.1 == LaneId(0) || peers.is_empty(), "links belong to the first lane");
                self.waiting.extend(peers.into_iter().map(|(to, message)| (at.0, to, message)));
                for (lane, message) in sends {
                    self.with((at.0, lane), |lane, now, out| lane.on_lane_message(now, message, out));
                }
            }
            let stopped = self.stopped.clone();
            for (from, to, message) in
                self.waiting.extract_if(.., |(_, to, _)| !stopped.contains(to)).collect::<Vec<_>>()
            {
                busy = true;
                self.with((to, LaneId(0)), |lane, now, out| lane.on_peer(now, from, message, out));
            }
            if !busy {
                return;
            }
        }
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now.boot = self.now.boot.plus_ms(ms);
        for at in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.with(at, |lane, now, out| lane.on_timer(now, out));
        }
        self.settle();
    }
}

fn message(text: &str) -> Message {
    Message { topic: Topic::Channel, channel: "news".into(), payload: Bytes::copy_from_slice(text.as_bytes()) }
}

fn publish(text: &str) -> Everywhere {
    Everywhere::Publish(message(text))
}

#[test]
fn a_message_reaches_every_lane_of_every_node_once_and_all_are_counted() {
    let mut world = World::new();
    for (number, at) in (1..).zip(world.lanes.keys().copied().collect::<Vec<_>>()) {
        (0..number).for_each(|client| world.listen(at, client, Topic::Channel, "news"));
        world.listen(at, 1, Topic::Pattern, "n*");
    }
    for from in world.lanes.keys().copied().collect::<Vec<_>>() {
        assert_eq!(world.ask(from, publish("a"), Reach::Cluster), Reply::Int(1 + 2 + 3 + 4 + 4), "from {from:?}");
        assert_eq!(world.got.drain(..).count(), 4, "once to each lane");
    }
    let nobodys = Everywhere::Publish(Message { channel: "other".into(), ..message("a") });
    assert_eq!(world.ask((NODES[0], LaneId(1)), nobodys, Reach::Cluster), Reply::Int(0));
    world.with((NODES[1], LaneId(1)), |lane, now, out| lane.publish(now, message("of a script"), out));
    world.settle();
    assert_eq!(world.got.drain(..).count(), 4, "and when nobody asks how many get it");
}

#[test]
fn questions_are_answered_for_the_cluster_or_for_a_node() {
    let mut world = World::new();
    world.listen((NODES[0], LaneId(0)), 1, Topic::Channel, "a");
    world.listen((NODES[0], LaneId(1)), 1, Topic::Channel, "b");
    world.listen((NODES[1], LaneId(1)), 1, Topic::Channel, "a");
    world.listen((NODES[1], LaneId(1)), 1, Topic::Pattern, "x*");
    let names = |words: &[&str]| Reply::Array(words.iter().map(|word| Reply::bulk(word.as_bytes())).collect());
    let channels = Everywhere::Channels { topic: Topic::Channel, pattern: None };
    let from = (NODES[0], LaneId(1));
    assert_eq!(world.ask(from, channels.clone(), Reach::Cluster), names(&["a", "b"]));
    assert_eq!(world.ask((NODES[1], LaneId(0)), channels, Reach::Node), names(&["a"]));
    assert_eq!(world.ask(from, Everywhere::Patterns, Reach::Cluster), Reply::Int(1));
    assert_eq!(world.ask(from, Everywhere::Patterns, Reach::Node), Reply::Int(0));
    let listeners = Everywhere::Listeners { topic: Topic::Channel, channels: vec!["a".into(), "z".into()] };
    let counts = [Reply::bulk(b"a"), Reply::Int(2), Reply::bulk(b"z"), Reply::Int(0)];
    assert_eq!(world.ask(from, listeners, Reach::Cluster), Reply::Array(counts.into()));
}

#[test]
fn a_silent_node_is_waited_for_once_and_a_lost_one_not_at_all() {
    let mut world = World::new();
    let (here, there) = ((NODES[0], LaneId(0)), (NODES[1], LaneId(0)));
    world.listen(here, 1, Topic::Channel, "news");
    world.listen(there, 1, Topic::Channel, "news");
    world.stopped.push(NODES[1]);
    let first = world.send(here, publish("1"), Reach::Cluster);
    assert!(!world.replies.contains_key(&first), "the other node may answer yet");
    world.pass_ms(600);
    assert_eq!(world.replies.remove(&first), Some(Reply::Int(1)));
    assert_eq!(world.ask(here, publish("2"), Reach::Cluster), Reply::Int(1), "nobody waits twice");
    world.stopped.clear();
    world.settle();
    let texts: Vec<&[u8]> = world.got.iter().filter(|(at, _)| *at == there).map(|(_, one)| &one.payload[..]).collect();
    assert_eq!(texts, [b"1", b"2"], "it gets what was published meanwhile, in order");
    assert_eq!(world.ask(here, publish("3"), Reach::Cluster), Reply::Int(2));
    world.stopped.push(NODES[1]);
    let last = world.send(here, publish("4"), Reach::Cluster);
    world.with(here, |lane, now, out| lane.on_peer_lost(now, NODES[1], out));
    world.settle();
    assert_eq!(world.replies.remove(&last), Some(Reply::Int(1)));
    assert_eq!(world.ask(here, publish("5"), Reach::Cluster), Reply::Int(1));
}
