//! Clients that mean harm or know no better: each gets a clear answer or a closed connection, memory stays bounded, and a
//! well-behaved client beside them hardly notices.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::{Client, Folder, Node, Reply};

/// What the node may hold at most while it is attacked: its own 64 MiB or so, and what clients are allowed.
const RSS_MIB_MAX: u64 = 256;

fn raw(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(format!("127.0.0.1:{}", node.port())).expect("a ready node takes connections");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout can be set");
    stream
}

/// Sends bytes and reads until the server closes.
fn until_closed(node: &Node, bytes: &[u8]) -> String {
    let mut stream = raw(node);
    // The server may close before it has read all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The most that the node ever held.
fn rss_mib(node: &mut Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.child().id())).expect("the node lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a process has memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number of kB");
    kib / 1024
}

/// Latencies of a well-behaved client: median and 99th percentile.
fn feel(client: &mut Client, count: usize) -> (Duration, Duration) {
    let mut took: Vec<Duration> = (0..count)
        .map(|_| {
            let begun = Instant::now();
            let reply = client.ask(&["GET", "well-behaved"]).expect("the node answers");
            assert_eq!(reply, Reply::bulk("v"));
            begun.elapsed()
        })
        .collect();
    took.sort();
    (took[count / 2], took[count * 99 / 100])
}

/// A well-behaved client before and during an attack.
fn bystander(node: &mut Node, name: &str, attack: impl FnOnce(&mut Node)) {
    let mut client = node.client();
    assert_eq!(client.ask(&["SET", "well-behaved", "v"]).expect("the node answers"), Reply::ok());
    let before = feel(&mut client, 2000);
    attack(node);
    let during = feel(&mut client, 2000);
    let rss = rss_mib(node);
    println!("{name}: p50 {:?} -> {:?}, p99 {:?} -> {:?}, {rss} MiB", before.0, during.0, before.1, during.1);
    // Machines that run tests are noisy: this catches harm, not noise.
    assert!(during.0 < before.0 * 5 + Duration::from_millis(5), "{name}: the median went up to {:?}", during.0);
    assert!(during.1 < before.1 * 20 + Duration::from_millis(50), "{name}: p99 went up to {:?}", during.1);
    assert!(rss < RSS_MIB_MAX, "{name}: {rss} MiB");
}

#[test]
fn what_is_no_protocol_is_told_and_closed() {
    let folder = Folder::new("no-protocol");
    let node = Node::start(folder.path());
    let long = vec![b'x'; 70 * 1024];
    for (bytes, wanted) in [
        (&b"*1\r\n$536870913\r\n"[..], "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1048577\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n:5\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"set \"unbalanced\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (long.as_slice(), "-ERR Protocol error: too big inline request\r\n"),
        (b"POST / HTTP/1.1\r\nHost: evil\r\nContent-Length: 9\r\n\r\nSET a b\r\n", ""),
    ] {
        assert_eq!(until_closed(&node, bytes), wanted, "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
    }
    let mut client = node.client();
    assert_eq!(client.ask(&["GET", "a"]).expect("the node answers"), Reply::Null, "nothing of a POST was run");
}

#[test]
fn half_commands_and_idle_crowds_hurt_nobody() {
    let folder = Folder::new("half");
    let mut node = Node::start(folder.path());
    let mut crowd = Vec::new();
    bystander(&mut node, "1,000 half commands", |node| {
        for at in 0..1000 {
            let mut stream = raw(node);
            let half: &[u8] = if at % 2 == 0 { b"*2\r\n$3\r\nGET\r\n$5" } else { b"*2\r\n$9\r\nhal" };
            stream.write_all(half).expect("half a command can be sent");
            crowd.push(stream);
        }
    });
}

#[test]
fn announced_lengths_cost_nothing() {
    let folder = Folder::new("announced");
    let mut node = Node::start(folder.path());
    let mut crowd = Vec::new();
    bystander(&mut node, "200 announcements of 512 MiB", |node| {
        for _ in 0..200 {
            let mut stream = raw(node);
            stream.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc").expect("an announcement can be sent");
            crowd.push(stream);
        }
    });
}

#[test]
fn a_client_that_never_reads_is_held_back() {
    let folder = Folder::new("never-reads");
    let mut node = Node::start(folder.path());
    let value = "x".repeat(1024 * 1024);
    node.client().ask(&["SET", "big", &value]).expect("the node answers");
    let mut deaf = raw(&node);
    deaf.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout can be set");
    bystander(&mut node, "2,000 GETs of 1 MiB, none read", |_| {
        let gets = b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n".repeat(2000);
        // The server stops reading long before it has answered all.
        let _ = deaf.write_all(&gets);
    });
}

#[test]
fn many_large_replies_to_one_write_are_not_all_made_at_once() {
    let folder = Folder::new("one-write");
    let mut node = Node::start(folder.path());
    let value = "x".repeat(64 * 1024);
    node.client().ask(&["SET", "big", &value]).expect("the node answers");
    let mut deaf = raw(&node);
    bystander(&mut node, "5,500 GETs of 64 KiB in one write, none read", |_| {
        let gets = b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n".repeat(5500);
        deaf.write_all(&gets).expect("requests of 120 KiB can be sent");
    });
    // Whoever reads in the end gets all of it.
    let mut left = 5500 * (value.len() + "$65536\r\n\r\n".len());
    let mut buffer = vec![0; 256 * 1024];
    while left > 0 {
        left -= deaf.read(&mut buffer).expect("the node answers all");
    }
}

#[test]
fn a_command_that_drips_in_is_not_parsed_for_each_byte() {
    let folder = Folder::new("drip");
    let mut node = Node::start(folder.path());
    let mut slow = raw(&node);
    slow.set_nodelay(true).expect("a socket has that option");
    let mut frame = b"*1000001\r\n$3\r\nDEL\r\n".to_vec();
    frame.extend_from_slice(&b"$1\r\nk\r\n".repeat(1_000_000));
    let (most, drip) = frame.split_at(frame.len() - 300);
    slow.write_all(most).expect("most can be sent");
    bystander(&mut node, "the last 300 bytes of a million keys, one by one", |_| {
        for byte in drip {
            slow.write_all(&[*byte]).expect("a byte can be sent");
        }
    });
    let mut answer = [0; 4];
    slow.read_exact(&mut answer).expect("the command is answered");
    assert_eq!(&answer, b":0\r\n");
}

#[test]
fn long_pipelines_and_transactions_are_served_whole() {
    let folder = Folder::new("long");
    let mut node = Node::start(folder.path());
    let mut stream = raw(&node);
    bystander(&mut node, "100,000 commands in one write", |_| {
        let mut reader = stream.try_clone().expect("a socket can be cloned");
        let writer = std::thread::spawn(move || {
            let pings = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n".repeat(100_000);
            stream.write_all(&pings).expect("the node takes all");
            stream
        });
        let mut left = 100_000 * b"+OK\r\n".len();
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            left -= reader.read(&mut buffer).expect("the node answers all");
        }
        writer.join().expect("the writer ends");
    });
    let mut client = node.client();
    bystander(&mut node, "a transaction of 50,000 commands", |_| {
        client.ask(&["MULTI"]).expect("the node answers");
        for _ in 0..50_000 {
            client.send(&["INCR", "counter"]).expect("the node takes all");
        }
        for _ in 0..50_000 {
            assert_eq!(client.reply().expect("the node answers"), Reply::Simple("QUEUED".into()));
        }
        let Reply::Array(replies) = client.ask(&["EXEC"]).expect("the node answers") else { panic!("no array") };
        assert_eq!(replies.last(), Some(&Reply::Integer(50_000)));
    });
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    let folder = Folder::new("come-and-go");
    let mut node = Node::start(folder.path());
    bystander(&mut node, "3,000 connections that leave in the middle", |node| {
        for at in 0..3000 {
            let mut stream = raw(node);
            let piece: &[u8] = [&b"*2\r\n$3\r\nGET\r\n"[..], b"PING\r\n", b"", b"*1\r\n$4\r\nQUIT\r\n"][at % 4];
            stream.write_all(piece).expect("a piece can be sent");
        }
    });
    let mut client = node.client();
    // A reply to this client comes behind the ends of all that left before it.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let Reply::Bulk(list) = client.ask(&["CLIENT", "LIST"]).expect("the node answers") else { panic!("no list") };
        let lines = list.iter().filter(|byte| **byte == b'\n').count();
        if lines <= 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{lines} connections are still listed");
    }
}
