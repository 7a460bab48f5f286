//! Our Raft core beside another: the `raft` crate of TiKV (0.7), which descends from etcd's.
//!
//! **Compared**, over thousands of seeds:
//!
//! - [`quorums`]: what a plain or joint membership takes for committed, and when an election is won; and which changes
//!   leave no voter.
//! - [`votes`]: whether a vote or pre-vote is given, and the voter's term and vote behind it, as a function of the
//!   voter's state and the request.
//! - [`script`]: three replicas of each, with pre-vote and check-quorum, through campaigns, proposals, lost answers,
//!   partitions, restarts, transfers and leaders that hear nobody; messages reordered and doubled. At each quiet point:
//!   who leads, in which term; the whole log of every replica, so also how conflicts were resolved; what has committed.
//!   Who wins a campaign is also held against the rule itself (Raft section 5.4.1).
//!
//! **Not compared, since the protocol leaves it open**: which messages are sent, and how many; when a follower learns
//! of a commit (theirs broadcasts it at once, and by votes; ours tells with the next entry or heartbeat); the commit
//! index right behind a restart (theirs stores it, ours learns it anew); the vote of one who learned of an election from its
//! winner (ours may still give it its vote); when a change of members counts (theirs once it is applied, ours once
//! it is in the log, as in the paper); a restarted voter that waits out a lease (ours alone); pre-votes for a
//! term that the voter is in ([`votes`]). Where the order of messages decides which of two lawful things happens,
//! scripts don't go there.

mod cluster;
mod ours;
mod quorums;
mod script;
mod theirs;
mod votes;

use script::{Counts, Play};
use std::time::Instant;

/// Seeds of scripts: a few in every test run, more by `DIFFERENTIAL_SEEDS=20000 cargo test ..`.
fn seeds() -> u64 {
    std::env::var("DIFFERENTIAL_SEEDS").map_or(200, |text| text.parse().expect("DIFFERENTIAL_SEEDS is a number"))
}

#[test]
fn quorums_agree() {
    let begun = Instant::now();
    let (compared, joint) = quorums::compare(1, 40_000);
    println!(
        "quorums: {compared} memberships behind a change, {joint} joint, in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(compared > 5_000 && joint > 4_000);
}

#[test]
fn votes_agree() {
    let begun = Instant::now();
    let (compared, granted, behind) = votes::compare(1, 20_000);
    println!(
        "votes: {compared} requests, {granted} granted, {behind} behind, in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(granted > 2_000 && compared - granted > 2_000);
}

#[test]
fn scripts_agree() {
    let begun = Instant::now();
    let mut counts = Counts::new();
    let seeds = seeds();
    for seed in 0..seeds {
        Play::run(seed, 40).into_iter().for_each(|(what, count)| *counts.entry(what).or_default() += count);
    }
    println!("scripts: {seeds} seeds in {:.1} s: {counts:?}", begun.elapsed().as_secs_f64());
    for what in ["campaign won", "campaign lost", "proposal", "answers lost", "restart", "transfer", "hears nobody"] {
        assert!(counts.get(what).is_some_and(|count| *count >= seeds / 4), "too few: {what}");
    }
}
