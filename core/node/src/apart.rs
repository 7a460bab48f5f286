//! Scripts that take long before they touch a key.
//!
//! A script that was ended at a brisk pace without having called a command has read nothing and changed nothing: until it does, nothing
//! that others do can matter to it, nor it to them. So it is run apart, on a state without keys, while the shard goes on. Whoever
//! comes to its end that way is answered. One that would touch a key goes back into the line, and is run anew with the state
//! lent to it.
//!
//! The commands of one connection are done in their order: what comes from it behind such a script recalls it into the line first.

use crate::outbox::{Now, Outbox};
use crate::replica::{Replica, Waiter};
use crate::scripts::{Lined, Running};
use base::Instant;
use bytes::Bytes;
use data::batch::{Batch, Done, End, Pace, Purpose, Queued, Stop, Stopped, Task};
use data::shard::EntryWriter;
use data::{Reply, Run};
use std::collections::VecDeque;
use std::sync::Arc;

/// Scripts of a shard that are run apart.
#[derive(Debug, Default)]
pub(crate) struct Aparts {
    all: Vec<Apart>,
    begun: u64,
}

#[derive(Debug)]
struct Apart {
    number: u64,
    waiter: Waiter,
    task: Task,
    texts: Vec<Bytes>,
    since: Instant,
    stop: Arc<Stop>,
    what: Option<Running>,
}

/// No more are run at the same time: each has a thread and its memory.
const APART_COUNT_MAX: usize = 8;

impl Aparts {
    /// Ends those that have run for too long.
    pub(crate) fn watch(&self, now: Now, limit_ms: u64) {
        let late = |one: &&Apart| limit_ms > 0 && now.boot >= one.since.plus_ms(limit_ms) && one.stop.get().is_none();
        self.all.iter().filter(late).for_each(|one| one.stop.set(Stopped::OutOfTime));
    }

    /// When [`Aparts::watch`] has something to do.
    pub(crate) fn deadline(&self, limit_ms: u64) -> Option<Instant> {
        let running = self.all.iter().filter(|one| limit_ms > 0 && one.stop.get().is_none());
        running.map(|one| one.since.plus_ms(limit_ms)).min()
    }

    /// The one that runs longest: since when, how it is ended, what it is.
    pub(crate) fn first(&self) -> Option<(Instant, &Arc<Stop>, &Running)> {
        let first = self.all.first()?;
        Some((first.since, &first.stop, first.what.as_ref()?))
    }
}

impl Replica {
    /// True if a task that has touched nothing may be run apart.
    pub(crate) fn may_go_apart(&self, task: &Task) -> bool {
        let script = |one: &Queued| matches!(one.command.run, Run::Script(_));
        let alone = matches!(task, Task::Command(queued) if script(queued));
        alone && self.scripts.times.apart && self.scripts.apart.all.len() < APART_COUNT_MAX
    }

    /// The first in line has touched nothing: if it may be run apart, nobody waits for it.
    pub(crate) fn let_first_go_apart(&mut self, now: Now, out: &mut Outbox) {
        let Some(first) = self.scripts.line.pop_front() else { return };
        // Another of the same client stands behind it, which must not overtake it.
        let same = |one: &Lined| (one.waiter.origin, one.waiter.client) == (first.waiter.origin, first.waiter.client);
        if !self.may_go_apart(&first.task) || self.scripts.line.iter().any(same) {
            return self.scripts.line.push_front(first);
        }
        self.scripts.slow_is_gone();
        self.run_apart(now, first.waiter, first.task, out);
    }

    /// Has a task run on a state without keys, while the shard goes on.
    pub(crate) fn run_apart(&mut self, now: Now, waiter: Waiter, task: Task, out: &mut Outbox) {
        let texts = std::mem::take(&mut self.scripts.texts);
        let (stop, what) = (Arc::new(Stop::default()), Running::of(&task));
        self.scripts.apart.begun += 1;
        let number = self.scripts.apart.begun;
        let purpose = Purpose::Apart { number, stamp: self.clock.stamp(now), seed: self.chance.next_u64() };
        out.batches.push(Batch {
            shard: self.shard,
            shard_count: self.shard_count,
            state: Some(self.state.bare()),
            purpose,
            pace: Pace::Patient,
            entry: EntryWriter::default(),
            once_kept_ms: self.once_kept_ms,
            refuses_memory: false,
            tasks: VecDeque::from([task.clone()]),
            texts: texts.clone(),
            done: Vec::new(),
            end: End::Done,
            messages: Vec::new(),
            lines: Vec::new(),
            called: Vec::new(),
            stop: Arc::clone(&stop),
        });
        self.scripts.apart.all.push(Apart { number, waiter, task, texts, since: now.boot, stop, what });
    }

    /// A script that was run apart is back: it came to its end, or wants the keys.
    pub(crate) fn take_back_apart(&mut self, number: u64, batch: Batch, mut answered: impl FnMut(Waiter, Reply)) {
        // One that was recalled is in line again, or was told of already.
        let Some(at) = self.scripts.apart.all.iter().position(|one| one.number == number) else { return };
        let one = self.scripts.apart.all.remove(at);
        match batch.done.into_iter().next() {
            Some(Done::Answered(reply) | Done::Logged(Some(reply))) => {
                self.forget_read(&one.waiter);
                answered(one.waiter, reply);
            }
            _ => self.line_up_slow(one),
        }
    }

    fn line_up_slow(&mut self, one: Apart) {
        let Apart { waiter, task, texts, .. } = one;
        self.scripts.line.push_back(Lined { waiter, task, slow: Some(texts) });
    }

    /// Another command of this client comes: what it has running apart goes back into the line, before it.
    pub(crate) fn recall(&mut self, waiter: &Waiter) {
        if self.scripts.apart.all.is_empty() {
            return;
        }
        let of = (waiter.origin, waiter.client);
        self.recall_those(|one| (one.waiter.origin, one.waiter.client) == of);
    }

    /// The shard has another leader, or will have: nothing is run apart.
    pub(crate) fn recall_all(&mut self) {
        self.recall_those(|_| true);
    }

    fn recall_those(&mut self, which: impl Fn(&Apart) -> bool) {
        let recalled: Vec<Apart> = self.scripts.apart.all.extract_if(.., |one| which(one)).collect();
        for one in recalled {
            one.stop.set(Stopped::Killed);
            self.line_up_slow(one);
        }
    }
}
