//! Unions, intersections and differences in the model.

use super::*;

/// The options behind the keys.
struct Options {
    weights: Vec<f64>,
    aggregate: String,
    scores: bool,
    limit: usize,
}

impl Model {
    /// A command of several sets; nothing if it is none.
    pub(super) fn combine(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Told> {
        let known = ["zunion", "zunionstore", "zinter", "zinterstore", "zintercard", "zdiff", "zdiffstore"];
        known.contains(&name).then(|| self.combined(name, now, db, words))
    }

    fn combined(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let stores = name.ends_with("store");
        let words = if stores { &words[1..] } else { words };
        let keys = integer(words[1]).ok_or_else(not_an_integer)?;
        if keys < 1 {
            return Err(error(&format!("ERR at least 1 input key is needed for '{name}' command")));
        }
        let keys = usize::try_from(keys).expect("it is above zero");
        if keys > words.len() - 2 {
            return Err(error("ERR syntax error"));
        }
        let mut sets = Vec::new();
        for key in &words[2..2 + keys] {
            sets.push(match self.get(db, key, now).map(|held| &held.value) {
                None => Zset::new(),
                Some(Content::Zset(zset)) => zset.clone(),
                Some(Content::Set(set)) => set.iter().map(|member| (member.clone(), 1.0)).collect(),
                Some(_) => return Err(wrong_type()),
            });
        }
        let options = Options::read(name, keys, &words[2 + keys..])?;
        let found = if name.starts_with("zdiff") { difference(&sets) } else { options.join(name, sets) };
        if stores {
            let answer = count(found.len());
            self.put(db, words[0], Content::Zset(found), None);
            return Ok(Expected::Is(answer));
        }
        if name == "zintercard" {
            return Ok(Expected::Is(count(found.len().min(options.limit))));
        }
        Ok(Expected::Is(Answer::Array(flat(&sorted(&found), options.scores))))
    }
}

fn difference(sets: &[Zset]) -> Zset {
    let mut left = sets[0].clone();
    left.retain(|member, _| !sets[1..].iter().any(|set| set.contains_key(member)));
    left
}

impl Options {
    fn read(name: &str, keys: usize, words: &[&[u8]]) -> Result<Self, Answer> {
        let (stores, counts, subtracts) = (name.ends_with("store"), name == "zintercard", name.starts_with("zdiff"));
        let mut options =
            Self { weights: vec![1.0; keys], aggregate: "sum".to_owned(), scores: false, limit: usize::MAX };
        let mut at = 0;
        while at < words.len() {
            let left = words.len() - at;
            match words[at].to_ascii_lowercase().as_slice() {
                b"weights" if !subtracts && !counts && left > keys => {
                    for (weight, word) in options.weights.iter_mut().zip(&words[at + 1..]) {
                        *weight = float(word).ok_or_else(|| error("ERR weight value is not a float"))?;
                    }
                    at += keys + 1;
                }
                b"aggregate" if !subtracts && !counts && left > 1 => {
                    options.aggregate = String::from_utf8_lossy(words[at + 1]).to_ascii_lowercase();
                    if !["sum", "min", "max"].contains(&options.aggregate.as_str()) {
                        return Err(error("ERR syntax error"));
                    }
                    at += 2;
                }
                b"withscores" if !stores && !counts => {
                    options.scores = true;
                    at += 1;
                }
                b"limit" if counts && left > 1 => {
                    let limit = integer(words[at + 1]).and_then(|limit| usize::try_from(limit).ok());
                    let limit = limit.ok_or_else(|| error("ERR LIMIT can't be negative"))?;
                    options.limit = if limit == 0 { usize::MAX } else { limit };
                    at += 2;
                }
                _ => return Err(error("ERR syntax error")),
            }
        }
        Ok(options)
    }

    /// The union or the intersection; the smallest sets come first, which shows in the last digits of sums.
    fn join(&self, name: &str, sets: Vec<Zset>) -> Zset {
        let mut weighed: Vec<(Zset, f64)> = sets.into_iter().zip(self.weights.iter().copied()).collect();
        weighed.sort_by_key(|(set, _)| set.len());
        let number = |score: f64| if score.is_nan() { 0.0 } else { score };
        let mut found = Zset::new();
        for (set, _) in &weighed {
            for member in set.keys() {
                let scores: Vec<f64> =
                    weighed.iter().filter_map(|(set, weight)| set.get(member).map(|score| score * weight)).collect();
                if name.starts_with("zinter") && scores.len() < weighed.len() {
                    continue;
                }
                let whole = scores.into_iter().reduce(|whole, score| match self.aggregate.as_str() {
                    "sum" => number(number(whole) + score),
                    "min" => number(whole).min(score),
                    _ => number(whole).max(score),
                });
                found.insert(member.clone(), number(whole.expect("a set has it")));
            }
        }
        found
    }
}
