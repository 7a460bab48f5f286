//! Streams by their commands: tables of calls and replies, as redis-server 7.0.15 gave them.

mod groups;
mod names;
mod trimming;
mod waiting;

use super::super::{containers, find};
use crate::keyspace::Listening;
use crate::value::{Container, Stream};
use crate::{Context, Keyspace, Refused, Reply, Run};
use base::{Index, Stamp};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// A keyspace and a clock.
struct World {
    keyspace: Keyspace,
    now_ms: u64,
    entry: u64,
}

impl World {
    fn new() -> Self {
        Self { keyspace: Keyspace::new((1, 2)), now_ms: 1_700_000_000_000, entry: 0 }
    }

    /// After some calls, whose replies don't matter.
    fn after(calls: &str) -> Self {
        let mut world = Self::new();
        for call in calls.lines() {
            world.pass();
            world.reply(&call.trim().split(' ').map(str::as_bytes).collect::<Vec<_>>());
        }
        world
    }

    /// The next entry of the log begins.
    fn pass(&mut self) {
        self.entry += 1;
        self.keyspace.advance(Stamp(self.now_ms), Index(self.entry));
    }

    fn cx(&self) -> Context {
        Context::new(0, Stamp(self.now_ms))
    }

    /// A sum over the stream at `s`.
    fn sum(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        if let Ok(Some(stream)) = self.keyspace.container::<Stream>(&self.cx(), b"s") {
            stream.digest(&mut hasher);
        }
        hasher.finish()
    }

    fn reply(&mut self, args: &[&[u8]]) -> Reply {
        let cx = self.cx();
        let command = find(args[0]).expect("the tests call commands that there are");
        if !command.accepts(args.len()) {
            return Reply::Error(Refused::Arity(command.name.to_owned()));
        }
        if let Err(refused) = containers::check(command, args) {
            return Reply::Error(refused);
        }
        Reply::from(match command.run {
            Run::Read(run) => run(&self.keyspace, &cx, args),
            Run::Write(run) => run(&mut self.keyspace, &cx, args),
            other => panic!("{other:?} needs more than a keyspace"),
        })
    }

    fn run(&mut self, call: &str) -> String {
        let args: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        self.pass();
        let before = self.sum();
        let reply = self.reply(&args);
        if matches!(reply, Reply::Error(_)) {
            assert_eq!(self.sum(), before, "{call} was refused and changed something");
        }
        shown(&reply)
    }

    /// Runs calls and compares their replies: lines of `call => reply`.
    fn check(&mut self, table: &str) {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (call, wanted) = line.split_once(" => ").expect("a line has a call and a reply");
            assert_eq!(self.run(call), wanted, "{call}");
        }
    }

    /// The events of some calls.
    fn events(&mut self, calls: &str) -> String {
        self.keyspace.listen(Listening { events: true, changes: true, ..Listening::default() });
        for call in calls.lines() {
            self.run(call.trim());
        }
        self.keyspace.take_notices().iter().map(|notice| notice.event).collect::<Vec<_>>().join(" ")
    }

    /// Whether a call breaks a WATCH of its key.
    fn touches(&mut self, key: &str, call: &str) -> bool {
        let before = self.keyspace.watched(0, key.as_bytes());
        self.run(call);
        self.keyspace.watched(0, key.as_bytes()) != before
    }
}

/// A reply on one line: maps in braces, nothing as `nil`, no array as `nil*`, refusals behind a dash.
fn shown(reply: &Reply) -> String {
    let all = |items: &[Reply]| items.iter().map(shown).collect::<Vec<_>>().join(" ");
    let pairs = |pairs: &[(Reply, Reply)]| {
        let one = |(key, value): &(Reply, Reply)| format!("{}: {}", shown(key), shown(value));
        pairs.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Simple(text) => format!("+{text}"),
        Reply::Nil => "nil".to_owned(),
        Reply::NilArray => "nil*".to_owned(),
        Reply::Int(n) => n.to_string(),
        Reply::Bulk(blob) => String::from_utf8_lossy(blob.as_bytes()).into_owned(),
        Reply::Array(items) => format!("[{}]", all(items)),
        Reply::Map(map) => format!("{{{}}}", pairs(map)),
        Reply::Pairs(map) => format!("<{}>", pairs(map)),
        Reply::Error(refused) => format!("-{refused}"),
        other => panic!("no stream answers {other:?}"),
    }
}

const BAD_ID: &str = "-ERR Invalid stream ID specified as stream command argument";
const SMALL_ID: &str = "-ERR The ID specified in XADD is equal or smaller than the target stream top item";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn entries_get_the_ids_they_are_to_have() {
    let mut world = World::new();
    world.check(
        "XADD s 5 a b => 5-0
        XADD s 5-* a b => 5-1
        XADD s +6 a b => 6-0
        XADD s 6-+1 a b => 6-1
        XADD t NOMKSTREAM * a b => nil
        XADD u 0-0 a b => -ERR The ID specified in XADD must be greater than 0-0
        XADD u 0-* a b => 0-1
        XADD u 0-* a b => 0-2
        XADD u * a b => 1700000000000-0
        XADD u * a b => 1700000000000-1
        XADD u 1700000000009 a b => 1700000000009-0
        XADD u * a b => 1700000000009-1
        XADD v 18446744073709551615-18446744073709551615 a b => 18446744073709551615-18446744073709551615
        XADD v * a b => -ERR The stream has exhausted the last possible ID, unable to add more items
        XADD v 5-5 a b => -ERR The stream has exhausted the last possible ID, unable to add more items
        XADD w 9-18446744073709551615 a b => 9-18446744073709551615
        XADD w 9-* a b => -ERR Elements are too large to be stored
        XADD w * a => -ERR wrong number of arguments for 'xadd' command
        XADD w * a b c => -ERR wrong number of arguments for 'xadd' command
        XADD w MAXLEN = 5 => -ERR wrong number of arguments for 'xadd' command
        XLEN u => 6
        XLEN none => 0",
    );
    for (call, wanted) in [("XADD s 6-1 a b", SMALL_ID), ("XADD s x a b", BAD_ID), ("XADD s *-5 a b", BAD_ID)] {
        assert_eq!(world.run(call), wanted);
    }
}

#[test]
fn ranges_are_read_from_both_ends() {
    let mut world = World::after(
        "XADD s 5-0 a b
        XADD s 5-1 a c
        XADD s 6-0 d e f g",
    );
    world.check(
        "XRANGE s - + => [[5-0 [a b]] [5-1 [a c]] [6-0 [d e f g]]]
        XREVRANGE s + - => [[6-0 [d e f g]] [5-1 [a c]] [5-0 [a b]]]
        XRANGE s 5 5 => [[5-0 [a b]] [5-1 [a c]]]
        XRANGE s (5 + COUNT 1 => [[5-1 [a c]]]
        XREVRANGE s (6-0 - COUNT 1 => [[5-1 [a c]]]
        XREVRANGE s (6 - COUNT 1 => [[6-0 [d e f g]]]
        XRANGE s - + COUNT 2 COUNT 1 => [[5-0 [a b]]]
        XRANGE s - (0 => []
        XRANGE s 7 3 => []
        XRANGE s - + COUNT 0 => nil*
        XRANGE s - + COUNT -1 => nil*
        XRANGE none - + COUNT 0 => []
        XRANGE s - (0-0 => -ERR invalid end ID for the interval
        XRANGE s (18446744073709551615-18446744073709551615 + => -ERR invalid start ID for the interval
        XRANGE s - + COUNT => -ERR syntax error
        XRANGE s - + FOO 1 => -ERR syntax error
        XRANGE s - + COUNT x => -ERR value is not an integer or out of range
        XDEL s 5-1 9-9 5-1 => 1
        XDEL none x => 0
        XRANGE s - + => [[5-0 [a b]] [6-0 [d e f g]]]
        XREAD STREAMS s none 5-0 0 => <s: [[6-0 [d e f g]]]>
        XREAD COUNT 1 STREAMS s s 0 5 => <s: [[5-0 [a b]]], s: [[6-0 [d e f g]]]>
        XREAD BLOCK 10 STREAMS s $ => nil*
        XREAD COUNT -5 STREAMS s 99 => nil*",
    );
    for call in ["XRANGE s ( +", "XRANGE s (- +", "XDEL s x", "XREAD STREAMS s +", "XREVRANGE s - x"] {
        assert_eq!(world.run(call), BAD_ID, "{call}");
    }
}

#[test]
fn calls_of_xread_that_make_no_sense_are_refused() {
    World::after("SET str x").check(
        "XREAD STREAMS s t 5 => -ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.
        XREAD COUNT x STREAMS s 5 => -ERR value is not an integer or out of range
        XREAD BLOCK x STREAMS s 5 => -ERR timeout is not an integer or out of range
        XREAD BLOCK -1 STREAMS s 5 => -ERR timeout is negative
        XREAD FOO STREAMS s 5 => -ERR syntax error
        XREAD COUNT 5 BLOCK => -ERR syntax error
        XREAD STREAMS s > => -ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.
        XREAD GROUP g c STREAMS s > => -ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
        XREAD NOACK STREAMS s 5 => -ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
        XREADGROUP COUNT 5 STREAMS s > a b => -ERR Missing GROUP option for XREADGROUP
        XREADGROUP GROUP g STREAMS s > 5 6 => -ERR syntax error
        XREAD STREAMS str 5 => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn other_types_are_refused_when_redis_looks_at_them() {
    let mut world = World::after("SET str x");
    for call in [
        "XADD str * a b",
        "XADD str NOMKSTREAM * a b",
        "XLEN str",
        "XRANGE str - + COUNT 0",
        "XDEL str x",
        "XTRIM str MAXLEN 5",
        "XSETID str 5",
        "XGROUP CREATE str g x",
        "XREADGROUP GROUP g c STREAMS str x",
        "XACK str g x",
        "XPENDING str g",
        "XCLAIM str g c x x",
        "XAUTOCLAIM str g c 0 0",
        "XINFO STREAM str FOO",
        "XCFGSET str IDMP-MAXSIZE 1",
    ] {
        assert_eq!(world.run(call), WRONG_TYPE, "{call}");
    }
    world.check(
        "XADD str MAXLEN x * a b => -ERR value is not an integer or out of range
        XRANGE str x + => -ERR Invalid stream ID specified as stream command argument
        XSETID str x => -ERR Invalid stream ID specified as stream command argument
        XAUTOCLAIM str g c x 0 => -ERR Invalid min-idle-time argument for XAUTOCLAIM
        XGROUP CREATE str g 5 FOO => -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.",
    );
}

#[test]
fn the_last_id_can_be_set() {
    World::after("XADD s 5-0 a b\nXADD s 9-0 a b\nXDEL s 9-0").check(
        "XSETID none 5 => -ERR no such key
        XSETID s 4 => -ERR The ID specified in XSETID is smaller than the target stream top item
        XSETID s 5-0 ENTRIESADDED 0 => -ERR The entries_added specified in XSETID is smaller than the target stream length
        XSETID s 5-0 ENTRIESADDED -1 => -ERR entries_added must be positive
        XSETID s 5-0 MAXDELETEDID 6 => -ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
        XSETID s 5-0 FOO => -ERR syntax error
        XSETID s 7-0 MAXDELETEDID 6 ENTRIESADDED 100 => OK
        XADD s 8-0 a c => 8-0
        XRANGE s - + => [[5-0 [a b]] [8-0 [a c]]]
        XINFO STREAM s => {length: 2, radix-tree-keys: 1, radix-tree-nodes: 2, last-generated-id: 8-0, max-deleted-entry-id: 6-0, entries-added: 101, recorded-first-entry-id: 5-0, groups: 0, first-entry: [5-0 [a b]], last-entry: [8-0 [a c]]}",
    );
}

#[test]
fn an_empty_stream_stays_and_can_begin_anew_before_its_dead() {
    let mut world = World::after(
        "XADD s 5-0 a b
        XADD s 6-0 a b
        XDEL s 6-0
        XTRIM s MINID 6-0",
    );
    world.check(
        "XLEN s => 0
        EXISTS s => 1
        XSETID s 2-0 => OK
        XADD s 3-0 a c => 3-0
        XRANGE s - + => [[3-0 [a c]]]
        XREVRANGE s + - => [[3-0 [a c]]]",
    );
}

#[test]
fn events_are_told_as_redis_tells_them() {
    let mut world = World::new();
    let told = world.events(
        "XADD s 1 a b
        XADD s MAXLEN 1 2 a b
        XADD s 2 a b
        XADD s 3 a b
        XDEL s 9
        XDEL s 3
        XTRIM s MAXLEN 1
        XTRIM s MAXLEN 0
        XSETID s 7
        XGROUP CREATE s g 0
        XGROUP CREATE s g 0
        XGROUP SETID s g 0
        XGROUP CREATECONSUMER s g c
        XGROUP CREATECONSUMER s g c
        XADD s 8 a b
        XADD s 9 a b
        XREADGROUP GROUP g d COUNT 1 STREAMS s >
        XREADGROUP GROUP g nobody NOACK STREAMS s 0
        XCLAIM s g h 0 8
        XCLAIM s g none 0 77
        XAUTOCLAIM s g j 0 0
        XACK s g 8
        XGROUP DELCONSUMER s g c
        XGROUP DELCONSUMER s g c
        XGROUP DESTROY s g
        XGROUP DESTROY s g",
    );
    let wanted = "new xadd xadd xtrim xadd xdel xtrim xsetid xgroup-create xgroup-setid xgroup-createconsumer xadd xadd \
                  xgroup-createconsumer xgroup-createconsumer xgroup-createconsumer xgroup-createconsumer \
                  xgroup-delconsumer xgroup-destroy";
    assert_eq!(told, wanted);
}

#[test]
fn a_watch_is_broken_where_redis_breaks_it() {
    let mut world = World::new();
    for call in
        ["XADD s 1 a b", "XADD s 2 a b", "XADD s 3 a b", "XDEL s 1", "XTRIM s MAXLEN 1", "XGROUP CREATE t g 0 MKSTREAM"]
    {
        let key = call.split(' ').find(|word| word.len() == 1).expect("a key");
        assert!(world.touches(key, call), "{call}");
    }
    for call in [
        "XDEL s 99",
        "XTRIM s MAXLEN 5",
        "XADD none NOMKSTREAM 5 a b",
        "XSETID s 5",
        "XGROUP CREATE s g 0",
        "XGROUP SETID s g 0",
        "XGROUP CREATECONSUMER s g c",
        "XREADGROUP GROUP g c STREAMS s >",
        "XCLAIM s g d 0 3",
        "XAUTOCLAIM s g c 0 0",
        "XACK s g 3",
        "XGROUP DESTROY s g",
    ] {
        assert!(!world.touches("s", call), "{call}");
    }
}
