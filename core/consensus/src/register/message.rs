//! What nodes tell each other about registers, and the effects of a step.

use super::ballot::Ballot;
use crate::lock::{Command, Lock, Outcome};
use base::{Epoch, NodeId};
use bytes::Bytes;
use std::sync::Arc;

/// A message on its way to a node's registers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parcel {
    pub from: NodeId,
    pub to: NodeId,
    /// The epoch of the sender's voters: nobody of another takes part.
    pub epoch: Epoch,
    pub message: Message,
}

/// Something to make durable, and what may follow it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegisterWrite {
    /// Counts up within a life: [`crate::lock::Plane::on_persisted`] takes the number up to which all is durable.
    pub serial: u64,
    /// An encoded [`super::Record`].
    pub record: Bytes,
    /// Delivered once the record is durable, never before. Those to this node itself go to its own plane.
    pub then: Vec<Parcel>,
}

/// What an acceptor holds of a register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// Zero if nothing was accepted, or the register was swept.
    pub accepted: Ballot,
    pub lock: Arc<Lock>,
    /// No token or fence up to this is given out for this name again.
    pub floor: u64,
    /// Holders whose time isn't over by this acceptor's clock, by token, and the milliseconds left.
    pub alive: Vec<(u64, u64)>,
}

/// A request's name among all of the cluster's: the node that took it, of which life, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asker {
    pub node: NodeId,
    pub incarnation: u64,
    pub number: u64,
}

/// One register as a rescan brings it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scanned {
    pub name: Bytes,
    pub accepted: Ballot,
    pub lock: Arc<Lock>,
    /// Nobody has held it for long.
    pub idle: bool,
}

/// A register that might be forgotten, in the state in which the asker has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Idle {
    pub name: Bytes,
    /// Zero if it was only promised.
    pub accepted: Ballot,
    pub lock: Arc<Lock>,
}

/// How a voter stands with a register that might be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stand {
    /// It has something newer, or somebody has used it lately.
    Needs,
    /// It has just that, and can do without it.
    Has,
    /// It has nothing, and nothing older will come to be there.
    Lacks,
    /// It has something older.
    Behind,
}

/// A message about registers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Accept nothing below this ballot, and say what you have accepted.
    Prepare {
        name: Bytes,
        ballot: Ballot,
    },
    /// Its promise is durable.
    Promise {
        name: Bytes,
        ballot: Ballot,
        report: Report,
    },
    /// Accept this, unless a higher ballot was promised; and promise me the next ballot.
    Accept {
        name: Bytes,
        ballot: Ballot,
        lock: Arc<Lock>,
    },
    /// It is accepted, and durable.
    Accepted {
        name: Bytes,
        ballot: Ballot,
    },
    /// A higher ballot was promised.
    Refused {
        name: Bytes,
        ballot: Ballot,
        promised: Ballot,
    },
    /// What have you accepted? Promise nothing.
    Read {
        name: Bytes,
        serial: u64,
    },
    ReadReply {
        name: Bytes,
        serial: u64,
        report: Report,
    },
    /// Tell this node of changes for a while.
    Subscribe {
        name: Bytes,
    },
    /// The register has changed, by another's proposal. A hint.
    Changed {
        name: Bytes,
        version: u64,
        lock: Arc<Lock>,
    },
    /// A request for its home.
    Ask {
        asker: Asker,
        name: Bytes,
        command: Command,
    },
    /// The request waits in line, or was asked before and is not answered yet.
    Queued {
        asker: Asker,
    },
    Answer {
        asker: Asker,
        name: Bytes,
        outcome: Outcome,
    },
    /// Nobody waits for this request any more.
    Cancel {
        asker: Asker,
        name: Bytes,
    },
    /// Are you there?
    Ping,
    Pong,
    /// Seal the epoch `of`, and give your registers behind this name.
    Scan {
        of: Epoch,
        after: Option<Bytes>,
    },
    /// A part of a sealed epoch's registers, by name.
    Part {
        of: Epoch,
        after: Option<Bytes>,
        cells: Vec<Scanned>,
        /// The slots' floors, in the last part alone.
        floors: Vec<(u16, u64)>,
        last: bool,
    },
    /// That epoch isn't complete here: ask again later.
    NotReady {
        of: Epoch,
    },
    /// How do you stand with these? A sweep's question, by its number in the asker's life.
    Idle {
        serial: u64,
        /// Most voters have accepted them so.
        chosen: bool,
        cells: Vec<Idle>,
    },
    /// For each of them, in their order; and the highest ballot that the sender has promised for those that it doesn't need.
    Stands {
        serial: u64,
        promised: Ballot,
        stands: Vec<Stand>,
    },
    /// No voter needs these registers, which were last accepted under these ballots. No proposal up to `promised` counts for them.
    Forget {
        promised: Ballot,
        cells: Vec<(Bytes, Ballot)>,
    },
    /// To oneself: the records of a rescan are durable.
    Rescanned {
        epoch: Epoch,
    },
}
