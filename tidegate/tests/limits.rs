//! Limits that the operating system sets to the process: what goes beyond them is refused, nothing stops, and what was
//! refused goes on by itself when a limit is raised.

mod support;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use support::{Client, Folder, Node, Reply};

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
