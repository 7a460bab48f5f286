//! The cluster endpoint of real nodes: the shapes that clients of a Redis Cluster parse, and what becomes of commands that
//! are for another node. Real clients are tried by clients.sh.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::cluster::{Cluster, NODES};
use support::{Client, Folder, Node, Reply};

/// A cluster whose nodes know of each other where they listen; until then, they forward.
fn start(folder: &Folder) -> Cluster {
    let cluster = Cluster::start(folder.path());
    let mut clients: Vec<Client> = (0..NODES).map(|at| cluster.cluster_client(at)).collect();
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut all: Vec<Reply> = Vec::new();
    while all.is_empty() || all.iter().any(|one| *one != all[0]) {
        assert!(Instant::now() < deadline, "{all:?}");
        all = clients.iter_mut().map(|client| ask(client, "CLUSTER SLOTS")).collect();
    }
    cluster
}

fn ask(client: &mut Client, line: &str) -> Reply {
    let words: Vec<&str> = line.split(' ').collect();
    client.ask(&words).expect("a node answers")
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8(bytes.clone()).expect("it is text"),
        Reply::Simple(text) | Reply::Error(text) => text.clone(),
        other => panic!("no text, but {other:?}"),
    }
}

fn array(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::Array(items) => items,
        other => panic!("no array, but {other:?}"),
    }
}

/// CLUSTER SLOTS: first slot, last slot, port of the owner, its id.
fn slots(client: &mut Client) -> Vec<(i64, i64, u16, String)> {
    let row = |row: Reply| {
        let row = array(row);
        let [Reply::Integer(first), Reply::Integer(last)] = row[..2] else { panic!("{row:?}") };
        let owner = array(row[2].clone());
        let [Reply::Bulk(host), Reply::Integer(port), id, Reply::Array(more)] = &owner[..] else { panic!("{owner:?}") };
        assert_eq!((&host[..], more.len()), (&b"127.0.0.1"[..], 0));
        (first, last, u16::try_from(*port).expect("a port"), text(id))
    };
    array(ask(client, "CLUSTER SLOTS")).into_iter().map(row).collect()
}

/// The index of the node that leads a key, and the key's slot.
fn leader(cluster: &Cluster, client: &mut Client, key: &str) -> (usize, i64) {
    let Reply::Integer(slot) = ask(client, &format!("CLUSTER KEYSLOT {key}")) else { panic!("KEYSLOT is a number") };
    let ranges = slots(client);
    let range = ranges.iter().find(|(first, last, ..)| (*first..=*last).contains(&slot)).expect("all slots are served");
    (cluster.ports.iter().position(|ports| ports[3] == range.2).expect("a node of this cluster"), slot)
}

#[test]
fn slots_shards_nodes_and_info_have_the_shapes_of_redis() {
    let folder = Folder::new("endpoint-shapes");
    let cluster = start(&folder);
    let mut client = cluster.cluster_client(0);
    let ranges = slots(&mut client);
    let ends = ranges.iter().map(|(_, last, ..)| last + 1);
    assert!(ranges.iter().map(|(first, ..)| *first).eq([0].into_iter().chain(ends).take(ranges.len())), "{ranges:?}");
    assert_eq!(ranges.last().expect("there are some").1, 16_383);
    assert!(ranges.windows(2).all(|pair| pair[0].2 != pair[1].2), "neighbours of one leader are one range: {ranges:?}");

    let me = text(&ask(&mut client, "CLUSTER MYID"));
    assert_eq!(me, format!("{:040x}", 0xa1));
    let nodes = text(&ask(&mut client, "CLUSTER NODES"));
    assert_eq!(nodes.lines().count(), NODES);
    let [resp, admin, peers, port, _] = cluster.ports[0];
    let mine = nodes.lines().find(|line| line.starts_with(&me)).expect("it knows itself");
    assert!(mine.starts_with(&format!("{me} 127.0.0.1:{port}@{peers} myself,")), "{mine}");
    assert!(mine.contains(" connected"), "{mine}");
    let led: i64 = nodes.lines().flat_map(|line| line.split(' ').skip(8)).map(width).sum();
    assert_eq!(led, 16_384, "{nodes}");

    let shards = array(ask(&mut client, "CLUSTER SHARDS"));
    assert_eq!(shards.len(), 8);
    let shard = array(shards[0].clone());
    assert_eq!([text(&shard[0]), text(&shard[2])], ["slots", "nodes"]);
    assert_eq!(array(shard[1].clone()), [Reply::Integer(0), Reply::Integer(2047)]);
    let replicas = array(shard[3].clone());
    assert_eq!(replicas.len(), NODES);
    let names: Vec<String> = array(replicas[0].clone()).iter().step_by(2).map(text).collect();
    assert_eq!(names, ["id", "port", "ip", "endpoint", "role", "replication-offset", "health"]);

    let info = text(&ask(&mut client, "CLUSTER INFO"));
    for line in ["cluster_state:ok", "cluster_slots_assigned:16384", "cluster_slots_ok:16384", "cluster_known_nodes:3"]
    {
        assert!(info.contains(&format!("{line}\r\n")), "{info}");
    }
    let server = text(&ask(&mut client, "INFO"));
    assert!(server.contains("redis_mode:cluster\r\n") && server.contains("cluster_enabled:1\r\n"), "{server}");
    assert!(server.contains(&format!("tcp_port:{port}\r\n")) && server.contains(&format!("admin_port:{admin}\r\n")));
    let routing = text(&ask(&mut cluster.client(0), "INFO"));
    assert!(routing.contains("redis_mode:standalone\r\n") && routing.contains("cluster_enabled:0\r\n"), "{routing}");
    assert!(routing.contains(&format!("tcp_port:{resp}\r\n")));
}

/// Slots of a range as CLUSTER NODES writes it.
fn width(range: &str) -> i64 {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<i64>().expect("a slot");
    number(last) - number(first) + 1
}

#[test]
fn a_key_of_another_node_is_moved_and_several_slots_are_refused() {
    let folder = Folder::new("endpoint-moved");
    let cluster = start(&folder);
    let mut clients: Vec<Client> = (0..NODES).map(|at| cluster.cluster_client(at)).collect();
    let (home, slot) = leader(&cluster, &mut clients[0], "foo");
    assert_eq!(slot, 12_182);
    assert_eq!(ask(&mut cluster.client(0), "SET foo -"), Reply::ok());
    for (at, client) in clients.iter_mut().enumerate() {
        let moved = Reply::Error(format!("MOVED 12182 127.0.0.1:{}", cluster.ports[home][3]));
        let wanted = if at == home { Reply::ok() } else { moved };
        assert_eq!(ask(client, "SET foo bar"), wanted);
        assert_eq!(ask(client, "MULTI"), Reply::ok());
        if at == home {
            assert_eq!(ask(client, "GET foo"), Reply::Simple("QUEUED".to_owned()));
            assert_eq!(ask(client, "EXEC"), Reply::Array(vec![Reply::bulk("bar")]));
        } else {
            assert!(text(&ask(client, "GET foo")).starts_with("MOVED 12182 "));
            assert!(text(&ask(client, "EXEC")).starts_with("EXECABORT "));
        }
        let crossed = Reply::Error("CROSSSLOT Keys in request don't hash to the same slot".to_owned());
        assert_eq!(ask(client, "MGET a b"), crossed);
        assert_eq!(ask(client, "SELECT 1"), Reply::Error("ERR SELECT is not allowed in cluster mode".to_owned()));
        assert_eq!(ask(client, "SELECT 0"), Reply::ok());
        for line in ["ASKING", "READONLY", "READWRITE"] {
            assert_eq!(ask(client, line), Reply::ok());
        }
        assert_eq!(ask(client, "CLUSTER COUNTKEYSINSLOT 12182"), Reply::Integer(1));
        assert_eq!(ask(client, "CLUSTER GETKEYSINSLOT 12182 10"), Reply::Array(vec![Reply::bulk("foo")]));
        assert_eq!(ask(client, "CLUSTER COUNTKEYSINSLOT 16384"), Reply::Error("ERR Invalid slot".to_owned()));
        assert!(text(&ask(client, "CLUSTER MEET a 1")).starts_with("ERR CLUSTER MEET is not served"));
    }
    // A transaction of one node, but of several slots, whose commands are fine by themselves.
    let client = &mut clients[home];
    let other =
        (0..).map(|n| format!("foo{n}")).find(|key| leader(&cluster, client, key).0 == home).expect("one of many");
    for line in ["MULTI", "GET foo", &format!("GET {other}")] {
        ask(client, line);
    }
    assert_eq!(text(&ask(client, "EXEC")), "CROSSSLOT Keys in request don't hash to the same slot");
    assert_eq!(text(&ask(client, "EXEC")), "ERR EXEC without MULTI");
}

#[test]
fn the_nodes_together_tell_every_key_once() {
    let folder = Folder::new("endpoint-scan");
    let cluster = start(&folder);
    let mut routing = cluster.client(0);
    for n in 0..300 {
        assert_eq!(ask(&mut routing, &format!("SET key:{n} {n}")), Reply::ok());
    }
    let (mut sum, mut keys, mut scanned) = (0, 0, BTreeMap::new());
    for at in 0..NODES {
        let mut client = cluster.cluster_client(at);
        let Reply::Integer(size) = ask(&mut client, "DBSIZE") else { panic!("DBSIZE is a number") };
        sum += size;
        keys += array(ask(&mut client, "KEYS *")).len();
        let mut cursor = "0".to_owned();
        loop {
            let page = array(ask(&mut client, &format!("SCAN {cursor} COUNT 7")));
            cursor = text(&page[0]);
            for key in array(page[1].clone()) {
                *scanned.entry(text(&key)).or_insert(0) += 1;
            }
            if cursor == "0" {
                break;
            }
        }
    }
    assert_eq!((sum, keys, scanned.len()), (300, 300, 300));
    assert!(scanned.values().all(|times| *times == 1), "{scanned:?}");
}

#[test]
fn a_replica_answers_reads_of_readonly_connections_until_it_may_be_too_old() {
    let folder = Folder::new("endpoint-readonly");
    let mut cluster = start(&folder);
    let (home, _) = leader(&cluster, &mut cluster.cluster_client(0), "foo");
    assert_eq!(ask(&mut cluster.cluster_client(home), "SET foo bar"), Reply::ok());
    let replica = (home + 1) % NODES;
    let mut client = cluster.cluster_client(replica);
    assert!(text(&ask(&mut client, "GET foo")).starts_with("MOVED "));
    assert_eq!(ask(&mut client, "READONLY"), Reply::ok());
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut last = ask(&mut client, "GET foo");
    while last != Reply::bulk("bar") {
        let behind = last == Reply::Null || text(&last).starts_with("MOVED ");
        assert!(Instant::now() < deadline && behind, "{last:?}");
        last = ask(&mut client, "GET foo");
    }
    assert!(text(&ask(&mut client, "SET foo x")).starts_with("MOVED "), "a replica takes no writes");
    assert!(text(&ask(&mut client, "WATCH foo")).starts_with("MOVED "), "EXEC is for the leader");
    // Nothing is as fresh as this.
    assert_eq!(ask(&mut client, "CONFIG SET replica-staleness-max-ms 0"), Reply::ok());
    assert!(text(&ask(&mut client, "GET foo")).starts_with("MOVED "));
    assert_eq!(ask(&mut client, "CONFIG SET replica-staleness-max-ms 1000"), Reply::ok());
    // Cut off from all others, it must stop: within its bound it may still serve.
    for at in (0..NODES).filter(|at| *at != replica) {
        cluster.kill(at);
    }
    let begun = Instant::now();
    while matches!(ask(&mut client, "GET foo"), Reply::Bulk(_)) {
        assert!(begun.elapsed() < Duration::from_millis(1500), "it serves longer than it may");
    }
    let mut last = ask(&mut client, "GET foo");
    while !text(&last).starts_with("CLUSTERDOWN ") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{last:?}");
        last = ask(&mut cluster.cluster_client(replica), "GET foo");
    }
    assert!(text(&ask(&mut client, "CLUSTER INFO")).contains("cluster_state:fail\r\n"));
    assert_eq!(ask(&mut client, "CLUSTER SLOTS"), Reply::Array(Vec::new()));
}

#[test]
fn one_node_owns_all_slots() {
    let folder = Folder::new("endpoint-dev");
    let node = Node::start(folder.path());
    let mut client = Client::connect(node.cluster()).expect("a ready node takes connections");
    let ranges = slots(&mut client);
    let port: u16 = node.cluster().rsplit_once(':').expect("an address has a port").1.parse().expect("a number");
    assert_eq!((ranges.len(), ranges[0].0, ranges[0].1, ranges[0].2), (1, 0, 16_383, port));
    assert_eq!(ask(&mut client, "SET foo bar"), Reply::ok());
    assert_eq!(ask(&mut node.client(), "GET foo"), Reply::bulk("bar"));
    assert_eq!(ask(&mut client, "READONLY"), Reply::ok());
    assert_eq!(ask(&mut client, "GET foo"), Reply::bulk("bar"));
    assert_eq!(ask(&mut client, "DBSIZE"), Reply::Integer(1));
    assert_eq!(ask(&mut client, "MOVE foo 1"), Reply::Error("ERR MOVE is not allowed in cluster mode".to_owned()));
    for line in ["CLUSTER INFO", "CLUSTER KEYSLOT a", "CLUSTER MYID", "READONLY", "READWRITE", "ASKING"] {
        let reply = ask(&mut node.client(), line);
        assert_eq!(reply, Reply::Error("ERR This instance has cluster support disabled".to_owned()), "{line}");
    }
    assert_eq!(
        ask(&mut node.client(), "CLUSTER FOO"),
        Reply::Error("ERR unknown subcommand 'FOO'. Try CLUSTER HELP.".to_owned())
    );
    let file = std::fs::read_to_string(folder.path().join("endpoints.json")).expect("it is written");
    assert!(file.contains(&format!("\"cluster\":\"{}\"", node.cluster())), "{file}");
}
