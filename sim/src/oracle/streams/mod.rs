//! The model's streams: a list of nodes with a list of entries each, looked through from the front for everything.

mod groups;
mod info;
mod nodes;
mod producers;
mod reads;
mod writes;

use super::{Content, Model, error, integer, not_an_integer, wrong_type};
use crate::answer::Answer;
pub use groups::{Consumer, Group, Pending};
pub use nodes::{Entry, Node};
pub use producers::Producers;
use std::collections::BTreeMap;

/// Milliseconds and a number within them.
pub type Id = (u64, u64);

/// Its plain form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    pub nodes: Vec<Node>,
    pub last: Id,
    pub deleted_max: Id,
    pub added: u64,
    pub groups: BTreeMap<Vec<u8>, Group>,
    pub producers: Option<Producers>,
}

/// Whether a change counts as one for WATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Yes,
    No,
}

const ID_MAX: Id = (u64::MAX, u64::MAX);

impl Model {
    /// A command of streams; nothing if it is none.
    pub(super) fn stream(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Answer> {
        let at = (now, db);
        let answer = match name {
            "xadd" => self.xadd(at, words),
            "xdel" => self.xdel(at, words),
            "xtrim" => self.xtrim(at, words),
            "xsetid" => self.xsetid(at, words),
            "xcfgset" => self.xcfgset(at, words),
            "xlen" => self.xlen(at, words),
            "xrange" => self.xrange(at, words, words[2], words[3]),
            "xrevrange" => self.xrange(at, words, words[3], words[2]),
            "xread" => self.xread(at, words),
            "xgroup" => self.xgroup(at, words),
            "xreadgroup" => self.xreadgroup(at, words),
            "xack" => self.xack(at, words),
            "xpending" => self.xpending(at, words),
            "xclaim" => self.xclaim(at, words),
            "xautoclaim" => self.xautoclaim(at, words),
            "xinfo" => self.xinfo(at, words),
            _ => return None,
        };
        Some(answer.unwrap_or_else(|refused| refused))
    }

    /// The stream at `key`, if there is one; refused if the key is of another type.
    fn stream_at(&self, (now, db): (u64, u8), key: &[u8]) -> Result<Option<Stream>, Answer> {
        match self.get(db, key, now).map(|held| &held.value) {
            None => Ok(None),
            Some(Content::Stream(stream)) => Ok(Some(stream.clone())),
            Some(_) => Err(wrong_type()),
        }
    }

    /// Puts a stream back where it was, or makes its key.
    fn keep_stream(&mut self, (now, db): (u64, u8), key: &[u8], stream: Stream, counts: Counts) {
        let there = self.get(db, key, now).map(|held| held.dies_at);
        match there {
            None => self.put(db, key, Content::Stream(stream), None),
            Some(dies_at) if counts == Counts::Yes => self.put(db, key, Content::Stream(stream), dies_at),
            Some(_) => {
                let held = self.keys.get_mut(&(db, key.to_vec())).expect("it was seen to be there");
                held.value = Content::Stream(stream);
            }
        }
    }
}

fn id_text(id: Id) -> Vec<u8> {
    format!("{}-{}", id.0, id.1).into_bytes()
}

fn id_answer(id: Id) -> Answer {
    Answer::Bulk(id_text(id))
}

fn bad_id() -> Answer {
    error("ERR Invalid stream ID specified as stream command argument")
}

/// An ID as the workload spells it, whole or without its second number.
fn exact(text: &[u8], seq: u64) -> Result<Id, Answer> {
    let text = std::str::from_utf8(text).map_err(|_| bad_id())?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| bad_id());
    match text.split_once('-') {
        Some((ms, seq)) => Ok((number(ms)?, number(seq)?)),
        None => Ok((number(text)?, seq)),
    }
}

fn or_end(text: &[u8], seq: u64) -> Result<Id, Answer> {
    match text {
        b"-" => Ok((0, 0)),
        b"+" => Ok(ID_MAX),
        _ => exact(text, seq),
    }
}

fn after(id: Id) -> Option<Id> {
    if id.1 < u64::MAX { Some((id.0, id.1 + 1)) } else { Some((id.0.checked_add(1)?, 0)) }
}

fn before(id: Id) -> Option<Id> {
    if id.1 > 0 { Some((id.0, id.1 - 1)) } else { Some((id.0.checked_sub(1)?, u64::MAX)) }
}

/// Both ends of a range, each perhaps without itself.
fn range(from: &[u8], to: &[u8]) -> Result<(Id, Id), Answer> {
    let from = match from.strip_prefix(b"(") {
        Some(id) => after(exact(id, 0)?).ok_or_else(|| error("ERR invalid start ID for the interval"))?,
        None => or_end(from, 0)?,
    };
    let to = match to.strip_prefix(b"(") {
        Some(id) => before(exact(id, u64::MAX)?).ok_or_else(|| error("ERR invalid end ID for the interval"))?,
        None => or_end(to, u64::MAX)?,
    };
    Ok((from, to))
}

fn number(text: &[u8]) -> Result<i64, Answer> {
    integer(text).ok_or_else(not_an_integer)
}

/// A number of entries; less than none is none.
fn counted(text: &[u8]) -> Result<usize, Answer> {
    Ok(usize::try_from(number(text)?.max(0)).unwrap_or(usize::MAX))
}

fn lower(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_lowercase()
}

fn shown(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text)
}
