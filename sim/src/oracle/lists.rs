//! The model's lists.

use super::{Content, Model, count, error, integer, not_an_integer, wrong_type};
use crate::answer::Answer;

/// Its plain form.
pub type List = std::collections::VecDeque<Vec<u8>>;

impl Model {
    /// A command of lists; nothing if it is none.
    pub(super) fn list(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Answer> {
        let answer = match name {
            "lpush" | "rpush" | "lpushx" | "rpushx" => self.push(name, now, db, words),
            "lpop" | "rpop" => self.pop(name, now, db, words),
            "lmove" => self.move_one(now, db, words),
            "rpoplpush" => self.move_one(now, db, &[words[0], words[1], words[2], b"right", b"left"]),
            "lmpop" => self.mpop(now, db, words),
            "llen" | "lrange" | "lindex" | "lpos" => self.look(name, now, db, words),
            "lset" | "linsert" | "lrem" | "ltrim" => self.alter(name, now, db, words),
            _ => return None,
        };
        Some(answer.unwrap_or_else(|refused| refused))
    }

    /// The list at `key`, or nothing, and when it dies; refused if the key is of another type.
    fn list_at(&self, now: u64, db: u8, key: &[u8]) -> Result<(Option<List>, Option<u64>), Answer> {
        match self.get(db, key, now) {
            None => Ok((None, None)),
            Some(held) => match &held.value {
                Content::List(list) => Ok((Some(list.clone()), held.dies_at)),
                _ => Err(wrong_type()),
            },
        }
    }

    fn push(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Answer> {
        let (list, dies_at) = self.list_at(now, db, words[1])?;
        if list.is_none() && name.ends_with('x') {
            return Ok(Answer::Int(0));
        }
        let mut list = list.unwrap_or_default();
        for member in &words[2..] {
            put_at(&mut list, if name.starts_with('l') { "left" } else { "right" }, member.to_vec());
        }
        let len = list.len();
        self.put(db, words[1], Content::List(list), dies_at);
        Ok(count(len))
    }

    fn pop(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Answer> {
        let wanted = match words.get(2).map(|word| integer(word).and_then(|n| usize::try_from(n).ok())) {
            Some(None) => return Err(error("ERR value is out of range, must be positive")),
            Some(Some(n)) => Some(n),
            None => None,
        };
        let (list, dies_at) = self.list_at(now, db, words[1])?;
        let Some(mut list) = list else {
            return Ok(if wanted.is_some() { Answer::NilArray } else { Answer::Nil });
        };
        let side = if name == "lpop" { "left" } else { "right" };
        let mut taken = Vec::new();
        while taken.len() < wanted.unwrap_or(1)
            && let Some(member) = take_at(&mut list, side)
        {
            taken.push(Answer::Bulk(member));
        }
        if !taken.is_empty() {
            self.put(db, words[1], Content::List(list), dies_at);
        }
        Ok(if wanted.is_some() { Answer::Array(taken) } else { taken.remove(0) })
    }

    fn move_one(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Answer> {
        let (out, into) = (side(words[3])?, side(words[4])?);
        let (from, from_dies_at) = self.list_at(now, db, words[1])?;
        let Some(mut from) = from else { return Ok(Answer::Nil) };
        self.list_at(now, db, words[2])?;
        let member = take_at(&mut from, out).expect("a list that is there has a member");
        if words[1] == words[2] {
            put_at(&mut from, into, member.clone());
            self.put(db, words[1], Content::List(from), from_dies_at);
        } else {
            let (to, to_dies_at) = self.list_at(now, db, words[2])?;
            let mut to = to.unwrap_or_default();
            put_at(&mut to, into, member.clone());
            self.put(db, words[1], Content::List(from), from_dies_at);
            self.put(db, words[2], Content::List(to), to_dies_at);
        }
        Ok(Answer::Bulk(member))
    }

    fn mpop(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Answer> {
        let positive = |word: &[u8]| integer(word).and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        let keys = positive(words[1]).ok_or_else(|| error("ERR numkeys should be greater than 0"))?;
        let side = words.get(2 + keys).map_or(Err(error("ERR syntax error")), |word| side(word))?;
        let most = match words.get(4 + keys) {
            Some(word) => positive(word).ok_or_else(|| error("ERR count should be greater than 0"))?,
            None => 1,
        };
        for key in &words[2..2 + keys] {
            let (list, dies_at) = self.list_at(now, db, key)?;
            let Some(mut list) = list else { continue };
            let mut taken = Vec::new();
            while taken.len() < most
                && let Some(member) = take_at(&mut list, side)
            {
                taken.push(Answer::Bulk(member));
            }
            self.put(db, key, Content::List(list), dies_at);
            return Ok(Answer::Array(vec![Answer::bulk(key), Answer::Array(taken)]));
        }
        Ok(Answer::NilArray)
    }

    fn look(&self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Answer> {
        if name == "lrange" && (integer(words[2]).is_none() || integer(words[3]).is_none()) {
            return Err(not_an_integer());
        }
        let searched = if name == "lpos" { Some(Searched::read(&words[3..])?) } else { None };
        let (list, _) = self.list_at(now, db, words[1])?;
        Ok(match name {
            "llen" => count(list.map_or(0, |list| list.len())),
            "lrange" => {
                let list = list.unwrap_or_default();
                let (start, end) = bounds(words[2], words[3], list.len());
                Answer::Array(list.range(start..end).map(|member| Answer::bulk(member)).collect())
            }
            "lindex" => {
                let Some(list) = list else { return Ok(Answer::Nil) };
                let at = place(words[2], list.len())?;
                at.and_then(|at| list.get(at)).map_or(Answer::Nil, |member| Answer::bulk(member))
            }
            _ => searched.expect("it was read above").answer(&list.unwrap_or_default(), words[2]),
        })
    }

    fn alter(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Result<Answer, Answer> {
        let (first, second) = (integer(words[2]), words.get(3).and_then(|word| integer(word)));
        match name {
            "lrem" if first.is_none() => return Err(not_an_integer()),
            "ltrim" if first.is_none() || second.is_none() => return Err(not_an_integer()),
            "linsert" if ![b"before".as_slice(), b"after"].contains(&&*words[2].to_ascii_lowercase()) => {
                return Err(error("ERR syntax error"));
            }
            _ => {}
        }
        let (list, dies_at) = self.list_at(now, db, words[1])?;
        let Some(mut list) = list else {
            return Ok(match name {
                "lset" => error("ERR no such key"),
                "ltrim" => Answer::ok(),
                _ => Answer::Int(0),
            });
        };
        let answer = match name {
            "lset" => {
                let at = place(words[2], list.len())?.filter(|at| *at < list.len());
                list[at.ok_or_else(|| error("ERR index out of range"))?] = words[3].to_vec();
                Answer::ok()
            }
            "linsert" => {
                let Some(pivot) = list.iter().position(|member| member == words[3]) else {
                    return Ok(Answer::Int(-1));
                };
                let behind = usize::from(words[2].eq_ignore_ascii_case(b"after"));
                list.insert(pivot + behind, words[4].to_vec());
                count(list.len())
            }
            "lrem" => {
                let removed = remove(&mut list, first.expect("looked at above"), words[3]);
                if removed == 0 {
                    return Ok(Answer::Int(0));
                }
                count(removed)
            }
            _ => {
                let (start, end) = bounds(words[2], words[3], list.len());
                list = list.range(start..end).cloned().collect();
                Answer::ok()
            }
        };
        self.put(db, words[1], Content::List(list), dies_at);
        Ok(answer)
    }
}

/// What LPOS was asked.
struct Searched {
    rank: i64,
    count: Option<usize>,
    most: usize,
}

impl Searched {
    fn read(options: &[&[u8]]) -> Result<Self, Answer> {
        let mut searched = Self { rank: 1, count: None, most: 0 };
        for pair in options.chunks(2) {
            let [word, number] = pair else { return Err(error("ERR syntax error")) };
            let positive = integer(number).and_then(|n| usize::try_from(n).ok());
            match String::from_utf8_lossy(word).to_ascii_uppercase().as_str() {
                "RANK" => match integer(number) {
                    None => return Err(not_an_integer()),
                    Some(0) => {
                        return Err(error(
                            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
                             negative to start from the end of the list",
                        ));
                    }
                    Some(rank) => searched.rank = rank,
                },
                "COUNT" => searched.count = Some(positive.ok_or_else(|| error("ERR COUNT can't be negative"))?),
                "MAXLEN" => searched.most = positive.ok_or_else(|| error("ERR MAXLEN can't be negative"))?,
                _ => return Err(error("ERR syntax error")),
            }
        }
        Ok(searched)
    }

    fn answer(&self, list: &List, wanted: &[u8]) -> Answer {
        let mut places: Vec<usize> = (0..list.len()).collect();
        if self.rank < 0 {
            places.reverse();
        }
        if self.most > 0 {
            places.truncate(self.most);
        }
        places.retain(|at| list[*at] == wanted);
        let skipped = usize::try_from(self.rank.unsigned_abs() - 1).expect("64 bits");
        let found: Vec<Answer> = places.into_iter().skip(skipped).map(count).collect();
        match self.count {
            None => found.first().cloned().unwrap_or(Answer::Nil),
            Some(0) => Answer::Array(found),
            Some(n) => Answer::Array(found.into_iter().take(n).collect()),
        }
    }
}

fn side(word: &[u8]) -> Result<&'static str, Answer> {
    match String::from_utf8_lossy(word).to_ascii_uppercase().as_str() {
        "LEFT" => Ok("left"),
        "RIGHT" => Ok("right"),
        _ => Err(error("ERR syntax error")),
    }
}

fn put_at(list: &mut List, side: &str, member: Vec<u8>) {
    if side == "left" { list.push_front(member) } else { list.push_back(member) }
}

fn take_at(list: &mut List, side: &str) -> Option<Vec<u8>> {
    if side == "left" { list.pop_front() } else { list.pop_back() }
}

/// A place from the head, which may be behind the tail; nothing if it is before the head.
fn place(word: &[u8], len: usize) -> Result<Option<usize>, Answer> {
    let at = i128::from(integer(word).ok_or_else(not_an_integer)?);
    let len = i128::try_from(len).expect("models are small");
    Ok(usize::try_from(if at < 0 { at + len } else { at }).ok())
}

/// The members of a range: from here, to before there.
fn bounds(start: &[u8], stop: &[u8], len: usize) -> (usize, usize) {
    let read = |word: &[u8]| i128::from(integer(word).expect("looked at before"));
    let len = i128::try_from(len).expect("models are small");
    let from_end = |at: i128| if at < 0 { at + len } else { at };
    let start = from_end(read(start)).clamp(0, len);
    let end = (from_end(read(stop)) + 1).clamp(start, len);
    (usize::try_from(start).expect("small"), usize::try_from(end).expect("small"))
}

/// Removes members that are `unwanted`, so many from the head or, if negative, from the tail; all if 0.
fn remove(list: &mut List, most: i64, unwanted: &[u8]) -> usize {
    let mut places: Vec<usize> = (0..list.len()).filter(|at| list[*at] == unwanted).collect();
    if most < 0 {
        places.reverse();
    }
    if most != 0 {
        places.truncate(usize::try_from(most.unsigned_abs()).expect("64 bits"));
    }
    places.sort_unstable();
    for at in places.iter().rev() {
        list.remove(*at);
    }
    places.len()
}
