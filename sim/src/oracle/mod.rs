//! The slow and obvious model of one shard: a sorted map, and each command spelled out as Redis documents it.
//!
//! It shares no code with the shard. It is told the order in which commands took effect and the stamp of each, and says
//! what each must have answered.

mod bits;
mod content;
pub mod fences;
mod fills;
mod hashes;
mod keys;
mod lcs;
mod lists;
mod once;
pub mod payloads;
mod scripts;
mod sets;
mod sketches;
mod sort;
pub mod streams;
mod strings;
mod waits;
mod zsets;

use crate::answer::{Answer, Expected};
pub use content::Content;
use std::collections::{BTreeMap, BTreeSet};
pub use waits::{Served, Waiting, timeout_ms};

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) value: Content,
    pub(crate) dies_at: Option<u64>,
}

/// What WATCH saw of one key.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    pub shard: u16,
    bucket: u32,
    version: u64,
    dies_at: Option<u64>,
}

/// The keys of one shard.
#[derive(Clone, Debug, Default)]
pub struct Model {
    keys: BTreeMap<(u8, Vec<u8>), Held>,
    /// The stamp of the last entry.
    stamp: u64,
    /// How often keys of a WATCH bucket have changed.
    versions: BTreeMap<u32, u64>,
    flushes: u64,
    /// Which bucket a key belongs to: told by the shard, since a collision may abort an EXEC.
    buckets: BTreeMap<(u8, Vec<u8>), u32>,
    memory: once::Memory,
    fills: fills::Fills,
    floors: fences::Floors,
    line: waits::Line,
    /// Texts that were loaded.
    loaded: BTreeSet<String>,
}

/// A command as it was asked: its database and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub db: u8,
    pub words: Vec<Vec<u8>>,
}

impl Asked {
    /// The command's name in lower case.
    #[must_use]
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.words[0]).to_ascii_lowercase()
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}]", self.db)?;
        for word in &self.words {
            let shown = String::from_utf8_lossy(&word[..word.len().min(40)]);
            write!(f, " {}{}", shown.escape_debug(), if word.len() > 40 { ".." } else { "" })?;
        }
        Ok(())
    }
}

impl Model {
    /// Names the WATCH bucket of a key.
    pub fn name_bucket(&mut self, db: u8, key: &[u8], bucket: u32) {
        self.buckets.insert((db, key.to_vec()), bucket);
    }

    /// All live keys, their values and expiries, for comparison with the shard.
    pub fn live(&self) -> impl Iterator<Item = (u8, &[u8], &Content, Option<u64>)> {
        let living = self.keys.iter().filter(|(_, held)| held.dies_at.is_none_or(|at| at > self.stamp));
        living.map(|((db, key), held)| (*db, key.as_slice(), &held.value, held.dies_at))
    }

    /// An entry with this stamp takes effect: what is dead by then leaves.
    pub fn pass_time(&mut self, stamp: u64) {
        self.stamp = self.stamp.max(stamp);
        let dead = |held: &Held| held.dies_at.is_some_and(|at| at <= stamp);
        let gone: Vec<_> = self.keys.iter().filter(|(_, held)| dead(held)).map(|(key, _)| key.clone()).collect();
        for key in gone {
            let keeps = self.keeps(key.0, &key.1);
            let held = self.keys.remove(&key).expect("it was just there");
            self.changed(key.0, &key.1);
            self.outlive(&key, &held.value, held.dies_at.expect("it has died"), keeps);
        }
        self.forget(stamp);
    }

    /// The stamp of the last entry.
    #[must_use]
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// WATCH at time `now`.
    #[must_use]
    pub fn watch(&self, shard: u16, now: u64, asked: &Asked) -> Vec<Watch> {
        let seen = |key: &Vec<u8>| {
            let bucket = self.bucket(asked.db, key);
            let dies_at = self.get(asked.db, key, now).and_then(|held| held.dies_at);
            Watch { shard, bucket, version: self.version(bucket), dies_at }
        };
        asked.words[1..].iter().map(seen).collect()
    }

    /// EXEC at `now`, the current entry's stamp unless it only reads: what it must answer, after it has taken effect; `told` as in [`Model::take_effect`].
    pub fn exec(&mut self, now: u64, watches: &[Watch], commands: &[Asked], told: Option<&Answer>) -> Expected {
        let broken = |one: &Watch| self.version(one.bucket) != one.version || one.dies_at.is_some_and(|at| at <= now);
        if watches.iter().any(broken) {
            return Expected::Is(Answer::NilArray);
        }
        let is_told = matches!(told, Some(told) if scripts::ended().allows(told));
        if is_told && commands.iter().any(|asked| self.is_endless(asked)) {
            return scripts::ended();
        }
        let before = commands.iter().any(|asked| asked.name().starts_with("eval")).then(|| self.clone());
        let told = |at: usize| if let Some(Answer::Array(parts)) = told { parts.get(at) } else { None };
        let parts: Vec<Expected> =
            commands.iter().zip(0..).map(|(asked, at)| self.take_effect(now, asked, told(at))).collect();
        match before {
            // One script that is ended takes the whole transaction with it.
            Some(before) if parts.iter().any(scripts::is_ended) => {
                *self = before;
                scripts::ended()
            }
            _ => Expected::All(parts),
        }
    }

    /// One command at time `now`, which is the current entry's stamp unless the command is a read of its own.
    pub fn run(&mut self, now: u64, asked: &Asked) -> Expected {
        self.take_effect(now, asked, None)
    }

    /// The same where a copy of the shard has `told` its answer. Where a write leaves something to chance, the model follows
    /// what was told, if it may be so.
    pub fn take_effect(&mut self, now: u64, asked: &Asked, told: Option<&Answer>) -> Expected {
        let words: Vec<&[u8]> = asked.words.iter().map(Vec::as_slice).collect();
        let name = asked.name();
        if let Some(expected) = self.script(&name, now, asked) {
            return expected;
        }
        let answer = match name.as_str() {
            "once" | "fence" => return self.run_prefixed(now, asked, told),
            "fence.reset" => self.reset_floor(asked),
            "dbsize" => return self.dbsize(asked.db, now),
            "keys" => return Expected::Keys(self.names(asked.db, now)),
            "scan" => return Expected::PageOf(self.names(asked.db, now)),
            "randomkey" => return Expected::KeyOf(self.names(asked.db, now)),
            "flushdb" => self.flush(Some(asked.db)),
            "flushall" => self.flush(None),
            _ => {
                let members = self.hash(&name, now, asked.db, &words);
                let members = members.or_else(|| self.fills(&name, now, asked.db, &words, told));
                let members = members.or_else(|| self.set_of(&name, now, asked.db, &words, told));
                let members = members.or_else(|| self.payload(&name, now, asked.db, &words));
                let members = members.or_else(|| self.sort(&name, now, asked.db, &words));
                if let Some(expected) = members.or_else(|| self.zset(&name, now, asked.db, &words)) {
                    return expected;
                }
                let families = [Self::string, Self::list, Self::take_first, Self::stream, Self::bitmap, Self::sketch];
                let answer = families.iter().find_map(|family| family(self, &name, now, asked.db, &words));
                answer.unwrap_or_else(|| self.generic(&name, now, asked.db, &words))
            }
        };
        Expected::Is(answer)
    }

    fn get(&self, db: u8, key: &[u8], now: u64) -> Option<&Held> {
        self.keys.get(&(db, key.to_vec())).filter(|held| held.dies_at.is_none_or(|at| at > now))
    }

    fn set(&mut self, db: u8, key: &[u8], value: &[u8], dies_at: Option<u64>) {
        self.put(db, key, Content::Str(value.to_vec()), dies_at);
    }

    /// Puts a value of any type; an empty container removes its key.
    fn put(&mut self, db: u8, key: &[u8], value: Content, dies_at: Option<u64>) {
        if value.goes_when_empty() {
            self.remove(db, key);
            return;
        }
        self.keys.insert((db, key.to_vec()), Held { value, dies_at });
        self.changed(db, key);
    }

    fn remove(&mut self, db: u8, key: &[u8]) -> bool {
        // A key may have been given a deadline that had passed: it is there, and dead.
        let alive = self.get(db, key, self.stamp).is_some();
        if self.keys.remove(&(db, key.to_vec())).is_some() {
            self.changed(db, key);
        }
        self.forget_fills(db, key);
        alive
    }

    /// A key goes for want of memory: as if it were deleted.
    pub fn evict(&mut self, db: u8, key: &[u8]) {
        if self.keys.contains_key(&(db, key.to_vec())) {
            self.remove(db, key);
        } else {
            self.forget_outliving(db, key);
        }
    }

    fn changed(&mut self, db: u8, key: &[u8]) {
        *self.versions.entry(self.bucket(db, key)).or_default() += 1;
        self.wake(db, key);
        self.forget_fills(db, key);
    }

    fn bucket(&self, db: u8, key: &[u8]) -> u32 {
        *self.buckets.get(&(db, key.to_vec())).expect("the workload uses keys of its pool alone")
    }

    fn version(&self, bucket: u32) -> u64 {
        // A flush that removes anything counts as a change of every bucket.
        self.versions.get(&bucket).copied().unwrap_or(0) + (self.flushes << 32)
    }

    fn names(&self, db: u8, now: u64) -> BTreeSet<Vec<u8>> {
        let here = self.keys.keys().filter(|(of, key)| *of == db && self.get(db, key, now).is_some());
        here.map(|(_, key)| key.clone()).collect()
    }

    fn dbsize(&self, db: u8, now: u64) -> Expected {
        let count = |n: usize| i64::try_from(n).expect("models are small");
        let all = self.keys.keys().filter(|(of, _)| *of == db).count();
        Expected::Between(count(self.names(db, now).len()), count(all))
    }

    fn flush(&mut self, db: Option<u8>) -> Answer {
        for one in 0..16 {
            if db.is_some_and(|db| db != one) {
                continue;
            }
            let before = self.keys.len();
            self.keys.retain(|(of, _), _| *of != one);
            if self.keys.len() < before {
                self.flushes += 1;
                self.wake_groups(one);
            }
            self.forget_all_fills(one);
        }
        Answer::ok()
    }
}

pub(crate) fn error(text: &str) -> Answer {
    Answer::Error(text.to_owned())
}

pub(crate) fn wrong_type() -> Answer {
    error("WRONGTYPE Operation against a key holding the wrong kind of value")
}

pub(crate) fn not_an_integer() -> Answer {
    error("ERR value is not an integer or out of range")
}

/// A 64-bit integer as Redis spells it.
pub(crate) fn integer(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

pub(crate) fn count(n: usize) -> Answer {
    Answer::Int(i64::try_from(n).expect("models are small"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Asked {
        Asked { db: 0, words: text.split(' ').map(|word| word.as_bytes().to_vec()).collect() }
    }

    fn model() -> Model {
        let mut model = Model::default();
        for (bucket, key) in (0..).zip(["a", "b", "c"]) {
            model.name_bucket(0, key.as_bytes(), bucket);
        }
        model
    }

    fn is(answer: Answer) -> Expected {
        Expected::Is(answer)
    }

    #[test]
    fn the_model_answers_as_the_manual_says() {
        let mut model = model();
        model.pass_time(1000);
        assert_eq!(model.run(1000, &asked("SET a 5 PX 100")), is(Answer::ok()));
        assert_eq!(model.run(1000, &asked("INCRBY a 3")), is(Answer::Int(8)));
        assert_eq!(model.run(1000, &asked("PTTL a")), is(Answer::Int(100)));
        assert_eq!(model.run(1099, &asked("GET a")), is(Answer::bulk(b"8")));
        assert_eq!(model.run(1100, &asked("GET a")), is(Answer::Nil));
        model.pass_time(1100);
        assert_eq!(model.run(1100, &asked("SET a x NX GET")), is(Answer::Nil));
        assert_eq!(model.run(1100, &asked("RENAMENX a b")), is(Answer::Int(1)));
        assert_eq!(model.run(1100, &asked("EXISTS a b b")), is(Answer::Int(2)));
        assert_eq!(model.run(1100, &asked("SETRANGE b 3 yz")), is(Answer::Int(5)));
        assert_eq!(model.run(1100, &asked("GETRANGE b -2 -1")), is(Answer::bulk(b"yz")));
    }

    #[test]
    fn a_change_and_a_death_break_a_watch() {
        let mut model = model();
        model.pass_time(10);
        model.run(10, &asked("SET a 1 PX 5"));
        let watches = model.watch(0, 10, &asked("WATCH a"));
        assert!(matches!(model.exec(10, &watches, &[], None), Expected::All(_)));
        model.run(10, &asked("SET b 1"));
        assert!(matches!(model.exec(10, &watches, &[], None), Expected::All(_)));
        let other = model.watch(0, 10, &asked("WATCH b"));
        model.run(10, &asked("DEL b"));
        assert_eq!(model.exec(10, &other, &[], None), is(Answer::NilArray));
        model.pass_time(15);
        assert_eq!(model.exec(15, &watches, &[], None), is(Answer::NilArray));
    }
}
