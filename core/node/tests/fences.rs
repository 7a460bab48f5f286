//! Fences on three nodes: which reads cost an entry, who is refused whoever leads, and what nobody can have been given.

mod support;

use base::{ClientId, NodeId, ShardId};
use data::Reply;
use support::{Cluster, MEMBERS, ready};

const SHARD: ShardId = ShardId(0);

fn begun() -> (Cluster, NodeId, NodeId) {
    let cluster = ready(1);
    let leader = cluster.leader(SHARD);
    let other = MEMBERS.into_iter().find(|id| *id != leader).expect("there are three");
    (cluster, leader, other)
}

fn ask(cluster: &mut Cluster, node: NodeId, words: &str) -> Reply {
    cluster.ask(node, &words.split(' ').collect::<Vec<_>>())
}

fn is_fenced(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(why) if why.to_string().starts_with("FENCED "))
}

fn commit(cluster: &Cluster, node: NodeId) -> u64 {
    cluster.nodes[&node].lane.statuses().next().expect("a shard").1.commit.0
}

#[test]
fn a_read_costs_an_entry_under_a_new_fence_alone() {
    let (mut cluster, leader, other) = begun();
    ask(&mut cluster, leader, "SET k v");
    for node in [leader, other] {
        let fence = if node == leader { 5 } else { 6 };
        let before = commit(&cluster, leader);
        assert_eq!(ask(&mut cluster, node, &format!("FENCE a {fence} GET k")), Reply::bulk(b"v"));
        assert_eq!(commit(&cluster, leader), before + 1, "it raises the floor");
        for _ in 0..3 {
            assert_eq!(ask(&mut cluster, node, &format!("FENCE a {fence} GET k")), Reply::bulk(b"v"));
            assert!(is_fenced(&ask(&mut cluster, node, &format!("FENCE a {} GET k", fence - 1))));
        }
        assert_eq!(commit(&cluster, leader), before + 1, "what was seen is as good as a plain read");
    }
}

#[test]
fn a_floor_outlives_its_leader() {
    let (mut cluster, leader, other) = begun();
    assert_eq!(ask(&mut cluster, leader, "FENCE a 5 GET k"), Reply::Nil);
    cluster.kill(leader);
    for _ in 0..40 {
        cluster.pass_ms(100);
    }
    assert!(is_fenced(&ask(&mut cluster, other, "FENCE a 4 SET k late")));
    assert_eq!(ask(&mut cluster, other, "FENCE a 5 SET k 5"), Reply::Ok);
    cluster.nodes.get_mut(&leader).expect("it exists").up = true;
    cluster.link_all();
    cluster.pass_ms(1000);
    assert!(is_fenced(&ask(&mut cluster, leader, "FENCE a 4 GET k")), "who led once has to ask");
}

#[test]
fn what_nobody_was_given_is_not_logged() {
    let (mut cluster, leader, other) = begun();
    for node in cluster.nodes.values_mut() {
        node.lane.bound_fences(10);
    }
    let before = commit(&cluster, leader);
    for words in
        ["FENCE a 11 SET k v", "FENCE a 11 GET k", "FENCE b 1 FENCE a 99 BLPOP q 0", "ONCE c:1 FENCE a 11 SET k v"]
    {
        for node in [leader, other] {
            let reply = ask(&mut cluster, node, words);
            let refused = matches!(&reply, Reply::Error(why) if why.to_string().starts_with("ERR the fence "));
            assert!(refused, "{words}: {reply:?}");
        }
    }
    assert_eq!(commit(&cluster, leader), before);
    assert_eq!(ask(&mut cluster, other, "FENCE a 10 SET k v"), Reply::Ok);
}

/// What `$` meant when a call began to wait is known to whoever asks for it again, behind its fence too.
#[test]
fn a_read_that_waits_under_a_fence_goes_on_under_the_next_leader() {
    let (mut cluster, leader, other) = begun();
    ask(&mut cluster, other, "XADD s 1-1 f old");
    let words: Vec<&str> = "FENCE a 5 XREAD BLOCK 0 STREAMS s $".split(' ').collect();
    let waits = cluster.send_as(ClientId(9), other, &words);
    cluster.settle();
    assert!(!cluster.replies.contains_key(&waits));
    cluster.kill(leader);
    for _ in 0..40 {
        cluster.pass_ms(100);
    }
    assert!(!cluster.replies.contains_key(&waits), "it stands in line again");
    ask(&mut cluster, other, "XADD s 2-1 f new");
    let served = cluster.reply(waits);
    assert!(!matches!(served, Reply::Error(_) | Reply::Nil | Reply::NilArray), "{served:?}");
    let again = cluster.send_as(ClientId(9), other, &words);
    cluster.settle();
    assert_eq!(cluster.replies.get(&again), None, "{served:?}");
    assert_eq!(ask(&mut cluster, other, "FENCE a 6 GET k"), Reply::Nil);
    ask(&mut cluster, other, "XADD s 3-1 f late");
    let told = cluster.reply(again);
    assert!(is_fenced(&told), "{told:?}");
}
