//! Scripts on their way from the leader of a shard to who runs them, and back: plain values, for a script may be run
//! elsewhere than where its shard lives.
//!
//! The state goes along, so nobody sees it meanwhile, and comes back as it was. What is to be logged comes back as an
//! entry; what a client is to be told, once that is applied, stands beside it.

use crate::command::pubsub::Message;
use crate::command::scripts::{Access, Need, need};
use crate::command::{Command, prefix};
use crate::fence::OwnedFence;
use crate::once::OwnedId;
use crate::shard::EntryWriter;
use crate::{Reply, Run, ShardState, Watched};
use base::{Index, ShardId, Stamp};
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A command that has to wait.
#[derive(Clone, Debug)]
pub struct Queued {
    pub db: u8,
    pub command: &'static Command,
    pub args: Vec<Vec<u8>>,
}

/// What one client wants.
#[derive(Clone, Debug)]
pub enum Task {
    /// A script, or a command that came behind one.
    Command(Queued),
    /// The same of a transaction.
    Transaction { once: Option<OwnedId>, fences: Vec<OwnedFence>, watched: Vec<Watched>, commands: Vec<Queued> },
}

/// Scripts for one entry, or one that reads; see the module.
#[derive(Debug)]
pub struct Batch {
    pub shard: ShardId,
    /// How many shards there are: keys of others can't be touched.
    pub shard_count: u16,
    /// Lent for the time.
    pub state: Option<ShardState>,
    pub purpose: Purpose,
    pub pace: Pace,
    /// The entry as far as it is written: what stands before the first script.
    pub entry: EntryWriter,
    /// How long the outcomes of commands under an id are kept.
    pub once_kept_ms: u64,
    /// Memory has run out: what could need more is refused.
    pub refuses_memory: bool,
    /// In their order; done from the front.
    pub tasks: VecDeque<Task>,
    /// Scripts that tasks may name: who ran them first may have known them by chance.
    pub texts: Vec<Bytes>,
    /// What became of each task that was done.
    pub done: Vec<Done>,
    pub end: End,
    /// What scripts have published: it leaves when the entry is applied, or at once if there is none.
    pub messages: Vec<Message>,
    /// Lines for the log of the node: level, text.
    pub lines: Vec<(u8, Vec<u8>)>,
    /// Commands that scripts have called, in their order, if whoever ran them was asked to tell: databases and arguments.
    pub called: Vec<(u8, Vec<Vec<u8>>)>,
    pub stop: Arc<Stop>,
}

/// What a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An entry that will stand at `index`. If `reads_now`, what has changed nothing may be answered without one.
    Entry { index: Index, stamp: Stamp, reads_now: bool },
    /// One task, which only reads.
    Look { stamp: Stamp, seed: u64 },
    /// One script that takes long and had touched nothing when it was ended at a brisk pace: it gets a state without keys, and is run up to
    /// where it would touch any. The shard goes on meanwhile.
    Apart { number: u64, stamp: Stamp, seed: u64 },
}

/// How long a script may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Some milliseconds: others wait.
    Brisk,
    /// As long as scripts may take.
    Patient,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Done {
    /// It stands in the entry, whose apply answers it with this, or if there is nothing, by itself.
    Logged(Option<Reply>),
    /// It needs no entry.
    Answered(Reply),
}

/// Why a batch ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// All is done, or the entry is full.
    #[default]
    Done,
    /// The first task that is left takes too long to be done at this pace.
    TooSlow,
    /// The same, and it had touched nothing so far.
    Untouched,
    /// The first task that is left was run apart, and would touch a key.
    Touches,
    /// The first task that is left does not only read.
    Writes,
}

/// Why whoever runs scripts should stop: set by one thread, seen by another.
#[derive(Debug, Default)]
pub struct Stop(AtomicU8);

/// What a [`Stop`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// SCRIPT KILL or FUNCTION KILL.
    Killed,
    /// It has run for as long as a script may.
    OutOfTime,
}

impl Stop {
    /// Asks for an end.
    pub fn set(&self, why: Stopped) {
        self.0.store(why as u8 + 1, Ordering::Relaxed);
    }

    /// What was asked for.
    #[must_use]
    pub fn get(&self) -> Option<Stopped> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Stopped::Killed),
            _ => Some(Stopped::OutOfTime),
        }
    }
}

impl Task {
    /// True if it can't be logged as it is.
    #[must_use]
    pub fn is_scripted(&self) -> bool {
        let scripted = |one: &Queued| {
            let args: SmallVec<[&[u8]; 8]> = one.args.iter().map(Vec::as_slice).collect();
            is_scripted(one.command, &args)
        };
        match self {
            Self::Command(queued) => scripted(queued),
            Self::Transaction { commands, .. } => commands.iter().any(scripted),
        }
    }
}

/// True if a command is, or needs, whoever runs scripts.
#[must_use]
pub fn is_scripted(command: &Command, args: &[&[u8]]) -> bool {
    match command.run {
        Run::Script(_) => true,
        Run::Scatter(scatter) => scatter.is_of_scripts() && need(scatter, args) == Need::Compiler,
        Run::Prefix(_) => prefix::parse(args).is_ok_and(|call| matches!(call.command.run, Run::Script(_))),
        Run::Read(_) | Run::Write(_) | Run::Session | Run::Node | Run::Everywhere | Run::Lock => false,
    }
}

/// True if a command is a script that may not change anything.
#[must_use]
pub fn only_reads(command: &Command) -> bool {
    matches!(command.run, Run::Script(script) if script.access == Access::Reads)
}
