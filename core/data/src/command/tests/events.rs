//! What is told to those who listen for events of keys: as redis-server 7.0.15 tells it.

use super::*;

/// Each command and its events, taken down from a subscriber of that server.
const TAKEN_DOWN: &str = "
    flushall =>
    set k v => new:k set:k
    set k w => set:k
    set k w EX 100 => set:k expire:k
    set k w KEEPTTL => set:k
    set k w NX =>
    set no w XX =>
    set n2 w NX PX 100000 => new:n2 set:n2 expire:n2
    set n3 w PXAT 1 => new:n3 set:n3 expire:n3
    set n4 w EXAT 1 => new:n4 set:n4 expire:n4
    set n4 w => expired:n4 new:n4 set:n4
    setnx k v =>
    setnx k2 v => new:k2 set:k2
    setex k3 100 v => new:k3 set:k3 expire:k3
    psetex k3 100000 v => set:k3 expire:k3
    getset k3 w => set:k3
    getset k4 w => new:k4 set:k4
    mset a 1 b 2 a 3 => new:a set:a new:b set:b set:a
    msetnx a 1 z 1 =>
    msetnx y 1 z 1 y 2 => new:y set:y new:z set:z set:y
    append a 1 => append:a
    append new1 1 => new:new1 append:new1
    setrange a 1 x => setrange:a
    setrange new2 1 x => new:new2 setrange:new2
    incr i => new:i incrby:i
    decr i => incrby:i
    incrby i 5 => incrby:i
    decrby i 5 => incrby:i
    incrbyfloat i 1.5 => incrbyfloat:i
    incrbyfloat j 1.5 => new:j incrbyfloat:j
    getdel i => del:i
    getdel nope =>
    getex j =>
    getex j EX 100 => expire:j
    getex j PERSIST => persist:j
    getex j PERSIST =>
    getex j PXAT 1 => del:j
    get j =>
    del a b nope => del:a del:b
    unlink y z => del:y del:z
    expire k 100 => expire:k
    expire nope 100 =>
    expire k 50 GT =>
    pexpire k 100000 => expire:k
    expireat k 99999999999 => expire:k
    pexpireat k 99999999999000 => expire:k
    persist k => persist:k
    persist k =>
    expire k 0 => del:k
    set k v => new:k set:k
    pexpire k -5 => del:k
    set k v => new:k set:k
    expireat k 5 => del:k
    set k v => new:k set:k
    pexpireat k 5 => del:k
    set r1 1 => new:r1 set:r1
    set r2 2 => new:r2 set:r2
    rename r1 r3 => new:r3 rename_from:r1 rename_to:r3
    rename r3 r2 => new:r2 rename_from:r3 rename_to:r2
    rename r2 r2 =>
    rename nope r2 =>
    renamenx r2 k3 =>
    renamenx r2 r5 => new:r5 rename_from:r2 rename_to:r5
    renamenx r5 r5 =>
    copy r5 r6 => new:r6 copy_to:r6
    copy r5 r6 =>
    copy r5 r6 REPLACE => new:r6 copy_to:r6
    copy r5 r5 DB 1 => 1/new:r5 1/copy_to:r5
    copy nope r6 =>
    move r5 2 => 2/new:r5 move_from:r5 2/move_to:r5
    move r5 2 =>
    move nope 2 =>
    touch k3 =>
    rpush l a b => new:l rpush:l
    lpush l c => lpush:l
    lpushx l d => lpush:l
    rpushx l e => rpush:l
    lpushx nope e =>
    lpop l => lpop:l
    rpop l 2 => rpop:l
    lpop l 0 =>
    lpop nope =>
    linsert l before b x =>
    linsert l before zz x =>
    lset l 0 q => lset:l
    lrem l 0 zz =>
    lrem l 0 q => lrem:l
    ltrim l 0 -1 => ltrim:l
    ltrim l 5 6 => ltrim:l del:l
    lrange l 0 -1 =>
    rpush l a => new:l rpush:l
    ltrim l 5 6 => ltrim:l del:l
    ltrim nope 0 1 =>
    rpush l a => new:l rpush:l
    lrem l 0 a => lrem:l del:l
    rpush l a b => new:l rpush:l
    lmove l l left right => rpush:l lpop:l
    lmove l m left right => new:m rpush:m lpop:l
    lmove l m right left => lpush:m rpop:l del:l
    rpoplpush m m => lpush:m rpop:m
    rpoplpush m q => new:q lpush:q rpop:m
    lmpop 2 nope m LEFT => lpop:m del:m
    lmpop 2 q m RIGHT COUNT 5 => rpop:q del:q
    lpush s1 3 1 2 => new:s1 lpush:s1
    lpush big a => new:big lpush:big
    set big v => set:big
    flushdb =>
    set x 1 => new:x set:x
    flushall =>
";

#[test]
fn events_are_those_of_redis() {
    Bench::new().play_events(TAKEN_DOWN);
}

#[test]
fn a_death_is_told_when_the_key_goes_and_before_what_follows() {
    for (command, wanted) in [
        ("set k w", "expired:k new:k set:k"),
        ("rpush k w", "expired:k new:k rpush:k"),
        ("del k", "expired:k"),
        ("rename other k", "expired:k new:k rename_from:other rename_to:k"),
        ("expire k 100", ""),
        ("lpop k", ""),
        ("get k", ""),
    ] {
        let mut bench = Bench::new();
        bench.run("set k v PX 20");
        bench.run("set other v");
        bench.events();
        bench.wait(20);
        bench.run(command);
        assert_eq!(bench.events(), wanted, "{command}");
        bench.keyspace.remove_dead(10);
        assert_eq!(bench.events(), if wanted.is_empty() { "expired:k" } else { "" }, "{command}");
    }
}

#[test]
fn events_have_their_classes() {
    let mut bench = Bench::new();
    for line in ["set k v EX 1", "rpush l a", "del k"] {
        bench.run(line);
    }
    let classes: Vec<Class> = bench.keyspace.take_notices().into_iter().map(|one| one.class).collect();
    assert_eq!(classes, [Class::New, Class::String, Class::Generic, Class::New, Class::List, Class::Generic]);
}

#[test]
fn nothing_is_kept_while_nobody_listens() {
    let mut bench = Bench::new();
    bench.keyspace.listen(Listening::default());
    bench.run("set k v");
    assert!(bench.keyspace.take_notices().is_empty() && bench.keyspace.take_changes().keys.is_empty());
}
