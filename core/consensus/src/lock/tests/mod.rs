//! What clients of a few nodes see, step by step.

mod edges;
mod epochs;
mod lines;
mod support;
mod sweeps;

use crate::lock::{Acquire, Claim, Command, Event, Invalid, Outcome};
use base::NodeId;
use bytes::Bytes;
use support::{Cluster, acquire, token};

fn owner(name: &'static str) -> Bytes {
    Bytes::from_static(name.as_bytes())
}

fn renew(name: &'static str, token: u64) -> Command {
    Command::Renew { owner: owner(name), token, ttl_ms: 1000 }
}

fn waits(name: &'static str, wait_ms: u64) -> Command {
    Command::Acquire(Acquire { wait_ms, ..acquire(name, 1000) })
}

#[test]
fn a_lock_has_one_holder_and_goes_on_to_the_next() {
    for count in [1, 3, 5] {
        let mut cluster = Cluster::new(count);
        let first = token(&cluster.acquire(1, "a", "x"));
        assert_eq!(cluster.acquire(count, "a", "y"), Outcome::Refused);
        assert_eq!(cluster.release(count, "a", "y", first), Outcome::Lost, "its owner alone may give it back");
        assert_eq!(cluster.release(1, "a", "x", first), Outcome::Released);
        let second = token(&cluster.acquire(count, "a", "y"));
        assert!(second > first);
        assert_eq!(cluster.call(1, "a", renew("x", first)), Outcome::Lost);
        assert_eq!(cluster.call(1, "a", renew("y", second)), Outcome::Renewed { remaining_ms: 1000 });
    }
}

#[test]
fn with_a_cached_ballot_a_change_is_one_round() {
    let mut cluster = Cluster::new(3);
    let mut held = token(&cluster.acquire(2, "a", "x"));
    cluster.events.clear();
    for _ in 0..5 {
        cluster.writes = 0;
        assert_eq!(cluster.release(2, "a", "x", held), Outcome::Released);
        held = token(&cluster.acquire(2, "a", "x"));
        assert_eq!(cluster.writes, 6, "one write per change and voter");
    }
    assert_eq!(cluster.count(Event::Changed { rounds: 1 }), 10);
    assert_eq!(cluster.count(Event::Changed { rounds: 2 }), 0);
}

#[test]
fn refusals_and_info_write_nothing_and_keep_no_dead_holder_alive() {
    let mut cluster = Cluster::new(3);
    let held = token(&cluster.acquire(1, "a", "x"));
    cluster.writes = 0;
    for step in 0..100 {
        assert_eq!(cluster.acquire(1 + step % 3, "a", "y"), Outcome::Refused);
        let Outcome::Info(info) = cluster.call(1 + step % 3, "a", Command::Info) else { panic!("it tells") };
        assert_eq!(info.holders[0].token, held);
        cluster.pass(10);
    }
    assert_eq!(cluster.writes, 0);
    cluster.pass(30);
    assert!(token(&cluster.acquire(2, "a", "y")) > held, "its time was over, whoever asked meanwhile");
    assert_eq!(cluster.count(Event::Stolen), 1);
}

#[test]
fn a_renewal_starts_the_time_again() {
    let mut cluster = Cluster::new(3);
    let held = token(&cluster.acquire(1, "a", "x"));
    for _ in 0..5 {
        cluster.pass(900);
        assert_eq!(cluster.acquire(2, "a", "y"), Outcome::Refused);
        assert_eq!(cluster.call(3, "a", renew("x", held)), Outcome::Renewed { remaining_ms: 1000 });
    }
}

#[test]
fn those_who_wait_are_served_in_their_order_each_with_one_round() {
    let mut cluster = Cluster::new(3);
    let mut held = token(&cluster.acquire(1, "a", "x"));
    let line: Vec<u64> = (1..=3).map(|node| cluster.ask(node, "a", waits("y", 10_000))).collect();
    let mut holder = "x";
    for waiter in line {
        cluster.events.clear();
        assert_eq!(cluster.release(1, "a", holder, held), Outcome::Released);
        let granted = cluster.answer(waiter).expect("it is its turn");
        assert!(matches!(granted, Outcome::Granted { remaining_ms: 0, .. }), "its lease has yet to begin");
        (holder, held) = ("y", token(&granted));
        assert_eq!(cluster.count(Event::Changed { rounds: 1 }), 1);
    }
}

#[test]
fn one_who_waits_gets_a_dead_holders_lock_or_is_refused_in_time() {
    let mut cluster = Cluster::new(3);
    let held = token(&cluster.acquire(1, "a", "x"));
    let (short, long) = (cluster.ask(2, "a", waits("y", 500)), cluster.ask(3, "a", waits("z", 5000)));
    cluster.pass(501);
    assert_eq!(cluster.answer(short), Some(Outcome::Refused));
    cluster.pass(600);
    assert!(token(&cluster.answer(long).expect("its holder is dead")) > held);
}

#[test]
fn no_minority_stops_the_locks() {
    let mut cluster = Cluster::new(5);
    let held = token(&cluster.acquire(3, "a", "x"));
    cluster.stopped.extend([NodeId(1), NodeId(2)]);
    let waiter = cluster.ask(3, "a", Command::Release { owner: owner("x"), token: held });
    cluster.pass(100);
    assert_eq!(cluster.answer(waiter), Some(Outcome::Released));
    for name in ["b", "c", "d", "e", "f", "g"] {
        let waiter = cluster.ask(4, name, Command::Acquire(acquire("x", 1000)));
        cluster.pass(100);
        token(&cluster.answer(waiter).expect("three of five decide"));
    }
    cluster.stopped.insert(NodeId(3));
    let waiter = cluster.ask(4, "b", Command::Acquire(acquire("y", 1000)));
    cluster.pass(10_000);
    assert!(matches!(cluster.answer(waiter), Some(Outcome::NoQuorum | Outcome::Unknown)));
}

#[test]
fn a_request_that_comes_again_is_answered_again_and_a_twin_is_a_stranger() {
    let mut cluster = Cluster::new(3);
    let with_id = |id| Command::Acquire(Acquire { id: owner(id), ..acquire("x", 1000) });
    let held = token(&cluster.call(1, "a", with_id("1")));
    assert_eq!(token(&cluster.call(3, "a", with_id("1"))), held);
    assert_eq!(cluster.call(2, "a", with_id("2")), Outcome::Refused, "the name alone gives nothing");
    let again = Command::Acquire(Acquire { token: Some(held), ..acquire("x", 1000) });
    assert_eq!(token(&cluster.call(2, "a", again.clone())), held);
    assert_eq!(cluster.release(2, "a", "x", held), Outcome::Released);
    assert_eq!(cluster.release(3, "a", "x", held), Outcome::Released, "the same question gets the same answer");
    assert_eq!(cluster.call(2, "a", again), Outcome::Lost);
}

#[test]
fn sharers_share_a_fence_and_permits_are_counted() {
    let mut cluster = Cluster::new(3);
    let mut claim =
        |name, owner, claim| cluster.call(1, name, Command::Acquire(Acquire { claim, ..acquire(owner, 1000) }));
    let fence =
        |outcome: &Outcome| if let Outcome::Granted { fence, .. } = outcome { *fence } else { panic!("{outcome:?}") };
    let (first, second) = (claim("a", "x", Claim::Shared), claim("a", "y", Claim::Shared));
    assert_eq!(fence(&first), fence(&second));
    assert_eq!(claim("a", "z", Claim::Exclusive), Outcome::Refused);
    let permits = |count, of| Claim::Permits { count, of };
    assert_eq!(fence(&claim("s", "x", permits(2, 3))), 0);
    assert_eq!(claim("s", "y", permits(2, 3)), Outcome::Refused);
    assert!(matches!(claim("s", "y", permits(1, 3)), Outcome::Granted { .. }));
    assert_eq!(claim("s", "z", permits(1, 4)), Outcome::Invalid(Invalid::PermitsDiffer { of: 3 }));
}

#[test]
fn a_restarted_voter_waits_in_full() {
    let mut cluster = Cluster::new(3);
    token(&cluster.acquire(1, "a", "x"));
    cluster.pass(800);
    (1..=3).for_each(|node| cluster.restart(node));
    cluster.pass(900);
    assert_eq!(cluster.acquire(2, "a", "y"), Outcome::Refused);
    cluster.pass(200);
    token(&cluster.acquire(2, "a", "y"));
}

#[test]
fn watchers_are_told() {
    // Also the one that proposes: one of the three is the home of the name.
    for watcher in 1..=3 {
        let mut cluster = Cluster::new(3);
        cluster.input(NodeId(watcher), |plane, now, out| plane.watch(now, crate::lock::Waiter(77), owner("a"), out));
        cluster.run();
        let held = token(&cluster.acquire(1, "a", "x"));
        assert_eq!(cluster.holders(), [1, 1, 1]);
        cluster.release(1, "a", "x", held);
        let versions: Vec<u64> = cluster.notices.iter().map(|notice| notice.version).collect();
        assert_eq!(versions, [1, 2]);
        assert_eq!(cluster.holders(), [0, 0, 0]);
    }
}
