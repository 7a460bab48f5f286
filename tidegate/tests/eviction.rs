//! A node that may use 64 MB is given 300: memory stays bounded under every policy that evicts, keys that are used stay, and
//! where nothing may go, what needs memory is refused and nothing else is.

mod support;

use std::time::{Duration, Instant};
use support::{Client, Folder, Node, Reply};

const MIB: u64 = 1024 * 1024;
const LIMIT: u64 = 64 * MIB;
const WRITTEN: u64 = 300 * MIB;
const VALUE_BYTES: u64 = 4096;
/// Keys in a pipeline.
const PIPELINE: u64 = 64;
/// Keys that are read all the while.
const HOT: u64 = 500;

fn ask(client: &mut Client, words: &[&str]) -> Reply {
    client.ask(words).expect("the node lives")
}

fn info(client: &mut Client, field: &str) -> u64 {
    let Reply::Bulk(text) = ask(client, &["INFO"]) else { panic!("INFO is a text") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("{field} is told")).trim().parse().expect("a number")
}

fn start(folder: &Folder, policy: &str) -> Node {
    let options = ["--maxmemory", "64mb", "--maxmemory-policy", policy];
    Node::start_with(folder.path(), |command| command.args(options))
}

/// Writes 300 MB, reads the hot keys all the while, and says how long the slowest pipeline took and what was refused.
fn write(client: &mut Client, value: &str) -> (Duration, u64) {
    let (mut slowest, mut refused) = (Duration::ZERO, 0);
    for n in 0..HOT {
        assert_eq!(ask(client, &["SET", &format!("hot:{n}"), value, "EX", "90000"]), Reply::ok());
    }
    for batch in 0..WRITTEN / VALUE_BYTES / PIPELINE {
        let begun = Instant::now();
        for n in 0..PIPELINE {
            client.send(&["SET", &format!("cold:{}", batch * PIPELINE + n), value, "EX", "100000"]).expect("it lives");
        }
        for n in 0..PIPELINE / 4 {
            let hot = format!("hot:{}", (batch * PIPELINE / 4 + n) % HOT);
            client.send(&["GET", &hot]).expect("it lives");
        }
        for _ in 0..PIPELINE {
            refused += u64::from(matches!(client.reply().expect("it lives"), Reply::Error(_)));
        }
        (0..PIPELINE / 4).for_each(|_| drop(client.reply().expect("it lives")));
        slowest = slowest.max(begun.elapsed());
    }
    (slowest, refused)
}

fn hot_keys(client: &mut Client) -> u64 {
    (0..HOT).filter(|n| ask(client, &["EXISTS", &format!("hot:{n}")]) == Reply::Integer(1)).count() as u64
}

#[test]
fn memory_stays_bounded_and_hot_keys_stay() {
    let value = "v".repeat(usize::try_from(VALUE_BYTES).expect("some thousand"));
    for (policy, hot_least) in [
        ("allkeys-lru", HOT * 99 / 100),
        ("allkeys-lfu", HOT * 99 / 100),
        ("volatile-lru", HOT * 99 / 100),
        ("volatile-lfu", HOT * 99 / 100),
        ("allkeys-random", 0),
        ("volatile-random", 0),
        ("volatile-ttl", 0),
    ] {
        let folder = Folder::new(&format!("evict-{policy}"));
        let node = start(&folder, policy);
        let mut client = node.client();
        let (slowest, refused) = write(&mut client, &value);
        assert_eq!(refused, 0, "{policy}: something may always go");
        // What is too much goes within some turns.
        let until = Instant::now() + Duration::from_secs(20);
        while info(&mut client, "used_memory") > LIMIT {
            assert!(Instant::now() < until, "{policy}: {} bytes are used", info(&mut client, "used_memory"));
            ask(&mut client, &["PING"]);
        }
        let (used, resident) = (info(&mut client, "used_memory"), info(&mut client, "used_memory_rss_peak"));
        assert!(used > LIMIT * 8 / 10, "{policy}: no more went than had to: {used}");
        assert!(resident < 4 * LIMIT, "{policy}: {} MiB were resident", resident / MIB);
        assert!(info(&mut client, "evicted_keys") > (WRITTEN - LIMIT) / VALUE_BYTES / 2, "{policy}");
        let hot = hot_keys(&mut client);
        assert!(hot >= hot_least, "{policy}: {hot} of {HOT} hot keys stayed");
        assert!(slowest < Duration::from_secs(10), "{policy}: a pipeline took {slowest:?}");
        node.kill();
        // What went stays away: deletions stand in the log.
        let node = start(&folder, policy);
        let mut client = node.client();
        assert!(info(&mut client, "used_memory") <= LIMIT + MIB, "{policy}");
        if hot_least > 0 {
            assert_eq!(hot_keys(&mut client), hot, "{policy}");
        }
    }
}

#[test]
fn where_nothing_may_go_what_needs_memory_is_refused() {
    let value = "v".repeat(usize::try_from(VALUE_BYTES).expect("some thousand"));
    let folder = Folder::new("no-eviction");
    let node = start(&folder, "noeviction");
    let mut client = node.client();
    let (_, refused) = write(&mut client, &value);
    assert!(refused > (WRITTEN - LIMIT) / VALUE_BYTES / 2, "{refused}");
    let oom = Reply::Error("OOM command not allowed when used memory > 'maxmemory'.".to_owned());
    assert_eq!(ask(&mut client, &["LPUSH", "l", "x"]), oom);
    assert_eq!((info(&mut client, "evicted_keys"), hot_keys(&mut client)), (0, HOT));
    let used = info(&mut client, "used_memory");
    assert!((LIMIT..LIMIT + 8 * MIB).contains(&used), "{used}");
    // Reads go on, what frees memory too, and then everything.
    assert_eq!(ask(&mut client, &["MULTI"]), Reply::ok());
    assert_eq!(ask(&mut client, &["SET", "a", "b"]), oom);
    assert!(matches!(ask(&mut client, &["EXEC"]), Reply::Error(why) if why.starts_with("EXECABORT")));
    assert_eq!(ask(&mut client, &["GET", "hot:0"]), Reply::bulk(&value));
    assert_eq!(
        ask(&mut client, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "32mb"]),
        Reply::ok()
    );
    assert_eq!(ask(&mut client, &["SET", "a", "b"]), Reply::ok());
    let until = Instant::now() + Duration::from_secs(20);
    while info(&mut client, "used_memory") > LIMIT / 2 {
        assert!(Instant::now() < until, "a lowered limit is reached");
    }
}
