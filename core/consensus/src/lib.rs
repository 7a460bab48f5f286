//! How replicas agree. Payloads are opaque: nothing here knows what a key is.
//!
//! [`raft`] orders the log entries of a shard; [`register`] holds values that change by the votes of nodes, without a leader, and
//! [`lock`] is what they are for. Inputs are calls, effects are values: a [`Write`] names what must be
//! durable and carries the messages that may leave once it is, so persist-before-send can't be forgotten.

pub mod lock;
pub mod raft;
pub mod register;

use base::record::Record;
use base::{NodeId, ShardId};

/// Something to make durable, and what may follow it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Write {
    pub record: Record,
    /// Delivered once the record is durable, never before.
    pub then: Vec<Envelope>,
}

/// A message on its way to a node's replica of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    pub from: NodeId,
    pub to: NodeId,
    pub shard: ShardId,
    pub message: raft::Message,
}

/// What steps of groups ask of their driver.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be made durable, in this order.
    pub writes: Vec<Write>,
    /// To be sent to other nodes; they may be lost, doubled and overtaken.
    pub messages: Vec<Envelope>,
    /// Replicas that need a snapshot, since the entries they lack are gone.
    pub lagging: Vec<(ShardId, NodeId)>,
}
