//! Who may compute a step of a handshake, in the order of coming.
//!
//! A signature takes as long as hundreds of requests, and a client gets one for a hello. If a flood of hellos were served as it comes,
//! requests of those who are let in already would wait behind all of them. So there is one handshake at a time, and when as much has been
//! computed as one takes, everybody else who is ready has his turn, and the sockets are looked at.
//!
//! A turn is for what there is to compute, and over when more must come from the client: one that is silent holds up nobody.

use super::super::upstream::add;
use super::handshake::Reason;
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The turns of one lane.
#[derive(Debug)]
pub struct Turns {
    /// Fair: who came first goes first.
    one: Semaphore,
    waiting: Cell<u64>,
    /// What steps have taken since others had their turn.
    spent_ns: Cell<u64>,
}

/// Less than a signature takes, and more than a look at a client that has sent nothing.
const SPENT_NS_MAX: u64 = 100_000;

impl Default for Turns {
    fn default() -> Self {
        Self { one: Semaphore::new(1), waiting: Cell::new(0), spent_ns: Cell::new(0) }
    }
}

impl Turns {
    /// Handshakes that could go on if it were their turn.
    pub fn waiting(&self) -> u64 {
        self.waiting.get()
    }

    /// Runs a handshake in turns, for so long at most.
    pub async fn take<F: Future>(&self, time: Duration, handshake: F) -> Result<F::Output, Reason> {
        let until = Instant::now() + time;
        // Since when it waits for its turn.
        let waits = Cell::new(None);
        let steps = async {
            let mut handshake = pin!(handshake);
            loop {
                let mut turn = {
                    waits.set(Some(Instant::now()));
                    let _waiting = Waiting::new(&self.waiting);
                    Some(self.one.acquire().await.expect("nobody closes it"))
                };
                if self.spent_ns.get() > SPENT_NS_MAX {
                    // Which comes back when all others that are ready have run, and what the sockets bring is known.
                    tokio::task::yield_now().await;
                    self.spent_ns.set(0);
                }
                waits.set(None);
                let step = std::future::poll_fn(|context| match turn.take() {
                    Some(_turn) => {
                        let begun = crate::clock::boot();
                        let polled = handshake.as_mut().poll(context);
                        add(&self.spent_ns, crate::clock::boot().since_ns(begun));
                        polled.map(Some)
                    }
                    // Woken: there is more to do.
                    None => std::task::Poll::Ready(None),
                });
                if let Some(done) = step.await {
                    return done;
                }
            }
        };
        let ended = tokio::time::timeout_at(until, steps).await;
        // The end of its time wakes it too.
        let crowded = || waits.get().is_some_and(|since| since < until);
        ended.map_err(|_| if crowded() { Reason::Crowded } else { Reason::Late })
    }
}

/// Counted, until it is dropped.
struct Waiting<'a>(&'a Cell<u64>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<u64>) -> Self {
        add(count, 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    fn run(test: impl Future<Output = ()>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().build_local(tokio::runtime::LocalOptions::default()).unwrap();
        runtime.block_on(test);
    }

    /// As long as a step of a handshake.
    fn compute(what: impl FnOnce()) {
        let begun = crate::clock::boot();
        while crate::clock::boot().since_ns(begun) <= SPENT_NS_MAX {}
        what();
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn between_two_handshakes_others_have_their_turn_and_the_first_goes_first() {
        run(async {
            let (turns, told) = (Rc::new(Turns::default()), Rc::new(RefCell::new(Vec::new())));
            let handshakes = (0..50).map(|number| {
                let (turns, told) = (turns.clone(), told.clone());
                tokio::task::spawn_local(async move {
                    turns.take(LONG, async { compute(|| told.borrow_mut().push(Some(number))) }).await
                })
            });
            let handshakes: Vec<_> = handshakes.collect();
            let of_others = told.clone();
            let others = tokio::task::spawn_local(async move {
                loop {
                    of_others.borrow_mut().push(None);
                    tokio::task::yield_now().await;
                }
            });
            for handshake in handshakes {
                assert_eq!(handshake.await.unwrap(), Ok(()));
            }
            others.abort();
            let told = told.borrow();
            let in_order: Vec<i32> = told.iter().copied().flatten().collect();
            assert_eq!(in_order, (0..50).collect::<Vec<_>>());
            // Which of those who are ready goes first changes from round to round.
            let crowd = told.windows(3).any(|some| some.iter().all(Option::is_some));
            assert!(!crowd, "{told:?}");
        });
    }

    #[test]
    fn one_that_is_silent_holds_up_nobody_and_one_that_waits_in_vain_is_told_apart() {
        run(async {
            let turns = Rc::new(Turns::default());
            let of_silent = turns.clone();
            let silence = std::future::pending::<()>();
            let silent =
                tokio::task::spawn_local(async move { of_silent.take(Duration::from_millis(200), silence).await });
            // It has come first, and has its turn.
            tokio::task::yield_now().await;
            assert_eq!(turns.take(LONG, async { 7 }).await, Ok(7));
            assert!(!silent.is_finished());
            assert_eq!(silent.await.unwrap(), Err(Reason::Late));
            let held = turns.one.acquire().await.unwrap();
            let crowded = turns.take(Duration::from_millis(20), async { 7 });
            assert_eq!(crowded.await, Err(Reason::Crowded));
            assert_eq!(turns.waiting(), 0, "who has gone waits no more");
            drop(held);
            assert_eq!(turns.take(LONG, async { 8 }).await, Ok(8));
        });
    }

    #[test]
    fn one_that_is_woken_goes_on() {
        run(async {
            let turns = Turns::default();
            let (tell, told) = tokio::sync::oneshot::channel();
            let teller = tokio::task::spawn_local(async { tell.send(9) });
            assert_eq!(turns.take(LONG, told).await, Ok(Ok(9)));
            assert_eq!(teller.await.unwrap(), Ok(()));
        });
    }
}
