//! The model's hashes.

use super::sets::{draws, page, rows};
use super::strings::{rough_sum, sum};
use super::{Content, Model, count, error, integer, not_an_integer, wrong_type};
use crate::answer::{Answer, Expected, Rows, Wanted};

/// Its plain form.
pub type Hash = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

/// The commands.
const OF_A_HASH: &[&str] = &[
    "hset",
    "hsetnx",
    "hmset",
    "hget",
    "hmget",
    "hgetall",
    "hdel",
    "hlen",
    "hexists",
    "hkeys",
    "hvals",
    "hstrlen",
    "hincrby",
    "hincrbyfloat",
    "hrandfield",
    "hscan",
];

impl Model {
    /// A command of hashes; nothing if it is none.
    pub(super) fn hash(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Expected> {
        if !OF_A_HASH.contains(&name) {
            return None;
        }
        if let Some(answer) = refused(name, words) {
            return Some(Expected::Is(answer));
        }
        let held = self.get(db, words[1], now).cloned();
        let hash = match held.as_ref().map(|held| &held.value) {
            None => Hash::new(),
            Some(Content::Hash(hash)) => hash.clone(),
            Some(_) => return Some(Expected::Is(wrong_type())),
        };
        if let Some(expected) = whole(name, &hash, words) {
            return Some(expected);
        }
        if let Some(answer) = one(name, &hash, words) {
            return Some(Expected::Is(answer));
        }
        let mut changed = hash.clone();
        let (answer, is_change) = change(name, &mut changed, words);
        if is_change {
            self.put(db, words[1], Content::Hash(changed), held.and_then(|held| held.dies_at));
        }
        Some(Expected::Is(answer))
    }
}

/// What is refused whatever the key holds.
fn refused(name: &str, words: &[&[u8]]) -> Option<Answer> {
    match name {
        "hset" | "hmset" if words.len() % 2 == 1 => {
            Some(error(&format!("ERR wrong number of arguments for '{name}' command")))
        }
        "hincrby" if integer(words[3]).is_none() => Some(not_an_integer()),
        "hincrbyfloat" if sum(b"0", words[3]).or_else(|| rough_sum(b"0", words[3])).is_none() => {
            Some(error("ERR value is not a valid float"))
        }
        "hrandfield" if words.get(2).is_some_and(|count| integer(count).is_none()) => Some(not_an_integer()),
        _ => None,
    }
}

/// Reads of many fields.
fn whole(name: &str, hash: &Hash, words: &[&[u8]]) -> Option<Expected> {
    let all = |rows| Some(Expected::Rows(Rows { rows, wanted: Wanted::All }));
    let pairs = || hash.iter().map(|(field, value)| vec![field.clone(), value.clone()]).collect();
    match name {
        "hgetall" => all(pairs()),
        "hkeys" => all(rows(hash.keys())),
        "hvals" => all(rows(hash.values())),
        "hrandfield" => {
            let with_values = words.len() > 3;
            Some(draws(if with_values { pairs() } else { rows(hash.keys()) }, words.get(2).copied()))
        }
        "hscan" => Some(page(pairs(), &words[3..])),
        _ => None,
    }
}

/// Reads of fields by name.
fn one(name: &str, hash: &Hash, words: &[&[u8]]) -> Option<Answer> {
    let value = |field: &&[u8]| hash.get(*field).map_or(Answer::Nil, |value| Answer::bulk(value));
    Some(match name {
        "hget" => value(&words[2]),
        "hmget" => Answer::Array(words[2..].iter().map(value).collect()),
        "hlen" => count(hash.len()),
        "hexists" => Answer::Int(i64::from(hash.contains_key(words[2]))),
        "hstrlen" => count(hash.get(words[2]).map_or(0, Vec::len)),
        _ => return None,
    })
}

/// What is answered, and whether it counts as a change.
fn change(name: &str, hash: &mut Hash, words: &[&[u8]]) -> (Answer, bool) {
    match name {
        "hset" | "hmset" => {
            let before = hash.len();
            for pair in words[2..].chunks(2) {
                hash.insert(pair[0].to_vec(), pair[1].to_vec());
            }
            (if name == "hset" { count(hash.len() - before) } else { Answer::ok() }, true)
        }
        "hsetnx" => {
            let new = !hash.contains_key(words[2]);
            if new {
                hash.insert(words[2].to_vec(), words[3].to_vec());
            }
            (Answer::Int(i64::from(new)), new)
        }
        "hdel" => {
            let gone = words[2..].iter().filter(|field| hash.remove(**field).is_some()).count();
            (count(gone), gone > 0)
        }
        "hincrby" => {
            let by = integer(words[3]).expect("it was looked at");
            let Some(old) = hash.get(words[2]).map_or(Some(0), |old| integer(old)) else {
                return (error("ERR hash value is not an integer"), false);
            };
            let Some(new) = old.checked_add(by) else {
                return (error("ERR increment or decrement would overflow"), false);
            };
            hash.insert(words[2].to_vec(), new.to_string().into_bytes());
            (Answer::Int(new), true)
        }
        "hincrbyfloat" => {
            let old = hash.get(words[2]).map_or(b"0".to_vec(), Clone::clone);
            let Some(new) = sum(&old, words[3]).or_else(|| rough_sum(&old, words[3])) else {
                return (error("ERR hash value is not a float"), false);
            };
            hash.insert(words[2].to_vec(), new.clone().into_bytes());
            (Answer::bulk(new.as_bytes()), true)
        }
        other => unreachable!("the workload has no {other}"),
    }
}
