//! The admin endpoint of a real node: health, refusals, and peers that mean no good.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use support::{Folder, Node, Reply, http, refused_with};

#[test]
fn a_node_that_serves_is_healthy_and_ready() {
    let folder = Folder::new("ready");
    let node = Node::start(folder.path());
    let health = node.get("/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let ready = node.get("/readyz?verbose=1");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    assert!(ready.head.contains("content-type: text/plain; charset=utf-8"), "{}", ready.head);
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it has an address").port()
}

#[test]
fn a_node_that_starts_is_not_ready_until_it_serves() {
    let folder = Folder::new("starting");
    let (port, dir) = (free_port().to_string(), folder.path().to_owned());
    let address = format!("127.0.0.1:{port}");
    // Its first entry takes a second to be durable: it can't be ready before.
    let starter = std::thread::spawn(move || {
        Node::start_with(&dir, |command| command.env("TIDEGATE_SLOW_SYNC_US", "1000000").args(["--admin-port", &port]))
    });
    let mut pages = std::iter::from_fn(|| Some(http(&address, "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n"))).flatten();
    let first = pages.next().expect("the admin port answers before the node is ready");
    assert_eq!((first.status, first.body.as_str()), (503, "starting: the log is being read\n"));
    let ready = pages.find(|page| page.status != 503).expect("it becomes ready");
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
    let node = starter.join().expect("it starts");
    assert_eq!(node.client().ask(&["PING"]).expect("a ready node serves"), Reply::Simple("PONG".into()));
}

#[test]
fn a_node_that_finishes_what_it_began_is_not_ready() {
    let folder = Folder::new("stopping");
    let node = Node::start_with(folder.path(), |command| command.env("TIDEGATE_SLOW_SYNC_US", "1000000"));
    let (mut writer, mut other) = (node.client(), node.client());
    writer.send(&["SET", "a", "1"]).expect("the request leaves");
    let seen =
        |reply: Reply| matches!(reply, Reply::Bulk(list) if String::from_utf8_lossy(&list).contains(" cmd=set "));
    while !seen(other.ask(&["CLIENT", "LIST"]).expect("a reply")) {}
    let address = node.admin().to_owned();
    let stopper = std::thread::spawn(move || node.terminate());
    let pages = std::iter::from_fn(|| http(&address, "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n"));
    let unready = pages.into_iter().find(|page| page.status != 200).expect("it says that it is stopping");
    assert_eq!((unready.status, unready.body.starts_with("stopping: ")), (503, true), "{}", unready.body);
    assert_eq!(writer.reply().expect("what was begun is finished"), Reply::ok());
    assert_eq!(stopper.join().expect("it ends").code(), Some(0));
}

#[test]
fn the_endpoints_file_names_the_admin_port() {
    let folder = Folder::new("endpoints");
    let node = Node::start(folder.path());
    let text = std::fs::read_to_string(folder.path().join("endpoints.json")).expect("the file is there");
    assert!(text.contains(&format!("\"admin\":\"{}\"", node.admin())), "{text}");
}

#[test]
fn a_taken_admin_port_is_an_error_that_names_its_flag() {
    let (first, second) = (Folder::new("first"), Folder::new("second"));
    let node = Node::start(first.path());
    let port = node.admin().rsplit_once(':').expect("an address has a port").1;
    let output = refused_with(second.path(), "0", &["--admin-port", port]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && message.contains("--admin-port") && message.contains(port), "{message}");
}

#[test]
fn what_is_not_there_and_what_is_not_allowed_is_said_clearly() {
    let folder = Folder::new("refusals");
    let node = Node::start(folder.path());
    let missing = node.get("/nothing");
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("/nothing") && missing.body.contains("/healthz"), "{}", missing.body);
    let post = node.http("POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(post.status, 405);
    assert!(post.head.contains("allow: get, head"), "{}", post.head);
    let head = node.http("HEAD /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(node.http("no http at all\r\n\r\n").status, 400);
    let long = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(20_000));
    assert_eq!(node.http(&long).status, 431, "headers have a bound");
}

#[test]
fn idle_connections_take_no_place_of_those_that_ask() {
    let folder = Folder::new("idle");
    let node = Node::start(folder.path());
    let mut idle: Vec<TcpStream> = (0..64).map(|_| half_asked(node.admin())).collect();
    // The places are taken: the next connection is told so.
    let refused = node.get("/healthz");
    assert!(refused.status == 503 && refused.body.contains("too_many"), "{refused:?}");
    let mut answer = Vec::new();
    // Header time passes, and the places are free again.
    for stream in &mut idle {
        let _ = stream.read_to_end(&mut answer);
    }
    assert_eq!(node.get("/healthz").status, 200);
}

/// A connection with a request that never ends.
fn half_asked(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the kernel takes it");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost:").expect("some bytes can be written");
    stream
}
