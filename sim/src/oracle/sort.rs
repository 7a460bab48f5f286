//! The model's SORT.

use super::{Content, Model, count, error, integer, not_an_integer, wrong_type};
use crate::answer::{Answer, Expected, Rows, Wanted};
use std::cmp::Ordering;

/// What was asked.
#[derive(Default)]
struct Asked {
    by: Option<String>,
    unsorted: bool,
    down: bool,
    alpha: bool,
    limit: Option<(i64, i64)>,
    gets: Vec<String>,
    store: Option<Vec<u8>>,
}

impl Asked {
    fn read(words: &[&[u8]]) -> Result<Self, Answer> {
        let readonly = words[0].eq_ignore_ascii_case(b"sort_ro");
        let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
        let mut asked = Self::default();
        let mut rest = words[2..].iter();
        while let Some(word) = rest.next() {
            let mut next = || rest.next().copied().ok_or_else(|| error("ERR syntax error"));
            match text(word).to_ascii_lowercase().as_str() {
                "asc" => asked.down = false,
                "desc" => asked.down = true,
                "alpha" => asked.alpha = true,
                "limit" => {
                    let (start, most) = (next()?, next()?);
                    let number = |word: &[u8]| integer(word).ok_or_else(not_an_integer);
                    asked.limit = Some((number(start)?, number(most)?));
                }
                "by" => {
                    let pattern = text(next()?);
                    asked.unsorted |= !pattern.contains('*');
                    asked.by = Some(pattern);
                }
                "get" => asked.gets.push(text(next()?)),
                "store" if !readonly => asked.store = Some(next()?.to_vec()),
                _ => return Err(error("ERR syntax error")),
            }
        }
        Ok(asked)
    }

    fn limited<T>(&self, members: Vec<T>) -> Vec<T> {
        let Some((start, most)) = self.limit else { return members };
        let skipped = usize::try_from(start.max(0)).expect("64 bits");
        members.into_iter().skip(skipped).take(usize::try_from(most).unwrap_or(usize::MAX)).collect()
    }
}

impl Model {
    /// SORT and SORT_RO; nothing for another command.
    pub(super) fn sort(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Expected> {
        if name != "sort" && name != "sort_ro" {
            return None;
        }
        Some(self.sorted(now, db, words).unwrap_or_else(Expected::Is))
    }

    fn sorted(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Result<Expected, Answer> {
        let mut asked = Asked::read(words)?;
        let (members, is_set) = match self.get(db, words[1], now).map(|held| &held.value) {
            None => (Vec::new(), false),
            Some(Content::List(list)) => (list.iter().cloned().collect(), false),
            Some(Content::Set(set)) => (set.iter().cloned().collect(), true),
            Some(Content::Zset(zset)) => {
                let mut members: Vec<(&Vec<u8>, &f64)> = zset.iter().collect();
                members.sort_by(|a, b| a.1.partial_cmp(b.1).expect("a score is a number"));
                (members.into_iter().map(|(member, _)| member.clone()).collect::<Vec<_>>(), false)
            }
            Some(_) => return Err(wrong_type()),
        };
        if asked.unsorted && is_set && asked.store.is_some() {
            (asked.unsorted, asked.by, asked.alpha) = (false, None, true);
        }
        // Sets have no order of their own: where it shows through, any will do.
        if is_set && (asked.unsorted || (asked.alpha && asked.by.is_some())) {
            assert!(asked.gets.is_empty() && asked.store.is_none(), "the workload asks for what can be known");
            let len = asked.limited(members.iter().collect()).len();
            let rows = members.into_iter().map(|member| vec![member]).collect();
            return Ok(Expected::Rows(Rows { rows, wanted: Wanted::Different(len) }));
        }
        let ordered = self.ordered(now, db, &asked, members)?;
        let told: Vec<Answer> = asked
            .limited(ordered)
            .into_iter()
            .flat_map(|member| match asked.gets.as_slice() {
                [] => vec![Answer::Bulk(member)],
                gets => gets
                    .iter()
                    .map(|get| self.pointed_at(now, db, get, &member).map_or(Answer::Nil, Answer::Bulk))
                    .collect(),
            })
            .collect();
        let Some(to) = &asked.store else { return Ok(Expected::Is(Answer::Array(told))) };
        let list = told.iter().map(|one| if let Answer::Bulk(bytes) = one { bytes.clone() } else { Vec::new() });
        self.put(db, to, Content::List(list.collect()), None);
        Ok(Expected::Is(count(told.len())))
    }

    fn ordered(&self, now: u64, db: u8, asked: &Asked, mut members: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Answer> {
        if asked.unsorted {
            if asked.down {
                members.reverse();
            }
            return Ok(members);
        }
        let mut weighed = Vec::new();
        for member in members {
            let text = match &asked.by {
                None => Some(member.clone()),
                Some(by) => self.pointed_at(now, db, by, &member),
            };
            let number = if asked.alpha { 0.0 } else { weight(text.as_deref())? };
            weighed.push((member, text, number));
        }
        let order = |a: &(Vec<u8>, Option<Vec<u8>>, f64), b: &(Vec<u8>, Option<Vec<u8>>, f64)| -> Ordering {
            let order = if asked.alpha {
                a.1.cmp(&b.1)
            } else {
                a.2.partial_cmp(&b.2).expect("a weight is a number").then(a.0.cmp(&b.0))
            };
            if asked.down { order.reverse() } else { order }
        };
        weighed.sort_by(order);
        Ok(weighed.into_iter().map(|(member, ..)| member).collect())
    }

    /// What a pattern of BY or GET finds for a member.
    fn pointed_at(&self, now: u64, db: u8, pattern: &str, member: &[u8]) -> Option<Vec<u8>> {
        if pattern == "#" {
            return Some(member.to_vec());
        }
        let (before, after) = pattern.split_once('*')?;
        let (after, field) = match after.split_once("->") {
            Some((after, field)) if !field.is_empty() => (after, Some(field)),
            _ => (after, None),
        };
        let key = [before.as_bytes(), member, after.as_bytes()].concat();
        match (&self.get(db, &key, now)?.value, field) {
            (Content::Str(bytes), None) => Some(bytes.clone()),
            (Content::Hash(hash), Some(field)) => hash.get(field.as_bytes()).cloned(),
            _ => None,
        }
    }
}

/// A number as C reads it, of those that the workload has: a zero byte, such as a bitmap has, ends the text.
fn weight(text: Option<&[u8]>) -> Result<f64, Answer> {
    let text = text.unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let number = if text.is_empty() { Ok(0.0) } else { text.trim_start().parse() };
    number.map_err(|_| error("ERR One or more scores can't be converted into double"))
}
