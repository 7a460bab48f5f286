//! LOCK.WATCH: a call that is answered once a lock has changed, or its time is over.
//!
//! What voters tell of a change is a hint, soon and not always; so is each second that has passed. At a hint the lock is looked at as
//! LOCK.INFO does, and what a majority knows is the answer. That a holder's time is over is no change: the next who asks makes one.

use super::{Locks, Stage, answer};
use crate::lane::Lane;
use crate::outbox::{Now, Outbox};
use base::Instant;
use base::limits::LOCK_WAIT_MS_MAX;
use bytes::Bytes;
use consensus::lock::{Command, Invalid, Outcome, Waiter};
use std::collections::{BTreeMap, BTreeSet};

/// Where no voter has told of a change, the lock is looked at after so long.
const LOOK_MS: u64 = 1_000;

/// The calls that watch.
#[derive(Debug, Default)]
pub(super) struct Watches {
    calls: BTreeMap<Waiter, Watch>,
    /// Looks that are under way, and whose they are.
    looks: BTreeMap<Waiter, Waiter>,
    /// When those that don't look do so next.
    due: BTreeSet<(Instant, Waiter)>,
}

#[derive(Debug)]
struct Watch {
    name: Bytes,
    /// What its client has seen.
    version: u64,
    until: Instant,
    /// When it looks again, unless it is told before; nothing while it looks.
    due: Option<Instant>,
    /// There was a hint during a look.
    again: bool,
}

impl Watches {
    pub(super) fn due(&self) -> Instant {
        self.due.first().map_or(Instant(u64::MAX), |(at, _)| *at)
    }

    fn set_due(&mut self, waiter: Waiter, due: Option<Instant>) {
        let Some(watch) = self.calls.get_mut(&waiter) else { return };
        let was = std::mem::replace(&mut watch.due, due);
        if let Some(at) = was {
            self.due.remove(&(at, waiter));
        }
        self.due.extend(due.map(|at| (at, waiter)));
    }
}

impl Locks {
    /// A call is over; it may have been one that watched.
    pub(super) fn end_watch(&mut self, waiter: Waiter) {
        self.watches.set_due(waiter, None);
        let Some(watch) = self.watches.calls.remove(&waiter) else { return };
        if let Stage::Running(plane) = &mut self.stage {
            plane.unwatch(waiter, &watch.name);
        }
    }
}

impl Lane {
    /// A client watches a lock from now on.
    pub(super) fn begin_watch(
        &mut self,
        now: Now,
        waiter: Waiter,
        (name, version, wait_ms): (Bytes, u64, u64),
        out: &mut Outbox,
    ) {
        let checked =
            Command::Info.check(&name).and(if wait_ms > LOCK_WAIT_MS_MAX { Err(Invalid::WaitTooLong) } else { Ok(()) });
        if let Err(invalid) = checked {
            return self.end_call(waiter, answer::reply(Outcome::Invalid(invalid)), out);
        }
        let Some(locks) = self.locks.as_deref_mut() else { return };
        let watch = Watch { name: name.clone(), version, until: now.boot.plus_ms(wait_ms), due: None, again: false };
        locks.watches.calls.insert(waiter, watch);
        self.with_plane(now, out, |plane, effects| plane.watch(now.boot, waiter, name, effects));
        self.look_at_lock(now, waiter, out);
    }

    /// Asks a majority how a watched lock stands.
    fn look_at_lock(&mut self, now: Now, waiter: Waiter, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref_mut() else { return };
        locks.watches.set_due(waiter, None);
        let Some(watch) = locks.watches.calls.get_mut(&waiter) else { return };
        watch.again = false;
        let name = watch.name.clone();
        locks.last += 1;
        let look = Waiter(locks.last);
        locks.watches.looks.insert(look, waiter);
        self.with_plane(now, out, |plane, effects| {
            plane.on_request(now.boot, look, name, Command::Info, effects);
        });
    }

    /// The outcome of a look; true if it was one.
    pub(super) fn on_watch_look(&mut self, now: Now, look: Waiter, outcome: &Outcome, out: &mut Outbox) -> bool {
        let Some(locks) = self.locks.as_deref_mut() else { return false };
        let Some(waiter) = locks.watches.looks.remove(&look) else { return false };
        let Some(watch) = locks.watches.calls.get_mut(&waiter) else { return true };
        let unchanged = match outcome {
            // While a lock is being forgotten its version may be told higher, and then lower again.
            Outcome::Info(info) => info.version == watch.version,
            // Whoever was asked is gone; the next look goes to another.
            outcome => *outcome == Outcome::Unknown,
        };
        if !unchanged || now.boot >= watch.until {
            self.end_call(waiter, answer::reply(outcome.clone()), out);
        } else if watch.again {
            self.look_at_lock(now, waiter, out);
        } else {
            let due = watch.until.min(now.boot.plus_ms(LOOK_MS));
            locks.watches.set_due(waiter, Some(due));
        }
        true
    }

    /// Voters told of changes.
    pub(super) fn on_lock_notices(&mut self, now: Now, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref_mut() else { return };
        for notice in std::mem::take(&mut locks.out.notices) {
            let watches = self.locks.as_deref_mut().map(|locks| &mut locks.watches.calls);
            let Some(watch) = watches.and_then(|calls| calls.get_mut(&notice.waiter)) else { continue };
            if watch.due.is_none() {
                watch.again = true;
            } else {
                self.look_at_lock(now, notice.waiter, out);
            }
        }
    }

    /// Looks that are due, and watches whose time is over: those look a last time.
    pub(super) fn look_at_watches(&mut self, now: Now, out: &mut Outbox) {
        let Some(locks) = self.locks.as_deref() else { return };
        let due = locks.watches.due.range(..=(now.boot, Waiter(u64::MAX)));
        for waiter in due.map(|(_, waiter)| *waiter).collect::<Vec<_>>() {
            self.look_at_lock(now, waiter, out);
        }
    }
}
