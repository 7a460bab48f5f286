//! What a session asks of its driver.

use super::fences::Under;
use super::parse::Args;
use super::subscribe::Listens;
use super::tracking::Tracking;
use crate::cluster::Place;
use data::command::locks::Ask;
use data::command::pubsub::Everywhere;
use data::fence::OwnedFence;
use data::once::OwnedId;
use data::{Command, Watched};
use std::sync::Arc;

/// What the driver must do next.
#[derive(Debug)]
pub enum Step<'a> {
    /// For the core; its reply comes back by [`Session::on_reply`].
    Request(Call<'a>),
    /// A whole transaction for the core.
    Exec(ExecCall),
    /// For the binary itself.
    Admin(Call<'a>),
    /// For every lane of every node.
    Everywhere(EverywhereCall),
    /// About a lock.
    Lock(LockCall),
    /// Answered already, and the connection listens to other channels than before.
    Listens(Vec<Listens>),
    /// RESET: it listens to nothing any more, and what else the driver knows of the connection is to be forgotten.
    Reset { listens: Vec<Listens>, tracking: Option<Box<Tracking>> },
    /// An inline command: feed these bytes, which mean the same, to `step` before going on.
    Inline(Vec<u8>),
    /// Done already.
    Answered,
    /// Call again when at least so many bytes are there.
    NeedMore { need_at_least: usize },
    /// Call again after the next reply: EXEC waits for WATCH's answer, and all wait behind a call that waits.
    Blocked,
    /// Write what is there and close.
    Close,
}

/// A command of this client.
#[derive(Debug)]
pub struct Call<'a> {
    pub seq: u64,
    pub db: u8,
    /// True if a write of this client is unanswered.
    pub joins: bool,
    /// Its keys are to be noted for the client's cache.
    pub noted: bool,
    pub command: &'static Command,
    pub args: Args<'a>,
    pub place: Place,
    /// The fences of the connection, if it goes under them: see [`Call::under_fences`].
    pub under: Option<Arc<Under>>,
}

/// A message, or a question about those who listen.
#[derive(Debug)]
pub struct EverywhereCall {
    pub seq: u64,
    pub what: Everywhere,
}

/// A call about a lock.
#[derive(Debug)]
pub struct LockCall {
    pub seq: u64,
    pub ask: Ask,
}

/// EXEC.
#[derive(Debug)]
pub struct ExecCall {
    pub seq: u64,
    /// The keys that its commands read are to be noted for the client's cache.
    pub noted: bool,
    /// The id that covers it: it takes effect once.
    pub once: Option<OwnedId>,
    /// Its fences: it is refused as a whole.
    pub fences: Vec<OwnedFence>,
    pub watched: Vec<Watched>,
    pub commands: Vec<QueuedCall>,
    /// Commands for the binary, with their positions: their replies go to [`Session::on_exec_admin`] before the core's.
    pub admin: Vec<(usize, QueuedCall)>,
}

/// A command queued by MULTI.
#[derive(Clone, Debug)]
pub struct QueuedCall {
    pub db: u8,
    pub command: &'static Command,
    pub args: Vec<Vec<u8>>,
}

impl<'a> Call<'a> {
    /// The database and the first key, if the command has one.
    #[must_use]
    pub fn first_key(&self) -> Option<(u8, &'a [u8])> {
        let at = self.command.keys.positions(&self.args).next()?;
        Some((self.db, self.args[at]))
    }
}

/// How the last command of a connection fared at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered here, or handed out.
    Ran,
    /// It was answered here by an error.
    Failed,
    /// It waits for EXEC.
    Queued,
    /// It was refused before it could run.
    Refused,
}
