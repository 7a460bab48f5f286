//! Trimming: exact, and by whole nodes as Redis has them.

use super::World;
use std::fmt::Write;

/// A stream of so many entries, and how many nodes it has.
fn stream(count: u64, fields: &str) -> (World, String) {
    let mut calls = String::new();
    for id in 1..=count {
        writeln!(calls, "XADD s {id} {fields}").expect("a string takes all");
    }
    let mut world = World::after(&calls);
    let nodes = nodes(&mut world);
    (world, nodes)
}

fn nodes(world: &mut World) -> String {
    let told = world.run("XINFO STREAM s");
    let (_, rest) = told.split_once("radix-tree-keys: ").expect("it is told");
    rest.split(',').next().unwrap_or_default().to_owned()
}

#[test]
fn nodes_close_where_those_of_redis_close() {
    // By their number, and by their bytes.
    assert_eq!(stream(1000, "a b").1, "10");
    assert_eq!(stream(300, &format!("field {}", "x".repeat(100))).1, "9");
    assert_eq!(stream(300, &format!("field {} other 12345", "x".repeat(40))).1, "4");
    assert_eq!(stream(5, &format!("f {}", "x".repeat(5000))).1, "5");
}

#[test]
fn approximate_trimming_removes_whole_nodes() {
    let (mut world, _) = stream(1000, "a b");
    world.check(
        "XTRIM s MAXLEN ~ 950 => 0
        XTRIM s MAXLEN ~ 850 => 100
        XTRIM s MAXLEN ~ 0 LIMIT 250 => 200
        XTRIM s MINID ~ 499 => 100
        XTRIM s MINID ~ 601 LIMIT 99 => 0
        XTRIM s MINID ~ 601 LIMIT 0 => 200
        XLEN s => 400
        XADD s MAXLEN ~ 301 2000 a b => 2000-0
        XLEN s => 301
        XTRIM s MAXLEN = 250 => 51
        XTRIM s MAXLEN ~ 200 => 49
        XLEN s => 201",
    );
    let (mut world, _) = stream(12_000, "a b");
    assert_eq!(world.run("XTRIM s MAXLEN ~ 10"), "10000", "as much as is removed at once");
}

#[test]
fn exact_trimming_leaves_what_was_asked() {
    let (mut world, _) = stream(250, "a b");
    world.check(
        "XTRIM s MAXLEN 0 LIMIT 5 => -ERR syntax error, LIMIT cannot be used without the special ~ option
        XTRIM s MAXLEN 199 => 51
        XTRIM s MINID 60 => 8
        XTRIM s MINID 60 => 0
        XRANGE s - + COUNT 1 => [[60-0 [a b]]]
        XTRIM s MINID = 240 => 180
        XLEN s => 11
        XTRIM s MAXLEN 0 => 11
        XTRIM none MAXLEN 0 => 0",
    );
    assert_eq!(nodes(&mut world), "0");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    World::new().check(
        "XADD s MAXLEN ~ 5 LIMIT -1 * a b => -ERR The LIMIT argument must be >= 0.
        XADD s MAXLEN ~ -5 * a b => -ERR The MAXLEN argument must be >= 0.
        XADD s MAXLEN 5 MINID 3 * a b => -ERR syntax error, MAXLEN and MINID options at the same time are not compatible
        XADD s LIMIT 5 * a b => -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        XADD s LIMIT 0 * a b => -ERR syntax error, LIMIT cannot be used without the special ~ option
        XADD s MAXLEN 5 LIMIT 10 * a b => -ERR syntax error, LIMIT cannot be used without the special ~ option
        XTRIM s LIMIT 5 => -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        XTRIM s MAXLEN ~ => -ERR value is not an integer or out of range
        XTRIM s MINID - => -ERR Invalid stream ID specified as stream command argument
        XTRIM s FOO 5 => -ERR syntax error",
    );
}
