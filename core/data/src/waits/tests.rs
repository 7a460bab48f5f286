//! Who waits, who is served, in which order, and what is kept of it.

use super::*;
use crate::command;
use crate::once::Id;
use crate::shard::{self, EntryWriter, Told};
use crate::{Keyspace, Refused, Reply, ShardState};

/// A shard whose entries are lines of text, and what apply told of each.
///
/// `a: BLPOP k 0` waits as the caller `a`, `?: BLPOP k 0` as nobody who would ask again; `a! nil` and `a! error` let it go; `office` begins a
/// leader's time; `a once: BLPOP k 0` waits under an id; `exec: RPUSH k 1; RPUSH l 1` is a transaction; anything else is a command.
#[derive(Default)]
struct Shard {
    state: ShardState,
    writer: EntryWriter,
    /// The last call of each letter.
    waiting: Vec<(String, WaitId)>,
    /// Its seq, which rises when a line says `+`.
    seq: u64,
}

const STAMP: u64 = 1_000;

impl Shard {
    fn entry(&mut self, lines: &[&str]) -> Vec<String> {
        self.entry_at(STAMP, lines)
    }

    fn entry_at(&mut self, stamp: u64, lines: &[&str]) -> Vec<String> {
        let mut names = Vec::new();
        for line in lines {
            names.extend(self.write(stamp, line));
        }
        let entry = self.writer.finish(Stamp(stamp));
        let index = self.state.keyspace().applied_index().next();
        shard::check(index, &entry).expect("a leader wrote it");
        let mut all = Vec::new();
        self.state.apply(index, &entry, |told| all.push(told)).expect("it can be read");
        let mut names = names.into_iter();
        all.into_iter().map(|told| self.told(told, &mut names)).collect()
    }

    /// Writes a line; the name under which its reply is told.
    fn write(&mut self, stamp: u64, line: &str) -> Option<String> {
        let words = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let call = |text: &str| {
            let args = words(text);
            (command::find(&args[0]).expect("a command"), args)
        };
        if line == "office" {
            self.writer.office();
            return None;
        }
        if let Some((name, how)) = line.split_once("! ") {
            let id = self.waiting.iter().rfind(|(of, _)| of == name).expect("it waits").1;
            self.writer.let_go(id, if how == "nil" { How::Nil } else { How::Error });
            return None;
        }
        if let Some(rest) = line.strip_prefix("exec: ") {
            let calls: Vec<_> = rest.split("; ").map(call).collect();
            let calls = calls.iter().map(|(command, args)| (0, *command, args.iter().map(Vec::as_slice).collect()));
            self.writer.exec(&[], calls);
            return Some("exec".to_owned());
        }
        let Some((name, rest)) = line.split_once(": ") else {
            let (command, args) = call(line);
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            self.writer.command(0, command, &args);
            return Some("did".to_owned());
        };
        let (command, args) = call(rest);
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let wish = command::blocking::wish(command, &args).expect("it waits");
        let patience = Patience { since: Stamp(stamp), until: wish.timeout_ms.map(|ms| Stamp(stamp + ms)) };
        let caller = match name.split_once(" once") {
            Some((name, _)) => {
                self.writer.once(Id { client: name.as_bytes(), seq: 1 }, 60_000);
                None
            }
            None => (name != "?").then(|| Caller { life: 7, client: u64::from(name.as_bytes()[0]), seq: self.seq }),
        };
        self.writer.wait(caller, patience, 0, command, &args);
        Some(name.to_owned())
    }

    fn told(&mut self, told: Told, names: &mut impl Iterator<Item = String>) -> String {
        match told {
            Told::Reply(reply) => format!("{} {}", names.next().expect("one reply each"), shown(&reply)),
            Told::Waits(id) => {
                let name = names.next().expect("one reply each");
                self.waiting.push((name.clone(), id));
                format!("{name} waits")
            }
            Told::Over(id, reply) => {
                let name = &self.waiting.iter().rfind(|(_, of)| *of == id).expect("it waits").0;
                format!("{name} got {}", shown(&reply))
            }
        }
    }
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Nil | Reply::NilArray => "nil".to_owned(),
        Reply::Int(n) => n.to_string(),
        Reply::Double(n) => n.to_string(),
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes.as_bytes()).into_owned(),
        Reply::Array(all) => format!("[{}]", all.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Reply::Error(refused) => refused.to_string().split(' ').next().unwrap_or_default().to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn who_waits_is_served_behind_the_write_in_the_same_step() {
    let mut shard = Shard::default();
    assert_eq!(shard.entry(&["a: BLPOP k 0", "b: BRPOP k 0"]), ["a waits", "b waits"]);
    assert_eq!(
        shard.entry(&["RPUSH k 1 2 3", "LLEN k", "c: BLPOP k 0", "d: BLPOP k 0"]),
        ["did 3", "a got [k 1]", "b got [k 3]", "did 1", "c [k 2]", "d waits"]
    );
    assert_eq!(shard.entry(&["DEL k", "RPUSH k 4", "LLEN k"]), ["did 0", "did 1", "d got [k 4]", "did 0"]);
    assert!(shard.state.keyspace().waits().is_empty());
}

#[test]
fn a_write_and_those_who_wait_for_it_may_stand_in_one_entry() {
    let mut shard = Shard::default();
    let told = shard.entry(&["a: BLPOP k l 0", "RPUSH l 1", "RPUSH k 2", "b: BLPOP k 0"]);
    assert_eq!(told, ["a waits", "did 1", "a got [l 1]", "did 1", "b [k 2]"]);
}

#[test]
fn a_transaction_serves_when_it_is_done_and_keys_in_the_order_in_which_they_got_something() {
    let mut shard = Shard::default();
    shard.entry(&["a: BLPOP x y 0", "b: BLPOP y 0"]);
    assert_eq!(
        shard.entry(&["exec: RPUSH y 1; RPUSH x 2; LLEN y"]),
        ["exec [1 1 1]", "a got [y 1]"],
        "by the key that got something first, not by the first that is named"
    );
    assert_eq!(shard.entry(&["exec: RPUSH y 3; LPOP y; RPUSH y 4 5"]), ["exec [1 3 2]", "b got [y 4]"]);
    shard.entry(&["c: BLPOP z 0"]);
    assert_eq!(shard.entry(&["exec: RPUSH z 1; DEL z; SET z s"]), ["exec [1 1 OK]"], "nothing to take any more");
    assert_eq!(shard.entry(&["exec: DEL z; LPUSH z 9"]), ["exec [1 1]", "c got [z 9]"]);
}

#[test]
fn those_who_want_another_type_wait_on() {
    let mut shard = Shard::default();
    shard.entry(&["a: BZPOPMIN k 0", "b: BLPOP k 0"]);
    assert_eq!(shard.entry(&["RPUSH k 1"]), ["did 1", "b got [k 1]"]);
    assert_eq!(shard.entry(&["ZADD k 2 m 1 n"]), ["did 2", "a got [k n 1]"]);
}

#[test]
fn a_served_move_serves_those_who_wait_behind_it() {
    let mut shard = Shard::default();
    shard.entry(&["a: BLMOVE x y LEFT LEFT 0", "b: BLMOVE y x LEFT LEFT 0", "c: BLPOP x 0", "d: BLPOP x 0"]);
    assert_eq!(shard.entry(&["RPUSH x 1"]), ["did 1", "a got 1", "b got 1", "c got [x 1]"]);
    assert_eq!(shard.entry(&["SET w s", "e: BLMOVE x w LEFT LEFT 0"]), ["did OK", "e waits"]);
    assert_eq!(shard.entry(&["RPUSH x 2 3"]), ["did 2", "d got [x 2]", "e got WRONGTYPE"], "it is served by a refusal");
    assert_eq!(shard.entry(&["LLEN x"]), ["did 1"], "which takes nothing");
}

#[test]
fn a_key_that_comes_by_another_name_serves() {
    let mut shard = Shard::default();
    for (name, write) in [("a", "RENAME q k"), ("b", "COPY q k"), ("c", "LMOVE q k LEFT LEFT")] {
        shard.entry(&["DEL q k", &format!("{name}: BLMPOP 0 2 j k LEFT COUNT 9"), "RPUSH q 1"]);
        let told = shard.entry(&[write]);
        assert_eq!(told[1], format!("{name} got [k [1]]"), "{write}: {told:?}");
    }
}

#[test]
fn time_is_over_by_the_stamp_alone() {
    let mut shard = Shard::default();
    shard.entry_at(1_000, &["a: BLPOP k 0.5", "b: BLPOP k 0", "c: BLPOP k 0.2"]);
    assert_eq!(shard.entry_at(1_200, &["LLEN k"]), ["c got nil", "did 0"]);
    assert_eq!(shard.entry_at(1_499, &["LLEN k"]), ["did 0"]);
    assert_eq!(shard.entry_at(1_500, &["RPUSH k 1"]), ["a got nil", "did 1", "b got [k 1]"]);
    assert_eq!(shard.entry_at(1_400, &["d: BLPOP k 0.01"]), ["d nil"], "it came late: the time of the log is further");
}

#[test]
fn who_is_let_go_is_not_served() {
    let mut shard = Shard::default();
    shard.entry(&["a: BLPOP k 0", "b: BLPOP k 0", "c: BLPOP k 0"]);
    assert_eq!(
        shard.entry(&["a! nil", "RPUSH k 1", "a! nil", "c! error"]),
        ["a got nil", "did 1", "b got [k 1]", "c got UNBLOCKED"]
    );
    shard.entry(&["?: BLPOP k 0"]);
    assert_eq!(shard.entry(&["office", "RPUSH k 1", "LLEN k"]), ["did 1", "did 1"], "another leader knows of nobody");
}

#[test]
fn a_call_that_is_asked_again_is_answered_as_it_was() {
    let mut shard = Shard::default();
    shard.entry(&["a: BLPOP k 0"]);
    assert_eq!(
        shard.entry(&["RPUSH k 1 2", "office", "a: BLPOP k 0", "a: BLPOP k 0"]),
        ["did 2", "a got [k 1]", "a [k 1]", "a [k 1]"]
    );
    assert_eq!(shard.entry(&["LLEN k"]), ["did 1"]);
    shard.seq += 1;
    assert_eq!(shard.entry(&["a: BLPOP k 0", "a: BLPOP k 0"]), ["a [k 2]", "a [k 2]"], "its next call is another one");
    shard.seq -= 1;
    assert_eq!(shard.entry(&["a: BLPOP k 0"]), ["a INDOUBT"], "what a caller went on from is not kept");
    shard.seq += 2;
    assert_eq!(
        shard.entry(&["SET s x", "a: BLPOP s 0", "DEL s", "RPUSH s 1", "a: BLPOP s 0"])[4],
        "a [s 1]",
        "a refusal is no outcome"
    );
}

#[test]
fn a_call_that_is_asked_again_stands_where_it_stood() {
    let mut shard = Shard::default();
    shard.entry_at(1_000, &["a: BLPOP k 0"]);
    shard.entry_at(1_001, &["b: BLPOP k 0"]);
    assert_eq!(shard.entry_at(1_002, &["a: BLPOP k 0"]), ["a waits"]);
    assert_eq!(shard.state.keyspace().waits().len(), 2);
    assert_eq!(shard.entry_at(1_003, &["RPUSH k 1"]), ["did 1", "a got [k 1]"]);
    // After a change of leaders they come in any order; each says since when it waits.
    shard.entry_at(1_004, &["office"]);
    let (command, args) = (command::find(b"blpop").expect("it exists"), [b"BLPOP".as_slice(), b"k", b"0"]);
    for (client, since) in [(1, 900), (2, 800)] {
        let patience = Patience { since: Stamp(since), until: None };
        shard.writer.wait(Some(Caller { life: 9, client, seq: 1 }), patience, 0, command, &args);
    }
    let entry = shard.writer.finish(Stamp(1_005));
    let index = shard.state.keyspace().applied_index().next();
    shard.state.apply(index, &entry, |_| {}).expect("it can be read");
    let lines: Vec<_> = shard.state.keyspace().waits().lines().flat_map(|(_, _, _, ids)| ids).collect();
    assert_eq!(lines, [2, 1].map(|nth| WaitId::Logged { index, nth }), "the older one stands first");
}

#[test]
fn once_covers_what_waits_too() {
    let mut shard = Shard::default();
    assert_eq!(shard.entry(&["a once: BLPOP k 5", "a once: BLPOP k 5"]), ["a once waits", "a once waits"]);
    assert_eq!(shard.entry(&["a once! nil", "RPUSH k 1 2"]), ["a once got nil", "did 2", "a once got [k 1]"]);
    assert_eq!(
        shard.entry_at(2_000, &["a once: blpop k 5", "LLEN k"]),
        ["a once [k 1]", "did 1"],
        "however long it would wait"
    );
    assert_eq!(shard.entry(&["a once: BRPOP k 5"]), ["a once ONCEMISMATCH"]);
}

#[test]
fn a_call_that_names_a_key_twice_stands_there_once() {
    let mut shard = Shard::default();
    shard.entry(&["a: BLPOP k k 0"]);
    assert_eq!(shard.entry(&["RPUSH k 1 2", "LLEN k"]), ["did 2", "a got [k 1]", "did 1"]);
}

#[test]
fn in_a_transaction_nothing_waits() {
    let mut shard = Shard::default();
    let told = shard.entry(&["exec: BLPOP k 0; BLMOVE k l LEFT LEFT 0; BZPOPMIN z 0; BLMPOP 0 1 k LEFT; BZMPOP 0 1 z MIN; XREAD BLOCK 0 STREAMS s $"]);
    assert_eq!(told, ["exec [nil nil nil nil nil nil]"]);
    assert!(shard.state.keyspace().waits().is_empty());
    assert_eq!(shard.entry(&["BLPOP k x"]), ["did ERR"]);
}

#[test]
fn many_wait_and_one_write_costs_one_call() {
    let mut shard = Shard::default();
    for _ in 0..40 {
        let lines: Vec<&str> = std::iter::repeat_n("?: BLPOP k 0", 100).collect();
        shard.entry(&lines);
    }
    assert_eq!(shard.entry(&["RPUSH k 1"]), ["did 1", "? got [k 1]"]);
    assert_eq!(shard.state.calls(), 2, "the push, and the one who is served");
}

#[test]
fn a_snapshot_holds_who_waits_and_what_was_answered() {
    let mut shard = Shard::default();
    shard.entry(&["a: BLPOP k 0", "b: BLPOP j k 9", "c once: BRPOP k 0", "d: BLPOP k 0", "RPUSH k 1"]);
    let keyspace = shard.state.cut();
    keyspace.begin_cut();
    while !keyspace.cut_slice(1_000) {}
    let mut image = Vec::new();
    while let Some((bytes, _)) = keyspace.cut_output() {
        image.extend_from_slice(&bytes);
    }
    let loaded = Keyspace::load(&image).expect("what was written can be read");
    assert_eq!(loaded.digest(), shard.state.keyspace().digest());
    let mut twin =
        Shard { state: ShardState::with_keyspace(loaded), waiting: shard.waiting.clone(), ..Shard::default() };
    let lines = ["RPUSH k 2 3 4 5", "a: BLPOP k 0", "c once: BRPOP k 0", "LLEN k"];
    let told = shard.entry(&lines);
    assert_eq!(told[1..4], ["b got [k 2]", "c once got [k 5]", "d got [k 3]"]);
    assert_eq!(told[4..], ["a [k 1]", "c once [k 5]", "did 1"]);
    assert_eq!(twin.entry(&lines), told);
    assert_eq!(twin.state.keyspace().digest(), shard.state.keyspace().digest());
    for cut in image.len() - 200..image.len() {
        assert!(Keyspace::load(&image[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn what_is_too_large_is_known_to_have_been_answered() {
    let (mut answers, mut reply) = (Answers::default(), Vec::new());
    reply.resize(base::limits::WAIT_ANSWER_BYTES_MAX, b'x');
    let caller = |client| Caller { life: 1, client, seq: 1 };
    answers.keep(caller(1), &Reply::bulk(&reply), Stamp(5));
    let doubt =
        |reply: Option<Reply>| matches!(reply, Some(Reply::Error(Refused::Text(text))) if text.starts_with("INDOUBT "));
    assert!(doubt(answers.of(caller(1))));
    reply.truncate(base::limits::WAIT_ANSWER_BYTES_MAX / 2);
    for client in 2..200 {
        answers.keep(caller(client), &Reply::bulk(&reply), Stamp(client));
    }
    assert!(doubt(answers.of(caller(2))) && matches!(answers.of(caller(199)), Some(Reply::Bulk(_))));
    for _ in 0..10 {
        answers.pass_time(Stamp(199 + base::limits::WAIT_ANSWER_KEPT_MS));
    }
    assert!((1..200).all(|client| answers.of(caller(client)).is_none()));
}

#[test]
fn a_trial_of_a_leap_is_no_leap() {
    let mut keyspace = Keyspace::new((1, 2));
    keyspace.advance(Stamp(20_000), base::Index(1));
    keyspace.waits_mut().answers.keep(Caller { life: 1, client: 1, seq: 1 }, &Reply::Int(7), Stamp(20_000));
    let digest = keyspace.digest();
    keyspace.begin_trial(Stamp(1 << 40), base::Index(2));
    assert_ne!(keyspace.waits().answers.leapt_ms, 10_000, "time leaps in it");
    keyspace.end_trial();
    assert_eq!((keyspace.waits().answers.leapt_ms, keyspace.digest()), (10_000, digest));
}

#[test]
fn an_answer_outlives_a_leap_of_time() {
    let mut answers = Answers::default();
    let caller = Caller { life: 1, client: 1, seq: 1 };
    let kept_ms = base::limits::WAIT_ANSWER_KEPT_MS;
    answers.keep(caller, &Reply::Int(7), Stamp(1_000));
    let leapt = Stamp(1_000 + 5 * kept_ms);
    answers.go_on(Stamp(1_000), leapt);
    answers.pass_time(leapt);
    assert_eq!(answers.of(caller), Some(Reply::Int(7)), "a new leader's clock was ahead");
    let (mut now, mut steps) = (leapt, 0);
    while answers.of(caller).is_some() {
        let next = Stamp(now.0 + 1_000);
        answers.go_on(now, next);
        answers.pass_time(next);
        (now, steps) = (next, steps + 1);
    }
    assert!((kept_ms / 1_000 - 10..=kept_ms / 1_000).contains(&steps), "it goes with time: {steps}");
}

#[test]
fn sorted_sets_serve_those_who_wait_for_their_ends() {
    let mut shard = Shard::default();
    let lines = ["a: BZPOPMAX z y 0", "b: BZMPOP 0 2 y z MIN COUNT 2", "c: BZPOPMIN z 0", "d: BLPOP z 0"];
    assert_eq!(shard.entry(&lines), ["a waits", "b waits", "c waits", "d waits"]);
    assert_eq!(
        shard.entry(&["ZADD z 1 m 2 n 3 o 4 p", "ZCARD z"]),
        ["did 4", "a got [z p 4]", "b got [z [[m 1] [n 2]]]", "c got [z o 3]", "did 0"]
    );
    assert_eq!(shard.entry(&["e: BZPOPMIN z 0", "exec: ZADD z 5 q; ZREM z q"]), ["e waits", "exec [1 1]"]);
    assert_eq!(shard.entry(&["ZINCRBY z 7 q", "RPUSH z x"]), ["did 7", "e got [z q 7]", "did 1", "d got [z x]"]);
}

#[test]
fn what_comes_to_a_stream_goes_to_one_of_a_group_and_to_each_who_reads() {
    let mut shard = Shard::default();
    shard.entry(&["XADD s 1-1 f v", "XGROUP CREATE s g $", "XGROUP CREATE s h 0"]);
    let told = shard.entry(&[
        "a: XREADGROUP GROUP g one BLOCK 0 STREAMS s >",
        "b: XREADGROUP GROUP g two BLOCK 0 COUNT 1 STREAMS s >",
        "c: XREADGROUP GROUP h one BLOCK 0 STREAMS s >",
        "d: XREAD BLOCK 0 STREAMS t s $ $",
        "e: XREAD BLOCK 0 STREAMS s 1-1",
    ]);
    assert_eq!(told[..2], ["a waits", "b waits"]);
    assert!(told[2].starts_with("c Pairs"), "{told:?}");
    assert_eq!(told[3..], ["d waits", "e waits"]);
    let told = shard.entry(&["XADD s 2-1 f w"]);
    let names: Vec<&str> = told.iter().map(|one| &one[..1]).collect();
    assert_eq!(names[1..], ["d", "e", "a"], "readers, then the first of the group: {told:?}");
    let told = shard.entry(&["XADD s 3-1 f x", "XPENDING s g"]);
    assert!(told[1].starts_with("b got") && told[2].starts_with("did [2 "), "{told:?}");
}

#[test]
fn who_waits_for_a_group_is_told_when_it_is_gone() {
    let mut shard = Shard::default();
    let waits = ["a: XREADGROUP GROUP g one BLOCK 0 STREAMS s >", "b: XREADGROUP GROUP h one BLOCK 0 STREAMS s >"];
    let groups = ["XGROUP CREATE s g $ MKSTREAM", "XGROUP CREATE s h $"];
    shard.entry(&groups);
    assert_eq!(shard.entry(&waits), ["a waits", "b waits"]);
    assert_eq!(shard.entry(&["XGROUP DESTROY s g"]), ["did 1", "a got NOGROUP"]);
    assert_eq!(shard.entry(&["XGROUP CREATE s g $", waits[0], "DEL s"])[3..], ["a got UNBLOCKED", "b got UNBLOCKED"]);
    shard.entry(&groups);
    shard.entry(&waits);
    assert_eq!(shard.entry(&["SET s x"])[1..], ["a got UNBLOCKED", "b got UNBLOCKED"]);
    shard.entry(&["DEL s"]);
    shard.entry(&groups);
    shard.entry(&waits);
    assert_eq!(shard.entry(&["FLUSHDB"])[1..], ["a got UNBLOCKED", "b got UNBLOCKED"]);
    // What was delivered is new again.
    shard.entry(&["XADD s 1-1 f v", groups[1]]);
    assert_eq!(shard.entry(&waits[1..]), ["b waits"]);
    let told = shard.entry(&["XGROUP SETID s h 0"]);
    assert!(told[1].starts_with("b got Pairs"), "{told:?}");
}

#[test]
fn a_call_without_count_that_waits_gets_a_thousand_entries_at_most() {
    let mut shard = Shard::default();
    shard.entry(&["XGROUP CREATE s g $ MKSTREAM", "a: XREADGROUP GROUP g one BLOCK 0 STREAMS s >"]);
    let adds = vec!["XADD s * f v"; 1_001].join("; ");
    shard.entry(&[&format!("exec: {adds}")]);
    assert_eq!(shard.entry(&["XPENDING s g - + 9999"]).len(), 1);
    let told = shard.entry(&["XACK s g 1-0", "XLEN s", "XPENDING s g"]);
    assert!(told[2].starts_with("did [1000 "), "{told:?}");
}
