//! Scripts and functions on real nodes: what users run, what runs away, and what is left of either behind a crash.

mod support;

use std::time::{Duration, Instant};
use support::cluster::{Cluster, NODES};
use support::{Client, Folder, Node, Reply};

fn ask(client: &mut Client, words: &[&str]) -> Reply {
    client.ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn eval(client: &mut Client, text: &str, keys: &[&str], args: &[&str]) -> Reply {
    let count = keys.len().to_string();
    ask(client, &[&["EVAL", text, &count], keys, args].concat())
}

fn bulks(words: &[&str]) -> Reply {
    Reply::Array(words.iter().map(|word| Reply::bulk(word)).collect())
}

fn sha_of(client: &mut Client, text: &str) -> String {
    let Reply::Bulk(sha) = ask(client, &["SCRIPT", "LOAD", text]) else { panic!("a hash") };
    String::from_utf8(sha).expect("digits")
}

fn is_error(reply: &Reply, beginning: &str) -> bool {
    matches!(reply, Reply::Error(text) if text.starts_with(beginning))
}

fn set(client: &mut Client, name: &str, value: &str) {
    assert_eq!(ask(client, &["CONFIG", "SET", name, value]), Reply::ok());
}

/// Releases a lock if it is still the caller's: the script that lock recipes have.
const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";
/// Two counts that are equal, whatever happens.
const BOTH: &str = "redis.call('incr', KEYS[1]) for i = 1, 2000 do end return redis.call('incr', KEYS[2])";
const LIBRARY: &str = "#!lua name=stock\n\
    redis.register_function('take', function(keys, args)\n\
      local left = tonumber(redis.call('get', keys[1]) or '0')\n\
      if left < tonumber(args[1]) then return redis.error_reply('SOLDOUT ' .. left .. ' left') end\n\
      return redis.call('decrby', keys[1], args[1])\n\
    end)\n\
    redis.register_function{function_name='left', callback=function(keys) return redis.call('get', keys[1]) end, flags={'no-writes'}}";
/// What a queue of jobs does to take one in: values of several types, in one step, with its description packed.
const ADD_JOB: &str = "local opts = cmsgpack.unpack(ARGV[1])\n\
    local id = tostring(redis.call('incr', KEYS[1] .. ':id'))\n\
    local job = KEYS[1] .. ':' .. id\n\
    redis.call('hmset', job, 'name', opts[1], 'data', cjson.encode(opts[2]), 'priority', opts[3])\n\
    if opts[3] > 0 then redis.call('zadd', KEYS[1] .. ':prioritized', opts[3], id)\n\
    else redis.call('rpush', KEYS[1] .. ':wait', id) end\n\
    redis.call('xadd', KEYS[1] .. ':events', '*', 'event', 'added', 'jobId', id)\n\
    for i = 1, 50 do redis.call('hincrby', job, 'touched', 1) end\n\
    return {id, redis.call('hget', job, 'data'), redis.call('hget', job, 'touched')}";

#[test]
fn scripts_do_what_applications_want_of_them() {
    let folder = Folder::new("scripts");
    let node = Node::start(folder.path());
    let mut client = node.client();
    ask(&mut client, &["SET", "lock", "me", "PX", "100000"]);
    assert_eq!(eval(&mut client, RELEASE, &["lock"], &["you"]), Reply::Integer(0));
    assert_eq!(eval(&mut client, RELEASE, &["lock"], &["me"]), Reply::Integer(1));
    let sha = sha_of(&mut client, "return {KEYS[1], ARGV[1], redis.sha1hex('')}");
    let none = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    assert_eq!(ask(&mut client, &["EVALSHA", &sha, "1", "k", "a"]), bulks(&["k", "a", none]));
    assert_eq!(
        ask(&mut client, &["EVALSHA", none, "0"]),
        Reply::Error("NOSCRIPT No matching script. Please use EVAL.".into())
    );
    let packed = "return cmsgpack.pack({'mail', {to = 'a@b'}, tonumber(ARGV[1])})";
    for (priority, list) in [("0", ["LRANGE", "q:wait", "0", "-1"]), ("7", ["ZRANGE", "q:prioritized", "0", "-1"])] {
        let script = format!("local ARGV = {{(function() {packed} end)()}} {ADD_JOB}");
        let Reply::Array(told) = eval(&mut client, &script, &["q"], &[priority]) else { panic!("a job") };
        assert_eq!(told[1..], [Reply::bulk("{\"to\":\"a@b\"}"), Reply::bulk("50")]);
        assert_eq!(ask(&mut client, &list), Reply::Array(vec![told[0].clone()]));
    }
    assert_eq!(ask(&mut client, &["XLEN", "q:events"]), Reply::Integer(2));
    let refused = ask(&mut client, &["EVAL_RO", "return redis.call('incr', KEYS[1])", "1", "n"]);
    assert!(is_error(&refused, "ERR Write commands are not allowed from read-only scripts."), "{refused:?}");
}

#[test]
fn scripts_stand_in_transactions_and_break_watches() {
    let folder = Folder::new("scripts");
    let node = Node::start(folder.path());
    let (mut client, mut other) = (node.client(), node.client());
    let count = "return redis.call('incr', KEYS[1])";
    for words in
        [&["MULTI"][..], &["EVAL", count, "1", "n"], &["GET", "n"], &["EVAL", "error('no')", "0"], &["INCR", "n"]]
    {
        ask(&mut client, words);
    }
    let Reply::Array(told) = ask(&mut client, &["EXEC"]) else { panic!("four answers") };
    assert_eq!((&told[0], &told[1], &told[3]), (&Reply::Integer(1), &Reply::bulk("1"), &Reply::Integer(2)));
    assert!(is_error(&told[2], "ERR user_script:1: no script: "), "{:?}", told[2]);
    for (text, broken) in [("return redis.call('get', KEYS[1])", false), (count, true)] {
        ask(&mut client, &["WATCH", "n"]);
        eval(&mut other, text, &["n"], &[]);
        ask(&mut client, &["MULTI"]);
        ask(&mut client, &["PING"]);
        assert_eq!(ask(&mut client, &["EXEC"]) == Reply::Null, broken, "{text}");
    }
    let mut listener = node.client();
    ask(&mut listener, &["SUBSCRIBE", "news"]);
    eval(&mut client, "redis.call('publish', 'news', 'of a script') return redis.call('incr', KEYS[1])", &["n"], &[]);
    eval(&mut client, "redis.call('publish', 'news', 'of a reader')", &[], &[]);
    for text in ["of a script", "of a reader"] {
        assert_eq!(listener.reply().expect("a message"), bulks(&["message", "news", text]));
    }
}

/// What never ends by itself, in as many ways as there are. All of them have written before.
const RUNAWAYS: [&str; 7] = [
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "while true do xpcall(function() while true do end end, function() while true do end end) end",
    "local run = coroutine.wrap(function() while true do pcall(coroutine.yield) end end) while true do pcall(run) end",
    "return string.find(string.rep('a', 30000), string.rep('a-', 12) .. 'b')",
    "return string.gsub(string.rep('a', 100000), '.-.-.-.-b', 'x')",
    "local t = {} for i = 1, 100000 do t[i] = i end table.sort(t, function() while true do end end)",
];

#[test]
fn what_runs_away_is_ended_and_leaves_nothing() {
    let folder = Folder::new("scripts");
    let node = Node::start(folder.path());
    let mut client = node.client();
    set(&mut client, "script-time-limit", "300");
    for body in RUNAWAYS {
        let begun = Instant::now();
        let told = eval(&mut client, &format!("redis.call('set', KEYS[1], 'x') {body}"), &["never"], &[]);
        let took = begun.elapsed();
        assert!(
            is_error(&told, "ERR Script stopped: it ran for longer than script-time-limit, 300 ms"),
            "{body}: {told:?}"
        );
        assert!(took < Duration::from_millis(300 + 2_000), "{body} took {took:?}");
        assert_eq!(ask(&mut client, &["EXISTS", "never"]), Reply::Integer(0), "{body}");
    }
    set(&mut client, "script-memory-limit", "16777216");
    for body in [
        "local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 1e9)",
        "local t = {} while true do pcall(function() t[#t + 1] = string.rep('x', 100000) .. #t end) end",
    ] {
        let told = eval(&mut client, &format!("redis.call('set', KEYS[1], 'x') {body}"), &["never"], &[]);
        assert!(is_error(&told, "ERR Script stopped: it "), "{body}: {told:?}");
        assert_eq!(ask(&mut client, &["EXISTS", "never"]), Reply::Integer(0), "{body}");
    }
    assert_eq!(eval(&mut client, "return redis.call('incr', KEYS[1])", &["n"], &[]), Reply::Integer(1), "it goes on");
}

#[test]
fn a_script_that_takes_long_is_killed_by_another_client() {
    let folder = Folder::new("scripts");
    let node = Node::start(folder.path());
    let (mut client, mut other) = (node.client(), node.client());
    assert!(is_error(&ask(&mut other, &["SCRIPT", "KILL"]), "NOTBUSY No scripts in execution right now."));
    set(&mut client, "script-time-limit", "0");
    set(&mut client, "busy-reply-threshold", "100");
    ask(
        &mut client,
        &[
            "FUNCTION",
            "LOAD",
            "#!lua name=long\nredis.register_function('long', function(keys) \
        redis.call('set', keys[1], 'x') while true do end end)",
        ],
    );
    for (call, kill, wrong) in [
        (&["EVAL", "redis.call('set', KEYS[1], 'x') while true do end", "1", "never"], "SCRIPT", "FUNCTION"),
        (&["FCALL", "long", "1", "never"], "FUNCTION", "SCRIPT"),
    ] {
        client.send(call).expect("a node takes commands");
        let begun = Instant::now();
        let busy = loop {
            match ask(&mut other, &["GET", "k"]) {
                Reply::Error(text) => break text,
                told => assert!(begun.elapsed() < Duration::from_secs(30), "it is busy some day: {told:?}"),
            }
        };
        assert!(
            busy.starts_with(&format!("BUSY this shard is busy running a script; nothing was changed; {kill} KILL")),
            "{busy}"
        );
        assert_eq!(ask(&mut other, &["PING"]), Reply::Simple("PONG".into()), "what is for no shard is answered");
        assert!(is_error(&ask(&mut other, &[wrong, "KILL"]), "BUSY "));
        assert_eq!(ask(&mut other, &[kill, "KILL"]), Reply::ok());
        let told = client.reply().expect("it is ended");
        assert!(is_error(&told, "ERR Script killed by user with SCRIPT KILL."), "{told:?}");
        assert_eq!(ask(&mut other, &["EXISTS", "never"]), Reply::Integer(0), "nothing of it took effect");
    }
    // One that is long and ends, by its hash alone: it is moved to a thread of its own, where nobody has seen it.
    let long = "for i = 1, 3000000 do end return redis.call('incr', KEYS[1])";
    assert_eq!(eval(&mut client, long, &["n"], &[]), Reply::Integer(1));
    let sha = eval(&mut client, &format!("return redis.sha1hex({long:?})"), &[], &[]);
    let Reply::Bulk(sha) = sha else { panic!("a hash") };
    let sha = String::from_utf8(sha).expect("digits");
    assert_eq!(ask(&mut client, &["EVALSHA", &sha, "1", "n"]), Reply::Integer(2));
}

#[test]
fn scripts_take_effect_as_a_whole_across_a_crash_and_what_was_loaded_stays() {
    let folder = Folder::new("scripts");
    let mut node = Node::start(folder.path());
    let mut client = node.client();
    let sha = sha_of(&mut client, BOTH);
    assert_eq!(ask(&mut client, &["FUNCTION", "LOAD", LIBRARY]), Reply::bulk("stock"));
    let mut acknowledged = 0;
    for round in 0..4 {
        for _ in 0..50 {
            assert!(matches!(ask(&mut client, &["EVALSHA", &sha, "2", "one", "two"]), Reply::Integer(_)));
            acknowledged += 1;
        }
        for _ in 0..50 {
            client.send(&["EVALSHA", &sha, "2", "one", "two"]).expect("a node takes commands");
        }
        for _ in 0..round * 10 {
            acknowledged += i64::from(matches!(client.reply(), Ok(Reply::Integer(_))));
        }
        node.kill();
        node = Node::start(folder.path());
        client = node.client();
        let counts = ask(&mut client, &["MGET", "one", "two"]);
        let Reply::Array(counts) = counts else { panic!("two counts") };
        assert_eq!(counts[0], counts[1], "both or neither");
        let Reply::Bulk(count) = &counts[0] else { panic!("a count") };
        let count: i64 = String::from_utf8_lossy(count).parse().expect("a number");
        assert!(count >= acknowledged, "{count} of {acknowledged}");
        acknowledged = count;
    }
    ask(&mut client, &["SET", "shoes", "3"]);
    assert_eq!(ask(&mut client, &["FCALL", "take", "1", "shoes", "2"]), Reply::Integer(1));
    assert_eq!(ask(&mut client, &["FCALL", "take", "1", "shoes", "2"]), Reply::Error("SOLDOUT 1 left".into()));
    assert_eq!(ask(&mut client, &["FCALL_RO", "left", "1", "shoes"]), Reply::bulk("1"));
    assert_eq!(ask(&mut client, &["SCRIPT", "EXISTS", &sha]), Reply::Array(vec![Reply::Integer(1)]));
}

/// A key of each shard that a cluster of eight has, found by what the nodes refuse.
fn key(at: usize) -> String {
    format!("{{{at}}}k")
}

#[test]
fn any_node_of_a_cluster_runs_scripts_and_knows_what_was_loaded() {
    let folder = Folder::new("scripts");
    let mut cluster = Cluster::start(folder.path());
    let mut clients: Vec<Client> = (0..NODES).map(|at| cluster.client(at)).collect();
    let sha = sha_of(&mut clients[0], "return redis.call('incrby', KEYS[1], ARGV[1])");
    assert_eq!(ask(&mut clients[1], &["FUNCTION", "LOAD", LIBRARY]), Reply::bulk("stock"));
    for at in 0..24 {
        let key = key(at);
        for (number, client) in clients.iter_mut().enumerate() {
            let sum = i64::try_from(number + 1).expect("few nodes");
            assert_eq!(ask(client, &["EVALSHA", &sha, "1", &key, "1"]), Reply::Integer(2 * sum - 1));
            assert_eq!(ask(client, &["FCALL", "take", "1", &key, "-1"]), Reply::Integer(2 * sum));
        }
    }
    let others = (1..24).map(key);
    let refused: Vec<Reply> = others
        .map(|other| eval(&mut clients[0], "return redis.call('get', KEYS[2])", &[&key(0), &other], &[]))
        .collect();
    assert!(refused.iter().any(|told| is_error(told, "CROSSSHARD ")), "{refused:?}");
    let undeclared = "return redis.pcall('get', ARGV[1])";
    let told: Vec<Reply> = (1..24).map(|at| eval(&mut clients[2], undeclared, &[&key(0)], &[&key(at)])).collect();
    assert!(told.iter().any(|told| is_error(told, "CROSSSHARD ")), "{told:?}");
    assert_eq!(eval(&mut clients[1], "return ARGV[1]", &[], &["no key"]), Reply::bulk("no key"));
    let mut listener = cluster.client(2);
    ask(&mut listener, &["SUBSCRIBE", "news"]);
    for at in 0..8 {
        eval(
            &mut clients[0],
            "redis.call('set', KEYS[1], '5') return redis.call('publish', 'news', KEYS[1])",
            &[&key(at)],
            &[],
        );
        assert_eq!(listener.reply().expect("a message"), bulks(&["message", "news", &key(at)]));
    }
    // Whoever takes over has all of it.
    cluster.kill(0);
    let client = &mut clients[1];
    for at in 0..24 {
        let begun = Instant::now();
        loop {
            match ask(client, &["EVALSHA", &sha, "1", &key(at), "0"]) {
                Reply::Integer(count) => break assert_eq!(count, if at < 8 { 5 } else { 6 }),
                Reply::Error(text) if !text.starts_with("NOSCRIPT") => {
                    assert!(begun.elapsed() < Duration::from_secs(30), "{text}");
                }
                told => panic!("{told:?}"),
            }
        }
        assert!(matches!(ask(client, &["FCALL_RO", "left", "1", &key(at)]), Reply::Bulk(_)));
    }
}
