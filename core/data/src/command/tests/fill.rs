//! GETFILL, FILL, and what memcached asks.

use super::Bench;
use crate::command::{find, unlogged};
use crate::{Context, Keyspace};
use base::Stamp;

/// The token of a reply, `[FILL value token]`.
fn token(reply: &str) -> String {
    let inner =
        reply.strip_prefix("[FILL ").and_then(|rest| rest.strip_suffix(']')).unwrap_or_else(|| panic!("{reply}"));
    inner.rsplit(' ').next().expect("three parts").to_owned()
}

#[test]
fn one_fills_and_the_others_see_that() {
    let mut bench = Bench::new();
    let first = token(&bench.run("GETFILL k 1000"));
    bench.play("GETFILL k 1000 => [FILLING nil 5000]\n GET k => nil\n DBSIZE => 0\n EXISTS k => 0\n KEYS * => []");
    assert_eq!(bench.run(&format!("FILL k {first} v")), "OK");
    bench.play("GETFILL k 1000 => [HIT v 1000]\n GET k => v\n PTTL k => 1000\n TYPE k => string");
    assert!(bench.run(&format!("FILL k {first} w")).starts_with("!LOST "), "a token is good once");
    bench.play("GET k => v");
    bench.wait(1000);
    let second = token(&bench.run("GETFILL k 1000 LEASE 200"));
    assert_ne!(first, second);
    bench.wait(199);
    bench.play("GETFILL k 5 => [FILLING nil 1]");
    bench.wait(1);
    assert!(bench.run(&format!("FILL k {second} late")).starts_with("!LOST "), "its time is over");
    let third = token(&bench.run("GETFILL k 700"));
    assert_eq!(bench.run(&format!("FILL k {third} x PX 50")), "OK");
    bench.play("PTTL k => 50");
}

#[test]
fn whoever_touches_the_key_takes_the_token_away() {
    for touch in
        ["SET k w", "DEL k", "UNLINK k", "GETDEL k", "FLUSHDB", "FLUSHALL", "RPUSH k 1", "SETRANGE k 1 x", "INCR k"]
    {
        let mut bench = Bench::new();
        let given = token(&bench.run("GETFILL k 1000"));
        bench.run(touch);
        let after = bench.run("DUMP k");
        assert!(bench.run(&format!("FILL k {given} old")).starts_with("!LOST "), "{touch}");
        assert_eq!(bench.run("DUMP k"), after, "{touch}");
    }
    let mut bench = Bench::new();
    bench.run("SET other v");
    for touch in ["RENAME other k", "COPY other k REPLACE"] {
        bench.run("DEL k");
        let given = token(&bench.run("GETFILL k 1000"));
        bench.run(touch);
        bench.run("SET other v");
        assert!(bench.run(&format!("FILL k {given} old")).starts_with("!LOST "), "{touch}");
    }
    for harmless in ["GET k", "EXPIRE k 5", "SET l 1", "TTL k"] {
        bench.run("DEL k");
        let given = token(&bench.run("GETFILL k 1000"));
        bench.run(harmless);
        assert_eq!(bench.run(&format!("FILL k {given} v")), "OK", "{harmless}");
    }
}

#[test]
fn an_old_value_serves_for_its_time() {
    let mut bench = Bench::new();
    let given = token(&bench.run("GETFILL k 1000 STALE 500"));
    bench.run(&format!("FILL k {given} v"));
    bench.wait(1000);
    bench.play("GET k => nil\n TTL k => -2\n DBSIZE => 1");
    let given = bench.run("GETFILL k 1000 STALE 100 LEASE 300");
    assert!(given.starts_with("[FILL v "), "the filler has the old one too: {given}");
    bench.play("GETFILL k 9 STALE 100 => [STALE v 300]\n GETFILL k 9 => [FILLING nil 300]\n DBSIZE => 0");
    bench.wait(100);
    bench.play("GETFILL k 9 STALE 100 => [FILLING nil 200]\n GETFILL k 9 STALE 101 => [STALE v 200]");
    bench.wait(200);
    let given = bench.run("GETFILL k 1000 STALE 500 LEASE 300");
    assert!(given.starts_with("[FILL v "), "{given}");
    bench.wait(200);
    bench.play("GETFILL k 1000 STALE 5000 => [FILLING nil 100]");
    // What is deleted, is.
    let given = token(&{
        bench.wait(100);
        bench.run("GETFILL k 10 STALE 1000")
    });
    bench.run(&format!("FILL k {given} w"));
    bench.wait(10);
    bench.run("DEL k");
    assert!(bench.run("GETFILL k 10 STALE 1000").starts_with("[FILL nil "));
}

#[test]
fn a_new_expiry_and_another_name_keep_what_is_known() {
    let mut bench = Bench::new();
    let given = token(&bench.run("GETFILL k 1000 STALE 500"));
    bench.run(&format!("FILL k {given} v"));
    bench.play("PEXPIRE k 50 => 1\n RENAME k l => OK");
    bench.wait(60);
    assert!(bench.run("GETFILL k 5 STALE 500").starts_with("[FILL nil "));
    assert!(bench.run("GETFILL l 5 STALE 500").starts_with("[FILL v "));
}

#[test]
fn nothing_may_be_remembered_and_tasks_given_back() {
    let mut bench = Bench::new();
    let given = token(&bench.run("GETFILL k 1000"));
    assert_eq!(bench.run(&format!("FILL k {given} \"\" NOTHING PX 300")), "OK");
    bench.play("GETFILL k 1000 => [NOTHING nil 300]\n GET k => nil\n EXISTS k => 0");
    bench.wait(300);
    let given = token(&bench.run("GETFILL k 1000"));
    assert_eq!(bench.run(&format!("FILL k {given} \"\" ABANDON")), "OK");
    let next = token(&bench.run("GETFILL k 1000"));
    assert!(next > given);
    assert_eq!(bench.run(&format!("FILL k {next} \"\" NOTHING")), "OK");
    bench.play("GETFILL k 1000 => [NOTHING nil 1000]\n SET k v => OK\n GETFILL k 1 => [HIT v -1]");
}

#[test]
fn chance_shortens_lives() {
    let mut bench = Bench::new();
    for at in 0..50 {
        let given = token(&bench.run(&format!("GETFILL k{at} 1000 JITTER 10")));
        bench.run(&format!("FILL k{at} {given} v"));
        let left: u64 = bench.run(&format!("PTTL k{at}")).parse().expect("a number");
        assert!((900..=1000).contains(&left), "{left}");
    }
    let given = token(&bench.run("GETFILL k 1 JITTER 100"));
    assert_eq!(bench.run(&format!("FILL k {given} v")), "OK");
    bench.play("PTTL k => 1");
}

#[test]
fn what_makes_no_sense_is_refused() {
    Bench::new().play(
        "RPUSH l 1 => 1
         GETFILL l 5 => !WRONGTYPE Operation against a key holding the wrong kind of value
         GETFILL k x => !ERR value is not an integer or out of range
         GETFILL k 0 => !ERR invalid expire time in 'getfill' command
         GETFILL k 9223372036854775807 => !ERR invalid expire time in 'getfill' command
         GETFILL k 5 STALE => !ERR syntax error
         GETFILL k 5 STALE -1 => !ERR value is not an integer or out of range
         GETFILL k 5 LEASE 0 => !ERR LEASE is a time from 1 to 3600000 milliseconds
         GETFILL k 5 JITTER 101 => !ERR JITTER is a percentage from 0 to 100
         GETFILL k 5 AT ONCE => !ERR syntax error
         FILL k x v => !ERR value is not an integer or out of range
         FILL k 1 v NOTHING => !ERR syntax error
         FILL k 1 v PX 0 => !ERR invalid expire time in 'fill' command
         FILL k 1 v ABANDON => !ERR syntax error
         FILL k 1 \"\" NOTHING ABANDON => !ERR syntax error
         DBSIZE => 1",
    );
}

#[test]
fn what_stands_there_needs_no_log() {
    let mut bench = Bench::new();
    let ask = |keyspace: &Keyspace, at: u64, line: &str| {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let command = find(args[0]).expect("a command");
        unlogged(keyspace, &Context::new(0, Stamp(at)), command, &args).map(|reply| super::shown(&reply))
    };
    assert_eq!(ask(&bench.keyspace, bench.now_ms, "GETFILL k 5"), None);
    bench.run("PSETEX k 100 v");
    assert_eq!(ask(&bench.keyspace, bench.now_ms + 99, "GETFILL k 5").as_deref(), Some("[HIT v 1]"));
    assert_eq!(ask(&bench.keyspace, bench.now_ms + 100, "GETFILL k 5"), None, "it is dead by now, and not by the log");
    assert_eq!(ask(&bench.keyspace, bench.now_ms, "GETFILL k x"), None);
    assert_eq!(ask(&bench.keyspace, bench.now_ms, "SET k x"), None);
    assert!(ask(&bench.keyspace, bench.now_ms, "memcache.fetch k").is_some());
    assert_eq!(ask(&bench.keyspace, bench.now_ms, "memcache.fetch none").as_deref(), Some("nil"));
    assert_eq!(ask(&bench.keyspace, bench.now_ms, "memcache.fetch none N 5"), None);
    bench.run("memcache.delete k I");
    assert_eq!(ask(&bench.keyspace, bench.now_ms, "memcache.fetch k"), None, "somebody is to win");
    bench.run("memcache.fetch k");
    assert!(ask(&bench.keyspace, bench.now_ms, "memcache.fetch k").is_some());
}

#[test]
fn a_snapshot_holds_what_stands_beside_keys() {
    let mut bench = Bench::new();
    let given = token(&bench.run("GETFILL old 100 STALE 5000"));
    bench.run(&format!("FILL old {given} v"));
    let given = token(&bench.run("GETFILL none 100"));
    bench.run(&format!("FILL none {given} \"\" NOTHING PX 5000"));
    bench.run("memcache.store flagged S v 77 0");
    bench.wait(200);
    let given = token(&bench.run("GETFILL old 100 STALE 5000"));
    bench.keyspace.begin_cut();
    // Changed while the cut runs: it holds them as they were, in whatever order.
    let at_cut = bench.keyspace.digest();
    bench.run("memcache.store flagged S w 78 0");
    bench.run(&format!("FILL old {given} new"));
    while !bench.keyspace.cut_slice(100) {}
    let mut image = Vec::new();
    while let Some((bytes, _)) = bench.keyspace.cut_output() {
        image.extend_from_slice(&bytes);
    }
    let loaded = Keyspace::load(&image).expect("what was written can be read");
    assert_eq!(loaded.digest(), at_cut);
    bench.keyspace = loaded;
    bench.play("GETFILL none 1 => [NOTHING nil 4800]\n GETFILL old 1 STALE 5000 => [STALE v 5000]");
    assert!(bench.run("memcache.get flagged").starts_with("[v 77 "));
    assert_eq!(bench.run(&format!("FILL old {given} new")), "OK");
    for cut in image.len().saturating_sub(150)..image.len() {
        assert!(Keyspace::load(&image[..cut]).is_err(), "cut at {cut}");
    }
    // Records that no shard would write.
    for at in image.len().saturating_sub(120)..image.len() {
        let mut damaged = image.clone();
        damaged[at] ^= 0x41;
        if let Ok(keyspace) = Keyspace::load(&damaged) {
            let cx = Context::new(0, keyspace.applied_stamp());
            for key in [b"old".as_slice(), b"none", b"flagged"] {
                drop((keyspace.marks(cx.db, key), keyspace.aside(cx.db, key), keyspace.lease(cx.db, key)));
            }
        }
    }
}

#[test]
fn memcached_s_ways() {
    let mut bench = Bench::new();
    bench.play(
        "memcache.get k => nil
         memcache.store k R v 0 0 => [NS 0 0]
         memcache.store k A v 0 0 => [NS 0 0]
         memcache.store k S v 7 30 C 1 => [NF 0 0]",
    );
    let stored = bench.run("memcache.store k S v 7 30");
    let cas = stored.split(' ').nth(1).expect("a version").to_owned();
    assert_eq!(stored, format!("[HD {cas} 1]"));
    assert_eq!(bench.run("memcache.get k"), format!("[v 7 {cas} 30 0 0 0 0 0]"));
    bench.play("TTL k => 30\n EXPIRE k 60 => 1\n GET k => v");
    assert_eq!(bench.run("memcache.get k"), format!("[v 7 {cas} 60 0 0 0 0 0]"), "a new expiry is no new value");
    assert!(bench.run(&format!("memcache.store k S w 7 0 C {}", cas.parse::<u64>().unwrap() + 1)).starts_with("[EX "));
    assert!(bench.run(&format!("memcache.store k S w 8 0 C {cas}")).starts_with("[HD "));
    assert!(bench.run("memcache.store k A x 9 0").ends_with(" 2]"));
    assert!(bench.run("memcache.store k P y 9 0").ends_with(" 3]"));
    assert!(bench.run("memcache.get k").starts_with("[ywx 8 "));
    bench.run("APPEND k z");
    assert!(bench.run("memcache.get k").starts_with("[ywxz 0 "), "another command's change sets flags back");
    assert!(bench.run("memcache.store k S v 7 -1").starts_with("[HD "), "over at once");
    bench.play("EXISTS k => 0");
}

#[test]
fn a_value_that_is_out_of_date_is_won_once() {
    let mut bench = Bench::new();
    let tail = |reply: String| {
        reply.rsplitn(4, ' ').take(3).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(" ")
    };
    bench.run("memcache.store k S v 7 30");
    assert_eq!(tail(bench.run("memcache.fetch k")), "0 0 0]");
    bench.run("memcache.delete k I T 20");
    let won = bench.run("memcache.fetch k");
    assert_eq!(tail(won.clone()), "1 1 0]");
    let cas = won.split(' ').nth(2).expect("a version").to_owned();
    assert_eq!(tail(bench.run("memcache.fetch k")), "0 1 1]");
    bench.run("SET other x");
    bench.play("TTL k => 20");
    assert!(bench.run(&format!("memcache.store k S new 0 30 C {cas}")).starts_with("[HD "));
    assert_eq!(tail(bench.run("memcache.fetch k")), "0 0 0]");
    // Early recache, and vivify.
    assert_eq!(tail(bench.run("memcache.fetch k R 30")), "0 0 0]");
    assert_eq!(tail(bench.run("memcache.fetch k R 31")), "1 0 0]");
    assert_eq!(tail(bench.run("memcache.fetch k R 31")), "0 0 1]");
    assert_eq!(tail(bench.run("memcache.fetch n N 30")), "1 0 0]");
    assert_eq!(tail(bench.run("memcache.fetch n N 30")), "0 0 1]");
    bench.play("TTL n => 30\n STRLEN n => 0");
    // An old filler marks its value as old.
    let stored = bench.run("memcache.store k S v 0 0");
    let cas: u64 = stored.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a version");
    assert!(bench.run(&format!("memcache.store k S w 0 0 I C {}", cas - 1)).starts_with("[HD "));
    assert_eq!(tail(bench.run("memcache.fetch k")), "0 1 1]");
}

#[test]
fn counters_count_as_memcached_does() {
    let mut bench = Bench::new();
    let number = |reply: String| reply.split(' ').nth(2).map(str::to_owned).unwrap_or(reply);
    assert!(bench.run("memcache.count c I 1").starts_with("[NF "));
    assert_eq!(number(bench.run("memcache.count c I 1 N 0 J 13")), "13");
    assert_eq!(number(bench.run("memcache.count c I 5")), "18");
    assert_eq!(number(bench.run("memcache.count c D 500")), "0");
    bench.run("SET c 18446744073709551615");
    assert_eq!(number(bench.run("memcache.count c I 2")), "1", "it wraps");
    assert!(bench.run("memcache.count c I 2 T 9").ends_with(" 9]"));
    bench.play(
        "memcache.count c I x => !CLIENT_ERROR invalid numeric delta argument
         SET s abc => OK
         memcache.count s I 1 => !CLIENT_ERROR cannot increment or decrement non-numeric value
         RPUSH l 1 => 1
         memcache.count l I 1 => !WRONGTYPE Operation against a key holding the wrong kind of value
         memcache.get l => !WRONGTYPE Operation against a key holding the wrong kind of value
         memcache.store l A x 0 0 => !WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}
