//! Sorted sets: replies and events as redis-server 7.0.15 gives them.

use super::*;

/// Members, one by one.
const MEMBERS: &str = "
    zadd z 1 a 2.5 b inf c -inf d => 4
    zadd z 1 a 7 e => 1
    zadd z ch 2 a 8 f => 2
    zadd z nx 9 a 9 g => 1
    zadd z xx ch 3 a 9 h => 1
    zadd z gt ch 2 a => 0
    zadd z lt ch 2 a => 1
    zadd z incr 5 a => 7
    zadd z nx incr 5 a => nil
    zadd z incr -inf c => !ERR resulting score is not a number (NaN)
    zincrby z inf d => !ERR resulting score is not a number (NaN)
    zadd z incr 1 a 2 b => !ERR INCR option supports a single increment-element pair
    zadd z nx xx 1 a => !ERR XX and NX options at the same time are not compatible
    zadd z nx gt 1 a => !ERR GT, LT, and/or NX options at the same time are not compatible
    zadd z gt lt 1 a => !ERR GT, LT, and/or NX options at the same time are not compatible
    zadd z 1 => !ERR wrong number of arguments for 'zadd' command
    zadd z nx 1 => !ERR syntax error
    zadd z x a => !ERR value is not a valid float
    zadd z nan a => !ERR value is not a valid float
    zadd z 1 a 2 => !ERR syntax error
    zincrby z x a => !ERR value is not a valid float
    zincrby new 0.1 m => 0.10000000000000001
    zincrby new 0.2 m => 0.30000000000000004
    zscore new m => 0.30000000000000004
    zscore z nope => nil
    zscore no a => nil
    zmscore z a nope c => [7 nil inf]
    zmscore no a b => [nil nil]
    zcard z => 7
    zcard no => 0
    zrank z a => 2
    zrevrank z a => 4
    zrank z nope => nil
    zrank no a => nil
    zcount z -inf +inf => 7
    zcount z (2.5 8 => 3
    zcount z x 1 => !ERR min or max is not a float
    zlexcount z - + => 7
    zlexcount z a [b => !ERR min or max not valid string range item
    zrem z g nope h => 1
    zrem no a => 0
    set str x => OK
    zadd str 1 a => !WRONGTYPE Operation against a key holding the wrong kind of value
    zscore str a => !WRONGTYPE Operation against a key holding the wrong kind of value
    zcount str x 1 => !ERR min or max is not a float
    zrange str 0 -1 => !WRONGTYPE Operation against a key holding the wrong kind of value
    zrange str 0 x => !ERR value is not an integer or out of range
    zunion 2 z str => !WRONGTYPE Operation against a key holding the wrong kind of value
    zscan str 0 count => !WRONGTYPE Operation against a key holding the wrong kind of value
    zmpop 2 no str min => !WRONGTYPE Operation against a key holding the wrong kind of value
    object encoding z => listpack
    zadd big 1 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx => 1
    object encoding big => skiplist
    type z => zset
";

/// Ranges.
const RANGES: &str = "
    zadd z 1 a 2 b 3 c 4 d 5 e => 5
    zrange z 0 -1 withscores => [a 1 b 2 c 3 d 4 e 5]
    zrange z -2 -1 => [d e]
    zrange z 1 2 rev => [d c]
    zrange z 3 1 => []
    zrange z 0 0 limit 0 -1 => [a]
    zrange z 0 0 limit 0 5 => !ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
    zrange z (1 3 byscore withscores => [b 2 c 3]
    zrange z 3 (1 byscore rev => [c b]
    zrange z -inf +inf byscore limit 1 2 => [b c]
    zrange z -inf +inf byscore limit -1 2 => []
    zrange z -inf +inf byscore limit 3 -1 => [d e]
    zrange z [b (d bylex => [b c]
    zrange z + - bylex rev limit 1 2 => [d c]
    zrange z - + bylex withscores => !ERR syntax error, WITHSCORES not supported in combination with BYLEX
    zrange z [a [b => !ERR value is not an integer or out of range
    zrange z 1 x byscore => !ERR min or max is not a float
    zrange z a b bylex => !ERR min or max not valid string range item
    zrange z 0 -1 rev rev => !ERR syntax error
    zrange z 0 -1 byscore bylex => !ERR syntax error
    zrange z 0 -1 limit 0 => !ERR syntax error
    zrevrange z 0 1 withscores => [e 5 d 4]
    zrevrange z 0 1 rev => !ERR syntax error
    zrangebyscore z 2 4 withscores limit 0 1 => [b 2]
    zrevrangebyscore z 4 2 => [d c b]
    zrangebylex z - (c => [a b]
    zrevrangebylex z (c - => [b a]
    zrangebylex z - + withscores => !ERR syntax error, WITHSCORES not supported in combination with BYLEX
    zrangestore d z 1 2 => 2
    zrange d 0 -1 withscores => [b 2 c 3]
    zrangestore d z (1 3 byscore rev => 0
    zrangestore d z 3 (1 byscore rev => 2
    zrange d 0 -1 => [b c]
    zrangestore d z 0 1 withscores => !ERR syntax error
    zrangestore d no 0 1 => 0
    exists d => 0
    zremrangebyrank z 0 0 => 1
    zremrangebyscore z (2 3 => 1
    zremrangebylex z [d [d => 1
    zrange z 0 -1 => [b e]
    zremrangebyrank z 0 -1 => 2
    exists z => 0
    zremrangebyscore z x 1 => !ERR min or max is not a float
    zremrangebylex z - x => !ERR min or max not valid string range item
    zremrangebyrank z 0 x => !ERR value is not an integer or out of range
";

/// What is popped, walked over and drawn.
const POPS: &str = "
    zadd z 1 a 2 b 3 c 4 d 5 e => 5
    zpopmin z => [a 1]
    zpopmax z => [e 5]
    zpopmin z 0 => []
    zpopmin z -1 => !ERR value is out of range, must be positive
    zpopmin z x => !ERR value is out of range, must be positive
    zpopmin z 1 2 => !ERR syntax error
    zpopmax z 2 => [d 4 c 3]
    zpopmin no => []
    zpopmin no 2 => []
    zmpop 2 no z min => [z [[b 2]]]
    zmpop 1 z max => nil-array
    zadd z 1 a 2 b 3 c => 3
    zmpop 1 z max count 2 => [z [[c 3] [b 2]]]
    zmpop 0 z min => !ERR numkeys should be greater than 0
    zmpop 1 z mid => !ERR syntax error
    zmpop 1 z min count 0 => !ERR count should be greater than 0
    zmpop 2 z min => !ERR syntax error
    zscan z 0 => [0 [a 1]]
    zscan z 0 match b* => [0 []]
    zscan z x => !ERR invalid cursor
    zscan z 0 count 0 => !ERR syntax error
    zscan z 0 foo => !ERR syntax error
    zscan no 0 => [0 []]
    zrandmember z => a
    zrandmember z 5 => [a]
    zrandmember z -3 => [a a a]
    zrandmember z 0 => []
    zrandmember z 5 withscores => [a 1]
    zrandmember no => nil
    zrandmember no 5 => []
    zrandmember z x => !ERR value is not an integer or out of range
    zrandmember z 1 x => !ERR syntax error
    zrandmember z -9223372036854775808 => !ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
    zrandmember z -9223372036854775807 withscores => !ERR value is out of range
";

/// Several sets.
const COMBINED: &str = "
    zadd a 1 x 2 y 3 z => 3
    zadd b 10 y 20 z 30 w => 3
    sadd s y w 5 => 3
    zunion 2 a b => [x y z w]
    zunion 2 a b withscores => [x 1 y 12 z 23 w 30]
    zunion 2 a b weights 2 0.5 withscores => [x 2 y 9 w 15 z 16]
    zunion 2 a b aggregate max withscores => [x 1 y 10 z 20 w 30]
    zinter 2 a b aggregate min withscores => [y 2 z 3]
    zinter 2 a s withscores => [y 3]
    zunion 3 a no s withscores => [5 1 w 1 x 1 y 3 z 3]
    zdiff 2 a b withscores => [x 1]
    zdiff 2 a no => [x y z]
    zdiff 2 no a => []
    zintercard 2 a b => 2
    zintercard 2 a b limit 1 => 1
    zintercard 2 a b limit -1 => !ERR LIMIT can't be negative
    zintercard 2 a b weights 1 2 => !ERR syntax error
    zunionstore d 2 a b => 4
    zinterstore d 2 a b weights 1 -1 => 2
    zrange d 0 -1 withscores => [z -17 y -8]
    zdiffstore d 2 a b => 1
    zinterstore d 2 a no => 0
    exists d => 0
    zadd i inf x => 1
    zadd j -inf x => 1
    zunion 2 i j withscores => [x 0]
    zinter 2 i a weights 0 1 withscores => [x 1]
    zinter 1 i weights 0 aggregate min withscores => [x 0]
    zunion 0 a => !ERR at least 1 input key is needed for 'zunion' command
    zunionstore d 0 a => !ERR at least 1 input key is needed for 'zunionstore' command
    zunion x a => !ERR value is not an integer or out of range
    zunion 3 a b => !ERR syntax error
    zunion 1 a weights => !ERR syntax error
    zunion 1 a weights x => !ERR weight value is not a float
    zunion 1 a aggregate avg => !ERR syntax error
    zunionstore d 1 a withscores => !ERR syntax error
    zdiff 1 a weights 1 => !ERR syntax error
    zunionstore a 2 a a => 3
    zrange a 0 -1 withscores => [x 2 y 4 z 6]
";

/// Commands and their events.
const EVENTS: &str = "
    zadd z 1 a 2 b 3 c => new:z zadd:z
    zadd z 1 a =>
    zadd z xx 5 nope =>
    zadd no xx 5 nope =>
    zadd z ch 2 a => zadd:z
    zadd z incr 1 a => zincr:z
    zadd z nx incr 1 a =>
    zadd z gt incr 0 a =>
    zincrby z 0 a =>
    zincrby z 1 a => zincr:z
    zincrby y 1 a => new:y zincr:y
    zrem z nope =>
    zrem z a nope => zrem:z
    zrem y a => zrem:y del:y
    zadd z 1 a 2 b 3 c 4 d 5 e => zadd:z
    zpopmin z => zpopmin:z
    zpopmax z 2 => zpopmax:z
    zpopmin z 0 =>
    zpopmin no =>
    zpopmin z 10 => zpopmin:z del:z
    zadd z 1 a 2 b 3 c 4 d 5 e => new:z zadd:z
    zmpop 2 no z min count 2 => zpopmin:z
    zmpop 1 z max count 100 => zpopmax:z del:z
    zmpop 1 z max =>
    zadd z 1 a 2 b 3 c 4 d 5 e => new:z zadd:z
    zremrangebyrank z 0 0 => zremrangebyrank:z
    zremrangebyrank z 10 11 =>
    zremrangebyscore z 2 2 => zremrangebyscore:z
    zremrangebylex z [c [c => zremrangebylex:z
    zremrangebyscore z -inf inf => zremrangebyscore:z del:z
    zadd z 1 a 2 b 3 c => new:z zadd:z
    zadd y 1 b 5 x => new:y zadd:y
    sadd s a q => new:s sadd:s
    zrangestore d z 0 1 => new:d zrangestore:d
    zrangestore d z 5 6 => del:d
    zrangestore d z 5 6 =>
    zunionstore d 2 z y => new:d zunionstore:d
    zunionstore d 1 no => del:d
    zinterstore d 2 z y => new:d zinterstore:d
    zinterstore d 2 z no => del:d
    zdiffstore d 2 z y => new:d zdiffstore:d
    zdiffstore d 2 z z => del:d
    zunionstore d 2 z s => new:d zunionstore:d
    zinterstore d 2 z s => zinterstore:d
    zrangestore s z 0 -1 => zrangestore:s
    zunion 2 z y =>
    set str v => new:str set:str
    zunionstore str 1 z => zunionstore:str
    zunionstore str 1 no => del:str
    zadd z 1 k => zadd:z
    zrange z 0 -1 =>
    expire z 100 => expire:z
    zunionstore z 1 y => zunionstore:z
    ttl z =>
    del z y => del:z del:y
";

#[test]
fn replies_are_those_that_were_taken_down() {
    for script in [MEMBERS, RANGES, POPS, COMBINED] {
        Bench::new().play(script);
    }
}

#[test]
fn events_are_those_that_were_taken_down() {
    Bench::new().play_events(EVENTS);
}

#[test]
fn a_command_that_changes_nothing_breaks_no_watch() {
    let mut bench = Bench::new();
    bench.run("zadd z 1 a 2 b");
    let before = bench.keyspace.watched(0, b"z");
    for line in [
        "zadd z 1 a",
        "zadd z nx 5 a",
        "zadd z xx 5 c",
        "zincrby z 0 a",
        "zrem z c",
        "zpopmin z 0",
        "zremrangebyrank z 5 9",
        "zadd z x c",
        "zunionstore z 0 a",
    ] {
        bench.run(line);
        assert_eq!(bench.keyspace.watched(0, b"z"), before, "{line}");
    }
    bench.run("zincrby z 1 a");
    assert_ne!(bench.keyspace.watched(0, b"z"), before);
}

#[test]
fn a_large_set_stays_large_and_a_stored_one_is_as_small_as_can_be() {
    let mut bench = Bench::new();
    let many: String = (0..200).map(|n| format!(" {n} m{n}")).collect();
    bench.run(&format!("zadd z{many}"));
    bench.play(
        "object encoding z => skiplist
        zremrangebyrank z 0 -3 => 198
        object encoding z => skiplist
        copy z y => 1
        object encoding y => skiplist
        zunionstore d 1 z => 2
        object encoding d => listpack
        zrangestore d z 0 -1 => 2
        object encoding d => listpack",
    );
}
