//! From one epoch to the next: what was chosen comes along, and what was promised is kept.

use super::support::{Cluster, acquire, token, view};
use super::{owner, renew};
use crate::lock::{Command, Event, Outcome};
use crate::register::ballot::Ballot;
use crate::register::{Message, Parcel, View};
use base::NodeId;
use bytes::Bytes;

/// What a voter has accepted, and promised.
fn stands(cluster: &Cluster, node: NodeId, name: &Bytes) -> (Ballot, Ballot) {
    let cell = &cluster.nodes[&node].plane.table().cells[name];
    (cell.accepted, cell.promised)
}

fn home(view: &View, name: &Bytes) -> NodeId {
    view.homes(name).next().expect("there are voters")
}

#[test]
fn a_new_epoch_has_all_locks_and_a_sweep_leaves_the_floors() {
    let mut cluster = Cluster::new(3);
    let held = token(&cluster.acquire(1, "a", "x"));
    let freed = token(&cluster.acquire(1, "b", "x"));
    cluster.release(1, "b", "x", freed);
    let peers = |id: u64| (1..=3).filter(move |peer| *peer != id).map(move |peer| (NodeId(id), NodeId(peer)));
    // Without links nobody sweeps before.
    for (id, peer) in (1..=3).flat_map(peers) {
        cluster.input(id, |plane, now, out| plane.on_peer_lost(now, peer, out));
    }
    cluster.pass(61_000);
    for (id, peer) in (1..=3).flat_map(peers) {
        cluster.input(id, |plane, now, out| plane.on_peer_up(now, peer, out));
    }
    assert_eq!(cluster.call(1, "a", renew("x", held)), Outcome::Renewed { remaining_ms: 1000 });
    cluster.turn_over(&view(2, 3, Some((1, 3))), 1..=3);
    cluster.pass(500);
    assert_eq!(
        cluster.events.iter().filter(|event| matches!(event, Event::Ready { cells: 1, swept: 1, .. })).count(),
        3
    );
    assert_eq!(cluster.call(2, "a", renew("x", held)), Outcome::Renewed { remaining_ms: 1000 });
    assert!(token(&cluster.acquire(2, "b", "y")) > freed);
}

/// Two voters have accepted a grant when a third enters the epoch and brings it along. The home counts that one in and goes on with the next
/// ballot, unasked; so nothing below that may be accepted there.
#[test]
fn who_brings_along_what_was_accepted_in_its_epoch_promises_what_goes_with_it() {
    let mut cluster = Cluster::new(3);
    let (next, name) = (view(2, 3, Some((1, 3))), owner("a"));
    let home = home(&next, &name);
    let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|node| *node != home).collect();
    let (between, late) = (others[0], others[1]);
    cluster.stopped.insert(late);
    cluster.turn_over(&next, [home.0, between.0]);
    cluster.pass(500);
    token(&cluster.acquire(home.0, "a", "x"));
    let (accepted, promised) = stands(&cluster, home, &name);
    assert_eq!(promised, accepted.next());
    cluster.stopped.remove(&late);
    cluster.turn_over(&next, [late.0]);
    assert_eq!(stands(&cluster, late, &name), (accepted, promised));
    // A ballot of another that is above what is accepted, and below the one that its home goes on with.
    let ballot = Ballot { node: between, ..if between > home { accepted } else { accepted.next() } };
    assert!(accepted < ballot && ballot < promised);
    let prepare = Message::Prepare { name: name.clone(), ballot };
    let parcel = Parcel { from: between, to: late, epoch: next.epoch(), message: prepare };
    cluster.input(late, |plane, now, out| plane.on_message(now, parcel, out));
    let refused = Message::Refused { name, ballot, promised };
    assert!(cluster.flying.iter().any(|parcel| parcel.from == late && parcel.message == refused));
}

/// What is swept between two parts is in neither, and its floor must not be missing.
#[test]
fn floors_come_behind_all_registers() {
    let mut cluster = Cluster::new(3);
    let used = token(&cluster.acquire(1, "a", "x"));
    cluster.release(1, "a", "x", used);
    cluster.pass(240_000);
    assert!(cluster.nodes[&NodeId(3)].plane.table().cells.is_empty(), "it is forgotten");
    let scan = Message::Scan { of: cluster.view.epoch(), after: Some(owner("z")) };
    let parcel = Parcel { from: NodeId(2), to: NodeId(3), epoch: cluster.view.epoch(), message: scan };
    cluster.input(NodeId(3), |plane, now, out| plane.on_message(now, parcel, out));
    cluster.sync(NodeId(3));
    let part = |parcel: &Parcel| match &parcel.message {
        Message::Part { floors, last: true, .. } => Some(floors.clone()),
        _ => None,
    };
    let floors = cluster.flying.iter().find_map(part).expect("it answers");
    assert!(floors.iter().any(|(_, floor)| *floor >= used), "{floors:?}");
}

/// A voter that has promised more than was accepted elsewhere takes that over, and the power goes at any time: what it had accepted itself
/// is not gone before the new state is there.
#[test]
fn no_crash_within_a_rescan_leaves_a_voter_with_less_than_it_had() {
    let mut cluster = Cluster::new(3);
    let (name, late) = (owner("a"), NodeId(3));
    let held = token(&cluster.acquire(1, "a", "x"));
    cluster.stopped.insert(late);
    (1..=2).for_each(|id| cluster.lose(NodeId(id), late));
    assert_eq!(cluster.release(1, "a", "x", held), Outcome::Released);
    cluster.stopped.clear();
    let (before, _) = stands(&cluster, late, &name);
    let ballot = Ballot { epoch: before.epoch, counter: 50, node: NodeId(2), incarnation: 1 };
    let prepare = Message::Prepare { name: name.clone(), ballot };
    let parcel = Parcel { from: NodeId(2), to: late, epoch: before.epoch, message: prepare };
    cluster.input(late, |plane, now, out| plane.on_message(now, parcel, out));
    cluster.sync(late);
    assert_eq!(stands(&cluster, late, &name), (before, ballot));
    cluster.lose(late, NodeId(2));
    cluster.begin_turn_over(&view(2, 3, Some((1, 3))), [late.0]);
    while cluster.unsynced(late) < 2 {
        assert!(cluster.deliver_next().is_some(), "it takes all over");
    }
    let (accepted, _) = stands(&cluster, late, &name);
    assert!(accepted > before);
    let states = (0..=cluster.unsynced(late)).map(|kept| cluster.durable(late, kept).cells[&name].accepted);
    assert!(states.clone().all(|state| state == before || state == accepted) && states.clone().is_sorted());
    assert_eq!(states.last(), Some(accepted));
}

/// A voter's way into an epoch is cut short by a crash when it has brought along what one voter alone had accepted there; that one is
/// not among those who are asked the next time.
#[test]
fn what_a_rescan_that_was_cut_short_brought_along_stays() {
    let mut cluster = Cluster::new(4);
    token(&cluster.acquire(1, "a", "x"));
    cluster.turn_over(&view(2, 3, Some((1, 4))), 1..=4);
    cluster.pass(500);
    let (next, name) = (view(3, 4, Some((2, 3))), owner("a"));
    let new = NodeId(4);
    cluster.stopped.insert(new);
    cluster.turn_over(&next, 1..=3);
    cluster.pass(2_000);
    // One voter alone accepts what it proposes.
    (1..=3).for_each(|id| cluster.lose(NodeId(id), new));
    let alone = next.homes(&name).find(|node| *node != new).expect("there are more voters");
    cluster.begin_request(alone.0, "a", Command::Acquire(acquire("y", 1_000)));
    while stands(&cluster, alone, &name).0.epoch < next.epoch() {
        assert!(cluster.deliver_next().is_some(), "it comes to a proposal");
    }
    cluster.flying.retain(|parcel| !matches!(parcel.message, Message::Accept { .. }));
    let (accepted, promised) = stands(&cluster, alone, &name);
    let others: Vec<NodeId> = (1..=3).map(NodeId).filter(|node| *node != alone).collect();
    // What the crash leaves is all but that the voter is ready.
    cluster.stopped.clear();
    cluster.lose(new, others[0]);
    cluster.begin_turn_over(&next, [new.0]);
    while cluster.unsynced(new) < 2 {
        assert!(cluster.deliver_next().is_some(), "it takes all over");
    }
    let kept = cluster.unsynced(new) - 1;
    cluster.view = next;
    cluster.crash(new, kept);
    cluster.stopped.insert(alone);
    cluster.lose(new, alone);
    cluster.run();
    assert_eq!(cluster.nodes[&new].plane.table().ready, cluster.view.epoch());
    assert_eq!(stands(&cluster, new, &name), (accepted, promised));
    cluster.restart(new.0);
    assert_eq!(stands(&cluster, new, &name), (accepted, promised), "the same as before");
}
