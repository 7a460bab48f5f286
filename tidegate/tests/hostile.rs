//! Clients that mean harm or know no better: each gets a clear answer or a closed connection, memory stays bounded, and a
//! well-behaved client beside them hardly notices.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// A well-behaved client before and during an attack, which goes on until it is told to stop.
fn beside(node: &mut Node, name: &str, attack: impl FnOnce(&Node, &AtomicBool) + Send) {
    let mut client = node.client();
    assert_eq!(client.ask(&["SET", "well-behaved", "v"]).expect("the node answers"), Reply::ok());
    let before = feel(&mut client, 4000);
    let stop = AtomicBool::new(false);
    let during = std::thread::scope(|scope| {
        let attacked = &*node;
        let attacker = scope.spawn(|| attack(attacked, &stop));
        let during = feel(&mut client, 8000);
        stop.store(true, Ordering::Relaxed);
        attacker.join().expect("the attacker ends");
        during
    });
    judge(node, name, before, during);
}

/// A well-behaved client before an attack, and after it as it has left things.
fn bystander(node: &mut Node, name: &str, attack: impl FnOnce(&mut Node)) {
    let mut client = node.client();
    assert_eq!(client.ask(&["SET", "well-behaved", "v"]).expect("the node answers"), Reply::ok());
    let before = feel(&mut client, 2000);
    attack(node);
    let during = feel(&mut client, 2000);
    judge(node, name, before, during);
}

fn judge(node: &mut Node, name: &str, before: (Duration, Duration), during: (Duration, Duration)) {
    let rss = rss_mib(node);
    println!("{name}: p50 {:?} -> {:?}, p99 {:?} -> {:?}, {rss} MiB", before.0, during.0, before.1, during.1);
    // Machines that run tests are noisy: this catches harm, not noise.
    assert!(during.0 < before.0 * 5 + Duration::from_millis(5), "{name}: the median went up to {:?}", during.0);
    assert!(during.1 < before.1 * 20 + Duration::from_millis(50), "{name}: p99 went up to {:?}", during.1);
    assert!(rss < RSS_MIB_MAX, "{name}: {rss} MiB");
}

/// Writes all of `bytes` again and again, and reads what comes, until it is told to stop; how many reply bytes came.
fn flood(node: &Node, bytes: &[u8], stop: &AtomicBool) -> u64 {
    let mut stream = raw(node);
    stream.set_nonblocking(true).expect("a socket has that option");
    let (mut at, mut came, mut buffer) = (0, 0, vec![0; 256 * 1024]);
    while !stop.load(Ordering::Relaxed) {
        let mut waits = 0;
        match stream.write(&bytes[at..]) {
            Ok(n) => at = (at + n) % bytes.len(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => waits += 1,
            Err(error) => panic!("the node takes what comes: {error}"),
        }
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the node has closed"),
            Ok(n) => came += n as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => waits += 1,
            Err(error) => panic!("the node goes on: {error}"),
        }
        if waits == 2 {
            std::thread::yield_now();
        }
    }
    came
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

fn frame(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    words.iter().for_each(|word| out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes()));
    out
}

#[test]
fn a_client_that_floods_takes_its_share_and_no_more() {
    let folder = Folder::new("floods");
    let mut node = Node::start(folder.path());
    let (small, large) = ("v".repeat(100), "x".repeat(64 * 1024));
    node.client().ask(&["MSET", "small", &small, "large", &large]).expect("the node answers");
    for (name, bytes) in [
        ("a flood of GETs", frame(&["GET", "small"]).repeat(5000)),
        ("a flood of GETs of 64 KiB", frame(&["GET", "large"]).repeat(5000)),
        ("a flood of inline commands", b"GET small\r\n".repeat(5000)),
        ("a flood of MGETs of 100 large values", {
            let words: Vec<&str> = std::iter::once("MGET").chain(["large"; 100]).collect();
            frame(&words).repeat(100)
        }),
        ("a flood of unknown commands", b"NOSUCH a b c\r\n".repeat(5000)),
    ] {
        beside(&mut node, name, |node, stop| assert!(flood(node, &bytes, stop) > 0));
    }
}

#[test]
fn a_large_value_on_its_way_holds_up_nobody() {
    let folder = Folder::new("large-value");
    let mut node = Node::start(folder.path());
    let mut half = raw(&node);
    let value = vec![b'x'; 48 * 1024 * 1024];
    beside(&mut node, "a value of 48 MiB, sent again and again but for its end", |node, stop| {
        while !stop.load(Ordering::Relaxed) {
            half = raw(node);
            half.write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len() + 1).as_bytes()).expect("sent");
            half.write_all(&value).expect("the node takes it");
        }
    });
}

/// One key, asked for many times over in one command, one transaction or behind a write: the memory for all the copies
/// is not there.
#[test]
fn replies_larger_than_the_memory_are_sent_as_they_are_taken() {
    let folder = Folder::new("larger-than-memory");
    let mut node = Node::start(folder.path());
    let value = "x".repeat(1024 * 1024);
    node.client().ask(&["SET", "big", &value]).expect("the node answers");
    let count = 2000;
    let many: Vec<&str> = std::iter::once("MGET").chain(std::iter::repeat_n("big", count)).collect();
    let gets = frame(&["GET", "big"]).repeat(count);
    let transaction = [&frame(&["MULTI"])[..], &gets, &frame(&["EXEC"])].concat();
    let behind_a_write = [&frame(&["SET", "other", "v"])[..], &gets].concat();
    let bulk = value.len() + "$1048576\r\n\r\n".len();
    let list = "*2000\r\n".len();
    for (name, bytes, wanted) in [
        ("MGET", frame(&many), list + count * bulk),
        ("EXEC", transaction, "+OK\r\n".len() + count * "+QUEUED\r\n".len() + list + count * bulk),
        ("a pipeline behind a write", behind_a_write, "+OK\r\n".len() + count * bulk),
    ] {
        let mut stream = raw(&node);
        stream.write_all(&bytes).expect("the node takes all");
        bystander(&mut node, &format!("{name} of 2,000 times 1 MiB, not read"), |_| {});
        let (mut left, mut buffer) = (wanted, vec![0; 1024 * 1024]);
        while left > 0 {
            let n = stream.read(&mut buffer).expect("the node goes on");
            assert!(n > 0 && n <= left, "{name}: {left} bytes are missing, {n} came");
            left -= n;
        }
        let mut after = [0; 7];
        stream.write_all(&frame(&["PING"])).expect("the node takes it");
        stream.read_exact(&mut after).expect("the node answers");
        assert_eq!(&after, b"+PONG\r\n", "{name}: nothing is left over");
    }
}

/// Inline commands wait in a pipeline as others do: EXEC for WATCH, all of them for room.
#[test]
fn inline_commands_in_a_pipeline_are_all_answered() {
    let folder = Folder::new("inline");
    let node = Node::start(folder.path());
    let value = "x".repeat(64 * 1024);
    node.client().ask(&["SET", "big", &value]).expect("the node answers");
    let mut stream = raw(&node);
    let round = "SET other v\r\nWATCH big\r\nMULTI\r\nGET big\r\nSET other w\r\nEXEC\r\nGET big\r\n";
    let bulk = value.len() + "$65536\r\n\r\n".len();
    let wanted = "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n".len() + bulk + "+OK\r\n".len() + bulk;
    let sender = {
        let mut stream = stream.try_clone().expect("a socket can be cloned");
        std::thread::spawn(move || stream.write_all(round.repeat(500).as_bytes()).expect("the node takes all"))
    };
    let (mut left, mut buffer) = (wanted * 500, vec![0; 256 * 1024]);
    while left > 0 {
        let n = stream.read(&mut buffer).expect("the node goes on");
        assert!(n > 0 && n <= left, "{left} bytes are missing, {n} came");
        left -= n;
    }
    sender.join().expect("the sender ends");
}

/// Whoever takes nothing is dropped after `output-timeout`; whoever says nothing, after `timeout`, if there is one.
#[test]
fn the_deaf_and_the_silent_are_dropped_in_time() {
    let folder = Folder::new("dropped");
    let node = Node::start(folder.path());
    let mut client = node.client();
    client.ask(&["SET", "big", &"x".repeat(8 * 1024 * 1024)]).expect("the node answers");
    client.ask(&["CONFIG", "SET", "output-timeout", "1"]).expect("the node answers");
    let mut deaf = raw(&node);
    deaf.write_all(&frame(&["GET", "big"]).repeat(4)).expect("the node takes it");
    let silent = raw(&node);
    let mut connections_are = |wanted: usize| {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let Reply::Bulk(list) = client.ask(&["CLIENT", "LIST"]).expect("the node answers") else {
                panic!("no list")
            };
            let lines = list.iter().filter(|byte| **byte == b'\n').count();
            if lines == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{lines} connections, not {wanted}");
        }
    };
    connections_are(2);
    let mut taken = Vec::new();
    let ended = deaf.read_to_end(&mut taken);
    assert!(ended.is_err() || taken.len() < 32 * 1024 * 1024, "the rest was not sent: {} bytes came", taken.len());
    node.client().ask(&["CONFIG", "SET", "timeout", "1"]).expect("the node answers");
    connections_are(1);
    drop(silent);
}
