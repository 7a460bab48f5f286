//! Grants that are made ahead: told before their hand-over is written, and true whoever is home by then.

use super::support::{Cluster, acquire, token};
use super::{owner, renew, waits};
use crate::lock::{Command, Outcome};
use base::NodeId;

fn release(name: &'static str, token: u64) -> Command {
    Command::Release { owner: owner(name), token }
}

/// A cluster where x has given the lock to y at node `id`, and z and w wait with grants made ahead; y's token.
fn line_at(id: u64) -> (Cluster, u64, [u64; 2]) {
    let mut cluster = Cluster::new(3);
    let held = token(&cluster.acquire(id, "a", "x"));
    let [y, z, w] = ["y", "z", "w"].map(|name| cluster.ask(id, "a", waits(name, 10_000)));
    assert_eq!(cluster.call(id, "a", release("x", held)), Outcome::Released);
    let held = token(&cluster.answer(y).expect("it is next"));
    (cluster, held, [z, w])
}

/// The node that is home of the lock, with its line: it tells the next though no other node hears it.
fn home() -> (u64, Cluster, u64, [u64; 2], u64) {
    for id in 1..=3 {
        let (mut cluster, held, [z, w]) = line_at(id);
        cluster.stopped.extend((1..=3).filter(|other| *other != id).map(NodeId));
        let gave = cluster.ask(id, "a", release("y", held));
        if let Some(told) = cluster.answer(z) {
            assert_eq!(cluster.answer(gave), None, "the hand-over is not written");
            assert!(matches!(told, Outcome::Granted { remaining_ms: 0, .. }), "who waited has no lease yet");
            return (id, cluster, token(&told), [w, gave], held);
        }
    }
    panic!("some node is home")
}

#[test]
fn who_is_next_is_told_before_the_hand_over_is_written() {
    let (id, mut cluster, next, [w, gave], held) = home();
    assert!(next > held);
    // And so on: the whole line goes by while nothing can be written.
    let gave_next = cluster.ask(id, "a", release("z", next));
    let Some(Outcome::Granted { token: last, fence, .. }) = cluster.answer(w) else { panic!("it is next") };
    assert!(last > next && fence == last);
    cluster.stopped.clear();
    cluster.pass(500);
    assert_eq!((cluster.answer(gave), cluster.answer(gave_next)), (Some(Outcome::Released), Some(Outcome::Released)));
    assert_eq!(cluster.call(id, "a", renew("w", last)), Outcome::Renewed { remaining_ms: 1000 });
    assert_eq!(cluster.call(id, "a", renew("z", next)), Outcome::Lost);
}

#[test]
fn a_token_that_was_told_before_its_home_died_holds_at_the_next_home() {
    let (id, mut cluster, next, _, held) = home();
    // Nothing of the hand-over reached the others, and its home is gone.
    cluster.flying.clear();
    cluster.stopped = [NodeId(id)].into();
    let other = 1 + id % 3;
    for node in (1..=3).filter(|node| *node != id) {
        cluster.input(NodeId(node), |plane, now, out| plane.on_peer_lost(now, NodeId(id), out));
    }
    cluster.run();
    assert_eq!(cluster.acquire(other, "a", "v"), Outcome::Refused, "those in line come first");
    assert_eq!(cluster.call(other, "a", renew("z", next)), Outcome::Renewed { remaining_ms: 1000 });
    assert_eq!(
        cluster.call(other, "a", release("y", held)),
        Outcome::Released,
        "the next one's token shows that it was"
    );
    assert_eq!(cluster.call(other, "a", renew("y", held)), Outcome::Lost);
    assert_eq!(cluster.call(other, "a", release("z", next)), Outcome::Released);
    // w waited at the dead node: it has a little time to speak up, and then the lock is free.
    cluster.pass(1_100);
    assert!(token(&cluster.acquire(other, "a", "v")) > next);
}

/// A round is under way that can't end, so none has this release; but w was told, so it can't be answered as if nothing had happened.
#[test]
fn a_release_that_was_handed_on_is_never_said_to_have_changed_nothing() {
    let (id, mut cluster, next, [w, _], _) = home();
    let gave = cluster.ask(id, "a", release("z", next));
    assert!(matches!(cluster.answer(w), Some(Outcome::Granted { .. })));
    cluster.pass(6_000);
    assert_eq!(cluster.answer(gave), Some(Outcome::Unknown));
}

#[test]
fn who_leaves_the_line_is_passed_over() {
    let (mut cluster, held, [z, w]) = line_at(1);
    let short = cluster.ask(1, "a", waits("u", 5));
    cluster.input(NodeId(1), |plane, now, out| plane.on_cancel(now, 3, out));
    cluster.run();
    cluster.pass(10);
    assert_eq!(cluster.answer(short), Some(Outcome::Refused), "its wait is over");
    assert_eq!(cluster.call(1, "a", release("y", held)), Outcome::Released);
    assert_eq!(cluster.answer(z), None, "its client was gone");
    let last = token(&cluster.answer(w).expect("it is next"));
    assert_eq!(cluster.call(1, "a", release("w", last)), Outcome::Released);
    assert!(token(&cluster.call(2, "a", Command::Acquire(acquire("v", 1000)))) > last);
}
