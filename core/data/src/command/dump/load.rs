//! Values read from payloads, by the type that stands before them.

use super::listpack::{Elements, Items};
use super::old::{self, Ziplist};
use super::source::{Bad, Source};
use super::streams;
use crate::value::{End, Hash, List, Object, Set, Word, Zset};

/// A value on its way in.
#[derive(Debug)]
pub enum Restored {
    String(Vec<u8>),
    Object(Object),
}

/// The types of Redis' files; modules' own are not among them.
pub const STRING: u8 = 0;
pub const LIST: u8 = 1;
pub const SET: u8 = 2;
const ZSET_TEXT: u8 = 3;
pub const HASH: u8 = 4;
pub const ZSET: u8 = 5;
const HASH_ZIPMAP: u8 = 9;
const LIST_ZIPLIST: u8 = 10;
const SET_INTSET: u8 = 11;
const ZSET_ZIPLIST: u8 = 12;
const HASH_ZIPLIST: u8 = 13;
const LIST_QUICKLIST: u8 = 14;
const STREAM_1: u8 = 15;
const HASH_LISTPACK: u8 = 16;
const ZSET_LISTPACK: u8 = 17;
const LIST_QUICKLIST_2: u8 = 18;
pub const STREAM: u8 = 19;

/// How a node of a quicklist is held, since version 10.
const NODE_PLAIN: u64 = 1;
const NODE_LISTPACK: u64 = 2;
/// Instead of the length of a score that is spelled.
const SCORE_NAN: u8 = 253;
const SCORE_INFINITE: u8 = 254;
const SCORE_MINUS_INFINITE: u8 = 255;

/// The value of a payload; `seed` is [`crate::Keyspace::index_seed`].
pub fn value(mut source: Source<'_>, seed: u64) -> Result<Restored, Bad> {
    let source = &mut source;
    let object: Object = match source.u8()? {
        STRING => return Ok(Restored::String(source.string()?.into_owned())),
        LIST => list(source)?.into(),
        LIST_ZIPLIST => {
            let mut list = List::default();
            append(&mut list, Ziplist::of(&source.string()?)?)?;
            list.into()
        }
        LIST_QUICKLIST => quicklist(source)?.into(),
        LIST_QUICKLIST_2 => quicklist_2(source)?.into(),
        SET => set(source, seed)?.into(),
        SET_INTSET => {
            let mut set = Set::default();
            for number in old::intset(&source.string()?)? {
                set.add(Word::Int(number), seed);
            }
            set.into()
        }
        HASH => hash(source, seed)?.into(),
        HASH_ZIPMAP => {
            let mut hash = Hash::default();
            old::zipmap(&source.string()?, |field, value| fresh(hash.set(field, value, seed)))?;
            hash.into()
        }
        HASH_ZIPLIST => packed_hash(Ziplist::of(&source.string()?)?, seed)?.into(),
        HASH_LISTPACK => packed_hash(Items::of(&source.string()?)?, seed)?.into(),
        ZSET => zset(source, |source| Ok(f64::from_bits(source.u64()?)))?.into(),
        ZSET_TEXT => zset(source, spelled_score)?.into(),
        ZSET_ZIPLIST => packed_zset(Ziplist::of(&source.string()?)?)?.into(),
        ZSET_LISTPACK => packed_zset(Items::of(&source.string()?)?)?.into(),
        STREAM => streams::load(source, streams::Version::Two)?.into(),
        STREAM_1 => streams::load(source, streams::Version::One)?.into(),
        _ => return Err(Bad),
    };
    if object.goes_when_empty() { Err(Bad) } else { Ok(Restored::Object(object)) }
}

/// A member that stands twice is an error.
fn fresh(new: bool) -> Result<(), Bad> {
    if new { Ok(()) } else { Err(Bad) }
}

fn list(source: &mut Source<'_>) -> Result<List, Bad> {
    let mut list = List::default();
    for _ in 0..source.count()? {
        list.push(End::Tail, &source.string()?);
    }
    Ok(list)
}

fn append<'a>(list: &mut List, mut elements: impl Elements<'a>) -> Result<(), Bad> {
    while let Some(item) = elements.next()? {
        list.push(End::Tail, &item.text());
    }
    Ok(())
}

fn quicklist(source: &mut Source<'_>) -> Result<List, Bad> {
    let mut list = List::default();
    for _ in 0..source.count()? {
        append(&mut list, Ziplist::of(&source.string()?)?)?;
    }
    Ok(list)
}

fn quicklist_2(source: &mut Source<'_>) -> Result<List, Bad> {
    let mut list = List::default();
    for _ in 0..source.count()? {
        let kind = source.length()?;
        let node = source.string()?;
        match kind {
            NODE_PLAIN => list.push(End::Tail, &node),
            NODE_LISTPACK => append(&mut list, Items::of(&node)?)?,
            _ => return Err(Bad),
        }
    }
    Ok(list)
}

fn set(source: &mut Source<'_>, seed: u64) -> Result<Set, Bad> {
    let mut set = Set::default();
    for _ in 0..source.count()? {
        fresh(set.add(Word::of(&source.string()?), seed))?;
    }
    Ok(set)
}

fn hash(source: &mut Source<'_>, seed: u64) -> Result<Hash, Bad> {
    let mut hash = Hash::default();
    for _ in 0..source.count()? {
        let (field, value) = (source.string()?, source.string()?);
        fresh(hash.set(&field, &value, seed))?;
    }
    Ok(hash)
}

fn packed_hash<'a>(mut elements: impl Elements<'a>, seed: u64) -> Result<Hash, Bad> {
    let mut hash = Hash::default();
    while let Some(field) = elements.next()? {
        fresh(hash.set(&field.text(), &elements.need()?.text(), seed))?;
    }
    Ok(hash)
}

fn zset<'a>(source: &mut Source<'a>, score: fn(&mut Source<'a>) -> Result<f64, Bad>) -> Result<Zset, Bad> {
    let mut zset = Zset::default();
    for _ in 0..source.count()? {
        let member = source.string()?;
        let score = score(source)?;
        rank(&mut zset, &member, score)?;
    }
    Ok(zset)
}

fn packed_zset<'a>(mut elements: impl Elements<'a>) -> Result<Zset, Bad> {
    let mut zset = Zset::default();
    while let Some(member) = elements.next()? {
        let score = number(&elements.need()?.text())?;
        rank(&mut zset, &member.text(), score)?;
    }
    Ok(zset)
}

fn rank(zset: &mut Zset, member: &[u8], score: f64) -> Result<(), Bad> {
    if score.is_nan() {
        return Err(Bad);
    }
    fresh(zset.insert(member, score).is_none())
}

fn spelled_score(source: &mut Source<'_>) -> Result<f64, Bad> {
    match source.u8()? {
        SCORE_NAN => Err(Bad),
        SCORE_INFINITE => Ok(f64::INFINITY),
        SCORE_MINUS_INFINITE => Ok(f64::NEG_INFINITY),
        len => number(source.take(usize::from(len))?),
    }
}

fn number(text: &[u8]) -> Result<f64, Bad> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Bad)
}
