//! Locks that nobody uses: forgotten by all voters or by none, and never mistaken for new ones.

use super::owner;
use super::support::{Cluster, acquire, token};
use crate::lock::{Acquire, Claim, Command, Event, Lock, Outcome, Waiter};
use crate::register::{Ballot, Idle, Message, Parcel, Stand};
use base::time::NS_PER_MS;
use base::{Epoch, NodeId};
use std::sync::Arc;

const IDLE_MS: u64 = 120_000;

fn registers(cluster: &Cluster) -> Vec<usize> {
    cluster.nodes.values().map(|node| node.plane.status().registers).collect()
}

fn forgotten(cluster: &Cluster) -> u64 {
    let counts = cluster.events.iter().map(|event| if let Event::Forgotten { count } = event { *count } else { 0 });
    counts.sum()
}

/// A lock that is held for so long; its token.
fn hold(cluster: &mut Cluster, name: &'static str, ttl_ms: u64) -> u64 {
    token(&cluster.call(1, name, Command::Acquire(acquire("x", ttl_ms))))
}

/// A lock that was held and given back; its last token.
fn used(cluster: &mut Cluster, name: &'static str) -> u64 {
    let held = token(&cluster.acquire(1, name, "x"));
    cluster.release(1, name, "x", held);
    held
}

fn link(cluster: &mut Cluster, node: u64, up: bool) {
    for (one, other) in (1..=3).filter(|other| *other != node).flat_map(|other| [(node, other), (other, node)]) {
        let (one, other) = (NodeId(one), NodeId(other));
        cluster.input(
            one,
            |plane, now, out| {
                if up { plane.on_peer_up(now, other, out) } else { plane.on_peer_lost(now, other, out) }
            },
        );
    }
    if up {
        cluster.stopped.remove(&NodeId(node))
    } else {
        cluster.stopped.insert(NodeId(node))
    };
    cluster.run();
}

#[test]
fn what_nobody_uses_is_forgotten_and_its_tokens_go_on() {
    let mut cluster = Cluster::new(3);
    let last: Vec<u64> = ["a", "b", "c", "d"].into_iter().map(|name| used(&mut cluster, name)).collect();
    let held = hold(&mut cluster, "held", 3 * IDLE_MS);
    cluster.pass(30_000);
    assert_eq!(registers(&cluster), [5; 3], "not yet");
    cluster.pass(IDLE_MS);
    assert_eq!(registers(&cluster), [1; 3], "one is held");
    assert_eq!(forgotten(&cluster), 12);
    (1..=3).for_each(|id| cluster.restart(id));
    assert_eq!(registers(&cluster), [1; 3]);
    for (name, last) in ["a", "b", "c", "d"].into_iter().zip(last) {
        assert!(token(&cluster.acquire(2, name, "y")) > last, "{name}");
    }
    cluster.pass(4 * IDLE_MS);
    assert!(token(&cluster.acquire(2, "held", "y")) > held);
}

#[test]
fn what_dead_holders_had_is_forgotten_too() {
    let mut cluster = Cluster::new(3);
    let first = token(&cluster.acquire(1, "a", "x"));
    let shared = [1, 2].map(|node| {
        let share = Acquire { claim: Claim::Shared, ..acquire("x", 1_000) };
        token(&cluster.call(node, "b", Command::Acquire(share)))
    });
    // Longer than the others, and it is renewed: nobody takes it from its holder.
    let alive = hold(&mut cluster, "alive", IDLE_MS);
    for _ in 0..4 {
        cluster.pass(IDLE_MS / 2);
        let renew = Command::Renew { owner: owner("x"), token: alive, ttl_ms: IDLE_MS };
        assert!(matches!(cluster.call(2, "alive", renew), Outcome::Renewed { .. }));
    }
    assert_eq!((registers(&cluster), cluster.holders()), (vec![1; 3], vec![1; 3]));
    assert_eq!(forgotten(&cluster), 6);
    assert!(!cluster.events.contains(&Event::Stolen), "nobody took them");
    for (name, last) in [("a", first), ("b", shared[1])] {
        assert_eq!(cluster.release(1, name, "x", last), Outcome::Lost);
        assert!(token(&cluster.acquire(2, name, "y")) > last, "{name}");
    }
}

#[test]
fn a_voter_that_is_away_stops_the_sweep_and_catches_up_before_it_goes_on() {
    for away in 1..=3 {
        let mut cluster = Cluster::new(3);
        let asks = away % 3 + 1;
        let held = token(&cluster.acquire(asks, "a", "x"));
        link(&mut cluster, away, false);
        // Who is away doesn't hear that the lock was given back.
        assert_eq!(cluster.release(asks, "a", "x", held), Outcome::Released);
        cluster.pass(IDLE_MS);
        assert_eq!(registers(&cluster), [1; 3]);
        link(&mut cluster, away, true);
        cluster.pass(10 * IDLE_MS);
        assert_eq!((registers(&cluster), cluster.holders()), (vec![0; 3], vec![0; 3]), "away: {away}");
        cluster.restart(away);
        assert!(token(&cluster.acquire(away, "a", "y")) > held);
    }
}

#[test]
fn an_old_proposal_does_not_bring_back_what_was_forgotten() {
    let mut cluster = Cluster::new(3);
    let late = proposals_of_a_grant(&mut cluster);
    cluster.pass(1_000);
    let stolen = token(&cluster.acquire(2, "a", "y"));
    cluster.release(2, "a", "y", stolen);
    cluster.pass(IDLE_MS);
    assert_eq!(registers(&cluster), [0; 3]);
    for parcel in late {
        cluster.flying.push_back(parcel);
    }
    cluster.run();
    assert_eq!((registers(&cluster), cluster.holders()), (vec![0; 3], vec![0; 3]));
    assert!(token(&cluster.acquire(3, "a", "z")) > stolen);
}

/// A voter missed that the lock was given back, and promises a proposal with what it knows; then it catches up, and all forget. That proposal,
/// however late the others hear of it, doesn't go on from what its own voter had.
#[test]
fn a_proposal_from_before_a_voter_caught_up_does_not_bring_back_what_was_forgotten() {
    let mut cluster = Cluster::new(3);
    let homes: Vec<u64> = cluster.view.homes(&owner("a")).map(|node| node.0).collect();
    let [sweeper, away, asks] = homes[..] else { panic!("there are three") };
    let held = token(&cluster.acquire(asks, "a", "x"));
    link(&mut cluster, away, false);
    assert_eq!(cluster.release(asks, "a", "x", held), Outcome::Released);
    cluster.pass(IDLE_MS);
    link(&mut cluster, away, true);
    // It is the home for its own clients.
    cluster.lose(NodeId(away), NodeId(sweeper));
    let renew = || Command::Renew { owner: owner("x"), token: held, ttl_ms: 1_000 };
    // It tries often enough to be far above what the others have accepted.
    cluster.loses = |parcel| matches!(parcel.message, Message::Prepare { .. } | Message::Idle { .. });
    for _ in 0..5 {
        let tried = cluster.ask(away, "a", renew());
        cluster.pass(6_000);
        assert_eq!(cluster.answer(tried), Some(Outcome::NoQuorum));
    }
    cluster.loses = |parcel| matches!(parcel.message, Message::Prepare { .. });
    let mut asked = 0;
    for _ in 0..100 {
        // Just before somebody has something to do, so that the sweep comes while the proposal is under way.
        let next = cluster.nodes.values().map(|node| node.plane.next_deadline()).min().expect("there are nodes");
        cluster.pass((next.since_ns(cluster.now) / NS_PER_MS).saturating_sub(1));
        asked = cluster.ask(away, "a", renew());
        cluster.pass(3);
        if forgotten(&cluster) > 0 {
            break;
        }
    }
    assert_eq!((registers(&cluster), cluster.answer(asked)), (vec![0; 3], None), "the proposal is still under way");
    cluster.loses = |_| false;
    cluster.pass(1_000);
    assert_eq!(cluster.answer(asked), Some(Outcome::Lost));
    assert_eq!(cluster.holders(), [0; 3]);
}

/// Else a proposal that only its own voter had heard of, and that one promised before it forgot, would find all others ready for it.
#[test]
fn who_has_forgotten_still_says_what_it_had_promised() {
    let mut cluster = Cluster::new(3);
    used(&mut cluster, "a");
    let ballot = Ballot { epoch: cluster.view.epoch(), counter: 50, node: NodeId(2), incarnation: 1 };
    let asks = |message| Parcel { from: NodeId(2), to: NodeId(3), epoch: Epoch(1), message };
    let prepare = asks(Message::Prepare { name: owner("a"), ballot });
    cluster.input(NodeId(3), |plane, now, out| plane.on_message(now, prepare, out));
    cluster.pass(2 * IDLE_MS);
    assert_eq!(registers(&cluster), [0; 3]);
    for (id, node) in &cluster.nodes {
        assert!(node.plane.table().passed > ballot, "{id:?}");
    }
    let asked = Idle { name: owner("a"), accepted: Ballot { counter: 60, ..ballot }, lock: Arc::new(Lock::fresh(9)) };
    let idle = asks(Message::Idle { serial: 1, chosen: false, cells: vec![asked] });
    cluster.input(NodeId(3), |plane, now, out| plane.on_message(now, idle, out));
    cluster.sync(NodeId(3));
    let says = |parcel: &Parcel| match &parcel.message {
        Message::Stands { promised, stands, .. } => Some((*promised, stands.clone())),
        _ => None,
    };
    let (promised, stands) = cluster.flying.iter().find_map(says).expect("it answers");
    assert_eq!((promised, stands), (cluster.nodes[&NodeId(3)].plane.table().passed, vec![Stand::Lacks]));
}

/// What was sent to have a grant accepted, and arrives a second time later.
fn proposals_of_a_grant(cluster: &mut Cluster) -> Vec<Parcel> {
    let wish = acquire("x", 500);
    cluster.input(NodeId(1), |plane, now, out| {
        plane.on_request(now, Waiter(99), owner("a"), Command::Acquire(wish), out);
    });
    let mut late = Vec::new();
    while let Some(parcel) = cluster.deliver_next() {
        if matches!(parcel.message, Message::Accept { .. }) {
            late.push(parcel);
        }
    }
    assert!(late.len() >= 2, "the others are asked");
    late
}

#[test]
fn a_sweep_goes_through_many_names_some_at_a_time() {
    let mut cluster = Cluster::new(1);
    let names: Vec<&'static str> = (0..600).map(|n| &*format!("lock:{n}").leak()).collect();
    for name in names {
        used(&mut cluster, name);
    }
    cluster.pass(IDLE_MS);
    assert_eq!(registers(&cluster), [0]);
    let batches = cluster.events.iter().filter(|event| matches!(event, Event::Forgotten { .. })).count();
    assert!(batches >= 3, "at most {} at a time", base::limits::LOCK_SWEEP_COUNT_MAX);
    assert_eq!(cluster.nodes[&NodeId(1)].plane.status().homes, 0);
}

#[test]
fn what_is_perhaps_not_chosen_is_settled_by_a_round_before_it_is_forgotten() {
    let mut cluster = Cluster::new(3);
    let home = super::support::view(1, 3, None).homes(b"a").next().unwrap();
    let held = token(&cluster.acquire(home.0, "a", "x"));
    // The home alone accepts that the lock is free; then the others hear it again.
    link(&mut cluster, home.0, false);
    cluster.stopped.remove(&home);
    let release = Command::Release { owner: owner("x"), token: held };
    cluster.input(home, |plane, now, out| {
        plane.on_request(now, Waiter(99), owner("a"), release, out);
    });
    cluster.sync(home);
    cluster.flying.clear();
    cluster.restart(home.0);
    link(&mut cluster, home.0, true);
    assert_eq!(cluster.holders().iter().sum::<usize>(), 2, "one voter has the release");
    cluster.pass(IDLE_MS);
    assert_eq!((registers(&cluster), cluster.holders()), (vec![1; 3], vec![0; 3]));
    let rounds = cluster.events.iter().filter(|event| matches!(event, Event::Changed { .. })).count();
    assert_eq!(rounds, 2, "the grant, and what became of the release");
    cluster.pass(2 * IDLE_MS);
    assert_eq!(registers(&cluster), [0; 3]);
    assert!(token(&cluster.acquire(home.0, "a", "y")) > held);
}
