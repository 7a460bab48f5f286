//! Calls that wait, on real processes: served in order, on time, pipelined commands behind them; let go when their client goes; and
//! on three nodes through the death of the leader, with nothing lost that was pushed.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use support::calls::{ask, reply, send};
use support::cluster::{Cluster, NODES};
use support::{Client, Folder, Node, Reply};

fn got(key: &str, member: &str) -> Reply {
    Reply::Array(vec![Reply::bulk(key), Reply::bulk(member)])
}

/// Until so many clients wait.
fn await_blocked(client: &mut Client, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let Reply::Bulk(text) = ask(client, "INFO clients") else { panic!("INFO is text") };
        let text = String::from_utf8_lossy(&text).into_owned();
        let blocked = text.lines().find_map(|line| line.strip_prefix("blocked_clients:")).expect("it is told");
        if blocked.trim() == count.to_string() {
            return;
        }
        assert!(Instant::now() < deadline, "{blocked} wait, not {count}");
    }
}

fn node(folder: &Path) -> Node {
    Node::start(folder)
}

#[test]
fn who_came_first_is_served_first() {
    let folder = Folder::new("blocking");
    let node = node(folder.path());
    let (mut a, mut b, mut c) = (node.client(), node.client(), node.client());
    send(&mut a, "BLPOP k j 0");
    await_blocked(&mut c, 1);
    send(&mut b, "BRPOP k 0");
    await_blocked(&mut c, 2);
    assert_eq!(ask(&mut c, "RPUSH k 1 2 3"), Reply::Integer(3));
    assert_eq!(reply(&mut a), got("k", "1"));
    assert_eq!(reply(&mut b), got("k", "3"));
    assert_eq!(ask(&mut c, "LLEN k"), Reply::Integer(1), "whoever pushed sees it served");
    await_blocked(&mut c, 0);
}

#[test]
fn what_is_pipelined_behind_a_call_that_waits_waits_too() {
    let folder = Folder::new("blocking");
    let node = node(folder.path());
    let (mut a, mut b) = (node.client(), node.client());
    for words in ["BLPOP k 0", "GET x", "BLPOP k 0", "PING"] {
        send(&mut a, words);
    }
    await_blocked(&mut b, 1);
    assert_eq!(ask(&mut b, "SET x late"), Reply::ok());
    assert_eq!(ask(&mut b, "RPUSH k 1"), Reply::Integer(1));
    assert_eq!(reply(&mut a), got("k", "1"));
    assert_eq!(reply(&mut a), Reply::bulk("late"), "it was read when the call had been answered");
    await_blocked(&mut b, 1);
    assert_eq!(ask(&mut b, "RPUSH k 2"), Reply::Integer(1));
    assert_eq!(reply(&mut a), got("k", "2"));
    assert_eq!(reply(&mut a), Reply::Simple("PONG".to_owned()));
}

#[test]
fn time_is_over_when_it_is() {
    let folder = Folder::new("blocking");
    let node = node(folder.path());
    let mut client = node.client();
    for (words, ms) in [("BLPOP k 0.05", 50), ("BLMOVE k l LEFT LEFT 0.2", 200), ("BZPOPMIN z 0.001", 1)] {
        let begun = Instant::now();
        assert_eq!(ask(&mut client, words), Reply::Null, "{words}");
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(ms - 1), "{words} took {took:?}");
    }
    assert_eq!(ask(&mut client, "RPUSH k 1"), Reply::Integer(1));
    assert_eq!(ask(&mut client, "LLEN k"), Reply::Integer(1), "nobody is served whose time is over");
}

#[test]
fn sorted_sets_and_streams_are_waited_for_too() {
    let folder = Folder::new("blocking");
    let node = node(folder.path());
    let mut other = node.client();
    let mut waiters: Vec<Client> = (0..5).map(|_| node.client()).collect();
    assert_eq!(ask(&mut other, "XGROUP CREATE s g $ MKSTREAM"), Reply::ok());
    let calls = [
        "BZPOPMAX z 0",
        "BZMPOP 0 1 z MIN COUNT 2",
        "XREAD BLOCK 0 STREAMS t s $ $",
        "XREADGROUP GROUP g one BLOCK 0 STREAMS s >",
        "XREADGROUP GROUP g two BLOCK 0 STREAMS s >",
    ];
    for (at, words) in calls.iter().enumerate() {
        send(&mut waiters[at], words);
        await_blocked(&mut other, at + 1);
    }
    assert_eq!(ask(&mut other, "ZADD z 1 a 2 b 3 c"), Reply::Integer(3));
    let pair = |member: &str, score: &str| Reply::Array(vec![Reply::bulk(member), Reply::bulk(score)]);
    let max = Reply::Array(vec![Reply::bulk("z"), Reply::bulk("c"), Reply::bulk("3")]);
    assert_eq!(reply(&mut waiters[0]), max);
    let min = Reply::Array(vec![Reply::bulk("z"), Reply::Array(vec![pair("a", "1"), pair("b", "2")])]);
    assert_eq!(reply(&mut waiters[1]), min);
    assert_eq!(ask(&mut other, "XADD s 7-1 f v"), Reply::bulk("7-1"));
    let entry = Reply::Array(vec![Reply::bulk("7-1"), pair("f", "v")]);
    let found = Reply::Array(vec![Reply::Array(vec![Reply::bulk("s"), Reply::Array(vec![entry])])]);
    assert_eq!(reply(&mut waiters[2]), found, "each who reads gets it");
    assert_eq!(reply(&mut waiters[3]), found, "and the first of the group");
    await_blocked(&mut other, 1);
    assert_eq!(ask(&mut other, "XGROUP DESTROY s g"), Reply::Integer(1));
    let gone = "NOGROUP the consumer group this client was blocked on no longer exists";
    assert_eq!(reply(&mut waiters[4]), Reply::Error(gone.to_owned()));
    assert_eq!(ask(&mut other, "XREAD BLOCK 20 STREAMS s $"), Reply::Null);
}

#[test]
fn in_a_transaction_nothing_waits_and_wait_never_does() {
    let folder = Folder::new("blocking");
    let node = node(folder.path());
    let mut client = node.client();
    for words in ["MULTI", "BLPOP k 0", "XREAD BLOCK 0 STREAMS s $", "BZMPOP 0 1 z MIN", "WAIT 1 0"] {
        ask(&mut client, words);
    }
    let nils = [Reply::Null, Reply::Null, Reply::Null, Reply::Integer(0)];
    assert_eq!(ask(&mut client, "EXEC"), Reply::Array(nils.to_vec()));
    assert_eq!(ask(&mut client, "WAIT 3 0"), Reply::Integer(0), "no other node has it");
    assert_eq!(ask(&mut client, "WAIT 1 -1"), Reply::Error("ERR timeout is negative".to_owned()));
}

#[test]
fn a_client_that_goes_takes_nothing() {
    let folder = Folder::new("blocking");
    let node = node(folder.path());
    let mut client = node.client();
    // One closes, one has only sent its last byte, one is killed by another client.
    let mut gone = node.client();
    send(&mut gone, "BLPOP k 0");
    await_blocked(&mut client, 1);
    drop(gone);
    await_blocked(&mut client, 0);
    let mut half = node.client();
    send(&mut half, "BLPOP k 0");
    await_blocked(&mut client, 1);
    half.finish();
    assert!(half.reply().is_err(), "its connection ends without a reply");
    let mut killed = node.client();
    let Reply::Integer(id) = ask(&mut killed, "CLIENT ID") else { panic!("it is a number") };
    send(&mut killed, "BLPOP k 0");
    await_blocked(&mut client, 1);
    assert_eq!(ask(&mut client, &format!("CLIENT KILL ID {id}")), Reply::Integer(1));
    assert!(killed.reply().is_err());
    await_blocked(&mut client, 0);
    assert_eq!(ask(&mut client, "RPUSH k 1 2"), Reply::Integer(2));
    assert_eq!(ask(&mut client, "LLEN k"), Reply::Integer(2));
}

#[test]
fn client_unblock_tells_whether_it_did() {
    let folder = Folder::new("blocking");
    let node = node(folder.path());
    let (mut waiter, mut other) = (node.client(), node.client());
    let Reply::Integer(id) = ask(&mut waiter, "CLIENT ID") else { panic!("it is a number") };
    assert_eq!(ask(&mut other, &format!("CLIENT UNBLOCK {id}")), Reply::Integer(0));
    for (words, told) in [
        (format!("CLIENT UNBLOCK {id}"), Reply::Null),
        (format!("CLIENT UNBLOCK {id} timeout"), Reply::Null),
        (
            format!("CLIENT UNBLOCK {id} ERROR"),
            Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned()),
        ),
    ] {
        send(&mut waiter, "BLPOP k 0");
        await_blocked(&mut other, 1);
        // What follows in the same pipeline comes after it.
        send(&mut other, &words);
        send(&mut other, "RPUSH k 1");
        send(&mut other, "LPOP k");
        assert_eq!(reply(&mut other), Reply::Integer(1), "{words}");
        assert_eq!((reply(&mut other), reply(&mut other)), (Reply::Integer(1), Reply::bulk("1")));
        assert_eq!(reply(&mut waiter), told, "{words}");
    }
    let Reply::Bulk(list) = ask(&mut other, "CLIENT LIST") else { panic!("it is text") };
    assert!(!String::from_utf8_lossy(&list).contains("flags=b"));
    send(&mut waiter, "BLPOP k 0");
    await_blocked(&mut other, 1);
    let Reply::Bulk(list) = ask(&mut other, "CLIENT LIST") else { panic!("it is text") };
    assert!(String::from_utf8_lossy(&list).contains("flags=b"));
}

#[test]
fn a_node_that_stops_lets_those_go_who_wait() {
    let folder = Folder::new("blocking");
    let node = node(folder.path());
    let (mut waiter, mut other) = (node.client(), node.client());
    send(&mut waiter, "BLPOP k 0");
    await_blocked(&mut other, 1);
    let begun = Instant::now();
    assert!(node.terminate().success());
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody was waited for");
    assert!(waiter.reply().is_err(), "its connection ends without a reply");
}

#[test]
fn hundreds_wait_at_one_key() {
    let folder = Folder::new("blocking");
    let node = node(folder.path());
    let mut waiters: Vec<Client> = (0..400).map(|_| node.client()).collect();
    let mut other = node.client();
    waiters.iter_mut().for_each(|waiter| send(waiter, "BLPOP k 0"));
    await_blocked(&mut other, waiters.len());
    let members: Vec<String> = (0..waiters.len()).map(|n| n.to_string()).collect();
    for part in members.chunks(100) {
        assert_eq!(ask(&mut other, &format!("RPUSH k {}", part.join(" "))), Reply::Integer(100));
    }
    let served: BTreeSet<String> = waiters.iter_mut().map(|waiter| format!("{:?}", reply(waiter))).collect();
    assert_eq!(served.len(), waiters.len(), "each got a member of its own");
}

#[test]
fn any_node_serves_who_waits_at_any_other() {
    let folder = Folder::new("blocking-cluster");
    let cluster = Cluster::start(folder.path());
    let mut clients: Vec<Client> = (0..NODES).map(|at| cluster.client(at)).collect();
    for at in 0..24 {
        let key = format!("queue:{at}");
        let (waits, pushes) = (at % NODES, (at / NODES) % NODES);
        let mut waiter = cluster.client(waits);
        send(&mut waiter, &format!("BLPOP {key} 0"));
        await_blocked(&mut clients[waits], 1);
        ask(&mut clients[pushes], &format!("RPUSH {key} {at}"));
        assert_eq!(reply(&mut waiter), got(&key, &at.to_string()));
        let begun = Instant::now();
        assert_eq!(ask(&mut waiter, &format!("BLPOP {key} 0.1")), Reply::Null);
        assert!(begun.elapsed() >= Duration::from_millis(99));
    }
    // The others' word is the majority's: one more than the leader has a write before its reply leaves.
    assert_eq!(ask(&mut clients[0], "WAIT 1 0"), Reply::Integer(1));
    // Reads stand with the leader alone, and begin where they began wherever that is.
    for at in 0..8 {
        let mut waiter = cluster.client(at % NODES);
        send(&mut waiter, &format!("XREAD BLOCK 0 STREAMS stream:{at} $"));
        await_blocked(&mut clients[at % NODES], 1);
        let Reply::Bulk(id) = ask(&mut clients[(at + 1) % NODES], &format!("XADD stream:{at} * f v")) else {
            panic!("it has an ID")
        };
        let Reply::Array(found) = reply(&mut waiter) else { panic!("it is served") };
        assert!(format!("{found:?}").contains(&format!("{:?}", Reply::Bulk(id))), "{found:?}");
    }
    // CLIENT UNBLOCK knows the outcome wherever the call waits.
    let mut waiter = cluster.client(0);
    let Reply::Integer(id) = ask(&mut waiter, "CLIENT ID") else { panic!("it is a number") };
    for at in 0..8 {
        send(&mut waiter, &format!("BLPOP queue:{at} 0"));
        await_blocked(&mut clients[0], 1);
        assert_eq!(ask(&mut clients[0], &format!("CLIENT UNBLOCK {id}")), Reply::Integer(1));
        assert_eq!(reply(&mut waiter), Reply::Null);
        assert_eq!(ask(&mut clients[1], &format!("RPUSH queue:{at} x")), Reply::Integer(1));
        assert_eq!(ask(&mut clients[2], &format!("LPOP queue:{at}")), Reply::bulk("x"));
    }
}

/// Clients of two nodes wait at queues of all shards while the third, which leads some of them, is killed: each gets one member,
/// nobody gets one twice, and what nobody got is still there.
#[test]
fn who_waits_outlives_a_leader_and_no_member_is_lost() {
    let folder = Folder::new("blocking-kill");
    let mut cluster = Cluster::start(folder.path());
    cluster.await_spread();
    const QUEUES: usize = 16;
    for victim in 0..NODES {
        let survivors: Vec<usize> = (0..NODES).filter(|at| *at != victim).collect();
        let mut counters: Vec<Client> = survivors.iter().map(|at| cluster.client(*at)).collect();
        let mut waiters: Vec<Client> =
            (0..4 * QUEUES).map(|at| cluster.client(survivors[at % survivors.len()])).collect();
        for (at, waiter) in waiters.iter_mut().enumerate() {
            send(waiter, &format!("BLPOP round{victim}:{} 0", at % QUEUES));
        }
        counters.iter_mut().for_each(|client| await_blocked(client, 2 * QUEUES));
        let mut pusher = cluster.client(survivors[0]);
        let mut pushed = BTreeSet::new();
        // Some before, some after the leader's end; what is in doubt is pushed under another name.
        let mut push = |queue: usize, number: usize| {
            for attempt in 0.. {
                let member = format!("{queue}.{number}.{attempt}");
                match ask(&mut pusher, &format!("RPUSH round{victim}:{queue} {member}")) {
                    Reply::Integer(_) => {
                        pushed.insert(member);
                        return;
                    }
                    Reply::Error(text) if text.starts_with("INDOUBT") => drop(pushed.insert(format!("?{member}"))),
                    Reply::Error(text) if text.starts_with("TRYAGAIN") => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        (0..QUEUES).for_each(|queue| push(queue, 0));
        cluster.kill(victim);
        for number in 1..5 {
            (0..QUEUES).for_each(|queue| push(queue, number));
        }
        let mut got = BTreeSet::new();
        for (at, waiter) in waiters.iter_mut().enumerate() {
            let Reply::Array(parts) = reply(waiter) else { panic!("each is served") };
            let [Reply::Bulk(queue), Reply::Bulk(member)] = parts.as_slice() else { panic!("key and member") };
            assert_eq!(*queue, format!("round{victim}:{}", at % QUEUES).into_bytes());
            assert!(got.insert(String::from_utf8_lossy(member).into_owned()), "nobody gets a member twice");
        }
        for queue in 0..QUEUES {
            let Reply::Array(left) = ask(&mut counters[0], &format!("LRANGE round{victim}:{queue} 0 -1")) else {
                panic!("a list")
            };
            for member in left {
                let Reply::Bulk(member) = member else { panic!("a member") };
                assert!(got.insert(String::from_utf8_lossy(&member).into_owned()), "who gets a member takes it");
            }
        }
        let missing: Vec<&String> = pushed.iter().filter(|one| !one.starts_with('?') && !got.contains(*one)).collect();
        assert!(missing.is_empty(), "nobody has {missing:?}");
        assert!(got.iter().all(|one| pushed.contains(one) || pushed.contains(&format!("?{one}"))));
        cluster.restart(victim);
        cluster.await_spread();
    }
}

#[test]
fn a_node_that_leaves_hands_those_over_who_wait_elsewhere() {
    let folder = Folder::new("blocking-leave");
    let mut cluster = Cluster::start(folder.path());
    let (mut other, mut pusher) = (cluster.client(1), cluster.client(2));
    let mut waiters: Vec<Client> = (0..16).map(|_| cluster.client(1)).collect();
    for (at, waiter) in waiters.iter_mut().enumerate() {
        send(waiter, &format!("BRPOP queue:{at} 0"));
    }
    await_blocked(&mut other, waiters.len());
    let mut gone = cluster.client(0);
    send(&mut gone, "BRPOP queue:gone 0");
    assert!(cluster.terminate(0).success());
    assert!(gone.reply().is_err(), "its connection ends without a reply");
    for (at, waiter) in waiters.iter_mut().enumerate() {
        assert_eq!(ask(&mut pusher, &format!("RPUSH queue:{at} {at}")), Reply::Integer(1));
        assert_eq!(reply(waiter), got(&format!("queue:{at}"), &at.to_string()));
    }
    assert_eq!(ask(&mut pusher, "RPUSH queue:gone x"), Reply::Integer(1));
    assert_eq!(ask(&mut pusher, "LLEN queue:gone"), Reply::Integer(1), "its client's call went with it");
}
