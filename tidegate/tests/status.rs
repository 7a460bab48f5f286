//! `tidegate status` against real nodes: the table, the document, and clear words where nothing runs.

mod support;

use serde_json::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use support::cluster::{Cluster, NODES};
use support::{Folder, Node};

#[test]
fn a_running_node_is_found_by_its_directory_or_its_address() {
    let folder = Folder::new("status");
    let mut node = Node::start_with(folder.path(), |command| command.args(["--shards", "3"]));
    node.client().ask(&["SET", "a", "1"]).expect("a reply");
    let document = json(&status(&["--json", "--dir", &text(folder.path())]));
    let one = &document["nodes"][0];
    assert_eq!((one["state"].as_str(), one["pid"].as_u64()), (Some("ready"), Some(node.child().id().into())));
    assert_eq!(one["admin"].as_str(), Some(node.admin()));
    let shards = document["shards"].as_array().expect("shards");
    assert_eq!(shards.len(), 3);
    for shard in shards {
        assert_eq!((&shard["leader"], &shard["voters"][0]), (&one["id"], &one["id"]));
        assert!(shard["commit"].as_u64() >= Some(1) && shard["commit"] == shard["applied"], "{shard}");
    }
    assert_eq!(json(&status(&["--json", "--admin", node.admin()]))["nodes"][0]["id"], one["id"]);
    let table = status(&["--dir", &text(folder.path())]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.starts_with("node ") && table.contains("  ready  ") && table.contains("\nshard  leader"), "{table}");
}

#[test]
fn any_node_tells_of_the_whole_cluster_also_of_those_that_dont_answer() {
    let folder = Folder::new("status-cluster");
    let mut cluster = Cluster::start(folder.path());
    let deadline = Instant::now() + Duration::from_secs(30);
    let ask = |cluster: &Cluster, at: usize| {
        let begun = Instant::now();
        let document = json(&status(&["--json", "--admin", &cluster.admin(at)]));
        assert!(begun.elapsed() < Duration::from_millis(1500), "an answer took {:?}", begun.elapsed());
        document
    };
    // The roster comes some moments after the first start.
    let states = |document: &Value| -> Vec<(String, String)> {
        let nodes = document["nodes"].as_array().expect("nodes").iter();
        let word = |node: &Value, field: &str| node[field].as_str().unwrap_or_default().to_owned();
        let mut states: Vec<_> = nodes.map(|node| (word(node, "id"), word(node, "state"))).collect();
        states.sort();
        states
    };
    let ids: Vec<String> = (0xa1..0xa4).map(|id| format!("{id:016x}")).collect();
    let wanted =
        |words: [&str; NODES]| -> Vec<(String, String)> { ids.iter().cloned().zip(words.map(str::to_owned)).collect() };
    for at in 0..NODES {
        while states(&ask(&cluster, at)) != wanted(["ready"; NODES]) {
            assert!(Instant::now() < deadline, "{}", ask(&cluster, at));
        }
        let document = ask(&cluster, at);
        assert_eq!(document["nodes"][0]["id"], ids[at], "the first is the one that was asked");
        let pid = cluster.children[at].as_ref().expect("it runs").id();
        assert_eq!((&document["nodes"][0]["pid"], &document["cluster"]), (&pid.into(), &"00000000000000c1".into()));
        for shard in document["shards"].as_array().expect("shards") {
            assert!(ids.iter().any(|id| shard["leader"] == *id), "{shard}");
            assert_eq!(
                (shard["voters"].as_array().map(Vec::len), shard["replicas"].as_array().map(Vec::len)),
                (Some(3), Some(3))
            );
        }
    }
    // One is stopped, and takes connections without a word; one is dead.
    cluster.stop(1);
    cluster.kill(2);
    assert_eq!(states(&ask(&cluster, 0)), wanted(["ready", "unreachable", "unreachable"]));
    let table = status(&["--admin", &cluster.admin(0)]);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.starts_with("cluster 00000000000000c1, epoch 1: 1 of 3 nodes are ready, "), "{table}");
    assert!(table.contains("unreachable") && !table.contains('\u{1b}'), "no colours in a pipe: {table}");
    cluster.signal(1, "-CONT");
}

#[test]
fn where_nothing_runs_it_says_so() {
    let folder = Folder::new("nothing");
    let message = failure(&["--dir", &text(folder.path())]);
    assert!(message.contains("no node runs on") && message.contains("tidegate dev --dir"), "{message}");
    let node = Node::start(folder.path());
    node.kill();
    let message = failure(&["--dir", &text(folder.path())]);
    assert!(message.contains("no node runs on") && message.contains("127.0.0.1:"), "{message}");
    let message = failure(&["--admin", "127.0.0.1:1"]);
    assert!(message.contains("no node answers at 127.0.0.1:1"), "{message}");
}

#[test]
fn another_program_at_the_port_is_not_taken_for_the_node() {
    let (folder, other) = (Folder::new("gone"), Folder::new("other"));
    let stranger = Node::start(other.path());
    let file = format!("{{\"resp\":\"x\",\"admin\":\"{}\",\"pid\":1}}", stranger.admin());
    std::fs::write(folder.path().join("endpoints.json"), file).expect("the file can be written");
    let message = failure(&["--dir", &text(folder.path())]);
    assert!(message.contains("another program answers"), "{message}");
    // One that closes at once.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has an address").to_string();
    let closer = std::thread::spawn(move || drop(listener.accept()));
    assert!(failure(&["--admin", &address]).contains("no node answers"));
    closer.join().expect("it accepted");
}

fn status(options: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("status").args(options).output();
    output.expect("the binary starts")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

fn failure(options: &[&str]) -> String {
    let output = status(options);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.stdout.is_empty(), "{message}");
    message
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
