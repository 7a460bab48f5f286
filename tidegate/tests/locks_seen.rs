//! How locks show: `tidegate locks`, INFO and /metrics of real nodes.

mod support;

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::calls::{ask, fenced};
use support::exposition::read;
use support::{Client, Folder, Node, Reply};

fn locks(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("locks").args(arguments).stdin(Stdio::null()).output().expect("the binary starts")
}

/// The lines of a table that must be made, each as its words.
fn table(arguments: &[&str]) -> Vec<Vec<String>> {
    let output = locks(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it is text");
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn info(client: &mut Client, section: &str, name: &str) -> u64 {
    let Reply::Bulk(text) = ask(client, &format!("INFO {section}")) else { panic!("INFO is text") };
    let text = String::from_utf8(text).expect("it is text");
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{name} is told: {text}"))
}

#[test]
fn the_table_shows_holders_and_who_waits() {
    let folder = Folder::new("locks-seen");
    let node = Node::start(folder.path());
    let (mut a, mut b) = (node.client(), node.client());
    let (token, fence) = fenced(ask(&mut a, "LOCK.ACQUIRE room:1 ada 600000"));
    fenced(ask(&mut a, "LOCK.ACQUIRE room:2 ada 60000 SHARED"));
    fenced(ask(&mut a, "LOCK.ACQUIRE room:2 bob 60000 SHARED"));
    ask(&mut a, "LOCK.ACQUIRE seats eve 60000 PERMITS 2 OF 3");
    let (freed, _) = fenced(ask(&mut a, "LOCK.ACQUIRE free ada 60000"));
    assert_eq!(ask(&mut a, &format!("LOCK.RELEASE free ada {freed}")), Reply::Integer(1));
    b.send(&["LOCK.ACQUIRE", "room:1", "bob", "60000", "WAIT", "60000"]).expect("it is sent");
    let deadline = Instant::now() + Duration::from_secs(30);
    let dir = folder.path().to_str().expect("a path of this test");
    let all = loop {
        let all = table(&["--dir", dir]);
        assert!(Instant::now() < deadline, "{all:?}");
        if all[0].last().is_some_and(|waiting| waiting == "1") {
            break all;
        }
    };
    assert_eq!(all[0].join(" "), "locks: 3, held by 4, waited for by 1");
    assert_eq!(all[1].join(" "), "lock mode fence waiting owner token renewals left");
    let row = format!("room:1 exclusive {fence} 1 ada {token}");
    assert!(all[2].join(" ").starts_with(&row), "{all:?}");
    let left = all[2].last().map(String::as_str);
    assert!(left == Some("min") || left == Some("s"), "{all:?}");
    assert_eq!([&all[3][4], &all[4][4]], ["ada", "bob"]);
    assert_eq!(all[5][..6].join(" "), "seats permits 2/3 - 0 eve");
    assert_eq!(table(&["--admin", node.admin(), "--match", "room:?"]).len(), 5);
    assert_eq!(table(&["--admin", node.admin(), "--count", "1"]).len(), 3);
    assert_eq!(
        table(&["--admin", node.admin(), "--match", "x%*"])[0].join(" "),
        "locks: 0, held by 0, waited for by 0"
    );
    let json = locks(&["--admin", node.admin(), "--match", "seats", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("it is JSON");
    assert_eq!((&json["locks"][0]["name"], &json["locks"][0]["holders"][0]["weight"]), (&"seats".into(), &2.into()));
}

#[test]
fn watch_shows_each_change_until_it_is_ended() {
    let folder = Folder::new("locks-seen");
    let node = Node::start(folder.path());
    let mut client = node.client();
    let mut watch = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["locks", "--watch", "--admin", node.admin()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(watch.stdout.take().expect("it is piped")).lines().map(|line| line.expect("text"));
    assert_eq!(lines.next().as_deref(), Some("locks: 0, held by 0, waited for by 0"));
    fenced(ask(&mut client, "LOCK.ACQUIRE l ada 60000"));
    let row = lines.find(|line| line.starts_with("l ")).expect("it goes on");
    assert!(row.contains("exclusive") && row.contains("ada"), "{row}");
    watch.kill().expect("it runs until it is ended");
    watch.wait().expect("it can be waited for");
}

#[test]
fn what_can_not_be_asked_is_said() {
    let folder = Folder::new("locks-seen");
    let said = |output: Output| (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned());
    let (code, nobody) = said(locks(&["--dir", folder.path().to_str().expect("a path of this test")]));
    assert!(code == Some(1) && nobody.contains("no node runs on"), "{nobody}");
    let node = Node::start_with(folder.path(), |command| command.args(["--requirepass", "secret"]));
    let (code, unknown) = said(locks(&["--admin", node.admin()]));
    assert!(code == Some(1) && unknown.contains("the node has a password"), "{unknown}");
    assert_eq!(table(&["--admin", node.admin(), "--password", "secret"]).len(), 1);
}

#[test]
fn info_and_metrics_tell_the_same_of_locks() {
    let folder = Folder::new("locks-seen");
    let node = Node::start(folder.path());
    let (mut a, mut b) = (node.client(), node.client());
    let (_, old) = fenced(ask(&mut a, "LOCK.ACQUIRE stolen ada 50"));
    let deadline = Instant::now() + Duration::from_secs(30);
    // The first's time ends, and the second takes what it had.
    let new = loop {
        match ask(&mut b, "LOCK.ACQUIRE stolen bob 60000") {
            Reply::Null => assert!(Instant::now() < deadline, "its time ends"),
            reply => break fenced(reply).1,
        }
    };
    ask(&mut b, &format!("FENCE stolen {new} GET k"));
    assert!(matches!(ask(&mut a, &format!("FENCE stolen {old} SET k 1")), Reply::Error(_)));
    ask(&mut a, "LOCK.ACQUIRE s ada 60000 SHARED");
    ask(&mut a, "LOCK.ACQUIRE s bob 60000 SHARED");
    b.send(&["LOCK.ACQUIRE", "s", "eve", "60000", "WAIT", "60000"]).expect("it is sent");
    while info(&mut a, "locks", "locks_waiting") != 1 || info(&mut a, "locks", "locks_holders") != 3 {
        assert!(Instant::now() < deadline, "{:?}", ask(&mut a, "INFO locks"));
    }
    let page = node.get("/metrics").body;
    let metrics = read(&page).unwrap_or_else(|why| panic!("{why}"));
    for (name, value) in [
        ("tidegate_locks_holders", 3_u32),
        ("tidegate_locks_waiting", 1),
        ("tidegate_locks_steals_total", 1),
        ("tidegate_locks_hedges_total", 0),
        ("tidegate_locks_ballots_lost_total", 0),
        ("tidegate_locks_rescans_total", 0),
        ("tidegate_locks_grants_total", 4),
    ] {
        assert_eq!(metrics.get(name).copied(), Some(f64::from(value)), "{name}");
        let in_info = name.trim_start_matches("tidegate_").trim_end_matches("_total");
        assert_eq!(info(&mut a, "locks", in_info), u64::from(value), "{name}");
        assert!(page.contains(&format!("# HELP {name} ")), "{name} is explained");
    }
    assert_eq!(metrics.get("tidegate_fences_refused_total"), Some(&1.0));
    assert_eq!(info(&mut a, "stats", "refused_fences"), 1);
    assert!(page.contains("# HELP tidegate_fences_refused_total "));
}
