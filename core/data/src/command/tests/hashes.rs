//! Hashes: replies, refusals, events and encodings as redis-server 7.0.15 gives them.

use super::Bench;

#[test]
fn fields_are_set_and_read() {
    Bench::new().play(
        "
        hset h a 1 b 2 => 2
        hset h a 3 c 4 c 5 => 1
        hmset h d 6 => OK
        hsetnx h a 9 => 0
        hsetnx h e 9 => 1
        hget h a => 3
        hget h nope => nil
        hget nope a => nil
        hmget h a nope e => [3 nil 9]
        hmget nope a b => [nil nil]
        hgetall h => {a: 3, b: 2, c: 5, d: 6, e: 9}
        hgetall nope => {}
        hkeys h => [a b c d e]
        hvals h => [3 2 5 6 9]
        hkeys nope => []
        hvals nope => []
        hlen h => 5
        hlen nope => 0
        hexists h a => 1
        hexists h nope => 0
        hexists nope a => 0
        hset h \"\" \"\" => 1
        hget h \"\" => \"\"
        hstrlen h a => 1
        hstrlen h \"\" => 0
        hstrlen h nope => 0
        hstrlen nope a => 0
        hset h n -9223372036854775808 => 1
        hstrlen h n => 20
        hdel h b nope b d => 2
        hkeys h => [a n c \"\" e]
        hdel nope a => 0
        hdel h a n c e => 4
        hdel h \"\" => 1
        exists h => 0
        type h => none
        hset h a => !ERR wrong number of arguments for 'hset' command
        hset h a 1 b => !ERR wrong number of arguments for 'hset' command
        hmset h a 1 b => !ERR wrong number of arguments for 'hmset' command
        exists h => 0
        ",
    );
}

#[test]
fn numbers_in_fields_are_added_to() {
    Bench::new().play(
        "
        hincrby h n 5 => 5
        hincrby h n -7 => -2
        hincrby h n x => !ERR value is not an integer or out of range
        hincrby h n 1.0 => !ERR value is not an integer or out of range
        hset h t text big 9223372036854775807 => 2
        hincrby h t 1 => !ERR hash value is not an integer
        hincrby h big 1 => !ERR increment or decrement would overflow
        hincrbyfloat h n 0.5 => -1.5
        hincrby h n 1 => !ERR hash value is not an integer
        hincrbyfloat h n 10.6 => 9.1
        hincrbyfloat h new 5.0e3 => 5000
        hincrbyfloat h t 1 => !ERR hash value is not a float
        hincrbyfloat h n x => !ERR value is not a valid float
        hincrbyfloat h n inf => !ERR value is NaN or Infinity
        hincrbyfloat h n nan => !ERR value is not a valid float
        hgetall h => {n: 9.1, t: text, big: 9223372036854775807, new: 5000}
        ",
    );
}

#[test]
fn fields_are_drawn() {
    let mut bench = Bench::new();
    bench.play(
        "
        hrandfield nope => nil
        hrandfield nope 3 => []
        hrandfield nope 3 withvalues => []
        hset h a 1 => 1
        hrandfield h => a
        hrandfield h 0 => []
        hrandfield h 5 => [a]
        hrandfield h -3 => [a a a]
        hrandfield h 5 WITHVALUES => [a 1]
        hrandfield h -2 withvalues => [a 1 a 1]
        hrandfield h x => !ERR value is not an integer or out of range
        hrandfield h 1 values => !ERR syntax error
        hrandfield h 1 withvalues x => !ERR syntax error
        hrandfield nope 1 x => !ERR syntax error
        hrandfield h 4611686018427387904 withvalues => !ERR value is out of range
        hrandfield h -2000000 => !ERR value is out of range
        hset h b 2 c 3 => 2
        hrandfield h 3 => [a b c]
        ",
    );
    let least = "!ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
    assert_eq!(bench.run("hrandfield h -9223372036854775808"), least);
}

#[test]
fn other_types_are_refused() {
    let mut bench = Bench::new();
    bench.run("set s v");
    for line in [
        "hset s a 1",
        "hmset s a 1",
        "hsetnx s a 1",
        "hget s a",
        "hmget s a",
        "hgetall s",
        "hdel s a",
        "hlen s",
        "hexists s a",
        "hkeys s",
        "hvals s",
        "hstrlen s a",
        "hincrby s a 1",
        "hincrbyfloat s a 1",
        "hrandfield s",
        "hrandfield s 1",
        "hscan s 0 foo",
    ] {
        assert_eq!(bench.run(line), super::types::WRONG, "{line}");
    }
    for line in ["hincrby s a x", "hrandfield s x"] {
        assert_eq!(bench.run(line), "!ERR value is not an integer or out of range");
    }
    assert_eq!(bench.run("hincrbyfloat s a x"), "!ERR value is not a valid float");
    assert_eq!(bench.run("hscan s x"), "!ERR invalid cursor");
    assert_eq!(bench.run("get s"), "v");
}

#[test]
fn the_encoding_is_what_redis_would_have_and_never_goes_back() {
    let long = "x".repeat(65);
    let fits = "x".repeat(64);
    for (name, value, encoding) in [
        ("f", fits.as_str(), "listpack"),
        (fits.as_str(), "v", "listpack"),
        ("f", &long, "hashtable"),
        (&long, "v", "hashtable"),
    ] {
        let mut bench = Bench::new();
        bench.run(&format!("hset h {name} {value}"));
        assert_eq!(bench.run("object encoding h"), encoding);
        bench.run(&format!("hset h {name} 1 other 2"));
        bench.run(&format!("hdel h {name}"));
        assert_eq!(bench.run("object encoding h"), encoding);
        assert_eq!(bench.run("copy h i"), "1");
        assert_eq!(bench.run("object encoding i"), encoding);
    }
    let mut bench = Bench::new();
    for n in 0..512 {
        bench.run(&format!("hset h {n} {n}"));
    }
    assert_eq!(bench.run("object encoding h"), "listpack");
    bench.run("hset h one more");
    assert_eq!(bench.run("object encoding h"), "hashtable");
}

#[test]
fn a_scan_returns_all_that_stays() {
    let mut bench = Bench::new();
    bench.play(
        "
        hscan nope 0 => [0 []]
        hscan nope 0 foo => [0 []]
        hscan nope x => !ERR invalid cursor
        hset h a 1 b 2 => 2
        hscan h 0 COUNT 1 => [0 [a 1 b 2]]
        hscan h 77 => [0 [a 1 b 2]]
        hscan h 0 match b* count 1 => [0 [b 2]]
        hscan h 0 COUNT 0 => !ERR syntax error
        hscan h 0 COUNT x => !ERR value is not an integer or out of range
        hscan h 0 COUNT => !ERR syntax error
        hscan h 0 TYPE hash => !ERR syntax error
        ",
    );
    for n in 0..1000 {
        bench.run(&format!("hset h {n} v{n}"));
    }
    let (mut cursor, mut seen, mut turn) = ("0".to_owned(), std::collections::BTreeSet::new(), 0);
    loop {
        let page = bench.run(&format!("hscan h {cursor} count 7"));
        let (next, fields) = page[1..].split_once(' ').expect("a cursor and fields");
        seen.extend(fields.trim_matches(['[', ']']).split(' ').step_by(2).map(str::to_owned));
        cursor = next.to_owned();
        if cursor == "0" {
            break;
        }
        // Odd ones go while it walks, from all over, and others come.
        for n in 0..5 {
            bench.run(&format!("hdel h {}", ((turn * 5 + n) * 367 % 500) * 2 + 1));
            bench.run(&format!("hset h new:{turn}:{n} x"));
        }
        turn += 1;
    }
    assert!((0..1000).step_by(2).all(|n| seen.contains(&n.to_string())));
}

/// Each command and its events, taken down from a subscriber of that server.
const EVENTS: &str = "
    hset h a 1 b 2 => new:h hset:h
    hset h a 1 => hset:h
    hsetnx h a 2 =>
    hsetnx h c 2 => hset:h
    hsetnx n c 2 => new:n hset:n
    hmset h d 1 => hset:h
    hmset m d 1 => new:m hset:m
    hincrby h a 1 => hincrby:h
    hincrby h d 1 => hincrby:h
    hincrby i a 1 => new:i hincrby:i
    hincrby h a x =>
    hincrbyfloat h a 1.5 => hincrbyfloat:h
    hincrbyfloat f a 1.5 => new:f hincrbyfloat:f
    hdel h nope =>
    hdel h a b => hdel:h
    hdel nope a =>
    hdel n c => hdel:n del:n
    hget h d =>
    hdel h c d => hdel:h del:h
";

#[test]
fn events_are_those_of_redis() {
    Bench::new().play_events(EVENTS);
}
