//! The node's locks: one plane for the whole node, on the first lane, which the links end at.
//!
//! What decides is [`consensus::lock::Plane`]. Here clients' calls find it and its answers find them, its records get their numbers in the
//! log, and what it needs of the cluster comes to it: links, voters ([`agree`]), tokens. The plane begins when it is known who votes: at
//! once on a node that is alone; in a cluster when the meta shard has told.
//!
//! **The log** is cut behind register records by saying them again: whenever snapshots are due, the whole table is written once more, in
//! parts, behind what it stands for, and then a mark. No file of its own, and nothing to agree with the shards' snapshots.

mod agree;
mod answer;
mod fencing;
mod watch;

use crate::lane::Lane;
use crate::outbox::{Event, LaneMessage, Now, Outbox, RegisterRecord};
use crate::peer::PeerMessage;
use crate::waiting::Ending;
use base::record::{Record, RecoveredRegisters};
use base::{ClientId, Epoch, Index, Instant, LaneId, NodeId};
use bytes::Bytes;
use consensus::lock::{self, Outcome, Plane, Waiter};
use consensus::register::{Parcel, Table};
use data::command::locks::Ask;
use data::{Refused, Reply};
use fencing::{Fences, Fencing};
use std::collections::BTreeMap;
use watch::Watches;

/// What the first lane is told of registers at its start.
#[derive(Debug)]
pub struct LocksFound {
    /// Greater than in all former lives of the node, and durable.
    pub incarnation: u64,
    /// Greater than in all former lives whose data was lost by restoring older data: tokens go on above all that they gave out.
    pub generation: u16,
    /// What the log held.
    pub registers: RecoveredRegisters,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Locks {
    stage: Stage,
    incarnation: u64,
    generation: u16,
    calls: BTreeMap<Waiter, Call>,
    by_client: BTreeMap<(LaneId, ClientId, u64), Waiter>,
    last: u64,
    /// The number of the last register record.
    record: Index,
    rewrite: Option<Rewrite>,
    counts: LockCounts,
    /// The newest epoch that the plane was told of.
    epoch_told: Epoch,
    fences: Fences,
    /// The last question for tokens came to nothing.
    lease_failed: bool,
    /// The meta shard isn't told again before this that the node votes.
    ready_at: Instant,
    watches: Watches,
    /// Empty between inputs.
    out: lock::Outbox,
}

/// How far the plane is.
#[derive(Debug)]
enum Stage {
    /// It isn't known yet who votes; calls wait.
    Early {
        table: Table,
        seed: u64,
    },
    Running(Box<Plane>),
}

/// A client's call.
#[derive(Debug)]
struct Call {
    lane: LaneId,
    client: ClientId,
    seq: u64,
    /// By which the plane knows it.
    number: u64,
    /// The lock that it is about, and who wants it.
    name: Bytes,
    owner: Bytes,
    /// Its client needs it done, or not at all.
    cancels: bool,
    /// It wants its fence installed.
    fencing: Option<Box<Fencing>>,
    /// While it waits for the plane to begin: since when, and for what.
    early: Option<(Instant, Ask)>,
}

/// The table on its way into the log again.
#[derive(Debug)]
struct Rewrite {
    /// The number of the first part.
    from: Index,
    after: Option<Bytes>,
    bytes: u64,
}

/// What locks have done on this node since it started, and how they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockCounts {
    pub epoch: u64,
    /// One if this node votes.
    pub votes: u64,
    pub registers: u64,
    pub homes: u64,
    /// Grants that this node's voter knows.
    pub holders: u64,
    /// Calls of clients of this node that are unanswered.
    pub waiting: u64,
    pub grants: u64,
    pub refused: u64,
    pub unknown: u64,
    pub no_quorum: u64,
    /// Expired holders that lost their lock to another, by changes that were made here.
    pub steals: u64,
    pub hedges: u64,
    pub ballots_lost: u64,
    pub given_back: u64,
    /// Epochs that this node has entered by reading the former one from its voters.
    pub rescans: u64,
    /// Locks that this node's voter has forgotten since nobody used them.
    pub forgotten: u64,
    /// Changes that were chosen here, by the rounds that they took.
    pub one_round: u64,
    pub two_rounds: u64,
    /// Refusals and INFOs that cost no write.
    pub read_only: u64,
    /// Records given to the log.
    pub records: u64,
    /// Grants that were told when their fences stood in the shards of the keys that were named.
    pub fenced: u64,
    /// Bytes of the table when it was last said again.
    pub table_bytes: u64,
}

/// Calls wait so long for the plane to begin.
const EARLY_MS: u64 = 2_000;
/// A part of the table in the log.
const PART_BYTES: usize = 64 * 1024;

impl Lane {
    /// The registers of the node are at home on this lane.
    pub fn keep_locks(&mut self, now: Now, found: LocksFound, out: &mut Outbox) -> Result<(), String> {
        let LocksFound { incarnation, generation, registers } = found;
        let mut table = Table::default();
        for bytes in &registers.records {
            table.replay(bytes).map_err(|error| format!("a register's record can't be read: {error:?}"))?;
        }
        let alone = self.config.routing.meta_shard().is_none();
        let seed = self.rng.next_u64();
        self.locks = Some(Box::new(Locks {
            stage: Stage::Early { table, seed },
            incarnation,
            generation,
            calls: BTreeMap::new(),
            by_client: BTreeMap::new(),
            last: 0,
            record: registers.last,
            rewrite: None,
            counts: LockCounts::default(),
            epoch_told: Epoch(0),
            fences: Fences::default(),
            lease_failed: false,
            ready_at: now.boot,
            watches: Watches::default(),
            out: lock::Outbox::default(),
        }));
        if alone {
            self.vote_alone(now, out);
        }
        Ok(())
    }

    /// A client's call about a lock.
    pub fn on_lock(&mut self, now: Now, (client, seq): (ClientId, u64), ask: Ask, out: &mut Outbox) {
        let (from, home) = (self.config.lane, LOCKS_LANE);
        if from == home {
            self.ask_lock(now, from, (client, seq), ask, out);
        } else {
            out.sends.push((home, LaneMessage::Lock { from, client, seq, ask }));
        }
    }

    /// A client of this lane is gone: what it asked of locks is of no use any more.
    pub fn forget_locks(&mut self, now: Now, client: ClientId, out: &mut Outbox) {
        let (from, home) = (self.config.lane, LOCKS_LANE);
        if from == home {
            self.forget_locks_of(now, (from, client), out);
        } else {
            out.sends.push((home, LaneMessage::ForgetLocks { from, client }));
        }
    }

    /// How locks stand, and what they have done; nothing on lanes that don't have them.
    #[must_use]
    pub fn lock_counts(&self) -> Option<LockCounts> {
        let locks = self.locks.as_deref()?;
        let mut counts = locks.counts;
        counts.waiting = locks.calls.len() as u64;
        if let Stage::Running(plane) = &locks.stage {
            let status = plane.status();
            (counts.epoch, counts.votes) = (status.epoch.0, u64::from(status.votes));
            (counts.registers, counts.homes) = (status.registers as u64, status.homes as u64);
            counts.holders = status.holders as u64;
        }
        Some(counts)
    }

    /// What durable register records let go.
    pub(crate) fn on_registers(&mut self, now: Now, parcels: Vec<Parcel>, serial: u64, out: &mut Outbox) {
        let me = self.config.node;
        for parcel in parcels {
            if parcel.to == me {
                self.with_plane(now, out, |plane, effects| plane.on_message(now.boot, parcel, effects));
            } else {
                out.peers.push((parcel.to, PeerMessage::Register(parcel)));
            }
        }
        self.with_plane(now, out, |plane, effects| plane.on_persisted(now.boot, serial, effects));
    }

    /// A message of another node, which was judged.
    pub(crate) fn on_register_message(&mut self, now: Now, parcel: Parcel, out: &mut Outbox) {
        self.with_plane(now, out, |plane, effects| plane.on_message(now.boot, parcel, effects));
    }

    /// Whether a message may come from a node that keeps the rules.
    pub(crate) fn judge_register(&self, parcel: &Parcel) -> Result<(), lock::PeerMisbehaved> {
        let Some(Stage::Running(plane)) = self.locks.as_deref().map(|locks| &locks.stage) else { return Ok(()) };
        plane.judge(parcel)
    }

    pub(crate) fn locks_on_link(&mut self, now: Now, peer: NodeId, up: bool, out: &mut Outbox) {
        self.with_plane(now, out, |plane, effects| {
            if up { plane.on_peer_up(now.boot, peer, effects) } else { plane.on_peer_lost(now.boot, peer, effects) }
        });
    }

    pub(crate) fn locks_on_timer(&mut self, now: Now, out: &mut Outbox) {
        if self.locks_due().is_some_and(|due| due <= now.boot) {
            self.with_plane(now, out, |plane, effects| plane.on_timer(now.boot, effects));
            self.look_at_watches(now, out);
        }
    }

    /// When [`Lane::locks_on_timer`] has something to do.
    pub(crate) fn locks_due(&self) -> Option<Instant> {
        let locks = self.locks.as_deref()?;
        match &locks.stage {
            Stage::Running(plane) => {
                Some(plane.next_deadline().min(locks.watches.due())).filter(|at| *at < Instant(u64::MAX))
            }
            Stage::Early { .. } => None,
        }
    }

    /// Begins to say all registers again in the log; true if there is anything to be said.
    pub(crate) fn begin_rewrite(&mut self) -> bool {
        let Some(locks) = self.locks.as_deref_mut() else { return false };
        let begins = locks.record > Index(0) && locks.rewrite.is_none() && matches!(locks.stage, Stage::Running(_));
        if begins {
            locks.rewrite = Some(Rewrite { from: locks.record.next(), after: None, bytes: 0 });
        }
        begins
    }

    /// Writes the next part of the table; true if one was written.
    pub(crate) fn rewrite_slice(&mut self, out: &mut Outbox) -> bool {
        let Some(locks) = self.locks.as_deref_mut() else { return false };
        let (Some(mut rewrite), Stage::Running(plane)) = (locks.rewrite.take(), &locks.stage) else { return false };
        let (part, next) = plane.table().part(rewrite.after.as_ref(), PART_BYTES);
        rewrite.bytes += part.len() as u64;
        locks.record = locks.record.next();
        let record = Record::Register { index: locks.record, bytes: Bytes::from(part) };
        out.registers.push(RegisterRecord { record, serial: None, then: Vec::new() });
        match next {
            Some(after) => locks.rewrite = Some(Rewrite { after: Some(after), ..rewrite }),
            None => {
                let record = Record::RegisterMark { from: rewrite.from };
                out.registers.push(RegisterRecord { record, serial: None, then: Vec::new() });
                locks.counts.table_bytes = rewrite.bytes;
            }
        }
        true
    }

    pub(crate) fn ask_lock(
        &mut self,
        now: Now,
        lane: LaneId,
        (client, seq): (ClientId, u64),
        ask: Ask,
        out: &mut Outbox,
    ) {
        let Some(locks) = self.locks.as_deref_mut() else {
            let text = "ERR this node keeps no locks".to_owned();
            return self.answer_lock(lane, (client, seq), Reply::Error(Refused::Text(text)), out);
        };
        locks.last += 1;
        let waiter = Waiter(locks.last);
        let (mut name, mut owner, mut fencing) = (Bytes::new(), Bytes::new(), None);
        let cancels = matches!(ask, Ask::Acquire { .. });
        if let Ask::Acquire { name: lock, wish } = &ask {
            (name, owner) = (lock.clone(), wish.owner.clone());
            fencing = Fencing::of(wish, self.config.routing);
        }
        locks.by_client.insert((lane, client, seq), waiter);
        let early = Some((now.boot, ask));
        locks.calls.insert(waiter, Call { lane, client, seq, number: 0, name, owner, cancels, fencing, early });
        if let Stage::Running(_) = locks.stage {
            self.begin_call(now, waiter, out);
        }
    }

    /// Gives a call to the plane.
    fn begin_call(&mut self, now: Now, waiter: Waiter, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref_mut() else { return };
        let Some((_, ask)) = locks.calls.get_mut(&waiter).and_then(|call| call.early.take()) else { return };
        let Stage::Running(plane) = &mut locks.stage else { return };
        match answer::command(ask) {
            answer::Asked::Command { name, command } => {
                let number = plane.on_request(now.boot, waiter, name, command, &mut locks.out);
                locks.calls.entry(waiter).and_modify(|call| call.number = number);
                self.settle_locks(now, out);
            }
            answer::Asked::List { pattern, count } => {
                let reply = answer::list(plane, now.boot, pattern.as_ref(), count);
                self.end_call(waiter, reply, out);
            }
            answer::Asked::Watch { name, version, wait_ms } => {
                self.begin_watch(now, waiter, (name, version, wait_ms), out);
            }
        }
    }

    /// Calls that came before the plane begin now; those that have waited too long are told so.
    fn look_at_early(&mut self, now: Now, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref() else { return };
        let running = matches!(locks.stage, Stage::Running(_));
        let early = locks.calls.iter().filter_map(|(waiter, call)| Some((*waiter, call.early.as_ref()?.0)));
        let due = |since: Instant| running || now.boot >= since.plus_ms(EARLY_MS);
        let due: Vec<Waiter> = early.filter(|(_, since)| due(*since)).map(|(waiter, _)| waiter).collect();
        for waiter in due {
            if running {
                self.begin_call(now, waiter, out);
            } else {
                self.end_call(waiter, answer::reply(Outcome::NoQuorum), out);
            }
        }
    }

    /// A call ends before its time; true if there was one.
    pub(crate) fn let_lock_go(
        &mut self,
        now: Now,
        lane: LaneId,
        (client, seq): (ClientId, u64),
        ending: Ending,
        out: &mut Outbox,
    ) -> bool {
        let Some(locks) = self.locks.as_deref_mut() else { return false };
        let Some(waiter) = locks.by_client.get(&(lane, client, seq)).copied() else { return false };
        match ending {
            Ending::Gone => drop(self.take_call(waiter).map(|call| self.cancel(now, &call, out))),
            Ending::Told(how) => {
                if let Some(call) = self.take_call(waiter) {
                    self.cancel(now, &call, out);
                    self.answer_lock(call.lane, (call.client, call.seq), how.reply(), out);
                }
            }
        }
        true
    }

    pub(crate) fn forget_locks_of(&mut self, now: Now, (lane, client): (LaneId, ClientId), out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref() else { return };
        let of_client = locks.by_client.range((lane, client, 0)..=(lane, client, u64::MAX));
        for waiter in of_client.map(|(_, waiter)| *waiter).collect::<Vec<_>>() {
            if let Some(call) = self.take_call(waiter) {
                self.cancel(now, &call, out);
            }
        }
    }

    fn take_call(&mut self, waiter: Waiter) -> Option<Call> {
        let locks = self.locks.as_deref_mut()?;
        let call = locks.calls.remove(&waiter)?;
        locks.by_client.remove(&(call.lane, call.client, call.seq));
        locks.end_watch(waiter);
        Some(call)
    }

    /// What a call that is forgotten takes is given back; what it gives back stays given back.
    fn cancel(&mut self, now: Now, call: &Call, out: &mut Outbox) {
        if let Some(command) = call.fencing.as_ref().and_then(|fencing| fencing.give_back()) {
            let name = call.name.clone();
            return self.with_plane(now, out, |plane, effects| {
                plane.on_request(now.boot, Waiter(NOBODYS), name, command, effects);
            });
        }
        if call.cancels && call.early.is_none() {
            let number = call.number;
            self.with_plane(now, out, |plane, effects| plane.on_cancel(now.boot, number, effects));
        }
    }

    fn end_call(&mut self, waiter: Waiter, reply: Reply, out: &mut Outbox) {
        if let Some(call) = self.take_call(waiter) {
            self.answer_lock(call.lane, (call.client, call.seq), reply, out);
        }
    }

    fn answer_lock(&self, lane: LaneId, (client, seq): (ClientId, u64), reply: Reply, out: &mut Outbox) {
        if lane == self.config.lane {
            out.replies.push((client, seq, reply));
        } else {
            out.sends.push((lane, LaneMessage::Reply { client, seq, reply }));
        }
    }

    fn with_plane(&mut self, now: Now, out: &mut Outbox, call: impl FnOnce(&mut Plane, &mut lock::Outbox)) {
        let Some(locks) = self.locks.as_deref_mut() else { return };
        let Stage::Running(plane) = &mut locks.stage else { return };
        call(plane, &mut locks.out);
        self.settle_locks(now, out);
    }

    fn on_outcome(&mut self, now: Now, waiter: Waiter, outcome: Outcome, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref_mut() else { return };
        let Some(call) = locks.calls.get_mut(&waiter) else { return };
        if !call.is_fenced() {
            locks.counts.note_outcome(&outcome);
        }
        if let Outcome::Granted { fence, .. } = &outcome
            && call.cancels
            && locks.fences.is_low(*fence)
        {
            call.fencing.get_or_insert_default();
        }
        let reply = if call.fencing.is_none() {
            Some(answer::reply(outcome))
        } else {
            self.fence_outcome(now, waiter, outcome, out)
        };
        if let Some(reply) = reply {
            self.end_call(waiter, reply, out);
        }
    }

    /// Carries out what the plane asks for.
    fn settle_locks(&mut self, now: Now, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref_mut() else { return };
        for write in locks.out.writes.drain(..) {
            locks.record = locks.record.next();
            locks.counts.records += 1;
            let record = Record::Register { index: locks.record, bytes: write.record };
            out.registers.push(RegisterRecord { record, serial: Some(write.serial), then: write.then });
        }
        out.peers.extend(locks.out.messages.drain(..).map(|parcel| (parcel.to, PeerMessage::Register(parcel))));
        for event in locks.out.events.drain(..) {
            locks.counts.note(event);
            if let lock::Event::Ready { epoch, .. } = event {
                out.events.push(Event::LocksReady { epoch });
            }
        }
        let wants_block = std::mem::take(&mut locks.out.wants_block);
        for (waiter, outcome) in std::mem::take(&mut locks.out.replies) {
            if !self.on_watch_look(now, waiter, &outcome, out) {
                self.on_outcome(now, waiter, outcome, out);
            }
        }
        self.on_lock_notices(now, out);
        if wants_block {
            self.lease_tokens(now, out);
        }
    }
}

/// No call has this number: nobody waits for its answer.
const NOBODYS: u64 = 0;

/// The lane that the links end at.
pub(crate) const LOCKS_LANE: LaneId = LaneId(0);

impl LockCounts {
    fn note(&mut self, event: lock::Event) {
        let count = match event {
            lock::Event::Forgotten { count } => {
                self.forgotten += count;
                return;
            }
            lock::Event::Stolen => &mut self.steals,
            lock::Event::BallotLost => &mut self.ballots_lost,
            lock::Event::Hedged => &mut self.hedges,
            lock::Event::Changed { rounds: 1 } => &mut self.one_round,
            lock::Event::Changed { .. } => &mut self.two_rounds,
            lock::Event::ReadOnly => &mut self.read_only,
            lock::Event::GivenBack => &mut self.given_back,
            // The first epoch has none before it.
            lock::Event::Ready { epoch, .. } if epoch > Epoch(1) => &mut self.rescans,
            lock::Event::Ready { .. } | lock::Event::OtherEpoch | lock::Event::Misbehaved { .. } => return,
        };
        *count += 1;
    }

    fn note_outcome(&mut self, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Granted { .. } => &mut self.grants,
            Outcome::Refused => &mut self.refused,
            Outcome::Unknown => &mut self.unknown,
            Outcome::NoQuorum => &mut self.no_quorum,
            _ => return,
        };
        *count += 1;
    }
}
