//! One node of the world of locks: its plane, its disk and its clock.

use crate::group::MS;
use base::rng::Rng;
use base::{Instant, NodeId};
use bytes::Bytes;
use consensus::lock::{Config, Plane, Tuning};
use consensus::register::{RegisterWrite, Table, View};
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) id: NodeId,
    pub(super) clock: Clock,
    /// So many lives it had: its incarnation, which is durable.
    pub(super) life: u64,
    pub(super) state: State,
    /// The view that it was told last, which is durable.
    pub(super) view: View,
    /// Records that are durable, in order.
    log: Vec<Bytes>,
    pub(super) unsynced: VecDeque<RegisterWrite>,
    snapshot: Option<Snapshot>,
    pub(super) syncing: bool,
    pub(super) timer: u64,
    pub(super) timer_at: u64,
}

#[derive(Debug)]
pub(super) enum State {
    Down,
    Up(Box<Plane>),
    /// Stopped, with what came meanwhile.
    Frozen(Box<Plane>, Vec<super::Happening>),
}

/// A snapshot that is being cut, part by part, while registers change.
#[derive(Debug)]
struct Snapshot {
    parts: Vec<Bytes>,
    after: Option<Bytes>,
    /// The log counts from here.
    log_from: usize,
    /// It counts when this write is durable.
    whole_at: Option<u64>,
}

/// A clock that is off by a constant, and runs somewhat fast or slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    offset: u64,
    per_myriad: u64,
}

impl Clock {
    /// Two of them differ by less than the 64th that voters wait longer.
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { offset: rng.below(1 << 50), per_myriad: 9_940 + rng.below(121) }
    }

    pub(super) fn now(self, at: u64) -> Instant {
        Instant(self.offset + at / 10_000 * self.per_myriad)
    }

    /// The true time that passes while it shows `ns` more.
    pub(super) fn takes(self, ns: u64) -> u64 {
        ns.saturating_mul(10_000) / self.per_myriad
    }
}

impl Machine {
    pub(super) fn new(id: NodeId, view: View, rng: &mut Rng) -> Self {
        Self {
            id,
            clock: Clock::new(rng),
            life: 0,
            state: State::Down,
            view,
            log: Vec::new(),
            unsynced: VecDeque::new(),
            snapshot: None,
            syncing: false,
            timer: 0,
            timer_at: 0,
        }
    }

    pub(super) fn plane(&mut self) -> Option<&mut Plane> {
        if let State::Up(plane) = &mut self.state { Some(plane) } else { None }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, State::Down)
    }

    /// Starts from what is durable.
    pub(super) fn start(&mut self, now: u64, idle_ms: u64, rng: &mut Rng) {
        self.life += 1;
        (self.syncing, self.timer_at) = (false, 0);
        let table = self.durable_table();
        let config = Config {
            me: self.id,
            incarnation: self.life,
            generation: 0,
            view: self.view.clone(),
            seed: rng.next_u64(),
            // So few that a home forgets names all the time.
            tuning: Tuning { idle_ms, sweep_ms: 10 + idle_ms / 40, home_count_max: 2, ..Tuning::default() },
        };
        self.state = State::Up(Box::new(Plane::new(&config, table, self.clock.now(now))));
    }

    /// The first `count` writes become durable.
    pub(super) fn sync(&mut self, count: usize) -> Vec<RegisterWrite> {
        let synced: Vec<RegisterWrite> = self.unsynced.drain(..count).collect();
        self.log.extend(synced.iter().map(|write| write.record.clone()));
        let upto = synced.last().map_or(0, |write| write.serial);
        if let Some(snapshot) = self.snapshot.take_if(|one| one.whole_at.is_some_and(|at| at <= upto)) {
            let rest = self.log.split_off(snapshot.log_from);
            self.log = snapshot.parts;
            self.log.extend(rest);
        }
        synced
    }

    /// The power goes: of what is not synced, a first part survives, though nobody was told. It is returned.
    pub(super) fn crash(&mut self, kept: usize) -> Vec<RegisterWrite> {
        let survived = self.sync(kept);
        if self.unsynced.is_empty() {
            self.what_was_written_says_what_stood_in_memory();
        }
        self.snapshot = None;
        self.unsynced.clear();
        self.state = State::Down;
        survived
    }

    /// The table that its durable records come to.
    fn durable_table(&self) -> Table {
        let mut table = Table::default();
        for record in &self.log {
            table.replay(record).expect("what was written can be read");
        }
        table
    }

    fn what_was_written_says_what_stood_in_memory(&self) {
        let (State::Up(plane) | State::Frozen(plane, _)) = &self.state else { return };
        let all = |table: &Table| table.part(None, usize::MAX).0;
        let same = all(&self.durable_table()) == all(plane.table());
        assert!(same, "what_was_written_says_what_stood_in_memory: {:?}", self.id);
    }

    /// Cuts the next part of a snapshot. True if it was the last.
    pub(super) fn cut(&mut self) -> bool {
        let State::Up(plane) = &self.state else { return false };
        // What isn't durable yet comes before it too: the parts hold it.
        let log_from = self.log.len() + self.unsynced.len();
        let snapshot =
            self.snapshot.get_or_insert(Snapshot { parts: Vec::new(), after: None, log_from, whole_at: None });
        if snapshot.whole_at.is_some() {
            return false;
        }
        let (part, next) = plane.table().part(snapshot.after.as_ref(), 100);
        snapshot.parts.push(Bytes::from(part));
        snapshot.after = next;
        if snapshot.after.is_none() {
            snapshot.whole_at = Some(self.unsynced.back().map_or(0, |write| write.serial));
        }
        snapshot.after.is_none()
    }
}

/// A sync takes at least so long.
pub(super) const SYNC_NS_MIN: u64 = MS / 20;
