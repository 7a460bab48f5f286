//! The peer port against whoever finds it: strangers without the secret, and one with it who keeps no rule.
//!
//! Node 3 of the cluster is dead, and the test speaks in its name. The others go on serving, say in the log who did what, and
//! keep their memory.

mod support;

use base::record::{Payload, SnapshotMark};
use base::{ClientId, Index, LaneId, ShardId, Slot, Term};
use bytes::Bytes;
use consensus::raft::{Answer, Entry, Fresh, Message, Position, Why};
use data::{Reply as Answered, command};
use node::peer::{Asker, Work};
use node::{PeerMessage, Piece, Queued, Transaction};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::cluster::{Cluster, NODES};
use support::peer::{HELLO_BYTES, Name, Peer, connect, proof, say};
use support::{Folder, Reply};

const SECRET: &[u8] = b"a secret of this test";
const SHARDS: u16 = 8;
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster whose third node is dead, and what the test needs to speak in its name.
struct Stage {
    cluster: Cluster,
    name: Name,
    port: u16,
    _folder: Folder,
}

/// A shard that the victim leads, as its heartbeats tell.
#[derive(Clone, Copy, Debug)]
struct Led {
    shard: ShardId,
    term: Term,
    commit: Index,
    probe: u64,
}

impl Stage {
    fn set(name: &str) -> Self {
        let folder = Folder::new(name);
        let mut cluster = Cluster::start(folder.path());
        cluster.kill(NODES - 1);
        let label = std::fs::read_to_string(cluster.data(NODES - 1).join("life")).expect("a node has a life");
        let life = label.split(' ').next().and_then(|word| u64::from_str_radix(word, 16).ok()).expect("a label");
        let name = Name { version: 3, cluster: 0xc1, from: 0xa0 + NODES as u64, to: 0xa1, life };
        let port = cluster.ports[0][2];
        Self { cluster, name, port, _folder: folder }
    }

    /// A proved link to the first node. One that has misbehaved a moment ago waits until it is spoken to again.
    fn link(&self) -> Peer {
        let begun = Instant::now();
        loop {
            match Peer::link(self.port, &self.name, SECRET) {
                Ok(peer) => return peer,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "no link: {error}"),
            }
            std::thread::yield_now();
        }
    }

    /// Waits for a line in the first node's log.
    fn await_line(&self, what: &str) {
        let begun = Instant::now();
        let path = self.cluster.files[0].with_extension("log");
        while !std::fs::read_to_string(&path).expect("there is a log").contains(what) {
            assert!(begun.elapsed() < PATIENCE, "the log doesn't say: {what}");
            std::thread::yield_now();
        }
    }

    /// Each link that was ended for its peer's fault is counted once.
    fn await_misbehaved(&self, count: u64) {
        let begun = Instant::now();
        while self.metric("tidegate_peers_misbehaved_total") < count {
            assert!(begun.elapsed() < PATIENCE, "{count} peers misbehaved, and were not counted");
        }
        assert_eq!(self.metric("tidegate_peers_misbehaved_total"), count);
    }

    fn metric(&self, name: &str) -> u64 {
        let address = format!("127.0.0.1:{}", self.cluster.ports[0][1]);
        let page = support::http(&address, "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .expect("the admin port answers");
        let line = page.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no metric {name}"))
    }

    fn memory_kib(&self) -> u64 {
        let pid = self.cluster.children[0].as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the node runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("memory is told");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// The nodes that live serve reads and writes of every shard.
    fn serves(&mut self) {
        for at in 0..NODES - 1 {
            let mut client = self.cluster.client(at);
            for key in 0..16 {
                let (key, begun) = (format!("served:{key}"), Instant::now());
                while client.ask(&["SET", &key, "v"]).expect("the node answers") != Reply::ok() {
                    assert!(begun.elapsed() < PATIENCE, "node {at} doesn't serve {key}");
                }
                assert_eq!(client.ask(&["GET", &key]).expect("the node answers"), Reply::bulk("v"));
            }
            let child = self.cluster.children[at].as_mut().expect("it runs");
            assert!(child.try_wait().expect("it is ours").is_none(), "node {at} has ended");
        }
    }
}

/// Latencies of a client that writes and reads meanwhile.
fn bystander(stage: &Stage, stop: &AtomicBool) -> Vec<Duration> {
    let mut client = stage.cluster.client(1);
    let mut took = Vec::new();
    let mut at = 0u64;
    while !stop.load(Ordering::Relaxed) {
        at += 1;
        let begun = Instant::now();
        client.ask(&["SET", &format!("bystander:{}", at % 64), "v"]).expect("the node answers");
        took.push(begun.elapsed());
    }
    took.sort();
    took
}

fn p99(took: &[Duration]) -> Duration {
    took.get(took.len() * 99 / 100).copied().expect("the bystander was served")
}

/// Runs `work` while a bystander is served, and holds its p99 against what is usual.
fn nobody_is_hurt(stage: &Stage, what: &str, work: impl FnOnce()) {
    let measured = |work: Box<dyn FnOnce() + '_>| {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let client = scope.spawn(|| bystander(stage, &stop));
            // Also if the work panics: else the scope would wait for the bystander.
            let ended = Ended(&stop);
            work();
            drop(ended);
            client.join().expect("the bystander is served")
        })
    };
    let quiet = measured(Box::new(|| {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            std::thread::yield_now();
        }
    }));
    let took = measured(Box::new(work));
    println!("{what}: p99 {:?} of {}, quiet {:?} of {}", p99(&took), took.len(), p99(&quiet), quiet.len());
    assert!(p99(&took) < 5 * p99(&quiet) + Duration::from_millis(100), "{what}: {:?}, {:?}", p99(&took), p99(&quiet));
}

/// Tells the bystander that it is over.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One that leads no longer says so.
fn is_answer(message: &PeerMessage) -> bool {
    matches!(message, PeerMessage::Answer { .. } | PeerMessage::NotLeader { .. })
}

fn asker() -> Asker {
    Asker { lane: LaneId(0), client: ClientId(77), seq: 1, part: false }
}

fn raft(shard: ShardId, message: Message) -> PeerMessage {
    PeerMessage::Raft { shard, message }
}

/// A shard that the victim leads.
fn led(peer: &mut Peer) -> Led {
    let mut beats = BTreeMap::new();
    loop {
        match peer.next().expect("the node sends heartbeats") {
            PeerMessage::Raft { shard, message: Message::Heartbeat { term, probe, .. } } if shard.0 < SHARDS => {
                beats.insert(shard, (term, probe));
                // An answer makes the leader ask where the logs meet, and that tells its commit.
                let reply = Message::HeartbeatReply { term, probe, matched: Index(0) };
                peer.send(&[raft(shard, reply)]).expect("the node takes answers");
            }
            PeerMessage::Raft { shard, message: Message::Append { term, commit, .. } } => {
                if let Some((_, probe)) = beats.get(&shard).filter(|(of, _)| *of == term && commit > Index(0)) {
                    return Led { shard, term, commit, probe: *probe };
                }
            }
            _ => {}
        }
    }
}

fn call(words: &str) -> Queued {
    let args: Vec<Vec<u8>> = words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
    Queued { db: 0, command: command::find(&args[0]).expect("a command"), args }
}

fn ask(led: Led, work: Work) -> PeerMessage {
    PeerMessage::Ask { shard: led.shard, term: led.term, asker: asker(), work }
}

/// A key of another shard.
fn key_elsewhere(shard: ShardId) -> String {
    let elsewhere = |key: &String| Slot::of(key.as_bytes()).shard(SHARDS) != shard;
    (0..).map(|at| format!("key:{at}")).find(elsewhere).expect("keys are many")
}

type Case = (&'static str, &'static str, fn(Led) -> Vec<PeerMessage>);

/// What to send, by the words of the log line that must follow.
const CASES: &[Case] = &[
    ("an answer beyond the log", "which was never sent", |led| {
        vec![raft(led.shard, Message::AppendReply { term: led.term, matched: Index(led.commit.0 + 1_000_000) })]
    }),
    ("an answer to a heartbeat of the future", "an answer to heartbeat", |led| {
        let (probe, matched) = (led.probe + 1_000_000, Index(0));
        vec![raft(led.shard, Message::HeartbeatReply { term: led.term, probe, matched })]
    }),
    ("a rejection of what was never asked", "which was never sent", |led| {
        let asked = Index(1 << 61);
        vec![raft(led.shard, Message::AppendRejected { term: led.term, asked, hint: Position::default() })]
    }),
    ("a second leader", "a second leader of term", |led| {
        vec![raft(
            led.shard,
            Message::Heartbeat { term: led.term, probe: 1, commit: Index(1), fresh: Fresh::default() },
        )]
    }),
    ("a term beyond all elections", "impossibly far ahead", |led| {
        let last = Position { index: Index(1 << 50), term: Term(1 << 50) };
        vec![raft(led.shard, Message::Vote { term: Term(1 << 61), last, why: Why::Transfer })]
    }),
    ("a log that contradicts what is committed", "contradicts the committed one", |led| {
        let prev = Position { index: led.commit, term: Term(led.term.0 + 1) };
        let term = Term(led.term.0 + 1);
        vec![raft(led.shard, Message::Append { term, prev, entries: Vec::new(), commit: led.commit })]
    }),
    ("an entry that can't be read", "which can't be read", |led| {
        let (term, prev) = (Term(led.term.0 + 1), Position { index: led.commit, term: led.term });
        let payload = Payload::Data(Bytes::from_static(b"\x01\x00\x01\xffnot an operation"));
        let entries = vec![Entry { term, payload }];
        vec![raft(led.shard, Message::Append { term, prev, entries, commit: led.commit })]
    }),
    ("a shard that doesn't exist", "which doesn't exist", |led| {
        vec![raft(ShardId(900), Message::TimeoutNow { term: led.term })]
    }),
    ("a command for another shard", "whose keys don't belong there", |led| {
        let queued = call(&format!("SET {} v", key_elsewhere(led.shard)));
        vec![ask(led, Work::Command { joins: false, queued })]
    }),
    ("a transaction of what no shard runs", "whose keys don't belong there", |led| {
        let commands = vec![call("MULTI"), call("INFO")];
        let transaction =
            Transaction { client: ClientId(77), seq: 1, once: None, fences: Vec::new(), watched: Vec::new(), commands };
        vec![ask(led, Work::Transaction(transaction))]
    }),
    ("a piece of no snapshot", "that makes no sense", |led| {
        let mark = SnapshotMark { index: Index(1 << 40), term: led.term, members: Bytes::from_static(b"nobody") };
        let piece = Piece { mark, offset: 0, total: u64::MAX, bytes: Bytes::from_static(b"bytes") };
        vec![PeerMessage::SnapshotPiece { shard: led.shard, term: Term(led.term.0 + 1), piece }]
    }),
    ("a wish beyond a snapshot's end", "that makes no sense", |led| {
        vec![PeerMessage::SnapshotTaken { shard: led.shard, term: led.term, index: led.commit, next: u64::MAX }]
    }),
];

#[test]
fn one_who_keeps_no_rule_is_put_out_and_the_node_goes_on() {
    let mut stage = Stage::set("hostile-peer");
    for (at, (what, line, messages)) in (1..).zip(CASES) {
        let mut peer = stage.link();
        let led = led(&mut peer);
        peer.send(&messages(led)).unwrap_or_else(|error| panic!("{what}: {error}"));
        peer.wait_for_the_end().unwrap_or_else(|error| panic!("{what}: the link stays: {error}"));
        stage.await_line("the link to node 00000000000000a3 ended: the peer sent ");
        stage.await_line(line);
        stage.await_misbehaved(at);
    }
    stage.serves();
    frames_that_are_none(&stage);
    stage.serves();
    what_is_late_or_doubled_is_harmless(&stage);
    stage.serves();
}

fn frames_that_are_none(stage: &Stage) {
    let mut before = stage.metric("tidegate_peers_misbehaved_total");
    let cases: [(&str, u32, u32, &[u8]); 4] = [
        ("a frame that is too long", u32::MAX, 0, b""),
        ("a damaged frame", 5, 1, b"hello"),
        ("a message that can't be read: unknown tag 99", 12, crc32c::crc32c(&[99; 12]), &[99; 12]),
        ("a message that can't be read: the bytes end", 1, crc32c::crc32c(&[1]), &[1]),
    ];
    for (line, len, crc, body) in cases {
        let mut peer = stage.link();
        peer.send_frame(len, crc, body).expect("the node takes a frame");
        peer.wait_for_the_end().expect("the link ends");
        stage.await_line(&format!("ended: the peer sent {line}"));
        before += 1;
        stage.await_misbehaved(before);
    }
    // A frame that is cut, by an end that has gone.
    let mut peer = stage.link();
    peer.send_frame(1000, 0, b"the beginning").expect("the node takes a frame");
    drop(peer);
}

fn what_is_late_or_doubled_is_harmless(stage: &Stage) {
    let mut peer = stage.link();
    let led = led(&mut peer);
    let old = Term(led.term.0.saturating_sub(1));
    let last = Position { index: Index(1), term: Term(1) };
    let messages = [
        raft(led.shard, Message::VoteReply { term: led.term, answer: Answer::Granted }),
        raft(led.shard, Message::PreVoteReply { term: Term(led.term.0 + 1), answer: Answer::Granted }),
        raft(led.shard, Message::PreVote { term: Term(led.term.0 + 1), last }),
        raft(led.shard, Message::TimeoutNow { term: led.term }),
        raft(led.shard, Message::AppendReply { term: old, matched: Index(1 << 60) }),
        raft(
            led.shard,
            Message::Heartbeat { term: old, probe: 1 << 60, commit: Index(1 << 60), fresh: Fresh::default() },
        ),
        PeerMessage::Answer { asker: asker(), shard: led.shard, reply: Answered::Int(7) },
        PeerMessage::NotLeader { asker: asker(), shard: led.shard, term: led.term, also_later: true },
    ];
    for _ in 0..20 {
        peer.send(&messages).expect("the link stays");
    }
    // It still hears the leader, of the same term.
    peer.send(&[ask(led, Work::Command { joins: false, queued: call("TIME") })]).expect("the link stays");
    while !is_answer(&peer.next().expect("the link stays")) {}
}

#[test]
fn strangers_learn_nothing_and_hold_nobody_up() {
    let mut stage = Stage::set("hostile-strangers");
    let name = stage.name;
    let hello = |name: Name| name.hello([7; 16]);
    let with_proof = |name: Name| [hello(name), vec![9; 32]].concat();
    let cases = [
        (
            "what came is not the peer protocol",
            b"GET / HTTP/1.1\r\nHost: somewhere with a name that is long enough to be read\r\n\r\n".to_vec(),
        ),
        ("it speaks version 9 of the peer protocol", hello(Name { version: 9, ..name })),
        ("it belongs to another cluster, 00000000000000ee", hello(Name { cluster: 0xee, ..name })),
        ("it looks for node 00000000000000bb", hello(Name { to: 0xbb, ..name })),
        ("node 00000000000000bb is not a member", hello(Name { from: 0xbb, ..name })),
        ("node 00000000000000a1 is not a member", hello(Name { from: 0xa1, ..name })),
        ("node 00000000000000a3 came back without its disk", hello(Name { life: 1, ..name })),
        ("node 00000000000000a3 doesn't know the cluster's secret", with_proof(name)),
    ];
    for (line, bytes) in cases {
        let answer = say(stage.port, &bytes);
        assert!(answer.len() <= HELLO_BYTES + 32, "{line}: a stranger learns {} bytes", answer.len());
        stage.await_line(line);
    }
    // A handshake that was overheard is of no use: the other end draws a new nonce.
    let mine = name.hello([5; 16]);
    let mut stream = connect(stage.port);
    stream.write_all(&mine).expect("a hello can be sent");
    let mut theirs = [0; HELLO_BYTES];
    stream.read_exact(&mut theirs).expect("it is answered");
    let overheard = [mine.clone(), proof(SECRET, &mine, &theirs)].concat();
    drop(stream);
    assert_eq!(say(stage.port, &overheard).len(), HELLO_BYTES + 32, "it is closed behind its proof");
    assert!(Peer::link(stage.port, &name, b"another secret").is_ok_and(|mut peer| peer.wait_for_the_end().is_ok()));
    let strangers = stage.metric("tidegate_peer_strangers_total");
    assert!(strangers >= 10, "{strangers} were counted");
    nobody_is_hurt(&stage, "strangers", || {
        // Silent ones, more than there are places; each is closed in time.
        let mut silent: Vec<_> = (0..300).map(|_| connect(stage.port)).collect();
        // One that belongs here gets in all the same.
        drop(stage.link());
        for at in 0..500u32 {
            let mut stream = connect(stage.port);
            let garbage: Vec<u8> = (0..200u32).map(|byte| (byte * 31 + at).to_le_bytes()[0]).collect();
            let _ = stream.write_all(&garbage);
        }
        for stream in &mut silent {
            let mut rest = Vec::new();
            // The hello of the node, and then its end.
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.len() <= HELLO_BYTES);
        }
    });
    stage.await_line("more connections to the peer port than have proved");
    stage.serves();
}

#[test]
fn a_flood_and_a_deaf_end_cost_no_memory_and_nobodys_time() {
    let mut stage = Stage::set("hostile-flood");
    let before = stage.memory_kib();
    nobody_is_hurt(&stage, "a flood", || {
        let mut peer = stage.link();
        let led = led(&mut peer);
        let one = PeerMessage::NotLeader { asker: asker(), shard: led.shard, term: led.term, also_later: true };
        let mut body = Vec::new();
        for _ in 0..100_000 {
            one.encode(&mut body);
        }
        for _ in 0..4 {
            peer.send_body(&body).expect("the link stays");
        }
        peer.send(&[ask(led, Work::Command { joins: false, queued: call("TIME") })]).expect("the link stays");
        while !is_answer(&peer.next().expect("the link stays")) {}
    });
    let after_flood = stage.memory_kib();
    // A frame that never comes, and one who asks for much and takes nothing.
    let mut promise = stage.link();
    promise.send_frame(1 << 30, 0, &[0; 1 << 20]).expect("the node takes what comes");
    nobody_is_hurt(&stage, "a deaf end", || {
        // A shard may change its leader meanwhile, and then there is nothing to be deaf for.
        let told = (0..5).any(|_| takes_nothing(&stage));
        assert!(told, "the log doesn't say that the peer takes too little of what it is sent");
    });
    drop(promise);
    let after = stage.memory_kib();
    println!("memory: {before} KiB, {after_flood} after the flood, {after} at the end");
    assert!(after_flood < before + 200 * 1024 && after < before + 300 * 1024, "{before}, {after_flood}, {after} KiB");
    stage.serves();
}

/// Asks for more than sockets hold and takes nothing of it; true if the node gave it up.
fn takes_nothing(stage: &Stage) -> bool {
    let mut peer = stage.link();
    let led = led(&mut peer);
    let key = (0..).map(|at| format!("large:{at}")).find(|key| Slot::of(key.as_bytes()).shard(SHARDS) == led.shard);
    let key = key.expect("keys are many");
    let large = "x".repeat(1 << 20);
    stage.cluster.client(0).ask(&["SET", &key, &large]).expect("the node answers");
    let get = ask(led, Work::Command { joins: false, queued: call(&format!("GET {key}")) });
    for _ in 0..96 {
        peer.send(std::slice::from_ref(&get)).expect("it is taken");
    }
    let (begun, path) = (Instant::now(), stage.cluster.files[0].with_extension("log"));
    while begun.elapsed() < Duration::from_secs(10) {
        let log = std::fs::read_to_string(&path).expect("there is a log");
        // The kernel may notice before the node does.
        if ["the peer takes too little of what it is sent", "timed out"].iter().any(|line| log.contains(line)) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
