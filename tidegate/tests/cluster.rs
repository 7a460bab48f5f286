//! Three real nodes: any of them serves any key, and what was acknowledged survives the death of one.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::cluster::{Cluster, First, NODES, hold_ports};
use support::{Client, Folder, Reply};

#[test]
fn any_node_serves_any_key() {
    let folder = Folder::new("cluster");
    let cluster = Cluster::start(folder.path());
    println!("three nodes are ready in {:?}", cluster.ready_in);
    assert!(cluster.ready_in < Duration::from_secs(10), "{:?}", cluster.ready_in);
    let mut clients: Vec<Client> = (0..NODES).map(|at| cluster.client(at)).collect();
    for at in 0..90 {
        let (key, value) = (format!("key:{at}"), format!("value:{at}"));
        assert_eq!(clients[at % 3].ask(&["SET", &key, &value]).expect("a node answers"), Reply::ok());
        assert_eq!(clients[(at + 1) % 3].ask(&["GET", &key]).expect("a node answers"), Reply::bulk(&value));
    }
    for client in &mut clients {
        // One node after the other: the counters below are keys too.
        client.ask(&["DEL", "{n}a", "{n}b"]).expect("a node answers");
        assert_eq!(client.ask(&["DBSIZE"]).expect("a node answers"), Reply::Integer(90));
        // A pipeline's replies come in its order, whichever nodes they come from.
        for at in 0..90 {
            client.send(&["GET", &format!("key:{at}")]).expect("a node takes commands");
        }
        for at in 0..90 {
            assert_eq!(client.reply().expect("a node answers"), Reply::bulk(&format!("value:{at}")));
        }
        assert_eq!(client.ask(&["MULTI"]).expect("a node answers"), Reply::ok());
        client.ask(&["INCR", "{n}a"]).expect("a node answers");
        client.ask(&["INCR", "{n}b"]).expect("a node answers");
        assert!(matches!(client.ask(&["EXEC"]).expect("a node answers"), Reply::Array(both) if both.len() == 2));
    }
    let both = Reply::Array(vec![Reply::bulk("1"), Reply::bulk("1")]);
    assert_eq!(clients[0].ask(&["MGET", "{n}a", "{n}b"]).expect("a node answers"), both);
}

/// One writer's key: what was acknowledged last, and the longest time without an acknowledgement.
struct Written {
    key: String,
    acknowledged: u64,
    sent: u64,
    gap: Duration,
}

fn write_until(mut client: Client, number: usize, stop: &AtomicBool) -> Written {
    let mut written = Written { key: format!("writer:{number}"), acknowledged: 0, sent: 0, gap: Duration::ZERO };
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        written.sent += 1;
        let reply = client.ask(&["SET", &written.key, &written.sent.to_string()]).expect("a surviving node answers");
        if reply == Reply::ok() {
            written.acknowledged = written.sent;
            written.gap = written.gap.max(last.elapsed());
            last = Instant::now();
        } else {
            let told =
                matches!(&reply, Reply::Error(why) if why.starts_with("INDOUBT ") || why.starts_with("TRYAGAIN "));
            assert!(told, "{reply:?}");
        }
    }
    written
}

#[test]
fn what_was_acknowledged_survives_the_death_of_a_node() {
    let folder = Folder::new("cluster-kill");
    let mut cluster = Cluster::start(folder.path());
    for victim in 0..NODES {
        let stop = AtomicBool::new(false);
        let survivors: Vec<usize> = (0..NODES).filter(|at| *at != victim).collect();
        let clients: Vec<Client> = (0..8).map(|at| cluster.client(survivors[at % 2])).collect();
        let written: Vec<Written> = std::thread::scope(|scope| {
            let stop = &stop;
            let writers: Vec<_> = clients
                .into_iter()
                .enumerate()
                .map(|(at, client)| scope.spawn(move || write_until(client, victim * 8 + at, stop)))
                .collect();
            let mut watcher = cluster.client(survivors[0]);
            let progress = |watcher: &mut Client, wanted: u64| {
                let begun = Instant::now();
                for number in 0..8 {
                    let key = format!("writer:{}", victim * 8 + number);
                    loop {
                        let reply = watcher.ask(&["GET", &key]).expect("a surviving node answers");
                        let reached = match &reply {
                            Reply::Bulk(text) => String::from_utf8_lossy(text).parse().unwrap_or(0),
                            _ => 0,
                        };
                        if reached >= wanted {
                            break;
                        }
                        assert!(begun.elapsed() < Duration::from_secs(60), "{key} stays at {reply:?}");
                    }
                }
            };
            progress(&mut watcher, 50);
            cluster.kill(victim);
            progress(&mut watcher, 200);
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().expect("a writer ends")).collect()
        });
        let worst = written.iter().map(|one| one.gap).max().expect("there are writers");
        println!("node {victim} killed: the worst writer waited {worst:?}");
        cluster.restart(victim);
        let mut client = cluster.client(victim);
        for one in written {
            let Reply::Bulk(text) = client.ask(&["GET", &one.key]).expect("a node answers") else {
                panic!("{}", one.key)
            };
            let found: u64 = String::from_utf8_lossy(&text).parse().expect("a number was written");
            assert!(found >= one.acknowledged && found <= one.sent, "{}: {found} of {}", one.key, one.acknowledged);
        }
    }
}

/// Sets a key, again and again while its shard changes its leader.
fn set(client: &mut Client, key: &str, value: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = client.ask(&["SET", key, value]).expect("a node answers");
        if reply == Reply::ok() {
            return;
        }
        println!("{key}: {reply:?}");
        assert!(Instant::now() < deadline, "{key}: {reply:?}");
    }
}

/// A node is away while more is written to a shard than its peers keep for it in memory: it gets a snapshot, what was
/// written during that, and then counts for a majority again.
#[test]
fn a_node_that_missed_too_much_gets_a_snapshot() {
    let folder = Folder::new("cluster-snapshot");
    let mut cluster = Cluster::start(folder.path());
    cluster.kill(2);
    const WRITTEN: u32 = 1100;
    let value = "v".repeat(64 * 1024);
    let mut client = cluster.client(0);
    // More than a leader keeps in memory for anybody.
    for at in 0..WRITTEN {
        set(&mut client, &format!("{{t}}{at}"), &value);
    }
    client.ask(&["SET", "{t}0", "changed"]).expect("a node answers");
    cluster.restart(2);
    let log = cluster.files[2].with_extension("log");
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut at = WRITTEN;
    while !std::fs::read_to_string(&log).expect("there is a log").contains("replaced by a snapshot of its leader") {
        assert!(Instant::now() < deadline, "no snapshot came");
        set(&mut client, &format!("{{t}}{at}"), "during");
        at += 1;
    }
    // Without this one the other two must agree: neither may lack anything.
    cluster.kill(0);
    let mut client = cluster.client(2);
    set(&mut client, "{t}after", "w");
    assert_eq!(client.ask(&["GET", "{t}0"]).expect("a node answers"), Reply::bulk("changed"));
    for at in 1..WRITTEN {
        assert_eq!(client.ask(&["STRLEN", &format!("{{t}}{at}")]).expect("a node answers"), Reply::Integer(64 * 1024));
    }
    for at in WRITTEN..at {
        assert_eq!(client.ask(&["GET", &format!("{{t}}{at}")]).expect("a node answers"), Reply::bulk("during"));
    }
    // What it got is on its own disk.
    cluster.kill(2);
    cluster.restart(2);
    let mut client = cluster.client(2);
    assert_eq!(client.ask(&["GET", "{t}0"]).expect("a node answers"), Reply::bulk("changed"));
    let last = format!("{{t}}{}", WRITTEN - 1);
    assert_eq!(client.ask(&["STRLEN", &last]).expect("a node answers"), Reply::Integer(64 * 1024));
}

/// A node whose log is long when it starts asked for snapshots before it had applied anything, and never again: its disk
/// filled up.
#[test]
fn a_log_that_is_long_at_the_start_is_covered_by_snapshots() {
    let folder = Folder::new("cluster-long-log");
    let mut cluster = Cluster::start(folder.path());
    let (mut client, value) = (cluster.client(0), "v".repeat(64 * 1024));
    for at in 0..1100 {
        set(&mut client, &format!("key:{at}"), &value);
    }
    (0..NODES).for_each(|at| cluster.kill(at));
    cluster.options = vec!["--snapshot-after-mib", "64"];
    // Alone it knows its log and applies nothing.
    cluster.children[0] = Some(cluster.spawn(0, First::No));
    await_metric(&cluster, "tidegate_wal_bytes", 64.0 * 1024.0 * 1024.0);
    for at in 1..NODES {
        cluster.children[at] = Some(cluster.spawn(at, First::No));
    }
    assert!((0..NODES).all(|at| cluster.await_ready(at)), "the nodes came back");
    await_metric(&cluster, "tidegate_snapshots_total", 9.0);
}

/// Waits until a sum over a metric's series on node 0 is at least `least`.
fn await_metric(cluster: &Cluster, name: &str, least: f64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let page = support::http(&cluster.admin(0), "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let body = page.map(|page| page.body).unwrap_or_default();
        let lines = body.lines().filter(|line| line.starts_with(name));
        let sum: f64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        if sum >= least {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is {sum}, not {least}");
    }
}

/// A lost node's place goes to a new one while writers go on; then the new one makes the majority, and the old one is refused.
#[test]
fn a_lost_node_is_replaced_under_load() {
    let folder = Folder::new("cluster-replace");
    let mut cluster = Cluster::start(folder.path());
    let mut client = cluster.client(0);
    for at in 0..200 {
        assert_eq!(client.ask(&["SET", &format!("before:{at}"), "v"]).expect("a node answers"), Reply::ok());
    }
    cluster.kill(2);
    let new = cluster.join();
    let stop = AtomicBool::new(false);
    let clients: Vec<Client> = (0..4).map(|at| cluster.client(at % 2)).collect();
    let written: Vec<Written> = std::thread::scope(|scope| {
        let stop = &stop;
        let write = |(at, client)| scope.spawn(move || write_until(client, at, stop));
        let writers: Vec<_> = clients.into_iter().enumerate().map(write).collect();
        let replaced = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["cluster", "replace", "--dead", "00000000000000a3"])
            .args(["--with", &format!("127.0.0.1:{}", cluster.ports[new][1])])
            .args(["--admin", &format!("127.0.0.1:{}", cluster.ports[0][1])])
            .output()
            .expect("the binary starts");
        stop.store(true, Ordering::Relaxed);
        assert!(replaced.status.success(), "{replaced:?}");
        writers.into_iter().map(|writer| writer.join().expect("a writer ends")).collect()
    });
    assert!(cluster.await_ready(new), "the new node serves");
    // The other two are not enough without it.
    cluster.kill(0);
    let mut client = cluster.client(new);
    for at in 0..200 {
        assert_eq!(client.ask(&["GET", &format!("before:{at}")]).expect("a node answers"), Reply::bulk("v"));
    }
    for one in written {
        let Reply::Bulk(text) = client.ask(&["GET", &one.key]).expect("a node answers") else { panic!("{}", one.key) };
        let found: u64 = String::from_utf8_lossy(&text).parse().expect("a number was written");
        assert!(found >= one.acknowledged && found <= one.sent, "{}: {found} of {}", one.key, one.acknowledged);
    }
    cluster.restart(0);
    let mut old = cluster.spawn(2, First::No);
    let its_log = cluster.files[2].with_extension("log");
    let deadline = Instant::now() + Duration::from_secs(30);
    let told = "refuses this node: node 00000000000000a3 was removed from this cluster";
    while !std::fs::read_to_string(&its_log).expect("there is a log").contains(told) {
        assert!(Instant::now() < deadline, "nobody tells the removed node");
        std::thread::yield_now();
    }
    old.kill().expect("the child is ours");
    old.wait().expect("the child can be waited for");
    // It knows the others without its file, which names one that is gone.
    cluster.kill(new);
    cluster.restart(new);
    assert_eq!(cluster.client(new).ask(&["SET", "k", "v"]).expect("a node answers"), Reply::ok());
}

#[test]
fn without_a_majority_no_write_is_acknowledged() {
    let folder = Folder::new("cluster-minority");
    let mut cluster = Cluster::start(folder.path());
    assert_eq!(cluster.client(0).ask(&["SET", "k", "v"]).expect("a node answers"), Reply::ok());
    cluster.kill(1);
    cluster.kill(2);
    let reply = cluster.client(0).ask(&["SET", "k", "w"]).expect("a node answers");
    let told = matches!(&reply, Reply::Error(why) if why.starts_with("INDOUBT ") || why.starts_with("NOQUORUM "));
    assert!(told, "{reply:?}");
    cluster.restart(1);
    assert!(matches!(cluster.client(1).ask(&["GET", "k"]).expect("a node answers"), Reply::Bulk(_)));
}

/// A key of a shard that the node leads: the cluster endpoints of the others send clients there. They serve such keys themselves
/// until they know where it listens.
fn key_led_by(cluster: &Cluster, at: usize) -> String {
    let others: Vec<usize> = (0..NODES).filter(|other| *other != at).collect();
    let there = format!("127.0.0.1:{}", cluster.ports[at][3]);
    let leads = |key: &String| {
        let mut sent = others.iter().map(|other| cluster.cluster_client(*other).ask(&["EXISTS", key]));
        sent.all(|reply| matches!(reply, Ok(Reply::Error(why)) if why.starts_with("MOVED ") && why.ends_with(&there)))
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    let key = (0..).map(|n| format!("k{}", n % 100)).take_while(|_| Instant::now() < deadline).find(leads);
    key.expect("the node leads a shard, and others know where it listens")
}

#[test]
fn a_lost_leader_is_told_of_as_the_node_is_set() {
    let folder = Folder::new("cluster-doubt");
    let cluster = Cluster::start(folder.path());
    let refused = cluster.client(0).ask(&["CONFIG", "SET", "on-lost-leader", "hope"]).expect("a node answers");
    assert!(matches!(&refused, Reply::Error(why) if why.contains("error, close")), "{refused:?}");
    assert_eq!(
        cluster.client(0).ask(&["CONFIG", "SET", "on-lost-leader", "close"]).expect("a node answers"),
        Reply::ok()
    );
    // Whether a write is on its way when the leader stops is a matter of time: it mostly is.
    for _ in 0..20 {
        cluster.await_spread();
        let key = key_led_by(&cluster, 2);
        let (mut closing, mut telling) = (cluster.client(0), cluster.client(1));
        cluster.stop(2);
        for client in [&mut closing, &mut telling] {
            client.send(&["SET", &key, "v"]).expect("the node takes commands");
            client.send(&["PING"]).expect("the node takes commands");
        }
        let (ended, told) = (closing.reply(), telling.reply());
        let behind = ended.is_ok().then(|| closing.reply());
        cluster.signal(2, "-CONT");
        if let (Err(_), Ok(Reply::Error(why))) = (&ended, &told) {
            assert!(why.starts_with("INDOUBT "), "{why}");
            let pong = telling.reply().expect("the connection goes on");
            assert_eq!(pong, Reply::Simple("PONG".into()));
            return;
        }
        assert!(!matches!(ended, Ok(Reply::Error(_))), "{ended:?}");
        assert!(behind.is_none_or(|reply| reply.is_ok()), "what is answered ends no connection");
    }
    panic!("no write was on its way to a leader that stopped");
}

#[test]
fn a_node_without_its_disk_is_refused() {
    let folder = Folder::new("cluster-wiped");
    let mut cluster = Cluster::start(folder.path());
    cluster.kill(2);
    std::fs::remove_dir_all(cluster.data(2)).expect("the disk can be lost");
    let refused = cluster.spawn(2, First::No).wait_with_output().expect("it ends by itself");
    assert!(!refused.status.success());
    let log = std::fs::read_to_string(cluster.files[2].with_extension("log")).expect("there is a log");
    assert!(log.contains("holds no data of node 00000000000000a3"), "{log}");
    // With --bootstrap it begins, and its peers don't speak to it.
    let mut wiped = cluster.spawn(2, First::Bootstrap);
    let log_of_peer = cluster.files[0].with_extension("log");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(&log_of_peer).expect("there is a log").contains("came back without its disk") {
        assert!(Instant::now() < deadline, "nobody refuses the wiped node");
        std::thread::yield_now();
    }
    assert_eq!(cluster.client(0).ask(&["SET", "k", "v"]).expect("the others serve"), Reply::ok());
    wiped.kill().expect("the child is ours");
    wiped.wait().expect("the child can be waited for");
}

#[test]
fn strangers_on_the_peer_port_are_closed_and_harm_nobody() {
    let folder = Folder::new("cluster-strangers");
    let cluster = Cluster::start(folder.path());
    let mut hello = b"TIDEPEER\x02\x00".to_vec();
    hello.extend_from_slice(&0xc1u64.to_le_bytes());
    hello.extend_from_slice(&0xa2u64.to_le_bytes());
    hello.extend_from_slice(&0xa1u64.to_le_bytes());
    let mut wrong_life = hello.clone();
    wrong_life.extend_from_slice(&[7; 24]);
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: something that is long enough to be read\r\n\r\n".to_vec(),
        b"TIDEPEER\x09\x00 of another version, with more behind it than a hello has, to be sure".to_vec(),
        [&hello[..10], &[9; 60]].concat(),
        wrong_life,
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", cluster.ports[0][2])).expect("the port is open");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
        stream.write_all(&bytes).expect("bytes can be sent");
        let mut answer = Vec::new();
        // A close with unread bytes is a reset.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() <= 90, "a stranger learns no more than a hello and a refusal: {} bytes", answer.len());
    }
    let mut crowd = Vec::new();
    for _ in 0..100 {
        crowd.push(TcpStream::connect(("127.0.0.1", cluster.ports[0][2])).expect("the port is open"));
    }
    let mut client = cluster.client(0);
    for at in 0..50 {
        assert_eq!(client.ask(&["SET", &format!("k{at}"), "v"]).expect("a node answers"), Reply::ok());
    }
}

#[test]
fn local_runs_a_cluster_and_ends_it() {
    let folder = Folder::new("cluster-local");
    for _ in 0..20 {
        let ([base, ..], _) = hold_ports();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["local", "--nodes", "3", "--port", &base.min(64_000).to_string(), "--dir"])
            .arg(folder.path().join(base.to_string()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr: ChildStderr = child.stderr.take().expect("stderr is piped");
        let ended = std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).next());
        let mut line = String::new();
        // A port of the range may be taken: then a node ends at once, and the test tries another range.
        let stdout = child.stdout.take().expect("stdout is piped");
        let (told, news) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut first = String::new();
            let _ = BufReader::new(stdout).read_line(&mut first);
            let _ = told.send(first);
        });
        let deadline = Instant::now() + Duration::from_secs(30);
        while line.is_empty() && !ended.is_finished() && Instant::now() < deadline {
            line = news.recv_timeout(Duration::from_millis(50)).unwrap_or_default();
        }
        let pid = child.id().to_string();
        if line.starts_with("ready ") {
            let address = line.split("resp=").nth(1).and_then(|rest| rest.split(',').next()).expect("addresses");
            let mut client = Client::connect(address).expect("the first node takes connections");
            assert_eq!(client.ask(&["SET", "k", "v"]).expect("a node answers"), Reply::ok());
        }
        let sent = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
        assert!(sent.success());
        let status = child.wait().expect("the child can be waited for");
        if line.starts_with("ready ") {
            assert!(status.success(), "SIGTERM ends it gracefully: {status}");
            return;
        }
    }
    panic!("no range of free ports was found");
}
