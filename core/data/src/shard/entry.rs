//! Log entries of a shard: how they are written, and read without being applied. FORMAT.md draws the bytes.

use crate::Command;
use crate::calls::{Call, put_call};
use crate::effects::Effects;
use crate::fence::{Fence, Fences, put_fences, read_fences};
use crate::keyspace::{Among, Victim};
use crate::once::{Id, recorded};
use crate::waits::{Caller, How, Patience, WaitId};
use crate::{Reply, Watched};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::DATABASE_COUNT;
use base::{Index, Stamp};
use bytes::Bytes;

/// A log entry in the making: commands are added as they arrive.
#[derive(Debug, Default)]
pub struct EntryWriter {
    body: Vec<u8>,
    /// Answers that its apply will give, but for those of calls that may wait.
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
pub(super) const APPLY_VERSION: u8 = 1;
pub(super) const KIND_BATCH: u8 = 1;
pub(super) const KIND_GENESIS: u8 = 2;
pub(crate) const OP_COMMAND: u8 = 1;
pub(crate) const OP_EXEC: u8 = 2;
/// An id, before the operation that it covers.
pub(super) const OP_ONCE: u8 = 3;
/// What a script did.
pub(crate) const OP_EFFECTS: u8 = 4;
/// What a script did under an id, and what it was answered.
pub(crate) const OP_OUTCOME: u8 = 5;
/// Fences, before the operation that stands under them, and behind an id.
pub(crate) const OP_FENCE: u8 = 6;
/// A command that waits if it finds nothing.
pub(crate) const OP_WAIT: u8 = 10;
/// A command that waits is let go.
pub(super) const OP_LET_GO: u8 = 11;
/// A leader's first operation: nobody waits but whom it is asked for.
pub(super) const OP_OFFICE: u8 = 12;
/// A key goes because memory runs out: nobody asked for it, and nobody is answered.
pub(super) const OP_EVICT: u8 = 16;
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

    /// What is added next stands under these fences, if there are any. An id comes before them.
    pub fn fences(&mut self, fences: &[Fence<'_>]) {
        if !fences.is_empty() {
            self.begin();
            self.body.push(OP_FENCE);
            put_fences(&mut self.body, fences);
        }
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
    }

    /// Lets a command go that waits. It has no reply of its own.
    pub fn let_go(&mut self, id: WaitId, how: How) {
        self.begin();
        self.body.push(OP_LET_GO);
        id.encode(&mut self.body);
        self.body.push(how.code());
    }

    /// The same, ahead of what the entry holds: what it brings is not for who was gone before it came.
    pub fn let_go_first(&mut self, id: WaitId, how: How) {
        self.begin();
        let mut operation = vec![OP_LET_GO];
        id.encode(&mut operation);
        operation.push(how.code());
        self.body.splice(HEAD_ROOM..HEAD_ROOM, operation);
    }

    /// A leader takes office. It has no reply.
    pub fn office(&mut self) {
        self.begin();
        self.body.push(OP_OFFICE);
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

    /// Adds what scripts did. Who asked is answered with what the leader has kept.
    pub fn effects(&mut self, effects: &Effects) {
        self.begin();
        self.body.push(OP_EFFECTS);
        effects.encode(&mut self.body);
        self.count += 1;
    }

    /// The same under the id that was added last, for an operation with this fingerprint and answer.
    pub fn outcome(&mut self, fingerprint: u64, reply: &Reply, effects: &Effects) {
        self.begin();
        self.body.push(OP_OUTCOME);
        self.body.extend_from_slice(&fingerprint.to_le_bytes());
        put_bytes(&mut self.body, &recorded(reply));
        effects.encode(&mut self.body);
        self.count += 1;
    }

    /// The operations so far.
    pub(crate) fn operations(&self) -> &[u8] {
        self.body.get(HEAD_ROOM..).unwrap_or_default()
    }

    /// Adds a key that goes because memory runs out.
    pub fn evict(&mut self, victim: &Victim, among: Among) {
        self.begin();
        self.body.push(OP_EVICT);
        self.body.push(u8::from(among == Among::Expiring));
        self.body.push(victim.db);
        put_bytes(&mut self.body, &victim.key);
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.body.len().saturating_sub(HEAD_ROOM)
    }

    /// How many answers its apply will give, but for those of calls that may wait.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// True if nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Somebody has asked for it, and is answered.
    Asked,
    /// The same, or waits.
    Waits(Patience),
    /// A command that waits is let go.
    LetGo(WaitId, How),
    /// A leader takes office.
    Office,
    /// A key of a database goes because memory runs out.
    Evict(u8, Vec<u8>),
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
            let mut op = ahead.u8()?;
            if op == OP_ONCE {
                Id::decode(&mut ahead)?;
                ahead.varint()?;
                op = ahead.u8()?;
            }
            fences_before(&mut op, &mut ahead)?;
            let operation = match op {
                OP_LET_GO => Operation::LetGo(WaitId::decode(&mut ahead)?, How::of_code(ahead.u8()?)?),
                OP_OFFICE => Operation::Office,
                OP_EVICT => {
                    let (_, db, key) = read_evict(&mut ahead)?;
                    Operation::Evict(db, key.to_vec())
                }
                OP_WAIT => Operation::Waits(wait_head(&mut ahead)?),
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
    let under_id = op == OP_ONCE;
    if under_id {
        Id::decode(reader)?;
        reader.varint()?;
        op = reader.u8()?;
    }
    let fenced = !fences_before(&mut op, reader)?.is_empty();
    match op {
        OP_EFFECTS if under_id => Err(DecodeError::Unknown(u64::from(op)).into()),
        OP_OUTCOME if !under_id => Err(DecodeError::Unknown(u64::from(op)).into()),
        OP_LET_GO if !under_id && !fenced => {
            WaitId::decode(reader)?;
            How::of_code(reader.u8()?)?;
            Ok(())
        }
        OP_OFFICE if !under_id && !fenced => Ok(()),
        OP_EVICT if !under_id && !fenced => read_evict(reader).map(drop),
        op => skip_covered(op, reader),
    }
}

/// The fences that stand before an operation whose kind was read; then `op` is the operation's.
pub(crate) fn fences_before<'a>(op: &mut u8, reader: &mut Reader<'a>) -> Result<Fences<'a>, DecodeError> {
    if *op != OP_FENCE {
        return Ok(Fences::new());
    }
    let fences = read_fences(reader)?;
    *op = reader.u8()?;
    Ok(fences)
}

/// Passes over an operation that an id or fences may stand before.
pub(crate) fn skip_covered(op: u8, reader: &mut Reader<'_>) -> Result<(), BadEntry> {
    match op {
        OP_EFFECTS => skip_calls(reader),
        OP_OUTCOME => skip_outcome(reader),
        op => skip_asked(op, reader),
    }
}

/// What was asked for as it stands here.
fn skip_asked(op: u8, reader: &mut Reader<'_>) -> Result<(), BadEntry> {
    match op {
        OP_COMMAND => Call::read(reader).map(drop),
        OP_WAIT => {
            skip_wait(reader)?;
            Call::read(reader).map(drop)
        }
        OP_EXEC => {
            for _ in 0..reader.varint()? {
                skip_watched(reader)?;
            }
            skip_calls(reader)
        }
        other => Err(DecodeError::Unknown(u64::from(other)).into()),
    }
}

fn skip_outcome(reader: &mut Reader<'_>) -> Result<(), BadEntry> {
    reader.u64()?;
    let bytes = Bytes::copy_from_slice(reader.bytes()?);
    if !bytes.is_empty() {
        Reply::decode(&mut Reader::new(&bytes), &bytes)?;
    }
    skip_calls(reader)
}

pub(crate) fn skip_calls(reader: &mut Reader<'_>) -> Result<(), BadEntry> {
    for _ in 0..reader.varint()? {
        Call::read(reader)?;
    }
    Ok(())
}

/// A key to be evicted, its database, and among which keys it must be by then.
pub(super) fn read_evict<'a>(reader: &mut Reader<'a>) -> Result<(Among, u8, &'a [u8]), BadEntry> {
    let among = match reader.u8()? {
        0 => Among::All,
        1 => Among::Expiring,
        other => return Err(DecodeError::Unknown(u64::from(other)).into()),
    };
    let db = reader.u8()?;
    if db >= DATABASE_COUNT {
        return Err(DecodeError::Unknown(u64::from(db)).into());
    }
    Ok((among, db, reader.bytes()?))
}

/// Bucket, revision and death of a key that was watched.
pub(super) fn skip_watched(reader: &mut Reader<'_>) -> Result<(), BadEntry> {
    u32::try_from(reader.varint()?).map_err(|_| DecodeError::Overlong)?;
    reader.varint()?;
    reader.varint()?;
    Ok(())
}

/// Caller and patience of a command that waits.
fn wait_head(reader: &mut Reader<'_>) -> Result<Patience, BadEntry> {
    match reader.u8()? {
        0 => {}
        1 => drop(Caller::decode(reader)?),
        other => return Err(DecodeError::Unknown(u64::from(other)).into()),
    }
    Ok(Patience::decode(reader)?)
}

pub(crate) fn skip_wait(reader: &mut Reader<'_>) -> Result<(), BadEntry> {
    wait_head(reader).map(drop)
}
