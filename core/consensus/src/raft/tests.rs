//! A group step by step, where a script is too long: everything is durable at once, and the test is the network.

use super::*;
use crate::Effects;
use std::collections::VecDeque;

/// Carries out what a step asks for: writes become durable, what is to be sent comes back.
fn carry_out(group: &mut Group, now: Instant, mut out: Effects) -> Vec<Envelope> {
    let mut sent = Vec::new();
    loop {
        if group.leads() && group.is_empty() {
            group.propose(now, Bytes::new(), &mut out);
        }
        sent.append(&mut out.messages);
        let notices: Vec<Envelope> = out.writes.drain(..).flat_map(|write| write.then).collect();
        if notices.is_empty() {
            while group.next_committed().is_some() {}
            return sent;
        }
        for envelope in notices {
            if envelope.to != group.me {
                sent.push(envelope);
                continue;
            }
            group.on_message(now, envelope.to, envelope.message, &mut out);
        }
    }
}

fn step<R>(group: &mut Group, now: Instant, input: impl FnOnce(&mut Group, &mut Effects) -> R) -> (R, Vec<Envelope>) {
    let mut out = Effects::default();
    let result = input(group, &mut out);
    (result, carry_out(group, now, out))
}

/// The only voter of a group, as its leader.
fn alone() -> Group {
    let members = Membership::of_voters([NodeId(1)]);
    let mut group = Group::new(NodeId(1), ShardId(0), members, RecoveredShard::default(), Rng::new(1));
    step(&mut group, Instant(0), |group, out| group.start(Instant(0), out));
    assert!(group.has_settled());
    group
}

/// One of two voters, as the leader, and its fellow's answers are given by hand.
fn leader_of_two() -> Group {
    let (other, now) = (NodeId(2), Instant(0).plus_ms(1000));
    let members = Membership::of_voters([NodeId(1), other]);
    let mut group = Group::new(NodeId(1), ShardId(0), members, RecoveredShard::default(), Rng::new(1));
    step(&mut group, Instant(0), |group, out| group.start(Instant(0), out));
    step(&mut group, now, |group, out| group.on_timer(now, out));
    let term = Term(1);
    for answer in [
        Message::PreVoteReply { term, answer: Answer::Granted },
        Message::VoteReply { term, answer: Answer::Granted },
        Message::AppendReply { term, matched: Index(1) },
    ] {
        step(&mut group, now, |group, out| group.on_message(now, other, answer, out));
    }
    assert!(group.has_settled());
    group
}

#[test]
fn the_only_voter_reads_without_its_learners() {
    let now = Instant(0);
    let mut group = alone();
    let (added, _) = step(&mut group, now, |group, out| group.change(now, &[Change::AddLearner(NodeId(2))], out));
    assert!(added.is_ok());
    let (ticket, _) = step(&mut group, now, |group, out| group.begin_read(now, out));
    let ticket = ticket.expect("it leads");
    assert_eq!(group.is_confirmed(ticket), Some(true), "a learner that never answers is no part of a quorum");
}

#[test]
fn rounds_are_confirmed_however_many_are_on_their_way() {
    let now = Instant(0).plus_ms(1000);
    let mut group = leader_of_two();
    let rounds_on_their_way = 100;
    let (mut tickets, mut replies) = (VecDeque::new(), VecDeque::new());
    let mut confirmed = 0;
    for _ in 0..1000 {
        let (ticket, sent) = step(&mut group, now, |group, out| group.begin_read(now, out));
        tickets.push_back(ticket.expect("it leads"));
        replies.extend(sent.into_iter().filter_map(|envelope| match envelope.message {
            Message::Heartbeat { term, probe, .. } => Some(Message::HeartbeatReply { term, probe, matched: Index(1) }),
            _ => None,
        }));
        if replies.len() > rounds_on_their_way {
            let reply = replies.pop_front().expect("there are some");
            step(&mut group, now, |group, out| group.on_message(now, NodeId(2), reply, out));
            while tickets.pop_front_if(|ticket| group.is_confirmed(*ticket) == Some(true)).is_some() {
                confirmed += 1;
            }
        }
    }
    assert_eq!(confirmed, 1000 - rounds_on_their_way);
    assert!(group.may_read(now), "and they renew the lease");
}

/// Heartbeats of a leader at 1,000 ms and later, which a quorum has answered `age_ms` before each was sent.
#[test]
fn a_follower_knows_how_fresh_it_is_by_its_own_answers() {
    let (me, leader, term) = (NodeId(2), NodeId(1), Term(3));
    let members = Membership::of_voters([leader, me, NodeId(3)]);
    let mut group = Group::new(me, ShardId(0), members, RecoveredShard::default(), Rng::new(7));
    let hear = |group: &mut Group, ms: u64, probe: u64, fresh: Fresh| {
        let now = Instant(0).plus_ms(ms);
        let message = Message::Heartbeat { term, probe, commit: Index(0), fresh };
        step(group, now, |group, out| group.on_message(now, leader, message, out));
    };
    let reads = |group: &Group, ms: u64, bound_ms: u64| group.may_read_behind(Instant(0).plus_ms(ms), bound_ms);
    let fresh = |answered: u64| Fresh { answered, age_ms: 20, commit: Index(0) };
    hear(&mut group, 1000, 1, fresh(0));
    assert!(!reads(&group, 1000, 10_000), "one heartbeat proves nothing: it may have been on its way for long");
    hear(&mut group, 1050, 2, fresh(1));
    assert!(reads(&group, 1050, 100), "it was sent after the answer of 1000");
    assert!(reads(&group, 1979, 1000) && !reads(&group, 1980, 1000), "and proves what was 20 ms before that answer");
    // Stopped for ten seconds: what waited in the socket is heard late, and names answers of before.
    hear(&mut group, 11_050, 3, fresh(2));
    assert!(!reads(&group, 11_050, 1000));
    hear(&mut group, 11_051, 4, fresh(3));
    assert!(reads(&group, 11_051, 1000));
    hear(&mut group, 11_101, 5, Fresh { answered: 4, age_ms: 20, commit: Index(9) });
    assert!(!reads(&group, 11_101, 1000), "it lacks what was committed");
}
