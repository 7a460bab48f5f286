//! The effects of a step.

use super::command::Outcome;
use super::value::Lock;
use crate::register::{Parcel, RegisterWrite};
use base::{Epoch, NodeId};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// What the caller knows a waiting client by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// What steps of a plane ask of its driver.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To be made durable, in this order.
    pub writes: Vec<RegisterWrite>,
    /// To be sent to other nodes; they may be lost, doubled and overtaken.
    pub messages: Vec<Parcel>,
    /// Answers to requests, each once.
    pub replies: Vec<(Waiter, Outcome)>,
    /// For those who watch.
    pub notices: Vec<Notice>,
    pub events: Vec<Event>,
    /// A block of tokens is wanted from the meta shard: [`super::Plane::on_block`].
    pub wants_block: bool,
    /// What the node tells itself: taken before the step ends.
    pub(crate) own: VecDeque<Parcel>,
}

impl Outbox {
    /// Sends a message to another node, or to the sender itself.
    pub(crate) fn send(&mut self, parcel: Parcel) {
        if parcel.to == parcel.from {
            self.own.push_back(parcel);
        } else {
            self.messages.push(parcel);
        }
    }
}

/// A watched lock has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub waiter: Waiter,
    pub name: Bytes,
    /// Grows with each change; some may be passed over.
    pub version: u64,
    pub lock: Arc<Lock>,
}

/// What happened, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An expired holder lost its lock to another.
    Stolen,
    /// A proposal met a higher ballot.
    BallotLost,
    /// A request went to a second home, since the first was silent or lost.
    Hedged,
    /// A change was chosen, by one round or by two.
    Changed { rounds: u8 },
    /// A refusal or an INFO that cost no write.
    ReadOnly,
    /// A grant that nobody waits for any more is given back.
    GivenBack,
    /// This node serves the epoch.
    Ready { epoch: Epoch, cells: u64, swept: u64 },
    /// This node's voter has forgotten so many locks that nobody uses.
    Forgotten { count: u64 },
    /// A message of another epoch was passed over.
    OtherEpoch,
    /// A peer said what none that keeps the rules would.
    Misbehaved { node: NodeId },
}
