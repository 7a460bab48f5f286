//! What nodes tell each other, beside Raft's own messages: requests for the leader of a shard, and their answers.
//!
//! An ask names the term of the leader it is for. Another leader refuses it, so nothing takes effect long after its
//! sender has given it up.

use crate::everywhere;
use crate::outbox::{OwnedRequest, Queued, Transaction};
use crate::transfer::Piece;
use crate::wait::PeerWait;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::{QUEUED_COMMANDS_MAX, SNAPSHOT_PIECE_BYTES_MAX};
use base::record::SnapshotMark;
use base::{ClientId, Index, LaneId, NodeId, ShardId, Term};
use bytes::Bytes;
use consensus::raft::Message;
use consensus::register::Parcel;
use data::Reply;
use data::command::prefix;
use data::command::pubsub::Everywhere;
use data::fence::{Fence, as_fences, put_fences, read_fences};
use data::once::Id;
use data::reply_codec::{put_command, put_watched, read_command, watched};
use data::waits::How;
use smallvec::SmallVec;

/// A message for another node's lane; both ends of a link know who they are.
#[derive(Clone, Debug)]
pub enum PeerMessage {
    Raft {
        shard: ShardId,
        message: Message,
    },
    /// A client's work, for the leader of the shard in `term`.
    Ask {
        shard: ShardId,
        term: Term,
        asker: Asker,
        work: Work,
    },
    Answer {
        asker: Asker,
        shard: ShardId,
        reply: Reply,
    },
    /// This node doesn't lead the shard in `term`, or no more: this ask of that term had no effect, and with `also_later` none
    /// that was sent behind it.
    NotLeader {
        asker: Asker,
        shard: ShardId,
        term: Term,
        also_later: bool,
    },
    /// The leader lets a call go that may wait, if it hasn't answered it: so it is to be answered.
    LetGo {
        asker: Asker,
        shard: ShardId,
        how: How,
    },
    /// What a call that waits means by "from now on": to be asked so of the next leader.
    Settled {
        asker: Asker,
        shard: ShardId,
        args: Vec<Vec<u8>>,
    },
    /// What the sender's wall clock shows.
    Time {
        wall_ms: u64,
    },
    /// A piece of the snapshot that a replica lacks, from the leader of `term`.
    SnapshotPiece {
        shard: ShardId,
        term: Term,
        piece: Piece,
    },
    /// Of the snapshot at `index` everything before the byte `next` is kept.
    SnapshotTaken {
        shard: ShardId,
        term: Term,
        index: Index,
        next: u64,
    },
    /// For every lane of the node; answered unless the number is zero.
    Everywhere {
        number: u64,
        what: Everywhere,
    },
    EverywhereAnswer {
        number: u64,
        answer: Reply,
    },
    /// About a lock. Both ends know by the link who they are: as decoded it names neither.
    Register(Parcel),
}

/// Who waits for an answer, on the node that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub lane: LaneId,
    pub client: ClientId,
    pub seq: u64,
    /// True for a part of a command that is scattered over all shards.
    pub part: bool,
}

/// What a client wants of a shard.
#[derive(Clone, Debug)]
pub enum Work {
    Command {
        joins: bool,
        queued: Queued,
    },
    Transaction(Transaction),
    /// A call that may wait.
    Wait(PeerWait),
}

impl Work {
    /// True if it may change something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::Command { queued, .. } | Self::Wait(PeerWait { queued, .. }) => {
                prefix::changes_keys(queued.command, &words(queued))
            }
            Self::Transaction(_) => true,
        }
    }

    /// True if asking twice does no more than asking once.
    #[must_use]
    pub fn may_be_asked_again(&self) -> bool {
        match self {
            Self::Command { queued, .. } => prefix::may_be_sent_again(queued.command, &words(queued)),
            Self::Transaction(transaction) => transaction.once.is_some(),
            Self::Wait(_) => true,
        }
    }

    pub(crate) fn of(request: OwnedRequest) -> Self {
        Self::Command { joins: request.joins, queued: request.queued }
    }
}

const RAFT: u8 = 1;
const ASK_COMMAND: u8 = 2;
const ASK_TRANSACTION: u8 = 3;
const ANSWER: u8 = 4;
const NOT_LEADER: u8 = 5;
const SNAPSHOT_PIECE: u8 = 6;
const SNAPSHOT_TAKEN: u8 = 7;
const ASK_TRANSACTION_ONCE: u8 = 8;
const TIME: u8 = 9;
const ASK_TRANSACTION_FENCED: u8 = 12;
const NOT_TAKEN: u8 = 13;
const EVERYWHERE: u8 = 10;
const EVERYWHERE_ANSWER: u8 = 11;
const ASK_WAIT: u8 = 20;
const LET_GO: u8 = 21;
const SETTLED: u8 = 22;
const REGISTER: u8 = 30;

impl PeerMessage {
    /// The shard that it is about.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        match self {
            Self::Raft { shard, .. }
            | Self::Ask { shard, .. }
            | Self::Answer { shard, .. }
            | Self::LetGo { shard, .. }
            | Self::Settled { shard, .. }
            | Self::NotLeader { shard, .. }
            | Self::SnapshotPiece { shard, .. }
            | Self::SnapshotTaken { shard, .. } => *shard,
            // It is about the node.
            Self::Time { .. } | Self::Everywhere { .. } | Self::EverywhereAnswer { .. } | Self::Register(_) => {
                ShardId(0)
            }
        }
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Raft { shard, message } => {
                head(out, RAFT, *shard);
                message.encode(out);
            }
            Self::Ask { shard, term, asker, work } => {
                head(out, work.kind(), *shard);
                put_varint(out, term.0);
                put_asker(out, *asker);
                work.put(out);
            }
            Self::Answer { asker, shard, reply } => {
                head(out, ANSWER, *shard);
                put_asker(out, *asker);
                reply.encode(out);
            }
            Self::NotLeader { asker, shard, term, also_later } => {
                head(out, if *also_later { NOT_LEADER } else { NOT_TAKEN }, *shard);
                put_asker(out, *asker);
                put_varint(out, term.0);
            }
            Self::LetGo { asker, shard, how } => {
                head(out, LET_GO, *shard);
                put_asker(out, *asker);
                out.push(how.code());
            }
            Self::Settled { asker, shard, args } => {
                head(out, SETTLED, *shard);
                put_asker(out, *asker);
                put_varint(out, args.len() as u64);
                args.iter().for_each(|arg| put_bytes(out, arg));
            }
            Self::Time { wall_ms } => {
                head(out, TIME, ShardId(0));
                put_varint(out, *wall_ms);
            }
            Self::SnapshotPiece { shard, term, piece } => {
                head(out, SNAPSHOT_PIECE, *shard);
                put_varint(out, term.0);
                put_piece(out, piece);
            }
            Self::SnapshotTaken { shard, term, index, next } => {
                head(out, SNAPSHOT_TAKEN, *shard);
                put_varint(out, term.0);
                put_varint(out, index.0);
                put_varint(out, *next);
            }
            Self::Everywhere { number, what } => {
                head(out, EVERYWHERE, ShardId(0));
                put_varint(out, *number);
                everywhere::put(out, what);
            }
            Self::EverywhereAnswer { number, answer } => {
                head(out, EVERYWHERE_ANSWER, ShardId(0));
                put_varint(out, *number);
                answer.encode(out);
            }
            Self::Register(parcel) => {
                head(out, REGISTER, ShardId(0));
                parcel.encode(out);
            }
        }
    }

    /// Takes a message off the front of `reader`, which reads in `frame`.
    pub fn decode(reader: &mut Reader<'_>, frame: &Bytes) -> Result<Self, DecodeError> {
        let (kind, shard) = (reader.u8()?, ShardId(reader.u16()?));
        Ok(match kind {
            RAFT => Self::Raft { shard, message: Message::decode(reader, frame)? },
            ASK_COMMAND => {
                let (term, asker) = (Term(reader.varint()?), asker(reader)?);
                let joins = reader.u8()? != 0;
                Self::Ask { shard, term, asker, work: Work::Command { joins, queued: queued(reader)? } }
            }
            ASK_WAIT => {
                let (term, asker) = (Term(reader.varint()?), asker(reader)?);
                let (life, age_ms, joins) = (reader.u64()?, reader.varint()?, reader.u8()? != 0);
                let wait = PeerWait { life, age_ms, joins, queued: queued(reader)? };
                Self::Ask { shard, term, asker, work: Work::Wait(wait) }
            }
            LET_GO => Self::LetGo { asker: asker(reader)?, shard, how: How::of_code(reader.u8()?)? },
            SETTLED => {
                let (asker, mut args) = (asker(reader)?, Vec::new());
                for _ in 0..reader.varint()? {
                    args.push(reader.bytes()?.to_vec());
                }
                Self::Settled { asker, shard, args }
            }
            ASK_TRANSACTION | ASK_TRANSACTION_ONCE | ASK_TRANSACTION_FENCED => {
                let (term, asker) = (Term(reader.varint()?), asker(reader)?);
                let mut fences = Vec::new();
                if kind == ASK_TRANSACTION_FENCED {
                    fences.extend(read_fences(reader)?.into_iter().map(Fence::to_owned));
                }
                let has_id = kind == ASK_TRANSACTION_ONCE || (kind == ASK_TRANSACTION_FENCED && reader.u8()? != 0);
                let once = if has_id { Some(Id::decode(reader)?.to_owned()) } else { None };
                let (watched, count) = (watched(reader)?, reader.varint()?);
                if count > QUEUED_COMMANDS_MAX as u64 {
                    return Err(DecodeError::Overlong);
                }
                let commands = (0..count).map(|_| queued(reader)).collect::<Result<Vec<_>, _>>()?;
                let transaction = Transaction { client: asker.client, seq: asker.seq, once, fences, watched, commands };
                Self::Ask { shard, term, asker, work: Work::Transaction(transaction) }
            }
            ANSWER => Self::Answer { asker: asker(reader)?, shard, reply: Reply::decode(reader, frame)? },
            NOT_LEADER | NOT_TAKEN => {
                let (asker, term) = (asker(reader)?, Term(reader.varint()?));
                Self::NotLeader { asker, shard, term, also_later: kind == NOT_LEADER }
            }
            TIME => Self::Time { wall_ms: reader.varint()? },
            SNAPSHOT_PIECE => Self::SnapshotPiece { shard, term: Term(reader.varint()?), piece: piece(reader, frame)? },
            SNAPSHOT_TAKEN => {
                let (term, index) = (Term(reader.varint()?), Index(reader.varint()?));
                Self::SnapshotTaken { shard, term, index, next: reader.varint()? }
            }
            EVERYWHERE => Self::Everywhere { number: reader.varint()?, what: everywhere::read(reader, frame)? },
            EVERYWHERE_ANSWER => {
                Self::EverywhereAnswer { number: reader.varint()?, answer: Reply::decode(reader, frame)? }
            }
            REGISTER => Self::Register(Parcel::decode(reader, NodeId(0), NodeId(0))?),
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }
}

impl Work {
    fn kind(&self) -> u8 {
        match self {
            Self::Command { .. } => ASK_COMMAND,
            Self::Transaction(transaction) if !transaction.fences.is_empty() => ASK_TRANSACTION_FENCED,
            Self::Transaction(Transaction { once: None, .. }) => ASK_TRANSACTION,
            Self::Transaction(_) => ASK_TRANSACTION_ONCE,
            Self::Wait(_) => ASK_WAIT,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Command { joins, queued } => {
                out.push(u8::from(*joins));
                put_command(out, queued.db, queued.command, &queued.args);
            }
            Self::Transaction(transaction) => {
                if !transaction.fences.is_empty() {
                    put_fences(out, &as_fences(&transaction.fences));
                    out.push(u8::from(transaction.once.is_some()));
                }
                transaction.once.iter().for_each(|once| once.as_id().encode(out));
                put_watched(out, &transaction.watched);
                put_varint(out, transaction.commands.len() as u64);
                let put = |one: &Queued| put_command(out, one.db, one.command, &one.args);
                transaction.commands.iter().for_each(put);
            }
            Self::Wait(PeerWait { life, age_ms, joins, queued }) => {
                out.extend_from_slice(&life.to_le_bytes());
                put_varint(out, *age_ms);
                out.push(u8::from(*joins));
                put_command(out, queued.db, queued.command, &queued.args);
            }
        }
    }
}

fn words(queued: &Queued) -> SmallVec<[&[u8]; 8]> {
    queued.args.iter().map(Vec::as_slice).collect()
}

fn head(out: &mut Vec<u8>, kind: u8, shard: ShardId) {
    out.push(kind);
    out.extend_from_slice(&shard.0.to_le_bytes());
}

fn put_asker(out: &mut Vec<u8>, asker: Asker) {
    put_varint(out, u64::from(asker.lane.0));
    put_varint(out, asker.client.0);
    put_varint(out, asker.seq);
    out.push(u8::from(asker.part));
}

fn asker(reader: &mut Reader<'_>) -> Result<Asker, DecodeError> {
    Ok(Asker {
        lane: LaneId(u16::try_from(reader.varint()?).map_err(|_| DecodeError::Overlong)?),
        client: ClientId(reader.varint()?),
        seq: reader.varint()?,
        part: reader.u8()? != 0,
    })
}

fn put_piece(out: &mut Vec<u8>, piece: &Piece) {
    let Piece { mark, offset, total, bytes } = piece;
    put_varint(out, mark.index.0);
    put_varint(out, mark.term.0);
    put_bytes(out, &mark.members);
    put_varint(out, *offset);
    put_varint(out, *total);
    put_bytes(out, bytes);
}

fn piece(reader: &mut Reader<'_>, frame: &Bytes) -> Result<Piece, DecodeError> {
    let (index, term) = (Index(reader.varint()?), Term(reader.varint()?));
    let members = Bytes::copy_from_slice(reader.bytes()?);
    let (offset, total, bytes) = (reader.varint()?, reader.varint()?, frame.slice_ref(reader.bytes()?));
    if bytes.is_empty() || bytes.len() > SNAPSHOT_PIECE_BYTES_MAX {
        return Err(DecodeError::Overlong);
    }
    Ok(Piece { mark: SnapshotMark { index, term, members }, offset, total, bytes })
}

fn queued(reader: &mut Reader<'_>) -> Result<Queued, DecodeError> {
    let (db, command, args) = read_command(reader)?;
    Ok(Queued { db, command, args })
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::command;
    use data::command::pubsub::{Message as Published, Topic};

    fn everywhere(what: Everywhere) -> PeerMessage {
        PeerMessage::Everywhere { number: 300, what }
    }

    fn about_a_register() -> PeerMessage {
        let message = consensus::register::Message::Read { name: Bytes::from_static(b"lock"), serial: 1 << 33 };
        PeerMessage::Register(Parcel { from: NodeId(0), to: NodeId(0), epoch: base::Epoch(3), message })
    }

    fn all() -> Vec<PeerMessage> {
        let (shard, term) = (ShardId(3), Term(9));
        let asker = Asker { lane: LaneId(1), client: ClientId(1 << 30), seq: 77, part: true };
        let set = Queued {
            db: 2,
            command: command::find(b"set").unwrap(),
            args: vec![b"SET".to_vec(), b"k".to_vec(), b"v".to_vec()],
        };
        let blpop = Queued {
            db: 2,
            command: command::find(b"blpop").unwrap(),
            args: vec![b"BLPOP".to_vec(), b"k".to_vec(), b"0".to_vec()],
        };
        let transaction = Transaction {
            client: asker.client,
            seq: 77,
            once: None,
            fences: Vec::new(),
            watched: Vec::new(),
            commands: vec![set.clone(), set.clone()],
        };
        let id = Id { client: b"c", seq: 1 << 40 };
        let once = Transaction { once: Some(id.to_owned()), ..transaction.clone() };
        let fence = |lock: &'static [u8]| Fence { lock, number: 1 << 50 }.to_owned();
        let fenced = Transaction { fences: vec![fence(b"a"), fence(b"b")], ..once.clone() };
        let fenced_only = Transaction { fences: vec![fence(b"a")], ..transaction.clone() };
        vec![
            PeerMessage::Raft { shard, message: Message::TimeoutNow { term } },
            PeerMessage::Ask { shard, term, asker, work: Work::Command { joins: true, queued: set } },
            PeerMessage::Ask { shard, term, asker, work: Work::Transaction(transaction) },
            PeerMessage::Ask { shard, term, asker, work: Work::Transaction(once) },
            PeerMessage::Ask { shard, term, asker, work: Work::Transaction(fenced) },
            PeerMessage::Ask { shard, term, asker, work: Work::Transaction(fenced_only) },
            PeerMessage::Ask {
                shard,
                term,
                asker,
                work: Work::Wait(PeerWait { life: 1 << 60, age_ms: 70, joins: true, queued: blpop }),
            },
            PeerMessage::LetGo { asker, shard, how: How::Error },
            PeerMessage::Settled { asker, shard, args: vec![b"XREAD".to_vec(), b"5-0".to_vec()] },
            PeerMessage::Answer { asker, shard, reply: Reply::Int(5) },
            PeerMessage::NotLeader { asker, shard, term, also_later: true },
            PeerMessage::NotLeader { asker, shard, term, also_later: false },
            PeerMessage::SnapshotPiece {
                shard,
                term,
                piece: Piece {
                    mark: SnapshotMark { index: Index(300), term, members: Bytes::from_static(b"who") },
                    offset: 4096,
                    total: 8192,
                    bytes: Bytes::from_static(b"a page"),
                },
            },
            PeerMessage::SnapshotTaken { shard, term, index: Index(300), next: 8192 },
            PeerMessage::Time { wall_ms: 1_700_000_000_000 },
            everywhere(Everywhere::Publish(Published {
                topic: Topic::Shard,
                channel: Bytes::from_static(b"news"),
                payload: Bytes::from_static(b""),
            })),
            everywhere(Everywhere::Channels { topic: Topic::Channel, pattern: None }),
            everywhere(Everywhere::Channels { topic: Topic::Pattern, pattern: Some(Bytes::from_static(b"n*")) }),
            everywhere(Everywhere::Listeners { topic: Topic::Channel, channels: vec![Bytes::from_static(b"a"); 3] }),
            everywhere(Everywhere::Patterns),
            PeerMessage::EverywhereAnswer { number: 300, answer: Reply::Int(7) },
            about_a_register(),
        ]
    }

    #[test]
    fn what_is_sent_is_what_arrives_and_a_cut_is_noticed() {
        for message in all() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            let frame = Bytes::from(bytes);
            let mut reader = Reader::new(&frame);
            let came = PeerMessage::decode(&mut reader, &frame).unwrap();
            assert_eq!(format!("{came:?}"), format!("{message:?}"));
            assert!(reader.is_empty());
            for cut in 0..frame.len() {
                let frame = frame.slice(..cut);
                assert!(PeerMessage::decode(&mut Reader::new(&frame), &frame).is_err(), "cut at {cut}");
            }
        }
    }
}
