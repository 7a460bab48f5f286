//! FENCE on real processes: what comes under an old fence is refused, by one node and by three, across kills and restarts.

mod support;

use std::time::{Duration, Instant};
use support::calls::{ask, error_of};
use support::cluster::{Cluster, NODES};
use support::{Client, Folder, Node, Reply};

fn is_fenced(client: &mut Client, words: &str) {
    let text = error_of(client, words);
    assert!(text.starts_with("FENCED the lock '") && text.contains("nothing was changed"), "{words}: {text}");
}

#[test]
fn a_stale_holder_is_refused_in_every_spelling() {
    let folder = Folder::new("fence");
    let node = Node::start(folder.path());
    let (mut old, mut new) = (node.client(), node.client());
    assert_eq!(ask(&mut old, "FENCE job 5 SET k old"), Reply::ok());
    // The new holder has only read so far: that is enough.
    assert_eq!(ask(&mut new, "FENCE job 6 GET k"), Reply::bulk("old"));
    is_fenced(&mut old, "FENCE job 5 SET k late");
    is_fenced(&mut old, "FENCE job 5 GET k");
    is_fenced(&mut old, "FENCE job 5 EVAL return{redis.call('set',KEYS[1],'late')} 1 k");
    is_fenced(&mut old, "FENCE job 5 EVAL return{1} 0");
    is_fenced(&mut old, "FENCE job 5 BLPOP q 0");
    is_fenced(&mut old, "ONCE c:1 FENCE job 5 SET k late");
    for words in ["MULTI", "SET k late", "GET k"] {
        ask(&mut old, words);
    }
    is_fenced(&mut old, "FENCE job 5 EXEC");
    assert_eq!(ask(&mut new, "GET k"), Reply::bulk("old"));
    assert_eq!(
        ask(&mut new, "FENCE job 6 EVAL return{redis.call('get',KEYS[1])} 1 k"),
        Reply::Array(vec![Reply::bulk("old")])
    );
    assert_eq!(ask(&mut new, "ONCE c:1 FENCE job 6 SET k new"), Reply::ok(), "what was fenced off is no outcome");
    let refused = error_of(&mut new, "EVAL return{redis.call('FENCE','job','6','GET',KEYS[1])} 1 k");
    assert!(refused.contains("put it before EVAL"), "{refused}");
    assert!(error_of(&mut new, "FENCE job x GET k").starts_with("ERR 'x' is no fence"));
    assert!(error_of(&mut new, "FENCE job 6 FLUSHALL").starts_with("ERR FENCE needs a command with a key"));
    let keys = Reply::Array(vec![Reply::bulk("k"), Reply::bulk("l")]);
    assert_eq!(ask(&mut new, "COMMAND GETKEYS FENCE job 6 ONCE c:9 MSET k 1 l 2"), keys);
    // A pipeline: each is judged at its place.
    for words in
        [["FENCE", "job", "7", "GET", "k"], ["FENCE", "job", "6", "GET", "k"], ["FENCE", "job", "7", "GET", "k"]]
    {
        new.send(&words).expect("the node takes commands");
    }
    let replies: Vec<Reply> = (0..3).map(|_| new.reply().expect("the node answers")).collect();
    assert!(matches!(&replies[..], [a, Reply::Error(why), b] if a == b && why.starts_with("FENCED ")), "{replies:?}");
    assert!(
        matches!(ask(&mut new, "INFO stats"), Reply::Bulk(info) if String::from_utf8_lossy(&info).contains("refused_fences:8\r"))
    );
    // It is known after a kill.
    node.kill();
    let node = Node::start(folder.path());
    let mut client = node.client();
    is_fenced(&mut client, "FENCE job 6 SET k late");
    let floor =
        |n: i64| Reply::Array(vec![Reply::Array(vec![Reply::Integer(0), Reply::Integer(n), Reply::bulk("lock")])]);
    assert_eq!(ask(&mut client, "FENCE.INFO job"), floor(7));
    assert_eq!(ask(&mut client, "FENCE.INFO other"), Reply::Array(Vec::new()));
    assert_eq!(ask(&mut client, "FENCE.RESET job 3"), Reply::ok());
    assert_eq!(ask(&mut client, "FENCE job 3 GET k"), Reply::bulk("new"));
    is_fenced(&mut client, "FENCE job 2 GET k");
    assert_eq!(ask(&mut client, "FENCE.RESET job"), Reply::ok());
    assert_eq!(ask(&mut client, "FENCE job 1 GET k"), Reply::bulk("new"));
    assert!(error_of(&mut client, "FENCE.RESET job x").starts_with("ERR 'x' is no fence"));
}

#[test]
fn a_connection_and_a_call_that_waits_stand_under_their_fence() {
    let folder = Folder::new("fence-set");
    let node = Node::start(folder.path());
    let (mut old, mut new) = (node.client(), node.client());
    assert_eq!(ask(&mut old, "FENCE.SET job 1"), Reply::ok());
    assert_eq!(ask(&mut old, "SET k old"), Reply::ok());
    old.send(&["BLPOP", "q", "0"]).expect("the node takes commands");
    let begun = Instant::now();
    while !matches!(ask(&mut new, "INFO clients"), Reply::Bulk(info) if String::from_utf8_lossy(&info).contains("blocked_clients:1"))
    {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody waits");
    }
    assert_eq!(ask(&mut new, "FENCE.SET job 2"), Reply::ok());
    assert_eq!(ask(&mut new, "GET k"), Reply::bulk("old"));
    assert_eq!(ask(&mut new, "RPUSH q x"), Reply::Integer(1));
    assert!(matches!(old.reply().expect("it is answered"), Reply::Error(why) if why.starts_with("FENCED ")));
    assert_eq!(ask(&mut new, "BLPOP q 0"), Reply::Array(vec![Reply::bulk("q"), Reply::bulk("x")]));
    is_fenced(&mut old, "SET k late");
    for words in ["WATCH k", "MULTI", "SET k late"] {
        ask(&mut old, words);
    }
    is_fenced(&mut old, "EXEC");
    assert!(error_of(&mut old, "FLUSHALL").starts_with("ERR 'flushall' concerns all shards"));
    for words in ["MULTI", "SET k new", "GET k"] {
        ask(&mut new, words);
    }
    assert_eq!(ask(&mut new, "EXEC"), Reply::Array(vec![Reply::ok(), Reply::bulk("new")]));
    assert_eq!(ask(&mut old, "FENCE.CLEAR"), Reply::Integer(1));
    assert_eq!(ask(&mut old, "GET k"), Reply::bulk("new"), "who says nothing of a lock is not asked for one");
}

/// Asks until a leader answers, of one node after another.
fn settled(cluster: &Cluster, words: &str) -> Reply {
    let begun = Instant::now();
    for at in (0..NODES).cycle() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody answers {words}");
        if cluster.children[at].is_none() {
            continue;
        }
        let reply = cluster.client(at).ask(&words.split(' ').collect::<Vec<_>>());
        match reply {
            Ok(Reply::Error(why))
                if ["INDOUBT ", "TRYAGAIN ", "NOQUORUM "].iter().any(|code| why.starts_with(code)) => {}
            Ok(reply) => return reply,
            Err(_) => {}
        }
        std::thread::yield_now();
    }
    unreachable!("the nodes never end")
}

#[test]
fn floors_outlive_leaders() {
    let folder = Folder::new("fence-cluster");
    let mut cluster = Cluster::start(folder.path());
    let key = |n: usize| format!("key{n}");
    let mut fence = 10;
    for round in 0..4 {
        // The new holder reads once in each shard that it will write to, by some node; that protects it everywhere.
        let value = if round == 0 { Reply::Null } else { Reply::bulk(&format!("{fence}")) };
        fence += 1;
        for n in 0..16 {
            assert_eq!(settled(&cluster, &format!("FENCE job {fence} GET {}", key(n))), value, "round {round}");
        }
        cluster.kill(round % NODES);
        for n in 0..16 {
            for stale in [
                format!("FENCE job {} SET {} late", fence - 1, key(n)),
                format!("FENCE job {} GET {}", fence - 1, key(n)),
            ] {
                let reply = settled(&cluster, &stale);
                assert!(matches!(&reply, Reply::Error(why) if why.starts_with("FENCED ")), "{stale}: {reply:?}");
            }
            assert_eq!(settled(&cluster, &format!("FENCE job {fence} SET {} {fence}", key(n))), Reply::ok());
        }
        cluster.restart(round % NODES);
    }
    // Through the endpoint for clients that route by themselves too: what it sends elsewhere is seen through the prefix.
    let mut client = cluster.cluster_client(0);
    for n in 0..16 {
        match ask(&mut client, &format!("FENCE job {} GET {}", fence - 1, key(n))) {
            Reply::Error(why) => assert!(why.starts_with("FENCED ") || why.starts_with("MOVED "), "{why}"),
            other => panic!("key{n}: {other:?}"),
        }
    }
    assert_eq!(settled(&cluster, "FENCE.RESET job"), Reply::ok());
    for n in 0..16 {
        assert_eq!(settled(&cluster, &format!("FENCE job 1 GET {}", key(n))), Reply::bulk(&format!("{fence}")));
    }
}
