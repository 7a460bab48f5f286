//! Locks on real processes: one holder at a time, in the order of coming, through kill -9, SIGSTOP and the replacement of nodes.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::calls::{ask, await_number, begins, granted, number, reply, send};
use support::cluster::{Cluster, First, NODES};
use support::{Client, Folder, Node, Reply};

/// The owners that LOCK.INFO names.
fn owners(client: &mut Client, name: &str) -> Vec<String> {
    let Reply::Array(all) = ask(client, &format!("LOCK.INFO {name}")) else { panic!("LOCK.INFO is a map") };
    let at = all.iter().position(|word| *word == Reply::bulk("holders")).expect("it names holders");
    let Reply::Array(holders) = &all[at + 1] else { panic!("holders are many") };
    let owner = |holder: &Reply| match holder {
        Reply::Array(pairs) => match &pairs[1] {
            Reply::Bulk(owner) => String::from_utf8_lossy(owner).into_owned(),
            other => panic!("no owner: {other:?}"),
        },
        other => panic!("no holder: {other:?}"),
    };
    holders.iter().map(owner).collect()
}

/// Asks for a lock under one id until it is granted.
fn acquire_at_last(client: &mut Client, name: &str, owner: &str, ttl_ms: u64) -> (i64, i64, i64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match ask(client, &format!("LOCK.ACQUIRE {name} {owner} {ttl_ms} ID {owner}-1")) {
            Reply::Array(parts) => return granted(Reply::Array(parts)),
            refused => assert!(Instant::now() < deadline, "{name} is never free: {refused:?}"),
        }
    }
}

#[test]
fn one_holds_a_lock_until_it_gives_it_back_or_its_time_is_over() {
    let folder = Folder::new("locks");
    let node = Node::start(folder.path());
    let (mut a, mut b) = (node.client(), node.client());
    let (token, fence, left) = granted(ask(&mut a, "LOCK.ACQUIRE l a 30000"));
    assert_eq!(left, 30_000);
    assert_eq!(ask(&mut b, "LOCK.ACQUIRE l b 30000"), Reply::Null);
    assert_eq!(ask(&mut b, "LOCK.ACQUIRE l a 30000"), Reply::Null, "the same owner without the token is a stranger");
    assert_eq!(owners(&mut b, "l"), ["a"]);
    assert_eq!(ask(&mut a, &format!("LOCK.RENEW l a {token} 20000")), Reply::Integer(20_000));
    assert!(begins(&ask(&mut b, &format!("LOCK.RENEW l b {token} 20000")), "LOST "));
    assert!(begins(&ask(&mut b, &format!("LOCK.RELEASE l b {token}")), "LOST "));
    assert_eq!(ask(&mut a, &format!("LOCK.RELEASE l a {token}")), Reply::Integer(1));
    let begun = Instant::now();
    let (second, next, _) = granted(ask(&mut b, "LOCK.ACQUIRE l b 300"));
    assert!(second > token && next > fence);
    let (third, last, _) = acquire_at_last(&mut a, "l", "a", 30_000);
    assert!(begun.elapsed() >= Duration::from_millis(300), "b had its time");
    assert!(third > second && last > next);
    assert!(begins(&ask(&mut b, &format!("LOCK.RENEW l b {second} 300")), "LOST "));
}

#[test]
fn shared_holders_and_permits_are_counted() {
    let folder = Folder::new("locks");
    let node = Node::start(folder.path());
    let mut client = node.client();
    let (one, fence, _) = granted(ask(&mut client, "LOCK.ACQUIRE s a 30000 SHARED"));
    let (two, same, _) = granted(ask(&mut client, "LOCK.ACQUIRE s b 30000 SHARED"));
    assert_eq!(fence, same, "sharers don't fence each other out");
    assert_eq!(ask(&mut client, "LOCK.ACQUIRE s c 30000"), Reply::Null);
    for (owner, token) in [("a", one), ("b", two)] {
        assert_eq!(ask(&mut client, &format!("LOCK.RELEASE s {owner} {token}")), Reply::Integer(1));
    }
    granted(ask(&mut client, "LOCK.ACQUIRE s c 30000"));
    let Reply::Array(parts) = ask(&mut client, "LOCK.ACQUIRE p a 30000 PERMITS 2 OF 3") else { panic!("no grant") };
    assert_eq!(parts[1], Reply::Null, "permits have no fence");
    assert_eq!(ask(&mut client, "LOCK.ACQUIRE p b 30000 PERMITS 2 OF 3"), Reply::Null);
    assert!(matches!(ask(&mut client, "LOCK.ACQUIRE p b 30000 PERMITS 1 OF 3"), Reply::Array(_)));
    assert!(begins(&ask(&mut client, "LOCK.ACQUIRE p c 30000 PERMITS 1 OF 4"), "ERR the semaphore has 3 permits"));
    let Reply::Array(listed) = ask(&mut client, "LOCK.LIST") else { panic!("LOCK.LIST is a list") };
    assert_eq!(listed.len(), 2);
    assert_eq!(ask(&mut client, "LOCK.LIST MATCH x*"), Reply::Array(Vec::new()));
}

#[test]
fn who_waits_gets_it_in_the_order_of_coming_and_who_is_gone_does_not() {
    let folder = Folder::new("locks");
    // Two lanes: some of these clients are on the one that has no locks.
    let node = Node::start_with(folder.path(), |command| command.args(["--lanes", "2"]));
    let (mut a, mut gone, mut b, mut c) = (node.client(), node.client(), node.client(), node.client());
    let (token, ..) = granted(ask(&mut a, "LOCK.ACQUIRE l a 60000"));
    send(&mut gone, "LOCK.ACQUIRE l gone 60000 WAIT 60000");
    await_number(&mut a, "locks", "locks_waiting", |count| count == 1);
    for (at, (client, owner)) in [(&mut b, "b"), (&mut c, "c")].into_iter().enumerate() {
        send(client, &format!("LOCK.ACQUIRE l {owner} 60000 WAIT 60000"));
        send(client, "ECHO behind");
        await_number(&mut a, "locks", "locks_waiting", |count| count == at as u64 + 2);
    }
    drop(gone);
    await_number(&mut a, "locks", "locks_waiting", |count| count == 2);
    assert_eq!(ask(&mut a, "LOCK.ACQUIRE l a 60000 WAIT 50"), Reply::Null, "its wait is over");
    assert_eq!(ask(&mut a, &format!("LOCK.RELEASE l a {token}")), Reply::Integer(1));
    let (second, _, left) = granted(reply(&mut b));
    assert_eq!((left, reply(&mut b)), (0, Reply::bulk("behind")), "its lease begins when it renews");
    assert_eq!(owners(&mut a, "l"), ["b"]);
    assert_eq!(ask(&mut b, &format!("LOCK.RENEW l b {second} 60000")), Reply::Integer(60_000));
    assert_eq!(ask(&mut b, &format!("LOCK.RELEASE l b {second}")), Reply::Integer(1));
    assert!(granted(reply(&mut c)).0 > second);
    assert_eq!(owners(&mut a, "l"), ["c"]);
}

#[test]
fn a_call_about_a_lock_keeps_its_place_in_a_pipeline() {
    let folder = Folder::new("locks");
    let node = Node::start(folder.path());
    let mut client = node.client();
    for words in ["SET k 1", "LOCK.ACQUIRE l a 60000", "LOCK.ACQUIRE m a 60000", "INCR k", "LOCK.ACQUIRE l b 60000"] {
        send(&mut client, words);
    }
    assert_eq!(reply(&mut client), Reply::ok());
    granted(reply(&mut client));
    granted(reply(&mut client));
    assert_eq!(reply(&mut client), Reply::Integer(2));
    assert_eq!(reply(&mut client), Reply::Null);
    assert_eq!(ask(&mut client, "MULTI"), Reply::ok());
    assert!(begins(&ask(&mut client, "LOCK.INFO l"), "ERR a lock is in no shard"));
    assert!(begins(&ask(&mut client, "EXEC"), "EXECABORT "));
    let script = client.ask(&["EVAL", "return redis.call('LOCK.INFO', 'l')", "0"]).expect("a node answers");
    assert!(matches!(script, Reply::Error(_)), "{script:?}");
    // CLIENT UNBLOCK ends the wait as it ends any other.
    let mut other = node.client();
    let Reply::Integer(id) = ask(&mut client, "CLIENT ID") else { panic!("CLIENT ID is a number") };
    send(&mut client, "LOCK.ACQUIRE l b 60000 WAIT 60000");
    await_number(&mut other, "locks", "locks_waiting", |count| count == 1);
    assert_eq!(ask(&mut other, &format!("CLIENT UNBLOCK {id}")), Reply::Integer(1));
    assert_eq!(reply(&mut client), Reply::Null);
}

#[test]
fn refusals_and_looks_write_nothing() {
    let folder = Folder::new("locks");
    let node = Node::start(folder.path());
    let mut client = node.client();
    granted(ask(&mut client, "LOCK.ACQUIRE l a 60000"));
    await_number(&mut client, "locks", "locks_grants", |count| count == 1);
    let before = number(&mut client, "locks", "locks_records");
    for _ in 0..50 {
        assert_eq!(ask(&mut client, "LOCK.ACQUIRE l b 60000"), Reply::Null);
        owners(&mut client, "l");
    }
    await_number(&mut client, "locks", "locks_read_only", |count| count >= 100);
    assert_eq!(number(&mut client, "locks", "locks_records"), before);
    let page = node.get("/metrics").body;
    assert!(page.contains("\ntidegate_locks_grants_total 1\n"), "{page}");
}

#[test]
fn a_killed_node_comes_back_with_its_holders_and_higher_tokens() {
    let folder = Folder::new("locks");
    let node = Node::start(folder.path());
    let mut client = node.client();
    let (token, fence, _) = granted(ask(&mut client, "LOCK.ACQUIRE l a 60000"));
    let (other, ..) = granted(ask(&mut client, "LOCK.ACQUIRE m a 60000"));
    assert_eq!(ask(&mut client, &format!("LOCK.RELEASE m a {other}")), Reply::Integer(1));
    node.kill();
    let node = Node::start(folder.path());
    let mut client = node.client();
    assert_eq!(ask(&mut client, "LOCK.ACQUIRE l b 60000"), Reply::Null);
    assert_eq!(owners(&mut client, "l"), ["a"]);
    assert_eq!(ask(&mut client, &format!("LOCK.RELEASE m a {other}")), Reply::Integer(1), "it was given back before");
    let (fresh, ..) = granted(ask(&mut client, "LOCK.ACQUIRE n a 60000"));
    assert!(fresh > token.max(other), "tokens rise over names and lives");
    assert_eq!(ask(&mut client, &format!("LOCK.RELEASE l a {token}")), Reply::Integer(1));
    let (next, after, _) = granted(ask(&mut client, "LOCK.ACQUIRE l b 60000"));
    assert!(next > fresh && after > fence);
}

#[test]
fn a_lock_outlives_the_part_of_the_log_that_it_was_written_in() {
    let folder = Folder::new("locks");
    let start = || Node::start_with(folder.path(), |command| command.args(["--snapshot-after-mib", "64"]));
    let node = start();
    let mut client = node.client();
    let (token, ..) = granted(ask(&mut client, "LOCK.ACQUIRE l a 600000"));
    let first = folder.path().join(format!("wal-{:016x}.seg", 1));
    assert!(first.exists());
    let value = "x".repeat(1024 * 1024);
    let deadline = Instant::now() + Duration::from_secs(120);
    while first.exists() {
        assert_eq!(client.ask(&["SET", "k", &value]).expect("a node answers"), Reply::ok());
        assert!(Instant::now() < deadline, "the log is never cut");
    }
    node.kill();
    let node = start();
    let mut client = node.client();
    assert_eq!(ask(&mut client, "LOCK.ACQUIRE l b 60000"), Reply::Null);
    assert_eq!(ask(&mut client, &format!("LOCK.RELEASE l a {token}")), Reply::Integer(1));
}

fn cluster(folder: &Path) -> Cluster {
    Cluster::start(folder)
}

#[test]
fn any_node_of_a_cluster_takes_calls_about_any_lock() {
    let folder = Folder::new("locks-cluster");
    let cluster = cluster(folder.path());
    let mut clients: Vec<Client> =
        (0..NODES).map(|at| cluster.client(at)).chain((0..NODES).map(|at| cluster.cluster_client(at))).collect();
    let mut last = 0;
    for round in 0..12 {
        let (at, name) = (round % clients.len(), format!("l{}", round / 3));
        let (token, ..) = acquire_at_last(&mut clients[at], &name, &format!("o{round}"), 60_000);
        let others: Vec<usize> = (0..clients.len()).filter(|other| *other != at).collect();
        for other in &others {
            assert_eq!(ask(&mut clients[*other], &format!("LOCK.ACQUIRE {name} x 60000")), Reply::Null);
            assert_eq!(owners(&mut clients[*other], &name), [format!("o{round}")]);
        }
        let released = ask(&mut clients[others[0]], &format!("LOCK.RELEASE {name} o{round} {token}"));
        assert_eq!(released, Reply::Integer(1));
        if round % 3 > 0 {
            assert!(token > last, "the tokens of a lock rise: {last}, {token}");
        }
        last = token;
    }
}

/// Register records that all nodes have written, once none is under way.
fn records(cluster: &Cluster) -> u64 {
    let sum = || (0..NODES).map(|at| number(&mut cluster.client(at), "locks", "locks_records")).sum::<u64>();
    let mut client = cluster.client(0);
    let (mut last, mut same) = (sum(), 0);
    while same < 3 {
        // INFO is as old as the last look that nodes take at themselves.
        let since = number(&mut client, "server", "uptime_in_seconds");
        await_number(&mut client, "server", "uptime_in_seconds", |now| now > since);
        let now = sum();
        (last, same) = if now == last { (now, same + 1) } else { (now, 0) };
    }
    last
}

#[test]
fn in_a_cluster_refusals_and_looks_write_nothing_and_polling_keeps_no_dead_holder_alive() {
    let folder = Folder::new("locks-cluster");
    let cluster = cluster(folder.path());
    let mut clients: Vec<Client> = (0..NODES).map(|at| cluster.client(at)).collect();
    acquire_at_last(&mut clients[0], "l", "a", 600_000);
    let before = records(&cluster);
    for round in 0..60 {
        let client = &mut clients[round % NODES];
        assert_eq!(ask(client, "LOCK.ACQUIRE l b 60000"), Reply::Null);
        assert_eq!(owners(client, "l"), ["a"]);
    }
    assert_eq!(records(&cluster), before);
    let ttl = Duration::from_millis(1_500);
    let begun = Instant::now();
    acquire_at_last(&mut cluster.client(1), "dies", "a", 1_500);
    let granted_by = Instant::now();
    let pollers = (0..).map(|at| at % NODES);
    for at in pollers {
        if let Reply::Array(_) = ask(&mut clients[at], &format!("LOCK.ACQUIRE dies poller-{at} 60000")) {
            break;
        }
        assert!(granted_by.elapsed() < ttl + Duration::from_secs(10), "polling keeps the dead holder alive");
    }
    assert!(begun.elapsed() >= ttl, "it had its time");
}

#[test]
fn no_death_of_a_node_makes_two_hold_or_none_acquire() {
    let folder = Folder::new("locks-cluster");
    let mut cluster = cluster(folder.path());
    let ttl_ms = 1_500;
    for dead in 0..NODES {
        let (mut holder, mut stealer) = (cluster.client((dead + 1) % NODES), cluster.client((dead + 2) % NODES));
        // Some of these names are at home at the node that dies.
        for at in 0..4 {
            let name = format!("l{dead}-{at}");
            let begun = Instant::now();
            let (token, fence, _) = acquire_at_last(&mut holder, &name, "holder", ttl_ms);
            if at == 0 {
                cluster.kill(dead);
            }
            let (next, after, _) = acquire_at_last(&mut stealer, &name, "stealer", 60_000);
            assert!(begun.elapsed() >= Duration::from_millis(ttl_ms), "{name}: two held it at once");
            assert!(next > token && after > fence, "{name}: {token} {next} {fence} {after}");
            assert!(begins(&ask(&mut holder, &format!("LOCK.RENEW {name} holder {token} 1000")), "LOST "));
        }
        cluster.restart(dead);
        let mut back = cluster.client(dead);
        await_number(&mut back, "locks", "locks_votes", |votes| votes == 1);
        for at in 0..4 {
            assert_eq!(ask(&mut back, &format!("LOCK.ACQUIRE l{dead}-{at} back 60000")), Reply::Null);
        }
    }
}

#[test]
fn a_cluster_that_was_killed_whole_comes_back_with_its_holders() {
    let folder = Folder::new("locks-cluster");
    let mut cluster = cluster(folder.path());
    let (token, ..) = acquire_at_last(&mut cluster.client(0), "l", "a", 600_000);
    let (other, ..) = acquire_at_last(&mut cluster.client(1), "m", "a", 600_000);
    (0..NODES).for_each(|at| cluster.kill(at));
    for at in 0..NODES {
        cluster.children[at] = Some(cluster.spawn(at, First::No));
    }
    for at in 0..NODES {
        assert!(cluster.await_ready(at), "node {at} is ready");
        let mut client = cluster.client(at);
        // The first call may come before it is known here who votes; it waits for that.
        assert_eq!(ask(&mut client, "LOCK.ACQUIRE l b 60000"), Reply::Null);
        assert_eq!(owners(&mut client, "m"), ["a"]);
    }
    let mut client = cluster.client(2);
    let (fresh, ..) = acquire_at_last(&mut client, "n", "b", 60_000);
    assert_eq!(ask(&mut client, &format!("LOCK.RELEASE l a {token}")), Reply::Integer(1));
    let (next, ..) = acquire_at_last(&mut client, "l", "b", 60_000);
    assert!(next > token && fresh > 0 && other > 0);
}

#[test]
fn a_node_that_stands_still_is_gone_around() {
    let folder = Folder::new("locks-cluster");
    let cluster = cluster(folder.path());
    let mut client = cluster.client(0);
    acquire_at_last(&mut client, "warm", "a", 60_000);
    let token = acquire_at_last(&mut client, "held", "a", 60_000).0;
    cluster.stop(1);
    for at in 0..12 {
        let begun = Instant::now();
        acquire_at_last(&mut client, &format!("l{at}"), "a", 60_000);
        // Far below the time after which a link counts as lost, and far above what a busy machine makes of 20 ms.
        assert!(begun.elapsed() < Duration::from_secs(3), "l{at} took {:?}", begun.elapsed());
    }
    assert_eq!(ask(&mut client, &format!("LOCK.RENEW held a {token} 60000")), Reply::Integer(60_000));
    await_number(&mut client, "locks", "locks_hedges", |count| count > 0);
    cluster.signal(1, "-CONT");
    let mut back = cluster.client(1);
    for at in 0..12 {
        assert_eq!(ask(&mut back, &format!("LOCK.ACQUIRE l{at} b 60000")), Reply::Null);
    }
}

#[test]
fn a_replaced_node_gives_its_vote_to_the_one_that_takes_its_place() {
    let folder = Folder::new("locks-cluster");
    let mut cluster = cluster(folder.path());
    let mut client = cluster.client(0);
    await_number(&mut client, "locks", "locks_epoch", |epoch| epoch == 1);
    let (token, ..) = acquire_at_last(&mut client, "l", "a", 600_000);
    cluster.kill(2);
    let fresh = cluster.join();
    let replaced = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["cluster", "replace", "--dead", "00000000000000a3"])
        .args(["--with", &cluster.admin(fresh), "--admin", &cluster.admin(0)])
        .output()
        .expect("the binary starts");
    assert!(replaced.status.success(), "{replaced:?}");
    await_number(&mut client, "locks", "locks_epoch", |epoch| epoch == 2);
    let mut newcomer = cluster.client(fresh);
    await_number(&mut newcomer, "locks", "locks_votes", |votes| votes == 1);
    assert_eq!(number(&mut newcomer, "locks", "locks_epoch"), 2);
    await_number(&mut newcomer, "locks", "locks_rescans", |rescans| rescans == 1);
    // From here on the newcomer's vote is needed.
    cluster.kill(1);
    let (other, ..) = acquire_at_last(&mut newcomer, "m", "a", 60_000);
    assert_eq!(ask(&mut newcomer, "LOCK.ACQUIRE l b 60000"), Reply::Null, "it is held through the change of voters");
    assert_eq!(ask(&mut newcomer, &format!("LOCK.RELEASE l a {token}")), Reply::Integer(1));
    assert!(acquire_at_last(&mut client, "l", "b", 60_000).0 > token && other > 0);
}

/// All files of a folder, in another.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a temporary folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("it can be read");
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            std::fs::copy(&path, &copied).expect("it can be copied");
        }
    }
}

#[test]
fn tokens_go_on_above_all_others_after_older_data_is_restored() {
    let folder = Folder::new("lock-generation");
    let (data, backup) = (folder.path().join("data"), folder.path().join("backup"));
    let node = Node::start(&data);
    let (before, ..) = granted(ask(&mut node.client(), "LOCK.ACQUIRE known alice 60000"));
    assert_eq!(ask(&mut node.client(), &format!("LOCK.RELEASE known alice {before}")), Reply::Integer(1));
    node.terminate();
    copy(&data, &backup);
    let node = Node::start(&data);
    let mut lost = 0;
    for name in ["known", "new"] {
        for _ in 0..20 {
            let (token, fence, _) = granted(ask(&mut node.client(), &format!("LOCK.ACQUIRE {name} bob 60000")));
            lost = lost.max(token).max(fence);
            assert_eq!(ask(&mut node.client(), &format!("LOCK.RELEASE {name} bob {token}")), Reply::Integer(1));
        }
    }
    node.terminate();
    std::fs::remove_dir_all(&data).expect("it is ours");
    copy(&backup, &data);
    let node = Node::start_with(&data, |command| command.args(["--lock-generation", "1"]));
    let mut client = node.client();
    for name in ["known", "new", "newer"] {
        let (token, fence, _) =
            granted(ask(&mut client, &format!("LOCK.ACQUIRE {name} carol 60000 FENCING key:{name}")));
        assert!(token > lost && fence > lost, "{name}: {token} and {fence} after {lost}");
        assert_eq!(ask(&mut client, &format!("FENCE {name} {fence} SET key:{name} 1")), Reply::ok());
    }
    node.terminate();
    let refused = support::refused_with(&data, "0", &[]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("has run with 1"), "{text}");
}
