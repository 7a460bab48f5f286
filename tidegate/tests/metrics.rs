//! /metrics and INFO of a real node: the format, and that the numbers are those of what was done.

mod support;

use std::collections::BTreeMap;
use support::exposition::read;
use support::{Client, Folder, Node, Reply};

#[test]
fn the_page_is_strictly_what_the_format_says() {
    let folder = Folder::new("format");
    let node = Node::start(folder.path());
    let page = node.get("/metrics");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{}", page.head);
    let samples = read(&page.body).unwrap_or_else(|why| panic!("{why}"));
    for name in ["tidegate_ready", "tidegate_disk_full", "process_resident_memory_bytes", "tidegate_wal_segments"] {
        assert!(samples.contains_key(name), "{name} is missing");
    }
}

#[test]
fn the_reader_of_the_format_is_strict() {
    for bad in ["x 1\n", "# HELP x y\nx 1\n", "# HELP x y\n# TYPE x counter\nx 1\n", "# HELP x y\n# TYPE x gauge\nx 1"]
    {
        assert!(read(bad).is_err(), "{bad:?}");
    }
    let shrinks = "# HELP h y\n# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n";
    assert!(read(shrinks).is_err());
}

#[test]
fn commands_are_counted_by_how_they_ended() {
    let folder = Folder::new("counts");
    let node = Node::start(folder.path());
    let mut client = node.client();
    for _ in 0..3 {
        ask(&mut client, "SET a text");
    }
    ask(&mut client, "GET a");
    ask(&mut client, "INCR a");
    ask(&mut client, "GET");
    ask(&mut client, "PING");
    ask(&mut client, "NOSUCH");
    ask(&mut client, "MULTI");
    ask(&mut client, "GET a");
    ask(&mut client, "INCR a");
    ask(&mut client, "EXEC");
    let samples = scrape(&node);
    let of = |family: &str, name: &str| samples[&format!("tidegate_commands{family}_total{{command=\"{name}\"}}")];
    assert_eq!((of("", "set"), of("", "get"), of("", "incr")), (3.0, 2.0, 2.0));
    assert_eq!((of("", "ping"), of("", "exec"), of("", "multi")), (1.0, 1.0, 1.0));
    assert_eq!((of("_failed", "incr"), of("_failed", "set")), (2.0, 0.0));
    assert_eq!((of("_rejected", "get"), of("_rejected", "unknown")), (1.0, 1.0));
    let count = samples["tidegate_command_duration_seconds_count{command=\"set\"}"];
    let sum = samples["tidegate_command_duration_seconds_sum{command=\"set\"}"];
    assert!(count == 3.0 && sum > 0.0 && sum < 30.0, "{count} {sum}");
}

#[test]
fn writes_are_seen_in_the_log_and_reads_are_not() {
    for slow_sync in ["0", "2000"] {
        let folder = Folder::new("log");
        let node = Node::start_with(folder.path(), |command| command.env("TIDEGATE_SLOW_SYNC_US", slow_sync));
        let mut client = node.client();
        let before = scrape(&node);
        for i in 0..20 {
            ask(&mut client, &format!("SET key:{i} value"));
        }
        let after = scrape(&node);
        let grown = |name: &str| after[name] - before[name];
        assert!(grown("tidegate_wal_sync_duration_seconds_count") >= 20.0);
        assert!(grown("tidegate_wal_batch_records_sum") >= 20.0);
        assert!(grown("tidegate_wal_batch_bytes_sum") >= 20.0 * 4096.0);
        let by = if slow_sync == "0" { "lane" } else { "journal" };
        let by = grown(&format!("tidegate_wal_batches_total{{by=\"{by}\"}}"));
        // A machine's own disk may be slow enough for the journal thread.
        assert!(by >= 20.0 || slow_sync == "0", "{by}");
        if slow_sync != "0" {
            let mean = after["tidegate_command_duration_seconds_sum{command=\"set\"}"] / 20.0;
            assert!(mean >= 0.002, "a SET waits for its sync: {mean}");
        }
    }
}

#[test]
fn connections_and_keys_are_counted() {
    let folder = Folder::new("gauges");
    let node = Node::start(folder.path());
    let mut clients: Vec<Client> = (0..5).map(|_| node.client()).collect();
    for client in &mut clients {
        ask(client, "PING");
    }
    ask(&mut clients[0], "SET k 12345678");
    ask(&mut clients[0], "SET l 1 EX 1000");
    let samples = scrape(&node);
    assert_eq!(samples["tidegate_connections"], 5.0);
    assert_eq!(samples["tidegate_connections_accepted_total"], 5.0);
    // The lanes tell of their keys ten times a second.
    let told = until(&node, |samples| samples["tidegate_keys{db=\"0\"}"] == 2.0);
    assert_eq!(told["tidegate_keys_with_expiry{db=\"0\"}"], 1.0);
    assert!(told["tidegate_keyspace_bytes"] >= 10.0);
    ask(&mut clients[0], &format!("SET large {}", "x".repeat(5000)));
    ask(&mut clients[0], &format!("APPEND large {}", "y".repeat(5000)));
    ask(&mut clients[0], "EXPIRE large 1000");
    ask(&mut clients[0], "COPY large other");
    until(&node, |samples| samples["tidegate_keyspace_bytes"] > 20_000.0);
    ask(&mut clients[0], "DEL large");
    ask(&mut clients[0], "FLUSHALL");
    until(&node, |samples| samples["tidegate_keyspace_bytes"] == 0.0);
    drop(clients);
    until(&node, |samples| samples["tidegate_connections"] == 0.0);
}

#[test]
fn info_shows_the_same_numbers_and_resetstat_begins_anew() {
    let folder = Folder::new("info");
    let node = Node::start(folder.path());
    let mut client = node.client();
    ask(&mut client, "SET a 1");
    ask(&mut client, "GET a");
    ask(&mut client, "GET");
    let stats = info(&mut client, "commandstats");
    assert!(stats["cmdstat_get"].starts_with("calls=1,usec="), "{stats:?}");
    assert!(stats["cmdstat_get"].ends_with("rejected_calls=1,failed_calls=0"), "{stats:?}");
    let latency = info(&mut client, "latencystats");
    assert!(latency["latency_percentiles_usec_set"].starts_with("p50="), "{latency:?}");
    assert!(!info(&mut client, "default").contains_key("cmdstat_get"), "single commands are shown when asked for");
    assert!(info(&mut client, "everything").contains_key("cmdstat_get"));
    assert_eq!(info(&mut client, "clients")["connected_clients"], "1");
    assert!(info(&mut client, "persistence")["wal_syncs"].parse::<u64>().expect("a number") >= 1);
    assert_eq!(ask(&mut client, "CONFIG RESETSTAT"), Reply::ok());
    let stats = info(&mut client, "commandstats");
    assert!(!stats.contains_key("cmdstat_get") && stats.contains_key("cmdstat_config"), "{stats:?}");
    assert_eq!(scrape(&node)["tidegate_commands_total{command=\"get\"}"], 1.0, "counters of /metrics never go back");
}

fn scrape(node: &Node) -> BTreeMap<String, f64> {
    read(&node.get("/metrics").body).unwrap_or_else(|why| panic!("{why}"))
}

/// Scrapes until it is so.
fn until(node: &Node, so: impl Fn(&BTreeMap<String, f64>) -> bool) -> BTreeMap<String, f64> {
    (0..10_000).map(|_| scrape(node)).find(so).expect("it comes to be so")
}

fn info(client: &mut Client, section: &str) -> BTreeMap<String, String> {
    let Reply::Bulk(bytes) = ask(client, &format!("INFO {section}")) else { panic!("INFO is a bulk string") };
    let text = String::from_utf8(bytes).expect("INFO is text");
    text.lines().filter_map(|line| line.split_once(':')).map(|(key, value)| (key.into(), value.into())).collect()
}

fn ask(client: &mut Client, command: &str) -> Reply {
    let words: Vec<&str> = command.split(' ').collect();
    client.ask(&words).unwrap_or_else(|e| panic!("{command}: {e}"))
}
