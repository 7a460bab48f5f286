//! Many seeds on many threads.

use crate::tally::Tally;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A seed whose run broke an invariant, and which.
#[derive(Clone, Debug)]
pub struct Caught {
    pub seed: u64,
    pub what: String,
}

/// What a hunt saw.
#[derive(Debug, Default)]
pub struct Outcome {
    pub tally: Tally,
    pub caught: Vec<Caught>,
}

/// Gives all seeds of a range to `run`; stops early after `enough` broken ones. `prepare` is called on each thread.
#[must_use]
pub fn hunt(
    seeds: Range<u64>,
    threads: usize,
    enough: usize,
    prepare: impl Fn() + Sync,
    run: impl Fn(u64) -> Tally + Sync,
) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let outcome = Mutex::new(Outcome::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                prepare();
                let mut mine = Tally::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || lock(&outcome).caught.len() >= enough {
                        break;
                    }
                    match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                        Ok(tally) => mine.add(&tally),
                        Err(panic) => lock(&outcome).caught.push(Caught { seed, what: text(panic.as_ref()) }),
                    }
                }
                lock(&outcome).tally.add(&mine);
            });
        }
    });
    outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn lock(outcome: &Mutex<Outcome>) -> std::sync::MutexGuard<'_, Outcome> {
    outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a panic says.
#[must_use]
pub fn text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
