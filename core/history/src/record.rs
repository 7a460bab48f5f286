//! What clients did and saw: operations with the times of their calls and returns.

use crate::command::Command;
use crate::reply::{Meaning, Reply, meaning};
use std::fmt;

/// Operations of clients against one store, in any order of their calls.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
    start: Start,
    refused: u64,
}

/// What the keys held before the first operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Nothing.
    #[default]
    Empty,
    /// Nobody knows; the first reply that tells is believed.
    Unknown,
}

/// One operation of a history: its place, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpId(pub usize);

/// An operation as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The name of the client; only people read it.
    pub client: Box<str>,
    pub command: Command,
    /// When it was called.
    pub invoke_ns: u64,
    /// Its reply and when that came; none if none came.
    pub returned: Option<Returned>,
    /// By which number people find it: its line in a file.
    pub line: u64,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    pub reply: Reply,
    pub at_ns: u64,
}

/// What an operation means for the order that is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate<'a> {
    /// It took effect between call and return, and was answered so.
    Done { reply: &'a Reply, return_ns: u64 },
    /// It took effect at any time after its call, or never will.
    Unknown,
    /// It had no effect and says nothing of the state.
    Void,
}

impl History {
    /// A history of a store that held nothing at first.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A history of a store that held something.
    #[must_use]
    pub fn starting(start: Start) -> Self {
        Self { start, ..Self::default() }
    }

    /// A client calls. Until [`Self::returned`] the outcome is unknown. The calls of one client may overlap, as in a
    /// pipeline.
    pub fn invoke(&mut self, client: impl fmt::Display, command: Command, now_ns: u64) -> OpId {
        let line = u64::try_from(self.operations.len() + 1).expect("a history in memory has less than 2^64 operations");
        let client = client.to_string().into_boxed_str();
        self.push(Operation { client, command, invoke_ns: now_ns, returned: None, line })
    }

    /// The reply has come. An error says that the operation wasn't carried out, but for `INDOUBT ..`, which says that
    /// nobody knows.
    ///
    /// # Panics
    /// It had returned before, or is called later than it returns: the recorder is wrong.
    pub fn returned(&mut self, op: OpId, reply: Reply, now_ns: u64) {
        let operation = &mut self.operations[op.0];
        assert!(operation.returned.is_none(), "{op:?} returns twice");
        assert!(operation.invoke_ns <= now_ns, "{op:?} returns at {now_ns} ns, before it is called");
        operation.returned = Some(Returned { reply, at_ns: now_ns });
    }

    /// Adds a whole operation.
    pub fn push(&mut self, operation: Operation) -> OpId {
        self.operations.push(operation);
        OpId(self.operations.len() - 1)
    }

    /// Counts an operation that had no effect and isn't kept.
    pub fn refuse(&mut self) {
        self.refused += 1;
    }

    /// Operations that had no effect and weren't kept.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// What the keys held before.
    #[must_use]
    pub fn start(&self) -> Start {
        self.start
    }

    /// All operations, by their ids.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
}

impl Operation {
    pub(crate) fn fate(&self) -> Fate<'_> {
        let Some(Returned { reply, at_ns }) = &self.returned else { return Fate::Unknown };
        let done = Fate::Done { reply, return_ns: *at_ns };
        match reply {
            Reply::Error(error) => match meaning(error) {
                Meaning::Refused => Fate::Void,
                Meaning::Seen => done,
                Meaning::InDoubt => Fate::Unknown,
            },
            // An EXEC that found a watched key changed.
            Reply::Nil if self.command.is_transaction() => Fate::Void,
            _ => done,
        }
    }
}
