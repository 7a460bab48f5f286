//! ONCE on real processes: a command that is sent again takes effect once and gets the same reply, across kills of
//! leaders and restarts.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::calls::{ask, error_of};
use support::cluster::{Cluster, NODES};
use support::{Client, Folder, Node, Reply};

#[test]
fn a_command_under_an_id_takes_effect_once() {
    let folder = Folder::new("once");
    let node = Node::start(folder.path());
    let mut client = node.client();
    for _ in 0..3 {
        assert_eq!(ask(&mut client, "ONCE c:1 INCR n"), Reply::Integer(1));
    }
    assert_eq!(ask(&mut client, "ONCE c:2 INCR n"), Reply::Integer(2));
    assert!(error_of(&mut client, "ONCE c:2 INCRBY n 5").starts_with("ONCEMISMATCH the id 'c:2' "));
    assert!(error_of(&mut client, "ONCE c:3 GET n").starts_with("ERR ONCE is for commands that change keys"));
    assert!(error_of(&mut client, "ONCE c INCR n").starts_with("ERR 'c' is no id for ONCE"));
    assert!(error_of(&mut client, "ONCE c:3 FLUSHALL").starts_with("ERR ONCE needs a command with a key"));
    ask(&mut client, "SET s x");
    let failed = error_of(&mut client, "ONCE c:4 INCR s");
    ask(&mut client, "SET s 1");
    assert_eq!(error_of(&mut client, "ONCE c:4 INCR s"), failed, "an error of the command is its outcome");
    // A pipeline, and an inline command.
    for words in [["ONCE", "c:5", "INCR", "n"], ["ONCE", "c:5", "INCR", "n"], ["ONCE", "c:6", "INCR", "n"]] {
        client.send(&words).expect("the node takes commands");
    }
    let replies: Vec<Reply> = (0..3).map(|_| client.reply().expect("the node answers")).collect();
    assert_eq!(replies, [3, 3, 4].map(Reply::Integer));
    client.send_raw(b"once c:6 incr n\r\n").expect("the node takes lines");
    assert_eq!(client.reply().expect("the node answers"), Reply::Integer(4));
    // Another database is another command.
    ask(&mut client, "SELECT 3");
    assert!(error_of(&mut client, "ONCE c:6 INCR n").starts_with("ONCEMISMATCH "));
    ask(&mut client, "FLUSHALL");
    ask(&mut client, "SELECT 0");
    assert_eq!(ask(&mut client, "ONCE c:6 INCR n"), Reply::Integer(4), "a flush forgets no outcome");
    let keys = Reply::Array(vec![Reply::bulk("k"), Reply::bulk("l")]);
    assert_eq!(ask(&mut client, "COMMAND GETKEYS ONCE c:9 MSET k 1 l 2"), keys);
    assert!(
        matches!(ask(&mut client, "COMMAND INFO once"), Reply::Array(rows) if matches!(rows[..], [Reply::Array(_)]))
    );
    // It is all there after a kill, and after a snapshot.
    node.kill();
    let node = Node::start_with(folder.path(), |command| command.args(["--snapshot-after-mib", "64"]));
    let mut client = node.client();
    assert_eq!(ask(&mut client, "ONCE c:6 INCR n"), Reply::Integer(4));
    write_until_a_snapshot(&mut client);
    node.kill();
    let node = Node::start(folder.path());
    let mut client = node.client();
    assert_eq!(ask(&mut client, "ONCE c:6 INCR n"), Reply::Integer(4));
    assert!(error_of(&mut client, "ONCE c:2 INCRBY n 5").starts_with("ONCEMISMATCH "));
}

fn write_until_a_snapshot(client: &mut Client) {
    let (begun, value) = (Instant::now(), "v".repeat(1 << 20));
    loop {
        client.ask(&["SET", "filler", &value]).expect("the node answers");
        let Reply::Bulk(info) = ask(client, "INFO everything") else { panic!("INFO is text") };
        let info = String::from_utf8_lossy(&info).into_owned();
        let count = info.lines().find_map(|line| line.strip_prefix("snapshots:")).expect("snapshots are counted");
        if count != "0" {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no snapshot was taken");
    }
}

#[test]
fn a_transaction_under_an_id_takes_effect_once() {
    let folder = Folder::new("once-exec");
    let node = Node::start(folder.path());
    let (mut client, mut other) = (node.client(), node.client());
    let run = |client: &mut Client, id: &str| {
        for words in ["MULTI", "INCR n", "PING", "SELECT 2", "INCR n", "SELECT 0"] {
            ask(client, words);
        }
        ask(client, &format!("ONCE {id} EXEC"))
    };
    let first = run(&mut client, "c:1");
    let inner = |n: i64| {
        let pong = Reply::Simple("PONG".to_owned());
        Reply::Array(vec![Reply::Integer(n), pong, Reply::ok(), Reply::Integer(n), Reply::ok()])
    };
    assert_eq!(first, inner(1));
    assert_eq!(run(&mut other, "c:1"), first);
    assert_eq!(run(&mut other, "c:2"), inner(2));
    // One that WATCH aborted stays so; its id comes before its guard.
    ask(&mut client, "WATCH n");
    ask(&mut other, "INCR n");
    assert_eq!(run(&mut client, "c:3"), Reply::Null);
    assert_eq!(run(&mut other, "c:3"), Reply::Null);
    assert_eq!(ask(&mut client, "GET n"), Reply::bulk("3"));
    assert!(error_of(&mut client, "ONCE c:1 INCR n").starts_with("ONCEMISMATCH "));
    ask(&mut client, "MULTI");
    assert!(error_of(&mut client, "ONCE c:4 INCR n").starts_with("ERR ONCE can't stand inside MULTI"));
    assert!(error_of(&mut client, "ONCE c:4 EXEC").starts_with("EXECABORT "));
}

#[test]
fn a_large_reply_is_not_kept() {
    let folder = Folder::new("once-large");
    let node = Node::start(folder.path());
    let mut client = node.client();
    let large = "x".repeat(70_000);
    assert_eq!(client.ask(&["SET", "k", &large]).expect("the node answers"), Reply::ok());
    assert_eq!(ask(&mut client, "ONCE c:1 GETDEL k"), Reply::bulk(&large));
    assert!(error_of(&mut client, "ONCE c:1 GETDEL k").starts_with("ONCEDONE the command of 'c:1' has taken effect"));
}

/// One writer: each of its numbers makes its counter that number, or something was counted twice or not at all.
struct Writer {
    number: usize,
    ports: Vec<u16>,
    at: usize,
    link: Option<Client>,
    retries: u64,
}

impl Writer {
    /// The counters of this writer, of which a transaction counts both.
    fn keys(&self) -> [String; 2] {
        [format!("{{w{}}}a", self.number), format!("{{w{}}}b", self.number)]
    }

    /// Sends one command until it is answered for good.
    fn settle(&mut self, seq: u64) -> Reply {
        let begun = Instant::now();
        loop {
            assert!(begun.elapsed() < Duration::from_secs(90), "writer {} is not answered for {seq}", self.number);
            match self.attempt(seq) {
                Ok(Reply::Error(why)) => {
                    let again = ["INDOUBT ", "TRYAGAIN ", "NOQUORUM "].iter().any(|code| why.starts_with(code));
                    assert!(again, "writer {}: {why}", self.number);
                }
                Ok(reply) => return reply,
                Err(_) => self.link = None,
            }
            self.retries += 1;
            // Each time another node.
            self.link = None;
            self.at += 1;
            std::thread::yield_now();
        }
    }

    fn attempt(&mut self, seq: u64) -> std::io::Result<Reply> {
        let [a, b] = self.keys();
        let id = format!("writer-{}:{seq}", self.number);
        let port = self.ports[self.at % NODES];
        let client = match &mut self.link {
            Some(client) => client,
            none => none.insert(Client::connect(&format!("127.0.0.1:{port}"))?),
        };
        if self.number.is_multiple_of(2) {
            return client.ask(&["ONCE", &id, "INCR", &a]);
        }
        for words in [&["MULTI"][..], &["INCR", &a], &["INCR", &b]] {
            client.send(words)?;
        }
        client.send(&["ONCE", &id, "EXEC"])?;
        for _ in 0..3 {
            client.reply()?;
        }
        client.reply()
    }

    fn wanted(&self, seq: u64) -> Reply {
        let n = Reply::Integer(i64::try_from(seq).expect("few commands"));
        if self.number.is_multiple_of(2) { n } else { Reply::Array(vec![n.clone(), n]) }
    }

    /// Writes until told to stop; how many numbers were acknowledged.
    fn run(&mut self, stop: &AtomicBool, done: &AtomicU64) -> u64 {
        let mut seq = 0;
        while !stop.load(Ordering::Relaxed) {
            seq += 1;
            let reply = self.settle(seq);
            assert_eq!(reply, self.wanted(seq), "writer {}", self.number);
            done.fetch_add(1, Ordering::Relaxed);
            if seq % 7 == 0 {
                // As if the answer had been lost: of another node, on another connection.
                (self.link, self.at) = (None, self.at + 1);
                assert_eq!(self.settle(seq), reply, "writer {} is told the same", self.number);
            }
        }
        seq
    }
}

#[test]
fn every_id_counts_once_through_kills_of_leaders() {
    const WRITERS: usize = 8;
    let folder = Folder::new("once-cluster");
    let mut cluster = Cluster::start(folder.path());
    let ports: Vec<u16> = cluster.ports.iter().map(|ports| ports[0]).collect();
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    let acknowledged: Vec<(Writer, u64)> = std::thread::scope(|scope| {
        let (stop, done) = (&stop, &done);
        let begin = |number| Writer { number, ports: ports.clone(), at: number, link: None, retries: 0 };
        let writers: Vec<_> = (0..WRITERS)
            .map(begin)
            .map(|mut writer| {
                scope.spawn(move || {
                    let count = writer.run(stop, done);
                    (writer, count)
                })
            })
            .collect();
        let progress = |by: u64| {
            let (until, begun) = (done.load(Ordering::Relaxed) + by, Instant::now());
            while done.load(Ordering::Relaxed) < until && !writers.iter().any(|writer| writer.is_finished()) {
                assert!(begun.elapsed() < Duration::from_secs(120), "the writers stand still");
                std::thread::yield_now();
            }
        };
        for round in 0..6 {
            progress(300);
            cluster.kill(round % NODES);
            progress(300);
            cluster.restart(round % NODES);
        }
        progress(300);
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("a writer ends")).collect()
    });
    let mut client = cluster.client(0);
    let (mut total, mut retries) = (0, 0);
    for (writer, count) in acknowledged {
        let keys = writer.keys();
        for key in &keys[..1 + writer.number % 2] {
            let found = client.ask(&["GET", key]).expect("a node answers");
            assert_eq!(found, Reply::bulk(&count.to_string()), "{key}: as many as were acknowledged");
        }
        total += count;
        retries += writer.retries;
    }
    println!("{total} ids acknowledged, each counted once; {retries} attempts were sent again");
    assert!(retries > 0, "the kills were felt");
}
