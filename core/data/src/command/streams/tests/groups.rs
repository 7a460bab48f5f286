//! Consumer groups.

use super::{BAD_ID, World};

const NO_KEY: &str = "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
                      MKSTREAM option to create an empty stream automatically.";

#[test]
fn groups_are_made_changed_and_destroyed() {
    let mut world = World::new();
    for call in ["XGROUP CREATE s g x", "XGROUP SETID s g 5", "XGROUP DESTROY s g"] {
        assert_eq!(world.run(call), NO_KEY, "{call}");
    }
    world.check(
        "XGROUP CREATE s g $ MKSTREAM => OK
        XGROUP CREATE s g $ => -BUSYGROUP Consumer Group name already exists
        XGROUP CREATE s h 5 ENTRIESREAD -2 => -ERR value for ENTRIESREAD must be positive or -1
        XGROUP CREATE s h 5 ENTRIESREAD x => -ERR value is not an integer or out of range
        XGROUP CREATE s h 5 ENTRIESREAD -1 => OK
        XGROUP create s i 5 FOO => -ERR unknown subcommand or wrong number of arguments for 'create'. Try XGROUP HELP.
        XGROUP SETID s g + => OK
        XGROUP SETID s g 5 MKSTREAM => -ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.
        XGROUP SETID s none 5 => -NOGROUP No such consumer group 'none' for key name 's'
        XGROUP SETID s g 5 ENTRIESREAD 3 => OK
        XGROUP CREATECONSUMER s g c => 1
        XGROUP CREATECONSUMER s g c => 0
        XGROUP CREATECONSUMER s none c => -NOGROUP No such consumer group 'none' for key name 's'
        XGROUP DELCONSUMER s g nobody => 0
        XGROUP FOO s g => -ERR unknown subcommand 'FOO'. Try XGROUP HELP.
        XGROUP DESTROY s g x => -ERR wrong number of arguments for 'xgroup|destroy' command
        XINFO GROUPS s => [{name: g, consumers: 1, pending: 0, last-delivered-id: 5-0, entries-read: 3, lag: 0} {name: h, consumers: 0, pending: 0, last-delivered-id: 5-0, entries-read: nil, lag: 0}]
        XGROUP DESTROY s g => 1
        XGROUP DESTROY s g => 0
        XINFO CONSUMERS s g => -NOGROUP No such consumer group 'g' for key name 's'
        XINFO STREAM none => -ERR no such key",
    );
    assert_eq!(world.run("XGROUP CREATE s i - MKSTREAM"), BAD_ID);
    assert!(world.run("XGROUP HELP").contains("+    * ENTRIESREAD entries_read +      Set the group's"));
    assert!(world.run("XINFO HELP").starts_with("[+XINFO <subcommand>"));
}

#[test]
fn each_entry_goes_to_one_consumer_until_it_is_acknowledged() {
    World::after("XADD s 1 a b\nXADD s 2 a b\nXADD s 3 a b\nXGROUP CREATE s g 0").check(
        "XREADGROUP GROUP g c COUNT 2 STREAMS s > => <s: [[1-0 [a b]] [2-0 [a b]]]>
        XREADGROUP GROUP g d STREAMS s > => <s: [[3-0 [a b]]]>
        XREADGROUP GROUP g d STREAMS s > => nil*
        XREADGROUP GROUP g e STREAMS s > => nil*
        XREADGROUP GROUP g c STREAMS s 0 => <s: [[1-0 [a b]] [2-0 [a b]]]>
        XREADGROUP GROUP g c COUNT 1 STREAMS s 1 => <s: [[2-0 [a b]]]>
        XPENDING s g => [3 1-0 3-0 [[c 2] [d 1]]]
        XPENDING s g - + 10 => [[1-0 c 0 2] [2-0 c 0 3] [3-0 d 0 1]]
        XACK s g 1 2-0 7 1 => 2
        XACK s none x => 0
        XACK none g x => 0
        XPENDING s g => [1 3-0 3-0 [[d 1]]]
        XREADGROUP GROUP g c STREAMS s 0 => <s: []>
        XDEL s 3-0 => 1
        XREADGROUP GROUP g d STREAMS s 0 => <s: [[3-0 nil*]]>
        XGROUP DELCONSUMER s g d => 1
        XPENDING s g => [0 nil nil nil*]
        XINFO CONSUMERS s g => [{name: c, pending: 0, idle: 0}]
        XADD s 4 a b => 4-0
        XREADGROUP GROUP g c NOACK STREAMS s > => <s: [[4-0 [a b]]]>
        XPENDING s g - + 10 => []",
    );
}

#[test]
fn calls_of_xreadgroup_that_make_no_sense_are_refused() {
    let mut world = World::after("XGROUP CREATE s g 0 MKSTREAM");
    world.check(
        "XREADGROUP GROUP g c STREAMS s none > > => -NOGROUP No such key 'none' or consumer group 'g' in XREADGROUP with GROUP option
        XREADGROUP GROUP h c STREAMS s x => -NOGROUP No such key 's' or consumer group 'h' in XREADGROUP with GROUP option
        XREADGROUP GROUP g c STREAMS s $ => -ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
    );
    assert_eq!(world.run("XREADGROUP GROUP g c STREAMS s +"), BAD_ID);
}

#[test]
fn pending_entries_are_told_by_range_age_and_consumer() {
    let mut world = World::after(
        "XADD s 1 a b
        XADD s 2 a b
        XGROUP CREATE s g 0
        XREADGROUP GROUP g c COUNT 1 STREAMS s >",
    );
    world.now_ms += 500;
    world.run("XREADGROUP GROUP g d STREAMS s >");
    world.now_ms += 10;
    world.check(
        "XPENDING s g - + 10 => [[1-0 c 510 1] [2-0 d 10 1]]
        XPENDING s g - + 10 d => [[2-0 d 10 1]]
        XPENDING s g - + 10 nobody => []
        XPENDING s g IDLE 100 - + 10 => [[1-0 c 510 1]]
        XPENDING s g IDLE 100 - + 10 d => []
        XPENDING s g (1 + 10 => [[2-0 d 10 1]]
        XPENDING s g - + -10 => []
        XPENDING s g - + 10 d e => [[2-0 d 10 1]]
        XPENDING s g - + => -ERR syntax error
        XPENDING s g IDLE 0 - + => -ERR syntax error
        XPENDING s g IDLE x - + => -ERR value is not an integer or out of range
        XPENDING s g x + y => -ERR value is not an integer or out of range
        XPENDING s h => -NOGROUP No such key 's' or consumer group 'h'
        XPENDING none g - + 1 => -NOGROUP No such key 'none' or consumer group 'g'
        XINFO CONSUMERS s g => [{name: c, pending: 1, idle: 510} {name: d, pending: 1, idle: 10}]
        XINFO STREAM s FULL COUNT 1 => {length: 2, radix-tree-keys: 1, radix-tree-nodes: 2, last-generated-id: 2-0, max-deleted-entry-id: 0-0, entries-added: 2, recorded-first-entry-id: 1-0, entries: [[1-0 [a b]]], groups: [{name: g, last-delivered-id: 2-0, entries-read: 2, lag: 0, pel-count: 2, pending: [[1-0 c 1700000000000 1]], consumers: [{name: c, seen-time: 1700000000000, pel-count: 1, pending: [[1-0 1700000000000 1]]} {name: d, seen-time: 1700000000500, pel-count: 1, pending: [[2-0 1700000000500 1]]}]}]}",
    );
    world.check(
        "XINFO STREAM s FULL COUNT x => -ERR value is not an integer or out of range
        XINFO STREAM s FULL FOO 5 => -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
        XINFO STREAM s FOO => -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.",
    );
}

#[test]
fn entries_are_claimed_by_name() {
    let mut world = World::after(
        "XADD s 1 a b
        XADD s 2 a b
        XADD s 3 a b
        XGROUP CREATE s g 0
        XREADGROUP GROUP g c COUNT 2 STREAMS s >",
    );
    world.now_ms += 100;
    world.check(
        "XCLAIM s h d 0 1 => -NOGROUP No such key 's' or consumer group 'h'
        XCLAIM s g d x 1 => -ERR Invalid min-idle-time argument for XCLAIM
        XCLAIM s g d 0 x => -ERR Unrecognized XCLAIM option 'x'
        XCLAIM s g d 0 1 IDLE => -ERR Unrecognized XCLAIM option 'IDLE'
        XCLAIM s g d 0 1 IDLE x => -ERR Invalid IDLE option argument for XCLAIM
        XCLAIM s g d 0 1 TIME x => -ERR Invalid TIME option argument for XCLAIM
        XCLAIM s g d 0 1 RETRYCOUNT x => -ERR Invalid RETRYCOUNT option argument for XCLAIM
        XCLAIM s g d 101 1 2 => []
        XINFO CONSUMERS s g => [{name: c, pending: 2, idle: 100}]
        XCLAIM s g d 100 1 3 9 => [[1-0 [a b]]]
        XCLAIM s g d 0 1 JUSTID IDLE 40 => [1-0]
        XCLAIM s g e 0 3 FORCE RETRYCOUNT 7 TIME 1700000000050 LASTID 2-5 => [[3-0 [a b]]]
        XPENDING s g - + 10 => [[1-0 d 40 2] [2-0 c 100 1] [3-0 e 50 7]]
        XCLAIM s g d 0 1 RETRYCOUNT -5 IDLE -5 => [[1-0 [a b]]]
        XPENDING s g - + 1 => [[1-0 d 0 3]]
        XDEL s 2 => 1
        XCLAIM s g d 0 2 => []
        XPENDING s g => [2 1-0 3-0 [[d 1] [e 1]]]",
    );
}

#[test]
fn entries_that_are_pending_long_are_claimed() {
    let mut world = World::after(
        "XADD s 1 a b
        XADD s 2 a b
        XADD s 3 a b
        XGROUP CREATE s g 0
        XREADGROUP GROUP g c STREAMS s >",
    );
    world.now_ms += 100;
    world.check(
        "XAUTOCLAIM s g d 101 - => [0-0 [] []]
        XAUTOCLAIM s g d 100 - COUNT 1 => [2-0 [[1-0 [a b]]] []]
        XDEL s 2 => 1
        XAUTOCLAIM s g d 0 (1 COUNT 1 JUSTID => [3-0 [] [2-0]]
        XAUTOCLAIM s g d 0 (1 JUSTID => [0-0 [3-0] []]
        XAUTOCLAIM s g d 0 + => [0-0 [] []]
        XPENDING s g - + 10 => [[1-0 d 0 2] [3-0 d 0 1]]
        XAUTOCLAIM s g d 0 0 COUNT 0 => -ERR COUNT must be > 0
        XAUTOCLAIM s g d 0 0 COUNT 576460752303423488 => -ERR COUNT must be > 0
        XAUTOCLAIM s g d 0 0 COUNT => -ERR syntax error
        XAUTOCLAIM s h d 0 0 => -NOGROUP No such key 's' or consumer group 'h'
        XAUTOCLAIM s g d 0 (18446744073709551615-18446744073709551615 => -ERR invalid start ID for the interval",
    );
}

#[test]
fn lags_are_told_where_deletions_leave_them_known() {
    let mut world = World::after("XADD s 1 a b\nXADD s 2 a b\nXADD s 3 a b\nXADD s 4 a b\nXGROUP CREATE s g 0");
    let mut read_and_lag = |call: &str| {
        world.run(call);
        let told = world.run("XINFO GROUPS s");
        told[told.find("entries-read").expect("it is told")..].trim_end_matches("}]").to_owned()
    };
    for (call, wanted) in [
        ("XLEN s", "entries-read: nil, lag: 4"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "entries-read: 1, lag: 3"),
        ("XDEL s 3", "entries-read: 1, lag: nil"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "entries-read: nil, lag: nil"),
        ("XREADGROUP GROUP g c COUNT 1 STREAMS s >", "entries-read: 4, lag: 0"),
        ("XADD s 5 a b", "entries-read: 4, lag: 1"),
        ("XTRIM s MAXLEN 1", "entries-read: 4, lag: 1"),
        ("XGROUP SETID s g 0", "entries-read: nil, lag: 1"),
        ("XGROUP SETID s g 5 ENTRIESREAD 9", "entries-read: 9, lag: -4"),
    ] {
        assert_eq!(read_and_lag(call), wanted, "{call}");
    }
}
