//! The replicated state machine of one shard: log entries in, replies out.
//!
//! An entry is `[version u8][stamp varint][kind u8]..`; see [`EntryWriter`] and FORMAT.md. Apply is deterministic: it
//! sees the entry and the state, nothing else. A command that is refused changes nothing and is part of the log all the
//! same, since whether it is refused depends on the state at its place.

mod entry;

pub(crate) use crate::calls::{Call, put_call};
use crate::command::{self, Command};
use crate::keyspace::{Among, NEAR_MAX, Victim, bring_near};
use crate::once::{Id, Known};
use crate::waits::WaitId;
use crate::{Context, Garbage, Keyspace, Refused, Reply, Run};
use base::codec::{DecodeError, Reader};
use base::limits::EXPIRED_PER_ENTRY_MAX;
use base::mutation::{self, Mutation};
use base::{Index, Stamp};
use entry::{
    APPLY_VERSION, KIND_BATCH, KIND_GENESIS, OP_EVICT, OP_LET_GO, OP_OFFICE, OP_ONCE, read_evict, skip_watched,
};
pub use entry::{BadEntry, EntryWriter, Operation, check, genesis, operations};
pub(crate) use entry::{
    OP_COMMAND, OP_EFFECTS, OP_EXEC, OP_FENCE, OP_OUTCOME, OP_WAIT, fences_before, skip_calls, skip_covered, skip_wait,
};
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
    /// Keys that it evicted.
    evicted: usize,
    /// The operation at hand is under an id: its reply is kept.
    recorded: bool,
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

impl Default for ShardState {
    fn default() -> Self {
        Self { keyspace: Keyspace::new((0, 0)), calls: 0, begun: 0, operations: 0, evicted: 0, recorded: false }
    }
}

impl ShardState {
    /// The state that a snapshot holds.
    #[must_use]
    pub fn with_keyspace(keyspace: Keyspace) -> Self {
        Self { keyspace, calls: 0, begun: 0, operations: 0, evicted: 0, recorded: false }
    }

    /// One without keys, but with all scripts and functions of this one.
    #[must_use]
    pub fn bare(&self) -> Self {
        let mut bare = Self::default();
        *bare.keyspace.scripts_mut() = self.keyspace.scripts().clone();
        bare
    }

    /// The keys and values.
    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Keys that the last applied entry evicted.
    #[must_use]
    pub fn evicted(&self) -> usize {
        self.evicted
    }

    /// Gives it up: to be dropped where nobody waits.
    pub fn into_garbage(self) -> impl Iterator<Item = Garbage> {
        self.keyspace.into_garbage()
    }

    /// The keyspace, for snapshots alone: commands reach it through entries.
    pub fn cut(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    /// Replies become part of the state from now on, or no more.
    pub(crate) fn set_recorded(&mut self, recorded: bool) {
        self.recorded = recorded;
    }

    pub(crate) fn keyspace_mut(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    /// Takes a key out without an entry: what a leader must never do, for the simulator to notice.
    pub fn evict_unlogged(&mut self, victim: &Victim) {
        assert!(mutation::on(Mutation::EvictsWithoutLog), "keys go by entries");
        self.keyspace.evict(victim.db, &victim.key, Among::All);
    }

    /// Names the next call of the entry that begins to wait.
    pub(crate) fn next_wait(&mut self) -> WaitId {
        self.begun += 1;
        WaitId::Logged { index: self.keyspace.applied_index(), nth: self.begun }
    }

    /// Applies the committed entry at `index`. One reply for each of its commands goes to `told`, in their order, or that the command
    /// waits; and between them what commands of before are answered that waited.
    pub fn apply(&mut self, index: Index, entry: &[u8], mut told: impl FnMut(Told)) -> Result<(), BadEntry> {
        let mut reader = Reader::new(entry);
        (self.calls, self.begun, self.operations, self.evicted) = (0, 0, 0, 0);
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
                let (listening, noted) = (self.keyspace.listening(), self.keyspace.noted_uses());
                self.keyspace = Keyspace::new(seed);
                self.keyspace.listen(listening);
                self.keyspace.note_uses(noted);
                self.keyspace.advance(stamp, index);
            }
            KIND_BATCH => {
                self.keyspace.advance(stamp, index);
                self.keyspace.begin_operation(None);
                self.keyspace.outcomes_mut().pass_time(stamp);
                self.begin_entry(stamp, &mut told);
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
            if !matches!(op, OP_LET_GO | OP_OFFICE | OP_EVICT) {
                self.next_operation();
            }
            match op {
                OP_EXEC => told(Told::Reply(self.transaction(stamp, reader)?)),
                OP_ONCE => self.once(stamp, reader, told)?,
                OP_EFFECTS => told(Told::Reply(self.effects(stamp, reader)?)),
                OP_FENCE => self.fenced(stamp, reader, told)?,
                OP_WAIT => self.wait(stamp, reader, None, &[], told)?,
                OP_LET_GO => self.let_go(reader, told)?,
                OP_EVICT => self.evict(reader)?,
                OP_OFFICE if mutation::on(Mutation::WaitersOutliveLeader) => {}
                OP_OFFICE => self.keyspace.waits_mut().clear(),
                other => return Err(DecodeError::Unknown(u64::from(other)).into()),
            }
            self.serve_at_once(stamp, told);
        }
        Ok(())
    }

    fn evict(&mut self, reader: &mut Reader<'_>) -> Result<(), BadEntry> {
        let (among, db, key) = read_evict(reader)?;
        self.keyspace.begin_operation(None);
        self.evicted += usize::from(self.keyspace.evict(db, key, among));
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

    /// An operation under an id: answered if its outcome is known, else done and recorded. Its order is id, fences, guards, command.
    #[inline(never)]
    fn once(&mut self, stamp: Stamp, reader: &mut Reader<'_>, told: &mut impl FnMut(Told)) -> Result<(), BadEntry> {
        let (id, keep_ms) = (Id::decode(reader)?, reader.varint()?);
        let mut operation = *reader;
        let fingerprint = self.fingerprint(reader)?;
        let reply = match self.keyspace.outcomes().look(id, fingerprint, stamp) {
            Known::Reply(reply) => reply,
            Known::Refused(refused) => Reply::Error(refused),
            Known::No => {
                let covered = Covered { id, fingerprint, keep_ms };
                return self.covered(stamp, &mut operation, covered, told);
            }
        };
        told(Told::Reply(reply));
        Ok(())
    }

    /// Before the operations of an entry: time has passed.
    fn begin_entry(&mut self, stamp: Stamp, told: &mut impl FnMut(Told)) {
        // Before the commands: a death counts as a change for WATCH, and must not follow one that came later.
        self.keyspace.remove_dead(EXPIRED_PER_ENTRY_MAX);
        self.time_out(stamp, told);
        // The dead may have been waited for.
        self.serve(stamp, told);
    }

    /// Begins an entry that is tried out. Nobody is told anything.
    pub(crate) fn begin_to_try(&mut self, stamp: Stamp) {
        (self.calls, self.begun) = (0, 0);
        self.begin_entry(stamp, &mut drop);
    }

    /// Does operations of an entry that is tried out, but for those behind an id of which `runs` says no.
    pub(crate) fn try_out(
        &mut self,
        stamp: Stamp,
        operations: &[u8],
        mut runs: impl FnMut(&Keyspace, Id<'_>, u64) -> bool,
    ) {
        let mut reader = Reader::new(operations);
        while !reader.is_empty() {
            let done = self.try_one(stamp, &mut reader, &mut runs);
            done.expect("this node reads what it has written");
            self.serve_at_once(stamp, &mut drop);
        }
    }

    fn try_one(
        &mut self,
        stamp: Stamp,
        reader: &mut Reader<'_>,
        runs: &mut impl FnMut(&Keyspace, Id<'_>, u64) -> bool,
    ) -> Result<(), BadEntry> {
        let mut op = reader.u8()?;
        if op == OP_ONCE {
            let id = Id::decode(reader)?;
            reader.varint()?;
            let mut behind = *reader;
            let fingerprint = self.fingerprint(&mut behind)?;
            if !runs(&self.keyspace, id, fingerprint) {
                *reader = behind;
                return Ok(());
            }
            op = reader.u8()?;
        }
        let fences = fences_before(&mut op, reader)?;
        if op == OP_WAIT {
            // Outcomes are foreseen, not kept.
            return self.wait(stamp, reader, None, &fences, &mut drop);
        }
        if self.keyspace.admit(&fences).is_err() {
            return skip_covered(op, reader);
        }
        match op {
            OP_COMMAND => {
                let call = Call::read(reader)?;
                if let Run::Read(_) = call.command.run {
                    // Nobody waits for its answer here; those behind it draw as if it had run.
                    self.calls += 1;
                } else {
                    self.call(stamp, &call);
                }
            }
            OP_EXEC => drop(self.transaction(stamp, reader)?),
            OP_LET_GO => self.let_go(reader, &mut drop)?,
            OP_OFFICE => self.keyspace.waits_mut().clear(),
            other => return Err(DecodeError::Unknown(u64::from(other)).into()),
        }
        Ok(())
    }

    /// What scripts did stands in the entry that is tried out: those who wait for it are served.
    pub(crate) fn serve_tried(&mut self, stamp: Stamp) {
        self.serve_at_once(stamp, &mut drop);
    }

    /// What an id is kept with for the one operation that `entry` holds.
    pub(crate) fn fingerprint_of(&self, entry: &EntryWriter) -> u64 {
        self.fingerprint(&mut Reader::new(entry.operations())).expect("this node reads what it has written")
    }

    /// Calls of the entry so far: what each leaves to chance depends on it.
    pub(crate) fn calls(&self) -> u64 {
        self.calls
    }

    pub(crate) fn set_calls(&mut self, calls: u64) {
        self.calls = calls;
    }

    /// What a script did, all of it or, if this entry is lost, nothing.
    #[inline(never)]
    pub(crate) fn effects(&mut self, stamp: Stamp, reader: &mut Reader<'_>) -> Result<Reply, BadEntry> {
        for _ in 0..reader.varint()? {
            let call = Call::read(reader)?;
            self.call(stamp, &call);
        }
        Ok(Reply::Kept)
    }

    /// A hash of an operation as it was meant: without the spelling of its name, and without what was watched. One that a
    /// script's effects stand for brings its own.
    fn fingerprint(&self, reader: &mut Reader<'_>) -> Result<u64, BadEntry> {
        let mut hasher = self.keyspace.hasher();
        let mut kind = reader.u8()?;
        // A command that is sent again after its lock was acquired anew is the same command.
        fences_before(&mut kind, reader)?;
        let calls = match kind {
            OP_OUTCOME => {
                let fingerprint = reader.u64()?;
                reader.bytes()?;
                skip_calls(reader)?;
                return Ok(fingerprint);
            }
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

    pub(crate) fn transaction(&mut self, stamp: Stamp, reader: &mut Reader<'_>) -> Result<Reply, BadEntry> {
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
        self.run(stamp, call.db, call.command, &call.args)
    }

    /// Runs one command of an entry.
    pub(crate) fn run(&mut self, stamp: Stamp, db: u8, command: &Command, args: &[&[u8]]) -> Reply {
        self.calls += 1;
        let mut cx = Context::new(db, stamp).with_chance(self.keyspace.chance() ^ self.calls);
        cx.shared = self.recorded;
        let outcome = match command.run {
            Run::Write(run) => run(&mut self.keyspace, &cx, args),
            Run::Read(run) => run(&self.keyspace, &cx, args),
            Run::Scatter(scatter) => command::keyless::run(scatter, &mut self.keyspace, &cx, args),
            Run::Session | Run::Node | Run::Everywhere | Run::Lock | Run::Prefix(_) | Run::Script(_) => {
                Err(Refused::Text(format!("ERR {} can't be logged", command.name)))
            }
        };
        self.keyspace.ran(command);
        Reply::from(outcome)
    }
}
