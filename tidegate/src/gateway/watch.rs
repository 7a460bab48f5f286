//! Bounds on time, cheap enough to set for each phase of each request.
//!
//! A connection has one [`Watch`], and a stream of HTTP/2 one of its own. Whoever begins a phase says when it must have ended; whoever ends it says what comes next. A bound
//! that is moved ahead, as nearly all are, costs a store: the lane's [`Wheel`] holds a watch under the earliest time at which it may
//! be over, and when that comes looks whether it is. Only a bound that comes nearer is filed anew. So a request costs the wheel
//! nothing mostly, where a timer of the runtime for each phase would be registered and taken back five times.

use base::Instant;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::sync::Notify;

/// Bounds are kept this exactly: late by so much at most, never early.
const TICK_NS: u64 = 4_000_000;

/// What the time is bounded of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The client's next request has not begun.
    Idle,
    /// The head of a request is being read.
    Head,
    /// A request waits to be let in, or for a pause to end.
    Waiting,
    /// The request's body: nothing moved for so long.
    Upload,
    Connect,
    /// The head of the response.
    Response,
    /// The response's body: nothing moved for so long.
    Download,
    /// The connection carries another protocol: nothing passed for so long.
    Tunnel,
    /// The response is done but for its last bytes, which the client doesn't read: nothing moved for so long.
    Flush,
    /// The response is done; what the client still sends is read and thrown away.
    Linger,
}

/// The bound of one connection, or stream.
#[derive(Debug)]
pub struct Watch {
    wheel: Rc<Wheel>,
    phase: Cell<Phase>,
    /// When the phase is over; the end of time for none.
    until: Cell<Instant>,
    /// When the whole request must have been answered, whatever phase it is in.
    deadline: Cell<Instant>,
    /// The tick under which the wheel has it.
    filed: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// All bounds of a lane.
#[derive(Debug, Default)]
pub struct Wheel {
    ticks: RefCell<BTreeMap<u64, Vec<Rc<Watch>>>>,
    /// An earlier tick than all others was filed.
    earlier: Notify,
}

const NEVER: Instant = Instant(u64::MAX);

impl Watch {
    pub fn new(wheel: Rc<Wheel>) -> Rc<Self> {
        Rc::new(Self {
            wheel,
            phase: Cell::new(Phase::Head),
            until: Cell::new(NEVER),
            deadline: Cell::new(NEVER),
            filed: Cell::new(u64::MAX),
            waker: RefCell::new(None),
        })
    }

    /// Begins a phase that may take so long.
    pub fn begin(self: &Rc<Self>, phase: Phase, now: Instant, time: Duration) {
        self.phase.set(phase);
        self.until.set(after(now, time));
        self.file(now);
    }

    /// Something moved: the phase may take so long again. The other phases are left alone.
    pub fn moved(self: &Rc<Self>, phase: Phase, now: Instant, time: Duration) {
        if self.phase.get() == phase {
            self.until.set(after(now, time));
            self.file(now);
        }
    }

    /// Bounds the request as a whole.
    pub fn set_deadline(self: &Rc<Self>, deadline: Option<Instant>) {
        self.deadline.set(deadline.unwrap_or(NEVER));
        if deadline.is_some() {
            self.file(crate::clock::boot());
        }
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// The phase whose time is over, and whether it was the request's deadline that ended it.
    pub fn over(&self) -> Option<Over> {
        if self.until.get() == NEVER && self.deadline.get() == NEVER {
            return None;
        }
        // The clock is read only when the wheel has woken this task for it.
        (self.filed.get() == RUNG).then_some(())?;
        let now = crate::clock::boot();
        let phase = self.phase.get();
        if self.deadline.get() <= now {
            return Some(Over { phase, by_deadline: true });
        }
        (self.until.get() <= now).then_some(Over { phase, by_deadline: false })
    }

    /// The task of this context is woken when the time is over.
    pub fn register(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    /// The task is polled, as if something had happened.
    pub fn wake(&self) {
        self.waker.borrow().iter().for_each(Waker::wake_by_ref);
    }

    /// A phase whose time is over at once: its task is woken without waiting for a tick.
    pub fn expire(&self, phase: Phase) {
        self.phase.set(phase);
        self.until.set(Instant(0));
        self.filed.set(RUNG);
        self.waker.borrow_mut().take().into_iter().for_each(Waker::wake);
    }

    /// Nothing is bounded until something is again.
    pub fn pause(&self) {
        self.until.set(NEVER);
    }

    /// Nothing is bounded any more, and the wheel forgets it in its time.
    pub fn stop(&self) {
        self.until.set(NEVER);
        self.deadline.set(NEVER);
        *self.waker.borrow_mut() = None;
    }

    fn bound(&self) -> Instant {
        self.until.get().min(self.deadline.get())
    }

    /// Files it, no further ahead than that it is soon forgotten when it is stopped: when that comes, it is filed anew.
    fn file(self: &Rc<Self>, now: Instant) {
        let bound = self.bound();
        if bound == NEVER {
            return;
        }
        let bound = bound.min(after(now, FILED_AHEAD));
        let tick = bound.0 / TICK_NS + 1;
        let filed = self.filed.get();
        if filed != RUNG && filed <= tick {
            return;
        }
        self.filed.set(tick);
        self.wheel.file(tick, self.clone());
    }
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    pub phase: Phase,
    pub by_deadline: bool,
}

/// A watch that is stopped stays filed so long at most: each stream of HTTP/2 has one.
const FILED_AHEAD: Duration = Duration::from_secs(5);
/// A watch whose bell has rung is filed nowhere.
const RUNG: u64 = 0;

impl Wheel {
    /// Wakes whoever's time is over, until the lane ends.
    pub async fn run(self: Rc<Self>) {
        loop {
            let first = self.ticks.borrow().first_key_value().map(|(tick, _)| *tick);
            let Some(first) = first else {
                self.earlier.notified().await;
                continue;
            };
            let now = crate::clock::boot();
            let at = Instant(first.saturating_mul(TICK_NS));
            if now < at {
                let _ = tokio::time::timeout(Duration::from_nanos(at.since_ns(now)), self.earlier.notified()).await;
                continue;
            }
            self.ring(now);
        }
    }

    fn ring(&self, now: Instant) {
        let later = self.ticks.borrow_mut().split_off(&(now.0 / TICK_NS + 1));
        let due = self.ticks.replace(later);
        for (tick, watches) in due {
            for watch in watches {
                // One that was filed anew since is not looked at here.
                if watch.filed.get() != tick {
                    continue;
                }
                watch.filed.set(RUNG);
                if watch.bound() <= now {
                    let waker = watch.waker.borrow_mut().take();
                    waker.into_iter().for_each(Waker::wake);
                } else {
                    watch.file(now);
                }
            }
        }
    }

    fn file(&self, tick: u64, watch: Rc<Watch>) {
        let mut ticks = self.ticks.borrow_mut();
        if ticks.first_key_value().is_none_or(|(first, _)| tick < *first) {
            self.earlier.notify_one();
        }
        ticks.entry(tick).or_default().push(watch);
    }
}

fn after(now: Instant, time: Duration) -> Instant {
    Instant(now.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stopped_is_soon_forgotten_however_late_it_was_due() {
        let wheel = Rc::new(Wheel::default());
        let now = crate::clock::boot();
        for _ in 0..100 {
            let watch = Watch::new(wheel.clone());
            watch.set_deadline(Some(now.plus_ms(86_400_000)));
            watch.begin(Phase::Waiting, now, Duration::from_secs(3_600));
            watch.stop();
        }
        let living = Watch::new(wheel.clone());
        living.begin(Phase::Waiting, now, Duration::from_secs(8));
        wheel.ring(now.plus_ms(5_200));
        let filed: usize = wheel.ticks.borrow().values().map(Vec::len).sum();
        assert_eq!(filed, 1, "the one that is still due is filed anew");
        assert_eq!(living.over(), None);
    }

    fn instant(ms: u64) -> Instant {
        Instant(ms * 1_000_000)
    }

    #[test]
    fn a_bound_that_moves_ahead_is_filed_once_and_looked_at_when_its_first_time_comes() {
        let wheel = Rc::new(Wheel::default());
        let watch = Watch::new(wheel.clone());
        for ms in 0..100 {
            watch.begin(Phase::Upload, instant(ms), Duration::from_millis(50));
        }
        assert_eq!(wheel.ticks.borrow().values().map(Vec::len).sum::<usize>(), 1);
        wheel.ring(instant(60));
        assert_eq!(watch.filed.get(), instant(149).0 / TICK_NS + 1, "it is filed for when it may be over now");
        assert_eq!(wheel.ticks.borrow().values().map(Vec::len).sum::<usize>(), 1);
    }

    #[test]
    fn a_bound_that_comes_nearer_is_filed_anew_and_its_old_place_means_nothing() {
        let wheel = Rc::new(Wheel::default());
        let watch = Watch::new(wheel.clone());
        watch.begin(Phase::Idle, instant(0), Duration::from_secs(60));
        watch.begin(Phase::Connect, instant(10), Duration::from_millis(20));
        wheel.ring(instant(40));
        assert_eq!(watch.filed.get(), RUNG);
        assert!(watch.over().is_some(), "boot is long ago");
        watch.begin(Phase::Idle, instant(40), Duration::from_secs(600));
        wheel.ring(instant(60_100));
        assert_ne!(watch.filed.get(), RUNG, "the first place was left");
    }
}
