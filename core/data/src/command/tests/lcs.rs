//! LCS: what it answers.

use super::Bench;

#[test]
fn the_longest_common_subsequence_is_the_one_that_redis_finds() {
    Bench::new().play(
        "mset a ohmytext b mynewtext => OK
         lcs a b => mytext
         lcs a b LEN => 6
         lcs a b idx => {matches: [[[4 7] [5 8]] [[2 3] [0 1]]], len: 6}
         lcs a b IDX minmatchlen 4 WithMatchLen => {matches: [[[4 7] [5 8] 4]], len: 6}
         lcs a b IDX minmatchlen -1 withmatchlen => {matches: [[[4 7] [5 8] 4] [[2 3] [0 1] 2]], len: 6}
         lcs a none => \"\"
         lcs a none len => 0
         lcs none none idx => {matches: [], len: 0}
         lcs a a len => 8
         lcs a b len idx => !ERR If you want both the length and indexes, please just use IDX.
         lcs a b minmatchlen => !ERR syntax error
         lcs a b minmatchlen x => !ERR value is not an integer or out of range
         lcs a b foo => !ERR syntax error
         rpush l a => 1
         lcs a l foo => !ERR The specified keys must contain string values",
    );
}

#[test]
fn strings_whose_table_would_be_too_large_are_refused() {
    let mut bench = Bench::new();
    bench.run(&format!("set a {}", "x".repeat(100_000)));
    bench.run("set b xyz");
    assert_eq!(bench.run("lcs a b"), "x");
    assert_eq!(bench.run("lcs a a len"), "!ERR Insufficient memory, failed allocating transient memory for LCS");
}
