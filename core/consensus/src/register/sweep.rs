//! Registers that nobody uses any more are forgotten, some at a time, with no pause and no new epoch.
//!
//! A voter looks through its registers for free ones that nobody has touched for long and whose first home it is, and asks all voters,
//! itself too, how they stand with them (*Idle*, *Stands*). A voter that has the very same state and finds it idle can do without it; one that
//! has nothing promises that nothing older will come to be there. One that is behind is asked once more, if most have the same: that is
//! chosen, so it takes it over, whatever it has promised. What all can do without, each forgets (*Forget*), in its own time: those that
//! still have it have the newest state, and no other has an older one that could come back. One voter that is away stops the sweep, and
//! nothing else.
//!
//! A lock whose holder died and that nobody wants is free first: its home takes it from him by the rounds of a steal. By such a round it
//! also settles what only a minority has accepted.
//!
//! What was promised before a state was taken over may have been promised with an older one: a proposal that goes on from that must not
//! find voters who have forgotten the newer. So each says what it has promised, also if it has forgotten already, and all are told the most
//! of it with *Forget*.
//!
//! Two numbers stay behind. The slot's **floor**: no token, fence or version up to it is given out again. The **passed ballot**: for a register
//! that isn't there nothing below it is promised or accepted, so that a proposal from before, however late, doesn't bring the old state back.

use super::acceptor::Acceptor;
use super::ballot::Ballot;
use super::message::{Idle, Message, Parcel, Stand};
use super::record::Record;
use super::table::{Cell, Table};
use crate::lock::shared::Shared;
use crate::lock::{Lock, Outbox};
use base::limits::LOCK_SWEEP_COUNT_MAX;
use base::mutation::{self, Mutation};
use base::time::NS_PER_MS;
use base::{Epoch, Instant, NodeId, Slot};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How far a voter has come through its registers.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Sweep {
    /// The name behind which it looks on.
    after: Option<Bytes>,
    /// When it does.
    at: Instant,
    /// This pass, or the one before it, has found something to be forgotten.
    found: bool,
    asked: Option<Asked>,
    /// The number of the last question.
    serial: u64,
    /// Names that can't be forgotten before a round has changed or settled what is there.
    untidy: Vec<Bytes>,
}

/// What the voters were asked about.
#[derive(Clone, Debug, Hash)]
struct Asked {
    cells: Vec<Idle>,
    /// How many have each, and how many are behind; nothing if somebody needs it.
    stand: Vec<Option<(usize, usize)>>,
    /// The highest ballot that any of them has promised for one of these.
    promised: Ballot,
    owing: BTreeSet<NodeId>,
    until: Instant,
}

/// Registers that are looked at in one step.
const LOOKS: usize = 2_000;
/// Rounds that one step may begin.
const TIDIED_COUNT_MAX: usize = 64;
/// An answer that doesn't come within this time isn't waited for.
const ANSWER_MS: u64 = 1_000;
/// What is left over where another should sweep, since a voter was away when all others forgot it, is swept by whoever has it after
/// so many times the time.
const ORPHANED: u64 = 4;

impl Sweep {
    /// Begins at some time, and numbers its questions from `first` on: no answer to another life's counts.
    pub(crate) fn new(begins: Instant, first: u64) -> Self {
        Self { at: begins, serial: first, ..Self::default() }
    }

    /// Other voters from now on.
    pub(crate) fn on_epoch(&mut self) {
        self.asked = None;
    }

    /// When [`Sweep::on_timer`] has something to do.
    pub(crate) fn due(&self, table: &Table) -> Instant {
        match &self.asked {
            Some(asked) => asked.until,
            None if table.is_empty() => Instant(u64::MAX),
            None => self.at,
        }
    }

    /// Looks on, unless an answer is owed.
    pub(crate) fn on_timer(&mut self, now: Instant, shared: &mut Shared, out: &mut Outbox) {
        self.asked.take_if(|asked| asked.until <= now);
        if self.asked.is_some() || now < self.at {
            return;
        }
        let tuning = shared.tuning;
        let all_there = shared.view.voters().iter().all(|node| !shared.lost.contains(node));
        let cells = if shared.votes() && all_there { self.look(now, shared) } else { Vec::new() };
        // A pass that has forgotten nothing is followed by a rest.
        let rests = self.after.is_none() && !self.found;
        self.found &= self.after.is_some();
        self.at = now.plus_ms(if rests { (tuning.idle_ms / 4).max(tuning.sweep_ms) } else { tuning.sweep_ms });
        if cells.is_empty() {
            return;
        }
        self.ask(now, cells, false, shared, out);
    }

    fn ask(&mut self, now: Instant, cells: Vec<Idle>, chosen: bool, shared: &Shared, out: &mut Outbox) {
        self.serial += 1;
        shared.ask_voters(&[], &Message::Idle { serial: self.serial, chosen, cells: cells.clone() }, out);
        let owing = shared.view.voters().iter().copied().collect();
        let stand = vec![Some((0, 0)); cells.len()];
        let promised = Ballot::ZERO;
        self.asked = Some(Asked { cells, stand, promised, owing, until: now.plus_ms(ANSWER_MS) });
    }

    /// A voter has said how it stands with each. Once all have, what they can do without is forgotten.
    pub(crate) fn on_stands(
        &mut self,
        now: Instant,
        (from, serial): (NodeId, u64),
        (promised, stands): (Ballot, &[Stand]),
        shared: &Shared,
        out: &mut Outbox,
    ) {
        let fits = |asked: &&mut Asked| serial == self.serial && asked.cells.len() == stands.len();
        let Some(asked) = self.asked.as_mut().filter(fits) else { return };
        if !asked.owing.remove(&from) {
            return;
        }
        asked.promised = asked.promised.max(promised);
        asked.stand.iter_mut().zip(stands).for_each(|(all, one)| *all = one.added_to(*all));
        let (voters, quorum) = (shared.view.voters().len(), shared.view.quorum());
        let enough = if mutation::on(Mutation::ForgottenByMost) { quorum } else { voters };
        if voters - asked.owing.len() < enough {
            return;
        }
        let Some(Asked { cells, stand, promised, .. }) = self.asked.take() else { return };
        let most = if mutation::on(Mutation::SweepSpreadsUnchosen) { 1 } else { quorum };
        let (mut go, mut behind) = (Vec::new(), Vec::new());
        for (cell, stand) in cells.into_iter().zip(stand) {
            match stand {
                Some((_, 0)) => go.push((cell.name, cell.accepted)),
                Some((have, _)) if have >= most && cell.accepted.epoch == shared.view.epoch() => behind.push(cell),
                // Some lack it, and perhaps nobody ever learnt whether it was chosen.
                Some(_) if self.untidy.len() < TIDIED_COUNT_MAX => self.untidy.push(cell.name),
                _ => {}
            }
        }
        self.found |= !go.is_empty() || !behind.is_empty();
        if !go.is_empty() {
            shared.ask_voters(&[], &Message::Forget { promised, cells: go }, out);
        }
        if !behind.is_empty() {
            self.ask(now, behind, true, shared, out);
        }
    }

    /// Names of which the caller, as their home, is to make [`crate::lock::Command::Tidy`].
    pub(crate) fn take_untidy(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.untidy)
    }

    /// The next registers that may be forgotten, as this voter has them. Those that dead holders still have are told apart.
    fn look(&mut self, now: Instant, shared: &Shared) -> Vec<Idle> {
        let (table, idle_ms) = (&shared.acceptor.table, shared.tuning.idle_ms);
        let (mut cells, mut last) = (Vec::new(), None);
        let after = self.after.take();
        for (name, cell) in table.behind(after.as_ref()).take(LOOKS) {
            last = Some(name);
            let idle = cell.idle_ms(now);
            // What a rescan that came late has brought from a later epoch is that one's affair.
            let of_now = cell.accepted.epoch <= shared.view.epoch();
            let old = of_now && idle >= idle_ms && cell.over_ms(now) >= idle_ms;
            let mine = old && shared.view.homes(name).next() == Some(shared.me);
            if old && (mine || idle >= idle_ms * ORPHANED) {
                if cell.is_free() {
                    let (name, lock) = (name.clone(), Arc::clone(&cell.lock));
                    cells.push(Idle { name, accepted: cell.accepted, lock });
                } else {
                    self.untidy.push(name.clone());
                }
            }
            if cells.len() == LOCK_SWEEP_COUNT_MAX || self.untidy.len() == TIDIED_COUNT_MAX {
                break;
            }
        }
        self.after = last.filter(|last| table.behind(Some(last)).next().is_some()).cloned();
        cells
    }
}

impl Message {
    /// Ballots of which a sweep's message says that they were accepted or promised.
    pub(crate) fn swept(&self) -> impl Iterator<Item = Ballot> {
        let (promised, cells) = match self {
            Self::Idle { cells, .. } => (None, &cells[..]),
            Self::Stands { promised, .. } | Self::Forget { promised, .. } => (Some(*promised), &[][..]),
            _ => (None, &[][..]),
        };
        promised.into_iter().chain(cells.iter().map(|cell| cell.accepted))
    }
}

impl Stand {
    /// Those that have it, and those that are behind, with this one; nothing if anybody needs it.
    fn added_to(self, all: Option<(usize, usize)>) -> Option<(usize, usize)> {
        let (have, behind) = all?;
        match self {
            Self::Needs => None,
            Self::Has => Some((have + 1, behind)),
            Self::Lacks => Some((have, behind)),
            Self::Behind => Some((have, behind + 1)),
        }
    }
}

impl Cell {
    fn is_free(&self) -> bool {
        self.lock.holders.is_empty() && self.lock.line.is_empty()
    }

    pub(crate) fn idle_ms(&self, now: Instant) -> u64 {
        now.since_ns(self.touched) / NS_PER_MS
    }

    /// For how long all holders' time has been over here: always, where there are none.
    fn over_ms(&self, now: Instant) -> u64 {
        let last = self.leases.iter().map(|lease| lease.ends).max();
        last.map_or(u64::MAX, |ends| now.since_ns(ends) / NS_PER_MS)
    }
}

/// The last number that a swept lock has used.
pub(crate) fn last_used(lock: &Lock) -> u64 {
    lock.token.max(lock.version)
}

impl Acceptor {
    /// How it stands with these registers. It says so when what that rests on is durable. With `chosen` most voters have accepted them so.
    pub(crate) fn on_idle(
        &mut self,
        now: Instant,
        (from, serial): (NodeId, u64),
        (cells, chosen): (Vec<Idle>, bool),
        (epoch, idle_ms): (Epoch, u64),
        out: &mut Outbox,
    ) {
        let (mut promised, mut stands) = (Ballot::ZERO, Vec::with_capacity(cells.len()));
        for cell in cells {
            let name = cell.name.clone();
            let stand = self.stand(now, cell, chosen, idle_ms, out);
            if stand != Stand::Needs && !mutation::on(Mutation::SweepForgetsPromises) {
                promised = promised.max(self.table.promised(&name));
            }
            stands.push(stand);
        }
        let message = Message::Stands { serial, promised, stands };
        let parcel = Parcel { from: self.me(), to: from, epoch, message };
        self.send_behind(self.written(), parcel, out);
    }

    fn stand(&mut self, now: Instant, asked: Idle, chosen: bool, idle_ms: u64, out: &mut Outbox) -> Stand {
        let Idle { name, accepted, lock } = asked;
        match self.table.cells.get(&name) {
            None => {
                self.raise_floor(Slot::of(&name), last_used(&lock), out);
                self.pass(beyond(accepted), out);
                Stand::Lacks
            }
            Some(cell) if cell.accepted < accepted => {
                if !chosen {
                    return Stand::Behind;
                }
                if cell.accepted == Ballot::ZERO {
                    // It may have been forgotten here since it was chosen: what was then must not come back.
                    self.raise_floor(Slot::of(&name), last_used(&lock), out);
                    self.promise_beyond(&name, beyond(accepted), out);
                    return Stand::Lacks;
                }
                self.take_over_chosen(now, &name, (accepted, lock), out);
                Stand::Has
            }
            // What was taken over just now is as idle as with the others.
            Some(cell) if cell.accepted == accepted && cell.is_free() && (chosen || cell.idle_ms(now) >= idle_ms) => {
                Stand::Has
            }
            Some(_) => Stand::Needs,
        }
    }

    /// These registers are to be forgotten, if they are still as they were; no proposal up to `promised` counts for them.
    pub(crate) fn on_forget(&mut self, promised: Ballot, cells: &[(Bytes, Ballot)], out: &mut Outbox) -> Vec<Bytes> {
        let as_it_was = |(name, ballot): &&(Bytes, Ballot)| {
            self.table.cells.get(name).is_some_and(|cell| cell.accepted == *ballot && cell.is_free())
        };
        let going: Vec<&(Bytes, Ballot)> = cells.iter().filter(as_it_was).collect();
        // Durable no later than what it stands for.
        let own = going.iter().map(|(name, _)| self.table.promised(name)).max();
        self.pass(beyond(own.unwrap_or_default().max(promised)), out);
        let mut gone = Vec::new();
        for (name, ballot) in going {
            let Some(cell) = self.table.cells.get(name) else { continue };
            let floor = last_used(&cell.lock);
            if !mutation::on(Mutation::SweepForgetsFloors) {
                self.raise_floor(Slot::of(name), floor, out);
            }
            self.table.cells.remove(name);
            self.keep(&Record::Forgotten { name: name.clone(), ballot: *ballot }, Vec::new(), out);
            gone.push(name.clone());
        }
        gone
    }

    pub(crate) fn raise_floor(&mut self, slot: Slot, floor: u64, out: &mut Outbox) {
        if floor > self.table.floors.get(&slot).copied().unwrap_or(0) {
            self.table.floors.insert(slot, floor);
            self.keep(&Record::Floor { slot, floor }, Vec::new(), out);
        }
    }

    fn pass(&mut self, ballot: Ballot, out: &mut Outbox) {
        if ballot > self.table.passed && !mutation::on(Mutation::ForgottenBallots) {
            self.table.passed = ballot;
            self.highest = self.highest.max(ballot.counter);
            self.keep(&Record::Passed { ballot }, Vec::new(), out);
        }
    }
}

/// Above what the proposer of this ballot may go on with without asking again.
fn beyond(ballot: Ballot) -> Ballot {
    ballot.next().next()
}
