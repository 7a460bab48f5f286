//! What goes into a lane and what comes out of it.

use crate::everywhere::Reach;
use crate::from_peers::Misbehaved;
use crate::peer::PeerMessage;
use crate::waiting::Ending;
use base::record::{Record, SnapshotMark};
use base::{ClientId, Epoch, Index, Instant, LaneId, NodeId, Roster, ShardId, Term};
use bytes::Bytes;
use consensus::register::Parcel;
use consensus::{Effects, Envelope, Write};
use data::batch::Batch;
pub use data::batch::Queued;
use data::command::locks::Ask;
use data::command::pubsub::{Everywhere, Message};
use data::fence::OwnedFence;
use data::keyspace::Notice;
use data::once::OwnedId;
use data::{Command, Garbage, Keyspace, Reply, Watched};
use std::sync::Arc;

/// The time of an input, read after it was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub boot: Instant,
    /// Milliseconds since the Unix epoch; read only at an election.
    pub wall_ms: u64,
}

/// One command of one client.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub client: ClientId,
    pub seq: u64,
    pub db: u8,
    /// True if a write of the same client is unanswered: a read then takes its turn behind it.
    pub joins: bool,
    pub command: &'static Command,
    pub args: &'a [&'a [u8]],
}

/// A transaction of one client: MULTI .. EXEC.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub client: ClientId,
    pub seq: u64,
    /// The id that covers it: it takes effect once.
    pub once: Option<OwnedId>,
    /// Its fences: it is refused as a whole.
    pub fences: Vec<OwnedFence>,
    pub watched: Vec<Watched>,
    pub commands: Vec<Queued>,
}

/// A request that travels to another lane.
#[derive(Clone, Debug)]
pub struct OwnedRequest {
    pub client: ClientId,
    pub seq: u64,
    pub joins: bool,
    pub queued: Queued,
}

/// What lanes of one node tell each other.
#[derive(Clone, Debug)]
pub enum LaneMessage {
    Request {
        from: LaneId,
        shard: ShardId,
        request: OwnedRequest,
    },
    Transaction {
        from: LaneId,
        shard: ShardId,
        transaction: Transaction,
    },
    /// One shard's part of a scattered command.
    Part {
        from: LaneId,
        shard: ShardId,
        request: OwnedRequest,
    },
    Reply {
        client: ClientId,
        seq: u64,
        reply: Reply,
    },
    /// A call that may wait ends.
    LetGo {
        from: LaneId,
        client: ClientId,
        seq: u64,
        ending: Ending,
    },
    PartReply {
        client: ClientId,
        seq: u64,
        shard: ShardId,
        reply: Reply,
    },
    /// The roster as the lane of the meta shard has applied it.
    Roster(Arc<Roster>),
    /// For this lane too, and for the nodes that it is linked to if it is for the whole cluster.
    Everywhere {
        from: LaneId,
        number: u64,
        what: Everywhere,
        reach: Reach,
    },
    EverywhereAnswer {
        number: u64,
        answer: Reply,
    },
    /// A call about a lock.
    Lock {
        from: LaneId,
        client: ClientId,
        seq: u64,
        ask: Ask,
    },
    /// The largest fence that may have been given out.
    FenceBound(u64),
    /// The largest floor that forgotten locks have left in shards of the sender.
    SlotFloor(u64),
    /// The client is gone.
    ForgetLocks {
        from: LaneId,
        client: ClientId,
    },
}

/// Something of the registers to be made durable, and what may follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterRecord {
    pub record: Record,
    /// The plane's number of it, if it has one.
    pub serial: Option<u64>,
    /// Delivered once the record is durable, never before.
    pub then: Vec<Parcel>,
}

/// What a turn asks to be made durable.
#[derive(Debug, Default)]
pub struct Writes {
    /// In this order.
    pub raft: Vec<Write>,
    /// In this order.
    pub registers: Vec<RegisterRecord>,
}

/// What durable writes let go: goes to [`crate::Lane::on_released`].
#[derive(Debug, Default)]
pub struct Released {
    raft: Vec<Envelope>,
    registers: Vec<Parcel>,
    /// All register records up to this one are durable.
    serial: Option<u64>,
}

impl Writes {
    /// True if there is nothing to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raft.is_empty() && self.registers.is_empty()
    }

    /// The records.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.raft.iter().map(|one| &one.record).chain(self.registers.iter().map(|one| &one.record))
    }

    /// Puts the records behind `records`, and gives what may follow once they are durable.
    pub fn split(self, records: &mut Vec<Record>) -> Released {
        let mut released = Released { raft: Vec::with_capacity(self.raft.len()), ..Released::default() };
        for write in self.raft {
            records.push(write.record);
            released.raft.extend(write.then);
        }
        for RegisterRecord { record, serial, then } in self.registers {
            records.push(record);
            released.registers.extend(then);
            released.serial = released.serial.max(serial);
        }
        released
    }
}

impl crate::Lane {
    /// Durable writes let this go: notices for this node itself, messages for others.
    pub fn on_released(&mut self, now: Now, released: Released, out: &mut Outbox) {
        for envelope in released.raft {
            if envelope.to == self.config.node {
                self.on_persisted(now, envelope, out);
            } else {
                out.raft.messages.push(envelope);
            }
        }
        if let Some(serial) = released.serial {
            self.on_registers(now, released.registers, serial, out);
        }
    }
}

/// What happened to keys of a shard, for those clients of this node who listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub notices: Vec<Notice>,
    pub changed: Vec<Changed>,
    /// Any key may have changed.
    pub all_changed: bool,
    /// The entry that did it, if one did.
    pub entry: Option<(ShardId, Index)>,
}

/// A key that has changed, and the client of this node that did it, if one did: its lane and its name there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub key: Box<[u8]>,
    pub by: Option<(LaneId, ClientId)>,
}

/// What of a lane's running snapshots the disk has not yet taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotWaiting {
    /// All of it.
    pub bytes: usize,
    /// What exists for the snapshot alone: large values are shared with the keyspace and cost nothing.
    pub copied_bytes: usize,
}

/// A step of writing a shard's snapshot, in order.
#[derive(Clone, Debug)]
pub enum SnapshotStep {
    Begin {
        shard: ShardId,
        mark: SnapshotMark,
    },
    /// `copied` if the bytes exist for the snapshot alone.
    Piece {
        shard: ShardId,
        bytes: Bytes,
        copied: bool,
    },
    End {
        shard: ShardId,
    },
    /// The state that is being written is gone: what there is of its file goes too.
    Abort {
        shard: ShardId,
    },
    /// A piece is to be read for a peer: answered by [`SnapshotNews::Read`] or [`SnapshotNews::Unreadable`].
    Send {
        shard: ShardId,
        to: NodeId,
        index: Index,
        offset: u64,
    },
    /// The peer needs no more of it.
    Sent {
        shard: ShardId,
        to: NodeId,
    },
    /// The next piece of a snapshot that a peer sends; the first one, at `offset` 0, begins it anew. Answered by
    /// [`SnapshotNews::Took`] or [`SnapshotNews::NotTaken`]; when the last piece is durable, the file is read and
    /// [`SnapshotNews::Arrived`] follows.
    Take {
        shard: ShardId,
        mark: SnapshotMark,
        offset: u64,
        bytes: Bytes,
        last: bool,
    },
    /// A peer's snapshot stands for the log up to its mark.
    Installed {
        shard: ShardId,
        mark: SnapshotMark,
    },
}

/// What became of a [`SnapshotStep`].
#[derive(Debug)]
pub enum SnapshotNews {
    /// This node's snapshot is durable.
    Finished {
        mark: SnapshotMark,
    },
    /// It could not be written.
    Failed,
    Read {
        to: NodeId,
        index: Index,
        offset: u64,
        total: u64,
        bytes: Bytes,
    },
    Unreadable {
        to: NodeId,
    },
    /// A peer's snapshot is written up to `next`.
    Took {
        index: Index,
        next: u64,
    },
    /// It could not be written, or what came was damaged.
    NotTaken {
        index: Index,
    },
    /// All of it is durable, and these are its keys.
    Arrived {
        mark: SnapshotMark,
        keyspace: Box<Keyspace>,
    },
}

/// What happened, for logs, metrics and the simulator's assertions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Elected {
        shard: ShardId,
        term: Term,
    },
    /// It led until now; `term` is the one that is over, or a later one.
    Deposed {
        shard: ShardId,
        term: Term,
    },
    Ready {
        shard: ShardId,
        applied: Index,
    },
    /// Another leader is known here, or none any more, or the members have changed.
    Regrouped {
        shard: ShardId,
    },
    Applied {
        shard: ShardId,
        index: Index,
        commands: usize,
    },
    /// The entry that this leader applied took so many keys out since memory ran out.
    Evicted {
        shard: ShardId,
        keys: usize,
    },
    /// This node's wall clock lies off the median of a majority's by so much, or, if zero, does so no more.
    ClockOff {
        behind_ms: i64,
    },
    /// A peer lacks entries that are gone here and is sent the snapshot at `index`.
    SnapshotSent {
        shard: ShardId,
        to: NodeId,
        index: Index,
    },
    /// A peer's snapshot has replaced the state.
    SnapshotInstalled {
        shard: ShardId,
        index: Index,
    },
    /// A peer sent what no node that keeps the rules would: its link is to be ended.
    PeerMisbehaved {
        peer: NodeId,
        what: Misbehaved,
    },
    /// This node votes on locks in this epoch.
    LocksReady {
        epoch: Epoch,
    },
    /// The log holds an entry that this version can't read: the process must stop.
    BadEntry {
        shard: ShardId,
        index: Index,
    },
}

/// Effects of the inputs of a turn.
#[derive(Debug, Default)]
pub struct Outbox {
    /// What the groups ask for: writes to make durable, messages for other nodes.
    pub raft: Effects,
    /// To be made durable, with the groups' writes.
    pub registers: Vec<RegisterRecord>,
    pub sends: Vec<(LaneId, LaneMessage)>,
    /// For other nodes, in this order to each of them.
    pub peers: Vec<(NodeId, PeerMessage)>,
    pub replies: Vec<(ClientId, u64, Reply)>,
    /// For those clients of this lane who listen to the channel.
    pub messages: Vec<Message>,
    /// For the clients of all lanes of this node, behind the replies: what they show has happened then.
    pub heard: Vec<Heard>,
    pub snapshots: Vec<SnapshotStep>,
    /// What flushes took out, to be dropped where nobody waits.
    pub garbage: Vec<Garbage>,
    pub events: Vec<Event>,
    /// Scripts to be run: each comes back by [`crate::Lane::on_batch`], one at a brisk pace before anything else is done.
    pub batches: Vec<Batch>,
    /// The cluster's roster, when it has changed.
    pub roster: Option<Arc<Roster>>,
    /// A node that is alone wants a block of locks' tokens: [`crate::Lane::on_tokens`].
    pub wants_tokens: bool,
    /// When [`crate::Lane::on_timer`] wants to be called, if ever.
    pub next_deadline: Option<Instant>,
}

impl Outbox {
    /// Takes what is to be made durable.
    pub fn take_writes(&mut self) -> Writes {
        Writes { raft: std::mem::take(&mut self.raft.writes), registers: std::mem::take(&mut self.registers) }
    }
}
