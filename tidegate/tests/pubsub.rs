//! What is pushed to clients of real nodes: messages, keyspace notifications, invalidations of caches, lines of MONITOR.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::calls::{ask, reply, send};
use support::cluster::{Cluster, NODES};
use support::{Client, Folder, Node, Reply};

fn list(words: &[&str]) -> Vec<Reply> {
    words.iter().map(|word| word.parse().map_or_else(|_| Reply::bulk(word), Reply::Integer)).collect()
}

/// A message as RESP2 shows it.
fn message(words: &[&str]) -> Reply {
    Reply::Array(words.iter().map(|word| Reply::bulk(word)).collect())
}

fn push(words: &[&str]) -> Reply {
    Reply::Push(words.iter().map(|word| Reply::bulk(word)).collect())
}

fn of_resp3(mut client: Client) -> Client {
    ask(&mut client, "HELLO 3");
    client
}

fn invalidation(keys: &[&str]) -> Reply {
    Reply::Push(vec![Reply::bulk("invalidate"), Reply::Array(keys.iter().map(|key| Reply::bulk(key)).collect())])
}

fn everything() -> Reply {
    Reply::Push(vec![Reply::bulk("invalidate"), Reply::Null])
}

/// A fact of INFO.
fn info(client: &mut Client, name: &str) -> u64 {
    let Reply::Bulk(text) = ask(client, "INFO") else { panic!("INFO is text") };
    let text = String::from_utf8(text).expect("INFO is text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{name} is in INFO"))
}

fn await_true(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn messages_reach_the_clients_of_all_lanes_in_order() {
    let folder = Folder::new("pubsub");
    let node = Node::start_with(folder.path(), |command| command.args(["--lanes", "3"]));
    let mut listeners: Vec<Client> = (0..6).map(|_| node.client()).collect();
    for (at, listener) in listeners.iter_mut().enumerate() {
        assert_eq!(ask(listener, "SUBSCRIBE news"), Reply::Array(list(&["subscribe", "news", "1"])));
        if at == 0 {
            assert_eq!(ask(listener, "PSUBSCRIBE n*"), Reply::Array(list(&["psubscribe", "n*", "2"])));
        }
    }
    let mut publisher = node.client();
    for at in 0..500 {
        send(&mut publisher, &format!("PUBLISH news message:{at}"));
    }
    for _ in 0..500 {
        assert_eq!(reply(&mut publisher), Reply::Integer(7));
    }
    for (number, listener) in listeners.iter_mut().enumerate() {
        for at in 0..500 {
            let text = format!("message:{at}");
            assert_eq!(reply(listener), message(&["message", "news", &text]), "to listener {number}");
            if number == 0 {
                assert_eq!(reply(listener), message(&["pmessage", "n*", "news", &text]));
            }
        }
    }
    assert_eq!(ask(&mut publisher, "PUBSUB NUMSUB news x"), Reply::Array(list(&["news", "6", "x", "0"])));
    assert_eq!(ask(&mut publisher, "PUBSUB CHANNELS"), Reply::Array(list(&["news"])));
    assert_eq!(ask(&mut publisher, "PUBSUB NUMPAT"), Reply::Integer(1));
    drop(listeners);
    await_true("clients that are gone are forgotten", || ask(&mut publisher, "PUBLISH news x") == Reply::Integer(0));
    assert_eq!(ask(&mut publisher, "PUBSUB CHANNELS"), Reply::Array(Vec::new()));
}

#[test]
fn pushes_of_resp3_come_at_any_time_and_never_inside_a_reply() {
    let folder = Folder::new("pubsub");
    let node = Node::start(folder.path());
    let (mut client, mut publisher) = (of_resp3(node.client()), node.client());
    assert_eq!(ask(&mut client, "SUBSCRIBE news"), Reply::Push(list(&["subscribe", "news", "1"])));
    // Large replies are made as the client takes them: messages come meanwhile.
    ask(&mut publisher, &format!("SET large {}", "x".repeat(300_000)));
    for _ in 0..20 {
        send(&mut client, "MGET large large large");
        send(&mut client, "PING");
    }
    for at in 0..50 {
        assert_eq!(ask(&mut publisher, &format!("PUBLISH news {at}")), Reply::Integer(1));
    }
    let (mut replies, mut messages) = (0, 0);
    while replies < 40 || messages < 50 {
        match reply(&mut client) {
            Reply::Push(items) => {
                assert_eq!(items, [Reply::bulk("message"), Reply::bulk("news"), Reply::bulk(&messages.to_string())]);
                messages += 1;
            }
            Reply::Array(items) => {
                assert!(replies % 2 == 0 && items.len() == 3);
                replies += 1;
            }
            other => {
                assert_eq!((other, replies % 2), (Reply::Simple("PONG".into()), 1));
                replies += 1;
            }
        }
    }
    // A client that publishes to itself sees the message, and that one client got it.
    send(&mut client, "PUBLISH news mine");
    let both = [reply(&mut client), reply(&mut client)];
    assert!(both.contains(&push(&["message", "news", "mine"])) && both.contains(&Reply::Integer(1)), "{both:?}");
    // A write that waits for the disk, and what is behind it: all in order.
    for words in ["SET k v", "SUBSCRIBE other", "PUBLISH other x", "GET k"] {
        send(&mut client, words);
    }
    assert_eq!(reply(&mut client), Reply::ok());
    assert_eq!(reply(&mut client), Reply::Push(list(&["subscribe", "other", "2"])));
    let mut rest = [reply(&mut client), reply(&mut client), reply(&mut client)].to_vec();
    rest.retain(|one| *one != push(&["message", "other", "x"]));
    assert_eq!(rest, [Reply::Integer(1), Reply::bulk("v")]);
    // In a transaction they leave when it is committed.
    for words in ["MULTI", "SET k w", "PUBLISH news committed", "EXEC"] {
        send(&mut publisher, words);
    }
    let replies: Vec<Reply> = (0..4).map(|_| reply(&mut publisher)).collect();
    assert_eq!(replies[3], Reply::Array(vec![Reply::ok(), Reply::Integer(1)]));
    assert_eq!(reply(&mut client), push(&["message", "news", "committed"]));
    assert_eq!(ask(&mut client, "RESET"), Reply::Simple("RESET".into()));
    assert_eq!(ask(&mut publisher, "PUBLISH news x"), Reply::Integer(0));
}

#[test]
fn a_hundred_listeners_get_large_messages_whose_bytes_are_shared() {
    let folder = Folder::new("pubsub");
    let node = Node::start(folder.path());
    let mut listeners: Vec<Client> = (0..100).map(|_| node.client()).collect();
    for (at, listener) in listeners.iter_mut().enumerate() {
        if at % 2 == 0 {
            ask(listener, "HELLO 3");
        }
        ask(listener, "SUBSCRIBE news");
    }
    let mut publisher = node.client();
    let (large, before) = ("x".repeat(1_000_000), info(&mut publisher, "used_memory_rss"));
    for _ in 0..5 {
        assert_eq!(ask(&mut publisher, &format!("PUBLISH news {large}")), Reply::Integer(100));
    }
    assert_eq!(ask(&mut publisher, "PUBLISH news end"), Reply::Integer(100));
    let grown = info(&mut publisher, "used_memory_rss").saturating_sub(before);
    assert!(grown < 100_000_000, "five messages of a megabyte to a hundred took {grown} bytes");
    for listener in &mut listeners {
        for text in [&large, &large, &large, &large, &large, "end"] {
            let (Reply::Array(items) | Reply::Push(items)) = reply(listener) else { panic!("a message") };
            assert!(items[2] == Reply::bulk(text), "in order and whole");
        }
    }
}

#[test]
fn a_listener_that_reads_too_slowly_is_dropped_and_the_others_are_not() {
    let folder = Folder::new("pubsub");
    let node = Node::start(folder.path());
    let (mut slow, mut fast, mut publisher) = (node.client(), node.client(), node.client());
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 8mb 1mb 3600"];
    assert_eq!(publisher.ask(&limit).expect("a node answers"), Reply::ok());
    ask(&mut slow, "SUBSCRIBE news");
    ask(&mut fast, "SUBSCRIBE news");
    let text = "y".repeat(100_000);
    let mut rounds = 0;
    while ask(&mut publisher, &format!("PUBLISH news {text}")) == Reply::Integer(2) {
        rounds += 1;
        assert_eq!(reply(&mut fast), message(&["message", "news", &text]));
        assert!(rounds < 10_000, "a client that reads nothing is dropped");
    }
    assert!(rounds > 80, "not before it is owed the limit, but after {rounds} rounds");
    assert_eq!(reply(&mut fast), message(&["message", "news", &text]));
    assert_eq!(info(&mut publisher, "client_output_buffer_limit_disconnections"), 1);
    assert!(node.get("/metrics").body.contains("tidegate_slow_clients_total 1"));
    // What it was sent it can still read, up to the end.
    assert!((0..=rounds).any(|_| slow.reply().is_err()), "its connection has ended");
    // The soft limit: a little is too much if it lasts.
    let limit = ["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 1mb 1"];
    assert_eq!(publisher.ask(&limit).expect("a node answers"), Reply::ok());
    let mut slow = node.client();
    ask(&mut slow, "SUBSCRIBE other");
    for _ in 0..100 {
        ask(&mut publisher, &format!("PUBLISH other {text}"));
    }
    await_true("a client that owes too much for too long is dropped", || {
        ask(&mut publisher, "PUBSUB NUMSUB other") == Reply::Array(list(&["other", "0"]))
    });
}

#[test]
fn messages_reach_the_whole_cluster_and_are_counted_there() {
    let folder = Folder::new("pubsub");
    let mut cluster = Cluster::start(folder.path());
    let mut listeners: Vec<Client> = (0..NODES).map(|at| cluster.client(at)).collect();
    let mut publishers: Vec<Client> = (0..NODES).map(|at| cluster.client(at)).collect();
    for listener in &mut listeners {
        ask(listener, "SUBSCRIBE news");
        ask(listener, "PSUBSCRIBE n?ws");
        ask(listener, "SSUBSCRIBE {x}shard");
    }
    for at in 0..300 {
        let text = format!("message:{at}");
        assert_eq!(ask(&mut publishers[at % NODES], &format!("PUBLISH news {text}")), Reply::Integer(6));
        for listener in &mut listeners {
            assert_eq!(reply(listener), message(&["message", "news", &text]));
            assert_eq!(reply(listener), message(&["pmessage", "n?ws", "news", &text]));
        }
    }
    for publisher in &mut publishers {
        assert_eq!(ask(publisher, "SPUBLISH {x}shard hi"), Reply::Integer(3));
        assert_eq!(ask(publisher, "PUBSUB NUMSUB news"), Reply::Array(list(&["news", "3"])));
        assert_eq!(ask(publisher, "PUBSUB SHARDCHANNELS"), Reply::Array(list(&["{x}shard"])));
        assert_eq!(ask(publisher, "PUBSUB NUMPAT"), Reply::Integer(1));
    }
    for listener in &mut listeners {
        for _ in 0..NODES {
            assert_eq!(reply(listener), message(&["smessage", "{x}shard", "hi"]));
        }
    }
    // Clients that ask every node by themselves are told of each node alone.
    let mut alone = cluster.cluster_client(0);
    assert_eq!(ask(&mut alone, "PUBSUB NUMSUB news"), Reply::Array(list(&["news", "1"])));
    assert_eq!(ask(&mut alone, "PUBLISH news all"), Reply::Integer(6), "but their messages are for all");
    // A transaction on one node, whose shard another may lead.
    for words in ["MULTI", "SET k v", "PUBLISH news committed", "EXEC"] {
        send(&mut publishers[1], words);
    }
    let replies: Vec<Reply> = (0..4).map(|_| reply(&mut publishers[1])).collect();
    assert_eq!(replies[3], Reply::Array(vec![Reply::ok(), Reply::Integer(6)]));
    // A stopped node is waited for once; a dead one not at all.
    cluster.stop(2);
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(ask(&mut publishers[0], "PUBLISH news x"), Reply::Integer(4));
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    cluster.signal(2, "-CONT");
    cluster.kill(2);
    await_true("a dead node counts for nothing", || ask(&mut publishers[0], "PUBLISH news x") == Reply::Integer(4));
    cluster.restart(2);
    let mut listener = cluster.client(2);
    ask(&mut listener, "SUBSCRIBE news");
    await_true("and counts again when it is back", || ask(&mut publishers[0], "PUBLISH news x") == Reply::Integer(5));
}

#[test]
fn every_node_tells_its_own_clients_what_happens_to_keys_and_goes_on_after_a_failover() {
    let folder = Folder::new("pubsub");
    let mut cluster = Cluster::start(folder.path());
    let mut listeners: Vec<Client> = (0..NODES).map(|at| of_resp3(cluster.client(at))).collect();
    for listener in &mut listeners {
        let set = ask(listener, "CONFIG SET notify-keyspace-events Exn");
        assert_eq!(set, Reply::ok());
        ask(listener, "SUBSCRIBE __keyevent@0__:new");
        ask(listener, "SUBSCRIBE __keyevent@0__:expired");
    }
    let mut writer = cluster.client(0);
    for at in 0..30 {
        let key = format!("key:{at}");
        ask(&mut writer, &format!("SET {key} v"));
        for listener in &mut listeners {
            assert_eq!(reply(listener), push(&["message", "__keyevent@0__:new", &key]), "once, on each node");
        }
    }
    ask(&mut writer, "SET gone v PX 50");
    for listener in &mut listeners {
        assert_eq!(reply(listener), push(&["message", "__keyevent@0__:new", "gone"]));
        assert_eq!(reply(listener), push(&["message", "__keyevent@0__:expired", "gone"]));
    }
    cluster.kill(2);
    listeners.pop();
    for at in 0..30 {
        let key = format!("later:{at}");
        await_true("another node leads", || ask(&mut writer, &format!("SET {key} v")) == Reply::ok());
        for listener in &mut listeners {
            assert_eq!(reply(listener), push(&["message", "__keyevent@0__:new", &key]), "nothing else has happened");
        }
    }
}

#[test]
fn caches_are_told_what_changes_on_whatever_lane() {
    let folder = Folder::new("pubsub");
    let node = Node::start_with(folder.path(), |command| command.args(["--lanes", "3", "--shards", "4"]));
    let mut readers: Vec<Client> = (0..4).map(|_| of_resp3(node.client())).collect();
    let mut writer = node.client();
    for reader in &mut readers {
        assert_eq!(ask(reader, "CLIENT TRACKING ON"), Reply::ok());
    }
    for at in 0..20 {
        let key = format!("key:{at}");
        readers.iter_mut().for_each(|reader| drop(ask(reader, &format!("GET {key}"))));
        ask(&mut writer, &format!("SET {key} v"));
        ask(&mut writer, &format!("SET {key} w"));
        for reader in &mut readers {
            assert_eq!(reply(reader), invalidation(&[&key]), "once for each read");
        }
    }
    assert_eq!(info(&mut writer, "tracking_clients"), 4);
    readers.iter_mut().for_each(|reader| drop(ask(reader, "GET key:0")));
    ask(&mut writer, "FLUSHALL");
    for reader in &mut readers {
        assert_eq!(reply(reader), everything());
    }
    // By prefixes, together; and not what it did itself.
    let mut broad = of_resp3(node.client());
    assert_eq!(ask(&mut broad, "CLIENT TRACKING ON BCAST PREFIX {a} PREFIX {b} NOLOOP"), Reply::ok());
    assert_eq!(ask(&mut broad, "SET {a}0 x"), Reply::ok());
    ask(&mut writer, "MSET {a}1 x {a}2 x");
    ask(&mut writer, "SET {c}1 x");
    ask(&mut writer, "SET {b}1 x");
    assert_eq!(reply(&mut broad), invalidation(&["{a}1", "{a}2"]));
    assert_eq!(reply(&mut broad), invalidation(&["{b}1"]));
    // To another connection, of RESP2, on whatever lane.
    let (mut other, mut reader) = (node.client(), node.client());
    let Reply::Integer(id) = ask(&mut other, "CLIENT ID") else { panic!("a number") };
    ask(&mut other, "SUBSCRIBE __redis__:invalidate");
    assert_eq!(ask(&mut reader, &format!("CLIENT TRACKING ON REDIRECT {id}")), Reply::ok());
    ask(&mut reader, "GET k");
    ask(&mut writer, "SET k v");
    let told = vec![Reply::bulk("message"), Reply::bulk("__redis__:invalidate"), Reply::Array(list(&["k"]))];
    assert_eq!(reply(&mut other), Reply::Array(told));
    // A bounded table: what there is no room for is to be forgotten.
    ask(&mut writer, "CONFIG SET tracking-table-max-keys 6");
    let mut many = of_resp3(node.client());
    ask(&mut many, "CLIENT TRACKING ON");
    for at in 0..20 {
        send(&mut many, &format!("GET many:{at}"));
    }
    let mut forgotten = 0;
    await_true("the table is bounded", || {
        if let Reply::Push(_) = reply(&mut many) {
            forgotten += 1;
        }
        forgotten == 18
    });
    await_true("and so is what INFO tells", || info(&mut writer, "tracking_total_keys") <= 6);
}

/// Reads keys over a connection that tracks them, and keeps what it read.
struct Cache {
    client: Client,
    kept: BTreeMap<String, Reply>,
}

impl Cache {
    /// The reply to what was asked last; what comes before it is heeded.
    fn reply(&mut self) -> Reply {
        loop {
            match reply(&mut self.client) {
                Reply::Push(items) => self.heed(&items),
                other => return other,
            }
        }
    }

    fn heed(&mut self, items: &[Reply]) {
        match &items[1] {
            Reply::Array(keys) => {
                for key in keys {
                    let Reply::Bulk(key) = key else { panic!("a key") };
                    self.kept.remove(std::str::from_utf8(key).expect("keys are text"));
                }
            }
            _ => self.kept.clear(),
        }
    }

    fn read(&mut self, key: &str) -> Reply {
        if let Some(kept) = self.kept.get(key) {
            return kept.clone();
        }
        send(&mut self.client, &format!("GET {key}"));
        let value = self.reply();
        self.kept.insert(key.to_owned(), value.clone());
        value
    }
}

#[test]
fn no_change_is_missed_by_a_cache_while_others_write_through_all_nodes() {
    let folder = Folder::new("pubsub");
    let cluster = Cluster::start(folder.path());
    let mut caches: Vec<Cache> =
        (0..NODES).map(|at| Cache { client: of_resp3(cluster.client(at)), kept: BTreeMap::new() }).collect();
    for (at, cache) in caches.iter_mut().enumerate() {
        let how = if at == 1 { "CLIENT TRACKING ON BCAST" } else { "CLIENT TRACKING ON" };
        assert_eq!(ask(&mut cache.client, how), Reply::ok());
    }
    let keys: Vec<String> = (0..4).map(|at| format!("key:{at}")).collect();
    for round in 0..20 {
        std::thread::scope(|scope| {
            for at in 0..NODES {
                let (mut writer, keys) = (cluster.client(at), &keys);
                scope.spawn(move || {
                    for turn in 0..60 {
                        ask(&mut writer, &format!("SET {} {round}:{at}:{turn}", keys[(turn + at) % keys.len()]));
                    }
                });
            }
            for cache in &mut caches {
                let keys = &keys;
                scope.spawn(move || (0..120).for_each(|turn| drop(cache.read(&keys[turn % keys.len()]))));
            }
        });
        // Nobody writes any more: what is kept must become what is there, with no more reads of it.
        let mut checker = cluster.client(0);
        let last: Vec<Reply> = keys.iter().map(|key| ask(&mut checker, &format!("GET {key}"))).collect();
        for cache in &mut caches {
            await_true("a cache hears of every change that its reads didn't show", || {
                send(&mut cache.client, "PING");
                assert_eq!(cache.reply(), Reply::Simple("PONG".into()));
                keys.iter().zip(&last).all(|(key, last)| cache.kept.get(key).is_none_or(|kept| kept == last))
            });
        }
    }
}

/// Writers go on through the death of a node, and of the one after it has come back; what errors hide may have been written.
#[test]
fn no_change_is_missed_by_a_cache_while_leaders_die() {
    let folder = Folder::new("pubsub");
    let mut cluster = Cluster::start(folder.path());
    let mut cache = Cache { client: of_resp3(cluster.client(0)), kept: BTreeMap::new() };
    ask(&mut cache.client, "CLIENT TRACKING ON");
    let keys: Vec<String> = (0..8).map(|at| format!("key:{at}")).collect();
    for round in 0..4 {
        let victim = 1 + round % 2;
        let mut writer = cluster.client(3 - victim);
        std::thread::scope(|scope| {
            let keys = &keys;
            let writing = scope.spawn(move || {
                for turn in 0..400 {
                    ask(&mut writer, &format!("SET {} {round}:{turn}", keys[turn % keys.len()]));
                }
            });
            let cache = &mut cache;
            let reading = scope.spawn(move || {
                for turn in 0..2000 {
                    let key = &keys[turn % keys.len()];
                    if matches!(cache.read(key), Reply::Error(_)) {
                        cache.kept.remove(key);
                    }
                }
            });
            cluster.kill(victim);
            writing.join().expect("the writer ends well");
            reading.join().expect("the reader ends well");
        });
        let mut checker = cluster.client(0);
        for key in &keys {
            let mut last = Reply::Null;
            await_true("the others serve", || {
                last = ask(&mut checker, &format!("GET {key}"));
                !matches!(last, Reply::Error(_))
            });
            await_true("the cache hears of every change", || {
                send(&mut cache.client, "PING");
                assert_eq!(cache.reply(), Reply::Simple("PONG".into()));
                cache.kept.get(key).is_none_or(|kept| *kept == last)
            });
        }
        cluster.restart(victim);
    }
}

#[test]
fn commands_of_all_lanes_are_shown_and_can_be_paused() {
    let folder = Folder::new("pubsub");
    let node = Node::start_with(folder.path(), |command| command.args(["--lanes", "2"]));
    let mut monitor = node.client();
    assert_eq!(ask(&mut monitor, "MONITOR"), Reply::ok());
    let mut clients: Vec<Client> = (0..4).map(|_| node.client()).collect();
    for client in &mut clients {
        assert_eq!(ask(client, "SET k v"), Reply::ok());
        let Reply::Simple(line) = reply(&mut monitor) else { panic!("a line") };
        assert!(line.ends_with("] \"SET\" \"k\" \"v\"") && line.contains(" [0 127.0.0.1:"), "{line}");
    }
    ask(&mut clients[0], "AUTH secret");
    ask(&mut clients[0], "CONFIG GET port");
    for words in ["SELECT 3", "MULTI", "GET k", "EXEC"] {
        ask(&mut clients[0], words);
    }
    for wanted in ["0 \"AUTH\" \"(redacted)\"", "3 \"SELECT\" \"3\"", "3 \"MULTI\"", "3 \"GET\" \"k\"", "3 \"EXEC\""] {
        let Reply::Simple(line) = reply(&mut monitor) else { panic!("a line") };
        let (db, words) = wanted.split_once(' ').expect("a database and words");
        assert!(line.contains(&format!(" [{db} ")) && line.ends_with(words), "{line}");
    }
    // What a script calls is shown beside it.
    let mut scripted = node.client();
    let text = "redis.call('SET', KEYS[1], 7) return redis.call('GET', KEYS[1])";
    scripted.send(&["EVAL", text, "1", "k"]).expect("the node is there");
    assert_eq!(reply(&mut scripted), Reply::Bulk(b"7".to_vec()));
    let mut shown: Vec<String> = (0..3)
        .map(|_| match reply(&mut monitor) {
            Reply::Simple(line) => line[line.find('[').expect("who it is")..].to_owned(),
            other => panic!("a line, not {other:?}"),
        })
        .collect();
    let own = shown.iter().position(|line| line.contains("\"EVAL\"")).expect("the script itself is shown");
    shown.remove(own);
    assert_eq!(shown, ["[0 lua] \"SET\" \"k\" \"7\"", "[0 lua] \"GET\" \"k\""]);
    drop(monitor);
    // Writes wait on both lanes, reads go on.
    let mut admin = node.client();
    assert_eq!(ask(&mut admin, "CLIENT PAUSE 3600000 WRITE"), Reply::ok());
    for (at, client) in clients.iter_mut().enumerate() {
        assert!(matches!(ask(client, "GET k"), Reply::Bulk(_) | Reply::Null));
        send(client, &format!("SET paused {at}"));
    }
    assert_eq!(ask(&mut admin, "GET paused"), Reply::Null);
    await_true("the paused are shown", || info(&mut admin, "blocked_clients") == 4);
    assert_eq!(ask(&mut admin, "CLIENT UNPAUSE"), Reply::ok());
    for client in &mut clients {
        assert_eq!(reply(client), Reply::ok());
    }
    // All wait, and the pause ends by itself.
    let begun = Instant::now();
    assert_eq!(ask(&mut admin, "CLIENT PAUSE 300"), Reply::ok());
    for client in &mut clients {
        assert_eq!(ask(client, "PING"), Reply::Simple("PONG".into()));
    }
    assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
}

#[test]
fn clients_are_listed_and_ended_by_what_they_are() {
    let folder = Folder::new("pubsub");
    let node = Node::start_with(folder.path(), |command| command.args(["--lanes", "2"]));
    let (mut admin, mut listener, mut tracker) = (node.client(), node.client(), of_resp3(node.client()));
    ask(&mut listener, "SUBSCRIBE a b");
    reply(&mut listener);
    ask(&mut listener, "PSUBSCRIBE c*");
    ask(&mut tracker, "CLIENT TRACKING ON BCAST");
    ask(&mut tracker, "CLIENT NO-EVICT ON");
    let mut listed = |words: &str| {
        let Reply::Bulk(text) = ask(&mut admin, words) else { panic!("{words} is text") };
        String::from_utf8(text).expect("a list is text")
    };
    await_true("a listener is shown as one", || {
        let list = listed("CLIENT LIST TYPE pubsub");
        list.lines().count() == 1
            && list.contains(" flags=P ")
            && list.contains(" sub=2 psub=1 ssub=0 ")
            && list.contains(" cmd=psubscribe ")
    });
    await_true("a tracker is shown as one", || listed("CLIENT LIST").contains(" flags=tBe "));
    let own = listed("CLIENT INFO");
    for field in
        ["id=", " addr=", " laddr=", " fd=", " name=", " age=", " idle=", " qbuf=", " qbuf-free=", " argv-mem="]
    {
        assert!(own.contains(field), "{field} in {own}");
    }
    for field in
        [" multi=-1", " obl=", " oll=", " omem=", " tot-mem=", " events=r", " cmd=client|info", " user=default"]
    {
        assert!(own.contains(field), "{field} in {own}");
    }
    assert!(own.contains(" redir=-1 resp=2 lib-name= lib-ver="), "{own}");
    assert_eq!(ask(&mut admin, "CLIENT KILL TYPE pubsub"), Reply::Integer(1));
    assert!(listener.reply().is_err(), "it was ended");
    assert_eq!(ask(&mut admin, "PUBLISH a x"), Reply::Integer(0));
    assert_eq!(ask(&mut admin, "CLIENT KILL TYPE normal SKIPME yes"), Reply::Integer(1));
    assert!(tracker.reply().is_err(), "it was ended");
    await_true("and tracks nothing any more", || info(&mut admin, "tracking_clients") == 0);
}
