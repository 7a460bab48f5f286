//! XGROUP, XREADGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM.

use super::reads::{Call, found};
use super::{Counts, ID_MAX, Id, Stream, after, counted, exact, id_answer, lower, number, or_end, range, shown};
use crate::answer::Answer;
use crate::oracle::{Model, count, error, integer};
use std::collections::BTreeMap;

/// A group of consumers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    pub last: Id,
    pub read: Option<u64>,
    pub consumers: BTreeMap<Vec<u8>, Consumer>,
    pub pending: BTreeMap<Id, Pending>,
}

/// One who reads for its group.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    pub seen: u64,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    pub consumer: Vec<u8>,
    pub at: u64,
    pub count: u64,
}

impl Stream {
    /// How many entries were added up to `id`, where Redis 7.0 can tell.
    fn added_up_to(&self, id: Id) -> Option<u64> {
        let first = self.entries().next().map(|entry| entry.id);
        if self.added == 0 {
            return Some(0);
        }
        if id == self.last || (first.is_none() && id < self.last) {
            return Some(self.added);
        }
        let first = first?;
        if id > self.last || self.holes_from((0, 0)) || id > first {
            return None;
        }
        Some(self.added.saturating_sub(self.len() as u64) + u64::from(id == first))
    }

    /// True if XDEL may have taken something behind the first entry, from `id` on.
    fn holes_from(&self, id: Id) -> bool {
        let first = self.entries().next().map(|entry| entry.id);
        first.is_some_and(|first| self.deleted_max != (0, 0) && first <= self.deleted_max && id <= self.deleted_max)
    }

    pub(super) fn lag(&self, group: &Group) -> Option<i64> {
        let read = match group.read {
            _ if self.added == 0 => return Some(0),
            Some(read) if !self.holes_from(group.last) => read,
            _ => self.added_up_to(group.last)?,
        };
        Some(self.added.wrapping_sub(read).cast_signed())
    }
}

impl Group {
    fn read_on(&mut self, stream: &Stream, id: Id) {
        self.read = match self.read {
            Some(read) if !stream.holes_from(id) => Some(read + 1),
            read if stream.added == 0 => read,
            _ => stream.added_up_to(id),
        };
        self.last = id;
    }

    pub(super) fn owed<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = (&'a Id, &'a Pending)> {
        self.pending.iter().filter(move |(_, pending)| pending.consumer == name)
    }

    fn see(&mut self, name: &[u8], now: u64) {
        self.consumers.insert(name.to_vec(), Consumer { seen: now });
    }
}

fn no_group(key: &[u8], group: &[u8], more: &str) -> Answer {
    error(&format!("NOGROUP No such key '{}' or consumer group '{}'{more}", shown(key), shown(group)))
}

pub(super) fn no_group_for(key: &[u8], group: &[u8]) -> Answer {
    error(&format!("NOGROUP No such consumer group '{}' for key name '{}'", shown(group), shown(key)))
}

impl Model {
    pub(super) fn xgroup(&mut self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let sub = lower(words[1]);
        let (mut make, mut read) = (false, None);
        let mut rest = words.get(5..).unwrap_or_default();
        while let Some(word) = rest.first() {
            rest = match (lower(word).as_str(), rest.get(1)) {
                ("mkstream", _) if sub == "create" => {
                    make = true;
                    &rest[1..]
                }
                ("entriesread", Some(n)) => {
                    read = match number(n)? {
                        -1 => None,
                        n if n < 0 => return Err(error("ERR value for ENTRIESREAD must be positive or -1")),
                        n => Some(n.cast_unsigned()),
                    };
                    &rest[2..]
                }
                _ => {
                    let sub = shown(words[1]);
                    let text =
                        format!("ERR unknown subcommand or wrong number of arguments for '{sub}'. Try XGROUP HELP.");
                    return Err(error(&text));
                }
            };
        }
        let (key, name) = (words[2], words[3]);
        let stream = self.stream_at(at, key)?;
        if stream.is_none() && !make {
            let text = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
                        the MKSTREAM option to create an empty stream automatically.";
            return Err(error(text));
        }
        let mut stream = stream.unwrap_or_default();
        if !stream.groups.contains_key(name) && !matches!(sub.as_str(), "create" | "destroy") {
            return Err(no_group_for(key, name));
        }
        let answer = alter_group(&mut stream, &sub, at.0, words, read)?;
        self.keep_stream(at, key, stream, Counts::No);
        if sub == "setid" || (sub == "destroy" && answer == Answer::Int(1)) {
            self.wake(at.1, key);
        }
        Ok(answer)
    }

    pub(super) fn xreadgroup(&mut self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let call = Call::read(words)?;
        let Some((name, consumer)) = call.group else {
            return Err(error("ERR Missing GROUP option for XREADGROUP"));
        };
        for (key, id) in &call.streams {
            if self.stream_at(at, key)?.is_none_or(|stream| !stream.groups.contains_key(name)) {
                return Err(no_group(key, name, " in XREADGROUP with GROUP option"));
            }
            match *id {
                b"$" => {
                    let text = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of \
                                this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID \
                                would just return an empty result set.";
                    return Err(error(text));
                }
                b">" => {}
                id => drop(exact(id, 0)?),
            }
        }
        let mut all = Vec::new();
        for (key, id) in &call.streams {
            let mut stream = self.stream_at(at, key)?.expect("it was seen to be there");
            let mut group = stream.groups.remove(name).expect("it was seen to be there");
            let history = if *id == b">" { None } else { Some(exact(id, 0)?).filter(|id| *id != ID_MAX) };
            let last = group.last;
            let newer: Vec<_> = stream.entries().filter(|entry| entry.id > last).take(call.count).cloned().collect();
            if history.is_some() || !newer.is_empty() || group.consumers.contains_key(consumer) {
                group.see(consumer, at.0);
            }
            match history {
                Some(behind) => {
                    let owed = again(&stream, &mut group, consumer, behind, call.count, at.0);
                    all.push((*key, owed));
                }
                None if newer.is_empty() => {}
                None => {
                    for entry in &newer {
                        group.read_on(&stream, entry.id);
                        if !call.no_ack {
                            let pending = Pending { consumer: consumer.to_vec(), at: at.0, count: 1 };
                            group.pending.insert(entry.id, pending);
                        }
                    }
                    all.push((*key, newer.iter().map(super::Entry::answer).collect()));
                }
            }
            stream.groups.insert(name.to_vec(), group);
            self.keep_stream(at, key, stream, Counts::No);
        }
        Ok(found(all))
    }

    pub(super) fn xack(&mut self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let Some(mut stream) = self.stream_at(at, words[1])? else { return Ok(Answer::Int(0)) };
        let Some(group) = stream.groups.get_mut(words[2]) else { return Ok(Answer::Int(0)) };
        let ids = words[3..].iter().map(|id| exact(id, 0)).collect::<Result<Vec<_>, _>>()?;
        let taken = ids.iter().filter(|id| group.pending.remove(id).is_some()).count();
        self.keep_stream(at, words[1], stream, Counts::No);
        Ok(count(taken))
    }

    pub(super) fn xpending(&self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let mut wanted = None;
        if words.len() > 3 {
            let with_idle = words[3].eq_ignore_ascii_case(b"idle");
            if words.len() < 6 {
                return Err(error("ERR syntax error"));
            }
            let idle = if with_idle { number(words[4])? } else { 0 };
            let rest = &words[if with_idle { 5 } else { 3 }..];
            if rest.len() < 3 {
                return Err(error("ERR syntax error"));
            }
            let most = counted(rest[2])?;
            let (from, to) = range(rest[0], rest[1])?;
            wanted = Some((idle, from, to, most, rest.get(3)));
        }
        let stream = self.stream_at(at, words[1])?;
        let Some(group) = stream.as_ref().and_then(|stream| stream.groups.get(words[2])) else {
            return Err(no_group(words[1], words[2], ""));
        };
        let Some((idle, from, to, most, of)) = wanted else { return Ok(summary(group)) };
        let idle_now = |pending: &Pending| i64::try_from(at.0.saturating_sub(pending.at)).expect("times are small");
        let mut all = Vec::new();
        for (id, pending) in group.pending.iter().filter(|(id, _)| **id >= from && **id <= to) {
            if of.is_some_and(|of| pending.consumer != **of) || (idle != 0 && idle_now(pending) < idle) {
                continue;
            }
            let idle = Answer::Int(idle_now(pending));
            let count = Answer::Int(pending.count.cast_signed());
            all.push(Answer::Array(vec![id_answer(*id), Answer::bulk(&pending.consumer), idle, count]));
        }
        all.truncate(most);
        Ok(Answer::Array(all))
    }

    pub(super) fn xclaim(&mut self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let (now, key, name) = (at.0, words[1], words[2]);
        let Some(mut stream) = self.stream_at(at, key)?.filter(|stream| stream.groups.contains_key(name)) else {
            return Err(no_group(key, name, ""));
        };
        let least = integer(words[4]).ok_or_else(|| error("ERR Invalid min-idle-time argument for XCLAIM"))?;
        let ids: Vec<Id> = words[5..].iter().map_while(|id| exact(id, 0).ok()).collect();
        let options = ClaimOptions::read(now, &words[5 + ids.len()..])?;
        let mut group = stream.groups.remove(name).expect("it was seen to be there");
        group.last = group.last.max(options.last);
        let mut all = Vec::new();
        for id in ids {
            let Some(entry) = stream.find(id) else {
                group.pending.remove(&id);
                continue;
            };
            let young = |pending: &Pending| now.saturating_sub(pending.at) < u64::try_from(least).unwrap_or(0);
            let before = match group.pending.get(&id) {
                Some(pending) if young(pending) => continue,
                Some(pending) => pending.count,
                None if options.force => 1,
                None => continue,
            };
            let count = options.count.unwrap_or(before + u64::from(!options.just_id));
            group.see(words[3], now);
            group.pending.insert(id, Pending { consumer: words[3].to_vec(), at: options.at, count });
            all.push(if options.just_id { id_answer(id) } else { entry.answer() });
        }
        stream.groups.insert(name.to_vec(), group);
        self.keep_stream(at, key, stream, Counts::No);
        Ok(Answer::Array(all))
    }

    pub(super) fn xautoclaim(&mut self, at: (u64, u8), words: &[&[u8]]) -> Result<Answer, Answer> {
        let (now, key, name) = (at.0, words[1], words[2]);
        let least = integer(words[4]).ok_or_else(|| error("ERR Invalid min-idle-time argument for XAUTOCLAIM"))?;
        let (from, _) = range(words[5], b"+")?;
        let (mut most, mut just_id) = (100, false);
        let mut rest = &words[6..];
        while let Some(word) = rest.first() {
            rest = match (lower(word).as_str(), rest.get(1)) {
                ("count", Some(n)) => {
                    let n = integer(n).filter(|n| *n > 0).ok_or_else(|| error("ERR COUNT must be > 0"))?;
                    most = usize::try_from(n).expect("the workload's counts are small");
                    &rest[2..]
                }
                ("justid", _) => {
                    just_id = true;
                    &rest[1..]
                }
                _ => return Err(error("ERR syntax error")),
            };
        }
        let Some(mut stream) = self.stream_at(at, key)?.filter(|stream| stream.groups.contains_key(name)) else {
            return Err(no_group(key, name, ""));
        };
        let mut group = stream.groups.remove(name).expect("it was seen to be there");
        let (mut claimed, mut gone, mut looked) = (Vec::new(), Vec::new(), None);
        let candidates: Vec<Id> = group.pending.keys().copied().filter(|id| *id >= from).take(most * 10).collect();
        for id in candidates {
            if claimed.len() + gone.len() == most {
                break;
            }
            looked = Some(id);
            let Some(entry) = stream.find(id) else {
                group.pending.remove(&id);
                gone.push(id_answer(id));
                continue;
            };
            let pending = group.pending[&id].clone();
            if now.saturating_sub(pending.at) < u64::try_from(least).unwrap_or(0) {
                continue;
            }
            group.see(words[3], now);
            let count = pending.count + u64::from(!just_id);
            group.pending.insert(id, Pending { consumer: words[3].to_vec(), at: now, count });
            claimed.push(if just_id { id_answer(id) } else { entry.answer() });
        }
        let next = group.pending.keys().find(|id| looked.map_or(**id >= from, |looked| **id > looked));
        let next = id_answer(next.copied().unwrap_or_default());
        stream.groups.insert(name.to_vec(), group);
        self.keep_stream(at, key, stream, Counts::No);
        Ok(Answer::Array(vec![next, Answer::Array(claimed), Answer::Array(gone)]))
    }
}

/// CREATE, SETID, DESTROY, CREATECONSUMER, DELCONSUMER.
fn alter_group(stream: &mut Stream, sub: &str, now: u64, words: &[&[u8]], read: Option<u64>) -> Result<Answer, Answer> {
    let name = words[3];
    Ok(match sub {
        "create" => {
            let last = if words[4] == b"$" { stream.last } else { exact(words[4], 0)? };
            if stream.groups.contains_key(name) {
                return Err(error("BUSYGROUP Consumer Group name already exists"));
            }
            stream.groups.insert(name.to_vec(), Group { last, read, ..Group::default() });
            Answer::ok()
        }
        "setid" => {
            let last = if words[4] == b"$" { stream.last } else { or_end(words[4], 0)? };
            let group = stream.groups.get_mut(name).expect("it was seen to be there");
            (group.last, group.read) = (last, read);
            Answer::ok()
        }
        "destroy" => Answer::Int(i64::from(stream.groups.remove(name).is_some())),
        "createconsumer" => {
            let group = stream.groups.get_mut(name).expect("it was seen to be there");
            let new = !group.consumers.contains_key(words[4]);
            if new {
                group.see(words[4], now);
            }
            Answer::Int(i64::from(new))
        }
        _ => {
            let group = stream.groups.get_mut(name).expect("it was seen to be there");
            let owed: Vec<Id> = group.owed(words[4]).map(|(id, _)| *id).collect();
            group.consumers.remove(words[4]);
            owed.iter().for_each(|id| drop(group.pending.remove(id)));
            count(owed.len())
        }
    })
}

fn again(stream: &Stream, group: &mut Group, consumer: &[u8], behind: Id, most: usize, now: u64) -> Vec<Answer> {
    let Some(from) = after(behind) else { return Vec::new() };
    let owed: Vec<Id> = group.owed(consumer).map(|(id, _)| *id).filter(|id| *id >= from).take(most).collect();
    let mut all = Vec::new();
    for id in owed {
        match stream.find(id) {
            None => all.push(Answer::Array(vec![id_answer(id), Answer::NilArray])),
            Some(entry) => {
                let pending = group.pending.get_mut(&id).expect("it is owed");
                (pending.at, pending.count) = (now, pending.count + 1);
                all.push(entry.answer());
            }
        }
    }
    all
}

fn summary(group: &Group) -> Answer {
    let (Some(first), Some(last)) = (group.pending.keys().next(), group.pending.keys().next_back()) else {
        return Answer::Array(vec![Answer::Int(0), Answer::Nil, Answer::Nil, Answer::NilArray]);
    };
    let mut owing = Vec::new();
    for name in group.consumers.keys() {
        let owed = group.owed(name).count();
        if owed > 0 {
            owing.push(Answer::Array(vec![Answer::bulk(name), Answer::bulk(owed.to_string().as_bytes())]));
        }
    }
    Answer::Array(vec![count(group.pending.len()), id_answer(*first), id_answer(*last), Answer::Array(owing)])
}

/// What XCLAIM's options ask for.
struct ClaimOptions {
    at: u64,
    count: Option<u64>,
    force: bool,
    just_id: bool,
    last: Id,
}

impl ClaimOptions {
    fn read(now: u64, mut rest: &[&[u8]]) -> Result<Self, Answer> {
        let mut options = Self { at: now, count: None, force: false, just_id: false, last: (0, 0) };
        let bad = |option: &str| error(&format!("ERR Invalid {option} option argument for XCLAIM"));
        let sane = |at: i128| u64::try_from(at).ok().filter(|at| *at <= now).unwrap_or(now);
        while let Some(word) = rest.first() {
            let next = rest.get(1).copied();
            rest = match (lower(word).as_str(), next) {
                ("force", _) => {
                    options.force = true;
                    &rest[1..]
                }
                ("justid", _) => {
                    options.just_id = true;
                    &rest[1..]
                }
                ("idle", Some(n)) => {
                    options.at = sane(i128::from(now) - i128::from(integer(n).ok_or_else(|| bad("IDLE"))?));
                    &rest[2..]
                }
                ("time", Some(n)) => {
                    options.at = sane(i128::from(integer(n).ok_or_else(|| bad("TIME"))?));
                    &rest[2..]
                }
                ("retrycount", Some(n)) => {
                    options.count = u64::try_from(integer(n).ok_or_else(|| bad("RETRYCOUNT"))?).ok();
                    &rest[2..]
                }
                ("lastid", Some(id)) => {
                    options.last = exact(id, 0)?;
                    &rest[2..]
                }
                _ => return Err(error(&format!("ERR Unrecognized XCLAIM option '{}'", shown(word)))),
            };
        }
        Ok(options)
    }
}
