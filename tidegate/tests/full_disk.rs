//! A full disk: writes get a clear error, reads go on, and freed space cures it with no restart.
//!
//! It mounts a small file system, so it runs as root: `cargo test -p tidegate --features root-tests --test full_disk`.

mod support;

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

fn full_and_cured(name: &str, value: &str) {
    let folder = Folder::new(name);
    let mounted = Mounted::new(&folder.path().join("disk"), 160);
    let ballast = mounted.0.join("ballast");
    std::fs::write(&ballast, vec![1; 60 * 1024 * 1024]).expect("there is room for the ballast");
    let node = Node::start(&mounted.0.join("d"));
    let mut client = node.client();
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
