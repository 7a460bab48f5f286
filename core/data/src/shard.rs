//! The replicated state machine of one shard: log entries in, replies out.
//!
//! An entry is `[version u8][stamp varint][kind u8]..`; see [`EntryWriter`] and FORMAT.md. Apply is deterministic: it
//! sees the entry and the state, nothing else. A command that is refused changes nothing and is part of the log all the
//! same, since whether it is refused depends on the state at its place.

use crate::command::{self, Command};
use crate::keyspace::{NEAR_MAX, bring_near};
use crate::once::{Id, Known};
use crate::waits::{Caller, How, Patience, WaitId};
use crate::{Context, Garbage, Keyspace, Refused, Reply, Run, Watched};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::{DATABASE_COUNT, EXPIRED_PER_ENTRY_MAX};
use base::mutation::{self, Mutation};
use base::{Index, Stamp};
use bytes::Bytes;
use smallvec::SmallVec;
use std::hash::Hasher;

/// The state that all replicas of a shard share.
#[derive(Debug)]
pub struct ShardState {
    keyspace: Keyspace,
    /// Calls of the entry that is applied.
    calls: u64,
    /// How many of them have begun to wait.
    begun: u64,
    /// Its operations, each of which is answered once.
    operations: usize,
}

/// What apply tells of operations.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The reply of the entry's next operation.
    Reply(Reply),
    /// The entry's next operation found nothing, and waits.
    Waits(WaitId),
    /// An operation of before, of this entry or another, doesn't wait any more.
    Over(WaitId, Reply),
}

/// An id that covers an operation, and the operation's fingerprint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Covered<'a> {
    pub(crate) id: Id<'a>,
    pub(crate) fingerprint: u64,
    pub(crate) keep_ms: u64,
}

/// A log entry in the making: commands are added as they arrive.
#[derive(Debug, Default)]
pub struct EntryWriter {
    body: Vec<u8>,
    count: usize,
}

/// Why an entry could not be applied; the log is damaged or from another version, and the node must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEntry(pub DecodeError);

impl From<DecodeError> for BadEntry {
    fn from(error: DecodeError) -> Self {
        Self(error)
    }
}

/// The version that entries carry; raised when apply changes its meaning.
const APPLY_VERSION: u8 = 1;
const KIND_BATCH: u8 = 1;
const KIND_GENESIS: u8 = 2;
const OP_COMMAND: u8 = 1;
const OP_EXEC: u8 = 2;
/// An id, before the operation that it covers.
const OP_ONCE: u8 = 3;
/// A command that waits if it finds nothing.
const OP_WAIT: u8 = 10;
/// A command that waits is let go.
const OP_LET_GO: u8 = 11;
/// A leader's first operation: nobody waits but whom it is asked for.
const OP_OFFICE: u8 = 12;
/// The longest head of an entry: version, stamp, kind.
const HEAD_ROOM: usize = 12;
/// The year 10889: times to live can be added to it.
const STAMP_MAX: u64 = 1 << 48;
/// Entries up to this are copied out of the buffer that they were made in, which serves the next one: a log keeps them for a
/// while, without the room that a growing buffer has left over.
const KEPT_BYTES_MAX: usize = 256 * 1024;

impl EntryWriter {
    /// What is added next, a command or a transaction, is done once under `id`; its outcome is kept for `keep_ms`.
    pub fn once(&mut self, id: Id<'_>, keep_ms: u64) {
        self.begin();
        self.body.push(OP_ONCE);
        id.encode(&mut self.body);
        put_varint(&mut self.body, keep_ms);
    }

    /// Adds one command.
    pub fn command(&mut self, db: u8, command: &Command, args: &[&[u8]]) {
        self.begin();
        self.body.push(OP_COMMAND);
        self.put_call(db, command, args);
        self.count += 1;
    }

    /// Adds one command that waits if it finds nothing.
    pub fn wait(&mut self, caller: Option<Caller>, patience: Patience, db: u8, command: &Command, args: &[&[u8]]) {
        self.begin();
        self.body.extend_from_slice(&[OP_WAIT, u8::from(caller.is_some())]);
        caller.iter().for_each(|caller| caller.encode(&mut self.body));
        patience.encode(&mut self.body);
        self.put_call(db, command, args);
        self.count += 1;
    }

    /// Lets a command go that waits. It has no reply of its own.
    pub fn let_go(&mut self, id: WaitId, how: How) {
        self.begin();
        self.body.push(OP_LET_GO);
        id.encode(&mut self.body);
        self.body.push(how.code());
        self.count += 1;
    }

    /// A leader takes office. It has no reply.
    pub fn office(&mut self) {
        self.begin();
        self.body.push(OP_OFFICE);
        self.count += 1;
    }

    /// Adds a transaction: what it has watched, then its commands in order.
    pub fn exec<'a>(
        &mut self,
        watched: &[Watched],
        calls: impl ExactSizeIterator<Item = (u8, &'a Command, Vec<&'a [u8]>)>,
    ) {
        self.begin();
        self.body.push(OP_EXEC);
        put_varint(&mut self.body, watched.len() as u64);
        for one in watched {
            put_varint(&mut self.body, u64::from(one.bucket));
            put_varint(&mut self.body, one.revision);
            put_varint(&mut self.body, one.dies_at.map_or(0, |at| at.0 + 1));
        }
        put_varint(&mut self.body, calls.len() as u64);
        for (db, command, args) in calls {
            self.put_call(db, command, &args);
        }
        self.count += 1;
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len().saturating_sub(HEAD_ROOM)
    }

    /// True if nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Closes the entry with its stamp. An empty one is a Tick: time alone.
    #[must_use]
    pub fn finish(&mut self, stamp: Stamp) -> Bytes {
        let mut head = Vec::with_capacity(HEAD_ROOM);
        head.push(APPLY_VERSION);
        put_varint(&mut head, stamp.0);
        head.push(KIND_BATCH);
        self.begin();
        // The head stands right before the operations, in the room that was left for it.
        let from = HEAD_ROOM - head.len();
        self.body[from..HEAD_ROOM].copy_from_slice(&head);
        self.count = 0;
        if self.body.len() > KEPT_BYTES_MAX {
            return Bytes::from(std::mem::take(&mut self.body)).slice(from..);
        }
        let entry = Bytes::copy_from_slice(&self.body[from..]);
        self.body.clear();
        entry
    }

    /// Leaves room for the head.
    fn begin(&mut self) {
        if self.body.is_empty() {
            self.body.resize(HEAD_ROOM, 0);
        }
    }

    fn put_call(&mut self, db: u8, command: &Command, args: &[&[u8]]) {
        put_call(&mut self.body, db, command, args);
    }
}

/// Appends a call.
pub(crate) fn put_call(out: &mut Vec<u8>, db: u8, command: &Command, args: &[&[u8]]) {
    out.push(db);
    put_varint(out, u64::from(command.id));
    put_varint(out, args.len() as u64);
    for arg in args {
        put_bytes(out, arg);
    }
}

/// The first entry of a shard: the seed of its hashes.
#[must_use]
pub fn genesis(stamp: Stamp, seed: (u64, u64)) -> Vec<u8> {
    let mut entry = vec![APPLY_VERSION];
    put_varint(&mut entry, stamp.0);
    entry.push(KIND_GENESIS);
    put_varint(&mut entry, seed.0);
    put_varint(&mut entry, seed.1);
    entry
}

/// An operation of an entry, as those see it who look on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Somebody has asked for it, and is answered or waits.
    Asked,
    /// A command that waits is let go.
    LetGo(WaitId, How),
    /// A leader takes office.
    Office,
}

/// The operations of an entry that could be applied at `index`.
pub fn operations(index: Index, entry: &[u8]) -> Result<Vec<Operation>, BadEntry> {
    check(index, entry)?;
    let mut reader = Reader::new(entry);
    reader.u8()?;
    reader.varint()?;
    let mut found = Vec::new();
    if reader.u8()? == KIND_BATCH {
        while !reader.is_empty() {
            let mut ahead = reader;
            let operation = match ahead.u8()? {
                OP_LET_GO => Operation::LetGo(WaitId::decode(&mut ahead)?, How::of_code(ahead.u8()?)?),
                OP_OFFICE => Operation::Office,
                _ => Operation::Asked,
            };
            found.push(operation);
            next_operation(&mut reader)?;
        }
    }
    Ok(found)
}

/// Whether [`ShardState::apply`] could read the entry at `index`, which comes from elsewhere; nothing is done.
pub fn check(index: Index, entry: &[u8]) -> Result<(), BadEntry> {
    let mut reader = Reader::new(entry);
    let (version, stamp, kind) = (reader.u8()?, reader.varint()?, reader.u8()?);
    if version != APPLY_VERSION || stamp > STAMP_MAX {
        return Err(DecodeError::Unknown(stamp).into());
    }
    match kind {
        KIND_GENESIS if index == Index(1) => {
            reader.varint()?;
            reader.varint()?;
        }
        KIND_BATCH => {
            while !reader.is_empty() {
                next_operation(&mut reader)?;
            }
        }
        other => return Err(DecodeError::Unknown(u64::from(other)).into()),
    }
    Ok(())
}

/// Reads an operation and what covers it.
fn next_operation(reader: &mut Reader<'_>) -> Result<(), BadEntry> {
    let mut op = reader.u8()?;
    if op == OP_ONCE {
        Id::decode(reader)?;
        reader.varint()?;
        op = reader.u8()?;
    }
    check_operation(op, reader)
}

fn check_operation(op: u8, reader: &mut Reader<'_>) -> Result<(), BadEntry> {
    let calls = match op {
        OP_COMMAND => 1,
        OP_WAIT => {
            skip_wait(reader)?;
            1
        }
        OP_EXEC => {
            for _ in 0..reader.varint()? {
                skip_watched(reader)?;
            }
            reader.varint()?
        }
        OP_LET_GO => {
            WaitId::decode(reader)?;
            How::of_code(reader.u8()?)?;
            0
        }
        OP_OFFICE => 0,
        other => return Err(DecodeError::Unknown(u64::from(other)).into()),
    };
    for _ in 0..calls {
        Call::read(reader)?;
    }
    Ok(())
}

impl Default for ShardState {
    fn default() -> Self {
        Self { keyspace: Keyspace::new((0, 0)), calls: 0, begun: 0, operations: 0 }
    }
}

impl ShardState {
    /// The state that a snapshot holds.
    #[must_use]
    pub fn with_keyspace(keyspace: Keyspace) -> Self {
        Self { keyspace, calls: 0, begun: 0, operations: 0 }
    }

    /// The keys and values.
    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Gives it up: to be dropped where nobody waits.
    pub fn into_garbage(self) -> impl Iterator<Item = Garbage> {
        self.keyspace.into_garbage()
    }

    /// The keyspace, for snapshots alone: commands reach it through entries.
    pub fn cut(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    pub(crate) fn keyspace_mut(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    /// Names the next call of the entry that begins to wait.
    pub(crate) fn next_wait(&mut self) -> WaitId {
        self.begun += 1;
        WaitId::Logged { index: self.keyspace.applied_index(), nth: self.begun }
    }

    /// Calls of the entry so far: what each leaves to chance depends on it.
    #[cfg(test)]
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    /// Applies the committed entry at `index`. One reply for each of its commands goes to `told`, in their order, or that the command
    /// waits; and between them what commands of before are answered that waited.
    pub fn apply(&mut self, index: Index, entry: &[u8], mut told: impl FnMut(Told)) -> Result<(), BadEntry> {
        let mut reader = Reader::new(entry);
        (self.calls, self.begun, self.operations) = (0, 0, 0);
        if !mutation::on(Mutation::WaitersServedLater) {
            self.keyspace.waits_mut().forget_ready();
        }
        match reader.u8()? {
            APPLY_VERSION => {}
            other => return Err(DecodeError::Unknown(u64::from(other)).into()),
        }
        // A new leader proposes before it has applied its log and so may not know the last stamp: take the larger.
        let named = Stamp(reader.varint()?);
        let known = if mutation::on(Mutation::StampGoesBack) { named } else { self.keyspace.applied_stamp() };
        let stamp = named.max(known);
        match reader.u8()? {
            KIND_GENESIS => {
                let mut seed = (reader.varint()?, reader.varint()?);
                if mutation::on(Mutation::HiddenChanceInApply) {
                    seed.0 ^= std::ptr::from_ref(self).addr() as u64;
                }
                let listening = self.keyspace.listening();
                self.keyspace = Keyspace::new(seed);
                self.keyspace.listen(listening);
                self.keyspace.advance(stamp, index);
            }
            KIND_BATCH => {
                self.keyspace.advance(stamp, index);
                self.keyspace.begin_operation(None);
                // Before the commands: a death counts as a change for WATCH, and must not follow one that came later.
                self.keyspace.remove_dead(EXPIRED_PER_ENTRY_MAX);
                self.keyspace.outcomes_mut().pass_time(stamp);
                self.time_out(stamp, &mut told);
                // The dead may have been waited for.
                self.serve(stamp, &mut told);
                while !reader.is_empty() {
                    self.window(stamp, &mut reader, &mut told)?;
                }
            }
            other => return Err(DecodeError::Unknown(u64::from(other)).into()),
        }
        Ok(())
    }

    /// Runs a read at `stamp`. Nothing if it met a key that dies only with a Tick: propose one and ask again.
    #[must_use]
    pub fn read(&self, cx: &Context, command: &Command, args: &[&[u8]]) -> Option<Reply> {
        let Run::Read(run) = command.run else { unreachable!("only reads are read") };
        let reply = Reply::from(run(&self.keyspace, cx, args));
        if cx.tick_needed.get() {
            // It will run again.
            self.keyspace.take_misses(command);
        }
        (!cx.tick_needed.get()).then_some(reply)
    }

    /// The next operations: their keys are brought near before the first is run.
    fn window(&mut self, stamp: Stamp, reader: &mut Reader<'_>, told: &mut impl FnMut(Told)) -> Result<(), BadEntry> {
        let mut calls: SmallVec<[Call<'_>; NEAR_MAX]> = SmallVec::new();
        while calls.len() < NEAR_MAX && reader.rest().first() == Some(&OP_COMMAND) {
            reader.u8()?;
            calls.push(Call::read(reader)?);
        }
        if calls.len() > 1 {
            let keys = calls.iter().filter_map(Call::first_key);
            bring_near(keys.filter_map(|(db, key)| self.keyspace.lookup(db, key)));
        }
        for call in &calls {
            self.next_operation();
            told(Told::Reply(self.call(stamp, call)));
            self.serve_at_once(stamp, told);
        }
        if calls.len() < NEAR_MAX && !reader.is_empty() {
            let op = reader.u8()?;
            if !matches!(op, OP_LET_GO | OP_OFFICE) {
                self.next_operation();
            }
            match op {
                OP_EXEC => told(Told::Reply(self.transaction(stamp, reader)?)),
                OP_ONCE => self.once(stamp, reader, told)?,
                OP_WAIT => self.wait(stamp, reader, None, told)?,
                OP_LET_GO => self.let_go(reader, told)?,
                OP_OFFICE if mutation::on(Mutation::WaitersOutliveLeader) => {}
                OP_OFFICE => self.keyspace.waits_mut().clear(),
                other => return Err(DecodeError::Unknown(u64::from(other)).into()),
            }
            self.serve_at_once(stamp, told);
        }
        Ok(())
    }

    /// Those who wait for what an operation has done are served before the next one.
    fn serve_at_once(&mut self, stamp: Stamp, told: &mut impl FnMut(Told)) {
        if !mutation::on(Mutation::WaitersServedLater) {
            self.serve(stamp, told);
        }
    }

    /// Changes from here on are the next operation's.
    fn next_operation(&mut self) {
        self.keyspace.begin_operation(Some(self.operations));
        self.operations += 1;
    }

    /// An operation under an id: answered if its outcome is known, else done and recorded. Its order is id, guards, command.
    #[inline(never)]
    fn once(&mut self, stamp: Stamp, reader: &mut Reader<'_>, told: &mut impl FnMut(Told)) -> Result<(), BadEntry> {
        let (id, keep_ms) = (Id::decode(reader)?, reader.varint()?);
        let mut operation = *reader;
        let fingerprint = self.fingerprint(reader)?;
        let reply = match self.keyspace.outcomes().look(id, fingerprint, stamp) {
            Known::Reply(reply) => reply,
            Known::Refused(refused) => Reply::Error(refused),
            Known::No => {
                let reply = match operation.u8()? {
                    // What waits is recorded when it is served.
                    OP_WAIT => {
                        let covered = Some(Covered { id, fingerprint, keep_ms });
                        return self.wait(stamp, &mut operation, covered, told);
                    }
                    OP_EXEC => self.transaction(stamp, &mut operation)?,
                    _ => self.call(stamp, &Call::read(&mut operation)?),
                };
                self.keyspace.outcomes_mut().record(id, fingerprint, &reply, stamp, keep_ms);
                reply
            }
        };
        told(Told::Reply(reply));
        Ok(())
    }

    /// A hash of an operation as it was meant: without the spelling of its name, and without what was watched.
    fn fingerprint(&self, reader: &mut Reader<'_>) -> Result<u64, BadEntry> {
        let mut hasher = self.keyspace.hasher();
        let mut kind = reader.u8()?;
        let calls = match kind {
            OP_COMMAND => 1,
            // How long it still waits is not what it means.
            OP_WAIT => {
                skip_wait(reader)?;
                kind = OP_COMMAND;
                1
            }
            OP_EXEC => {
                for _ in 0..reader.varint()? {
                    skip_watched(reader)?;
                }
                reader.varint()?
            }
            other => return Err(DecodeError::Unknown(u64::from(other)).into()),
        };
        hasher.write_u8(kind);
        hasher.write_u64(calls);
        for _ in 0..calls {
            Call::read(reader)?.fingerprint(&mut hasher);
        }
        Ok(hasher.finish())
    }

    fn transaction(&mut self, stamp: Stamp, reader: &mut Reader<'_>) -> Result<Reply, BadEntry> {
        let mut unchanged = true;
        for _ in 0..reader.varint()? {
            let bucket = u32::try_from(reader.varint()?).map_err(|_| DecodeError::Overlong)?;
            unchanged &= self.keyspace.unchanged(bucket, reader.varint()?);
            let dies_at = reader.varint()?.checked_sub(1).map(Stamp);
            unchanged &= dies_at.is_none_or(|at| at > stamp);
        }
        unchanged |= mutation::on(Mutation::WatchIgnored);
        let mut replies = Vec::new();
        for _ in 0..reader.varint()? {
            let call = Call::read(reader)?;
            if unchanged {
                replies.push(self.call(stamp, &call));
            }
        }
        Ok(if unchanged { Reply::Array(replies) } else { Reply::NilArray })
    }

    pub(crate) fn call(&mut self, stamp: Stamp, call: &Call<'_>) -> Reply {
        let Call { db, command, args } = call;
        self.calls += 1;
        let cx = Context::new(*db, stamp).with_chance(self.keyspace.chance() ^ self.calls);
        let outcome = match command.run {
            Run::Write(run) => run(&mut self.keyspace, &cx, args),
            Run::Read(run) => run(&self.keyspace, &cx, args),
            Run::Scatter(scatter) => command::keyless::run(scatter, &mut self.keyspace, &cx, args),
            Run::Session | Run::Node | Run::Everywhere | Run::Prefix(_) => {
                Err(Refused::Text(format!("ERR {} can't be logged", command.name)))
            }
        };
        self.keyspace.ran(command);
        Reply::from(outcome)
    }
}

/// Bucket, revision and death of a key that was watched.
fn skip_watched(reader: &mut Reader<'_>) -> Result<(), BadEntry> {
    u32::try_from(reader.varint()?).map_err(|_| DecodeError::Overlong)?;
    reader.varint()?;
    reader.varint()?;
    Ok(())
}

/// Caller and patience of a command that waits.
fn skip_wait(reader: &mut Reader<'_>) -> Result<(), BadEntry> {
    match reader.u8()? {
        0 => {}
        1 => drop(Caller::decode(reader)?),
        other => return Err(DecodeError::Unknown(u64::from(other)).into()),
    }
    Patience::decode(reader)?;
    Ok(())
}

/// One command of an entry.
pub(crate) struct Call<'a> {
    pub(crate) db: u8,
    pub(crate) command: &'static Command,
    pub(crate) args: SmallVec<[&'a [u8]; 4]>,
}

impl<'a> Call<'a> {
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, BadEntry> {
        let db = reader.u8()?;
        if db >= DATABASE_COUNT {
            return Err(DecodeError::Unknown(u64::from(db)).into());
        }
        let id = reader.varint()?;
        let command = command::by_id(id).ok_or(DecodeError::Unknown(id))?;
        let argc = reader.len()?;
        let mut args = SmallVec::new();
        for _ in 0..argc {
            args.push(reader.bytes()?);
        }
        if !command.accepts(args.len()) {
            return Err(DecodeError::Unknown(args.len() as u64).into());
        }
        Ok(Self { db, command, args })
    }

    fn fingerprint(&self, hasher: &mut impl Hasher) {
        hasher.write_u8(self.db);
        hasher.write_u16(self.command.id);
        hasher.write_u64(self.args.len() as u64);
        for arg in self.args.iter().skip(1) {
            hasher.write_u64(arg.len() as u64);
            hasher.write(arg);
        }
    }

    fn first_key(&self) -> Option<(u8, &'a [u8])> {
        let at = self.command.keys.positions(&self.args).next()?;
        Some((self.db, self.args[at]))
    }
}
