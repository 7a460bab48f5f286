//! Those who want the same, and the one who fetches it for all of them.
//!
//! A flight is begun by a leader and joined by others, on whichever lane. Its outcome is told to all at once. A member may go at any
//! time; when the last has gone before there is an outcome, the fetch is given up, unless it was begun for nobody in the first place, or
//! its response has come already and is on its way into the store.

use super::super::refusal::Refusal;
use super::object::Serving;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// See the module.
#[derive(Debug)]
pub struct Flight {
    inner: Mutex<Inner>,
    /// Nobody waits for it from the beginning.
    background: bool,
}

#[derive(Debug, Default)]
struct Inner {
    outcome: Option<Outcome>,
    members: u32,
    numbers: u64,
    waiting: BTreeMap<u64, Waker>,
    abandoned: bool,
    /// Its response has come: it goes on for those who come later.
    coming: bool,
    fetcher: Option<Waker>,
}

/// What came of it, for those who joined.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// This is the answer.
    Served(Arc<Serving>),
    /// Each has to ask for himself.
    Alone,
    /// Nothing came of it: look again.
    Again,
    /// There was no room to share it: look again, as often as it takes, so that they go one after another.
    NoRoom,
    /// The answer is this refusal.
    Refused(Refusal),
}

impl Flight {
    pub fn new(background: bool) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), background })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn join(self: &Arc<Self>) -> Member {
        let mut inner = self.lock();
        inner.members += 1;
        inner.numbers += 1;
        Member { flight: self.clone(), number: inner.numbers }
    }

    /// The first outcome counts.
    pub fn tell(&self, outcome: Outcome) {
        let mut inner = self.lock();
        inner.outcome.get_or_insert(outcome);
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.into_values().for_each(Waker::wake);
    }

    /// Its response has come, and is worth storing whoever goes; but what it is, is known at its end.
    pub fn set_coming(&self) {
        self.lock().coming = true;
    }

    pub fn is_told(&self) -> bool {
        self.lock().outcome.is_some()
    }

    /// Ends it if nobody wants it any more; true if it has ended so.
    pub fn abandon(&self) -> bool {
        let mut inner = self.lock();
        if inner.members > 0 || inner.outcome.is_some() || inner.coming || self.background {
            return inner.abandoned;
        }
        inner.abandoned = true;
        let fetcher = inner.fetcher.take();
        drop(inner);
        fetcher.into_iter().for_each(Waker::wake);
        true
    }

    /// Whether it was given up; the fetch is woken when it is.
    pub fn is_abandoned(&self, context: &Context<'_>) -> bool {
        let mut inner = self.lock();
        if !inner.fetcher.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            inner.fetcher = Some(context.waker().clone());
        }
        inner.abandoned
    }
}

/// One who wants it. Who drops it must ask the table to look after the flight.
#[derive(Debug)]
pub struct Member {
    flight: Arc<Flight>,
    number: u64,
}

impl Member {
    pub fn flight(&self) -> &Arc<Flight> {
        &self.flight
    }
}

impl Future for &Member {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut inner = self.flight.lock();
        if let Some(outcome) = &inner.outcome {
            return Poll::Ready(outcome.clone());
        }
        inner.waiting.insert(self.number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut inner = self.flight.lock();
        inner.members -= 1;
        inner.waiting.remove(&self.number);
    }
}
