//! The model's commands about keys of any type.

use super::strings::BadDeadline;
use super::{Model, count, error, integer, not_an_integer};
use crate::answer::Answer;

impl Model {
    /// A command about keys.
    pub(super) fn generic(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let key = words.get(1).copied().unwrap_or_default();
        let held = self.get(db, key, now).cloned();
        match name {
            "del" | "unlink" => count(words[1..].iter().filter(|key| self.remove(db, key)).count()),
            "exists" | "touch" => count(words[1..].iter().filter(|key| self.get(db, key, now).is_some()).count()),
            "type" => Answer::Simple(held.map_or("none", |held| held.value.type_name()).to_owned()),
            "ttl" | "pttl" | "expiretime" | "pexpiretime" => {
                let Some(held) = held else { return Answer::Int(-2) };
                let Some(at) = held.dies_at else { return Answer::Int(-1) };
                let ms = if name.ends_with("time") { at } else { at - now };
                let shown = if name.starts_with('p') { ms } else { (ms + 500) / 1000 };
                Answer::Int(i64::try_from(shown).expect("deadlines fit 63 bits"))
            }
            "persist" => {
                let Some(held) = held.filter(|held| held.dies_at.is_some()) else { return Answer::Int(0) };
                let keeps = self.keeps(db, key);
                self.put(db, key, held.value, None);
                self.set_keeps(db, key, keeps);
                Answer::Int(1)
            }
            "expire" | "pexpire" | "expireat" | "pexpireat" => self.do_expire(name, now, db, words),
            "rename" | "renamenx" => {
                let Some(held) = held else { return error("ERR no such key") };
                if name == "renamenx" && self.get(db, words[2], now).is_some() {
                    return Answer::Int(0);
                }
                if key != words[2] {
                    let keeps = self.keeps(db, key);
                    self.put(db, words[2], held.value.clone(), held.dies_at);
                    self.set_keeps(db, words[2], keeps);
                    self.remove(db, key);
                }
                if name == "renamenx" { Answer::Int(1) } else { Answer::ok() }
            }
            "copy" => self.do_copy(now, db, words),
            "move" => {
                let Some(to) = database(words[2]) else { return error("ERR DB index is out of range") };
                if to == db {
                    return error("ERR source and destination objects are the same");
                }
                let Some(held) = held.filter(|_| self.get(to, key, now).is_none()) else { return Answer::Int(0) };
                let keeps = self.keeps(db, key);
                self.put(to, key, held.value.clone(), held.dies_at);
                self.set_keeps(to, key, keeps);
                self.remove(db, key);
                Answer::Int(1)
            }
            other => unreachable!("the workload has no {other}"),
        }
    }

    fn do_expire(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let options: Vec<Vec<u8>> = words[3..].iter().map(|word| word.to_ascii_lowercase()).collect();
        let has = |option: &[u8]| options.iter().any(|one| one == option);
        if has(b"nx") && (has(b"xx") || has(b"gt") || has(b"lt")) {
            return error("ERR NX and XX, GT or LT options at the same time are not compatible");
        }
        if has(b"gt") && has(b"lt") {
            return error("ERR GT and LT options at the same time are not compatible");
        }
        let Some(n) = integer(words[2]) else { return not_an_integer() };
        let unit = if name.starts_with('p') { 1 } else { 1000 };
        let base = if name.ends_with("at") { 0 } else { i128::from(now) };
        let at = base + i128::from(n) * unit;
        if i64::try_from(at).is_err() {
            return BadDeadline::NoTime.for_command(name);
        }
        let Some(held) = self.get(db, words[1], now).cloned() else { return Answer::Int(0) };
        let former = held.dies_at.map(i128::from);
        let allowed = !(has(b"nx") && former.is_some()
            || has(b"xx") && former.is_none()
            || has(b"gt") && former.is_none_or(|former| at <= former)
            || has(b"lt") && former.is_some_and(|former| at >= former));
        if !allowed {
            return Answer::Int(0);
        }
        match u64::try_from(at) {
            Ok(at) if at > now => {
                let keeps = self.keeps(db, words[1]);
                self.put(db, words[1], held.value.clone(), Some(at));
                self.set_keeps(db, words[1], keeps);
            }
            _ => drop(self.remove(db, words[1])),
        }
        Answer::Int(1)
    }

    fn do_copy(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let (mut to, mut replace) = (db, false);
        let mut rest = words[3..].iter();
        while let Some(word) = rest.next() {
            if word.eq_ignore_ascii_case(b"replace") {
                replace = true;
            } else {
                match rest.next().and_then(|number| database(number)) {
                    Some(number) => to = number,
                    None => return error("ERR DB index is out of range"),
                }
            }
        }
        if to == db && words[1] == words[2] {
            return error("ERR source and destination objects are the same");
        }
        let Some(held) = self.get(db, words[1], now).cloned() else { return Answer::Int(0) };
        if self.get(to, words[2], now).is_some() && !replace {
            return Answer::Int(0);
        }
        let keeps = self.keeps(db, words[1]);
        self.put(to, words[2], held.value.clone(), held.dies_at);
        self.set_keeps(to, words[2], keeps);
        Answer::Int(1)
    }
}

fn database(number: &[u8]) -> Option<u8> {
    integer(number).and_then(|n| u8::try_from(n).ok()).filter(|db| *db < 16)
}
