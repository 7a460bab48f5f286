//! `tidegate dev` as a user meets it: a real process, a real disk, real sockets.
//!
//! The heart is the audit: writers note what was acknowledged, the node is killed with no warning in the midst of
//! it, and after the restart every noted write must be there. A write without a reply may have happened or not.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use support::{Client, Folder, Node, Reply, refused};

const ROUNDS: u32 = 10;
const WRITERS: u32 = 4;
/// Acknowledgements seen in a round before the node is killed, so that each round has something to lose.
const ACKS_PER_ROUND_MIN: usize = 200;

#[test]
fn set_and_get() {
    let folder = Folder::new("set-and-get");
    let node = Node::start(folder.path());
    let mut client = node.client();
    assert_eq!(ask(&mut client, "PING"), Reply::Simple("PONG".into()));
    assert_eq!(ask(&mut client, "GET a"), Reply::Null);
    assert_eq!(ask(&mut client, "SET a 1"), Reply::ok());
    assert_eq!(ask(&mut client, "GET a"), Reply::bulk("1"));
    assert_eq!(ask(&mut client, "MGET a b"), Reply::Array(vec![Reply::bulk("1"), Reply::Null]));
    assert!(matches!(ask(&mut client, "NOSUCH"), Reply::Error(text) if text.starts_with("ERR unknown command")));
}

#[test]
fn a_transaction_is_one_step() {
    let folder = Folder::new("transaction");
    let node = Node::start(folder.path());
    let (mut client, mut other) = (node.client(), node.client());
    assert_eq!(ask(&mut client, "WATCH a"), Reply::ok());
    assert_eq!(ask(&mut client, "MULTI"), Reply::ok());
    assert_eq!(ask(&mut client, "INCR a"), Reply::Simple("QUEUED".into()));
    assert_eq!(ask(&mut client, "EXEC"), Reply::Array(vec![Reply::Integer(1)]));
    assert_eq!(ask(&mut client, "WATCH a"), Reply::ok());
    assert_eq!(ask(&mut other, "SET a 7"), Reply::ok());
    assert_eq!(ask(&mut client, "MULTI"), Reply::ok());
    assert_eq!(ask(&mut client, "INCR a"), Reply::Simple("QUEUED".into()));
    assert_eq!(ask(&mut client, "EXEC"), Reply::Null);
    assert_eq!(ask(&mut client, "GET a"), Reply::bulk("7"));
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let folder = Folder::new("kill");
    let node = Node::start(folder.path());
    let mut client = node.client();
    for i in 0..100 {
        assert_eq!(ask(&mut client, &format!("SET key:{i} value:{i}")), Reply::ok());
    }
    node.kill();
    let node = Node::start(folder.path());
    let mut client = node.client();
    for i in 0..100 {
        assert_eq!(ask(&mut client, &format!("GET key:{i}")), Reply::bulk(&format!("value:{i}")));
    }
    assert_eq!(ask(&mut client, "DBSIZE"), Reply::Integer(100));
}

#[test]
fn kills_under_load_lose_nothing_acknowledged() {
    let folder = Folder::new("kills");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let node = Node::start(folder.path());
        audit(&mut node.client(), &acknowledged);
        acknowledged.extend(load_until_killed(node, round));
    }
    let node = Node::start(folder.path());
    audit(&mut node.client(), &acknowledged);
    assert!(acknowledged.len() >= ACKS_PER_ROUND_MIN * 10, "every round had something to lose");
}

#[test]
fn sigterm_exits_with_0_and_keeps_everything() {
    let folder = Folder::new("sigterm");
    let node = Node::start(folder.path());
    assert_eq!(ask(&mut node.client(), "SET a 1"), Reply::ok());
    let status = node.terminate();
    assert_eq!(status.code(), Some(0), "{status}");
    let node = Node::start(folder.path());
    assert_eq!(ask(&mut node.client(), "GET a"), Reply::bulk("1"));
}

#[test]
fn a_second_node_on_the_same_folder_is_refused() {
    let folder = Folder::new("second");
    let node = Node::start(folder.path());
    let message = refusal(folder.path(), "0");
    let name = folder.path().to_string_lossy();
    assert!(message.contains(&*name), "the message names the folder {name}: {message}");
    assert_eq!(ask(&mut node.client(), "SET a 1"), Reply::ok(), "the first node is unharmed");
}

#[test]
fn a_taken_port_is_an_error_that_names_the_flag() {
    let (folder, other) = (Folder::new("port"), Folder::new("port"));
    let node = Node::start(folder.path());
    let message = refusal(other.path(), node.port());
    assert!(message.contains("--port"), "the message names --port: {message}");
    assert!(message.contains(node.port()), "the message names the port {}: {message}", node.port());
    assert_eq!(ask(&mut node.client(), "PING"), Reply::Simple("PONG".into()), "the first node is unharmed");
}

/// A client that shuts down its half of the connection behind its last request, as `printf .. | nc` does, gets its
/// replies and then the end. Once the end arrived with the last bytes and was never seen.
#[test]
fn a_client_that_only_stops_sending_gets_its_replies() {
    let folder = Folder::new("half-closed");
    let node = Node::start(folder.path());
    for requests in ["PING\r\n", "SET a 1\r\nPING\r\n", "PING\r\nSET a 1\r\n"] {
        let mut stream = TcpStream::connect(("127.0.0.1", node.port().parse().expect("a port"))).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a time above zero");
        stream.write_all(requests.as_bytes()).and_then(|()| stream.shutdown(Shutdown::Write)).expect("it can be sent");
        let mut replies = String::new();
        stream.read_to_string(&mut replies).unwrap_or_else(|e| panic!("{requests:?}: {replies:?} and {e}"));
        let wanted = requests.replace("SET a 1", "+OK").replace("PING", "+PONG");
        assert_eq!(replies, wanted, "{requests:?}");
    }
}

fn ask(client: &mut Client, command: &str) -> Reply {
    let words: Vec<&str> = command.split(' ').collect();
    client.ask(&words).unwrap_or_else(|e| panic!("{command}: {e}"))
}

/// What a node says that refuses to start.
fn refusal(dir: &Path, port: &str) -> String {
    let output = refused(dir, port);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it fails: {message}");
    message
}

/// Writers set fresh keys until the node, killed in the midst of it, is gone. Returns the acknowledged keys.
fn load_until_killed(node: Node, round: u32) -> Vec<String> {
    let (acks, seen) = mpsc::channel();
    let clients: Vec<Client> = (0..WRITERS).map(|_| node.client()).collect();
    std::thread::scope(|scope| {
        for (writer, client) in clients.into_iter().enumerate() {
            let acks = acks.clone();
            scope.spawn(move || write_until_gone(client, &format!("{round}:{writer}"), &acks));
        }
        drop(acks);
        let mut acknowledged: Vec<String> = seen.iter().take(ACKS_PER_ROUND_MIN).collect();
        assert_eq!(acknowledged.len(), ACKS_PER_ROUND_MIN, "the node acknowledges until it is killed");
        node.kill();
        acknowledged.extend(seen.iter());
        acknowledged
    })
}

fn write_until_gone(mut client: Client, prefix: &str, acks: &mpsc::Sender<String>) {
    for count in 0.. {
        let key = format!("{prefix}:{count}");
        match client.ask(&["SET", &key, &value_of(&key)]) {
            Ok(reply) => assert_eq!(reply, Reply::ok(), "SET {key}"),
            Err(_) => return,
        }
        if acks.send(key).is_err() {
            return;
        }
    }
}

/// Values differ in content and length, so one in the wrong place shows.
fn value_of(key: &str) -> String {
    key.repeat(1 + key.len() % 7)
}

fn audit(client: &mut Client, acknowledged: &[String]) {
    for key in acknowledged {
        let reply = client.ask(&["GET", key]).unwrap_or_else(|e| panic!("GET {key}: {e}"));
        assert_eq!(reply, Reply::bulk(&value_of(key)), "{key} was acknowledged and is not as it was");
    }
}
