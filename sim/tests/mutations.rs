//! Every safety rule is broken once, and the simulator must notice: the table of which seeds did.
//!
//! `cargo test --profile sim -p sim --features mutations --test mutations -- --nocapture` prints it.
#![cfg(feature = "mutations")]

use base::mutation::{self, Mutation};
use sim::hunt::Caught;
use sim::world::{Effort, World};
use std::panic::catch_unwind;
use std::time::Instant;

const EFFORT: Effort = Effort { commands: 2000, crashes: 5 };
/// Seeds that are tried before a mutation counts as missed.
const SEEDS_MAX: u64 = 600;
/// Seeds that are always tried, to tell how often it is noticed.
const SEEDS_MIN: u64 = 20;

/// How a mutation was noticed.
struct Row {
    mutation: Mutation,
    tried: u64,
    noticed: u64,
    seconds: f64,
    first: Option<Caught>,
}

fn hunt(mutation: Mutation) -> Row {
    mutation::set(Some(mutation));
    let begun = Instant::now();
    let mut row = Row { mutation, tried: 0, noticed: 0, seconds: 0.0, first: None };
    while row.tried < SEEDS_MIN || (row.noticed == 0 && row.tried < SEEDS_MAX) {
        let seed = row.tried;
        row.tried += 1;
        if let Err(panic) = catch_unwind(|| World::run(seed, EFFORT)) {
            row.noticed += 1;
            let what = sim::hunt::text(panic.as_ref());
            row.first.get_or_insert(Caught { seed, what });
        }
    }
    row.seconds = begun.elapsed().as_secs_f64();
    mutation::set(None);
    row
}

#[test]
fn every_mutation_is_noticed() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut rows: Vec<Row> = std::thread::scope(|scope| {
        let halves = Mutation::OF_A_NODE.chunks(Mutation::OF_A_NODE.len().div_ceil(2));
        let threads: Vec<_> =
            halves.map(|half| scope.spawn(|| half.iter().copied().map(hunt).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a hunt does not panic")).collect()
    });
    let _ = std::panic::take_hook();
    // This one is broken by a directed test of recovery: today no entry is ever moved forward.
    rows.retain(|row| row.mutation != Mutation::RewrittenRecordTruncates);
    println!("{:<30} {:>8} {:>8} {:>8}  first seed and what it broke", "mutation", "seeds", "noticed", "seconds");
    for row in &rows {
        let first = row.first.as_ref().map_or(String::new(), |caught| {
            let what = caught.what.trim_start_matches("assertion `left == right` failed: ");
            let what: String = what.chars().take(70).filter(|c| *c != '\n').collect();
            format!("{} {what}", caught.seed)
        });
        println!(
            "{:<30} {:>8} {:>8} {:>8.1}  {first}",
            format!("{:?}", row.mutation),
            row.tried,
            row.noticed,
            row.seconds
        );
    }
    let missed: Vec<Mutation> = rows.iter().filter(|row| row.noticed == 0).map(|row| row.mutation).collect();
    assert!(missed.is_empty(), "nobody noticed {missed:?}");
}
