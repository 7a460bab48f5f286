//! Entries that are added under a name.

use super::World;

#[test]
fn an_entry_is_added_once_under_a_name() {
    World::new().check(
        "XADD s IDMP p 1 * a b => 1700000000000-0
        XADD s IDMP p 1 * other c => 1700000000000-0
        XADD s IDMP q 1 * a b => 1700000000000-1
        XADD s MAXLEN ~ 100 IDMP p 2 NOMKSTREAM * a b => 1700000000000-2
        XADD s IDMPAUTO p * a 1 b 2 => 1700000000000-3
        XADD s IDMPAUTO p * b 2 a 1 => 1700000000000-3
        XADD s IDMPAUTO p * a 2 b 1 => 1700000000000-4
        XADD s IDMPAUTO q * a 1 b 2 => 1700000000000-5
        XADD none NOMKSTREAM IDMP p 1 * a b => nil
        XLEN s => 6
        XDEL s 1700000000000-0 => 1
        XADD s IDMP p 1 * a b => 1700000000000-0
        XLEN s => 5
        XINFO STREAM s => {length: 5, radix-tree-keys: 1, radix-tree-nodes: 2, last-generated-id: 1700000000000-5, max-deleted-entry-id: 1700000000000-0, entries-added: 6, recorded-first-entry-id: 1700000000000-1, idmp-duration: 100, idmp-maxsize: 100, pids-tracked: 2, iids-tracked: 6, iids-added: 6, iids-duplicates: 3, groups: 0, first-entry: [1700000000000-1 [a b]], last-entry: [1700000000000-5 [a 1 b 2]]}",
    );
}

#[test]
fn names_are_forgotten_with_time_and_with_newer_ones() {
    let mut world = World::after(
        "XADD s * a b
        XCFGSET s IDMP-DURATION 2 IDMP-MAXSIZE 2
        XADD s IDMP p 1 * a b
        XADD s IDMP p 2 * a b
        XADD s IDMP p 3 * a b",
    );
    world.check(
        "XADD s IDMP p 3 * a b => 1700000000000-3
        XADD s IDMP p 1 * a b => 1700000000000-4",
    );
    world.now_ms += 1999;
    world.check("XADD s IDMP p 1 * a b => 1700000000000-4");
    world.now_ms += 1;
    world.check(
        "XADD s IDMP p 1 * a b => 1700000002000-0
        XADD s IDMP q 1 * a b => 1700000002000-1",
    );
    world.now_ms += 2000;
    // Those who are quiet are forgotten when others add.
    world.check("XADD s IDMP r 1 * a b => 1700000004000-0");
    assert!(
        world.run("XINFO STREAM s").contains("pids-tracked: 1, iids-tracked: 1, iids-added: 7, iids-duplicates: 2")
    );
}

#[test]
fn other_limits_forget_all_names() {
    World::after("XADD s IDMP p 1 * a b").check(
        "XCFGSET s IDMP-DURATION 100 => OK
        XADD s IDMP p 1 * a b => 1700000000000-0
        XCFGSET s IDMP-DURATION 99 => OK
        XADD s IDMP p 1 * a b => 1700000000000-1
        XCFGSET none IDMP-DURATION 99 => -ERR no such key
        XCFGSET s => -ERR At least one parameter must be specified
        XCFGSET s IDMP-DURATION => -ERR syntax error
        XCFGSET s FOO 5 => -ERR syntax error
        XCFGSET s IDMP-DURATION 000 => -ERR value is not an integer or out of range
        XCFGSET s IDMP-DURATION 86401 => -ERR IDMP-DURATION must be between 1 and 86400 seconds
        XCFGSET s IDMP-MAXSIZE 0 => -ERR IDMP-MAXSIZE must be between 1 and 10000 entries",
    );
}

#[test]
fn names_that_make_no_sense_are_refused() {
    World::new().check(
        "XADD s IDMP p * f v => -ERR Invalid stream ID specified as stream command argument
        XADD s IDMP p 1 1-1 f v => -ERR IDMP/IDMPAUTO can be used only with auto-generated IDs
        XADD s IDMPAUTO p 1-* f v => -ERR IDMP/IDMPAUTO can be used only with auto-generated IDs
        XADD s IDMP p 1 IDMP q 2 * f v => -ERR IDMP/IDMPAUTO specified multiple times
        XADD s IDMPAUTO p IDMP q 2 * f v => -ERR IDMP/IDMPAUTO specified multiple times
        XADD s IDMP  1 * f v => -ERR IDMP requires a non-empty producer ID
        XADD s IDMP p  * f v => -ERR IDMP requires a non-empty idempotent ID
        XADD s IDMPAUTO  * f v => -ERR IDMPAUTO requires a non-empty producer ID",
    );
}
