//! What other nodes send: messages are read or refused, and what was read is written again as it was meant.

use crate::locks::parcel;
use base::codec::Reader;
use base::record::Payload;
use base::rng::Rng;
use base::{ClientId, Index, LaneId, NodeId, ShardId, Term};
use bytes::Bytes;
use consensus::raft::{Answer, Entry, Fresh, Membership, Message, Position, Why};
use data::{Refused, Reply, command};
use node::peer::{Asker, Work};
use node::{PeerMessage, Queued, Transaction};

/// The messages of a frame.
pub fn peer(input: &[u8]) {
    let frame = Bytes::copy_from_slice(input);
    let mut reader = Reader::new(&frame);
    while !reader.is_empty() {
        let Ok(message) = PeerMessage::decode(&mut reader, &frame) else { return };
        let mut again = Vec::new();
        message.encode(&mut again);
        let again = Bytes::from(again);
        let back = PeerMessage::decode(&mut Reader::new(&again), &again).expect("what was read can be read again");
        assert_eq!(format!("{back:?}"), format!("{message:?}"));
    }
}

/// A frame of some messages of every kind.
pub fn valid_peer(rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..1 + rng.below(4) {
        one(rng).encode(&mut out);
    }
    out
}

fn one(rng: &mut Rng) -> PeerMessage {
    let (shard, term) = (ShardId(3), Term(rng.below(1 << 40)));
    let asker = Asker { lane: LaneId(0), client: ClientId(rng.next_u64()), seq: rng.below(100), part: rng.one_in(2) };
    match rng.below(7) {
        5 | 6 => PeerMessage::Register(parcel(rng)),
        0 | 1 => PeerMessage::Raft { shard, message: raft(rng, term) },
        2 => PeerMessage::Ask { shard, term, asker, work: work(rng, asker) },
        3 => {
            let text = Reply::Error(Refused::Text("ERR why".to_owned()));
            let items = vec![Reply::Ok, Reply::Nil, Reply::Int(-1), Reply::bulk(b"bulk"), text];
            PeerMessage::Answer { asker, shard, reply: Reply::Array(items) }
        }
        _ => PeerMessage::NotLeader { asker, shard, term, also_later: rng.one_in(2) },
    }
}

fn raft(rng: &mut Rng, term: Term) -> Message {
    let at = Position { index: Index(1 + rng.below(1000)), term: Term(term.0 / 2) };
    match rng.below(8) {
        0 => Message::PreVote { term, last: at },
        1 => Message::Vote { term, last: at, why: Why::Transfer },
        2 => Message::VoteReply { term, answer: Answer::Granted },
        3 => Message::AppendReply { term, matched: at.index },
        4 => Message::AppendRejected { term, asked: at.index, hint: at },
        5 => Message::Heartbeat { term, probe: 9, commit: at.index, fresh: Fresh::default() },
        _ => {
            let members = Membership::of_voters([NodeId(1), NodeId(2), NodeId(3)]).encode();
            let data = Entry { term, payload: Payload::Data(Bytes::from_static(b"some data")) };
            let entries = vec![data.clone(), Entry { term, payload: Payload::Members(members) }, data];
            Message::Append { term, prev: at, entries, commit: at.index }
        }
    }
}

fn work(rng: &mut Rng, asker: Asker) -> Work {
    let args: Vec<Vec<u8>> = [&b"SET"[..], b"k", b"v"].iter().map(|arg| arg.to_vec()).collect();
    let queued = Queued { db: 1, command: command::find(b"set").expect("it exists"), args };
    if rng.one_in(2) {
        return Work::Command { joins: rng.one_in(2), queued };
    }
    let commands = vec![queued.clone(), queued];
    Work::Transaction(Transaction {
        client: asker.client,
        seq: asker.seq,
        once: None,
        fences: Vec::new(),
        watched: Vec::new(),
        commands,
    })
}
