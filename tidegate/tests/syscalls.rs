//! What the kernel sees: no reply leaves before the sync that covers it has returned, and a sync that fails ends it all.
//!
//! These need strace, so they run where `.ci/run` has installed it: `cargo test -p tidegate --features root-tests --test
//! syscalls`.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::{Client, Folder, Node, Reply};

/// Sequential SETs of a run.
const SETS: usize = 1000;

/// A node under strace, and the address of its clients.
struct Traced {
    child: Child,
    resp: String,
    pid: String,
}

impl Traced {
    fn start(dir: &Path, strace: &[&str], slow_sync_us: &str) -> Self {
        let mut child = Command::new("strace")
            .arg("-f")
            .args(strace)
            .args([env!("CARGO_BIN_EXE_tidegate"), "dev", "--port", "0", "--dir"])
            .arg(dir)
            .env("TIDEGATE_SLOW_SYNC_US", slow_sync_us)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
        let field = |name: &str| {
            let found = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no ready line, but {line:?}")).to_owned()
        };
        let (resp, pid) = (field("resp="), field("pid="));
        Self { child, resp, pid }
    }

    fn client(&self) -> Client {
        Client::connect(&self.resp).expect("a ready node takes connections")
    }

    fn terminate(mut self) {
        let sent = Command::new("kill").args(["-TERM", &self.pid]).status().expect("kill is there");
        assert!(sent.success());
        self.child.wait().expect("the child can be waited for");
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.pid]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

fn key(at: usize) -> String {
    format!("key-{at:06}-end")
}

/// What a trace says about the order of things.
#[derive(Default)]
struct Order {
    /// Keys that each thread has written and not begun to sync.
    written: BTreeMap<String, Vec<usize>>,
    syncing: BTreeMap<String, Vec<usize>>,
    durable: BTreeSet<usize>,
    syncs: usize,
    replies: usize,
}

impl Order {
    fn line(&mut self, line: &str) {
        let (thread, rest) = line.split_once(' ').expect("a line begins with its thread");
        let (thread, rest) = (thread.to_owned(), rest.trim_start());
        if rest.starts_with("pwrite64(") {
            let keys =
                rest.match_indices("key-").filter_map(|(at, _)| rest.get(at + 4..at + 10)?.parse::<usize>().ok());
            self.written.entry(thread).or_default().extend(keys);
        } else if rest.starts_with("fdatasync(") {
            let begun = self.written.remove(&thread).unwrap_or_default();
            self.syncing.entry(thread.clone()).or_default().extend(begun);
            if !rest.contains("<unfinished") {
                self.synced(&thread, rest);
            }
        } else if rest.starts_with("<... fdatasync resumed") {
            self.synced(&thread, rest);
        } else if rest.contains("+OK") {
            self.replies += rest.matches("+OK").count();
            let covered = (0..self.replies).all(|at| self.durable.contains(&at));
            assert!(covered, "reply {} left before a sync that covers it had returned: {line}", self.replies);
        }
    }

    fn synced(&mut self, thread: &str, rest: &str) {
        if rest.ends_with("= 0") {
            self.syncs += 1;
            self.durable.extend(self.syncing.remove(thread).unwrap_or_default());
        }
    }
}

fn replies_follow_syncs(name: &str, slow_sync_us: &str) {
    let folder = Folder::new(name);
    let (dir, trace) = (folder.path().join("d"), folder.path().join("trace"));
    let calls = "trace=fdatasync,pwrite64,write,writev,sendto,sendmsg";
    let trace_text = trace.to_str().expect("the path is text").to_owned();
    let node = Traced::start(&dir, &["-s", "400", "-e", calls, "-o", &trace_text], slow_sync_us);
    let mut client = node.client();
    for at in 0..SETS {
        assert_eq!(client.ask(&["SET", &key(at), "v"]).expect("the node answers"), Reply::ok());
    }
    node.terminate();
    let mut order = Order::default();
    let trace = std::fs::read_to_string(&trace).expect("strace has written its trace");
    trace.lines().for_each(|line| order.line(line));
    println!("{name}: {} replies, {} syncs, each reply behind its sync", order.replies, order.syncs);
    assert_eq!(order.replies, SETS);
    assert!(order.syncs >= SETS, "{} syncs for {SETS} sequential SETs", order.syncs);
}

#[test]
fn no_reply_leaves_before_its_sync_on_the_lane() {
    replies_follow_syncs("strace-inline", "0");
}

#[test]
fn no_reply_leaves_before_its_sync_by_the_journal() {
    replies_follow_syncs("strace-journal", "1000");
}

#[test]
fn a_failed_sync_ends_the_node_and_acknowledges_nothing() {
    let folder = Folder::new("eio");
    let dir = folder.path().join("d");
    let quiet = ["-q", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=200+"];
    let mut node = Traced::start(&dir, &quiet, "0");
    let mut client = node.client();
    let mut acknowledged = 0;
    while acknowledged < 10_000 {
        match client.ask(&["SET", &key(acknowledged), "v"]) {
            Ok(reply) => assert_eq!(reply, Reply::ok()),
            Err(_) => break,
        }
        acknowledged += 1;
    }
    let status = node.child.wait().expect("the child can be waited for");
    let mut said = String::new();
    let stderr = node.child.stderr.take().expect("stderr is piped");
    std::io::Read::read_to_string(&mut BufReader::new(stderr), &mut said).expect("stderr can be read");
    println!("acknowledged {acknowledged} before the sync failed; exit {status}; said: {}", said.trim());
    assert!(acknowledged > 0 && acknowledged < 1000, "{acknowledged} SETs were acknowledged");
    assert!(!status.success() && said.contains("syncing") && said.contains("failed"), "{status}: {said}");
    let node = Node::start(&dir);
    let mut client = node.client();
    for at in 0..acknowledged {
        assert_eq!(client.ask(&["GET", &key(at)]).expect("the node answers"), Reply::bulk("v"), "key {at}");
    }
}
