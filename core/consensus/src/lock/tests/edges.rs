//! What goes wrong around a lock: stopped homes, clients that are gone, forged messages, arguments out of their bounds.

use super::support::{Cluster, acquire, token};
use super::{owner, renew, waits};
use crate::lock::line::{Basis, Line, Op, Place};
use crate::lock::tokens::Tokens;
use crate::lock::{Acquire, Claim, Command, Event, Holder, Invalid, Lock, Outcome, PeerMisbehaved};
use crate::register::ballot::COUNTER_MAX;
use crate::register::{Asker, Ballot, Idle, Message, Parcel, Scanned};
use base::{Epoch, Instant, NodeId};
use bytes::Bytes;
use std::sync::Arc;

/// A name whose home is this node.
fn name_at_home(cluster: &Cluster, node: u64) -> &'static str {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let home = |name: &&&str| cluster.view.homes(name.as_bytes()).next() == Some(NodeId(node));
    names.iter().find(home).expect("ten names have homes everywhere")
}

#[test]
fn a_stopped_home_costs_each_node_one_hedge() {
    let mut cluster = Cluster::new(3);
    let name = name_at_home(&cluster, 1);
    let held = token(&cluster.acquire(2, name, "x"));
    cluster.stopped.insert(NodeId(1));
    let waiter = cluster.ask(2, name, renew("x", held));
    cluster.pass(19);
    assert_eq!(cluster.answer(waiter), None);
    cluster.pass(6);
    assert_eq!(cluster.answer(waiter), Some(Outcome::Renewed { remaining_ms: 1000 }));
    assert_eq!(cluster.release(2, name, "x", held), Outcome::Released, "the next request doesn't ask it");
    cluster.stopped.clear();
    cluster.pass(20);
    // What the first home has cached is out of date: its ballot is lost once.
    let waiter = cluster.ask(2, name, Command::Acquire(acquire("x", 1000)));
    cluster.pass(5);
    let held = token(&cluster.answer(waiter).expect("the second ballot is not lost"));
    assert_eq!(cluster.count(Event::BallotLost), 1);
    cluster.events.clear();
    cluster.pass(30);
    assert_eq!(cluster.release(3, name, "x", held), Outcome::Released);
    assert_eq!(cluster.count(Event::Hedged), 0, "it is asked again when it is heard");
}

/// A node that begins, or to which too much is to be sent, doesn't hear a question and answers pings all the same. Such a question was
/// never asked again: its client was told UNKNOWN after seconds, by nodes that were all well.
#[test]
fn what_a_home_has_not_heard_is_asked_again() {
    let mut cluster = Cluster::new(3);
    let name = name_at_home(&cluster, 1);
    cluster.stopped.insert(NodeId(1));
    let waiter = cluster.ask(2, name, Command::Acquire(acquire("x", 60_000)));
    cluster.stopped.clear();
    cluster.pass(99);
    assert_eq!(cluster.answer(waiter), None);
    cluster.pass(2);
    let held = token(&cluster.answer(waiter).expect("it is asked again"));
    cluster.stopped.insert(NodeId(1));
    let waiter = cluster.ask(2, name, waits("y", 5_000));
    cluster.stopped.clear();
    cluster.pass(5_000);
    assert_eq!(cluster.answer(waiter), Some(Outcome::Refused), "it waits no longer for being asked twice");
    cluster.stopped.insert(NodeId(1));
    let waiter = cluster.ask(3, name, waits("z", 60_000));
    cluster.stopped.clear();
    cluster.pass(1_000);
    cluster.events.clear();
    assert_eq!(cluster.release(2, name, "x", held), Outcome::Released);
    token(&cluster.answer(waiter).expect("it is its turn"));
    assert_eq!(cluster.count(Event::GivenBack), 0, "it stands in line once");
}

/// Its home drops a request that is cancelled and says nothing: asked again behind that, it would stand in line for nobody.
#[test]
fn what_nobody_waits_for_is_not_asked_again() {
    let mut cluster = Cluster::new(3);
    let name = name_at_home(&cluster, 1);
    let held = token(&cluster.acquire(2, name, "x"));
    let number = cluster.begin_request(2, name, waits("gone", 60_000));
    cluster.cancel(2, number);
    cluster.pass(500);
    let next = cluster.ask(3, name, waits("next", 60_000));
    assert_eq!(cluster.release(2, name, "x", held), Outcome::Released);
    token(&cluster.answer(next).expect("it is its turn"));
    assert_eq!(cluster.count(Event::GivenBack), 0);
}

fn answers(parcel: &Parcel) -> bool {
    matches!(parcel.message, Message::Answer { .. })
}

/// Until an answer is on its way.
fn until_answered(cluster: &mut Cluster) {
    while !cluster.flying.iter().any(answers) {
        cluster.deliver_next().expect("it is granted");
    }
}

#[test]
fn a_grant_that_was_never_told_comes_back_when_its_client_is_gone() {
    let mut cluster = Cluster::new(3);
    let name = name_at_home(&cluster, 1);
    let number = cluster.begin_request(2, name, Command::Acquire(acquire("gone", 60_000)));
    until_answered(&mut cluster);
    cluster.flying.retain(|parcel| !answers(parcel));
    cluster.cancel(2, number);
    cluster.run();
    assert_eq!(cluster.acquire(3, name, "next"), Outcome::Refused, "its home has told, and knows nothing more of it");
    cluster.pass(150);
    token(&cluster.acquire(3, name, "next"));
    assert_eq!(cluster.count(Event::GivenBack), 1);
}

/// What it asks again for it holds already: nothing of that is given back when one of its connections goes.
#[test]
fn what_is_held_stays_when_a_connection_that_asked_for_it_again_is_gone() {
    for on_its_way in [false, true] {
        let mut cluster = Cluster::new(3);
        let name = name_at_home(&cluster, 1);
        let held = token(&cluster.call(3, name, Command::Acquire(acquire("x", 60_000))));
        let number =
            cluster.begin_request(2, name, Command::Acquire(Acquire { token: Some(held), ..acquire("x", 60_000) }));
        if on_its_way {
            until_answered(&mut cluster);
        }
        cluster.cancel(2, number);
        cluster.run();
        cluster.pass(500);
        assert_eq!(cluster.acquire(2, name, "y"), Outcome::Refused);
        assert_eq!(cluster.call(3, name, renew("x", held)), Outcome::Renewed { remaining_ms: 1000 });
    }
}

#[test]
fn what_is_held_stays_when_a_connection_that_raised_its_fence_is_gone() {
    let mut cluster = Cluster::new(3);
    // At its home, where the answer may come when the request is forgotten already.
    let name = name_at_home(&cluster, 1);
    let held = token(&cluster.call(3, name, Command::Acquire(acquire("x", 60_000))));
    let number = cluster.begin_request(1, name, Command::Raise { owner: owner("x"), token: held, above: 99 });
    cluster.cancel(1, number);
    cluster.run();
    cluster.pass(500);
    assert_eq!(cluster.acquire(2, name, "y"), Outcome::Refused);
    assert_eq!(cluster.call(3, name, renew("x", held)), Outcome::Renewed { remaining_ms: 1000 });
}

/// A copy of an older request may come late; so none cuts short what a later one was told.
#[test]
fn a_renewal_for_less_time_takes_nothing_from_what_was_told() {
    let mut cluster = Cluster::new(3);
    let held = token(&cluster.call(1, "a", Command::Acquire(acquire("x", 30_000))));
    let again = Command::Acquire(Acquire { token: Some(held), ..acquire("x", 1_000) });
    for shorter in [renew("x", held), again] {
        let told = cluster.call(2, "a", shorter);
        let tells = |left| matches!(told, Outcome::Renewed { remaining_ms } | Outcome::Granted { remaining_ms, .. } if remaining_ms == left);
        assert!(tells(1_000), "who asked counts what it asked for: {told:?}");
        cluster.pass(14_000);
        assert_eq!(cluster.acquire(3, "a", "y"), Outcome::Refused);
    }
    cluster.pass(18_000);
    token(&cluster.acquire(3, "a", "y"));
}

#[test]
fn a_lost_link_costs_nothing() {
    let mut cluster = Cluster::new(3);
    let name = name_at_home(&cluster, 1);
    cluster.stopped.insert(NodeId(1));
    let waiter = cluster.ask(2, name, Command::Acquire(acquire("x", 1000)));
    for node in [2, 3] {
        cluster.input(NodeId(node), |plane, now, out| plane.on_peer_lost(now, NodeId(1), out));
    }
    cluster.run();
    token(&cluster.answer(waiter).expect("the next home is asked at once"));
    token(&cluster.acquire(3, name_at_home(&cluster, 3), "x"));
}

#[test]
fn what_nobody_waits_for_is_given_back() {
    let mut cluster = Cluster::new(3);
    let name = name_at_home(&cluster, 1);
    for asker in [1, 2] {
        // It is on its way when its client goes.
        let number = cluster.begin_request(asker, name, Command::Acquire(acquire("gone", 60_000)));
        cluster.cancel(asker, number);
        cluster.run();
        let held = token(&cluster.acquire(3, name, "next"));
        assert_eq!(cluster.release(3, name, "next", held), Outcome::Released);
    }
    assert_eq!(cluster.replies, []);
}

#[test]
fn a_waiter_that_is_gone_is_passed_over() {
    let mut cluster = Cluster::new(3);
    let held = token(&cluster.acquire(1, "a", "x"));
    let number = cluster.begin_request(2, "a", waits("gone", 9000));
    cluster.run();
    let next = cluster.ask(3, "a", waits("next", 9000));
    cluster.cancel(2, number);
    cluster.run();
    assert_eq!(cluster.release(1, "a", "x", held), Outcome::Released);
    token(&cluster.answer(next).expect("it is its turn"));
}

#[test]
fn a_lease_that_was_waited_for_lasts_from_its_grant() {
    let mut cluster = Cluster::new(3);
    let held = token(&cluster.acquire(1, "a", "x"));
    let waiter = cluster.ask(2, "a", waits("y", 9000));
    for _ in 0..4 {
        cluster.pass(700);
        cluster.call(1, "a", renew("x", held));
    }
    cluster.release(1, "a", "x", held);
    let second = token(&cluster.answer(waiter).expect("it is its turn"));
    cluster.pass(990);
    assert_eq!(cluster.acquire(3, "a", "z"), Outcome::Refused);
    assert_eq!(cluster.call(2, "a", renew("y", second)), Outcome::Renewed { remaining_ms: 1000 });
}

#[test]
fn arguments_out_of_their_bounds_are_refused() {
    let mut cluster = Cluster::new(1);
    let long = |len: usize| Bytes::from(vec![b'x'; len]);
    let with = |change: fn(&mut Acquire)| {
        let mut asked = acquire("x", 1000);
        change(&mut asked);
        Command::Acquire(asked)
    };
    let cases = [
        (with(|asked| asked.owner = Bytes::new()), Invalid::OwnerEmpty),
        (with(|asked| asked.owner = Bytes::from(vec![0; 257])), Invalid::OwnerTooLong),
        (with(|asked| asked.id = Bytes::from(vec![0; 65])), Invalid::IdTooLong),
        (with(|asked| asked.ttl_ms = 0), Invalid::TtlOutOfRange),
        (with(|asked| asked.ttl_ms = u64::MAX), Invalid::TtlOutOfRange),
        (with(|asked| asked.wait_ms = u64::MAX), Invalid::WaitTooLong),
        (with(|asked| asked.claim = Claim::Permits { count: 0, of: 3 }), Invalid::PermitsOutOfRange),
        (with(|asked| asked.claim = Claim::Permits { count: 4, of: 3 }), Invalid::PermitsOutOfRange),
        (Command::Renew { owner: owner("x"), token: 1, ttl_ms: 0 }, Invalid::TtlOutOfRange),
        (Command::Release { owner: long(300), token: 1 }, Invalid::OwnerTooLong),
    ];
    for (command, invalid) in cases {
        assert_eq!(cluster.call(1, "a", command), Outcome::Invalid(invalid), "{invalid}");
    }
    assert_eq!(cluster.call(1, "", Command::Info), Outcome::Invalid(Invalid::NameEmpty));
    assert_eq!(Command::Info.check(&long(513)), Err(Invalid::NameTooLong));
}

#[test]
fn forged_messages_are_refused() {
    let mut cluster = Cluster::new(3);
    let held = token(&cluster.acquire(1, "a", "x"));
    let judge = |cluster: &Cluster, message| {
        let parcel = Parcel { from: NodeId(2), to: NodeId(3), epoch: Epoch(1), message };
        cluster.nodes[&NodeId(3)].plane.judge(&parcel)
    };
    let name = owner("a");
    let own = Ballot { epoch: Epoch(1), counter: 9, node: NodeId(2), incarnation: 1 };
    let prepare = |ballot| Message::Prepare { name: owner("a"), ballot };
    assert_eq!(judge(&cluster, prepare(own)), Ok(()));
    let foreign = Ballot { node: NodeId(1), ..own };
    assert_eq!(judge(&cluster, prepare(foreign)), Err(PeerMisbehaved::ForeignBallot));
    let huge = Ballot { counter: (1 << 47) + 1, ..own };
    assert_eq!(judge(&cluster, prepare(huge)), Err(PeerMisbehaved::BallotLeaps(huge)));
    let refused = Message::Refused { name: name.clone(), ballot: own, promised: huge };
    assert_eq!(judge(&cluster, refused), Err(PeerMisbehaved::BallotLeaps(huge)));
    let idle = |accepted| {
        let cells = vec![Idle { name: owner("b"), accepted, lock: Arc::new(Lock::fresh(9)) }];
        Message::Idle { serial: 1, chosen: false, cells }
    };
    assert_eq!(judge(&cluster, idle(foreign)), Ok(()), "whoever proposed it");
    let of_later = Ballot { epoch: Epoch(2), ..own };
    let stands = |promised| Message::Stands { serial: 1, promised, stands: Vec::new() };
    let forget = |promised| Message::Forget { promised, cells: Vec::new() };
    for forged in [huge, of_later] {
        for message in [idle(forged), stands(forged), forget(forged)] {
            assert_eq!(judge(&cluster, message), Err(PeerMisbehaved::BallotLeaps(forged)));
        }
    }
    assert_eq!((judge(&cluster, stands(own)), judge(&cluster, forget(own))), (Ok(()), Ok(())));
    // What is accepted is promised further: no number may come near the last that can be written.
    let part = |accepted| {
        let cells = vec![Scanned { name: owner("b"), accepted, lock: Arc::new(Lock::fresh(9)), idle: false }];
        Message::Part { of: Epoch(1), after: None, cells, floors: Vec::new(), last: true }
    };
    let of_former = Ballot { epoch: Epoch(0), ..huge };
    for message in [part(Ballot { counter: COUNTER_MAX, ..of_later }), stands(of_former), forget(of_former)] {
        assert!(matches!(judge(&cluster, message), Err(PeerMisbehaved::BallotLeaps(_))));
    }
    assert_eq!(judge(&cluster, part(of_later)), Ok(()));
    assert_eq!(judge(&cluster, Message::Rescanned { epoch: Epoch(1) }), Err(PeerMisbehaved::NotForOthers));
    let asker = Asker { node: NodeId(2), incarnation: 1, number: 1 };
    let ask = |asker, token| Message::Ask {
        asker,
        name: owner("a"),
        command: Command::Renew { owner: owner("x"), token, ttl_ms: 0 },
    };
    assert_eq!(judge(&cluster, ask(asker, held)), Err(PeerMisbehaved::BadRequest));
    // A second value under the ballot by which something was accepted.
    let accept =
        |version| Message::Accept { name: owner("a"), ballot: own, lock: Arc::new(Lock { version, ..Lock::fresh(9) }) };
    let parcel = Parcel { from: NodeId(2), to: NodeId(3), epoch: Epoch(1), message: accept(10) };
    cluster.input(NodeId(3), |plane, now, out| plane.on_message(now, parcel, out));
    assert_eq!(judge(&cluster, accept(10)), Ok(()));
    assert_eq!(judge(&cluster, accept(11)), Err(PeerMisbehaved::TwoValues(own)));
}

#[test]
fn a_fence_is_raised_for_its_holder_alone_and_never_goes_back() {
    let mut cluster = Cluster::new(3);
    let raise = |name: &'static str, token, above| Command::Raise { owner: owner(name), token, above };
    let held = token(&cluster.acquire(1, "a", "x"));
    assert_eq!(cluster.call(2, "a", raise("y", held, 700)), Outcome::Lost);
    assert_eq!(cluster.call(2, "a", raise("x", held + 1, 700)), Outcome::Lost);
    let mut last = held;
    for (above, fence) in [(held, held + 1), (held, held + 1), (9, held + 1), (u64::MAX >> 2, (1 << 47) + 1)] {
        let raised = cluster.call(3, "a", raise("x", held, above));
        assert_eq!(raised, Outcome::Granted { token: held, fence, remaining_ms: 1000 });
        assert!(fence >= last, "it never goes back");
        last = fence;
    }
    assert_eq!(cluster.release(1, "a", "x", held), Outcome::Released, "its token stays");
    let Outcome::Granted { token, fence, .. } = cluster.acquire(2, "a", "y") else { panic!("it is free") };
    assert!(fence > (1 << 47) + 1 && token >= fence);
    assert_eq!(cluster.call(2, "a", raise("x", held, 1)), Outcome::Lost);
}

fn holder() -> Holder {
    let (owner, ids) = (owner("x"), vec![owner("id")]);
    Holder { owner, token: 5, renewal: 0, ttl_ms: 50, weight: 1, since: Ballot::ZERO, ids }
}

fn push(line: &mut Line, command: Command, place: Place) {
    let asker = Asker { node: NodeId(1), incarnation: 1, number: line.next() };
    line.push(Op { place, ..Op::new(asker, command, (Instant(1), Instant(9))) });
}

/// Its wait is over, and a grant was proposed for it ahead, by a round of which nothing came; whether the lock is held was never found.
#[test]
fn who_leaves_the_line_is_refused_only_if_the_lock_is_held() {
    let mut line = Line::default();
    push(&mut line, Command::Acquire(acquire("y", 50)), Place::Leaving);
    let held = |holders| Lock { holders, ..Lock::fresh(5) };
    let plan = |lock: &Lock| {
        let basis = Basis { lock, expired: &[], remaining: &[], before: u64::MAX, now: Instant(1) };
        line.plan(basis, &mut Tokens::new(0)).done.remove(0).1
    };
    assert_eq!(plan(&held(Vec::new())), Outcome::Granted { token: 6, fence: 6, remaining_ms: 0 });
    assert_eq!(plan(&held(vec![holder()])), Outcome::Refused);
}

/// Else who is next would come with a fence below the one that its predecessor wrote under.
#[test]
fn a_fence_is_raised_above_those_of_grants_that_were_made_ahead() {
    let ahead = Holder { owner: owner("y"), token: 6, ..holder() };
    let lock = Lock { holders: vec![holder()], line: vec![ahead], ..Lock::fresh(6) };
    let mut line = Line::default();
    push(&mut line, Command::Acquire(Acquire { id: owner("id"), ..acquire("y", 50) }), Place::InLine);
    push(&mut line, Command::Raise { owner: owner("x"), token: 5, above: 40 }, Place::New);
    let basis = Basis { lock: &lock, expired: &[], remaining: &[], before: u64::MAX, now: Instant(0) };
    let plan = line.plan(basis, &mut Tokens::new(0));
    assert_eq!(plan.done, [(2, Outcome::Granted { token: 5, fence: 41, remaining_ms: 50 })]);
    let [next] = &plan.lock.line[..] else { panic!("it waits still") };
    assert_eq!((next.token, plan.ahead), (42, vec![(1, 42)]));
    assert_eq!(Lock::fence_behind(plan.lock.fence, next), 42);
}

/// Its release was handed on, so the next in line was told; then it was given up before any round had it.
#[test]
fn who_gave_back_what_another_was_told_of_keeps_nothing_by_asking_again() {
    let ahead = Holder { owner: owner("y"), token: 6, ..holder() };
    let lock = Lock { holders: vec![holder()], line: vec![ahead], ..Lock::fresh(6) };
    let again = Command::Acquire(Acquire { id: owner("id"), ..acquire("x", 50) });
    let enters = Command::Acquire(Acquire { token: Some(5), ..acquire("x", 50) });
    for keeps in [again, enters, renew("x", 5)] {
        for place in [Place::Told, Place::InLine] {
            let mut line = Line::default();
            push(&mut line, Command::Acquire(Acquire { id: owner("id"), ..acquire("y", 50) }), place);
            line.note_ahead(&[(1, 6)]);
            push(&mut line, keeps.clone(), Place::New);
            let basis = Basis { lock: &lock, expired: &[], remaining: &[], before: u64::MAX, now: Instant(1) };
            let plan = line.plan(basis, &mut Tokens::new(0));
            let done = plan.done;
            let holds = plan.lock.holders.iter().any(|one| one.token == 5);
            assert_eq!(holds, place != Place::Told, "who is told that it is lost need not wait for it: {keeps:?}");
            let lost = done.last().is_some_and(|(number, outcome)| (*number, outcome) == (2, &Outcome::Lost));
            assert_eq!(lost, place == Place::Told, "{keeps:?} {done:?}");
        }
    }
}

#[test]
fn who_renews_in_a_round_is_not_stolen_from_in_it() {
    let lock = Lock { holders: vec![holder()], ..Lock::fresh(5) };
    let again = Command::Acquire(Acquire { id: owner("id"), ..acquire("x", 50) });
    for keeps in [again, renew("x", 5)] {
        let mut line = Line::default();
        for command in [keeps, Command::Acquire(acquire("y", 50))] {
            push(&mut line, command, Place::New);
        }
        let basis = Basis { lock: &lock, expired: &[5], remaining: &[], before: u64::MAX, now: Instant(1) };
        let plan = line.plan(basis, &mut Tokens::new(0));
        assert_eq!(plan.done[1].1, Outcome::Refused);
        assert_eq!((plan.lock.holders[0].token, plan.stolen), (5, 0));
    }
}

#[test]
fn tokens_rise_by_blocks_and_above_all_of_a_former_generation() {
    let mut tokens = Tokens::new(0);
    assert!(tokens.wants_block());
    tokens.add(100, 3);
    assert_eq!([tokens.next(0), tokens.next(7), tokens.next(500), tokens.next(0)], [100, 101, 501, 1]);
    let mut restored = Tokens::new(2);
    assert_eq!(restored.next(77), (2 << 48) + 1);
    restored.add(100, 3);
    assert_eq!(
        [restored.next(77), restored.next(0), restored.next(restored.floor() + 500)],
        [(2 << 48) + 100, (2 << 48) + 101, (2 << 48) + 501]
    );
    assert!(super::super::floor(u16::MAX) < super::super::value::TOKEN_MAX / 2);
}
