//! Floors under small caps, in snapshots and in trials; and what a shard does under fences.

use super::floors::Caps;
use super::*;
use crate::command;
use crate::once::Id;
use crate::shard::{self, EntryWriter};
use crate::waits::{Caller, Patience};
use crate::{Keyspace, Reply, ShardState, Told, Trial};
use base::rng::Rng;
use base::{Slot, Stamp};
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::hash::Hasher;

const CAPS: Caps = Caps { locks: 4, name_bytes: 1000 };

fn fence(lock: &str, number: u64) -> Fence<'_> {
    Fence { lock: lock.as_bytes(), number }
}

/// Comes under a fence: true if it is let in.
fn come(floors: &mut Floors, lock: &str, number: u64) -> bool {
    let fences = [fence(lock, number)];
    floors.judge(&fences).is_ok().then(|| floors.note(&fences, &mut |_| {})).is_some()
}

fn digest(floors: &Floors) -> u64 {
    let mut hasher = SipHasher13::new();
    floors.digest(&mut hasher);
    hasher.finish()
}

#[test]
fn a_floor_rises_and_lets_nothing_older_in() {
    let mut floors = Floors::with_caps(CAPS);
    assert_eq!(floors.judge(&[fence("a", 5)]), Ok(Judged::New));
    assert!(come(&mut floors, "a", 5));
    assert_eq!(floors.judge(&[fence("a", 5)]), Ok(Judged::Seen));
    assert!(!come(&mut floors, "a", 4) && come(&mut floors, "b", 1) && come(&mut floors, "a", 7));
    assert_eq!((floors.floor(b"a"), floors.floor(b"b"), floors.floor(b"c")), ((7, true), (1, true), (0, false)));
    let refused = floors.judge(&[fence("b", 2), fence("a", 5)]).expect_err("one is too old").to_string();
    assert!(refused.starts_with("FENCED ") && refused.contains("'a'") && refused.contains(" 7"), "{refused}");
    assert_eq!(floors.floor(b"b"), (1, true), "what is refused raises nothing");
}

#[test]
fn what_is_forgotten_leaves_its_floor_to_its_slot() {
    let mut floors = Floors::with_caps(CAPS);
    // All of one slot.
    for (lock, number) in [("{x}a", 10), ("{x}b", 20), ("{x}c", 30), ("{x}d", 40)] {
        assert!(come(&mut floors, lock, number));
    }
    assert!(come(&mut floors, "{x}a", 10), "it counts as used");
    assert!(come(&mut floors, "{x}e", 50));
    assert_eq!((floors.len(), floors.floor(b"{x}b")), (4, (20, false)), "b was not used for longest");
    let refused = floors.judge(&[fence("{x}b", 19)]).expect_err("below the slot's floor").to_string();
    assert!(refused.starts_with("FENCED ") && refused.contains("forgotten"), "{refused}");
    assert_eq!(floors.judge(&[fence("{x}b", 20)]), Ok(Judged::New), "whose the floor is, is not known any more");
    assert!(
        !come(&mut floors, "{x}new", 19) && come(&mut floors, "{x}a", 10),
        "those that are known are judged by themselves"
    );
    let other =
        (0..).map(|n| format!("{n}")).find(|lock| Slot::of(lock.as_bytes()) != Slot::of(b"{x}")).expect("there is one");
    assert!(come(&mut floors, &other, 1), "other slots know nothing");
    assert_eq!(floors.floor(b"{x}c"), (30, false));
    floors.reset(b"{x}c", 0, &mut |_| {});
    assert_eq!(
        (floors.floor(b"{x}c"), floors.floor(b"{x}b")),
        ((0, true), (40, false)),
        "a reset cures one lock alone"
    );
    assert!(come(&mut floors, "{x}c", 3));
}

#[test]
fn long_names_make_room_by_their_bytes() {
    let mut floors = Floors::with_caps(CAPS);
    let long = |n: usize| format!("{}{n}", "x".repeat(400));
    (0..3).for_each(|n| assert!(come(&mut floors, &long(n), 1)));
    assert_eq!((floors.len(), floors.name_bytes), (2, 802));
}

/// The largest fence that was let in of each lock, and of each slot.
#[derive(Default)]
struct Naive {
    locks: BTreeMap<String, u64>,
}

#[test]
fn nothing_older_is_ever_let_in_and_changes_can_be_taken_back() {
    let mut rng = Rng::new(7);
    let (mut floors, mut naive) = (Floors::with_caps(CAPS), Naive::default());
    for _ in 0..20_000 {
        let (lock, number) = (format!("{{{}}}{}", rng.below(3), rng.below(4)), 1 + rng.below(1 << 40));
        let before = digest(&floors);
        let largest = naive.locks.entry(lock.clone()).or_default();
        let fences = [fence(&lock, number)];
        match floors.judge(&fences) {
            Ok(_) => {
                assert!(number >= *largest, "{lock} {number} after {largest}");
                let mut log = Vec::new();
                floors.note(&fences, &mut |was| log.push(was));
                if rng.one_in(3) {
                    log.into_iter().rev().for_each(|was| floors.undo(was));
                    assert_eq!(digest(&floors), before, "a change that was taken back leaves no trace");
                } else {
                    *largest = number;
                }
            }
            Err(_) => assert_eq!(digest(&floors), before),
        }
    }
    assert!(floors.len() == 4 && !floors.slots.is_empty());
}

/// A snapshot's floors as `between` changes them while it is cut.
fn saved(floors: &mut Floors, mut between: impl FnMut(&mut Floors)) -> Floors {
    let mut bytes = Vec::new();
    floors.begin_cut();
    between(floors);
    while !floors.cut_slice(&mut bytes) {
        between(floors);
    }
    floors.cut_ahead(&mut bytes);
    let (mut loading, mut reader) = (Loading::default(), Reader::new(&bytes));
    while !reader.is_empty() {
        match reader.u8().expect("a tag") {
            TAG_FLOOR => loading.floor(&mut reader).expect("a floor"),
            TAG_SLOT_FLOOR => loading.slot_floor(&mut reader).expect("a slot's floor"),
            other => panic!("no item has the tag {other}"),
        }
    }
    loading.done()
}

#[test]
fn a_snapshot_holds_what_was_there_when_it_was_cut() {
    let mut rng = Rng::new(3);
    let mut floors = Floors::with_caps(Caps { locks: 3000, name_bytes: 1 << 20 });
    for n in 0..4000_u64 {
        assert!(come(&mut floors, &format!("lock {n}"), n + 1));
    }
    for round in 0..20_u64 {
        let wanted = digest(&floors);
        let loaded = saved(&mut floors, |floors| {
            for _ in 0..50 {
                let lock = format!("lock {}", rng.below(4500));
                come(floors, &lock, 5000 + round);
            }
        });
        assert_eq!(digest(&loaded), wanted);
        assert!(loaded.last_use <= floors.last_use && loaded.len() == 3000 && loaded.name_bytes > 0);
    }
    let loaded = saved(&mut floors, |_| {});
    assert_eq!(
        (digest(&loaded), loaded.last_use, loaded.name_bytes),
        (digest(&floors), floors.last_use, floors.name_bytes)
    );
}

#[test]
fn damaged_floors_are_refused() {
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, b"a");
    put_varint(&mut bytes, 5);
    put_varint(&mut bytes, 1);
    let mut loading = Loading::default();
    assert!(loading.floor(&mut Reader::new(&bytes)).is_ok());
    assert!(loading.floor(&mut Reader::new(&bytes)).is_err(), "twice");
    for (name, number, used) in [(&b"b"[..], 5, 0), (b"b", 5, 1), (b"b", 1 << 63, 2), (b"b", 5, 1 << 62), (b"", 5, 2)] {
        let mut bytes = Vec::new();
        put_bytes(&mut bytes, name);
        put_varint(&mut bytes, number);
        put_varint(&mut bytes, used);
        assert!(loading.floor(&mut Reader::new(&bytes)).is_err(), "{name:?} {number} {used}");
    }
    for slot in [16_384_u64, 70_000] {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, slot);
        put_varint(&mut bytes, 1);
        assert!(loading.slot_floor(&mut Reader::new(&bytes)).is_err(), "{slot}");
    }
}

/// A shard whose entries are lines of text: `[c:1] [a 5] [b 6] SET k v` goes under an id and fences, `.. exec: SET k 1; GET k` is a transaction,
/// `.. wait: BLPOP k 0` waits, and a second `wait` of the same entry has the same caller as the first of an earlier one.
struct Shard {
    state: ShardState,
}

impl Shard {
    fn new() -> Self {
        let mut state = ShardState::default();
        let genesis = shard::genesis(Stamp(1), (3, 4));
        state.apply(base::Index(1), &genesis, drop).expect("it can be read");
        Self { state }
    }

    fn run(&mut self, lines: &[&str]) -> Vec<String> {
        let mut writer = EntryWriter::default();
        lines.iter().for_each(|line| write(&mut writer, line));
        let entry = writer.finish(Stamp(10));
        let index = self.state.keyspace().applied_index().next();
        shard::check(index, &entry).expect("a leader wrote it");
        assert_eq!(shard::operations(index, &entry).expect("it can be read").len(), lines.len());
        let mut told = Vec::new();
        self.state.apply(index, &entry, |one| told.push(shown(one))).expect("it can be read");
        told
    }

    fn one(&mut self, line: &str) -> String {
        self.run(&[line]).join(" ")
    }
}

fn write(writer: &mut EntryWriter, line: &str) {
    let (mut rest, mut id, mut fences) = (line, None, Fences::new());
    while let Some((word, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        match word.split_once(' ') {
            Some((lock, number)) => fences.push(fence(lock, number.parse().expect("a number"))),
            None => id = Some(Id::parse(word.as_bytes()).expect("an id")),
        }
        rest = behind;
    }
    id.into_iter().for_each(|id| writer.once(id, 60_000));
    writer.fences(&fences);
    let words = |text: &'static str| text.split(' ').map(str::as_bytes).collect::<Vec<_>>();
    let rest: &'static str = String::from(rest).leak();
    if let Some(calls) = rest.strip_prefix("exec: ") {
        let calls: Vec<_> = calls.split("; ").map(words).collect();
        let calls = calls.into_iter().map(|args| (0, command::find(args[0]).expect("a command"), args));
        return writer.exec(&[], calls);
    }
    if let Some(call) = rest.strip_prefix("wait: ") {
        let args = words(call);
        let caller = id.is_none().then_some(Caller { life: 1, client: 2, seq: 3 });
        let patience = Patience { since: Stamp(10), until: None };
        return writer.wait(caller, patience, 0, command::find(args[0]).expect("a command"), &args);
    }
    let args = words(rest);
    writer.command(0, command::find(args[0]).expect("a command"), &args);
}

fn shown(told: Told) -> String {
    let (head, reply) = match told {
        Told::Reply(reply) => ("", reply),
        Told::Waits(_) => return "waits".to_owned(),
        Told::Over(_, reply) => ("over: ", reply),
    };
    format!("{head}{}", text_of(&reply))
}

fn text_of(reply: &Reply) -> String {
    match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Nil | Reply::NilArray => "nil".to_owned(),
        Reply::Int(n) => n.to_string(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
        Reply::Array(all) => format!("[{}]", all.iter().map(text_of).collect::<Vec<_>>().join(" ")),
        Reply::Error(why) => why.to_string().split(' ').next().expect("a word").to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_stale_command_changes_nothing_and_a_read_protects() {
    let mut shard = Shard::new();
    assert_eq!(
        shard.run(&["[a 5] SET k 5", "[a 6] GET k", "[a 5] SET k late", "[a 6] SET k 6"]),
        ["OK", "5", "FENCED", "OK"]
    );
    assert_eq!(shard.run(&["[a 5] GET k", "GET k", "SET k plain", "[b 1] GET k"]), ["FENCED", "6", "OK", "plain"]);
    assert_eq!(shard.run(&["[b 2] [a 5] SET k late", "[b 1] GET k"]), ["FENCED", "plain"], "all or none rise");
    assert_eq!(shard.run(&["[a 5] exec: SET k late; GET k", "[a 7] exec: SET k 7; GET k"]), ["FENCED", "[OK 7]"]);
    assert_eq!(
        shard.run(&["[a 8] LPUSH k x", "[a 7] GET k"]),
        ["WRONGTYPE", "FENCED"],
        "an error of the command comes behind"
    );
    assert_eq!(shard.run(&["FENCE.RESET a", "[a 1] GET k"]), ["OK", "7"]);
    assert_eq!(shard.run(&["FENCE.RESET a 9", "[a 8] GET k", "[a 9] GET k"]), ["OK", "FENCED", "7"]);
    assert_eq!(shard.run(&["FLUSHALL", "[a 8] GET k"]), ["OK", "FENCED"], "floors are no keys");
}

#[test]
fn a_refusal_names_the_floor_to_those_who_read_it() {
    let odd = Fence { lock: b"x is below 3 takes none below 4", number: 6 };
    for (known, floor) in [(Known::Lock(9), 9), (Known::Slot(1 << 60), 1 << 60)] {
        assert_eq!(super::floor_told(&stale(odd, known).to_string()), Some(floor));
    }
    assert_eq!(super::floor_told("ERR the fence 9 is below 8"), None);
    assert_eq!(super::floor_told("FENCED for another reason"), None);
}

#[test]
fn an_id_is_looked_at_before_fences_and_what_they_refuse_is_no_outcome() {
    let mut shard = Shard::new();
    assert_eq!(shard.run(&["[c:1] [a 5] INCR n", "[a 6] GET n", "[c:1] [a 5] INCR n"]), ["1", "1", "1"]);
    assert_eq!(shard.run(&["[c:2] [a 5] INCR n", "[c:2] [a 6] INCR n", "[c:2] [a 6] INCR n"]), ["FENCED", "2", "2"]);
    assert_eq!(shard.one("[c:2] [a 5] INCR n"), "2", "the same command under another fence is the same");
    assert_eq!(shard.one("[c:2] [a 6] DECR n"), "ONCEMISMATCH");
    assert_eq!(
        shard.run(&["[c:3] [a 5] exec: INCR n", "[c:3] [a 6] exec: INCR n", "[c:3] exec: INCR n"]),
        ["FENCED", "[3]", "[3]"]
    );
}

#[test]
fn a_fence_is_judged_when_a_call_comes_and_when_it_is_served() {
    let mut shard = Shard::new();
    assert_eq!(shard.one("[a 5] wait: BLPOP q 0"), "waits");
    assert_eq!(shard.run(&["[a 6] GET k", "RPUSH q x"]), ["nil", "1", "over: FENCED"]);
    assert_eq!(shard.run(&["LINDEX q 0", "[a 5] wait: BLPOP q 0"]), ["x", "FENCED"], "it took nothing, then and now");
    assert_eq!(shard.run(&["[a 6] wait: BLPOP q 0", "[a 7] GET k"]), ["[q x]", "nil"]);
    assert_eq!(shard.one("[a 6] wait: BLPOP q 0"), "[q x]", "asked again, it is told what it was told");
    assert_eq!(shard.run(&["[c:1] [a 7] wait: BLPOP q 0", "RPUSH q y"]), ["waits", "1", "over: [q y]"]);
    assert_eq!(
        shard.run(&["[c:2] [a 7] wait: BLPOP q 0", "[a 8] GET k", "RPUSH q z"]),
        ["waits", "nil", "1", "over: FENCED"]
    );
    assert_eq!(shard.one("[c:2] [a 8] wait: BLPOP q 0"), "[q z]", "what a fence refused is no outcome");
}

#[test]
fn those_who_wait_under_fences_and_floors_survive_a_snapshot() {
    let mut shard = Shard::new();
    shard.run(&[
        "SET k v",
        "[b 3] GET k",
        "[a 5] wait: XREAD BLOCK 0 STREAMS s $",
        "[c:1] [a 5] [b 4] wait: BLPOP q 0",
    ]);
    let keyspace = shard.state.cut();
    keyspace.begin_cut();
    let mut body = Vec::new();
    while !keyspace.cut_slice(1) {}
    while let Some((piece, _)) = keyspace.cut_output() {
        body.extend_from_slice(&piece);
    }
    let loaded = Keyspace::load(&body).expect("it was just saved");
    assert_eq!(loaded.digest(), shard.state.keyspace().digest());
    let mut other = Shard { state: ShardState::with_keyspace(loaded) };
    let lines = ["[b 3] GET k", "[a 4] GET k", "XADD s 1-1 f v", "[a 6] GET k", "RPUSH q x"];
    assert_eq!(shard.run(&lines), other.run(&lines));
    assert_eq!(shard.state.keyspace().digest(), other.state.keyspace().digest());
    assert_eq!(other.run(&["LINDEX q 0"]), ["x"]);
}

#[test]
fn a_trial_takes_floors_back() {
    let mut shard = Shard::new();
    shard.run(&["[a 5] SET k v"]);
    let before = shard.state.keyspace().digest();
    let index = shard.state.keyspace().applied_index().next();
    let mut trial = Trial::of_entry(shard.state, index, Stamp(20));
    let mut entry = EntryWriter::default();
    for line in ["[a 6] GET k", "[a 5] SET k late", "[a 5] wait: BLPOP q 0", "[b 1] SET k tried"] {
        write(&mut entry, line);
    }
    trial.follow(&entry, 0);
    let get = |trial: &mut Trial| {
        trial.read(0, |keyspace, cx| keyspace.string(cx, b"k").expect("a string").map_or(Reply::Nil, Reply::bulk))
    };
    assert_eq!(get(&mut trial), Reply::bulk(b"tried"));
    let (old, same, new) = ([fence("a", 5).to_owned()], [fence("a", 6).to_owned()], [fence("a", 7).to_owned()]);
    assert!(trial.admit(&old).is_err());
    assert_eq!((trial.admit(&same), trial.admit(&new)), (Ok(Judged::Seen), Ok(Judged::New)));
    let mark = trial.mark();
    assert_eq!(trial.admit(&[fence("a", 9).to_owned()]), Ok(Judged::New));
    trial.back_to(mark);
    assert_eq!(trial.admit(&new), Ok(Judged::Seen));
    let state = trial.end();
    assert_eq!(state.keyspace().digest(), before);
    assert_eq!(state.keyspace().floors().floor(b"a"), (5, true));
}
