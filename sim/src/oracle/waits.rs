//! The model's calls that wait: a plain list of who waits, looked through from the front for whatever has changed.

use super::fences::{Fences, bare, too_old};
use super::{Asked, Content, Model, error};
use crate::answer::{Answer, Expected};
use base::Instant;
use data::waits::WaitId;
use std::collections::{BTreeMap, BTreeSet};

/// A call that waits, or may.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub id: WaitId,
    pub client: u64,
    pub seq: u64,
    /// Without what stands before it.
    pub asked: Asked,
    pub fences: Fences,
    /// When it came, and the stamp at which its time is over.
    pub since: u64,
    pub until: Option<u64>,
    /// The same by the leader's own clock.
    pub due: Option<Instant>,
    /// Its client knows that its time is over: it only leaves the line with the next entry.
    pub told: bool,
}

/// Somebody was answered who waited.
#[derive(Clone, Debug)]
pub struct Served {
    pub client: u64,
    pub seq: u64,
    pub expected: Expected,
}

/// Those who wait, by when they came.
#[derive(Clone, Debug, Default)]
pub struct Line {
    waiting: Vec<Waiting>,
    /// Keys that changed and are waited for, in that order.
    changed: Vec<(u8, Vec<u8>)>,
}

/// How long a call waits, in milliseconds; nothing for one that doesn't, or is refused. 0 is without end.
#[must_use]
pub fn timeout_ms(asked: &Asked) -> Option<u64> {
    let asked = &bare(asked).asked;
    let words = &asked.words;
    let word = match asked.name().as_str() {
        "getfill" => return super::fills::wait_ms(asked),
        "blmpop" | "bzmpop" => words.get(1),
        "blpop" | "brpop" | "blmove" | "brpoplpush" | "bzpopmin" | "bzpopmax" => words.last(),
        "xreadgroup" => {
            let at = words.iter().position(|word| word.eq_ignore_ascii_case(b"block"))?;
            return String::from_utf8_lossy(words.get(at + 1)?).parse().ok();
        }
        _ => None,
    }?;
    seconds(word).ok()
}

/// What must stand at a key for those who wait there.
fn wants(asked: &Asked, content: &Content) -> bool {
    match asked.name().as_str() {
        "xreadgroup" => matches!(content, Content::Stream(_)),
        name if name.starts_with("bz") => matches!(content, Content::Zset(_)),
        _ => matches!(content, Content::List(_)),
    }
}

/// The consumer group of a call, if it has one.
fn group(asked: &Asked) -> Option<Vec<u8>> {
    is_of_group(asked).then(|| asked.words[2].clone())
}

fn is_of_group(asked: &Asked) -> bool {
    asked.name() == "xreadgroup"
}

fn seconds(word: &[u8]) -> Result<u64, Answer> {
    let number: Option<f64> = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
    let number = number.ok_or_else(|| error("ERR timeout is not a float or out of range"))?;
    if number < 0.0 {
        return Err(error("ERR timeout is negative"));
    }
    Ok(format!("{:.0}", (number * 1000.0).ceil()).parse().expect("the workload waits for seconds"))
}

/// The keys at which it waits.
fn keys(asked: &Asked) -> Vec<Vec<u8>> {
    let words = &asked.words;
    match asked.name().as_str() {
        "blpop" | "brpop" | "bzpopmin" | "bzpopmax" => words[1..words.len() - 1].to_vec(),
        "xreadgroup" => {
            let behind = words.iter().position(|word| word == b"STREAMS").expect("the workload spells it so") + 1;
            words[behind..behind + (words.len() - behind) / 2].to_vec()
        }
        "blmpop" | "bzmpop" => {
            let count: usize = String::from_utf8_lossy(&words[2]).parse().expect("it was not refused");
            words[3..3 + count].to_vec()
        }
        _ => vec![words[1].clone()],
    }
}

impl Model {
    /// A command of this family in its form that doesn't wait; nothing if it is none.
    pub(super) fn take_first(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Answer> {
        let answer = match name {
            "blpop" | "brpop" => self.pop_first(&name[1..], now, db, words),
            "blmove" => plain(self, now, db, &[b"lmove", words[1], words[2], words[3], words[4]], Some(words[5])),
            "brpoplpush" => plain(self, now, db, &[b"rpoplpush", words[1], words[2]], Some(words[3])),
            "blmpop" | "bzmpop" => {
                let mut mpop = vec![&words[0][1..]];
                mpop.extend_from_slice(&words[2..]);
                plain(self, now, db, &mpop, Some(words[1]))
            }
            "bzpopmin" | "bzpopmax" => self.zpop_first(&name[1..], now, db, words),
            _ => return None,
        };
        Some(answer.unwrap_or_else(|refused| refused))
    }

    fn pop_first(&mut self, pop: &str, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Answer> {
        let (timeout, keys) = words[1..].split_last().expect("the arity was checked");
        seconds(timeout)?;
        for key in keys {
            match plain(self, now, db, &[pop.as_bytes(), key], None)? {
                Answer::Nil => {}
                Answer::Error(text) => return Ok(Answer::Error(text)),
                member => return Ok(Answer::Array(vec![Answer::bulk(key), member])),
            }
        }
        Ok(Answer::NilArray)
    }

    fn zpop_first(&mut self, pop: &str, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Answer> {
        let (timeout, keys) = words[1..].split_last().expect("the arity was checked");
        seconds(timeout)?;
        for key in keys {
            match plain(self, now, db, &[pop.as_bytes(), key], None)? {
                Answer::Array(pair) if pair.is_empty() => {}
                Answer::Array(pair) => {
                    return Ok(Answer::Array([Answer::bulk(key)].into_iter().chain(pair).collect()));
                }
                refused => return Ok(refused),
            }
        }
        Ok(Answer::NilArray)
    }

    /// A call that may wait, in the current entry: what it must be answered now, if it is.
    pub fn ask(&mut self, waiting: Waiting, told: Option<&Answer>) -> Option<Expected> {
        let stamp = self.stamp();
        let expected = self.under(&waiting.fences, |model| model.take_effect(stamp, &waiting.asked, told));
        if !matches!(expected, Expected::Is(Answer::Nil | Answer::NilArray)) {
            return Some(expected);
        }
        if waiting.until.is_some_and(|until| until <= self.stamp()) {
            return Some(Expected::Is(Answer::NilArray));
        }
        self.line.waiting.push(waiting);
        self.line.waiting.sort_by_key(|one| one.since);
        None
    }

    /// Serves those who wait for what has changed, after an operation; `told` is what the shard told each.
    pub fn serve(&mut self, told: &BTreeMap<WaitId, Answer>) -> Vec<Served> {
        let mut served = self.serve_lists();
        let may_go = |model: &Self, one: &Waiting| {
            one.asked.name() == "getfill" && model.waits_in_vain_to_fill(one.asked.db, &one.asked.words[1])
        };
        while let Some(at) = self.line.waiting.iter().position(|one| may_go(self, one)) {
            let Waiting { id, client, seq, asked, .. } = self.line.waiting.remove(at);
            let expected = self.take_effect(self.stamp(), &asked, told.get(&id));
            served.push(Served { client, seq, expected });
        }
        served
    }

    fn serve_lists(&mut self) -> Vec<Served> {
        let mut served = Vec::new();
        while !self.line.changed.is_empty() {
            let (db, key) = self.line.changed.remove(0);
            let (mut at, mut dry) = (0, BTreeSet::new());
            while let Some(one) = self.line.waiting.get(at).cloned() {
                let here = one.asked.db == db && keys(&one.asked).contains(&key) && !dry.contains(&group(&one.asked));
                let expected = match here.then(|| self.stands(&one.asked, &key)) {
                    Some(true) if self.is_too_old(&one.fences) => Some(too_old()),
                    Some(true) => self.try_again(&one.asked, &key),
                    _ => None,
                };
                let Some(expected) = expected else {
                    // Those behind it who are of the same group are not looked at.
                    dry.extend(Some(group(&one.asked)).filter(|group| here && group.is_some()));
                    at += 1;
                    continue;
                };
                let Waiting { client, seq, .. } = self.line.waiting.remove(at);
                served.push(Served { client, seq, expected });
            }
            // What serving them did to this key has been looked at.
            self.line.changed.retain(|one| *one != (db, key.clone()));
        }
        served
    }

    /// True if something stands at a key that a call which waits is looked at for: of a group also that the key is gone.
    fn stands(&self, asked: &Asked, key: &[u8]) -> bool {
        is_of_group(asked) || self.get(asked.db, key, self.stamp()).is_some_and(|held| wants(asked, &held.value))
    }

    /// What a call that waits is answered now, for one of its keys; nothing if it waits on.
    fn try_again(&mut self, asked: &Asked, key: &[u8]) -> Option<Expected> {
        let now = self.stamp();
        if !self.get(asked.db, key, now).is_some_and(|held| wants(asked, &held.value)) {
            let gone = error("UNBLOCKED the stream key no longer exists");
            return is_of_group(asked).then_some(Expected::Is(gone));
        }
        match self.run(now, &narrowed(asked, key)) {
            Expected::Is(Answer::Nil | Answer::NilArray) => None,
            Expected::Is(Answer::Error(text)) if is_of_group(asked) && text.starts_with("NOGROUP") => {
                Some(Expected::Is(error("NOGROUP the consumer group this client was blocked on no longer exists")))
            }
            expected => Some(expected),
        }
    }

    /// A key has changed.
    pub(super) fn wake(&mut self, db: u8, key: &[u8]) {
        let content = self.get(db, key, self.stamp()).map(|held| &held.value);
        let cares = |asked: &Asked| is_of_group(asked) || content.is_some_and(|content| wants(asked, content));
        let waited = |one: &Waiting| {
            one.asked.db == db && keys(&one.asked).iter().any(|waited| waited == key) && cares(&one.asked)
        };
        if self.line.waiting.iter().any(waited) {
            let one = (db, key.to_vec());
            if !self.line.changed.contains(&one) {
                self.line.changed.push(one);
            }
        }
    }

    /// A database was emptied.
    pub(super) fn wake_groups(&mut self, db: u8) {
        let of_groups = self.line.waiting.iter().filter(|one| one.asked.db == db && is_of_group(&one.asked));
        let all: BTreeSet<Vec<u8>> = of_groups.flat_map(|one| keys(&one.asked)).collect();
        all.iter().for_each(|key| self.wake(db, key));
    }

    /// Those whose time is over leave the line; who has not been told is.
    pub fn time_out(&mut self) -> Vec<Served> {
        let now = self.stamp();
        let over = self.line.waiting.extract_if(.., |one| one.until.is_some_and(|until| until <= now));
        let untold = over.filter(|one| !one.told).collect::<Vec<_>>();
        let nil = Expected::Is(Answer::NilArray);
        untold.into_iter().map(|one| Served { client: one.client, seq: one.seq, expected: nil.clone() }).collect()
    }

    /// A client is let go, if it waits.
    pub fn let_go(&mut self, id: WaitId, expected: Expected) -> Option<Served> {
        let at = self.line.waiting.iter().position(|one| one.id == id)?;
        let one = self.line.waiting.remove(at);
        (!one.told).then_some(Served { client: one.client, seq: one.seq, expected })
    }

    /// Nobody waits any more.
    pub fn nobody_waits(&mut self) {
        self.line = Line::default();
    }

    /// Those who wait.
    pub fn waiting(&mut self) -> &mut Vec<Waiting> {
        &mut self.line.waiting
    }

    /// Who waits at which keys, the first first; those of whom the keys have something wait in vain.
    pub fn lines(&self) -> impl Iterator<Item = (&Waiting, bool)> {
        let in_vain = |one: &Waiting| {
            let db = one.asked.db;
            let served = |key: &Vec<u8>| match one.asked.name().as_str() {
                "getfill" => self.waits_in_vain_to_fill(db, key),
                _ => self.clone().try_again(&one.asked, key).is_some(),
            };
            keys(&one.asked).iter().any(served)
        };
        self.line.waiting.iter().map(move |one| (one, in_vain(one)))
    }
}

/// Another command in the place of this one, if its time is one.
fn plain(model: &mut Model, now: u64, db: u8, words: &[&[u8]], timeout: Option<&[u8]>) -> Result<Answer, Answer> {
    let name = String::from_utf8_lossy(words[0]).into_owned();
    // What else is wrong with a call comes before its time.
    let mut trial = model.clone();
    let answer = match trial.list(&name, now, db, words) {
        Some(answer) => answer,
        None => match trial.zset(&name, now, db, words) {
            Some(Expected::Is(answer)) => answer,
            other => panic!("{other:?} of {name}: it is for lists or sorted sets, and leaves nothing to chance"),
        },
    };
    if let (Some(timeout), false) = (timeout, is_about_the_call(&answer)) {
        seconds(timeout)?;
    }
    *model = trial;
    Ok(answer)
}

fn is_about_the_call(answer: &Answer) -> bool {
    matches!(answer, Answer::Error(text) if !text.starts_with("WRONGTYPE"))
}

/// The call for one of its keys.
fn narrowed(asked: &Asked, key: &[u8]) -> Asked {
    let words = &asked.words;
    let words = match asked.name().as_str() {
        "blpop" | "brpop" | "bzpopmin" | "bzpopmax" => {
            vec![words[0].clone(), key.to_vec(), words[words.len() - 1].clone()]
        }
        "xreadgroup" => {
            let (count, at) = (keys(asked).len(), keys(asked).iter().position(|one| one == key));
            let (first, at) = (words.len() - 2 * count, at.expect("it waits there"));
            let id = words[first + count + at].clone();
            words[..first].iter().cloned().chain([key.to_vec(), id]).collect()
        }
        "blmpop" | "bzmpop" => {
            let count = keys(asked).len();
            let head = [words[0].clone(), words[1].clone(), b"1".to_vec(), key.to_vec()];
            head.into_iter().chain(words[3 + count..].iter().cloned()).collect()
        }
        _ => words.clone(),
    };
    Asked { db: asked.db, words }
}
