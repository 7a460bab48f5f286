//! Histories that were thought out: each says in its name what happened, and its verdict is known.

use super::{history, is_linearizable, verdict};
use crate::{Extent, History, Start, Verdict};

fn good(lines: &str) {
    assert!(is_linearizable(&history(lines)), "{lines}");
}

/// The violation's operations, by their lines.
fn bad(lines: &str) -> Vec<usize> {
    let history = history(lines);
    let Verdict::Violation(violation, _) = verdict(&history) else { panic!("no violation: {lines}") };
    assert_eq!(violation.extent, Extent::Minimal);
    violation.operations.iter().map(|evidence| evidence.op.0 + 1).collect()
}

#[test]
fn a_read_may_see_either_side_of_a_write_under_way() {
    for seen in ["nil", "1"] {
        good(&format!("a 0 30 SET x 1 => OK\n b 10 20 GET x => {seen}"));
    }
    good("a 0 30 SET x 1 => OK\n b 5 10 GET x => nil\n c 15 20 GET x => 1");
}

#[test]
fn what_ends_when_another_begins_is_under_way_with_it() {
    good("a 0 10 SET x 1 => OK\n b 10 20 GET x => nil");
    assert_eq!(bad("a 0 10 SET x 1 => OK\n b 11 20 GET x => nil"), [1, 2]);
}

#[test]
fn a_stale_read() {
    let lines = "a 0 10 SET x 1 => OK\n a 20 30 SET x 2 => OK\n b 40 50 GET x => 1";
    // That 1 was there before the write of 2 doesn't matter.
    assert_eq!(bad(lines), [2, 3]);
}

#[test]
fn a_read_going_back() {
    let lines = "a 0 100 SET x 1 => OK\n b 10 20 GET x => 1\n c 30 40 GET x => nil";
    assert_eq!(bad(lines), [1, 2, 3]);
    good("a 0 100 SET x 1 => OK\n b 10 35 GET x => 1\n c 30 40 GET x => nil");
}

#[test]
fn a_lost_update() {
    good("a 0 20 INCR x => 1\n b 10 30 INCR x => 2");
    assert_eq!(bad("a 0 20 INCR x => 1\n b 10 30 INCR x => 1"), [1, 2]);
    // A hundred increments before, of which none matters.
    let before: String = (0..100).map(|n| format!("a {} {} INCR x => {}\n", 10 * n, 10 * n + 5, n + 1)).collect();
    assert_eq!(bad(&format!("{before} a 2000 2020 INCR x => 101\n b 2010 2030 INCR x => 101")), [101, 102]);
}

#[test]
fn an_acknowledged_write_is_gone() {
    assert_eq!(bad("a 0 10 SET x 1 => OK\n a 20 30 GET x => 1\n b 40 50 GET x => nil"), [2, 3]);
    assert_eq!(bad("a 0 10 APPEND x ab => 2\n a 20 30 APPEND x cd => 2"), [1, 2]);
}

#[test]
fn an_unknown_write_that_was_seen_stays() {
    let unknown = "a 0 10 SET x 1 => OK\n b 20 - SET x 2 => ?\n";
    good(&format!("{unknown} c 30 40 GET x => 1"));
    good(&format!("{unknown} c 30 40 GET x => 1\n c 1000 1010 GET x => 2"));
    good(&format!("{unknown} c 30 40 GET x => 2\n c 50 60 GET x => 2"));
    assert_eq!(bad(&format!("{unknown} c 30 40 GET x => 2\n c 50 60 GET x => 1")), [2, 3, 4]);
}

#[test]
fn an_unknown_write_happens_at_most_once_and_not_before_its_call() {
    let unknown = "a 20 - SET x 2 => ?\n";
    assert_eq!(bad(&format!("c 0 10 GET x => 2\n{unknown}")), [1]);
    let twice = "c 30 40 GET x => 2\n c 50 60 SET x 1 => OK\n c 70 80 GET x => 2";
    assert_eq!(bad(&format!("{unknown}{twice}")), [1, 2, 3, 4]);
    good(&format!("{unknown} b 25 - SET x 2 => ?\n{twice}"));
}

#[test]
fn a_reply_in_doubt_is_no_reply() {
    let doubt = "a 0 10 SET x 1 => !INDOUBT the leader changed; read the key\n";
    good(&format!("{doubt} b 20 30 GET x => nil\n b 40 50 GET x => 1"));
    assert_eq!(bad(&format!("{doubt} b 20 30 GET x => 1\n b 40 50 GET x => nil")), [1, 2, 3]);
}

#[test]
fn what_was_refused_did_not_happen() {
    let refused = "a 0 10 SET x 1 => !OVERLOADED nothing was changed; try later\n";
    good(&format!("{refused} b 20 30 GET x => nil"));
    assert_eq!(bad(&format!("{refused} b 20 30 GET x => 1")), [2]);
}

#[test]
fn an_error_that_tells_of_the_state_must_fit_it() {
    let not_a_number = "INCR x => !ERR value is not an integer or out of range";
    good(&format!("a 0 10 SET x one => OK\n a 20 30 {not_a_number}\n a 40 50 GET x => one"));
    assert_eq!(bad(&format!("a 0 10 SET x 1 => OK\n a 20 30 {not_a_number}")), [1, 2]);
    assert_eq!(bad("a 0 10 GET x => !WRONGTYPE Operation against a key holding the wrong kind of value"), [1]);
    let most = i64::MAX;
    good(&format!("a 0 10 SET x {most} => OK\n a 20 30 INCR x => !ERR increment or decrement would overflow"));
}

#[test]
fn one_lock_has_one_holder() {
    let taken = "a 0 10 SET lock a NX => OK\n b 20 30 SET lock b NX => nil\n";
    good(&format!("{taken} a 40 50 CAS lock a z => 1\n b 60 70 GET lock => z"));
    assert_eq!(bad("a 0 10 SETNX lock a => 1\n b 5 30 SETNX lock b => 1"), [1, 2]);
    assert_eq!(bad(&format!("{taken} a 40 50 DEL lock => 1\n b 60 70 SETNX lock b => 0")), [3, 4]);
}

#[test]
fn a_transaction_is_one_moment() {
    let move_one = "a 0 50 MULTI SET x 1 ; SET y 1 => [OK, OK]\n";
    good(&format!("{move_one} b 10 20 MGET x y => [nil, nil]\n b 30 40 MGET x y => [1, 1]"));
    assert_eq!(bad(&format!("{move_one} b 10 20 MGET x y => [1, nil]")), [1, 2]);
    // Two reads of one key each, in a row, tell as much.
    assert_eq!(bad(&format!("{move_one} b 10 20 GET x => 1\n b 30 40 GET y => nil")), [1, 2, 3]);
}

#[test]
fn a_write_skew_across_a_transaction() {
    let one = "a 0 50 MULTI GET x ; SET y 1 => [nil, OK]\n";
    good(&format!("{one} b 10 60 MULTI GET y ; SET x 1 => [1, OK]"));
    assert_eq!(bad(&format!("{one} b 10 60 MULTI GET y ; SET x 1 => [nil, OK]")), [1, 2]);
}

#[test]
fn an_aborted_transaction_did_nothing() {
    good("a 0 10 MULTI SET x 1 => nil\n b 20 30 GET x => nil");
    assert_eq!(bad("a 0 10 MULTI SET x 1 => nil\n b 20 30 GET x => 1"), [2]);
}

#[test]
fn keys_that_nothing_ties_tell_nothing_of_each_other() {
    // Each key has an order, though the clients' own orders would contradict each other.
    good("a 0 10 SET x 1 => OK\n b 0 10 SET y 1 => OK\n a 5 30 GET y => nil\n b 5 30 GET x => nil");
}

#[test]
fn a_store_that_held_something() {
    let lines = "b 20 30 GET x => 7\n b 40 50 INCR x => 8\n b 60 70 GET x => 8";
    assert_eq!(bad(lines), [2]);
    let unknown = |lines: &str| {
        let mut there = History::starting(Start::Unknown);
        history(lines).operations().iter().for_each(|operation| _ = there.push(operation.clone()));
        is_linearizable(&there)
    };
    assert!(unknown(lines));
    assert!(!unknown("b 20 30 GET x => 7\n b 40 50 GET x => 8"));
    assert!(!unknown("b 20 30 STRLEN x => 7\n b 40 50 APPEND x ab => 1"));
}

#[test]
fn every_command_is_checked_against_its_reply() {
    for (first, right, wrong) in [
        ("SET x ab => OK", "STRLEN x => 2", "STRLEN x => 3"),
        ("SET x 5 => OK", "DECR x => 4", "DECR x => 5"),
        ("SET x 5 => OK", "DECRBY x 3 => 2", "DECRBY x 3 => 8"),
        ("SET x 5 => OK", "INCRBY x -3 => 2", "INCRBY x -3 => 8"),
        ("SET x 5 => OK", "SET x 6 GET => 5", "SET x 6 GET => 6"),
        ("SET x 5 => OK", "SET x 6 NX GET => 5", "SET x 6 NX GET => nil"),
        ("SET x 5 => OK", "SET x 6 XX => OK", "SET x 6 XX => nil"),
        ("DEL x => 0", "SET x 6 XX => nil", "SET x 6 XX => OK"),
        ("SET x 5 => OK", "GETSET x 6 => 5", "GETSET x 6 => nil"),
        ("SET x 5 => OK", "GETDEL x => 5", "GETDEL x => nil"),
        ("MSET x 5 y 6 => OK", "EXISTS x y z => 2", "EXISTS x y z => 3"),
        ("MSET x 5 y 6 => OK", "EXISTS x x => 2", "EXISTS x x => 1"),
        ("MSET x 5 y 6 => OK", "DEL x x y => 2", "DEL x x y => 3"),
        ("MSET x 5 y 6 => OK", "UNLINK x z => 1", "UNLINK x z => 2"),
        ("MSET x 5 y 6 => OK", "MGET y x z => [6, 5, nil]", "MGET y x z => [5, 6, nil]"),
        ("SET x 5 => OK", "MSETNX x 1 y 2 => 0", "MSETNX x 1 y 2 => 1"),
        ("DEL x => 0", "MSETNX x 1 y 2 => 1", "MSETNX x 1 y 2 => 0"),
        ("SET x 5 => OK", "CAS x 5 6 => 1", "CAS x 4 6 => 1"),
        ("SET x 5 => OK", "APPEND x 67 => 3", "APPEND x 67 => 2"),
    ] {
        let at = |reply: &str| format!("a 0 10 {first}\n a 20 30 {reply}");
        good(&at(right));
        bad(&at(wrong));
    }
}

#[test]
fn many_unknown_writes_that_nobody_saw_cost_nothing() {
    let unknown: String = (0..300).map(|n| format!("a {n} - SET x {n} => ?\n b {n} - INCR x => ?\n")).collect();
    let reads: String = (0..50).map(|n| format!("c {} {} GET x => nil\n", 10 * n, 10 * n + 5)).collect();
    let seen = "d 5000 5010 GET x => 123\n d 5020 5030 INCR x => 125\n";
    for (lines, most) in [(format!("{unknown}{reads}"), 100), (format!("{unknown}{reads}{seen}"), 5_000)] {
        let verdict = verdict(&history(&lines));
        assert!(matches!(verdict, Verdict::Linearizable(_)), "{verdict:?}");
        assert!(verdict.counts().configurations < most, "{:?}", verdict.counts());
    }
    // Seen, and gone: whichever of the others happened since, none of them makes it so.
    let gone = format!("{unknown}{seen} d 5040 5050 GET x => nil");
    let verdict = verdict(&history(&gone));
    let configurations = verdict.counts().configurations;
    assert!(matches!(verdict, Verdict::Violation(..)) && configurations < 100_000, "{configurations}");
}

#[test]
fn many_unknown_appends_are_found_in_what_was_read() {
    let unknown: String = (10..40).map(|n| format!("a {n} - APPEND x {n} => ?\n")).collect();
    let good = format!(
        "{unknown} c 100 110 GET x => 1735122911\n c 120 130 APPEND x ! => 17\n c 140 150 GET x => 1735122911203010!"
    );
    let verdict = verdict(&history(&good));
    assert!(matches!(verdict, Verdict::Linearizable(_)), "{verdict:?}");
    assert!(verdict.counts().configurations < 200_000, "{:?}", verdict.counts());
}
