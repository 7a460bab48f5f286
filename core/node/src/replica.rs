//! One replica of one shard: its Raft group, its state, and the requests that wait for an entry.

use crate::clock::StampClock;
use crate::forward::{Elsewhere, indoubt, try_again};
use crate::memory::Evicting;
use crate::outbox::{Event, Now, Outbox, Queued, Transaction};
use crate::reads::Reads;
use crate::scripts::{Home, Scripts};
use crate::spread::Held;
use crate::transfer::Transfers;
use crate::waiting::{At, Number, Waiting};
use base::limits::ENTRY_BYTES_SOFT;
use base::record::RecoveredShard;
use base::rng::Rng;
use base::{ClientId, Index, Instant, LaneId, NodeId, ShardId, Stamp, Term};
use bytes::Bytes;
use consensus::Envelope;
use consensus::raft::{Group, Membership, Turned};
use data::command::pubsub::Message;
use data::fence::as_fences;
use data::keyspace::Listening;
use data::shard::{EntryWriter, genesis};
use data::waits::{How, WaitId};
use data::{Command, Context, Keyspace, Reply, ShardState, Told};
use std::collections::VecDeque;

/// Whom an answer is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    pub(crate) origin: Origin,
    pub(crate) client: ClientId,
    pub(crate) seq: u64,
    pub(crate) part: bool,
    /// True for a read that was logged: later reads of its client take their turn behind it.
    pub(crate) read: bool,
    /// A call that may wait: its number in the table of those, else 0.
    pub(crate) wait: Number,
}

/// Where a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    Lane(LaneId),
    /// A lane of another node, which sent the work here.
    Node(NodeId, LaneId),
}

/// How a shard stands on this node, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    /// True while this node leads it and may serve its reads.
    pub leads: bool,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Who votes, and before a change that runs is complete, who did.
    pub voters: Vec<NodeId>,
    pub learners: Vec<NodeId>,
    /// True until the last change of members is complete.
    pub changing: bool,
    pub term: Term,
    pub commit: Index,
    pub applied: Index,
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) shard: ShardId,
    /// How many shards with slots there are.
    pub(crate) shard_count: u16,
    pub(crate) group: Group,
    pub(crate) state: Home,
    pub(crate) clock: StampClock,
    /// How long the outcomes of new entries are kept.
    pub(crate) once_kept_ms: u64,
    /// No fence is larger, as far as this node knows.
    pub(crate) fence_bound: u64,
    /// The seed that a new shard's first entry will carry.
    seed: (u64, u64),
    pub(crate) open: EntryWriter,
    pub(crate) open_waiters: Vec<Waiter>,
    pub(crate) scripts: Scripts,
    /// Waiters of proposed entries, oldest first.
    proposed: VecDeque<Proposed>,
    /// When it led last, if it doesn't.
    deposed_at: Option<Instant>,
    pub(crate) elsewhere: Elsewhere,
    pub(crate) cutting: Option<Index>,
    /// Copies made for the running snapshot that wait for the disk.
    pub(crate) copied_bytes: usize,
    /// Whose reads are logged and unanswered; mostly none.
    logged_reads: Vec<(Origin, ClientId)>,
    /// Work that came while this leader hands over.
    pub(crate) held: Vec<Held>,
    pub(crate) listening: Listening,
    /// What scripts have published whose entries are applied: on its way to those who listen.
    pub(crate) published: Vec<Message>,
    /// Who led, in which term, and since when the members counted, as was told last.
    told: (Option<NodeId>, Term, Index),
    pub(crate) transfers: Transfers,
    pub(crate) reads: Reads,
    /// Calls that may wait.
    pub(crate) waiting: Waiting,
    /// Who is to be let go by the log, at the next chance.
    pub(crate) endings: Vec<(WaitId, How)>,
    /// Reads that ended while the state was lent, where they still stand in line.
    pub(crate) unread: Vec<WaitId>,
    /// For reads alone: writes take theirs from the state.
    pub(crate) chance: Rng,
    /// How far this node's wall clock lies behind the cluster's; see `clocks`.
    pub(crate) clock_behind_ms: i64,
    pub(crate) evicting: Evicting,
}

/// An entry that was proposed here, and who waits for it.
#[derive(Debug)]
struct Proposed {
    index: Index,
    term: Term,
    waiters: Vec<Waiter>,
    kept: Kept,
}

/// What scripts have done besides changing the state: it takes effect once their entry is applied.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// What they have answered, by the places of those who wait for it.
    pub(crate) replies: VecDeque<(usize, Reply)>,
    pub(crate) messages: Vec<Message>,
}

/// A deposed leader's clients wait so long to learn what became of their commands.
const DEPOSED_PATIENCE_MS: u64 = 5_000;

/// Copies of keys that changed during a snapshot: while more wait for the disk, writes wait too.
const CUT_COPIES_BYTES_MAX: usize = 4 * base::limits::MIB;

impl Replica {
    pub(crate) fn new(
        me: NodeId,
        members: &[NodeId],
        (shard, shard_count): (ShardId, u16),
        seed: (u64, u64),
        recovered: RecoveredShard,
        keyspace: Option<Keyspace>,
    ) -> Self {
        let transfers = Transfers::new(recovered.snapshot.clone());
        Self {
            shard,
            shard_count,
            group: Group::new(
                me,
                shard,
                Membership::of_voters(members.iter().copied()),
                recovered,
                Rng::new(seed.0 ^ seed.1),
            ),
            state: Home::new(keyspace.map_or_else(ShardState::default, ShardState::with_keyspace)),
            clock: StampClock::default(),
            once_kept_ms: base::limits::ONCE_KEPT_MS,
            fence_bound: u64::MAX,
            seed,
            open: EntryWriter::default(),
            open_waiters: Vec::new(),
            scripts: Scripts::default(),
            proposed: VecDeque::new(),
            deposed_at: None,
            elsewhere: Elsewhere::default(),
            cutting: None,
            copied_bytes: 0,
            logged_reads: Vec::new(),
            held: Vec::new(),
            listening: Listening::default(),
            published: Vec::new(),
            told: Default::default(),
            transfers,
            reads: Reads::default(),
            waiting: Waiting::default(),
            endings: Vec::new(),
            unread: Vec::new(),
            clock_behind_ms: 0,
            chance: Rng::new(seed.1),
            evicting: Evicting::default(),
        }
    }

    pub(crate) fn start(&mut self, now: Now, out: &mut Outbox) {
        self.group.start(now.boot, &mut out.raft);
    }

    pub(crate) fn shard(&self) -> ShardId {
        self.shard
    }

    pub(crate) fn state(&self) -> &ShardState {
        &self.state
    }

    pub(crate) fn status(&self) -> ShardStatus {
        ShardStatus {
            leads: self.group.has_settled(),
            leader: self.group.leader(),
            voters: self.group.membership().voters().collect(),
            learners: self.group.membership().learners().to_vec(),
            changing: self.group.is_changing(),
            term: self.group.term(),
            commit: self.group.commit(),
            applied: self.applied().1,
        }
    }

    /// True once it leads and knows what was committed before.
    pub(crate) fn is_ready(&self) -> bool {
        self.group.has_settled()
    }

    /// True if it leads: work is done here.
    pub(crate) fn leads(&self) -> bool {
        self.group.leads()
    }

    /// True once it serves clients: it is ready, or knows who is.
    pub(crate) fn serves(&self) -> bool {
        self.is_ready() || (!self.leads() && self.group.leader().is_some())
    }

    pub(crate) fn may_read(&self, now: Now) -> bool {
        self.group.may_read(now.boot)
    }

    /// The same, unless an earlier read of this client waits.
    pub(crate) fn may_read_for(&self, now: Now, waiter: &Waiter) -> bool {
        self.may_read(now) && !self.reads.has(waiter)
    }

    /// A context for a read at `now`.
    pub(crate) fn context(&mut self, now: Now, db: u8) -> Context {
        Context::new(db, self.clock.stamp(now)).with_chance(self.chance.next_u64())
    }

    /// The stamp that an entry proposed now gets.
    pub(crate) fn stamp(&mut self, now: Now) -> Stamp {
        self.clock.stamp(now)
    }

    /// Chance for something that is no part of the state.
    pub(crate) fn draw(&mut self) -> Rng {
        Rng::new(self.chance.next_u64())
    }

    /// True if an entry of its own may be proposed: writes don't wait for the disk.
    pub(crate) fn may_evict(&self) -> bool {
        self.group.has_settled() && self.takes_work() && !self.waits_for_copies()
    }

    /// Every change would copy more for the running snapshot: writes wait until the disk has caught up, reads go on.
    fn waits_for_copies(&self) -> bool {
        self.cutting.is_some() && self.copied_bytes > CUT_COPIES_BYTES_MAX
    }

    /// Puts a command into the open entry.
    pub(crate) fn log(&mut self, waiter: Waiter, db: u8, command: &Command, args: &[&[u8]]) {
        self.open.command(db, command, args);
        let waiter = self.note_logged(waiter, command.is_write());
        self.open_waiters.push(waiter);
    }

    /// A command is to be logged: a read is noted until it is answered.
    pub(crate) fn note_logged(&mut self, mut waiter: Waiter, writes: bool) -> Waiter {
        waiter.read = !writes;
        if waiter.read {
            self.logged_reads.push((waiter.origin, waiter.client));
        }
        waiter
    }

    /// True if a read of this client waits for its entry: its next one must not overtake it.
    pub(crate) fn has_logged_read(&self, waiter: &Waiter) -> bool {
        self.logged_reads.contains(&(waiter.origin, waiter.client))
    }

    /// Puts a transaction into the open entry.
    pub(crate) fn log_transaction(&mut self, waiter: Waiter, transaction: &mut Transaction) {
        if self.transaction_joins_line(waiter, transaction) {
            return;
        }
        let calls = transaction
            .commands
            .iter()
            .map(|Queued { db, command, args }| (*db, *command, args.iter().map(Vec::as_slice).collect()));
        if let Some(once) = &transaction.once {
            self.open_once(once.as_id());
        }
        self.open.fences(&as_fences(&transaction.fences));
        self.open.exec(&transaction.watched, calls);
        self.open_waiters.push(waiter);
    }

    /// True if the open entry should be proposed before anything joins it.
    pub(crate) fn open_is_full(&self) -> bool {
        self.open.len() >= ENTRY_BYTES_SOFT
    }

    /// Proposes the open entry unless it may go on growing while an earlier one is being synced.
    pub(crate) fn propose_open(&mut self, now: Now, out: &mut Outbox) {
        if self.may_lend() && !self.waits_for_copies() {
            return self.lend_to_line(now, out);
        }
        let may_propose = self.group.has_settled() && self.group.may_propose();
        if self.open.is_empty() || (self.group.busy() && !self.open_is_full()) || !may_propose {
            return;
        }
        if self.waits_for_copies() {
            return;
        }
        self.propose_all(now, out);
    }

    /// Proposes the open entry at once, if there is something in it.
    pub(crate) fn propose_all(&mut self, now: Now, out: &mut Outbox) {
        if self.open.is_empty() {
            return;
        }
        let entry = self.open.finish(self.clock.stamp(now));
        let waiters = std::mem::take(&mut self.open_waiters);
        self.propose(now, entry, waiters, out);
    }

    /// Lets dead keys go by an entry that carries nothing but time.
    pub(crate) fn tick_if_due(&mut self, now: Now, out: &mut Outbox) {
        if !self.is_home() {
            return;
        }
        let stamp = self.clock.stamp(now);
        let may_propose = self.group.has_settled() && self.group.may_propose();
        let due = self.state.keyspace().next_expiry().is_some_and(|at| at <= stamp);
        if due && self.open.is_empty() && may_propose && !self.group.busy() {
            let entry = self.open.finish(stamp);
            self.propose(now, entry, Vec::new(), out);
        }
    }

    pub(crate) fn on_message(
        &mut self,
        now: Now,
        envelope: Envelope,
        out: &mut Outbox,
        answered: impl FnMut(Waiter, Reply),
    ) {
        let was_ready = self.group.has_settled();
        let Envelope { from, message, .. } = envelope;
        let turned = self.group.on_message(now.boot, from, message, &mut out.raft);
        self.on_turned(now, was_ready, turned, out, answered);
    }

    /// The group's own time: campaigns, heartbeats; and what has waited too long.
    pub(crate) fn on_timer(&mut self, now: Now, out: &mut Outbox, mut answered: impl FnMut(Waiter, Reply)) {
        let was_ready = self.group.has_settled();
        let turned = self.group.on_timer(now.boot, &mut out.raft);
        self.on_turned(now, was_ready, turned, out, &mut answered);
        let mut answers = self.give_up(now, out);
        answers.append(&mut self.time_out_waiting(now));
        if self.deposed_at.is_some_and(|at| now.boot >= at.plus_ms(DEPOSED_PATIENCE_MS)) {
            self.deposed_at = None;
            // It may lead again by now: what it has proposed since is no part of that.
            let leads_in = self.leads().then(|| self.group.term());
            while let Some(proposed) = self.proposed.pop_front_if(|one| leads_in != Some(one.term)) {
                let unknown = proposed.waiters.into_iter().filter(|waiter| waiter.wait == 0);
                answers.extend(unknown.map(|waiter| (waiter, indoubt())));
            }
        }
        for (waiter, reply) in answers {
            self.forget_read(&waiter);
            answered(waiter, reply);
        }
    }

    /// When [`Replica::on_timer`] wants to be called.
    pub(crate) fn next_deadline(&self) -> Instant {
        self.waiting_deadline().into_iter().chain([self.group.next_deadline()]).min().expect("there is one")
    }

    /// True if no entry is on its way that was proposed here.
    pub(crate) fn nothing_proposed(&self) -> bool {
        self.proposed.is_empty()
    }

    fn on_turned(
        &mut self,
        now: Now,
        was_ready: bool,
        turned: Turned,
        out: &mut Outbox,
        mut answered: impl FnMut(Waiter, Reply),
    ) {
        if turned.elected {
            self.on_elected(now, out);
        }
        if turned.deposed {
            self.deposed_at = Some(now.boot);
            self.forget_evicting();
            out.events.push(Event::Deposed { shard: self.shard, term: self.group.term() });
            // None of it was proposed.
            self.open = EntryWriter::default();
            let in_line = self.drop_line();
            for waiter in std::mem::take(&mut self.open_waiters).into_iter().chain(in_line) {
                self.forget_read(&waiter);
                if waiter.wait == 0 {
                    answered(waiter, try_again());
                }
            }
            self.send_waiting_away(now, out);
        }
        if turned.committed {
            self.apply_committed(was_ready, out, &mut answered);
            self.time_out_waiting(now).into_iter().for_each(|(waiter, reply)| answered(waiter, reply));
        }
        let seen = (self.group.leader(), self.group.term(), self.group.members_since());
        let told = std::mem::replace(&mut self.told, seen);
        if told != seen {
            if told.0.is_some() && seen.0.is_none() {
                self.hear_of_all(out);
            }
            out.events.push(Event::Regrouped { shard: self.shard });
            self.recall_waiting(now);
        }
        self.send_parked(now, out);
    }

    /// A snapshot has taken the place of the state and of the log up to `mark`: what became of the entries that were
    /// proposed there is not known.
    pub(crate) fn on_replaced(&mut self, mark: Index, mut answered: impl FnMut(Waiter, Reply)) {
        while let Some(proposed) = self.proposed.pop_front_if(|one| one.index <= mark) {
            for waiter in proposed.waiters {
                self.forget_read(&waiter);
                if waiter.wait == 0 {
                    answered(waiter, indoubt());
                }
            }
        }
        self.clock.at_least(self.state.keyspace().applied_stamp());
        self.look_at_size();
    }

    fn on_elected(&mut self, now: Now, out: &mut Outbox) {
        out.events.push(Event::Elected { shard: self.shard, term: self.group.term() });
        let corrected = Now { wall_ms: now.wall_ms.saturating_add_signed(self.clock_behind_ms), ..now };
        let (applied_stamp, applied_index) = self.applied();
        self.clock.elect(corrected, applied_stamp);
        // The state of a recovered log is applied only behind this entry, so its stamp must not go below the log's
        // own: apply takes the larger.
        let stamp = self.clock.stamp(now);
        let fresh = applied_index == Index(0) && self.group.is_empty();
        if fresh {
            self.propose(now, Bytes::from(genesis(stamp, self.seed)), Vec::new(), out);
            return;
        }
        assert!(self.open.is_empty(), "nothing is logged before somebody leads");
        self.open.office();
        let waiters = std::mem::take(&mut self.open_waiters);
        let entry = self.open.finish(stamp);
        self.propose(now, entry, waiters, out);
        let sent = self.waiting.all(|call| matches!(call.at, At::Sent(..)));
        sent.into_iter().for_each(|number| self.park(now, number));
    }

    pub(crate) fn propose(&mut self, now: Now, entry: Bytes, waiters: Vec<Waiter>, out: &mut Outbox) -> Index {
        self.propose_with(now, entry, waiters, Kept::default(), out)
    }

    /// Proposes an entry; `kept` waits until it is applied.
    pub(crate) fn propose_with(
        &mut self,
        now: Now,
        entry: Bytes,
        waiters: Vec<Waiter>,
        kept: Kept,
        out: &mut Outbox,
    ) -> Index {
        let Some(index) = self.group.propose(now.boot, entry, &mut out.raft) else {
            unreachable!("only a leader that stays has an open entry")
        };
        self.proposed.push_back(Proposed { index, term: self.group.term(), waiters, kept });
        index
    }

    /// Who waits for the entry at `index`; those for whom something else stands there are told to try again.
    fn waiters_at(&mut self, index: Index, mut answered: impl FnMut(Waiter, Reply)) -> (Vec<Waiter>, Kept) {
        let term = self.group.applied().term;
        while let Some(proposed) = self.proposed.pop_front_if(|one| one.index <= index) {
            if (proposed.index, proposed.term) == (index, term) {
                return (proposed.waiters, proposed.kept);
            }
            for waiter in proposed.waiters {
                self.forget_read(&waiter);
                if waiter.wait == 0 {
                    answered(waiter, try_again());
                }
            }
        }
        Default::default()
    }

    /// A logged read is answered.
    pub(crate) fn forget_read(&mut self, waiter: &Waiter) {
        if waiter.read {
            let of = (waiter.origin, waiter.client);
            let at = self.logged_reads.iter().position(|one| *one == of);
            self.logged_reads.swap_remove(at.expect("a logged read is noted until it is answered"));
        }
    }

    /// Applies what was committed while the state was lent.
    pub(crate) fn catch_up(&mut self, out: &mut Outbox, answered: impl FnMut(Waiter, Reply)) {
        if self.group.applied().index < self.group.commit() {
            self.apply_committed(false, out, answered);
        }
    }

    fn apply_committed(&mut self, was_ready: bool, out: &mut Outbox, mut answered: impl FnMut(Waiter, Reply)) {
        if !self.is_home() {
            // It goes on when the state is back.
            return;
        }
        let (mut ready, mut begun) = (false, Vec::new());
        while let Some((index, entry)) = self.group.next_committed() {
            let (waiters, mut kept) = self.waiters_at(index, &mut answered);
            let (commands, mut at) = (waiters.len(), 0);
            let (logged_reads, waiting) = (&mut self.logged_reads, &mut self.waiting);
            let applied = self.state.apply(index, &entry, |told| {
                let told = match told {
                    Told::Reply(reply) => {
                        let of_script = kept.replies.pop_front_if(|(of, _)| *of == at).map(|(_, kept)| kept);
                        Told::Reply(if let (Reply::Kept, Some(kept)) = (&reply, of_script) { kept } else { reply })
                    }
                    other => other,
                };
                let next = || {
                    let waiter = waiters.get(at).copied();
                    at += 1;
                    waiter
                };
                let Some((waiter, reply)) = Self::told(waiting, told, next, &mut begun) else { return };
                if waiter.read {
                    let of = (waiter.origin, waiter.client);
                    let at = logged_reads.iter().position(|one| *one == of);
                    logged_reads.swap_remove(at.expect("a logged read is noted until it is answered"));
                }
                answered(waiter, reply);
            });
            if applied.is_err() {
                out.events.push(Event::BadEntry { shard: self.shard, index });
                return;
            }
            self.published.append(&mut kept.messages);
            if self.listening != Listening::default() {
                self.hear(&waiters, out);
            }
            self.note_written(index, entry.len());
            let (shard, keys) = (self.shard, self.state.evicted());
            if keys > 0 && self.group.leads() {
                out.events.push(Event::Evicted { shard, keys });
            }
            out.events.push(Event::Applied { shard, index, commands });
            ready = true;
        }
        self.on_begun(begun, out);
        out.garbage.append(&mut self.state.cut().take_garbage());
        self.look_at_size();
        // Entries of an earlier life may carry later stamps than this term's wall clock would.
        self.clock.at_least(self.state.keyspace().applied_stamp());
        if ready && !was_ready && self.group.has_settled() {
            out.events.push(Event::Ready { shard: self.shard, applied: self.state.keyspace().applied_index() });
        }
    }
}
