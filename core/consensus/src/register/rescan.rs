//! The way into an epoch: a new voter gets all registers from a majority of the former voters, each of whom has sealed the former
//! epoch, and keeps of each the one with the highest ballot. What it had before counts only if it is itself among those asked, or was accepted in the new epoch.

use super::acceptor::Acceptor;
use super::ballot::Ballot;
use super::message::{Message, Parcel, Scanned};
use super::record::Record;
use super::sweep::last_used;
use super::table::Cell;
use super::view::{View, quorum};
use crate::lock::shared::Shared;
use crate::lock::{Lock, Outbox};
use base::limits::SNAPSHOT_PIECE_BYTES_MAX;
use base::mutation::{self, Mutation};
use base::{Epoch, Instant, NodeId, Slot};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a new voter has got so far.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Rescan {
    of: Epoch,
    voters: Vec<NodeId>,
    sources: BTreeMap<NodeId, Source>,
    found: BTreeMap<Bytes, Found>,
    floors: BTreeMap<Slot, u64>,
    again_at: Instant,
    /// A majority has given all: the others have until then.
    ends_at: Option<Instant>,
    /// All is taken over, and being written.
    pub(crate) taken: bool,
    /// Registers that stayed behind.
    pub(crate) swept: u64,
}

#[derive(Clone, Debug, Default, Hash)]
struct Source {
    after: Option<Bytes>,
    begun: bool,
    done: bool,
}

/// The newest state of one register, and how many gave it.
#[derive(Clone, Debug, Hash)]
struct Found {
    accepted: Ballot,
    lock: Arc<Lock>,
    idle: bool,
    count: usize,
}

/// What wasn't answered is asked again after so long.
const AGAIN_MS: u64 = 100;
/// So long a majority waits for the others: what all agree on may be swept.
const GRACE_MS: u64 = 300;

impl Rescan {
    /// Begins, if the view has an epoch before.
    pub(crate) fn new(view: &View) -> Option<Self> {
        let (of, voters) = view.before()?.clone();
        let sources = voters.iter().map(|node| (*node, Source::default())).collect();
        Some(Self {
            of,
            voters,
            sources,
            found: BTreeMap::new(),
            floors: BTreeMap::new(),
            again_at: Instant(0),
            ends_at: None,
            taken: false,
            swept: 0,
        })
    }

    pub(crate) fn due(&self) -> Instant {
        if self.taken { Instant(u64::MAX) } else { self.ends_at.map_or(self.again_at, |end| end.min(self.again_at)) }
    }

    /// Asks those again who owe a part.
    pub(crate) fn on_timer(&mut self, now: Instant, shared: &mut Shared, out: &mut Outbox) {
        if now >= self.again_at && !self.taken {
            self.again_at = now.plus_ms(AGAIN_MS);
            for (to, source) in self.sources.iter().filter(|(_, source)| !source.done) {
                shared.send(*to, Message::Scan { of: self.of, after: source.after.clone() }, out);
            }
        }
        self.finish(now, shared, out);
    }

    /// A part of a former voter's registers.
    pub(crate) fn on_part(
        &mut self,
        from: NodeId,
        of: Epoch,
        (after, last): (Option<Bytes>, bool),
        (cells, floors): (Vec<Scanned>, Vec<(u16, u64)>),
    ) -> Option<Message> {
        let source = self.sources.get_mut(&from).filter(|source| !source.done && source.after == after)?;
        if of != self.of || self.taken || (after.is_none() && source.begun) || (cells.is_empty() && !last) {
            return None;
        }
        source.begun = true;
        source.done = last;
        if let Some(cell) = cells.last() {
            source.after = Some(cell.name.clone());
        }
        let next = (!last).then(|| Message::Scan { of, after: source.after.clone() });
        for (slot, floor) in floors {
            let known = self.floors.entry(Slot(slot)).or_default();
            *known = floor.max(*known);
        }
        cells.into_iter().for_each(|cell| self.take(cell));
        next
    }

    fn take(&mut self, cell: Scanned) {
        let Scanned { name, accepted, lock, idle } = cell;
        match self.found.get_mut(&name) {
            Some(found) if found.accepted > accepted => {}
            Some(found) if found.accepted == accepted => {
                found.count += 1;
                found.idle &= idle;
            }
            _ => {
                self.found.insert(name, Found { accepted, lock, idle, count: 1 });
            }
        }
    }

    /// Takes all over once a majority has given all.
    pub(crate) fn finish(&mut self, now: Instant, shared: &mut Shared, out: &mut Outbox) {
        let done = self.sources.values().filter(|source| source.done).count();
        let enough = if mutation::on(Mutation::RescanOfOne) { 1 } else { quorum(self.voters.len()) };
        if done < enough || self.taken {
            return;
        }
        // What this node has given others as a former voter it must not fall behind.
        let owes_itself = self.sources.get(&shared.me).is_some_and(|source| !source.done);
        if owes_itself && shared.acceptor.table.ready >= self.of {
            return;
        }
        let end = *self.ends_at.get_or_insert(now.plus_ms(GRACE_MS));
        let owes = |(node, source): (&NodeId, &Source)| !source.done && !shared.lost.contains(node);
        if self.sources.iter().any(owes) && now < end {
            return;
        }
        self.taken = true;
        let (me, epoch, acceptor) = (shared.me, shared.view.epoch(), &mut shared.acceptor);
        self.swept = self.take_over(now, acceptor, epoch, out);
        let message = Message::Rescanned { epoch };
        let then = vec![Parcel { from: me, to: me, epoch, message }];
        acceptor.keep(&Record::Ready { epoch }, then, out);
    }

    /// Makes the node's registers those that were found. Returns how many were swept.
    fn take_over(&mut self, now: Instant, acceptor: &mut Acceptor, epoch: Epoch, out: &mut Outbox) -> u64 {
        let found = std::mem::take(&mut self.found);
        let (swept, kept): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, found)| self.may_sweep(found));
        for (name, found) in &swept {
            let floor = self.floors.entry(Slot::of(name)).or_default();
            *floor = last_used(&found.lock).max(*floor);
        }
        if mutation::on(Mutation::SweepForgetsFloors) {
            self.floors.clear();
        }
        std::mem::take(&mut self.floors).into_iter().for_each(|(slot, floor)| acceptor.raise_floor(slot, floor, out));
        let names: BTreeSet<&Bytes> = kept.iter().map(|(name, _)| name).collect();
        // What a rescan that a crash cut short has brought along from this epoch is accepted, whoever is asked now.
        let of_former = |cell: &Cell| cell.accepted.epoch < epoch;
        let gone = acceptor.table.cells.iter().filter(|(name, cell)| of_former(cell) && !names.contains(name));
        let gone: Vec<Bytes> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            acceptor.table.cells.remove(&name);
            acceptor.keep(&Record::Swept { name, epoch }, Vec::new(), out);
        }
        for (name, Found { accepted, lock, .. }) in kept {
            let cell = acceptor.table.cells.entry(name.clone()).or_default();
            if cell.accepted == accepted || (cell.accepted > accepted && !of_former(cell)) {
                continue;
            }
            // It was not among those who were asked: else it would have been found.
            if cell.accepted > accepted {
                acceptor.keep(&Record::Swept { name: name.clone(), epoch }, Vec::new(), out);
            }
            let cell = acceptor.table.cells.entry(name.clone()).or_default();
            cell.let_to(&lock, now);
            // Others may have accepted it in this epoch: its proposer hears of this voter as of them, and goes on with the next ballot.
            let promised = if mutation::on(Mutation::RescanPromisesTooLittle) { accepted } else { accepted.next() };
            // In the log it takes the place of what was there before, which is not taken away first: a crash might come between the two.
            let promised = promised.max(cell.promised);
            *cell = Cell { promised, accepted, lock, touched: now, ..std::mem::take(cell) };
            let record = cell.record(&name);
            acceptor.keep(&record, Vec::new(), out);
        }
        acceptor.count_holders();
        swept.len() as u64
    }

    /// A free register may stay behind if every former voter gave the same state of it: then nobody, however late, can bring an
    /// older one along from a minority that missed the last change.
    fn may_sweep(&self, found: &Found) -> bool {
        let surely = found.count == self.voters.len() || mutation::on(Mutation::SweepUnchosen);
        found.lock.holders.is_empty() && found.idle && surely
    }
}

impl Acceptor {
    /// A new voter wants this one's registers: the former epoch ends here.
    pub(crate) fn on_scan(
        &mut self,
        now: Instant,
        (me, to): (NodeId, NodeId),
        epoch: Epoch,
        (of, after): (Epoch, Option<Bytes>),
        idle_ms: u64,
        out: &mut Outbox,
    ) {
        if self.table.ready < of {
            return out.send(Parcel { from: me, to, epoch, message: Message::NotReady { of } });
        }
        if self.table.sealed < of && !mutation::on(Mutation::ScanWithoutSeal) {
            self.table.sealed = of;
            self.keep(&Record::Sealed { epoch: of }, Vec::new(), out);
        }
        let (mut cells, mut bytes, mut last) = (Vec::new(), 0, true);
        for (name, cell) in self.table.behind(after.as_ref()) {
            if bytes >= SNAPSHOT_PIECE_BYTES_MAX {
                last = false;
                break;
            }
            let untouched = cell.idle_ms(now) >= idle_ms;
            let idle = untouched && cell.lock.holders.is_empty();
            if cell.accepted > Ballot::ZERO {
                bytes += name.len() + 64 + cell.lock.holders.len() * 512;
                cells.push(Scanned { name: name.clone(), accepted: cell.accepted, lock: Arc::clone(&cell.lock), idle });
            }
        }
        // Behind all registers, so that none is left out that was swept between two parts.
        let floors =
            if last { self.table.floors.iter().map(|(slot, floor)| (slot.0, *floor)).collect() } else { Vec::new() };
        let message = Message::Part { of, after, cells, floors, last };
        let parcel = Parcel { from: me, to, epoch, message };
        self.send_behind(self.written(), parcel, out);
    }
}
