//! Limits that the operating system sets to the process: what goes beyond them is refused, nothing stops, and what was
//! refused goes on by itself when a limit is raised.

mod support;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Client, Folder, Node, Reply, refused_by};

const MIB: u64 = 1024 * 1024;

/// Changes a soft limit of a running node.
fn limit(node: &mut Node, resource: Resource, current: Option<u64>) {
    let pid = i32::try_from(node.child().id()).ok().and_then(Pid::from_raw);
    let maximum = rustix::process::getrlimit(resource).maximum;
    prlimit(pid, resource, Rlimit { current, maximum }).expect("a soft limit can be set");
}

fn ask(client: &mut Client, words: &[&str]) -> Reply {
    client.ask(words).expect("the node lives")
}

#[test]
fn a_limit_of_file_sizes_refuses_what_is_too_large_and_stops_nothing() {
    let folder = Folder::new("file-size");
    let mut node = Node::start(folder.path());
    let mut client = node.client();
    let small = "s".repeat(100_000);
    assert_eq!(ask(&mut client, &["SET", "small", &small]), Reply::ok());
    // An ordinary segment is as large as ever; a larger one, for one large write, is not allowed.
    limit(&mut node, Resource::Fsize, Some(40 * MIB));
    let large = "l".repeat(45 * 1024 * 1024);
    let Reply::Error(refused) = ask(&mut client, &["SET", "large", &large]) else { panic!("there is no room for it") };
    assert!(refused.starts_with("MISCONF the disk has no room"), "{refused}");
    assert_eq!(ask(&mut client, &["GET", "small"]), Reply::bulk(&small));
    assert_eq!(ask(&mut client, &["EXISTS", "large"]), Reply::Integer(0));
    // More than the segment in use has room for.
    for at in 0..400 {
        let set = ask(&mut client, &["SET", &format!("k{at}"), &small]);
        assert_eq!(set, Reply::ok(), "what fits goes on");
    }
    limit(&mut node, Resource::Fsize, None);
    assert_eq!(ask(&mut client, &["SET", "large", &large]), Reply::ok());
    node.kill();
    let node = Node::start(folder.path());
    let mut client = node.client();
    assert_eq!(ask(&mut client, &["STRLEN", "large"]), Reply::Integer(45 * 1024 * 1024));
    assert_eq!(ask(&mut client, &["GET", "k399"]), Reply::bulk(&small));
}

/// A node under a limit of open files, its log in a file.
fn start_under(launcher: &[&str], folder: &Folder, log: &Path) -> Node {
    let stderr = File::create(log).expect("a file can be made");
    Node::start_by(launcher, &folder.path().join("d"), |command| command.stderr(Stdio::from(stderr)))
}

/// Waits for a line of the log; all of it.
fn wait_for(log: &Path, what: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = std::fs::read_to_string(log).expect("the log is there");
        if said.contains(what) {
            return said;
        }
        assert!(Instant::now() < deadline, "no {what:?} in {said}");
        std::thread::yield_now();
    }
}

#[test]
fn clients_are_no_more_than_there_are_descriptors_for() {
    let folder = Folder::new("maxclients");
    let log = folder.path().join("log");
    let mut node = start_under(&["prlimit", "--nofile=150:200"], &folder, &log);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.child().id())).expect("the node lives");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("there is such a limit");
    assert_eq!(files.split_whitespace().nth(3), Some("200"), "the soft limit was raised to the hard one: {files}");
    // 128 for itself, two for its lane, one for its shard.
    let said = wait_for(&log, "maxclients is lowered to what the limit of open files allows");
    assert!(said.contains("from=10000 to=69 open_files_max=200 reserved=131"), "{said}");
    let mut client = node.client();
    let maxclients = Reply::Array(vec![Reply::bulk("maxclients"), Reply::bulk("69")]);
    assert_eq!(ask(&mut client, &["CONFIG", "GET", "maxclients"]), maxclients);
    let Reply::Error(why) = ask(&mut client, &["CONFIG", "SET", "maxclients", "70"]) else { panic!("70 are too many") };
    assert!(why.ends_with("not able to handle the specified number of clients, try with 69"), "{why}");
    let mut crowd: Vec<Client> = (0..68).map(|_| node.client()).collect();
    crowd.iter_mut().for_each(|one| assert_eq!(ask(one, &["PING"]), Reply::Simple("PONG".into())));
    let refusal = node.client().reply().expect("one too many is told so");
    assert_eq!(refusal, Reply::Error("ERR max number of clients reached".into()));
    // What the node needs for itself is still there: new segments for 100 MiB, and the admin port.
    let large = "l".repeat(10 * 1024 * 1024);
    (0..10).for_each(|_| assert_eq!(ask(&mut client, &["SET", "large", &large]), Reply::ok()));
    assert_eq!(node.get("/readyz").status, 200);
}

#[test]
fn too_few_descriptors_are_told_at_the_start() {
    let folder = Folder::new("too-few");
    let output = refused_by(&["prlimit", "--nofile=100:120"], folder.path(), "0", &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("120 open files are too few: the node needs 131 for itself"), "{said}");
    let output = refused_by(&["prlimit", "--fsize=1000000"], folder.path(), "0", &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no room on the disk for spare-0: File too large"), "{said}");
}

/// Sets the limit of a running node so that it can open `more` files: a limit is one of their numbers.
fn leave_descriptors(node: &mut Node, more: usize) {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", node.child().id())).expect("the node lives");
    let number = |name: std::ffi::OsString| name.to_str().and_then(|name| name.parse::<u64>().ok());
    let open: Vec<u64> = entries.filter_map(|entry| number(entry.ok()?.file_name())).collect();
    let first_too_many = (0..).filter(|number| !open.contains(number)).nth(more);
    limit(node, Resource::Nofile, first_too_many);
}

#[test]
fn clients_that_wait_for_a_descriptor_are_served_when_there_is_one() {
    let folder = Folder::new("descriptors");
    let log = folder.path().join("log");
    let mut node = start_under(&[], &folder, &log);
    let mut first = node.client();
    assert_eq!(ask(&mut first, &["PING"]), Reply::Simple("PONG".into()));
    leave_descriptors(&mut node, 4);
    let mut crowd: Vec<Client> = (0..12).map(|_| node.client()).collect();
    crowd.iter_mut().for_each(|one| one.send(&["PING"]).expect("the kernel takes it"));
    let pong = |one: &mut Client| assert_eq!(one.reply().expect("it is served"), Reply::Simple("PONG".into()));
    let mut waiting = crowd.split_off(4);
    crowd.iter_mut().for_each(pong);
    wait_for(&log, "connections can't be accepted: they wait");
    assert_eq!(ask(&mut first, &["SET", "a", "1"]), Reply::ok());
    // Two leave, and two of those that wait take their places, though nobody new knocks.
    drop(crowd.split_off(2));
    waiting.drain(..2).for_each(|mut one| pong(&mut one));
    limit(&mut node, Resource::Nofile, Some(1000));
    waiting.iter_mut().for_each(pong);
    let said = std::fs::read_to_string(&log).expect("the log is there");
    let lines = said.matches("connections can't be accepted").count();
    assert!(lines <= 3, "one line for each time, not for each try: {said}");
}

#[test]
fn a_log_goes_on_from_segment_to_segment_without_a_descriptor() {
    let folder = Folder::new("rotates");
    let mut node = Node::start(folder.path());
    let mut client = node.client();
    let value = "v".repeat(500_000);
    (0..20).for_each(|_| assert_eq!(ask(&mut client, &["SET", "before", &value]), Reply::ok()));
    let deadline = Instant::now() + Duration::from_secs(30);
    // A segment is made ahead of use and kept open; one that is full gives its descriptor back for the next.
    while !matches!(ask(&mut client, &["INFO"]), Reply::Bulk(info) if shows(&info, "wal_spare_segments:1\r\n")) {
        assert!(Instant::now() < deadline, "no segment is made ahead of use");
    }
    leave_descriptors(&mut node, 0);
    (0..300).for_each(|_| assert_eq!(ask(&mut client, &["SET", "after", &value]), Reply::ok()));
}

fn shows(info: &[u8], line: &str) -> bool {
    String::from_utf8_lossy(info).contains(line)
}

#[test]
fn a_log_that_can_make_no_file_refuses_and_goes_on_by_itself() {
    let folder = Folder::new("no-files");
    let mut node = start_under(&[], &folder, &folder.path().join("log"));
    let mut client = node.client();
    let value = "v".repeat(500_000);
    // Nothing is made ahead of use yet, and the client has its descriptor.
    assert_eq!(ask(&mut client, &["SET", "a", "1"]), Reply::ok());
    leave_descriptors(&mut node, 0);
    let refused = (0..1000).find_map(|at| match ask(&mut client, &["SET", &format!("k{at}"), &value]) {
        Reply::Error(why) => Some((at, why)),
        _ => None,
    });
    let (taken, why) = refused.expect("what was made ahead is used up");
    assert!(why.starts_with("MISCONF the disk has no room") && taken > 30, "after {taken}: {why}");
    wait_for(&folder.path().join("log"), "Too many open files");
    assert_eq!(ask(&mut client, &["GET", "k0"]), Reply::bulk(&value));
    limit(&mut node, Resource::Nofile, Some(1000));
    let deadline = Instant::now() + Duration::from_secs(30);
    while ask(&mut client, &["SET", "after", "cure"]) != Reply::ok() {
        assert!(Instant::now() < deadline, "descriptors did not cure it");
    }
    node.kill();
    let node = Node::start(&folder.path().join("d"));
    let mut client = node.client();
    assert_eq!(ask(&mut client, &["EXISTS", &format!("k{}", taken - 1), "after"]), Reply::Integer(2));
}
