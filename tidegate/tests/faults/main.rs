//! Real faults: three real processes on a network of their own, clients that write down all they see, and things that go wrong.
//!
//! It needs root, nftables and iproute2: `cargo test -p tidegate --features root-tests --test faults -- --nocapture`. With
//! `TIDEGATE_FAULT_ROUNDS=10` each fault happens ten times; with `TIDEGATE_FAULT_KIND=Clock` it is that one alone.
//!
//! Each round loads the cluster, does one thing to it, ends that, and touches nothing more: every node must serve every shard
//! within a stated time. Then all that clients saw must have an order, and nothing acknowledged may be gone.

mod acknowledgement;
mod delay;
mod disk;
mod kinds;
mod load;
mod locks;
mod network;
mod nodes;
mod pace;
mod recorder;
mod rounds;
#[path = "../support/mod.rs"]
mod support;

use base::rng::Rng;
use kinds::Kind;
use nodes::{Nodes, SERVES_WITHIN, Setup};
use rounds::Table;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use support::Folder;

/// One cluster at a time: what is measured is not to be disturbed.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often each fault happens.
fn rounds() -> u64 {
    match std::env::var("TIDEGATE_FAULT_ROUNDS") {
        Ok(text) => text.parse().expect("TIDEGATE_FAULT_ROUNDS is a number"),
        Err(_) => 1,
    }
}

/// The fault that alone is to happen.
fn only() -> Option<String> {
    std::env::var("TIDEGATE_FAULT_KIND").ok()
}

#[test]
fn what_was_acknowledged_survives_every_fault_and_all_replies_have_an_order() {
    let _alone = alone();
    let (rounds, only) = (rounds(), only());
    let folder = Folder::new("faults");
    let mut nodes = Nodes::start(folder.path());
    let mut table = Table::default();
    for round in 0..rounds {
        for kind in Kind::ALL.into_iter().filter(|kind| only.as_ref().is_none_or(|only| *only == format!("{kind:?}"))) {
            table.round(&mut nodes, kind, round * 100 + kind as u64, folder.path());
        }
    }
    drop(nodes);
    let slow = Folder::new("faults-slow");
    let mut nodes = Nodes::start_with(slow.path(), Setup { slow_links: true, ..Setup::default() });
    for round in 0..rounds {
        table.round(&mut nodes, Kind::Slow, round, slow.path());
    }
    table.conclude();
}

#[test]
fn a_lock_has_one_holder_through_every_fault() {
    let _alone = alone();
    let (rounds, only) = (rounds(), only());
    let folder = Folder::new("faults-locks");
    let mut nodes = Nodes::start(folder.path());
    let mut wrongs = Vec::new();
    println!(
        "| fault | grants | fenced writes | answers without effect or in doubt | wrong | all nodes grant again within |"
    );
    println!("|---|---|---|---|---|---|");
    for round in 0..rounds {
        for kind in
            Kind::OF_LOCKS.into_iter().filter(|kind| only.as_ref().is_none_or(|only| *only == format!("{kind:?}")))
        {
            let (seed, prefix) = (round * 100 + kind as u64, format!("{kind:?}-{round}"));
            let (mut rng, mut back) = (Rng::new(seed), Duration::ZERO);
            let outcome = locks::under_load(&prefix, seed, |pace| {
                pace.wait(Duration::from_millis(700));
                kind.happen(&mut nodes, &mut rng, pace);
                let begun = Instant::now();
                locks::await_locks(&prefix, SERVES_WITHIN);
                back = begun.elapsed();
                nodes.await_service();
                pace.wait(Duration::from_millis(300));
            });
            let (grants, counted, wrong) = (outcome.grants(), outcome.counted(), outcome.wrongs());
            println!(
                "| {} | {grants} | {counted} | {:?} | {} | {back:.2?} |",
                kind.name(),
                outcome.refused,
                wrong.len()
            );
            assert!(grants > 50 && counted > 50, "a round in which nothing happens doesn't count");
            wrongs.extend(wrong);
        }
    }
    assert!(wrongs.is_empty(), "{wrongs:#?}");
}
