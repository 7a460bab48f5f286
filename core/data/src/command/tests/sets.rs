//! Sets: replies, refusals, events and encodings as redis-server 7.0.15 gives them.

use super::Bench;

#[test]
fn members_come_and_go() {
    Bench::new().play(
        "
        sadd s a b a c => 3
        sadd s a d => 1
        smembers s => [a b c d]
        smembers nope => []
        scard s => 4
        scard nope => 0
        sismember s a => 1
        sismember s x => 0
        sismember nope a => 0
        smismember s a x d => [1 0 1]
        smismember nope a b => [0 0]
        srem s a x => 1
        smembers s => [d b c]
        srem nope a => 0
        srem s b c d => 3
        exists s => 0
        sadd i 3 1 2 2 => 3
        smembers i => [1 2 3]
        sadd i 02 -0 => 2
        smembers i => [1 2 3 02 -0]
        sismember i 2 => 1
        sismember i 02 => 1
        sismember i 3 => 1
        ",
    );
}

#[test]
fn members_move() {
    Bench::new().play(
        "
        sadd s a b => 2
        smove s t a => 1
        smove s t x => 0
        smove nope t a => 0
        smove s s b => 1
        smove s s x => 0
        smembers t => [a]
        smove s t b => 1
        exists s => 0
        sadd s a => 1
        smove s t a => 1
        smembers t => [a b]
        ",
    );
}

#[test]
fn members_are_drawn_and_popped() {
    let mut bench = Bench::new();
    bench.play(
        "
        srandmember nope => nil
        srandmember nope 3 => []
        srandmember nope x => !ERR value is not an integer or out of range
        spop nope => nil
        spop nope 3 => []
        sadd s a => 1
        srandmember s => a
        srandmember s 0 => []
        srandmember s 5 => [a]
        srandmember s -3 => [a a a]
        srandmember s 1 2 => !ERR syntax error
        srandmember s -2000000 => !ERR value is out of range
        spop s 0 => []
        spop s -1 => !ERR value is out of range, must be positive
        spop s x => !ERR value is out of range, must be positive
        spop s 1 2 => !ERR syntax error
        spop s => a
        exists s => 0
        sadd s a b c => 3
        spop s 3 => [a b c]
        exists s => 0
        ",
    );
    bench.run("sadd s 1 2 3 4 5 6 7 8 9 a");
    assert_eq!(bench.run("spop s 4").split(' ').count(), 4);
    assert_eq!(bench.run("scard s"), "6");
    let popped = bench.run("spop s");
    assert_eq!(bench.run(&format!("sismember s {popped}")), "0");
}

#[test]
fn sets_are_compared() {
    Bench::new().play(
        "
        sadd a 1 2 3 x => 4
        sadd b 2 3 x y => 4
        sadd c 3 x => 2
        sinter a b => [2 3 x]
        sinter a b c => [3 x]
        sinter a nope b => []
        sinter a => [1 2 3 x]
        sinter nope => []
        sunion c a nope b => [3 x 1 2 y]
        sunion nope => []
        sdiff a b => [1]
        sdiff a nope => [1 2 3 x]
        sdiff nope a => []
        sdiff a a => []
        sinterstore d a b => 3
        smembers d => [2 3 x]
        sunionstore d d c => 3
        sdiffstore a a c => 2
        smembers a => [1 2]
        object encoding a => intset
        sinterstore d a nope => 0
        exists d => 0
        set str v => OK
        expire str 100 => 1
        sunionstore str a => 2
        ttl str => -1
        sintercard 2 b c => 2
        sintercard 2 b c LIMIT 1 => 1
        sintercard 2 b c limit 0 => 2
        sintercard 2 b c limit 1 limit 5 => 2
        sintercard 2 b nope => 0
        sintercard 0 b => !ERR numkeys should be greater than 0
        sintercard -1 b => !ERR numkeys should be greater than 0
        sintercard x b => !ERR numkeys should be greater than 0
        sintercard 2 b => !ERR Number of keys can't be greater than number of args
        sintercard 1 b limit => !ERR syntax error
        sintercard 1 b foo 1 => !ERR syntax error
        sintercard 1 b limit -1 => !ERR LIMIT can't be negative
        sintercard 1 b limit x => !ERR LIMIT can't be negative
        ",
    );
}

#[test]
fn other_types_are_refused() {
    let mut bench = Bench::new();
    bench.run("set v v");
    bench.run("sadd s a");
    for line in [
        "sadd v a",
        "srem v a",
        "smembers v",
        "sismember v a",
        "smismember v a",
        "scard v",
        "spop v",
        "spop v 0",
        "srandmember v",
        "srandmember v 1",
        "smove v s a",
        "smove s v a",
        "sinter s v",
        "sinter nope v",
        "sinterstore d nope v",
        "sintercard 2 nope v",
        "sunion s v",
        "sunionstore d s v",
        "sdiff s v",
        "sdiff nope v",
        "sdiffstore d nope v",
        "sscan v 0 foo",
    ] {
        assert_eq!(bench.run(line), super::types::WRONG, "{line}");
    }
    assert_eq!(bench.run("smove nope v a"), "0");
    assert_eq!(bench.run("spop v x"), "!ERR value is out of range, must be positive");
    assert_eq!(bench.run("sscan v x"), "!ERR invalid cursor");
    assert_eq!((bench.run("get v"), bench.run("smembers s")), ("v".to_owned(), "[a]".to_owned()));
}

#[test]
fn the_encoding_is_what_redis_would_have_and_never_goes_back() {
    let mut bench = Bench::new();
    for n in 0..512 {
        bench.run(&format!("sadd s {}", n * 7919 % 512));
    }
    assert_eq!(bench.run("object encoding s"), "intset");
    let sorted: Vec<String> = (0..512).map(|n| n.to_string()).collect();
    assert_eq!(bench.run("smembers s"), format!("[{}]", sorted.join(" ")));
    assert_eq!(bench.run("sadd s 5 511"), "0");
    assert_eq!(bench.run("object encoding s"), "intset");
    bench.play(
        "
        sadd s 512 => 1
        object encoding s => hashtable
        srem s 512 => 1
        object encoding s => hashtable
        sadd t 1 2 x => 3
        object encoding t => hashtable
        srem t x => 1
        object encoding t => hashtable
        sunionstore u t => 2
        object encoding u => intset
        copy t v => 1
        object encoding v => hashtable
        smove t w 1 => 1
        object encoding w => intset
        sadd big 9223372036854775807 -9223372036854775808 => 2
        object encoding big => intset
        sadd big 9223372036854775808 => 1
        object encoding big => hashtable
        ",
    );
}

#[test]
fn a_scan_returns_all_that_stays() {
    let mut bench = Bench::new();
    bench.play(
        "
        sscan nope 0 => [0 []]
        sadd i 3 1 2 => 3
        sscan i 0 COUNT 1 => [0 [1 2 3]]
        sscan i 9 => [0 [1 2 3]]
        sadd s a b c => 3
        sscan s 0 COUNT 2 => [1 [b c]]
        sscan s 1 COUNT 2 => [0 [a]]
        sscan s 0 match a => [0 [a]]
        sscan s 0 COUNT 0 => !ERR syntax error
        sscan s 0 NOVALUES => !ERR syntax error
        ",
    );
    bench.run(&format!("sadd s {}", (0..1000).map(|n| format!("m{n}")).collect::<Vec<_>>().join(" ")));
    let (mut cursor, mut seen, mut turn) = ("0".to_owned(), std::collections::BTreeSet::new(), 0);
    loop {
        let page = bench.run(&format!("sscan s {cursor} count 7"));
        let (next, members) = page[1..].split_once(' ').expect("a cursor and members");
        seen.extend(members.trim_matches(['[', ']']).split(' ').map(str::to_owned));
        cursor = next.to_owned();
        if cursor == "0" {
            break;
        }
        for n in 0..5 {
            bench.run(&format!("srem s m{}", ((turn * 5 + n) * 367 % 500) * 2 + 1));
            bench.run(&format!("sadd s new:{turn}:{n}"));
        }
        turn += 1;
    }
    assert!((0..1000).step_by(2).all(|n| seen.contains(&format!("m{n}"))));
}

/// Each command and its events, taken down from a subscriber of that server.
const EVENTS: &str = "
    sadd s a b c => new:s sadd:s
    sadd s a =>
    sadd s d => sadd:s
    srem s nope =>
    srem s a => srem:s
    srem nope a =>
    spop s 0 =>
    spop s => spop:s
    spop s 5 => spop:s del:s
    spop s =>
    sadd s 1 2 3 => new:s sadd:s
    sadd t 3 4 => new:t sadd:t
    smove s t 9 =>
    smove s t 1 => srem:s sadd:t
    smove s t 3 => srem:s
    smove t t 3 =>
    smove s u 2 => srem:s del:s new:u sadd:u
    sinterstore d t u =>
    sinterstore d t s =>
    sinterstore t t nope => del:t
    sunionstore d u u => new:d sunionstore:d
    sunionstore d nope => del:d
    sunionstore d nope =>
    set str x => new:str set:str
    sunionstore str u => sunionstore:str
    sdiffstore d u nope => new:d sdiffstore:d
    sdiffstore d u u => del:d
    srem u 2 => srem:u del:u
    sadd s a b => new:s sadd:s
    spop s 2 => spop:s del:s
";

#[test]
fn events_are_those_of_redis() {
    Bench::new().play_events(EVENTS);
}
