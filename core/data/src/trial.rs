//! The next entry, tried out on a shard's state before it is proposed.
//!
//! A script runs once, on the leader; the log holds what it did. It must see exactly the state in which its effects will
//! be applied: so nothing may be in flight, and what stands before it in the entry, plain commands too, is done here as
//! apply will do it: at the same stamp and index, with the same chance. Then all of it is taken back, and nothing that
//! could still be lost is ever seen. (DESIGN.md has plain writes wait in their own entry, and a script wait for those that
//! touch its keys; a trial of the whole entry needs no look at keys, and covers commands about all keys.)

use crate::fence::{Judged, OwnedFence, as_fences};
use crate::keyspace::Savepoint;
use crate::once::{Foreseen, Foresight, Id, Known};
use crate::shard::EntryWriter;
use crate::{Command, Context, Keyspace, Refused, Reply, ShardState, Watched};
use base::rng::Rng;
use base::{Index, Stamp};

/// A state that is lent to a trial, or to a script that only reads; see the module.
#[derive(Debug)]
pub struct Trial {
    state: ShardState,
    stamp: Stamp,
    foresight: Foresight,
    /// Nothing may stand behind what was done last.
    closed: bool,
    /// For reads alone: they may come, or not, between writes whose chance the log decides.
    chance: Rng,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Of an entry.
    Entry,
    /// Nothing may be changed; whether a key was met that is dead by now and not by the log.
    Reading { tick_needed: bool },
}

/// What becomes of calls under an id.
#[derive(Debug)]
pub enum Ahead {
    /// They are done, and their outcome is kept with this fingerprint.
    Run { fingerprint: u64 },
    /// They were done before: this is their answer.
    Answered(Reply),
    /// They stand in this entry already: only behind it there is an answer.
    Later,
}

/// A place in a trial to go back to.
#[derive(Clone, Copy, Debug)]
pub struct TrialMark {
    keyspace: Savepoint,
    calls: u64,
}

impl Trial {
    /// Tries an entry that would be proposed with `stamp` and get the next index.
    #[must_use]
    pub fn of_entry(mut state: ShardState, index: Index, stamp: Stamp) -> Self {
        let stamp = stamp.max(state.keyspace().applied_stamp());
        state.keyspace_mut().begin_trial(stamp, index);
        state.begin_to_try(stamp);
        let keyspace = state.keyspace();
        let foresight = keyspace.outcomes().foresight(stamp);
        let chance = Rng::new(keyspace.chance());
        Self { state, stamp, foresight, closed: false, chance, kind: Kind::Entry }
    }

    /// Lends a state to a script that reads at `stamp`.
    #[must_use]
    pub fn reading(state: ShardState, stamp: Stamp, seed: u64) -> Self {
        let kind = Kind::Reading { tick_needed: false };
        Self { state, stamp, foresight: Foresight::default(), closed: false, chance: Rng::new(seed), kind }
    }

    /// Takes everything back and gives up the state.
    #[must_use]
    pub fn end(mut self) -> ShardState {
        if self.kind == Kind::Entry {
            self.state.keyspace_mut().end_trial();
        }
        self.state
    }

    /// True if nothing may be changed.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        self.kind != Kind::Entry
    }

    /// True if a read met a key whose death the log must tell first: what was read is worth nothing.
    #[must_use]
    pub fn tick_needed(&self) -> bool {
        self.kind == Kind::Reading { tick_needed: true }
    }

    /// True if what comes now can't stand in this entry.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The shard's time.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The keys as they are at this point of the trial.
    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        self.state.keyspace()
    }

    /// Does what was added to the entry since it had `from` bytes of operations.
    pub fn follow(&mut self, entry: &EntryWriter, from: usize) {
        let Self { state, stamp, foresight, closed, .. } = self;
        let stamp = *stamp;
        state.try_out(stamp, &entry.operations()[from..], |keyspace, id, fingerprint| {
            let foreseen = keyspace.outcomes().foresee(id, fingerprint, stamp, foresight);
            *closed |= matches!(foreseen, Foreseen::Unsure);
            matches!(foreseen, Foreseen::Runs)
        });
        *closed |= state.keyspace().trial_settled();
    }

    /// Serves those who wait for what a script has done, once that stands in the entry.
    pub fn serve(&mut self) {
        self.state.serve_tried(self.stamp);
        self.closed |= self.state.keyspace().trial_settled();
    }

    /// What becomes of an operation under an id, the next in the entry; `operation` holds nothing else.
    pub fn ahead(&mut self, id: Id<'_>, operation: &EntryWriter) -> Ahead {
        let Self { state, stamp, foresight, closed, .. } = self;
        let fingerprint = state.fingerprint_of(operation);
        match state.keyspace().outcomes().foresee(id, fingerprint, *stamp, foresight) {
            Foreseen::Runs => Ahead::Run { fingerprint },
            Foreseen::Unsure => {
                *closed = true;
                Ahead::Run { fingerprint }
            }
            Foreseen::Answered(Known::Reply(reply)) => Ahead::Answered(reply),
            Foreseen::Answered(Known::Refused(refused)) => Ahead::Answered(Reply::Error(refused)),
            Foreseen::Answered(Known::No) => unreachable!("what is not known runs"),
            Foreseen::Used => Ahead::Later,
        }
    }

    /// Looks at the fences of what comes next, as apply will. Tells whether the log must say of them, though nothing else
    /// changes.
    pub fn admit(&mut self, fences: &[OwnedFence]) -> Result<Judged, Refused> {
        let fences = as_fences(fences);
        let judged = self.keyspace().floors().judge(&fences)?;
        self.state.keyspace_mut().admit(&fences)?;
        Ok(judged)
    }

    /// True if nothing of what was watched has changed.
    #[must_use]
    pub fn holds(&self, watched: &[Watched]) -> bool {
        let keyspace = self.state.keyspace();
        let same = |one: &Watched| keyspace.unchanged(one.bucket, one.revision);
        watched.iter().all(|one| same(one) && one.dies_at.is_none_or(|at| at > self.stamp))
    }

    /// A place to go back to; the former one counts no more.
    pub fn mark(&mut self) -> TrialMark {
        TrialMark { keyspace: self.state.keyspace_mut().savepoint(), calls: self.state.calls() }
    }

    /// Takes back what was done since.
    pub fn back_to(&mut self, mark: TrialMark) {
        self.state.keyspace_mut().undo_to(mark.keyspace);
        self.state.set_calls(mark.calls);
    }

    /// Chance for whatever leaves no trace in the log.
    pub fn draw(&mut self) -> u64 {
        self.chance.next_u64()
    }

    /// Runs a read.
    pub fn read(&mut self, db: u8, read: impl FnOnce(&Keyspace, &Context) -> Reply) -> Reply {
        let cx = Context::new(db, self.stamp).with_chance(self.chance.next_u64());
        let reply = read(self.state.keyspace(), &cx);
        if let Kind::Reading { tick_needed } = &mut self.kind {
            *tick_needed |= cx.tick_needed.get();
        }
        reply
    }

    /// Runs a command of a script: its answer, and whether it belongs to the effects.
    ///
    /// # Panics
    ///
    /// If nothing may be changed.
    pub fn write(&mut self, db: u8, command: &Command, args: &[&[u8]]) -> (Reply, bool) {
        assert!(!self.only_reads(), "a script that reads doesn't get here");
        let before = self.keyspace().trial_changes();
        let reply = self.state.run(self.stamp, db, command, args);
        let changed = self.keyspace().trial_changes() != before;
        if !changed {
            // In the log it is not there, and those behind it draw as if it hadn't been.
            self.state.set_calls(self.state.calls() - 1);
        }
        (reply, changed)
    }
}
