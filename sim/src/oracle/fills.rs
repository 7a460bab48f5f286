//! The model's caches that are filled once: who has the task, what is remembered of old values, and that no token comes twice.

use super::{Content, Model, error, integer, not_an_integer, wrong_type};
use crate::answer::{Answer, Expected};
use crate::oracle::Asked;
use std::collections::{BTreeMap, BTreeSet};

type Key = (u8, Vec<u8>);

/// What is known beside keys and values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fills {
    tasks: BTreeMap<Key, Task>,
    /// For how long the values of live keys are kept after their death.
    keeps: BTreeMap<Key, u64>,
    old: BTreeMap<Key, Old>,
    /// Keys of which it is known that there is nothing, and until when.
    nothing: BTreeMap<Key, u64>,
    /// Every token that was ever given.
    tokens: BTreeSet<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Task {
    token: i64,
    until: u64,
    ttl: u64,
    stale: u64,
}

#[derive(Clone, Debug)]
struct Old {
    value: Vec<u8>,
    died_at: u64,
    until: u64,
}

/// What GETFILL asks for; the workload asks for nothing that is refused but a time to live of 0.
#[derive(Clone, Copy, Debug)]
struct Call {
    ttl: u64,
    stale: u64,
    wait: u64,
    lease: u64,
}

impl Call {
    fn of(words: &[&[u8]]) -> Option<Self> {
        let ttl = u64::try_from(integer(words[2])?).ok().filter(|ttl| *ttl > 0)?;
        let mut call = Self { ttl, stale: 0, wait: 0, lease: 5_000 };
        for pair in words[3..].chunks(2) {
            let n = u64::try_from(integer(pair[1])?).ok()?;
            match pair[0] {
                b"STALE" => call.stale = n,
                b"WAIT" => call.wait = n,
                b"LEASE" => call.lease = n,
                _ => return None,
            }
        }
        Some(call)
    }
}

/// How long a call waits that may wait.
pub(super) fn wait_ms(asked: &Asked) -> Option<u64> {
    let words: Vec<&[u8]> = asked.words.iter().map(Vec::as_slice).collect();
    Call::of(&words).map(|call| call.wait).filter(|ms| *ms > 0)
}

impl Model {
    /// GETFILL or FILL; nothing if it is neither. Which token is given is the shard's to say, but never one that was given before.
    pub(super) fn fills(
        &mut self,
        name: &str,
        now: u64,
        db: u8,
        words: &[&[u8]],
        told: Option<&Answer>,
    ) -> Option<Expected> {
        let answer = match name {
            "getfill" => self.getfill(now, db, words, told),
            "fill" => self.fill(now, db, words),
            _ => return None,
        };
        Some(Expected::Is(answer))
    }

    fn getfill(&mut self, now: u64, db: u8, words: &[&[u8]], told: Option<&Answer>) -> Answer {
        let name: Key = (db, words[1].to_vec());
        if integer(words[2]).is_none() {
            return not_an_integer();
        }
        let Some(call) = Call::of(words) else { return error("ERR invalid expire time in 'getfill' command") };
        if let Some(held) = self.get(db, words[1], now) {
            let Content::Str(value) = &held.value else { return wrong_type() };
            let left = held.dies_at.map_or(-1, |at| number(at - now));
            return got("HIT", Answer::bulk(value), left);
        }
        if let Some(until) = self.fills.nothing.get(&name).filter(|until| **until > now) {
            return got("NOTHING", Answer::Nil, number(until - now));
        }
        let old = self.fills.old.get(&name).filter(|old| old.until > now && now < old.died_at + call.stale);
        let old = old.map(|old| Answer::bulk(&old.value));
        if let Some(task) = self.fills.tasks.get(&name).filter(|task| task.until > now) {
            let left = number(task.until - now);
            return match old {
                Some(old) => got("STALE", old, left),
                None if call.wait > 0 => Answer::NilArray,
                None => got("FILLING", Answer::Nil, left),
            };
        }
        let Some(token) = told.and_then(given) else { return got("FILL", Answer::Nil, -1) };
        assert!(
            self.fills.tokens.insert(token),
            "no_token_is_given_twice: {token} for {}",
            String::from_utf8_lossy(words[1])
        );
        self.fills.tasks.insert(name, Task { token, until: now + call.lease, ttl: call.ttl, stale: call.stale });
        got("FILL", old.unwrap_or(Answer::Nil), token)
    }

    fn fill(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let name: Key = (db, words[1].to_vec());
        let token = integer(words[2]).expect("the workload sends numbers");
        let task = self.fills.tasks.get(&name).filter(|task| task.until > now && task.token == token);
        let Some(task) = task.copied() else { return error(&lost(words)) };
        match words.get(4) {
            Some(&b"ABANDON") => drop(self.fills.tasks.remove(&name)),
            Some(&b"NOTHING") => {
                self.forget_fills(db, words[1]);
                self.fills.nothing.insert(name, now + task.ttl);
            }
            _ => {
                self.set(db, words[1], words[3], Some(now + task.ttl));
                if task.stale > 0 {
                    self.fills.keeps.insert(name, task.stale);
                }
            }
        }
        Answer::ok()
    }

    /// What stands where a key was goes.
    pub(super) fn forget_outliving(&mut self, db: u8, key: &[u8]) {
        self.fills.old.remove(&(db, key.to_vec()));
        self.fills.nothing.remove(&(db, key.to_vec()));
    }

    /// Whoever changes a key, or removes it even if it isn't there, ends all that.
    pub(super) fn forget_fills(&mut self, db: u8, key: &[u8]) {
        let name: Key = (db, key.to_vec());
        let Fills { tasks, keeps, old, nothing, .. } = &mut self.fills;
        tasks.remove(&name);
        keeps.remove(&name);
        old.remove(&name);
        nothing.remove(&name);
    }

    pub(super) fn forget_all_fills(&mut self, of: u8) {
        let Fills { tasks, keeps, old, nothing, .. } = &mut self.fills;
        tasks.retain(|(db, _), _| *db != of);
        keeps.retain(|(db, _), _| *db != of);
        old.retain(|(db, _), _| *db != of);
        nothing.retain(|(db, _), _| *db != of);
    }

    /// How long a key's value is to be kept after its death: a new expiry and a copy leave that as it is.
    pub(super) fn keeps(&self, db: u8, key: &[u8]) -> Option<u64> {
        self.fills.keeps.get(&(db, key.to_vec())).copied()
    }

    pub(super) fn set_keeps(&mut self, db: u8, key: &[u8], keeps: Option<u64>) {
        if let Some(ms) = keeps.filter(|_| self.keys.contains_key(&(db, key.to_vec()))) {
            self.fills.keeps.insert((db, key.to_vec()), ms);
        }
    }

    /// A key has died, with what it held.
    pub(super) fn outlive(&mut self, (db, key): &Key, value: &Content, died_at: u64, keeps: Option<u64>) {
        let until = died_at + keeps.unwrap_or(0);
        if let (Content::Str(value), true) = (value, until > self.stamp()) {
            self.fills.old.insert((*db, key.clone()), Old { value: value.clone(), died_at, until });
        }
    }

    /// True if a call that waits for a key would find something there, or a task.
    pub(super) fn waits_in_vain_to_fill(&self, db: u8, key: &[u8]) -> bool {
        let task = self.fills.tasks.get(&(db, key.to_vec()));
        let filling = task.is_some_and(|task| task.until > self.stamp());
        let nothing = self.fills.nothing.get(&(db, key.to_vec())).is_some_and(|until| *until > self.stamp());
        self.get(db, key, self.stamp()).is_some() || nothing || !filling
    }
}

/// The token of an answer that gives one.
fn given(answer: &Answer) -> Option<i64> {
    let Answer::Array(parts) = answer else { return None };
    match parts.as_slice() {
        [Answer::Bulk(what), _, Answer::Int(token)] if what == b"FILL" => Some(*token),
        _ => None,
    }
}

fn got(what: &str, value: Answer, number: i64) -> Answer {
    Answer::Array(vec![Answer::bulk(what.as_bytes()), value, Answer::Int(number)])
}

fn number(n: u64) -> i64 {
    i64::try_from(n).expect("times fit 63 bits")
}

fn lost(words: &[&[u8]]) -> String {
    let (key, token) = (String::from_utf8_lossy(words[1]), String::from_utf8_lossy(words[2]));
    format!(
        "LOST the token {token} of '{key}' doesn't hold: its time is over, another one has filled the key, or the key was \
         changed since; nothing was changed; ask again by GETFILL"
    )
}
