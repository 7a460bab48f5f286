//! Calls that wait, on three nodes: served in the order in which they came, by any node, and by nobody twice, whoever leads.

mod support;

use base::{ClientId, NodeId, ShardId};
use data::Reply;
use data::waits::How;
use node::{Ending, PeerMessage};
use support::{Cluster, MEMBERS, ready};

const SHARD: ShardId = ShardId(0);

/// A cluster of one shard, who leads it, and the others.
fn begun() -> (Cluster, NodeId, [NodeId; 2]) {
    let cluster = ready(1);
    let leader = cluster.leader(SHARD);
    let mut others = MEMBERS.into_iter().filter(|id| *id != leader);
    let others = [others.next().expect("there are three"), others.next().expect("there are three")];
    (cluster, leader, others)
}

/// A client's call that must not be answered yet.
fn waits(cluster: &mut Cluster, client: u64, node: NodeId, words: &[&str]) -> (NodeId, u64) {
    let sent = cluster.send_as(ClientId(client), node, words);
    cluster.settle();
    assert!(!cluster.replies.contains_key(&sent), "{words:?} waits");
    sent
}

fn got(key: &str, member: &str) -> Reply {
    Reply::Array(vec![Reply::bulk(key.as_bytes()), Reply::bulk(member.as_bytes())])
}

fn let_go(cluster: &mut Cluster, (node, seq): (NodeId, u64), client: u64, ending: Ending) {
    let now = cluster.now;
    let node = cluster.nodes.get_mut(&node).expect("it exists");
    node.lane.let_go(now, ClientId(client), seq, ending, &mut node.out);
    cluster.settle();
}

fn waiting(cluster: &Cluster, node: NodeId) -> usize {
    let keyspaces = cluster.nodes[&node].lane.keyspaces();
    keyspaces.map(|(_, keyspace)| keyspace.waits().len()).sum()
}

#[test]
fn who_waits_is_served_in_order_wherever_he_asks() {
    let (mut cluster, leader, others) = begun();
    let first = waits(&mut cluster, 6, others[0], &["BLPOP", "k", "0"]);
    let second = waits(&mut cluster, 7, leader, &["BLPOP", "j", "k", "0"]);
    let third = waits(&mut cluster, 8, others[1], &["BRPOP", "k", "0"]);
    assert_eq!(cluster.ask(others[1], &["RPUSH", "k", "1", "2", "3", "4"]), Reply::Int(4));
    assert_eq!(cluster.reply(first), got("k", "1"));
    assert_eq!(cluster.reply(second), got("k", "2"));
    assert_eq!(cluster.reply(third), got("k", "4"));
    assert_eq!(cluster.ask(leader, &["LLEN", "k"]), Reply::Int(1));
    assert_eq!(cluster.ask(others[0], &["BLPOP", "k", "0"]), got("k", "3"), "what is there is there at once");
    assert!(MEMBERS.into_iter().all(|id| waiting(&cluster, id) == 0));
}

#[test]
fn time_is_over_to_the_millisecond_and_costs_no_entry() {
    let (mut cluster, leader, others) = begun();
    for (client, node) in [(6, leader), (7, others[0])] {
        let commit = |cluster: &Cluster| cluster.nodes[&leader].lane.statuses().next().expect("a shard").1.commit;
        let sent = waits(&mut cluster, client, node, &["BLPOP", "k", "0.1"]);
        let before = commit(&cluster);
        cluster.pass_ms(95);
        assert!(!cluster.replies.contains_key(&sent));
        cluster.pass_ms(10);
        assert_eq!(cluster.reply(sent), Reply::NilArray);
        assert_eq!(commit(&cluster), before);
        assert_eq!(cluster.ask(node, &["RPUSH", "k", "1"]), Reply::Int(1));
        assert_eq!(cluster.ask(node, &["LPOP", "k"]), Reply::bulk(b"1"), "nobody waits any more");
    }
}

#[test]
fn patience_with_leaders_is_not_patience_with_members() {
    let (mut cluster, _, others) = begun();
    let long = waits(&mut cluster, 6, others[0], &["BLPOP", "k", "0"]);
    cluster.pass_ms(30_000);
    assert_eq!(cluster.ask(others[1], &["LPUSH", "k", "1"]), Reply::Int(1));
    assert_eq!(cluster.reply(long), got("k", "1"));
}

#[test]
fn who_waits_outlives_the_leader_and_keeps_his_place() {
    let (mut cluster, leader, others) = begun();
    let first = waits(&mut cluster, 6, others[1], &["BLPOP", "k", "0"]);
    cluster.pass_ms(50);
    let second = waits(&mut cluster, 7, others[0], &["BLPOP", "k", "0"]);
    let timed = waits(&mut cluster, 8, others[0], &["BLPOP", "k", "3"]);
    waits(&mut cluster, 9, leader, &["BLPOP", "k", "0"]);
    cluster.kill(leader);
    cluster.pass_ms(1_000);
    for id in others {
        assert_eq!(waiting(&cluster, id), 3, "those of the node that is gone are gone with it");
    }
    assert_eq!(cluster.ask(others[0], &["RPUSH", "k", "1"]), Reply::Int(1));
    assert_eq!(cluster.reply(first), got("k", "1"), "he came first");
    cluster.pass_ms(1_900);
    assert!(!cluster.replies.contains_key(&timed), "his time began when he came");
    cluster.pass_ms(100);
    assert_eq!(cluster.reply(timed), Reply::NilArray);
    assert_eq!(cluster.ask(others[1], &["RPUSH", "k", "2"]), Reply::Int(1));
    assert_eq!(cluster.reply(second), got("k", "2"));
}

/// The answer is lost with the leader that gave it: the next one gives the same, and takes nothing again.
#[test]
fn an_answer_that_was_lost_is_given_again() {
    let (mut cluster, leader, others) = begun();
    let sent = waits(&mut cluster, 6, others[0], &["BLPOP", "k", "0"]);
    let pushed = cluster.send(leader, &["RPUSH", "k", "1", "2"]);
    // The leader has served him, and the others know; its answer is on its way.
    for _ in 0..20 {
        for id in MEMBERS {
            cluster.turn(id);
        }
        let (to_leader, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut cluster.links).into_iter().partition(|((from, _), _)| *from != leader);
        cluster.links = rest.into_iter().collect();
        cluster.deliver(to_leader);
        let answers = |message: &PeerMessage| matches!(message, PeerMessage::Answer { .. });
        let (mut kept, mut sent) = (Vec::new(), Vec::new());
        for (way, messages) in std::mem::take(&mut cluster.links) {
            let (lost, delivered): (Vec<_>, Vec<_>) = messages.into_iter().partition(answers);
            kept.extend(lost);
            sent.push((way, delivered.into()));
        }
        cluster.deliver(sent);
        if !kept.is_empty() {
            break;
        }
    }
    assert_eq!(cluster.reply(pushed), Reply::Int(2));
    assert!(!cluster.replies.contains_key(&sent), "it was lost");
    cluster.kill(leader);
    cluster.pass_ms(1_000);
    assert_eq!(cluster.reply(sent), got("k", "1"));
    assert_eq!(cluster.ask(others[1], &["LRANGE", "k", "0", "-1"]), Reply::Array(vec![Reply::bulk(b"2")]));
}

/// The link breaks while the leader goes on: what was asked is asked again when there is a link.
#[test]
fn a_broken_link_takes_nothing() {
    let (mut cluster, leader, others) = begun();
    let sent = waits(&mut cluster, 6, others[0], &["BLPOP", "k", "0"]);
    let now = cluster.now;
    for (at, peer) in [(leader, others[0]), (others[0], leader)] {
        let node = cluster.nodes.get_mut(&at).expect("it exists");
        node.lane.on_peer_lost(now, peer, &mut node.out);
    }
    cluster.settle();
    assert_eq!(waiting(&cluster, leader), 0, "nobody is served whom the leader can't tell");
    assert_eq!(cluster.ask(leader, &["RPUSH", "k", "1"]), Reply::Int(1));
    assert!(!cluster.replies.contains_key(&sent));
    cluster.link_all();
    cluster.settle();
    assert_eq!(cluster.reply(sent), got("k", "1"));
}

#[test]
fn a_client_that_goes_is_served_nothing() {
    let (mut cluster, leader, others) = begun();
    for node in [leader, others[0]] {
        let gone = waits(&mut cluster, 6, node, &["BLPOP", "k", "0"]);
        let stays = waits(&mut cluster, 7, node, &["BLPOP", "k", "0"]);
        let_go(&mut cluster, gone, 6, Ending::Gone);
        assert_eq!(cluster.ask(others[1], &["RPUSH", "k", "1"]), Reply::Int(1));
        assert_eq!(cluster.reply(stays), got("k", "1"));
        assert!(!cluster.replies.contains_key(&gone));
        // It goes before its call has been applied.
        let gone = cluster.send_as(ClientId(6), node, &["BLPOP", "k", "0"]);
        let now = cluster.now;
        let lane = cluster.nodes.get_mut(&node).expect("it exists");
        lane.lane.let_go(now, ClientId(6), gone.1, Ending::Gone, &mut lane.out);
        cluster.pass_ms(100);
        assert!(MEMBERS.into_iter().all(|id| waiting(&cluster, id) == 0));
    }
}

#[test]
fn a_client_is_let_go_with_nil_or_an_error() {
    let (mut cluster, leader, others) = begun();
    for node in [leader, others[0]] {
        let nil = waits(&mut cluster, 6, node, &["BLPOP", "k", "0"]);
        let_go(&mut cluster, nil, 6, Ending::Told(How::Nil));
        assert_eq!(cluster.reply(nil), Reply::NilArray);
        let error = waits(&mut cluster, 6, node, &["BLPOP", "k", "0"]);
        let_go(&mut cluster, error, 6, Ending::Told(How::Error));
        assert_eq!(cluster.reply(error), How::Error.reply());
        assert_eq!(waiting(&cluster, leader), 0);
    }
}

#[test]
fn handing_over_keeps_who_waits() {
    let (mut cluster, leader, others) = begun();
    let theirs = waits(&mut cluster, 6, others[0], &["BLPOP", "k", "0"]);
    let ours = waits(&mut cluster, 7, leader, &["BLPOP", "k", "0"]);
    let now = cluster.now;
    let node = cluster.nodes.get_mut(&leader).expect("it exists");
    node.lane.leave(now, &mut node.out);
    let late = cluster.send_as(ClientId(8), leader, &["BLPOP", "k", "0"]);
    cluster.settle();
    assert_ne!(cluster.leader(SHARD), leader);
    assert_eq!(cluster.ask(others[1], &["RPUSH", "k", "1", "2", "3"]), Reply::Int(3));
    assert_eq!([theirs, ours, late].map(|sent| cluster.reply(sent)), [got("k", "1"), got("k", "2"), got("k", "3")]);
}

#[test]
fn without_a_leader_a_call_waits_its_time_and_then_is_told() {
    let (mut cluster, leader, others) = begun();
    cluster.kill(leader);
    cluster.kill(others[1]);
    cluster.pass_ms(1_000);
    let sure = waits(&mut cluster, 6, others[0], &["BLPOP", "k", "1"]);
    let forever = waits(&mut cluster, 7, others[0], &["BLPOP", "k", "0"]);
    cluster.pass_ms(5_900);
    assert!(!cluster.replies.contains_key(&sure));
    cluster.pass_ms(300);
    let Reply::Error(refused) = cluster.reply(sure) else { panic!("nobody could look") };
    assert!(refused.to_string().starts_with("NOQUORUM "), "{refused}");
    cluster.pass_ms(20_000);
    assert!(!cluster.replies.contains_key(&forever));
    let_go(&mut cluster, forever, 7, Ending::Told(How::Nil));
    assert_eq!(cluster.reply(forever), Reply::NilArray);
}

#[test]
fn once_and_waiting_go_together() {
    let (mut cluster, leader, others) = begun();
    let sent = waits(&mut cluster, 6, others[0], &["ONCE", "c:1", "BLPOP", "k", "0"]);
    assert_eq!(cluster.ask(leader, &["RPUSH", "k", "1", "2"]), Reply::Int(2));
    assert_eq!(cluster.reply(sent), got("k", "1"));
    assert_eq!(cluster.ask(others[1], &["ONCE", "c:1", "BLPOP", "k", "0"]), got("k", "1"));
    assert_eq!(cluster.ask(others[1], &["LLEN", "k"]), Reply::Int(1));
}

/// A read that waits is in no log: it is asked again of the next leader, from where it began, and misses nothing.
#[test]
fn a_read_that_waits_outlives_the_leader_and_misses_nothing() {
    let (mut cluster, leader, others) = begun();
    cluster.ask(leader, &["XADD", "s", "1-1", "f", "v"]);
    let read = waits(&mut cluster, 6, others[0], &["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]);
    let timed = waits(&mut cluster, 7, others[0], &["XREAD", "BLOCK", "3000", "STREAMS", "t", "$"]);
    assert_eq!(waiting(&cluster, others[0]), 0, "the leader alone knows it");
    cluster.kill(leader);
    // Before the node asks again, if it can be.
    let added = cluster.send_as(ClientId(8), others[1], &["XADD", "s", "2-1", "f", "w"]);
    cluster.pass_ms(1_000);
    let Reply::Bulk(_) = cluster.reply(added) else { panic!("it has an ID") };
    let Reply::Pairs(found) = cluster.reply(read) else { panic!("it is served") };
    assert_eq!(found.len(), 1);
    let Reply::Array(entries) = &found[0].1 else { panic!("entries") };
    assert_eq!(entries.len(), 1, "what was there when it began is not news: {entries:?}");
    cluster.pass_ms(2_100);
    assert_eq!(cluster.reply(timed), Reply::NilArray);
}

#[test]
fn a_group_that_waits_is_served_once_whoever_leads() {
    let (mut cluster, leader, others) = begun();
    cluster.ask(leader, &["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"]);
    let call = |name: &'static str| ["XREADGROUP", "GROUP", "g", name, "BLOCK", "0", "STREAMS", "s", ">"];
    let first = waits(&mut cluster, 6, others[0], &call("one"));
    cluster.pass_ms(20);
    let second = waits(&mut cluster, 7, others[1], &call("two"));
    cluster.kill(leader);
    cluster.pass_ms(1_000);
    assert!(matches!(cluster.ask(others[1], &["XADD", "s", "1-1", "f", "v"]), Reply::Bulk(_)));
    assert!(matches!(cluster.reply(first), Reply::Pairs(_)), "who came first is served first");
    assert!(!cluster.replies.contains_key(&second));
    assert_eq!(cluster.ask(others[0], &["XGROUP", "DESTROY", "s", "g"]), Reply::Int(1));
    assert!(matches!(cluster.reply(second), Reply::Error(_)));
}
