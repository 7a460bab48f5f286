//! SORT: what it answers and stores.

use super::Bench;

fn bench() -> Bench {
    let mut bench = Bench::new();
    for line in [
        "rpush n 3 1 2 10",
        "rpush words b a 10 9",
        "sadd s c a b",
        "zadd z 1 b 2 a 3 c",
        "mset w_1 30 w_2 20 w_3 10 w_10 20 v_1 one v_2 two",
        "hset h_1 f 9 g x",
        "hset h_2 f 8",
        "set string v",
    ] {
        bench.run(line);
    }
    bench
}

#[test]
fn members_are_sorted_by_numbers_or_bytes_or_what_other_keys_hold() {
    bench().play(
        "sort n => [1 2 3 10]
         sort n desc => [10 3 2 1]
         sort n desc asc => [1 2 3 10]
         sort n alpha => [1 10 2 3]
         sort words => !ERR One or more scores can't be converted into double
         sort words alpha desc => [b a 9 10]
         sort n by w_* => [3 10 2 1]
         sort n by w_* desc => [1 2 10 3]
         sort n by v_* alpha => [3 10 1 2]
         sort n by h_*->f => [10 3 2 1]
         sort n by none_* => [1 10 2 3]
         sort n by v_* => !ERR One or more scores can't be converted into double
         sort words by none_* => [10 9 a b]
         sort s alpha => [a b c]
         sort z alpha desc => [c b a]
         sort none => []
         sort string => !WRONGTYPE Operation against a key holding the wrong kind of value
         sort string foo => !ERR syntax error
         sort_ro n desc => [10 3 2 1]
         sort_ro n store d limit x => !ERR syntax error",
    );
}

#[test]
fn numbers_are_read_as_c_does() {
    let mut bench = Bench::new();
    bench.run("rpush n 1e2 0x10 inf -inf \"\" +5 -1.5");
    assert_eq!(bench.run("sort n"), "[-inf -1.5 \"\" +5 0x10 1e2 inf]");
    for bad in ["nan", "1x", "1e400"] {
        bench.run("del m");
        bench.run(&format!("rpush m 1 {bad}"));
        assert_eq!(bench.run("sort m"), "!ERR One or more scores can't be converted into double", "{bad}");
    }
}

#[test]
fn limits_cut_and_nosort_leaves_the_order() {
    bench().play(
        "sort n limit 1 2 => [2 3]
         sort n limit -5 2 => [1 2]
         sort n limit 2 -1 => [3 10]
         sort n limit 9 1 => []
         sort n limit 0 0 => []
         sort n desc limit 1 2 => [3 2]
         sort n limit 0 9223372036854775807 => [1 2 3 10]
         sort n limit x 1 => !ERR value is not an integer or out of range
         sort n limit 1 => !ERR syntax error
         sort n by nosort => [3 1 2 10]
         sort n by nosort desc => [10 2 1 3]
         sort n by nosort desc limit 1 2 => [2 1]
         sort n by nosort by w_* => [3 1 2 10]
         sort z by nosort => [b a c]
         sort z by nosort desc => [c a b]
         sort z by nosort desc limit 0 2 => [c a]
         sort z by nosort limit 1 5 => [a c]",
    );
}

#[test]
fn get_tells_of_other_keys() {
    bench().play(
        "sort n get # get v_* => [1 one 2 two 3 nil 10 nil]
         sort n get h_*->f get h_*->none get nostar limit 0 1 => [9 nil nil]
         sort n get w_*->f limit 0 1 => [nil]
         sort n get h_* limit 0 1 => [nil]
         sort n get => !ERR syntax error
         sort n by => !ERR syntax error",
    );
}

#[test]
fn what_is_stored_is_a_list() {
    bench().play(
        "expire string 100 => 1
         sort n desc store string => 4
         type string => list
         ttl string => -1
         lrange string 0 -1 => [10 3 2 1]
         sort n get v_* store n => 4
         lrange n 0 -1 => [one two \"\" \"\"]
         sort s by nosort desc store d => 3
         lrange d 0 -1 => [c b a]
         sort none store d => 0
         exists d => 0
         sort none store d => 0
         sort words store words => !ERR One or more scores can't be converted into double
         llen words => 4
         sort n store => !ERR syntax error",
    );
}

#[test]
fn members_that_weigh_the_same_come_as_they_stood() {
    let mut bench = Bench::new();
    for line in ["rpush n d c b a", "mset w_a 1 w_b 1 w_c 2"] {
        bench.run(line);
    }
    assert_eq!(bench.run("sort n by w_* alpha"), "[d b a c]");
    assert_eq!(bench.run("sort n by w_* alpha desc"), "[c b a d]");
    assert_eq!(bench.run("sort n by w_* alpha limit 0 2"), "[d b]");
}
