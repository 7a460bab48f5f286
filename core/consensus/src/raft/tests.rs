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
