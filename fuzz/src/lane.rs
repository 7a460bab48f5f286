//! What other nodes send, given to a real lane of a group of three: whatever can be read, it must go on.
//!
//! The first byte says whether the lane leads its shards or follows. Its disk keeps everything at once; its messages go
//! nowhere. An entry that apply can't read would end the process, so it may not get that far.

use base::codec::Reader;
use base::record::{Payload, RecoveredShard, SnapshotMark};
use base::rng::Rng;
use base::{ClientId, Index, LaneId, NodeId, ShardId, Stamp, Term};
use bytes::Bytes;
use consensus::raft::{Answer, Entry, Fresh, Membership, Message, Position, Why};
use data::command::pubsub::{Everywhere, Message as Published, Topic};
use data::fence::Fence;
use data::once::Id;
use data::shard::{EntryWriter, genesis};
use data::{Reply, Watched, command};
use node::peer::{Asker, Work};
use node::{
    Event, Lane, LaneConfig, Now, Outbox, PeerMessage, Piece, Queued, RecoveredReplica, Routing, SnapshotNews,
    SnapshotStep, Transaction,
};

const MEMBERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
const SHARDS: u16 = 2;

struct Stage {
    now: Now,
    lane: Lane,
    out: Outbox,
}

impl Stage {
    fn new() -> Self {
        let now = Now { boot: base::Instant(1_000_000_000), wall_ms: 1_700_000_000_000 };
        let config = LaneConfig { node: MEMBERS[0], lane: LaneId(0), routing: Routing::new(SHARDS, 1), seed: 5 };
        let empty = |shard| RecoveredReplica { shard, log: RecoveredShard::default(), keyspace: None };
        let mut out = Outbox::default();
        let lane = Lane::start(now, config, &MEMBERS, config.routing.groups().map(empty).collect(), &mut out);
        Self { now, lane, out }
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now.boot = self.now.boot.plus_ms(ms);
        self.now.wall_ms += ms;
        self.lane.on_timer(self.now, &mut self.out);
        self.settle();
    }

    fn give(&mut self, from: NodeId, message: PeerMessage) {
        self.lane.on_peer(self.now, from, message, &mut self.out);
        self.settle();
    }

    /// The disk keeps what it is asked to, until nothing is left to do.
    fn settle(&mut self) {
        loop {
            self.lane.on_turn_end(self.now, &mut self.out);
            for event in std::mem::take(&mut self.out.events) {
                assert!(!matches!(event, Event::BadEntry { .. }), "{event:?}");
            }
            for step in std::mem::take(&mut self.out.snapshots) {
                if let SnapshotStep::Take { shard, mark, offset, bytes, .. } = step {
                    let news = SnapshotNews::Took { index: mark.index, next: offset + bytes.len() as u64 };
                    self.lane.on_snapshot_news(self.now, shard, news, &mut self.out);
                }
            }
            self.out.peers.clear();
            self.out.messages.clear();
            let writes = std::mem::take(&mut self.out.raft.writes);
            if writes.is_empty() {
                return;
            }
            for envelope in writes.into_iter().flat_map(|write| write.then) {
                if envelope.to == MEMBERS[0] {
                    self.lane.on_persisted(self.now, envelope, &mut self.out);
                } else {
                    self.out.raft.messages.push(envelope);
                }
            }
        }
    }

    /// The others vote for it, and have its first entries.
    fn lead(&mut self) {
        self.pass_ms(800);
        for _ in 0..4 {
            for envelope in std::mem::take(&mut self.out.raft.messages) {
                let message = match envelope.message {
                    Message::PreVote { term, .. } => Message::PreVoteReply { term, answer: Answer::Granted },
                    Message::Vote { term, .. } => Message::VoteReply { term, answer: Answer::Granted },
                    Message::Append { term, prev, entries, .. } => {
                        Message::AppendReply { term, matched: Index(prev.index.0 + entries.len() as u64) }
                    }
                    _ => continue,
                };
                self.give(envelope.to, PeerMessage::Raft { shard: envelope.shard, message });
            }
        }
        assert!(self.lane.statuses().all(|(_, status)| status.leads), "who is voted for leads");
    }
}

/// Messages for a lane.
pub fn lane(input: &[u8]) {
    let frame = Bytes::copy_from_slice(input.get(1..).unwrap_or_default());
    let mut reader = Reader::new(&frame);
    let mut stage = Stage::new();
    if input.first().is_some_and(|byte| byte % 2 == 0) {
        stage.lead();
    }
    let mut count = 0;
    while let Ok(message) = PeerMessage::decode(&mut reader, &frame) {
        count += 1;
        stage.give(MEMBERS[1 + count % 2], message);
        stage.out.raft.messages.clear();
        if count % 8 == 0 {
            stage.pass_ms(60);
        }
    }
    stage.pass_ms(1000);
    assert!(stage.lane.statuses().count() >= usize::from(SHARDS));
}

/// Messages that lie near what a young group has.
pub fn valid_lane(rng: &mut Rng) -> Vec<u8> {
    let mut out = vec![u8::from(rng.one_in(2))];
    for _ in 0..1 + rng.below(30) {
        one(rng).encode(&mut out);
    }
    out
}

fn one(rng: &mut Rng) -> PeerMessage {
    let shard = ShardId(u16::try_from(rng.below(u64::from(SHARDS) + 1)).expect("small"));
    let term = Term(rng.below(5));
    let asker = Asker { lane: LaneId(0), client: ClientId(rng.below(3)), seq: rng.below(4), part: rng.one_in(4) };
    match rng.below(14) {
        0 => PeerMessage::Ask { shard, term, asker, work: work(rng, asker, shard) },
        1 => PeerMessage::Answer { asker, shard, reply: Reply::Int(i64::MAX) },
        2 => PeerMessage::NotLeader { asker, shard, term, also_later: rng.one_in(2) },
        3 => {
            let members = Membership::of_voters(MEMBERS).encode();
            let mark = SnapshotMark { index: Index(rng.below(9)), term: Term(rng.below(4)), members };
            let piece = Piece { mark, offset: rng.below(2) * 5, total: 10, bytes: Bytes::from_static(b"12345") };
            PeerMessage::SnapshotPiece { shard, term, piece }
        }
        5 => {
            let message = Published {
                topic: Topic::Channel,
                channel: Bytes::from_static(b"c"),
                payload: Bytes::from_static(b"m"),
            };
            PeerMessage::Everywhere { number: rng.below(3), what: Everywhere::Publish(message) }
        }
        6 => PeerMessage::EverywhereAnswer { number: rng.below(3), answer: Reply::Array(vec![Reply::Nil]) },
        4 => PeerMessage::SnapshotTaken { shard, term, index: Index(rng.below(9)), next: rng.below(20) },
        _ => PeerMessage::Raft { shard, message: raft(rng, term) },
    }
}

fn position(rng: &mut Rng) -> Position {
    let index = Index(rng.below(6));
    Position { index, term: if index == Index(0) { Term(0) } else { Term(rng.below(4)) } }
}

fn raft(rng: &mut Rng, term: Term) -> Message {
    let (at, commit) = (position(rng), Index(rng.below(7)));
    match rng.below(12) {
        0 => Message::PreVote { term, last: at },
        1 => Message::PreVoteReply { term, answer: Answer::Granted },
        2 => Message::Vote { term, last: at, why: if rng.one_in(2) { Why::Transfer } else { Why::Silence } },
        3 => Message::VoteReply { term, answer: Answer::Granted },
        4 => Message::AppendReply { term, matched: at.index },
        5 => Message::AppendRejected { term, asked: Index(1 + at.index.0), hint: position(rng) },
        6 => Message::Heartbeat { term, probe: rng.below(9), commit, fresh: Fresh::default() },
        7 => Message::HeartbeatReply { term, probe: rng.below(9), matched: at.index },
        8 => Message::TimeoutNow { term },
        _ => {
            let mut of = at.term;
            let entries = (0..rng.below(4)).map(|step| {
                of = Term(of.0 + rng.below(2)).min(term).max(of);
                Entry { term: of, payload: payload(rng, at.index.0 + 1 + step) }
            });
            Message::Append { term, prev: at, entries: entries.collect(), commit }
        }
    }
}

fn payload(rng: &mut Rng, index: u64) -> Payload {
    if rng.one_in(10) {
        return Payload::Members(Membership::of_voters(MEMBERS).encode());
    }
    if index == 1 {
        return Payload::Data(Bytes::from(genesis(Stamp(5), (1, 2))));
    }
    let mut writer = EntryWriter::default();
    for _ in 0..rng.below(3) {
        if rng.one_in(2) {
            writer.once(Id { client: b"c", seq: 1 + rng.below(3) }, 1000);
        }
        if rng.one_in(2) {
            writer.fences(&[Fence { lock: b"a", number: 1 + rng.below(9) }]);
        }
        let set = command::find(b"set").expect("it exists");
        writer.command(0, set, &[b"SET", b"k", b"v"]);
    }
    Payload::Data(writer.finish(Stamp(rng.below(100))))
}

fn work(rng: &mut Rng, asker: Asker, shard: ShardId) -> Work {
    let words: &[&[u8]] = match rng.below(7) {
        0 => &[b"ONCE", b"c:1", b"INCR", b"k"],
        5 => &[b"FENCE", b"a", b"5", b"GET", b"k"],
        6 => &[b"FENCE", b"a", b"4", b"ONCE", b"c:1", b"INCR", b"k"],
        1 => &[b"GET", b"k"],
        2 => &[b"DBSIZE"],
        3 => &[b"WATCH", b"k"],
        _ => &[b"SET", b"k", b"v"],
    };
    let args = words.iter().map(|arg| arg.to_vec()).collect();
    let queued = Queued { db: 1, command: command::find(words[0]).expect("it exists"), args };
    if rng.one_in(2) {
        return Work::Command { joins: rng.one_in(2), queued };
    }
    let once = rng.one_in(2).then(|| Id { client: b"c", seq: 9 }.to_owned());
    let fences =
        if rng.one_in(2) { vec![Fence { lock: b"a", number: 1 + rng.below(9) }.to_owned()] } else { Vec::new() };
    let watched = vec![Watched { shard, bucket: 7, revision: rng.below(3), dies_at: None }];
    Work::Transaction(Transaction {
        client: asker.client,
        seq: asker.seq,
        once,
        fences,
        watched,
        commands: vec![queued],
    })
}
