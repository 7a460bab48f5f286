//! Those who want the same, and the one who fetches it for all of them.
//!
//! A flight is begun by a leader and joined by others, on whichever lane. Its outcome is told to all at once. A member may go at any
//! time; when the last has gone before there is an outcome, the fetch is given up, unless it was begun for nobody in the first place, or
//! its response has come already and is on its way into the store.
//!
//! A response that found no room to be shared is its leader's alone, and says nothing of the next. So the flight isn't over: it is handed
//! on to the one who has waited longest, who asks anew for all who still wait. With him go as many as have asked so far, each for
//! himself, [`TOGETHER_MAX`] at most. Who has to ask hears of it once, and the others nothing: N members are N wakings and N requests
//! to the endpoint, of which no answer sets more than [`TOGETHER_MAX`] going, and each of which may be the last: the first that finds
//! room is for all.

use super::super::refusal::Refusal;
use super::object::Serving;
use std::collections::{BTreeMap, BTreeSet};
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
    /// It was handed on to this member, who hasn't come yet: whoever comes first goes on with it.
    called: Option<u64>,
    /// Those who have to ask for themselves, and haven't heard.
    alone: BTreeSet<u64>,
    /// How many have asked, or were told to.
    asked: usize,
}

/// So many begin to ask at once, at most, where there is no room to share.
pub const TOGETHER_MAX: usize = 64;

/// What came of it, for those who joined.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// This is the answer.
    Served(Arc<Serving>),
    /// Each has to ask for himself.
    Alone,
    /// Each who has cookies has to; it says nothing of what the others get, who look again.
    AloneWithCookies,
    /// Nothing came of it: look again.
    Again,
    /// It was handed on to this member, who fetches for the others from now on.
    Lead,
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

    /// There was no room to share what came: the next one goes on with it, and some with him. False if nobody waits.
    pub fn hand_on(&self) -> bool {
        let mut inner = self.lock();
        let together = (inner.asked + 1).min(TOGETHER_MAX).min(inner.waiting.len());
        let called: Vec<(u64, Waker)> = (0..together).filter_map(|_| inner.waiting.pop_first()).collect();
        if called.is_empty() {
            return false;
        }
        inner.asked += called.len();
        (inner.called, inner.coming) = (called.first().map(|(number, _)| *number), false);
        inner.alone.extend(called.iter().skip(1).map(|(number, _)| number));
        drop(inner);
        called.into_iter().for_each(|(_, waker)| waker.wake());
        true
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
        let goes_on = inner.called.is_none() && (inner.coming || self.background);
        if inner.members > 0 || inner.outcome.is_some() || goes_on {
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
        if inner.alone.remove(&self.number) {
            return Poll::Ready(Outcome::Alone);
        }
        if inner.called.take().is_some() {
            inner.waiting.remove(&self.number);
            return Poll::Ready(Outcome::Lead);
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
        inner.alone.remove(&self.number);
        let next = if inner.called == Some(self.number) { inner.waiting.pop_first() } else { None };
        inner.called = next.as_ref().map(|(number, _)| *number).or(inner.called);
        drop(inner);
        next.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    /// Counts how often all of them were woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(member: &Member, woken: &Arc<Woken>) -> Option<Outcome> {
        let waker = Waker::from(woken.clone());
        match Pin::new(&mut &*member).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    fn waiting(flight: &Arc<Flight>, woken: &Arc<Woken>, count: usize) -> Vec<Member> {
        let members: Vec<Member> = (0..count).map(|_| flight.join()).collect();
        assert!(members.iter().all(|member| poll(member, woken).is_none()));
        members
    }

    #[test]
    fn where_nothing_can_be_shared_each_is_woken_once() {
        let (flight, woken) = (Flight::new(false), Arc::<Woken>::default());
        let mut members = waiting(&flight, &woken, 1_000);
        let (mut together, mut rounds) = (Vec::new(), 0);
        while flight.hand_on() {
            rounds += 1;
            let outcomes: Vec<_> = members.iter().take(TOGETHER_MAX).map_while(|one| poll(one, &woken)).collect();
            assert!(matches!(outcomes[0], Outcome::Lead), "who has waited longest goes on: {outcomes:?}");
            assert!(outcomes[1..].iter().all(|one| matches!(one, Outcome::Alone)), "{outcomes:?}");
            together.push(outcomes.len());
            members.drain(..outcomes.len());
        }
        assert_eq!(together[..8], [1, 2, 4, 8, 16, 32, 64, 64]);
        assert_eq!(together.iter().sum::<usize>(), 1_000);
        assert_eq!((woken.0.load(Ordering::Relaxed), rounds), (1_000, 21), "once each, and in as many rounds");
    }

    #[test]
    fn the_first_that_finds_room_is_for_all_who_still_wait() {
        let (flight, woken) = (Flight::new(false), Arc::<Woken>::default());
        let members = waiting(&flight, &woken, 10);
        assert!(flight.hand_on());
        assert!(matches!(poll(&members[0], &woken), Some(Outcome::Lead)));
        assert!(members[1..].iter().all(|member| poll(member, &woken).is_none()), "one asks");
        flight.tell(Outcome::Again);
        assert!(members[1..].iter().all(|member| matches!(poll(member, &woken), Some(Outcome::Again))));
        assert_eq!(woken.0.load(Ordering::Relaxed), 10);
    }

    #[test]
    fn who_is_called_and_goes_leaves_it_to_the_next() {
        let (flight, woken) = (Flight::new(true), Arc::<Woken>::default());
        let mut members = waiting(&flight, &woken, 3);
        assert!(flight.hand_on());
        members.remove(0);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2, "the next is called");
        assert!(matches!(poll(&members[0], &woken), Some(Outcome::Lead)));
        assert!(poll(&members[1], &woken).is_none());
        assert!(flight.hand_on());
        let late = flight.join();
        drop(members);
        assert!(!flight.abandon(), "there is one");
        assert!(matches!(poll(&late, &woken), Some(Outcome::Lead)), "who comes meanwhile goes on with it");
        assert!(!flight.hand_on(), "nobody waits");
        drop(late);
        let last = waiting(&flight, &woken, 1);
        assert!(flight.hand_on());
        drop(last);
        assert!(flight.abandon(), "what was handed on to nobody is over");
    }
}
