//! A full disk: writes get a clear error, reads go on, and freed space cures it with no restart.
//!
//! It mounts a small file system, so it runs as root: `cargo test -p tidegate --features root-tests --test full_disk`.

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Client, Folder, Node, Reply};

/// A file system of its own in memory.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, mib: u32) -> Self {
        std::fs::create_dir_all(at).expect("a folder can be made");
        let size = format!("size={mib}m");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tidegate-test"]).arg(at).status();
        assert!(status.expect("mount is there").success(), "mounting needs root");
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Writes until the node refuses; how many were acknowledged.
fn fill(client: &mut Client, value: &str) -> usize {
    for at in 0..100_000 {
        match client.ask(&["SET", &format!("k{at}"), value]).expect("a full disk stops nothing") {
            Reply::Error(text) => {
                assert!(text.starts_with("MISCONF the disk has no room"), "{text}");
                println!("after {at} writes: {text}");
                return at;
            }
            reply => assert_eq!(reply, Reply::ok()),
        }
    }
    panic!("the disk did not fill up");
}

/// Fills what is left of the disk to the last byte.
fn stuff(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a name takes no room");
    for bytes in [1024 * 1024, 4096, 1] {
        while file.write_all(&vec![1; bytes]).is_ok() {}
    }
}

/// Asks `/readyz` until it answers with this status; its body.
fn readiness(node: &Node, status: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let page = node.get("/readyz");
        if page.status == status {
            return page.body;
        }
        assert!(Instant::now() < deadline, "/readyz stays at {} {}", page.status, page.body);
    }
}

/// A transaction of two SETs of `value`; its reply, and how long EXEC took.
fn transaction(client: &mut Client, value: &str) -> (Reply, Duration) {
    for words in [&["MULTI"][..], &["SET", "t1", value], &["SET", "t2", value]] {
        assert!(!matches!(client.ask(words).expect("the node lives"), Reply::Error(_)));
    }
    let begun = Instant::now();
    (client.ask(&["EXEC"]).expect("the node lives"), begun.elapsed())
}

/// True for the refusal of a write, which comes at once.
fn refused((reply, took): (Reply, Duration)) -> bool {
    let refused = matches!(&reply, Reply::Error(text) if text.starts_with("MISCONF the disk has no room"));
    assert!(refused || reply == Reply::Array(vec![Reply::ok(), Reply::ok()]), "{reply:?}");
    assert!(!refused || took < Duration::from_secs(1), "a refusal took {took:?}");
    refused
}

fn full_and_cured(name: &str, value: &str) {
    let folder = Folder::new(name);
    let mounted = Mounted::new(&folder.path().join("disk"), 160);
    let ballast = mounted.0.join("ballast");
    std::fs::write(&ballast, vec![1; 60 * 1024 * 1024]).expect("there is room for the ballast");
    let node = Node::start(&mounted.0.join("d"));
    let mut client = node.client();
    assert_eq!(readiness(&node, 200), "ready\n");
    let written = fill(&mut client, value);
    assert!(written > 0);
    let last = client.ask(&["GET", &format!("k{}", written - 1)]).expect("reads go on");
    assert_eq!(last, Reply::bulk(value));
    assert_eq!(client.ask(&["PING"]).expect("the node lives"), Reply::Simple("PONG".into()));
    std::fs::remove_file(&ballast).expect("space can be freed");
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.ask(&["SET", "after", "cure"]).expect("the node lives") != Reply::ok() {
        assert!(Instant::now() < deadline, "freed space did not cure it");
    }
    node.kill();
    let node = Node::start(&mounted.0.join("d"));
    let mut client = node.client();
    for at in (0..written).step_by(1 + written / 100) {
        let found = client.ask(&["GET", &format!("k{at}")]).expect("the node answers");
        assert_eq!(found, Reply::bulk(value), "k{at}");
    }
    assert_eq!(client.ask(&["GET", "after"]).expect("the node answers"), Reply::bulk("cure"));
}

#[test]
fn small_writes_are_refused_reads_go_on_and_space_cures() {
    full_and_cured("full-small", &"s".repeat(8000));
}

#[test]
fn large_writes_are_refused_reads_go_on_and_space_cures() {
    full_and_cured("full-large", &"l".repeat(9 * 1024 * 1024));
}

#[test]
fn a_large_transaction_is_refused_at_once_and_small_ones_go_on() {
    let folder = Folder::new("full-exec");
    let mounted = Mounted::new(&folder.path().join("disk"), 160);
    let ballast = mounted.0.join("ballast");
    let node = Node::start(&mounted.0.join("d"));
    let mut client = node.client();
    stuff(&ballast);
    let large = "t".repeat(20 * 1024 * 1024);
    let outcome = transaction(&mut client, &large);
    println!("EXEC of 40 MiB, for which no segment can be made: {outcome:?}");
    assert!(refused(outcome));
    assert_eq!(client.ask(&["EXISTS", "t1", "t2"]).expect("reads go on"), Reply::Integer(0));
    assert_eq!(readiness(&node, 200), "ready\n", "there is room for ordinary writes");
    assert!(!refused(transaction(&mut client, "small")));
    std::fs::remove_file(&ballast).expect("space can be freed");
    assert!(!refused(transaction(&mut client, &large)));
    node.kill();
    let node = Node::start(&mounted.0.join("d"));
    assert_eq!(node.client().ask(&["GET", "t2"]).expect("the node answers"), Reply::bulk(&large));
}

#[test]
fn a_full_node_is_not_ready_and_a_start_changes_nothing_of_it() {
    let folder = Folder::new("full-ready");
    let mounted = Mounted::new(&folder.path().join("disk"), 160);
    let (dir, ballast) = (mounted.0.join("d"), mounted.0.join("ballast"));
    let node = Node::start(&dir);
    let mut client = node.client();
    stuff(&ballast);
    let value = "s".repeat(50_000);
    let written = fill(&mut client, &value);
    let why = readiness(&node, 503);
    assert!(why.contains("no room for the write-ahead log") && why.contains("reads go on"), "{why}");
    assert!(refused(transaction(&mut client, &value)));
    node.kill();
    // What the start gives back of the log's spare room is taken before it can use it.
    let node = Node::start(&dir);
    let mut client = node.client();
    stuff(&mounted.0.join("more"));
    readiness(&node, 503);
    assert!(refused(transaction(&mut client, &value)));
    let last = client.ask(&["GET", &format!("k{}", written - 1)]).expect("reads go on");
    assert_eq!(last, Reply::bulk(&value));
    std::fs::remove_file(&ballast).expect("space can be freed");
    assert_eq!(readiness(&node, 200), "ready\n");
    assert!(!refused(transaction(&mut client, &value)));
}

#[test]
fn no_write_of_a_busy_crowd_waits_for_space() {
    let folder = Folder::new("full-crowd");
    let mounted = Mounted::new(&folder.path().join("disk"), 160);
    let node = Node::start(&mounted.0.join("d"));
    stuff(&mounted.0.join("ballast"));
    let value = "c".repeat(20_000);
    let crowd: Vec<_> = (0..8)
        .map(|me| {
            let (mut client, value) = (node.client(), value.clone());
            // Until the node has refused some, a pipeline at a time: a reply that waits for space is a read timeout.
            std::thread::spawn(move || {
                let (mut taken, mut refused) = (0, 0);
                while refused < 100 {
                    for at in 0..32 {
                        client.send(&["SET", &format!("{me}-{}", taken + at), &value]).expect("the node takes it");
                    }
                    for _ in 0..32 {
                        match client.reply().expect("every write is answered") {
                            Reply::Error(text) => refused += usize::from(text.starts_with("MISCONF the disk has no")),
                            _ => taken += 1,
                        }
                    }
                }
                taken
            })
        })
        .collect();
    let taken: usize = crowd.into_iter().map(|one| one.join().expect("a client does not panic")).sum();
    let why = readiness(&node, 503);
    println!("{taken} writes of 20 kB were taken, then: {}", why.trim());
    assert!(taken > 0);
}
