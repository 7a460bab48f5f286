//! The model's sorted sets: a map from members to scores, sorted anew whenever an order is asked for.

mod combine;
mod geo;
mod range;

use super::sets::{draws, page};
use super::{Content, Held, Model, count, error, integer, not_an_integer, wrong_type};
use crate::answer::{Answer, Expected, Rows, Wanted};

/// Its plain form.
pub type Zset = std::collections::BTreeMap<Vec<u8>, f64>;

/// What a command answers, or why it is refused.
type Told = Result<Expected, Answer>;

impl Model {
    /// A command of sorted sets; nothing if it is none.
    pub(super) fn zset(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Expected> {
        let told = match name {
            "zadd" => self.zadd(now, db, words),
            "zincrby" => self.zadd(now, db, &[words[0], words[1], b"incr", words[2], words[3]]),
            "zrem" => self.zrem(now, db, words),
            "zpopmin" | "zpopmax" => self.zpop(name, now, db, words),
            "zmpop" => self.zmpop(now, db, words),
            "zcard" | "zscore" | "zmscore" | "zrank" | "zrevrank" => self.zlook(name, now, db, words),
            "zrandmember" | "zscan" => self.zwalk(name, now, db, words),
            _ if name.starts_with("geo") => self.geo(name, now, db, words)?,
            _ if name.contains("range") || name.ends_with("count") => self.zrange(name, now, db, words)?,
            _ if name.starts_with('z') => self.combine(name, now, db, words)?,
            _ => return None,
        };
        Some(told.unwrap_or_else(Expected::Is))
    }

    /// The sorted set at `key`, empty if there is none, and when it dies.
    fn zset_at(&self, now: u64, db: u8, key: &[u8]) -> Result<(Zset, Option<u64>), Answer> {
        match self.get(db, key, now) {
            None => Ok((Zset::new(), None)),
            Some(Held { value: Content::Zset(zset), dies_at }) => Ok((zset.clone(), *dies_at)),
            Some(_) => Err(wrong_type()),
        }
    }

    fn zadd(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let flags: Vec<String> = words[2..]
            .iter()
            .map(|word| String::from_utf8_lossy(word).to_ascii_lowercase())
            .take_while(|word| ["nx", "xx", "gt", "lt", "ch", "incr"].contains(&word.as_str()))
            .collect();
        let has = |flag: &str| flags.iter().any(|one| one == flag);
        let pairs = &words[2 + flags.len()..];
        if pairs.is_empty() || pairs.len() % 2 == 1 {
            return Err(error("ERR syntax error"));
        }
        if has("nx") && has("xx") {
            return Err(error("ERR XX and NX options at the same time are not compatible"));
        }
        if [has("nx"), has("gt"), has("lt")].iter().filter(|flag| **flag).count() > 1 {
            return Err(error("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if has("incr") && pairs.len() > 2 {
            return Err(error("ERR INCR option supports a single increment-element pair"));
        }
        let mut scored = Vec::new();
        for pair in pairs.chunks(2) {
            scored.push((float(pair[0]).ok_or_else(|| error("ERR value is not a valid float"))?, pair[1]));
        }
        let (mut zset, dies_at) = self.zset_at(now, db, words[1])?;
        let (mut added, mut updated, mut last) = (0, 0, Answer::Nil);
        for (score, member) in scored {
            let former = zset.get(member).copied();
            let new = if has("incr") { former.unwrap_or(0.0) + score } else { score };
            let barred = match former {
                None => has("xx"),
                Some(former) => has("nx") || (has("gt") && new <= former) || (has("lt") && new >= former),
            };
            if new.is_nan() && !has("nx") {
                return Err(error("ERR resulting score is not a number (NaN)"));
            }
            if barred {
                continue;
            }
            last = Answer::bulk(shown(new).as_bytes());
            added += usize::from(former.is_none());
            updated += usize::from(former.is_some_and(|former| former != new));
            zset.insert(member.to_vec(), new);
        }
        if added + updated > 0 {
            self.put(db, words[1], Content::Zset(zset), dies_at);
        }
        let counted = count(if has("ch") { added + updated } else { added });
        Ok(Expected::Is(if has("incr") { last } else { counted }))
    }

    fn zrem(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let (mut zset, dies_at) = self.zset_at(now, db, words[1])?;
        let taken = words[2..].iter().filter(|member| zset.remove(**member).is_some()).count();
        if taken > 0 {
            self.put(db, words[1], Content::Zset(zset), dies_at);
        }
        Ok(Expected::Is(count(taken)))
    }

    fn zpop(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let most = match words.get(2) {
            None => 1,
            Some(word) => integer(word)
                .and_then(|most| usize::try_from(most).ok())
                .ok_or_else(|| error("ERR value is out of range, must be positive"))?,
        };
        let taken = self.ztake(now, db, words[1], name == "zpopmax", most)?;
        Ok(Expected::Is(Answer::Array(flat(&taken, true))))
    }

    fn zmpop(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let positive = |word: &[u8], what: &str| {
            let number = integer(word).and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0);
            number.ok_or_else(|| error(&format!("ERR {what} should be greater than 0")))
        };
        let keys = positive(words[1], "numkeys")?;
        let end = words.get(2 + keys).map(|word| word.to_ascii_lowercase());
        let max = match end.as_deref() {
            Some(b"min") => false,
            Some(b"max") => true,
            _ => return Err(error("ERR syntax error")),
        };
        let most = words.get(4 + keys).map_or(Ok(1), |word| positive(word, "count"))?;
        for key in &words[2..2 + keys] {
            let taken = self.ztake(now, db, key, max, most)?;
            if !taken.is_empty() {
                let pairs = taken.chunks(1).map(|one| Answer::Array(flat(one, true))).collect();
                return Ok(Expected::Is(Answer::Array(vec![Answer::bulk(key), Answer::Array(pairs)])));
            }
        }
        Ok(Expected::Is(Answer::NilArray))
    }

    /// Takes members out at an end, the outermost first.
    fn ztake(&mut self, now: u64, db: u8, key: &[u8], max: bool, most: usize) -> Result<Vec<(Vec<u8>, f64)>, Answer> {
        let (mut zset, dies_at) = self.zset_at(now, db, key)?;
        let mut all = sorted(&zset);
        if max {
            all.reverse();
        }
        all.truncate(most);
        all.iter().for_each(|(member, _)| assert!(zset.remove(member).is_some()));
        if !all.is_empty() {
            self.put(db, key, Content::Zset(zset), dies_at);
        }
        Ok(all)
    }

    fn zlook(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let (zset, _) = self.zset_at(now, db, words[1])?;
        let score =
            |member: &&[u8]| zset.get(*member).map_or(Answer::Nil, |score| Answer::bulk(shown(*score).as_bytes()));
        let place = |max: bool| {
            let mut all = sorted(&zset);
            if max {
                all.reverse();
            }
            all.iter().position(|(member, _)| member == words[2]).map_or(Answer::Nil, count)
        };
        Ok(Expected::Is(match name {
            "zcard" => count(zset.len()),
            "zscore" => score(&words[2]),
            "zmscore" => Answer::Array(words[2..].iter().map(score).collect()),
            _ => place(name == "zrevrank"),
        }))
    }

    fn zwalk(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Told {
        if name == "zrandmember" && words.get(2).is_some_and(|word| integer(word).is_none()) {
            return Err(not_an_integer());
        }
        let (zset, _) = self.zset_at(now, db, words[1])?;
        let with_scores = name == "zscan" || words.len() > 3;
        let row = |(member, score): (&Vec<u8>, &f64)| {
            let score = with_scores.then(|| shown(*score).into_bytes());
            [member.clone()].into_iter().chain(score).collect()
        };
        let rows = zset.iter().map(row).collect();
        Ok(if name == "zscan" { page(rows, &words[3..]) } else { draws(rows, words.get(2).copied()) })
    }
}

/// The members by score, and by name where scores are equal.
fn sorted(zset: &Zset) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<(Vec<u8>, f64)> = zset.iter().map(|(member, score)| (member.clone(), *score)).collect();
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).expect("a score is a number").then_with(|| a.0.cmp(&b.0)));
    all
}

/// Members, with their scores behind them if wanted.
fn flat(found: &[(Vec<u8>, f64)], scores: bool) -> Vec<Answer> {
    let words = found.iter().flat_map(|(member, score)| {
        let score = scores.then(|| Answer::bulk(shown(*score).as_bytes()));
        [Answer::bulk(member)].into_iter().chain(score)
    });
    words.collect()
}

/// A score as the workload spells it.
fn float(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok().filter(|score: &f64| !score.is_nan())
}

/// A score as Redis prints it: with seventeen digits, without the zeros at their end.
fn shown(score: f64) -> String {
    if score.is_infinite() {
        return if score > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let stripped = |text: String| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    // As many digits behind the point as make seventeen in all.
    let rounded = format!("{score:.16e}");
    let (mantissa, power) = rounded.split_once('e').expect("an exponent was asked for");
    let power: i32 = power.parse().expect("it is a number");
    match power {
        16 => format!("{score:.0}"),
        -4..16 => stripped(format!("{score:.*}", usize::try_from(16 - power).expect("it is above zero"))),
        _ => format!("{}e{power:+03}", stripped(mantissa.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_shown_with_seventeen_digits() {
        for (score, text) in [
            (0.0, "0"),
            (3.0, "3"),
            (0.1, "0.10000000000000001"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (-1.5e-9, "-1.5e-09"),
            (0.0001, "0.0001"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(shown(score), text);
        }
    }
}
