//! What commands do about keys of other types.

use super::Bench;

pub(super) const WRONG: &str = "!WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn commands_of_strings_refuse_lists_and_the_other_way_round() {
    let mut bench = Bench::new();
    bench.run("rpush l a b");
    bench.run("set s v");
    for line in [
        "get l",
        "set l v GET",
        "getset l v",
        "getdel l",
        "getex l",
        "getex l EX 0",
        "append l x",
        "strlen l",
        "incr l",
        "decrby l 1",
        "incrbyfloat l x",
        "getrange l 0 1",
        "substr l 0 1",
        "setrange l 0 x",
        "setrange l 0 \"\"",
        "lpush s a",
        "rpushx s a",
        "lpop s",
        "rpop s 1",
        "llen s",
        "lrange s 0 1",
        "lindex s x",
        "lset s 0 x",
        "linsert s before a b",
        "lrem s 0 a",
        "ltrim s 0 1",
        "lpos s a",
        "lmove s l left left",
        "lmove l s left left",
        "rpoplpush s l",
        "lmpop 1 s left",
    ] {
        assert_eq!(bench.run(line), WRONG, "{line}");
    }
    assert_eq!((bench.run("lrange l 0 -1"), bench.run("get s")), ("[a b]".to_owned(), "v".to_owned()));
}

#[test]
fn numbers_are_read_before_the_key_where_redis_does() {
    let mut bench = Bench::new();
    bench.run("rpush l a b");
    for line in ["incrby l x", "getrange l x 0", "setrange l x v", "lrange l x 0", "lrem l x a", "ltrim l x 0"] {
        assert_eq!(bench.run(line), "!ERR value is not an integer or out of range", "{line}");
    }
    assert_eq!(bench.run("getex l EX"), "!ERR syntax error");
    assert_eq!(bench.run("set l v EX 0 GET"), "!ERR invalid expire time in 'set' command");
}

#[test]
fn what_asks_for_no_type_takes_any() {
    Bench::new().play(
        "rpush l a b => 2
         mget l none => [nil nil]
         setnx l v => 0
         msetnx l v k v => 0
         type l => list
         object encoding l => quicklist
         exists l => 1
         copy l c => 1
         rpush c d => 3
         lrange l 0 -1 => [a b]
         expire l 100 => 1
         rename l r => OK
         ttl r => 100
         lrange r 0 -1 => [a b]
         copy r c => 0
         copy r c replace => 1
         lrange c 0 -1 => [a b]
         ttl c => 100
         renamenx r c => 0
         move c 1 => 1
         type c => none
         persist r => 1
         expire r 0 => 1
         exists r => 0
         rpush l a => 1
         set l v => OK
         get l => v
         type l => string
         rpush m a => 1
         mset m v => OK
         getset m w => v
         rpush m2 a => 1
         setex m2 10 v => OK
         type m2 => string",
    );
}

#[test]
fn scan_tells_types_apart() {
    let mut bench = Bench::new();
    for line in ["rpush l a", "set s v", "set t v"] {
        bench.run(line);
    }
    let found = |bench: &mut Bench, kind: &str| {
        let reply = bench.run(&format!("scan 0 count 1000 type {kind}"));
        let mut keys: Vec<char> = reply.chars().filter(|one| one.is_alphabetic()).collect();
        keys.sort_unstable();
        keys.into_iter().collect::<String>()
    };
    assert_eq!((found(&mut bench, "list"), found(&mut bench, "STRING")), ("l".to_owned(), "st".to_owned()));
}
