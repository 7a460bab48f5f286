//! Commands of the operator on a real node: CONFIG, SLOWLOG, CLIENT, DEBUG SLEEP, OBJECT, and the log.

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Client, Folder, Node, Reply};

#[test]
fn config_get_matches_patterns_and_set_changes_all_or_nothing() {
    let folder = Folder::new("config");
    let node = Node::start(folder.path());
    let mut client = node.client();
    let slowlog = ["slowlog-log-slower-than", "10000", "slowlog-max-len", "128"];
    assert_eq!(ask(&mut client, "CONFIG GET slowlog*"), bulks(&slowlog));
    assert_eq!(ask(&mut client, "CONFIG GET maxclients port*"), bulks(&["maxclients", "10000", "port", node.port()]));
    assert_eq!(ask(&mut client, "CONFIG GET nothing"), Reply::Array(Vec::new()));
    let options =
        ["hash-max-listpack-entries", "512", "set-max-intset-entries", "512", "zset-max-listpack-entries", "128"];
    assert_eq!(ask(&mut client, "CONFIG GET *max-*-entries"), bulks(&options));
    let Reply::Array(names) = ask(&mut client, "COMMAND LIST FILTERBY PATTERN config*") else { panic!("names") };
    assert!(names.contains(&Reply::Bulk(b"config".to_vec())) && names.contains(&Reply::Bulk(b"config|get".to_vec())));
    assert_eq!(ask(&mut client, "CONFIG SET slowlog-max-len 5 LOGLEVEL verbose"), Reply::ok());
    assert_eq!(ask(&mut client, "CONFIG GET loglevel"), bulks(&["loglevel", "verbose"]));
    assert_eq!(ask(&mut client, "CONFIG GET slowlog-max-len"), bulks(&["slowlog-max-len", "5"]));
    let failed =
        |name: &str, why: &str| format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
    let refusals = [
        ("CONFIG SET nope 1", "ERR Unknown option or number of arguments for CONFIG SET - 'nope'".to_owned()),
        (
            "CONFIG SET slowlog-max-len 9 nope 1",
            "ERR Unknown option or number of arguments for CONFIG SET - 'nope'".to_owned(),
        ),
        ("CONFIG SET slowlog-max-len x", failed("slowlog-max-len", "argument couldn't be parsed into an integer")),
        ("CONFIG SET maxclients 0", failed("maxclients", "argument must be between 1 and 1000000 inclusive")),
        ("CONFIG SET appendonly no", failed("appendonly", "can't set immutable config")),
        ("CONFIG SET maxclients 5 maxclients 6", failed("maxclients", "duplicate parameter")),
        (
            "CONFIG SET loglevel loud",
            failed("loglevel", "argument(s) must be one of the following: debug, verbose, notice, warning"),
        ),
        ("CONFIG SET slowlog-max-len 9 maxclients", "ERR syntax error".to_owned()),
        ("CONFIG SET slowlog-max-len", "ERR wrong number of arguments for 'config|set' command".to_owned()),
        ("CONFIG NOPE", "ERR unknown subcommand 'NOPE'. Try CONFIG HELP.".to_owned()),
        ("CONFIG REWRITE", "ERR The server is running without a config file".to_owned()),
    ];
    for (command, wanted) in refusals {
        assert_eq!(ask(&mut client, command), Reply::Error(wanted), "{command}");
    }
    assert_eq!(ask(&mut client, "CONFIG GET slowlog-max-len"), bulks(&["slowlog-max-len", "5"]), "nothing was changed");
    assert!(matches!(ask(&mut client, "CONFIG HELP"), Reply::Array(lines) if lines.len() > 5));
}

#[test]
fn the_slowlog_holds_what_took_long() {
    let folder = Folder::new("slowlog");
    let node = Node::start(folder.path());
    let mut client = node.client();
    ask(&mut client, "CLIENT SETNAME me");
    // However busy the machine is, nothing takes a minute.
    ask(&mut client, "CONFIG SET slowlog-log-slower-than 60000000");
    ask(&mut client, "SLOWLOG RESET");
    ask(&mut client, "SET a 1");
    assert_eq!(ask(&mut client, "SLOWLOG LEN"), Reply::Integer(0));
    ask(&mut client, "CONFIG SET slowlog-log-slower-than 0");
    ask(&mut client, "SLOWLOG RESET");
    let long = "x".repeat(200);
    ask(&mut client, &format!("SET key {long}"));
    ask(&mut client, "GET key");
    ask(&mut client, "PING");
    ask(&mut client, "CONFIG SET slowlog-log-slower-than -1");
    let entries = array(ask(&mut client, "SLOWLOG GET -1"));
    let args: Vec<Reply> = entries.iter().map(|entry| array(entry.clone())[3].clone()).collect();
    assert_eq!(args[1], bulks(&["ping"]));
    assert_eq!(args[2], bulks(&["GET", "key"]));
    assert_eq!(args[3], bulks(&["SET", "key", &format!("{}... (72 more bytes)", "x".repeat(128))]));
    assert_eq!(args[4], bulks(&["SLOWLOG", "RESET"]));
    let newest = array(entries[0].clone());
    assert_eq!(newest.len(), 6);
    assert!(matches!(&newest[4], Reply::Bulk(addr) if addr.starts_with(b"127.0.0.1:")), "{newest:?}");
    assert_eq!(newest[5], Reply::bulk("me"));
    assert_eq!(array(ask(&mut client, "SLOWLOG GET 2")).len(), 2);
    assert_eq!(ask(&mut client, "SLOWLOG LEN"), Reply::Integer(5));
    ask(&mut client, "SLOWLOG RESET");
    assert_eq!(ask(&mut client, "SLOWLOG LEN"), Reply::Integer(0));
    let refusal = "ERR count should be greater than or equal to -1";
    assert_eq!(ask(&mut client, "SLOWLOG GET -2"), Reply::Error(refusal.into()));
}

#[test]
fn debug_sleep_delays_its_own_connection_alone() {
    let folder = Folder::new("sleep");
    let node = Node::start(folder.path());
    let (mut sleeper, mut other) = (node.client(), node.client());
    ask(&mut other, "SET a 1");
    sleeper.send(&["DEBUG", "SLEEP", "1"]).expect("the request leaves");
    sleeper.send(&["SET", "a", "2"]).expect("the request leaves");
    let begun = Instant::now();
    assert_eq!(ask(&mut other, "GET a"), Reply::bulk("1"), "what is behind the sleep waits too");
    assert!(begun.elapsed() < Duration::from_millis(900), "others are served meanwhile");
    assert_eq!(sleeper.reply().expect("a reply"), Reply::ok());
    assert_eq!(sleeper.reply().expect("a reply"), Reply::ok());
    assert_eq!(ask(&mut other, "GET a"), Reply::bulk("2"));
    let entries = array(ask(&mut other, "SLOWLOG GET"));
    assert_eq!(array(entries[0].clone())[3], bulks(&["DEBUG", "SLEEP", "1"]));
    assert!(matches!(array(entries[0].clone())[2], Reply::Integer(us) if us >= 1_000_000));
    sleeper.send(&["DEBUG", "SLEEP", "10000"]).expect("the request leaves");
    assert_eq!(node.terminate().code(), Some(0), "a sleep holds no stop up");
}

#[test]
fn client_list_tells_the_truth() {
    let folder = Folder::new("list");
    let node = Node::start(folder.path());
    let (mut client, mut other) = (node.client(), node.client());
    ask(&mut client, "CLIENT SETNAME first");
    ask(&mut other, "SELECT 3");
    ask(&mut other, "CLIENT SETINFO lib-name mine");
    ask(&mut other, "MULTI");
    ask(&mut other, "SET a 1");
    let lines = list(&mut client, "CLIENT LIST");
    assert_eq!(lines.len(), 2);
    let has = |line: &str, words: &[&str]| words.iter().all(|word| line.split(' ').any(|one| one == *word));
    assert!(
        has(&lines[0], &["name=first", "cmd=client|list", "db=0", "multi=-1", "flags=N", "user=default"]),
        "{lines:?}"
    );
    assert!(
        has(&lines[1], &["cmd=set", "db=3", "multi=1", "flags=x", "lib-name=mine", "resp=2", "idle=0"]),
        "{lines:?}"
    );
    assert_eq!(list(&mut client, "CLIENT LIST TYPE pubsub"), Vec::<String>::new());
    let id = ask(&mut client, "CLIENT ID");
    let Reply::Integer(id) = id else { panic!("CLIENT ID is a number") };
    assert_eq!(list(&mut client, &format!("CLIENT LIST ID {id} 999")).len(), 1);
    assert!(list(&mut client, "CLIENT INFO")[0].contains("cmd=client|info"));
    assert_eq!(ask(&mut client, "CLIENT LIST TYPE x"), Reply::Error("ERR Unknown client type 'x'".into()));
    assert_eq!(ask(&mut client, "CLIENT LIST ID x"), Reply::Error("ERR Invalid client ID".into()));
}

#[test]
fn client_kill_closes_whom_it_means() {
    let folder = Folder::new("client-kill");
    let node = Node::start(folder.path());
    let (mut client, mut other, mut third) = (node.client(), node.client(), node.client());
    let Reply::Integer(id) = ask(&mut other, "CLIENT ID") else { panic!("CLIENT ID is a number") };
    let refusals = [
        ("CLIENT KILL 1.2.3.4:5", "ERR No such client"),
        ("CLIENT KILL ID 0", "ERR client-id should be greater than 0"),
        ("CLIENT KILL ID x", "ERR client-id should be greater than 0"),
        ("CLIENT KILL TYPE x", "ERR Unknown client type 'x'"),
        ("CLIENT KILL USER nobody", "ERR No such user 'nobody'"),
        ("CLIENT KILL SKIPME maybe", "ERR syntax error"),
        ("CLIENT KILL ID 1 ADDR", "ERR syntax error"),
        ("CLIENT KILL", "ERR wrong number of arguments for 'client|kill' command"),
    ];
    for (command, wanted) in refusals {
        assert_eq!(ask(&mut client, command), Reply::Error(wanted.into()), "{command}");
    }
    ask(&mut third, "PING");
    assert_eq!(ask(&mut client, "CLIENT KILL TYPE pubsub"), Reply::Integer(0));
    assert_eq!(ask(&mut client, &format!("CLIENT KILL ID {id}")), Reply::Integer(1));
    assert!(other.ask(&["PING"]).is_err(), "it is gone");
    assert_eq!(ask(&mut client, "CLIENT KILL TYPE normal USER default"), Reply::Integer(1), "it skips itself");
    assert!(third.ask(&["PING"]).is_err(), "it is gone");
    assert_eq!(ask(&mut client, "CLIENT KILL TYPE normal SKIPME no"), Reply::Integer(1));
    assert!(client.ask(&["PING"]).is_err(), "it is gone");
}

#[test]
fn an_unknown_subcommand_spoils_a_transaction() {
    let folder = Folder::new("spoilt");
    let node = Node::start(folder.path());
    let mut client = node.client();
    let aborted = Reply::Error("EXECABORT Transaction discarded because of previous errors.".into());
    for (command, refusal) in [
        ("CLIENT NOPE", "ERR unknown subcommand 'NOPE'. Try CLIENT HELP."),
        ("CLIENT SETNAME", "ERR wrong number of arguments for 'client|setname' command"),
        ("OBJECT NOPE a", "ERR unknown subcommand 'NOPE'. Try OBJECT HELP."),
    ] {
        assert_eq!(ask(&mut client, "MULTI"), Reply::ok());
        assert_eq!(ask(&mut client, command), Reply::Error(refusal.into()));
        assert_eq!(ask(&mut client, "EXEC"), aborted, "{command}");
    }
    assert_eq!(ask(&mut client, "MULTI"), Reply::ok());
    assert_eq!(ask(&mut client, "CLIENT LIST"), Reply::Simple("QUEUED".into()));
    assert!(matches!(&array(ask(&mut client, "EXEC"))[..], [Reply::Bulk(line)] if line.starts_with(b"id=")));
}

#[test]
fn object_tells_of_strings_what_it_knows() {
    let folder = Folder::new("object");
    let node = Node::start(folder.path());
    let mut client = node.client();
    for (value, encoding) in [("12", "int"), ("text", "embstr"), (&"x".repeat(45), "raw")] {
        ask(&mut client, &format!("SET a {value}"));
        assert_eq!(ask(&mut client, "OBJECT ENCODING a"), Reply::bulk(encoding));
    }
    assert_eq!(ask(&mut client, "OBJECT REFCOUNT a"), Reply::Integer(1));
    assert_eq!(ask(&mut client, "OBJECT ENCODING none"), Reply::Null);
    assert!(
        matches!(ask(&mut client, "OBJECT FREQ a"), Reply::Error(text) if text.starts_with("ERR An LFU maxmemory"))
    );
    assert!(matches!(ask(&mut client, "OBJECT HELP"), Reply::Array(lines) if lines.len() > 5));
}

#[test]
fn too_many_clients_are_refused_and_counted() {
    let folder = Folder::new("maxclients");
    let node = Node::start(folder.path());
    let mut client = node.client();
    ask(&mut client, "CONFIG SET maxclients 1");
    let mut second = node.client();
    assert_eq!(second.reply().expect("a refusal"), Reply::Error("ERR max number of clients reached".into()));
    assert!(node.get("/metrics").body.contains("\ntidegate_connections_refused_total 1\n"));
    ask(&mut client, "CONFIG SET maxclients 2");
    assert_eq!(ask(&mut node.client(), "PING"), Reply::Simple("PONG".into()));
}

#[test]
fn the_log_is_lines_of_text_or_json() {
    for format in ["text", "json"] {
        let folder = Folder::new("log");
        let mut node =
            Node::start_with(folder.path(), |command| command.args(["--log-format", format]).stderr(Stdio::piped()));
        let log = BufReader::new(node.child().stderr.take().expect("stderr is piped"));
        let mut client = node.client();
        ask(&mut client, "CONFIG SET slowlog-max-len 7");
        assert_eq!(node.terminate().code(), Some(0));
        let lines: Vec<String> = log.lines().collect::<Result<_, _>>().expect("the log is text");
        let wanted = if format == "text" {
            " info config changed setting=slowlog-max-len value=7"
        } else {
            "\"level\":\"info\",\"area\":\"config\",\"message\":\"changed\",\"setting\":\"slowlog-max-len\",\"value\":\"7\"}"
        };
        assert!(lines.iter().any(|line| line.ends_with(wanted)), "{lines:#?}");
        assert!(lines.iter().all(|line| line.starts_with(if format == "text" { "20" } else { "{\"time\":\"20" })));
    }
}

fn bulks(texts: &[&str]) -> Reply {
    Reply::Array(texts.iter().map(|text| Reply::bulk(text)).collect())
}

fn array(reply: Reply) -> Vec<Reply> {
    let Reply::Array(replies) = reply else { panic!("no array: {reply:?}") };
    replies
}

fn list(client: &mut Client, command: &str) -> Vec<String> {
    let Reply::Bulk(bytes) = ask(client, command) else { panic!("{command} is a bulk string") };
    String::from_utf8(bytes).expect("it is text").lines().map(str::to_owned).collect()
}

fn ask(client: &mut Client, command: &str) -> Reply {
    let words: Vec<&str> = command.split(' ').collect();
    client.ask(&words).unwrap_or_else(|e| panic!("{command}: {e}"))
}
