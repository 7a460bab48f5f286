//! The model's strings.

use super::{Model, count, error, integer, not_an_integer, wrong_type};
use crate::answer::Answer;

/// Commands that want a string where anything is. SETs with GET want one too; MGET finds nothing in another type.
const OF_A_STRING: &[&str] = &[
    "get",
    "getset",
    "getdel",
    "getex",
    "append",
    "strlen",
    "incr",
    "decr",
    "incrby",
    "decrby",
    "incrbyfloat",
    "getrange",
    "substr",
    "setrange",
];

impl Model {
    /// A string command; nothing if it is none.
    pub(super) fn string(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Answer> {
        let key = words.get(1).copied().unwrap_or_default();
        if let Some(refused) = refused_before_its_type(name, words) {
            return Some(refused);
        }
        if OF_A_STRING.contains(&name) && self.get(db, key, now).is_some_and(|held| !held.value.is_string()) {
            return Some(wrong_type());
        }
        let value = |model: &Self| model.get(db, key, now).map(|held| held.value.bytes());
        let dies_at = |model: &Self| model.get(db, key, now).and_then(|held| held.dies_at);
        Some(match name {
            "get" => bulk_or_nil(value(self)),
            "set" => self.do_set(now, db, words),
            "setnx" => self.do_setnx(now, db, words),
            "setex" | "psetex" => self.do_setex(name, now, db, words),
            "getset" => {
                let old = bulk_or_nil(value(self));
                self.set(db, key, words[2], None);
                old
            }
            "getdel" => {
                let old = bulk_or_nil(value(self));
                self.remove(db, key);
                old
            }
            "getex" => self.do_getex(now, db, words),
            "mget" => Answer::Array(
                words[1..]
                    .iter()
                    .map(|key| {
                        bulk_or_nil(
                            self.get(db, key, now).filter(|held| held.value.is_string()).map(|held| held.value.bytes()),
                        )
                    })
                    .collect(),
            ),
            "mset" => {
                words[1..].chunks(2).for_each(|pair| self.set(db, pair[0], pair[1], None));
                Answer::ok()
            }
            "msetnx" => {
                let any = words[1..].chunks(2).any(|pair| self.get(db, pair[0], now).is_some());
                if !any {
                    words[1..].chunks(2).for_each(|pair| self.set(db, pair[0], pair[1], None));
                }
                Answer::Int(i64::from(!any))
            }
            "append" => {
                let mut whole = value(self).unwrap_or_default();
                whole.extend_from_slice(words[2]);
                self.set(db, key, &whole, dies_at(self));
                count(whole.len())
            }
            "strlen" => count(value(self).unwrap_or_default().len()),
            "incr" => self.add(now, db, key, Some(1)),
            "decr" => self.add(now, db, key, Some(-1)),
            "incrby" => self.add(now, db, key, integer(words[2])),
            "decrby" => self.add(now, db, key, integer(words[2]).map(|by| -by)),
            "incrbyfloat" => self.add_float(now, db, words),
            "getrange" | "substr" => part(&value(self).unwrap_or_default(), words),
            "setrange" => self.do_setrange(now, db, words),
            "lcs" => self.lcs(now, db, words),
            _ => return None,
        })
    }

    fn do_setex(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        match deadline(now, if name == "setex" { b"ex" } else { b"px" }, words[2]) {
            Ok(at) => {
                self.set(db, words[1], words[3], Some(at));
                Answer::ok()
            }
            Err(answer) => answer.for_command(name),
        }
    }

    fn do_set(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let (key, value) = (words[1], words[2]);
        let options: Vec<String> =
            words[3..].iter().map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).collect();
        let has = |option: &str| options.iter().any(|one| one == option);
        let held = self.get(db, key, now).cloned();
        let mut dies_at = if has("keepttl") { held.as_ref().and_then(|held| held.dies_at) } else { None };
        for (at, option) in options.iter().enumerate() {
            if matches!(option.as_str(), "ex" | "px" | "exat" | "pxat") {
                match deadline(now, option.as_bytes(), words[3 + at + 1]) {
                    Ok(deadline) => dies_at = Some(deadline),
                    Err(refused) => return refused.for_command("set"),
                }
            }
        }
        if has("get") && held.as_ref().is_some_and(|held| !held.value.is_string()) {
            return wrong_type();
        }
        let done = !(has("nx") && held.is_some() || has("xx") && held.is_none());
        if done {
            self.set(db, key, value, dies_at);
        }
        match (has("get"), done) {
            (true, _) => bulk_or_nil(held.map(|held| held.value.bytes())),
            (false, true) => Answer::ok(),
            (false, false) => Answer::Nil,
        }
    }

    fn do_setnx(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let free = self.get(db, words[1], now).is_none();
        if free {
            self.set(db, words[1], words[2], None);
        }
        Answer::Int(i64::from(free))
    }

    fn do_getex(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let Some(held) = self.get(db, words[1], now).cloned() else { return Answer::Nil };
        let mut change = None;
        if let Some(option) = words.get(2).map(|word| word.to_ascii_lowercase()) {
            change = Some(match option.as_slice() {
                b"persist" => None,
                unit => match deadline(now, unit, words[3]) {
                    Ok(at) => Some(at),
                    Err(refused) => return refused.for_command("getex"),
                },
            });
        }
        match change {
            Some(Some(at)) if at <= now => drop(self.remove(db, words[1])),
            Some(None) if held.dies_at.is_none() => {}
            Some(dies_at) => self.set(db, words[1], &held.value.bytes(), dies_at),
            None => {}
        }
        Answer::Bulk(held.value.bytes())
    }

    fn add(&mut self, now: u64, db: u8, key: &[u8], by: Option<i64>) -> Answer {
        let Some(by) = by else { return not_an_integer() };
        let held = self.get(db, key, now).cloned();
        let old = held.as_ref().map_or(Some(0), |held| integer(&held.value.bytes()));
        let Some(old) = old else { return not_an_integer() };
        let Some(new) = old.checked_add(by) else { return error("ERR increment or decrement would overflow") };
        self.set(db, key, new.to_string().as_bytes(), held.and_then(|held| held.dies_at));
        Answer::Int(new)
    }

    fn add_float(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let held = self.get(db, words[1], now).cloned();
        let old = held.as_ref().map_or(b"0".to_vec(), |held| held.value.bytes());
        let Some(text) = sum(&old, words[2]).or_else(|| rough_sum(&old, words[2])) else {
            return error("ERR value is not a valid float");
        };
        self.set(db, words[1], text.as_bytes(), held.and_then(|held| held.dies_at));
        Answer::bulk(text.as_bytes())
    }

    fn do_setrange(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let Some(offset) = integer(words[2]) else { return not_an_integer() };
        let Ok(offset) = usize::try_from(offset) else { return error("ERR offset is out of range") };
        let held = self.get(db, words[1], now).cloned();
        let mut value = held.as_ref().map_or(Vec::new(), |held| held.value.bytes());
        if words[3].is_empty() {
            return count(value.len());
        }
        while value.len() < offset + words[3].len() {
            value.push(0);
        }
        value[offset..offset + words[3].len()].copy_from_slice(words[3]);
        self.set(db, words[1], &value, held.and_then(|held| held.dies_at));
        count(value.len())
    }
}

/// Redis reads these numbers before it looks at the key.
fn refused_before_its_type(name: &str, words: &[&[u8]]) -> Option<Answer> {
    let numbers = match name {
        "incrby" | "decrby" | "setrange" => 2..3,
        "getrange" | "substr" => 2..4,
        _ => return None,
    };
    if words[numbers].iter().any(|word| integer(word).is_none()) {
        return Some(not_an_integer());
    }
    (name == "setrange" && words[2].starts_with(b"-")).then(|| error("ERR offset is out of range"))
}

/// Why an expiry was refused.
pub(super) enum BadDeadline {
    NoNumber,
    NoTime,
}

impl BadDeadline {
    pub(super) fn for_command(self, name: &str) -> Answer {
        match self {
            Self::NoNumber => not_an_integer(),
            Self::NoTime => error(&format!("ERR invalid expire time in '{name}' command")),
        }
    }
}

fn deadline(now: u64, unit: &[u8], number: &[u8]) -> Result<u64, BadDeadline> {
    let n = integer(number).ok_or(BadDeadline::NoNumber)?;
    if n <= 0 {
        return Err(BadDeadline::NoTime);
    }
    let ms = if unit.starts_with(b"e") { i128::from(n) * 1000 } else { i128::from(n) };
    let at = if unit.ends_with(b"at") { ms } else { i128::from(now) + ms };
    if at > i128::from(i64::MAX) {
        Err(BadDeadline::NoTime)
    } else {
        u64::try_from(at).map_err(|_| BadDeadline::NoTime)
    }
}

fn bulk_or_nil(value: Option<Vec<u8>>) -> Answer {
    value.map_or(Answer::Nil, Answer::Bulk)
}

fn part(value: &[u8], words: &[&[u8]]) -> Answer {
    let (Some(mut start), Some(mut end)) = (integer(words[2]), integer(words[3])) else { return not_an_integer() };
    let len = i64::try_from(value.len()).expect("models are small");
    if start < 0 && end < 0 && start > end {
        return Answer::bulk(b"");
    }
    // An end before the string counts as its first byte: Redis' own quirk, which clients see.
    for place in [&mut start, &mut end] {
        if *place < 0 {
            *place = (*place + len).max(0);
        }
    }
    let chosen = value.iter().zip(0..).filter(|(_, at)| (start..=end).contains(at)).map(|(byte, _)| *byte);
    Answer::Bulk(chosen.collect())
}

/// The sum of numbers with more digits than the paper has room for.
pub(super) fn rough_sum(a: &[u8], b: &[u8]) -> Option<String> {
    let number = |text: &[u8]| -> Option<f64> { std::str::from_utf8(text).ok()?.parse().ok() };
    let text = format!("{:.17}", number(a)? + number(b)?);
    Some(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// The sum of two decimals, digit by digit as on paper; the workload's numbers are small.
pub(super) fn sum(a: &[u8], b: &[u8]) -> Option<String> {
    const PLACES: usize = 17;
    let scaled = |text: &[u8]| -> Option<i128> {
        let text = std::str::from_utf8(text).ok()?;
        let digits = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = !digits.is_empty() && digits != "." && fraction.len() <= PLACES && whole.len() <= 20;
        if !plain || !format!("{whole}{fraction}").bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let joined: i128 = format!("0{whole}{fraction:0<PLACES$}").parse().ok()?;
        Some(if text.starts_with('-') { -joined } else { joined })
    };
    let total = scaled(a)? + scaled(b)?;
    let digits = format!("{:0>18}", total.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - PLACES);
    let fraction = fraction.trim_end_matches('0');
    let sign = if total < 0 { "-" } else { "" };
    Some(if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") })
}
