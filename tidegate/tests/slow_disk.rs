//! Reads beside writes on a disk that takes 2 ms for each sync: a read waits for no sync.
//!
//! `cargo test --release -p tidegate --test slow_disk -- --nocapture` measures; a debug build has a loose bound.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::{Client, Folder, Node, Reply};

const SYNC_US: &str = "2000";
const GET_P50_MAX: Duration = Duration::from_micros(if cfg!(debug_assertions) { 1000 } else { 100 });
/// Less than a sync: not one GET in a hundred waits for one.
const GET_P99_MAX: Duration = Duration::from_micros(1500);
const WRITERS: usize = 2;
/// A round has at least so many of each.
const GETS: usize = 5000;
const SETS: usize = 100;
const ROUNDS: usize = 4;

/// How long each of these took, shortest first, until there are enough.
fn times(mut enough: impl FnMut(usize) -> bool, mut one: impl FnMut()) -> Vec<Duration> {
    let mut times = Vec::new();
    while !enough(times.len()) {
        let begun = Instant::now();
        one();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times
}

fn told(times: &[Duration]) -> String {
    format!("{}: p50 {:?}, p99 {:?}, max {:?}", times.len(), at(times, 50), at(times, 99), at(times, 100))
}

fn at(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() - 1) * percent / 100]
}

fn get(client: &mut Client) {
    assert_eq!(client.ask(&["GET", "read"]).expect("the node answers"), Reply::bulk("v"));
}

/// The best p50 and p99 of some rounds of GETs by one client while others set values of this size, one at a time each. A wait
/// for syncs would be in every round; what else the machine does is not.
fn gets_beside_sets(name: &str, value_bytes: usize) {
    let folder = Folder::new(name);
    let node = Node::start_with(folder.path(), |command| command.env("TIDEGATE_SLOW_SYNC_US", SYNC_US));
    let mut reader = node.client();
    assert_eq!(reader.ask(&["SET", "read", "v"]).expect("the node answers"), Reply::ok());
    println!("{name}: GETs alone {}", told(&times(|gets| gets == GETS, || get(&mut reader))));
    let (reading, written, value) = (AtomicBool::new(true), AtomicUsize::new(0), "w".repeat(value_bytes));
    let (rounds, mut sets) = std::thread::scope(|scope| {
        let write = || {
            let mut writer = node.client();
            let set = || {
                assert_eq!(writer.ask(&["SET", "written", &value]).expect("the node answers"), Reply::ok());
                written.fetch_add(1, Ordering::Relaxed);
            };
            times(|_| !reading.load(Ordering::Relaxed), set)
        };
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        let mut round = || {
            let before = written.load(Ordering::Relaxed);
            let enough = |gets| gets >= GETS && written.load(Ordering::Relaxed) >= before + SETS;
            times(enough, || get(&mut reader))
        };
        let rounds: Vec<_> = (0..ROUNDS).map(|_| round()).collect();
        reading.store(false, Ordering::Relaxed);
        let sets = writers.into_iter().flat_map(|one| one.join().expect("a writer does not panic"));
        (rounds, sets.collect::<Vec<_>>())
    });
    sets.sort_unstable();
    rounds.iter().for_each(|gets| println!("{name}: GETs beside SETs {}", told(gets)));
    println!("{name}: SETs of {value_bytes} bytes {}", told(&sets));
    assert!(sets[0] >= Duration::from_millis(2), "every SET waits for its sync");
    let best = |percent| rounds.iter().map(|gets| at(gets, percent)).min().expect("there are rounds");
    assert!(best(50) < GET_P50_MAX, "{name}: p50 of GETs is {:?}, over {GET_P50_MAX:?}", best(50));
    assert!(best(99) < GET_P99_MAX, "{name}: p99 of GETs is {:?}, over {GET_P99_MAX:?}", best(99));
}

#[test]
fn a_get_does_not_wait_for_the_sync_of_a_set() {
    gets_beside_sets("small-sets", 100);
}

#[test]
fn a_get_does_not_wait_for_the_sync_of_a_large_set() {
    gets_beside_sets("large-sets", 2 * 1024 * 1024);
}
