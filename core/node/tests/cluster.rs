//! Three nodes whose links and disks work at once or not at all: requests find their leader, and survive its loss.

mod support;

use base::roster::Card;
use base::{LaneId, NodeId, ShardId};
use data::keyspace::Listening;
use data::{Reply, command};
use node::{Changed, Queued, Transaction};
use support::{CLIENT, Cluster, MEMBERS, card, ready};

#[test]
fn any_node_serves_any_key() {
    let mut cluster = ready(8);
    for at in 0..60 {
        let (here, there) = (NodeId(1 + at % 3), NodeId(1 + (at + 1) % 3));
        let (key, value) = (format!("key:{at}"), format!("value:{at}"));
        assert_eq!(cluster.ask(here, &["SET", &key, &value]), Reply::Ok);
        assert_eq!(cluster.ask(there, &["GET", &key]), Reply::bulk(value.as_bytes()));
    }
    for id in [1, 2, 3].map(NodeId) {
        assert_eq!(
            cluster.ask(id, &["DBSIZE"]),
            Reply::Int(60),
            "a scattered command reaches the leaders of all shards"
        );
    }
}

#[test]
fn a_transaction_goes_to_the_leader_as_one() {
    let mut cluster = ready(1);
    let queued = |words: &[&str]| Queued {
        db: 0,
        command: command::find(words[0].as_bytes()).expect("it exists"),
        args: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
    };
    for id in [1, 2, 3].map(NodeId) {
        cluster.seq += 1;
        let commands = vec![queued(&["INCR", "n"]), queued(&["GET", "n"])];
        let transaction = Transaction {
            client: CLIENT,
            seq: cluster.seq,
            once: None,
            fences: Vec::new(),
            watched: Vec::new(),
            commands,
        };
        let (now, sent) = (cluster.now, (id, cluster.seq));
        let node = cluster.nodes.get_mut(&id).expect("it exists");
        node.lane.on_transaction(now, transaction, &mut node.out);
        cluster.settle();
        let n = i64::try_from(id.0).expect("small");
        assert_eq!(cluster.reply(sent), Reply::Array(vec![Reply::Int(n), Reply::bulk(n.to_string().as_bytes())]));
    }
}

#[test]
fn what_was_acknowledged_survives_its_leader() {
    let mut cluster = ready(1);
    for at in 0..20 {
        assert_eq!(cluster.ask(NodeId(1), &["SET", &format!("k{at}"), "v"]), Reply::Ok);
    }
    let old = cluster.leader(ShardId(0));
    cluster.kill(old);
    let others: Vec<NodeId> = [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != old).collect();
    // What is asked meanwhile waits for the next leader.
    let waiting = cluster.send(others[0], &["SET", "k0", "new"]);
    cluster.pass_ms(600);
    assert_eq!(cluster.reply(waiting), Reply::Ok);
    assert_ne!(cluster.leader(ShardId(0)), old);
    for id in others {
        assert_eq!(cluster.ask(id, &["GET", "k0"]), Reply::bulk(b"new"));
        assert_eq!(cluster.ask(id, &["GET", "k19"]), Reply::bulk(b"v"));
        assert_eq!(cluster.ask(id, &["DBSIZE"]), Reply::Int(20));
    }
}

#[test]
fn a_write_whose_leader_is_lost_is_in_doubt_and_a_read_is_asked_again() {
    let mut cluster = ready(1);
    let old = cluster.leader(ShardId(0));
    let other = [1, 2, 3].map(NodeId).into_iter().find(|id| *id != old).expect("there are three");
    assert_eq!(cluster.ask(other, &["SET", "k", "v"]), Reply::Ok);
    // Both are on their way to the leader when it dies.
    let write = cluster.send(other, &["SET", "k", "w"]);
    let read = cluster.send(other, &["GET", "k"]);
    cluster.turn(other);
    cluster.kill(old);
    let Reply::Error(refused) = cluster.reply(write) else { panic!("nobody knows what became of it") };
    assert!(refused.to_string().starts_with("INDOUBT "), "{refused}");
    cluster.pass_ms(600);
    assert_eq!(cluster.reply(read), Reply::bulk(b"v"));
}

#[test]
fn who_waits_for_a_leader_that_fell_silent_is_told_when_it_has_a_successor() {
    let mut cluster = ready(1);
    let old = cluster.leader(ShardId(0));
    let other = [1, 2, 3].map(NodeId).into_iter().find(|id| *id != old).expect("there are three");
    assert_eq!(cluster.ask(other, &["SET", "k", "v"]), Reply::Ok);
    let write = cluster.send(other, &["SET", "k", "w"]);
    let read = cluster.send(other, &["GET", "k"]);
    cluster.turn(other);
    // Cut off or stopped: no link breaks.
    cluster.nodes.get_mut(&old).expect("it exists").up = false;
    cluster.links.clear();
    cluster.pass_ms(900);
    let Reply::Error(refused) = cluster.reply(write) else { panic!("nobody knows what became of it") };
    assert!(refused.to_string().starts_with("INDOUBT "), "{refused}");
    assert_eq!(cluster.reply(read), Reply::bulk(b"v"));
}

#[test]
fn without_a_majority_nothing_is_acknowledged() {
    let mut cluster = ready(1);
    let old = cluster.leader(ShardId(0));
    let others: Vec<NodeId> = [1, 2, 3].map(NodeId).into_iter().filter(|id| *id != old).collect();
    cluster.kill(others[0]);
    cluster.kill(others[1]);
    let write = cluster.send(old, &["SET", "k", "v"]);
    cluster.pass_ms(400);
    let late = cluster.send(old, &["GET", "k"]);
    cluster.pass_ms(6000);
    for (sent, code) in [(write, "INDOUBT "), (late, "NOQUORUM ")] {
        let Reply::Error(refused) = cluster.reply(sent) else { panic!("nothing is served without a majority") };
        assert!(refused.to_string().starts_with(code), "{refused}");
    }
}

#[test]
fn the_nodes_say_where_they_listen() {
    let mut cluster = ready(2);
    cluster.pass_ms(3000);
    for id in MEMBERS {
        let Reply::Array(list) = cluster.ask(id, &["NODES.LIST"]) else { panic!("the roster is there") };
        assert_eq!(list[0], Reply::Int(1), "the epoch");
        for (node, reply) in MEMBERS.into_iter().zip(&list[1..]) {
            let Reply::Map(pairs) = reply else { panic!("{reply:?}") };
            assert_eq!(pairs[4], (Reply::text("admin"), Reply::text(&card(node).admin)));
        }
    }
}

/// A node is lost; another takes its place while writes go on, votes everywhere, and can be the one that makes the majority.
#[test]
fn a_lost_node_is_replaced() {
    let mut cluster = ready(4);
    cluster.pass_ms(2000);
    for at in 0..100 {
        assert_eq!(cluster.ask(NodeId(1), &["SET", &format!("k{at}"), "v"]), Reply::Ok);
    }
    let (dead, new) = (NodeId(2), NodeId(4));
    cluster.kill(dead);
    cluster.pass_ms(1000);
    cluster.begin(new);
    cluster.pass_ms(1000);
    let Card { peers, resp, cluster: ports, admin } = card(new);
    let (dead_id, id) = (format!("{:016x}", dead.0), format!("{:016x}", new.0));
    let replace = ["NODES.REPLACE", &dead_id, &id, &peers, &resp, &ports, &admin];
    assert_eq!(cluster.ask(NodeId(3), &replace), Reply::Ok);
    for at in 0..20 {
        cluster.pass_ms(100);
        assert_eq!(cluster.ask(NodeId(3), &["SET", &format!("during{at}"), "v"]), Reply::Ok);
    }
    for (_, status) in cluster.nodes[&NodeId(3)].lane.statuses() {
        assert_eq!(
            (status.voters, status.learners.len(), status.changing),
            (vec![NodeId(1), NodeId(3), new], 0, false)
        );
    }
    cluster.kill(NodeId(1));
    cluster.pass_ms(1000);
    assert_eq!(cluster.ask(new, &["SET", "after", "v"]), Reply::Ok);
    assert_eq!(cluster.ask(new, &["DBSIZE"]), Reply::Int(121));
    let Reply::Error(refused) = cluster.ask(new, &replace) else { panic!("it is gone already") };
    assert!(refused.to_string().contains("were not changed"), "{refused}");
}

/// A leader whose lease has run out, since the others are slow to answer, proves by one round that it leads; no log entry is
/// needed for that, and a client that then writes gets its replies as if each command had waited for the one before.
#[test]
fn reads_without_a_lease_take_one_round() {
    let mut cluster = ready(1);
    let leader = cluster.leader(ShardId(0));
    assert_eq!(cluster.ask(leader, &["SET", "k", "v"]), Reply::Ok);
    cluster.pass_ms(60);
    let commit = |cluster: &Cluster| cluster.nodes[&leader].lane.statuses().next().expect("a shard").1.commit;
    let before = commit(&cluster);
    // Time passes and nobody is heard; the lease lasts 180 ms, and after 200 the leader would step down.
    cluster.now.boot = cluster.now.boot.plus_ms(185);
    let reads = [cluster.send(leader, &["GET", "k"]), cluster.send(leader, &["GET", "k"])];
    assert!(cluster.nodes[&leader].out.replies.is_empty(), "they wait");
    let write = cluster.send(leader, &["SET", "k", "w"]);
    let after = cluster.send(leader, &["GET", "k"]);
    cluster.settle();
    assert_eq!(
        reads.map(|sent| cluster.reply(sent)),
        [Reply::bulk(b"v"), Reply::bulk(b"v")],
        "they came before the write"
    );
    assert_eq!(cluster.reply(write), Reply::Ok);
    assert!(matches!(cluster.reply(after), Reply::Bulk(_)));
    assert_eq!(commit(&cluster).0, before.0 + 1, "the write's entry took the reads along");

    cluster.pass_ms(60);
    let before = commit(&cluster);
    cluster.now.boot = cluster.now.boot.plus_ms(185);
    let reads = [cluster.send(leader, &["GET", "k"]), cluster.send(leader, &["STRLEN", "k"])];
    cluster.settle();
    assert_eq!(reads.map(|sent| cluster.reply(sent)), [Reply::bulk(b"w"), Reply::Int(1)]);
    assert_eq!(cluster.ask(leader, &["DBSIZE"]), Reply::Int(1));
    assert_eq!(commit(&cluster), before, "a round is no entry");
}

/// A key with half an hour to live, a leader that dies, and who leads then; `ahead` is an hour ahead of the others.
fn after_a_change_of_leaders(ahead: Option<NodeId>) -> (Cluster, NodeId) {
    let mut cluster = Cluster::new(1);
    cluster.ahead_ms.extend(ahead.map(|id| (id, 3_600_000)));
    cluster.link_all();
    cluster.pass_ms(1000);
    let old = cluster.leader(ShardId(0));
    assert_eq!(cluster.ask(old, &["SET", "k", "v", "EX", "1800"]), Reply::Ok);
    cluster.kill(old);
    cluster.pass_ms(1000);
    let new = cluster.leader(ShardId(0));
    (cluster, new)
}

/// A node whose wall clock is an hour ahead goes by the others' when it is elected: no key dies early.
#[test]
fn a_leader_with_a_wrong_clock_expires_nothing() {
    // Who is elected doesn't depend on wall clocks.
    let (_, next) = after_a_change_of_leaders(None);
    let (mut cluster, leader) = after_a_change_of_leaders(Some(next));
    assert_eq!(leader, next);
    assert_eq!(cluster.ask(leader, &["GET", "k"]), Reply::bulk(b"v"));
    let Reply::Int(left) = cluster.ask(leader, &["TTL", "k"]) else { panic!("it has an expiry") };
    assert!((1790..=1800).contains(&left), "{left} s");
}

#[test]
fn a_node_that_leaves_hands_over_and_nobody_is_told() {
    let mut cluster = ready(1);
    let old = cluster.leader(ShardId(0));
    let other = MEMBERS.into_iter().find(|id| *id != old).expect("there are three");
    assert_eq!(cluster.ask(old, &["SET", "k", "0"]), Reply::Ok);
    // Before, while and after it hands over: by its own client, and by one of another node.
    let mut sent = vec![cluster.send(old, &["APPEND", "k", "1"]), cluster.send(other, &["APPEND", "k", "2"])];
    let now = cluster.now;
    let node = cluster.nodes.get_mut(&old).expect("it exists");
    node.lane.leave(now, &mut node.out);
    sent.push(cluster.send(old, &["APPEND", "k", "3"]));
    sent.push(cluster.send(other, &["APPEND", "k", "4"]));
    cluster.settle();
    assert!(cluster.nodes[&old].lane.has_left());
    sent.push(cluster.send(old, &["APPEND", "k", "5"]));
    cluster.settle();
    for one in sent {
        assert!(matches!(cluster.reply(one), Reply::Int(_)), "what comes meanwhile waits, and is done once");
    }
    assert_ne!(cluster.leader(ShardId(0)), old);
    assert_eq!(cluster.ask(other, &["STRLEN", "k"]), Reply::Int(6));
    // It stays a voter, and is not asked to lead again.
    cluster.pass_ms(20_000);
    assert!(cluster.nodes[&old].lane.has_left());
}

#[test]
fn leaders_are_where_the_placement_wants_them_and_return_there() {
    let mut cluster = ready(8);
    cluster.link_all();
    let led = |cluster: &Cluster| {
        let leaders: Vec<NodeId> = (0..8).map(|shard| cluster.leader(ShardId(shard))).collect();
        MEMBERS.map(|id| leaders.iter().filter(|leader| **leader == id).count())
    };
    cluster.pass_ms(6_000);
    let mut first = led(&cluster);
    first.sort_unstable();
    assert_eq!(first, [2, 3, 3]);
    let before: Vec<NodeId> = (0..8).map(|shard| cluster.leader(ShardId(shard))).collect();
    // One is cut off for a while: the others share what it led, and give it back some seconds after it is there again.
    let cut = MEMBERS[0];
    cluster.kill(cut);
    cluster.pass_ms(20_000);
    let mut without = led(&cluster);
    without.sort_unstable();
    assert_eq!(without, [0, 4, 4]);
    cluster.nodes.get_mut(&cut).expect("it exists").up = true;
    cluster.link_all();
    cluster.pass_ms(2_000);
    assert_eq!(led(&cluster)[0], 0, "a node that just came may go again");
    cluster.pass_ms(20_000);
    assert_eq!((0..8).map(|shard| cluster.leader(ShardId(shard))).collect::<Vec<_>>(), before);
}

/// Every node hears of every change as it applies, once; who did it is known where that client is; and a time without a
/// leader counts as a change of every key.
#[test]
fn every_node_hears_what_changes() {
    let mut cluster = ready(1);
    cluster.ask(NodeId(1), &["SET", "before", "v"]);
    // Followers hear with the next heartbeat, if with nothing else, that an entry is committed.
    cluster.pass_ms(60);
    for node in cluster.nodes.values_mut() {
        node.lane.listen(Listening { events: true, changes: true, misses: false });
        assert!(node.out.heard.is_empty(), "nobody listened");
    }
    let heard = |cluster: &mut Cluster, id: NodeId| {
        std::mem::take(&mut cluster.nodes.get_mut(&id).expect("it exists").out.heard)
    };
    let leader = cluster.leader(ShardId(0));
    let writer = MEMBERS.into_iter().find(|id| *id != leader).expect("there are three");
    for (from, by) in [(leader, Some((LaneId(0), CLIENT))), (writer, None)] {
        assert_eq!(cluster.ask(from, &["SET", "k", "v", "PX", "200"]), Reply::Ok);
        cluster.pass_ms(60);
        for id in MEMBERS {
            let all = heard(&mut cluster, id);
            let changed: Vec<&Changed> = all.iter().flat_map(|one| &one.changed).collect();
            let by = by.filter(|_| id == leader);
            assert_eq!(changed, [&Changed { key: b"k"[..].into(), by }], "on {id} of what {from} was asked");
        }
    }
    assert_eq!(cluster.ask(writer, &["FLUSHALL"]), Reply::Ok);
    cluster.pass_ms(60);
    assert!(MEMBERS.into_iter().all(|id| heard(&mut cluster, id).iter().any(|one| one.all_changed)));
    assert_eq!(cluster.ask(writer, &["SET", "k", "v", "PX", "100"]), Reply::Ok);
    cluster.pass_ms(400);
    for id in MEMBERS {
        let events: Vec<&str> =
            heard(&mut cluster, id).iter().flat_map(|one| &one.notices).map(|notice| notice.event).collect();
        assert!(events.first() == Some(&"new") && events.last() == Some(&"expired"), "{events:?}");
    }
    cluster.kill(leader);
    cluster.pass_ms(600);
    for id in MEMBERS.into_iter().filter(|id| *id != leader) {
        let all = heard(&mut cluster, id);
        assert!(all.iter().any(|one| one.all_changed) && all.iter().all(|one| one.notices.is_empty()), "{all:?}");
    }
}
