//! GETFILL and FILL on real processes: of ten thousand who ask for an expired key one fills it; a filler that dies is replaced; and
//! a leader's death takes neither the task nor those who wait.

mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::calls::{ask, reply, send};
use support::cluster::{Cluster, NODES};
use support::{Client, Folder, Node, Reply};

fn got(what: &str, value: Reply, number: i64) -> Reply {
    Reply::Array(vec![Reply::bulk(what), value, Reply::Integer(number)])
}

/// The token of one who is to fill.
fn token(reply: &Reply) -> i64 {
    let Reply::Array(parts) = reply else { panic!("{reply:?}") };
    match parts.as_slice() {
        [what, _, Reply::Integer(token)] if *what == Reply::bulk("FILL") => *token,
        _ => panic!("{reply:?}"),
    }
}

fn blocked(client: &mut Client) -> usize {
    let Reply::Bulk(text) = ask(client, "INFO clients") else { panic!("INFO is text") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let blocked = text.lines().find_map(|line| line.strip_prefix("blocked_clients:")).expect("it is told");
    blocked.trim().parse().expect("it is a number")
}

fn await_blocked(clients: &mut [Client], wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let found: usize = clients.iter_mut().map(blocked).sum();
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{found} wait, not {wanted}");
    }
}

/// A key that has just expired, with what it held.
fn expired(client: &mut Client, key: &str, stale_ms: u64) {
    let given = token(&ask(client, &format!("GETFILL {key} 1 STALE {stale_ms}")));
    assert_eq!(ask(client, &format!("FILL {key} {given} old")), Reply::ok());
    while ask(client, &format!("EXISTS {key}")) == Reply::Integer(1) {}
}

/// Fills, through changes of leaders: a fill that was in doubt and is refused when it is sent again had taken effect.
fn fill(client: &mut Client, words: &str) {
    let mut doubt = false;
    loop {
        match ask(client, words) {
            Reply::Simple(_) => return,
            Reply::Error(text) if text.starts_with("INDOUBT") => doubt = true,
            Reply::Error(text) if text.starts_with("TRYAGAIN") || text.starts_with("NOQUORUM") => {}
            Reply::Error(text) if doubt && text.starts_with("LOST ") => return,
            other => panic!("{words}: {other:?}"),
        }
    }
}

/// So many connections to the nodes in turn.
fn crowd(addresses: &[String], count: usize) -> Vec<TcpStream> {
    let files = Rlimit { current: Some(count as u64 + 1_000), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, files).expect("a process may have some thousand files");
    let connect = |at: usize| TcpStream::connect(&addresses[at % addresses.len()]).expect("a node takes connections");
    (0..count).map(connect).collect()
}

/// Reads one whole reply, whose last part is a number; the bytes as they came.
fn read_reply(stream: &mut TcpStream, who: usize) -> Vec<u8> {
    stream.set_nonblocking(false).expect("a socket can block");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    let is_whole = |bytes: &[u8]| {
        bytes.ends_with(b"\n")
            && bytes.rsplit(|byte| *byte == b'\n').nth(1).is_some_and(|line| line[0] == b':' || line == b"*-1\r")
    };
    while !is_whole(&bytes) {
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("reader {who} is not answered: {error}"));
        bytes.push(byte[0]);
    }
    bytes
}

#[test]
fn of_ten_thousand_one_fills() {
    const READERS: usize = 10_000;
    const FILLER_TAKES: Duration = Duration::from_millis(200);
    let folder = Folder::new("fill-crowd");
    let cluster = Cluster::start(folder.path());
    cluster.await_spread();
    let mut tellers: Vec<Client> = (0..NODES).map(|at| cluster.client(at)).collect();
    expired(&mut tellers[0], "page", 0);
    let addresses: Vec<String> = (0..NODES).map(|at| format!("127.0.0.1:{}", cluster.ports[at][0])).collect();
    let mut readers = crowd(&addresses, READERS);
    let call = b"*7\r\n$7\r\nGETFILL\r\n$4\r\npage\r\n$5\r\n60000\r\n$4\r\nWAIT\r\n$6\r\n600000\r\n$5\r\nLEASE\r\n$6\r\n600000\r\n";
    let begun = Instant::now();
    readers.iter_mut().for_each(|reader| reader.write_all(call).expect("a node takes commands"));
    await_blocked(&mut tellers, READERS - 1);
    // Who is not waiting is answered, and that is one.
    let is_answered = |reader: &TcpStream| {
        reader.set_nonblocking(true).expect("a socket need not block");
        reader.peek(&mut [0]).is_ok()
    };
    let answered = |readers: &[TcpStream]| -> Vec<usize> {
        readers.iter().enumerate().filter(|(_, reader)| is_answered(reader)).map(|(at, _)| at).collect()
    };
    let fillers = loop {
        let fillers = answered(&readers);
        if !fillers.is_empty() && begun.elapsed() >= FILLER_TAKES {
            break fillers;
        }
    };
    assert_eq!(fillers.len(), 1, "one fills");
    let told = String::from_utf8(read_reply(&mut readers[fillers[0]], fillers[0])).expect("it is text");
    assert!(told.starts_with("*3\r\n$4\r\nFILL\r\n$-1\r\n:"), "{told:?}");
    let token = told.rsplit(':').next().expect("a number").trim();
    fill(&mut tellers[1], &format!("FILL page {token} new"));
    let filled = Instant::now();
    for (at, reader) in readers.iter_mut().enumerate().filter(|(at, _)| *at != fillers[0]) {
        let told = read_reply(reader, at);
        assert!(told.starts_with(b"*3\r\n$3\r\nHIT\r\n$3\r\nnew\r\n:"), "{at}: {:?}", String::from_utf8_lossy(&told));
    }
    println!(
        "10,000 readers, one fill: all were answered {:?} after it, {:?} after they asked",
        filled.elapsed(),
        begun.elapsed()
    );
    await_blocked(&mut tellers, 0);
    assert_eq!(ask(&mut tellers[2], "GET page"), Reply::bulk("new"));
}

#[test]
fn a_filler_that_dies_is_replaced_in_its_time() {
    let folder = Folder::new("fill");
    let node = Node::start(folder.path());
    let mut teller = node.client();
    expired(&mut teller, "k", 0);
    const LEASE: Duration = Duration::from_millis(500);
    let mut waiters: Vec<Client> = (0..20).map(|_| node.client()).collect();
    let mut filler = node.client();
    let begun = Instant::now();
    let lost = token(&ask(&mut filler, "GETFILL k 60000 LEASE 500"));
    send(&mut waiters[0], "GETFILL k 60000 WAIT 30000 LEASE 20000");
    await_blocked(std::slice::from_mut(&mut teller), 1);
    waiters[1..].iter_mut().for_each(|waiter| send(waiter, "GETFILL k 60000 WAIT 30000 LEASE 20000"));
    drop(filler);
    // First come, first served: the first who waits is the next to fill.
    let given = token(&reply(&mut waiters[0]));
    let took = begun.elapsed();
    assert!(took >= LEASE && took < LEASE + Duration::from_secs(5), "{took:?}");
    assert!(
        matches!(ask(&mut teller, &format!("FILL k {lost} late")), Reply::Error(text) if text.starts_with("LOST "))
    );
    assert_eq!(ask(&mut teller, "GET k"), Reply::Null);
    assert_eq!(ask(&mut waiters[0], &format!("FILL k {given} new")), Reply::ok());
    for waiter in &mut waiters[1..] {
        let Reply::Array(parts) = reply(waiter) else { panic!("each is served") };
        assert_eq!(parts[..2], [Reply::bulk("HIT"), Reply::bulk("new")]);
    }
}

#[test]
fn who_waits_gets_the_task_that_is_given_back_or_nil_in_time() {
    let folder = Folder::new("fill");
    let node = Node::start(folder.path());
    let (mut a, mut b, mut teller) = (node.client(), node.client(), node.client());
    let given = token(&ask(&mut a, "GETFILL k 60000"));
    assert_eq!(ask(&mut b, "GETFILL k 60000 WAIT 50"), Reply::Null);
    send(&mut b, "GETFILL k 60000 WAIT 30000");
    await_blocked(std::slice::from_mut(&mut teller), 1);
    assert_eq!(a.ask(&["FILL", "k", &given.to_string(), "", "ABANDON"]).expect("a node answers"), Reply::ok());
    let given = token(&reply(&mut b));
    send(&mut a, "GETFILL k 60000 WAIT 30000");
    await_blocked(std::slice::from_mut(&mut teller), 1);
    assert_eq!(b.ask(&["FILL", "k", &given.to_string(), "", "NOTHING"]).expect("a node answers"), Reply::ok());
    let Reply::Array(parts) = reply(&mut a) else { panic!("it is served") };
    assert_eq!(parts[..2], [Reply::bulk("NOTHING"), Reply::Null]);
    // A write from outside serves too, and takes the token away.
    assert_eq!(ask(&mut a, "DEL k"), Reply::Integer(0));
    let given = token(&ask(&mut a, "GETFILL k 60000"));
    send(&mut b, "GETFILL k 60000 WAIT 30000");
    await_blocked(std::slice::from_mut(&mut teller), 1);
    assert_eq!(ask(&mut teller, "SET k written"), Reply::ok());
    assert_eq!(reply(&mut b), got("HIT", Reply::bulk("written"), -1));
    assert!(matches!(ask(&mut a, &format!("FILL k {given} old")), Reply::Error(text) if text.starts_with("LOST ")));
    assert_eq!(ask(&mut a, "GET k"), Reply::bulk("written"));
}

/// Keys of all shards are being filled by clients of one node, and waited for at another, when a node dies that leads some of them.
#[test]
fn tokens_and_those_who_wait_outlive_a_leader() {
    let folder = Folder::new("fill-kill");
    let mut cluster = Cluster::start(folder.path());
    cluster.await_spread();
    const KEYS: usize = 16;
    for victim in 0..NODES {
        let [first, second] = [(victim + 1) % NODES, (victim + 2) % NODES];
        let mut filler = cluster.client(first);
        let key = |at: usize| format!("round{victim}:{at}");
        let tokens: Vec<i64> =
            (0..KEYS).map(|at| token(&ask(&mut filler, &format!("GETFILL {} 600000 LEASE 600000", key(at))))).collect();
        let mut waiters: Vec<Client> = (0..KEYS).map(|_| cluster.client(second)).collect();
        for (at, waiter) in waiters.iter_mut().enumerate() {
            send(waiter, &format!("GETFILL {} 600000 WAIT 600000", key(at)));
        }
        let mut teller = cluster.client(second);
        await_blocked(std::slice::from_mut(&mut teller), KEYS);
        cluster.kill(victim);
        for (at, token) in tokens.iter().enumerate() {
            fill(&mut filler, &format!("FILL {} {token} new{at}", key(at)));
        }
        for (at, waiter) in waiters.iter_mut().enumerate() {
            let Reply::Array(parts) = reply(waiter) else { panic!("each is served") };
            assert_eq!(parts[..2], [Reply::bulk("HIT"), Reply::bulk(&format!("new{at}"))]);
        }
        cluster.restart(victim);
        cluster.await_spread();
    }
}
