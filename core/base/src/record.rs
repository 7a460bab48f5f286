//! What a node asks its storage to make durable, and what storage gives back at the next start.
//!
//! A [`Record`] is one fact about one shard. Payloads are opaque here: storage frames, sums and orders them.
//! FORMAT.md draws the bytes.

use crate::{Index, NodeId, ShardId, Term};
use bytes::Bytes;

/// One fact to be made durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Record {
    /// A log entry. On replay it replaces the entry of its index and drops all behind it, unless a newer record
    /// (by `seq`) already stands there.
    Append { shard: ShardId, term: Term, index: Index, payload: Payload },
    /// The Raft term and vote of a shard.
    HardState { shard: ShardId, term: Term, vote: Option<NodeId> },
    /// A snapshot of a shard is complete and durable: entries up to `index` are no longer needed.
    SnapMark { shard: ShardId, mark: SnapshotMark },
    /// Something of the node's registers, opaque here. They are numbered from 1 in the order in which they are written, over
    /// all lives of the node, and come back in that order.
    Register { index: Index, bytes: Bytes },
    /// What register records before `from` said, those from there on up to this mark say again: the former may go.
    RegisterMark { from: Index },
    /// Everything that counts stands in the log's file of this number or behind it: written by storage itself when it
    /// gives files back.
    Start { segment: u64 },
    /// Covers what stands before it, so that rot there is told from a torn tail.
    Seal,
}

/// What a log entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// For the state machine of the shard.
    Data(Bytes),
    /// The members of the group from here on.
    Members(Bytes),
}

/// What was found of the registers at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredRegisters {
    /// The bytes of their records, in order.
    pub records: Vec<Bytes>,
    /// The number of the last one; zero if there never was one.
    pub last: Index,
}

/// What was found of one shard at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredShard {
    pub term: Term,
    pub vote: Option<NodeId>,
    /// What the newest complete snapshot covers, if there is one.
    pub snapshot: Option<SnapshotMark>,
    /// Entries behind the snapshot, in order, without gaps.
    pub entries: Vec<RecoveredEntry>,
}

/// The last entry that a snapshot covers, and the members of the group there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotMark {
    pub index: Index,
    pub term: Term,
    pub members: Bytes,
}

/// One log entry found at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredEntry {
    pub term: Term,
    pub index: Index,
    pub payload: Payload,
}
