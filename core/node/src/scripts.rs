//! Scripts: how they get to whoever runs them, and what becomes of what they did.
//!
//! A script runs once, on the leader, before its entry is proposed; the entry holds what it did ([`data::trial`]). It must see the
//! state in which that will be applied. So whatever comes to a shard behind a script waits in line with it; once nothing
//! is in flight, the whole line is tried out as one entry, in order, and the entry is proposed. A script that reads, or has
//! only read when it was tried, needs none.
//!
//! A lane runs nothing itself. It lends the shard's state with the scripts, as a [`Batch`] in its outbox; the driver has it run
//! and brings it back. Most batches take microseconds and are run at once. What turns out to take longer is lent once more, to a
//! thread that waits for scripts: the lane goes on with its other shards and with its peers, and what comes for this
//! shard is held. One that takes long before it touches any key waits for nobody and holds nobody ([`crate::apart`]). After a while it is answered BUSY instead, and after some more the script is ended and nothing of it
//! takes effect. So no script costs a leader its office, and SCRIPT KILL ends any.

use crate::apart::Aparts;
use crate::lane::{Lane, own};
use crate::outbox::{Now, Outbox, Request, Transaction};
use crate::peer::Work;
use crate::reads::name_shard;
use crate::replica::{Kept, Replica, Waiter};
use base::mutation::{self, Mutation};
use base::{Index, Instant, ShardId, Stamp, Term};
use bytes::Bytes;
use data::batch::{Batch, Done, End, Pace, Purpose, Queued, Stop, Stopped, Task, is_scripted, only_reads};
use data::command::Scatter;
use data::command::prefix;
use data::command::scripts::{Kind, sub};
use data::shard::EntryWriter;
use data::{Refused, Reply, Run, ShardState};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// How long scripts may take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptTimes {
    /// After this, what waits for the shard is answered BUSY.
    pub busy_ms: u64,
    /// After this a script is ended; never, if zero.
    pub limit_ms: u64,
    /// Scripts that take long, and have touched nothing yet, are run apart.
    pub apart: bool,
}

impl Default for ScriptTimes {
    fn default() -> Self {
        Self { busy_ms: 5_000, limit_ms: 5_000, apart: true }
    }
}

/// A shard's state, at home or lent.
#[derive(Debug)]
pub(crate) struct Home(Option<ShardState>);

impl Home {
    pub(crate) fn new(state: ShardState) -> Self {
        Self(Some(state))
    }

    /// True while it is here.
    pub(crate) fn is_in(&self) -> bool {
        self.0.is_some()
    }

    /// Puts a state in place of what was here.
    pub(crate) fn replace(&mut self, state: ShardState) -> Option<ShardState> {
        self.0.replace(state)
    }
}

impl Deref for Home {
    type Target = ShardState;

    fn deref(&self) -> &ShardState {
        self.0.as_ref().expect("whoever needs the state looks whether it is lent")
    }
}

impl DerefMut for Home {
    fn deref_mut(&mut self) -> &mut ShardState {
        self.0.as_mut().expect("whoever needs the state looks whether it is lent")
    }
}

/// What waits in line, and what is lent.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    /// The first is a script; what came behind it waits with it.
    pub(crate) line: VecDeque<Lined>,
    /// The first takes long: it goes alone.
    slow: bool,
    /// What the first may name.
    pub(crate) texts: Vec<Bytes>,
    lent: Option<Lent>,
    pub(crate) times: ScriptTimes,
    pub(crate) apart: Aparts,
}

/// Who waits in line for what.
#[derive(Debug)]
pub(crate) struct Lined {
    pub(crate) waiter: Waiter,
    pub(crate) task: Task,
    /// It takes long, and may name these.
    pub(crate) slow: Option<Vec<Bytes>>,
}

impl Scripts {
    /// What took long stands in line no more.
    pub(crate) fn slow_is_gone(&mut self) {
        self.slow = false;
    }
}

/// A batch that is out.
#[derive(Debug)]
struct Lent {
    since: Instant,
    term: Term,
    applied: Stamp,
    /// Who waits for what stands in the entry already, and for the tasks.
    before: Vec<Waiter>,
    waiters: VecDeque<Waiter>,
    purpose: Purpose,
    pace: Pace,
    stop: Arc<Stop>,
    /// What runs, for people: of a batch that may take long.
    what: Option<Running>,
    /// Nobody waits for it any more.
    orphan: bool,
    abort_cut: bool,
}

/// What runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) kind: Kind,
    name: Vec<u8>,
    words: Vec<Vec<u8>>,
}

impl Running {
    pub(crate) fn of(task: &Task) -> Option<Self> {
        let queued = match task {
            Task::Command(queued) => Some(queued),
            Task::Transaction { commands, .. } => commands.iter().find(|one| matches!(one.command.run, Run::Script(_))),
        };
        let Queued { command, args, .. } = queued?;
        let Run::Script(script) = command.run else { return None };
        Some(Self { kind: script.kind, name: args.get(1).cloned().unwrap_or_default(), words: args.clone() })
    }
}

impl Replica {
    /// True if the state is here and not lent.
    pub(crate) fn is_home(&self) -> bool {
        self.state.is_in()
    }

    /// What a command must wait behind, or be itself: then it joins the line. False if it may go into the open entry.
    pub(crate) fn joins_line(&mut self, waiter: Waiter, request: &Request<'_>) -> bool {
        self.recall(&waiter);
        if self.scripts.line.is_empty() && !is_scripted(request.command, request.args) {
            return false;
        }
        let writes = prefix::changes_keys(request.command, request.args);
        self.line_up(waiter, Task::Command(own(request).queued), writes);
        true
    }

    /// The same for a transaction.
    pub(crate) fn transaction_joins_line(&mut self, waiter: Waiter, transaction: &mut Transaction) -> bool {
        self.recall(&waiter);
        let scripted = |one: &Queued| {
            let args: SmallVec<[&[u8]; 8]> = one.args.iter().map(Vec::as_slice).collect();
            is_scripted(one.command, &args)
        };
        if self.scripts.line.is_empty() && !transaction.commands.iter().any(scripted) {
            return false;
        }
        let Transaction { once, fences, watched, commands, .. } = transaction;
        let task = Task::Transaction {
            once: once.take(),
            fences: std::mem::take(fences),
            watched: std::mem::take(watched),
            commands: std::mem::take(commands),
        };
        self.line_up(waiter, task, true);
        true
    }

    fn line_up(&mut self, waiter: Waiter, task: Task, writes: bool) {
        let waiter = self.note_logged(waiter, writes);
        self.scripts.line.push_back(Lined { waiter, task, slow: None });
    }

    /// True if a script waits, and whoever came behind it.
    pub(crate) fn has_line(&self) -> bool {
        !self.scripts.line.is_empty()
    }

    /// True if a line waits and could be tried out now.
    pub(crate) fn may_lend(&self) -> bool {
        !self.scripts.line.is_empty() && self.is_home() && self.nothing_is_in_flight()
    }

    fn nothing_is_in_flight(&self) -> bool {
        let applied = self.group.applied().index == self.group.last().index;
        let applied = applied || mutation::on(Mutation::ScriptOverUnapplied);
        self.group.has_settled() && self.group.may_propose() && applied
    }

    /// Lends the state to the line, or to its first if that takes long.
    pub(crate) fn lend_to_line(&mut self, now: Now, out: &mut Outbox) {
        if let Some(texts) = self.scripts.line.front_mut().and_then(|first| first.slow.take()) {
            (self.scripts.slow, self.scripts.texts) = (true, texts);
        }
        let slow = self.scripts.slow;
        if slow && !self.open.is_empty() {
            // What stands before it does not wait for it.
            return self.propose_all(now, out);
        }
        let brisk = self.scripts.line.iter().take_while(|one| one.slow.is_none()).count();
        let lined = self.scripts.line.drain(..if slow { 1 } else { brisk });
        let (waiters, tasks): (VecDeque<Waiter>, VecDeque<Task>) = lined.map(|one| (one.waiter, one.task)).unzip();
        let stamp = self.clock.stamp(now);
        let quiet = self.state.keyspace().next_expiry().is_none_or(|at| at > stamp);
        let reads_now = quiet && self.may_read(now);
        let purpose = Purpose::Entry { index: self.group.last().index.next(), stamp, reads_now };
        let pace = if slow { Pace::Patient } else { Pace::Brisk };
        let entry = std::mem::take(&mut self.open);
        let before = std::mem::take(&mut self.open_waiters);
        self.lend(now, (purpose, pace), entry, (before, waiters, tasks), out);
    }

    /// Lends the state to a script that may only read.
    fn lend_to_look(&mut self, now: Now, waiter: Waiter, queued: Queued, out: &mut Outbox) {
        let purpose = Purpose::Look { stamp: self.clock.stamp(now), seed: self.chance.next_u64() };
        let tasks = VecDeque::from([Task::Command(queued)]);
        let parties = (Vec::new(), VecDeque::from([waiter]), tasks);
        self.lend(now, (purpose, Pace::Brisk), EntryWriter::default(), parties, out);
    }

    fn lend(
        &mut self,
        now: Now,
        (purpose, pace): (Purpose, Pace),
        entry: EntryWriter,
        (before, waiters, tasks): (Vec<Waiter>, VecDeque<Waiter>, VecDeque<Task>),
        out: &mut Outbox,
    ) {
        let stop = Arc::new(Stop::default());
        let what = if pace == Pace::Patient { tasks.front().and_then(Running::of) } else { None };
        let applied = self.state.keyspace().applied_stamp();
        let lent = Lent {
            since: now.boot,
            term: self.group.term(),
            applied,
            before,
            waiters,
            purpose,
            pace,
            stop: Arc::clone(&stop),
            what,
            orphan: false,
            abort_cut: false,
        };
        assert!(self.scripts.lent.replace(lent).is_none(), "the state is lent to one at a time");
        out.batches.push(Batch {
            shard: self.shard,
            shard_count: self.shard_count,
            state: self.state.0.take(),
            purpose,
            pace,
            entry,
            once_kept_ms: self.once_kept_ms,
            refuses_memory: self.evicting.refuses,
            tasks,
            texts: std::mem::take(&mut self.scripts.texts),
            done: Vec::new(),
            end: End::Done,
            messages: Vec::new(),
            lines: Vec::new(),
            called: Vec::new(),
            stop,
        });
    }

    /// A batch is back. Its entry is proposed; what needs none is answered.
    fn take_back(&mut self, now: Now, mut batch: Batch, out: &mut Outbox, mut answered: impl FnMut(Waiter, Reply)) {
        let lent = self.scripts.lent.take().expect("what comes back was lent");
        let mut state = batch.state.take().expect("whoever runs scripts gives the state back");
        if lent.abort_cut {
            state.cut().abort_cut();
        }
        if self.state.is_in() {
            // A snapshot has taken its place.
            out.garbage.extend(state.into_garbage());
        } else {
            self.state = Home::new(state);
            std::mem::take(&mut self.unread).into_iter().for_each(|id| self.state.forget_read(id));
            self.listen_again();
            self.note_uses_again();
        }
        if lent.orphan {
            return;
        }
        let Lent { before, mut waiters, purpose, pace, term, .. } = lent;
        self.scripts.texts = batch.texts;
        let mut told = batch.messages;
        if batch.entry.is_empty() {
            self.published.append(&mut told);
        }
        let mut logged = before;
        let mut kept = VecDeque::new();
        for done in batch.done {
            let waiter = waiters.pop_front().expect("each task has its waiter");
            match done {
                Done::Logged(reply) => {
                    kept.extend(reply.map(|reply| (logged.len(), reply)));
                    logged.push(waiter);
                }
                Done::Answered(reply) => {
                    self.forget_read(&waiter);
                    answered(waiter, reply);
                }
            }
        }
        let left = waiters.into_iter().zip(batch.tasks);
        let too_slow = matches!(batch.end, End::TooSlow | End::Untouched);
        match purpose {
            Purpose::Look { .. } => {
                self.hear_misses_of_script(out);
                left.for_each(|(waiter, task)| self.line_up_looked(now, (waiter, task), batch.end, out));
            }
            Purpose::Apart { .. } => unreachable!("no state was lent for it"),
            Purpose::Entry { stamp, reads_now, .. } => {
                let left = left.rev().map(|(waiter, task)| Lined { waiter, task, slow: None });
                left.for_each(|one| self.scripts.line.push_front(one));
                if pace == Pace::Patient || !self.scripts.line.is_empty() {
                    self.scripts.slow = too_slow;
                }
                if batch.end == End::Untouched {
                    self.let_first_go_apart(now, out);
                }
                if !batch.entry.is_empty() {
                    let foreseen = Purpose::Entry { index: self.group.last().index.next(), stamp, reads_now };
                    assert_eq!(
                        (foreseen, self.group.term()),
                        (purpose, term),
                        "nothing is proposed while the state is lent"
                    );
                    let entry = batch.entry.finish(stamp);
                    self.propose_with(now, entry, logged, Kept { replies: kept, messages: told }, out);
                }
                self.open = batch.entry;
            }
        }
    }

    /// A script that was to read only, and was not answered.
    fn line_up_looked(&mut self, now: Now, (waiter, task): (Waiter, Task), end: End, out: &mut Outbox) {
        let writes = !matches!(&task, Task::Command(queued) if only_reads(queued.command));
        if end == End::Untouched && self.may_go_apart(&task) {
            let waiter = self.note_logged(waiter, writes);
            return self.run_apart(now, waiter, task, out);
        }
        self.scripts.slow |= matches!(end, End::TooSlow | End::Untouched) && self.scripts.line.is_empty();
        self.line_up(waiter, task, writes);
    }

    /// This replica leads no more: nothing that waits was proposed.
    pub(crate) fn drop_line(&mut self) -> Vec<Waiter> {
        self.scripts.slow = false;
        self.recall_all();
        let mut dropped: Vec<Waiter> = self.scripts.line.drain(..).map(|one| one.waiter).collect();
        if let Some(lent) = &mut self.scripts.lent {
            lent.orphan = true;
            lent.stop.set(Stopped::OutOfTime);
            dropped.append(&mut lent.before);
            dropped.extend(lent.waiters.drain(..));
        }
        dropped
    }

    /// What waits in line, as work that another may do.
    pub(crate) fn take_line(&mut self) -> Vec<(Waiter, Work)> {
        self.recall_all();
        let line = std::mem::take(&mut self.scripts.line);
        self.scripts.slow = false;
        line.into_iter()
            .map(|Lined { waiter, task, .. }| {
                self.forget_read(&waiter);
                let work = match task {
                    Task::Command(queued) => Work::Command { joins: false, queued },
                    Task::Transaction { once, fences, watched, commands } => {
                        let Waiter { client, seq, .. } = waiter;
                        Work::Transaction(Transaction { client, seq, once, fences, watched, commands })
                    }
                };
                (Waiter { read: false, ..waiter }, work)
            })
            .collect()
    }

    /// The last applied stamp and index, wherever the state is.
    pub(crate) fn applied(&self) -> (Stamp, Index) {
        match &self.scripts.lent {
            Some(lent) if !self.is_home() => (lent.applied, self.group.applied().index),
            _ => (self.state.keyspace().applied_stamp(), self.state.keyspace().applied_index()),
        }
    }

    /// The cut that runs is worth nothing, and the state is not here to be told.
    pub(crate) fn abort_cut_when_back(&mut self) {
        self.scripts.lent.iter_mut().for_each(|lent| lent.abort_cut = true);
    }

    /// Ends a script that has run for too long; true if others are to be told that the shard is busy.
    pub(crate) fn watch_script(&mut self, now: Now) -> bool {
        let ScriptTimes { busy_ms, limit_ms, .. } = self.scripts.times;
        self.scripts.apart.watch(now, limit_ms);
        let Some(lent) = self.scripts.lent.as_ref().filter(|lent| lent.pace == Pace::Patient) else { return false };
        if limit_ms > 0 && now.boot >= lent.since.plus_ms(limit_ms) && lent.stop.get().is_none() {
            lent.stop.set(Stopped::OutOfTime);
        }
        now.boot >= lent.since.plus_ms(busy_ms)
    }

    /// When [`Replica::watch_script`] wants to be called.
    pub(crate) fn script_deadline(&self) -> Option<Instant> {
        let ScriptTimes { limit_ms, .. } = self.scripts.times;
        let lent = self.scripts.lent.as_ref().filter(|lent| lent.pace == Pace::Patient);
        let lent = lent.filter(|lent| limit_ms > 0 && lent.stop.get().is_none());
        let apart = self.scripts.apart.deadline(limit_ms);
        lent.map(|lent| lent.since.plus_ms(limit_ms)).into_iter().chain(apart).min()
    }

    /// What is told to those who come while a script takes long.
    pub(crate) fn busy(&self) -> Reply {
        let what = self.scripts.lent.as_ref().and_then(|lent| lent.what.as_ref());
        let how = match what.map(|what| what.kind) {
            Some(Kind::Function) => "FUNCTION KILL",
            _ => "SCRIPT KILL",
        };
        refusal(&format!(
            "BUSY this shard is busy running a script; nothing was changed; {how} ends it, and so does its time limit"
        ))
    }

    /// SCRIPT KILL and FUNCTION KILL, and what FUNCTION STATS tells of this shard.
    fn about_running(&self, now: Now, scatter: Scatter, args: &[&[u8]]) -> Reply {
        let lent = self.scripts.lent.as_ref().filter(|lent| lent.pace == Pace::Patient);
        let running = lent.and_then(|lent| Some((lent.since, &lent.stop, lent.what.as_ref()?)));
        let running = running.or_else(|| self.scripts.apart.first());
        if sub(args) == "stats" {
            let shown = running.filter(|(.., what)| what.kind == Kind::Function);
            let ms = |since: Instant| now.boot.since_ns(since) / 1_000_000;
            let shown = shown.map_or(Reply::Nil, |(since, _, what)| show(what, ms(since)));
            let counts = self.is_home().then(|| self.state.keyspace().scripts());
            let counts = counts.map_or((0, 0), |all| (all.libraries().len(), all.function_count()));
            return Reply::Array(vec![shown, Reply::count(counts.0), Reply::count(counts.1)]);
        }
        let Some((_, stop, what)) = running else {
            return refusal("NOTBUSY No scripts in execution right now.");
        };
        if (what.kind == Kind::Function) != (scatter == Scatter::Function) {
            let other = if what.kind == Kind::Function { "FUNCTION" } else { "SCRIPT" };
            return refusal(&format!("BUSY what runs is ended by {other} KILL"));
        }
        stop.set(Stopped::Killed);
        Reply::Ok
    }
}

impl Lane {
    /// How long scripts may take from now on.
    pub fn set_script_times(&mut self, times: ScriptTimes) {
        self.replicas.iter_mut().flatten().for_each(|replica| replica.scripts.times = times);
    }

    /// A batch that was run, or that nobody could run, is back.
    pub fn on_batch(&mut self, now: Now, batch: Batch, out: &mut Outbox) {
        let shard = batch.shard;
        self.with_answers(shard, out, |replica, out, mut answered| {
            match batch.purpose {
                Purpose::Apart { number, .. } => replica.take_back_apart(number, batch, &mut answered),
                _ => replica.take_back(now, batch, out, &mut answered),
            }
            replica.catch_up(out, answered);
        });
        self.resume(now, shard, out);
    }

    /// A script for a shard that is led here. True if it is on its way; false if it is to be logged.
    pub(crate) fn look(
        &mut self,
        now: Now,
        shard: ShardId,
        waiter: Waiter,
        request: &Request<'_>,
        out: &mut Outbox,
    ) -> bool {
        let replica = self.replica(shard);
        let alone = replica.scripts.line.is_empty() && !request.joins && !replica.has_logged_read(&waiter);
        if !alone || !replica.may_read_for(now, &waiter) {
            return false;
        }
        replica.lend_to_look(now, waiter, own(request).queued, out);
        true
    }

    /// A part of SCRIPT or FUNCTION that is about what runs, wherever the state is.
    pub(crate) fn part_about_running(
        &mut self,
        now: Now,
        shard: ShardId,
        waiter: Waiter,
        scatter: Scatter,
        args: &[&[u8]],
        out: &mut Outbox,
    ) {
        let reply = self.replica(shard).about_running(now, scatter, args);
        self.answer(waiter, shard, reply, out);
    }

    /// Ends scripts that take too long, and tells those who have waited for long enough.
    pub(crate) fn watch_scripts(&mut self, now: Now, shard: ShardId, out: &mut Outbox) {
        let replica = self.replica(shard);
        if !replica.watch_script(now) {
            return;
        }
        let busy = replica.busy();
        for (waiter, _) in replica.take_held() {
            self.answer(waiter, shard, name_shard(busy.clone(), shard), out);
        }
    }
}

fn show(what: &Running, ms: u64) -> Reply {
    Reply::Map(vec![
        (Reply::text("name"), Reply::bulk(&what.name)),
        (Reply::text("command"), Reply::Array(what.words.iter().map(|word| Reply::bulk(word)).collect())),
        (Reply::text("duration_ms"), Reply::Int(i64::try_from(ms).unwrap_or(i64::MAX))),
    ])
}

pub(crate) fn refusal(text: &str) -> Reply {
    Reply::Error(Refused::Text(text.to_owned()))
}

/// True if a prefixed call makes no sense: it is refused before it joins anything.
pub(crate) fn misspelled(request: &Request<'_>) -> Option<Refused> {
    let Run::Prefix(_) = request.command.run else { return None };
    prefix::parse(request.args).err()
}
