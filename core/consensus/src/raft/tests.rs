//! A group step by step, where a script is too long: everything is durable at once, and the test is the network.

use super::*;
use crate::Effects;

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
