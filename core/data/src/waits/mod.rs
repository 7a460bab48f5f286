//! Calls that wait for something at a key: who they are, in which order they are served, and what they were answered.
//!
//! Who waits is replicated state. A call that finds nothing is put at the end of the line of each of its keys by `apply` itself, and
//! whatever then puts something there, a push, a transaction, a script or a served call that moves a member on, serves those who
//! wait in the same step, behind its own effect, as Redis does: first come, first served. So one push to a key at which
//! thousands wait is one operation of the log and serves whom it can, replicas agree on who got what, and a newcomer finds either
//! nothing or nobody before it.
//!
//! - A wait ends by being served, by its time (a stamp, so it needs no entry of its own), by an operation that lets it go, or
//!   with its leader: the first entry of a term begins with an empty line, and nodes ask again for the clients that they have. A
//!   call that is asked again stands where it stood, by the time of its first arrival.
//! - A caller is a connection in one life of its node. What it was answered is kept until it asks for something else ([`Answers`]):
//!   so a call that is asked again since its leader was lost takes nothing a second time.
//! - Reads that wait (XREAD) change nothing: the leader alone knows them ([`WaitId::Read`]), in no log, snapshot or digest.
//!
//! This file is who stands where; [`crate::waits::serve`] is what happens then; FORMAT.md draws the bytes.

mod answers;
mod image;
mod lines;
mod serve;
#[cfg(test)]
mod tests;

use crate::command::blocking::{self, Blocking, Kind, Wish};
use crate::fence;
use crate::once::OwnedId;
use crate::shard::Call;
use answers::Answers;
pub use answers::Caller;
use base::codec::{DecodeError, Reader, put_varint};
use base::{Index, Stamp};
pub use image::Loading;
pub(crate) use image::{TAG_ANSWER, TAG_FENCED_WAIT, TAG_WAIT};
use lines::{Line, Lines};
pub use serve::{UNBLOCKED, is_nothing};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Names a call that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitId {
    /// By its place in the log: the entry, and which of those in it that began to wait.
    Logged { index: Index, nth: u64 },
    /// A read that this replica's leader knows alone.
    Read(u64),
}

/// When a call came first, and until when it waits; without end if nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    pub since: Stamp,
    pub until: Option<Stamp>,
}

/// How a wait is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// As if its time were over.
    Nil,
    /// With an error.
    Error,
}

/// What keeps the outcome of a call, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    Nothing,
    Caller(Caller),
    /// ONCE.
    Once {
        id: OwnedId,
        fingerprint: u64,
        keep_ms: u64,
    },
}

/// A call that waits.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    /// As log entries have it.
    pub(crate) call: Arc<[u8]>,
    pub(crate) patience: Patience,
    pub(crate) cover: Cover,
    /// Under which it waits: they are looked at again when it is served.
    pub(crate) fences: fence::Kept,
}

/// Who waits in a shard; see the module.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    calls: BTreeMap<WaitId, Wait>,
    /// How many of them stand in the log.
    logged_count: usize,
    logged: Lines,
    reads: Lines,
    /// Of calls in the log.
    deadlines: BTreeSet<(Stamp, WaitId)>,
    /// The call with which a caller waits.
    callers: BTreeMap<(u64, u64), WaitId>,
    pub(crate) answers: Answers,
    last_read: u64,
}

impl Waits {
    /// How many calls wait, reads among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// True if nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Where calls in the log wait: databases and keys, with who stands there, the first first.
    pub fn lines(&self) -> impl Iterator<Item = (u8, &[u8], Kind, Vec<WaitId>)> {
        self.logged.all()
    }

    /// Until when a call waits; nothing if it waits without end, or not at all.
    #[must_use]
    pub fn until(&self, id: WaitId) -> Option<Stamp> {
        self.calls.get(&id)?.patience.until
    }

    /// The arguments of a call that waits, as it will be run: `$` is the ID that it stood for.
    #[must_use]
    pub fn args_of(&self, id: WaitId) -> Option<Vec<Vec<u8>>> {
        let call = Call::read(&mut Reader::new(&self.calls.get(&id)?.call)).expect("what waits was read before");
        Some(call.args.iter().map(|arg| arg.to_vec()).collect())
    }

    /// A read waits, on this replica alone. `call` as log entries have it.
    pub(crate) fn add_read(&mut self, call: Arc<[u8]>, since: Stamp) -> WaitId {
        self.last_read += 1;
        let id = WaitId::Read(self.last_read);
        let patience = Patience { since, until: None };
        self.add(id, Wait { call, patience, cover: Cover::Nothing, fences: fence::Kept::default() });
        id
    }

    /// A read doesn't wait any more.
    pub fn forget_read(&mut self, id: WaitId) {
        assert!(matches!(id, WaitId::Read(_)), "what stands in the log goes by the log");
        self.remove(id);
    }

    pub(crate) fn logged_count(&self) -> usize {
        self.logged_count
    }

    pub(crate) fn get(&self, id: WaitId) -> Option<&Wait> {
        self.calls.get(&id)
    }

    /// The call with which a caller waits.
    pub(crate) fn of_caller(&self, caller: Caller) -> Option<WaitId> {
        self.callers.get(&caller.who()).copied()
    }

    /// Puts a call at its place in the line of each of its keys.
    pub(crate) fn add(&mut self, id: WaitId, wait: Wait) {
        let (call, place) = (Arc::clone(&wait.call), (wait.patience.since, id));
        let asked = Asked::of(&call);
        let lines = self.lines_of(id);
        asked.each_line(|line, key| lines.stand(asked.call.db, key, line, place));
        if let WaitId::Logged { .. } = id {
            self.logged_count += 1;
            self.deadlines.extend(wait.patience.until.map(|until| (until, id)));
        }
        if let Cover::Caller(caller) = wait.cover {
            self.callers.insert(caller.who(), id);
        }
        self.calls.insert(id, wait);
    }

    pub(crate) fn remove(&mut self, id: WaitId) -> Option<Wait> {
        let wait = self.calls.remove(&id)?;
        let (call, place) = (Arc::clone(&wait.call), (wait.patience.since, id));
        let asked = Asked::of(&call);
        let lines = self.lines_of(id);
        asked.each_line(|line, key| lines.leave(asked.call.db, key, line, place));
        if let WaitId::Logged { .. } = id {
            self.logged_count -= 1;
            if let Some(until) = wait.patience.until {
                self.deadlines.remove(&(until, id));
            }
        }
        if let Cover::Caller(caller) = wait.cover
            && self.callers.get(&caller.who()) == Some(&id)
        {
            self.callers.remove(&caller.who());
        }
        Some(wait)
    }

    fn lines_of(&mut self, id: WaitId) -> &mut Lines {
        match id {
            WaitId::Logged { .. } => &mut self.logged,
            WaitId::Read(_) => &mut self.reads,
        }
    }

    /// The next call whose time is over at `now`; it doesn't wait any more.
    pub(crate) fn next_timed_out(&mut self, now: Stamp) -> Option<WaitId> {
        let (_, id) = *self.deadlines.first().filter(|(until, _)| *until <= now)?;
        self.remove(id);
        Some(id)
    }

    /// Another leader: nobody waits any more but whom it is asked for again.
    pub(crate) fn clear(&mut self) {
        let Self { calls, logged_count, logged, deadlines, callers, .. } = self;
        calls.retain(|id, _| matches!(id, WaitId::Read(_)));
        *logged_count = 0;
        *logged = Lines::default();
        deadlines.clear();
        callers.clear();
    }

    /// A key has changed, and `found` stands there now.
    pub(crate) fn changed(&mut self, db: u8, key: &[u8], found: Option<Kind>) {
        self.logged.changed(db, key, found);
        self.reads.changed(db, key, found);
    }

    /// True if a key has something for somebody who waits.
    pub(crate) fn has_ready(&self) -> bool {
        self.logged.has_ready() || self.reads.has_ready()
    }

    /// True if somebody's time is over, or that of an answer.
    pub(crate) fn is_due(&self, now: Stamp) -> bool {
        self.deadlines.first().is_some_and(|(until, _)| *until <= now) || self.answers.is_due(now)
    }

    /// True if somebody waits at a key.
    pub(crate) fn at(&self, db: u8, key: &[u8]) -> bool {
        self.logged.has(db, key) || self.reads.has(db, key)
    }

    /// A database was emptied.
    pub(crate) fn flushed(&mut self, db: u8) {
        self.logged.flushed(db);
    }

    /// What was noticed before doesn't count: it was tried and taken back, or came from elsewhere.
    pub(crate) fn forget_ready(&mut self) {
        self.logged.forget_ready();
        self.reads.forget_ready();
    }
}

/// A call that waits, read.
struct Asked<'a> {
    call: Call<'a>,
    blocking: &'static Blocking,
    wish: Wish<'a>,
}

impl<'a> Asked<'a> {
    fn of(call: &'a [u8]) -> Self {
        Self::read(call).expect("what waits was read before")
    }

    fn read(call: &'a [u8]) -> Result<Self, DecodeError> {
        let call = Call::read(&mut Reader::new(call)).map_err(|bad| bad.0)?;
        let unknown = DecodeError::Unknown(u64::from(call.command.id));
        let blocking = blocking::of(call.command).ok_or(unknown)?;
        let wish = blocking.wish(&call.args).ok_or(unknown)?;
        Ok(Self { call, blocking, wish })
    }

    fn each_line(&self, mut each: impl FnMut(Line<'a>, &'a [u8])) {
        let line = Line { kind: self.wish.kind, group: self.wish.group };
        self.blocking.keys(self.call.command, &self.call.args).for_each(|key| each(line, key));
    }
}

impl Patience {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.since.0);
        put_varint(out, self.until.map_or(0, |until| until.0.saturating_add(1)));
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (since, until) = (Stamp(reader.varint()?), reader.varint()?);
        Ok(Self { since, until: until.checked_sub(1).map(Stamp) })
    }
}

impl WaitId {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        let Self::Logged { index, nth } = self else { unreachable!("reads stand in no log") };
        put_varint(out, index.0);
        put_varint(out, nth);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::Logged { index: Index(reader.varint()?), nth: reader.varint()? })
    }
}

impl How {
    /// As log entries and peers carry it.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Nil => 0,
            Self::Error => 1,
        }
    }

    /// What [`How::code`] gave.
    pub fn of_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            0 => Ok(Self::Nil),
            1 => Ok(Self::Error),
            other => Err(DecodeError::Unknown(u64::from(other))),
        }
    }
}
