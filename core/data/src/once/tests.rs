//! Outcomes under small caps: what is answered, what is forgotten and how that is told, and what snapshots hold of it.

use super::*;
use crate::command;
use crate::shard::EntryWriter;
use crate::{Blob, ShardState, Told, Watched};
use base::ShardId;
use base::rng::Rng;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

const CAPS: Caps = Caps { outcomes: 4, reply_bytes: 200, clients: 3 };
const KEEP_MS: u64 = 1000;

fn id(client: &str, seq: u64) -> Id<'_> {
    Id { client: client.as_bytes(), seq }
}

/// Sends a command under an id: its number is what it answers if it runs.
fn send(outcomes: &mut Outcomes, id: Id<'_>, now: u64) -> String {
    match outcomes.look(id, id.seq, Stamp(now)) {
        Known::No => {
            outcomes.record(id, id.seq, &Reply::text(id), Stamp(now), KEEP_MS);
            "ran".to_owned()
        }
        Known::Reply(reply) => {
            assert_eq!(reply, Reply::text(id));
            "known".to_owned()
        }
        Known::Refused(refused) => {
            refused.to_string().split(' ').next().expect("an error begins with a word").to_owned()
        }
    }
}

#[test]
fn what_is_kept_is_answered_and_what_is_forgotten_is_refused() {
    let mut outcomes = Outcomes::with_caps(CAPS);
    assert_eq!(send(&mut outcomes, id("a", 5), 0), "ran");
    assert_eq!(send(&mut outcomes, id("a", 3), 0), "ran", "numbers may come in any order");
    for seq in [3, 5] {
        assert_eq!(send(&mut outcomes, id("a", seq), 10), "known");
    }
    assert!(
        matches!(outcomes.look(id("a", 5), 99, Stamp(10)), Known::Refused(why) if why.to_string().contains("ONCEMISMATCH"))
    );
    outcomes.pass_time(Stamp(KEEP_MS - 1));
    assert_eq!(outcomes.len(), 2);
    outcomes.pass_time(Stamp(KEEP_MS));
    assert!(outcomes.is_empty());
    for seq in [1, 3, 4, 5] {
        assert_eq!(send(&mut outcomes, id("a", seq), KEEP_MS), "UNKNOWN");
    }
    assert_eq!(send(&mut outcomes, id("a", 6), KEEP_MS), "ran");
    assert_eq!(send(&mut outcomes, id("b", 1), KEEP_MS), "ran", "floors are each client's own");
}

#[test]
fn the_oldest_make_room_by_count_and_by_bytes() {
    let mut outcomes = Outcomes::with_caps(CAPS);
    (1..=6).for_each(|seq| assert_eq!(send(&mut outcomes, id("a", seq), seq), "ran"));
    assert_eq!(
        (1..=6).map(|seq| send(&mut outcomes, id("a", seq), 9)).collect::<Vec<_>>().join(" "),
        "UNKNOWN UNKNOWN known known known known"
    );
    let large = Reply::Bulk(Blob::Shared(Bytes::from(vec![7; 150])));
    outcomes.record(id("b", 1), 1, &large, Stamp(9), KEEP_MS);
    outcomes.record(id("b", 2), 2, &large, Stamp(9), KEEP_MS);
    assert_eq!(outcomes.len(), 1, "two such replies are too many");
    assert!(matches!(outcomes.look(id("b", 2), 2, Stamp(9)), Known::Reply(reply) if reply == large));
    assert_eq!(send(&mut outcomes, id("b", 1), 9), "UNKNOWN");
}

#[test]
fn a_full_house_refuses_new_clients_until_one_has_been_silent_for_its_time() {
    let mut outcomes = Outcomes::with_caps(CAPS);
    for name in ["a", "b", "c"] {
        assert_eq!(send(&mut outcomes, id(name, 1), 0), "ran");
    }
    assert_eq!(send(&mut outcomes, id("d", 1), KEEP_MS - 1), "OVERLOADED");
    assert_eq!(send(&mut outcomes, id("a", 2), 500), "ran", "who is known goes on");
    outcomes.pass_time(Stamp(KEEP_MS));
    assert_eq!(send(&mut outcomes, id("d", 1), KEEP_MS), "ran", "b made room");
    assert_eq!(send(&mut outcomes, id("a", 1), KEEP_MS), "UNKNOWN", "a has spoken since");
    outcomes.pass_time(Stamp(2 * KEEP_MS));
    assert_eq!(send(&mut outcomes, id("c", 1), 2 * KEEP_MS), "UNKNOWN", "there is room enough, so c's floor stays");
    outcomes.pass_time(Stamp(2 * KEEP_MS + ONCE_FLOOR_MS));
    assert_eq!(outcomes.clients.len(), 0, "after a day everyone is forgotten");
}

#[test]
fn a_large_reply_is_not_kept_but_its_command_does_not_run_again() {
    let mut outcomes = Outcomes::default();
    let item = Reply::bulk(&[7; ONCE_REPLY_BYTES_MAX / 2]);
    let fits = Reply::Bulk(Blob::Shared(Bytes::from(vec![7; ONCE_REPLY_BYTES_MAX - 4])));
    outcomes.record(id("a", 1), 1, &Reply::Array(vec![item.clone(), item]), Stamp(0), KEEP_MS);
    outcomes.record(id("a", 2), 2, &fits, Stamp(0), KEEP_MS);
    assert!(
        matches!(outcomes.look(id("a", 1), 1, Stamp(0)), Known::Refused(why) if why.to_string().starts_with("ONCEDONE "))
    );
    assert_eq!(outcomes.look(id("a", 2), 2, Stamp(0)), Known::Reply(fits));
}

fn digest(outcomes: &Outcomes) -> u64 {
    let mut hasher = SipHasher13::new();
    outcomes.digest(&mut hasher);
    hasher.finish()
}

/// Some commands of a few clients; what they were answered.
fn traffic(outcomes: &mut Outcomes, rng: &mut Rng, now: &mut u64, count: u64) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..count {
        *now += rng.below(KEEP_MS / 4);
        if rng.one_in(3) {
            outcomes.pass_time(Stamp(*now));
        }
        let name = ["a", "b", "c", "d", "e"][usize::try_from(rng.below(5)).expect("small")];
        told.push(send(outcomes, id(name, 1 + rng.below(40)), *now));
    }
    told
}

#[test]
fn a_snapshot_holds_the_outcomes_of_its_cut_whatever_happens_meanwhile() {
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let (mut outcomes, mut now) = (Outcomes::with_caps(CAPS), 0);
        for round in 0..3 {
            traffic(&mut outcomes, &mut rng, &mut now, 30);
            let (wanted, mut image) = (digest(&outcomes), Vec::new());
            outcomes.begin_cut();
            let mut later = Vec::new();
            // The same seeds give the same traffic to whoever loads the image.
            let (begun, seeds) = (now, rng.next_u64());
            let mut replay = Rng::new(seeds);
            loop {
                later.extend(traffic(&mut outcomes, &mut replay, &mut now, 5));
                if rng.one_in(2) {
                    outcomes.cut_ahead(&mut image);
                }
                let until = image.len() + 1 + usize::try_from(rng.below(60)).expect("small");
                if rng.one_in(3) && outcomes.cut_slice(&mut image, until) {
                    break;
                }
            }
            let mut loaded = load(&image).unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}"));
            loaded.caps = CAPS;
            assert_eq!(digest(&loaded), wanted, "seed {seed}, round {round}");
            let (mut replay, mut again) = (Rng::new(seeds), begun);
            assert_eq!(traffic(&mut loaded, &mut replay, &mut again, later.len() as u64), later);
            assert_eq!(digest(&loaded), digest(&outcomes), "seed {seed}, round {round}: they stay equal");
        }
    }
}

fn load(image: &[u8]) -> Result<Outcomes, DecodeError> {
    let (mut loading, mut reader) = (Loading::default(), Reader::new(image));
    while !reader.is_empty() {
        match reader.u8()? {
            TAG_CLIENT => loading.client(&mut reader)?,
            TAG_OUTCOME => loading.outcome(&mut reader)?,
            other => return Err(DecodeError::Unknown(u64::from(other))),
        }
    }
    loading.done()
}

/// A shard, and commands for it as the log has them.
#[derive(Default)]
struct Shard {
    state: ShardState,
    writer: EntryWriter,
}

impl Shard {
    fn add(&mut self, seq: u64, words: &str) {
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        self.writer.once(id("c", seq), KEEP_MS);
        self.writer.command(0, command::find(args[0]).expect("a command"), &args);
    }

    fn exec(&mut self, seq: u64, watched: &[Watched], all: &[&str]) {
        self.writer.once(id("c", seq), KEEP_MS);
        let calls = all.iter().map(|words| {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            (0, command::find(args[0]).expect("a command"), args)
        });
        self.writer.exec(watched, calls);
    }

    fn apply(&mut self) -> Vec<Reply> {
        let (entry, mut replies) = (self.writer.finish(Stamp(5)), Vec::new());
        let index = self.state.keyspace().applied_index().next();
        let told = |told| {
            if let Told::Reply(reply) = told {
                replies.push(reply)
            }
        };
        self.state.apply(index, &entry, told).expect("it can be read");
        replies
    }
}

#[test]
fn a_command_runs_once_however_often_it_stands_in_the_log() {
    let mut shard = Shard::default();
    shard.add(1, "INCR n");
    shard.add(1, "incr n");
    shard.add(2, "INCR n");
    shard.add(1, "INCR n");
    shard.add(2, "INCRBY n 2");
    let replies = shard.apply();
    assert_eq!(replies[..4], [1, 1, 2, 1].map(Reply::Int));
    assert!(matches!(&replies[4], Reply::Error(why) if why.to_string().starts_with("ONCEMISMATCH ")));
    // An error is an outcome too, and its text is kept.
    shard.add(3, "SET s x");
    shard.add(4, "INCR s");
    shard.add(5, "SET s 1");
    shard.add(4, "INCR s");
    let texts: Vec<String> = shard.apply().iter().map(|reply| format!("{reply:?}")).collect();
    assert!(texts[1].contains("NotAnInteger") && texts[3].contains("not an integer"), "{texts:?}");
}

#[test]
fn a_transaction_runs_once_and_its_guards_are_looked_at_after_its_id() {
    let mut shard = Shard::default();
    shard.exec(1, &[], &["INCR n", "GET n"]);
    shard.exec(1, &[], &["INCR n", "GET n"]);
    let both = Reply::Array(vec![Reply::Int(1), Reply::bulk(b"1")]);
    assert_eq!(shard.apply(), [both.clone(), both.clone()]);
    let (bucket, revision) = shard.state.keyspace().watched(0, b"n");
    let seen = Watched { shard: ShardId(0), bucket, revision: revision - 1, dies_at: None };
    shard.exec(1, &[seen], &["INCR n", "GET n"]);
    shard.exec(2, &[seen], &["INCR n"]);
    shard.exec(2, &[], &["INCR n"]);
    assert_eq!(shard.apply(), [both, Reply::NilArray, Reply::NilArray], "an aborted one is an outcome");
    shard.exec(1, &[], &["INCR n"]);
    shard.add(1, "INCR n");
    for reply in shard.apply() {
        assert!(matches!(&reply, Reply::Error(why) if why.to_string().starts_with("ONCEMISMATCH ")), "{reply:?}");
    }
}
