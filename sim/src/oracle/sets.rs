//! The model's sets.

use super::{Content, Held, Model, count, error, integer, not_an_integer, wrong_type};
use crate::answer::{Answer, Expected, Rows, Wanted};

/// Its plain form.
pub type Set = std::collections::BTreeSet<Vec<u8>>;

/// Commands of one set, which is their first key.
const OF_A_SET: &[&str] =
    &["sadd", "srem", "smembers", "sismember", "smismember", "scard", "spop", "srandmember", "sscan"];

/// Commands of several.
const OF_SETS: &[&str] = &["sinter", "sinterstore", "sintercard", "sunion", "sunionstore", "sdiff", "sdiffstore"];

impl Model {
    /// A command of sets; nothing if it is none. `told` is what a copy of the shard answered: SPOP chooses by chance, and the
    /// model follows if it was there to choose.
    pub(super) fn set_of(
        &mut self,
        name: &str,
        now: u64,
        db: u8,
        words: &[&[u8]],
        told: Option<&Answer>,
    ) -> Option<Expected> {
        if OF_SETS.contains(&name) {
            return Some(self.algebra(name, now, db, words));
        }
        if name == "smove" {
            return Some(Expected::Is(self.smove(now, db, words)));
        }
        if !OF_A_SET.contains(&name) {
            return None;
        }
        if let Some(answer) = refused(name, words) {
            return Some(Expected::Is(answer));
        }
        let held = self.get(db, words[1], now).cloned();
        let Ok(set) = members(held.as_ref()) else { return Some(Expected::Is(wrong_type())) };
        if let Some(expected) = read(name, &set, words) {
            return Some(expected);
        }
        let mut changed = set.clone();
        let expected = change(name, &mut changed, words, told);
        if changed != set {
            self.put(db, words[1], Content::Set(changed), held.and_then(|held| held.dies_at));
        }
        Some(expected)
    }

    fn smove(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let [from, to, member] = [words[1], words[2], words[3]];
        let Some(source) = self.get(db, from, now).cloned() else { return Answer::Int(0) };
        let target = self.get(db, to, now).cloned();
        let (Ok(mut left), Ok(mut right)) = (members(Some(&source)), members(target.as_ref())) else {
            return wrong_type();
        };
        if from == to || !left.contains(member) {
            return Answer::Int(i64::from(left.contains(member)));
        }
        left.remove(member);
        right.insert(member.to_vec());
        self.put(db, from, Content::Set(left), source.dies_at);
        self.put(db, to, Content::Set(right), target.and_then(|target| target.dies_at));
        Answer::Int(1)
    }

    /// SINTER, SUNION, SDIFF and what stores or counts them.
    fn algebra(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Expected {
        let stores = name.ends_with("store");
        let (keys, limit) = match name {
            "sintercard" => match counted(words) {
                Ok(asked) => asked,
                Err(text) => return Expected::Is(error(text)),
            },
            _ => (&words[if stores { 2 } else { 1 }..], usize::MAX),
        };
        let mut sets = Vec::new();
        for key in keys {
            let Ok(set) = members(self.get(db, key, now)) else { return Expected::Is(wrong_type()) };
            sets.push(set);
        }
        let others = &sets[1..];
        let result: Set = match name {
            "sinter" | "sinterstore" | "sintercard" => {
                sets[0].iter().filter(|one| others.iter().all(|set| set.contains(*one))).cloned().collect()
            }
            "sunion" | "sunionstore" => sets.iter().flatten().cloned().collect(),
            _ => sets[0].iter().filter(|one| !others.iter().any(|set| set.contains(*one))).cloned().collect(),
        };
        if stores {
            let answer = count(result.len());
            self.put(db, words[1], Content::Set(result), None);
            return Expected::Is(answer);
        }
        if name == "sintercard" {
            return Expected::Is(count(result.len().min(limit)));
        }
        Expected::Rows(Rows { rows: rows(&result), wanted: Wanted::All })
    }
}

/// The members of what a key holds, if that is a set or nothing.
fn members(held: Option<&Held>) -> Result<Set, ()> {
    match held.map(|held| &held.value) {
        None => Ok(Set::new()),
        Some(Content::Set(set)) => Ok(set.clone()),
        Some(_) => Err(()),
    }
}

/// The keys of SINTERCARD and its limit.
fn counted<'a, 'b>(words: &'a [&'b [u8]]) -> Result<(&'a [&'b [u8]], usize), &'static str> {
    let Some(n @ 1..) = integer(words[1]) else { return Err("ERR numkeys should be greater than 0") };
    let n = usize::try_from(n).expect("it is above zero");
    if n > words.len() - 2 {
        return Err("ERR Number of keys can't be greater than number of args");
    }
    let mut limit = 0;
    for option in words[2 + n..].chunks(2) {
        if option.len() < 2 || !option[0].eq_ignore_ascii_case(b"limit") {
            return Err("ERR syntax error");
        }
        match integer(option[1]).map(usize::try_from) {
            Some(Ok(number)) => limit = number,
            _ => return Err("ERR LIMIT can't be negative"),
        }
    }
    Ok((&words[2..2 + n], if limit == 0 { usize::MAX } else { limit }))
}

/// What is refused whatever the key holds.
fn refused(name: &str, words: &[&[u8]]) -> Option<Answer> {
    let number = words.get(2).map(|word| integer(word));
    match (name, number) {
        ("spop" | "srandmember", _) if words.len() > 3 => Some(error("ERR syntax error")),
        ("spop", Some(n)) if n.is_none_or(|n| n < 0) => Some(error("ERR value is out of range, must be positive")),
        ("srandmember", Some(None)) => Some(not_an_integer()),
        _ => None,
    }
}

fn read(name: &str, set: &Set, words: &[&[u8]]) -> Option<Expected> {
    let there = |member: &&[u8]| Answer::Int(i64::from(set.contains(*member)));
    Some(Expected::Is(match name {
        "sismember" => there(&words[2]),
        "smismember" => Answer::Array(words[2..].iter().map(there).collect()),
        "scard" => count(set.len()),
        "smembers" => return Some(Expected::Rows(Rows { rows: rows(set), wanted: Wanted::All })),
        "srandmember" => return Some(draws(rows(set), words.get(2).copied())),
        "sscan" => return Some(page(rows(set), &words[3..])),
        _ => return None,
    }))
}

fn change(name: &str, set: &mut Set, words: &[&[u8]], told: Option<&Answer>) -> Expected {
    Expected::Is(match name {
        "sadd" => count(words[2..].iter().filter(|member| set.insert(member.to_vec())).count()),
        "srem" => count(words[2..].iter().filter(|member| set.remove(**member)).count()),
        _ => return pop(set, words.get(2).copied(), told),
    })
}

/// Takes out what the shard took, if that was in the set and as many as were asked for.
fn pop(set: &mut Set, asked: Option<&[u8]>, told: Option<&Answer>) -> Expected {
    let told = told.expect("a write is told with its answer");
    let wanted = draws(rows(&*set), asked);
    if !wanted.allows(told) {
        return wanted;
    }
    let taken = if let Answer::Array(parts) = told { parts.as_slice() } else { std::slice::from_ref(told) };
    for one in taken {
        if let Answer::Bulk(member) = one {
            set.remove(member);
        }
    }
    Expected::Is(told.clone())
}

/// One word for each row.
pub(super) fn rows<'a>(words: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<Vec<Vec<u8>>> {
    words.into_iter().map(|word| vec![word.clone()]).collect()
}

/// Rows by chance: one, or so many different ones, or if the number is negative, so many draws.
pub(super) fn draws(rows: Vec<Vec<Vec<u8>>>, asked: Option<&[u8]>) -> Expected {
    let Some(number) = asked else {
        return Expected::KeyOf(rows.into_iter().map(|mut row| row.swap_remove(0)).collect());
    };
    let number = integer(number).expect("it was looked at");
    let count = usize::try_from(number.unsigned_abs()).expect("the workload draws few");
    let wanted = match (number, rows.is_empty()) {
        (_, true) => Wanted::Draws(0),
        (0.., _) => Wanted::Different(count.min(rows.len())),
        _ => Wanted::Draws(count),
    };
    Expected::Rows(Rows { rows, wanted })
}

/// Some of the rows behind a cursor; the options are looked at where there is something.
pub(super) fn page(rows: Vec<Vec<Vec<u8>>>, options: &[&[u8]]) -> Expected {
    let bad = |option: &[&[u8]]| option[0].eq_ignore_ascii_case(b"count") && integer(option[1]).is_none_or(|n| n < 1);
    if !rows.is_empty() && options.chunks(2).any(bad) {
        return Expected::Is(error("ERR syntax error"));
    }
    Expected::Rows(Rows { rows, wanted: Wanted::Page })
}
