//! XLEN, XRANGE, XREVRANGE and XREAD.

use super::call::Call;
use super::ids;
use crate::command::Outcome;
use crate::command::strings::integer;
use crate::value::stream::{Entry, Id};
use crate::value::{Container, Stream};
use crate::{Context, Keyspace, Refused, Reply};

pub(super) fn xlen(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::count(keyspace.container::<Stream>(cx, args[1])?.map_or(0, Container::len)))
}

pub(super) fn xrange(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (from, to) = (ids::start(args[2])?, ids::end(args[3])?);
    in_range(keyspace, cx, args, |stream, count| stream.log().range(from, to).take(count).map(shown).collect())
}

pub(super) fn xrevrange(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (from, to) = (ids::start(args[3])?, ids::end(args[2])?);
    in_range(keyspace, cx, args, |stream, count| stream.log().range_back(from, to).take(count).map(shown).collect())
}

fn in_range(
    keyspace: &Keyspace,
    cx: &Context,
    args: &[&[u8]],
    read: impl FnOnce(&Stream, usize) -> Vec<Reply>,
) -> Outcome {
    let mut count = None;
    for pair in args[4..].chunks(2) {
        match pair {
            [word, number] if word.eq_ignore_ascii_case(b"count") => count = Some(self::count(number)?),
            _ => return Err(Refused::Syntax),
        }
    }
    let Some(stream) = keyspace.container::<Stream>(cx, args[1])? else { return Ok(Reply::Array(Vec::new())) };
    Ok(match count {
        Some(0) => Reply::NilArray,
        count => Reply::Array(read(stream, count.unwrap_or(usize::MAX))),
    })
}

/// A number of entries; less than none is none.
pub(super) fn count(number: &[u8]) -> Result<usize, Refused> {
    Ok(usize::try_from(integer(number)?.max(0)).unwrap_or(usize::MAX))
}

/// An entry as clients see it.
pub(super) fn shown(entry: Entry<'_>) -> Reply {
    Reply::Array(vec![entry.id.reply(), Reply::Array(entry.fields().map(Reply::bulk).collect())])
}

pub(super) fn xread(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let call = Call::parse(args)?;
    let mut from = Vec::with_capacity(1);
    for (key, id) in call.streams() {
        let stream = keyspace.container::<Stream>(cx, key)?;
        let after = match ids::c_string(id) {
            b"$" => stream.map_or(Id::MIN, |stream| stream.entries().last()),
            b">" => {
                let text = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                            <consumer> option.";
                return Err(Refused::Text(text.to_owned()));
            }
            _ => ids::exact(id, 0)?,
        };
        from.push((key, stream, after));
    }
    let mut found = Vec::new();
    for (key, stream, after) in from {
        let (Some(stream), Some(from)) = (stream, after.next()) else { continue };
        if from > stream.entries().last() {
            continue;
        }
        let entries: Vec<Reply> = stream.log().range(from, Id::MAX).take(call.count).map(shown).collect();
        if !entries.is_empty() {
            found.push((Reply::bulk(key), Reply::Array(entries)));
        }
    }
    Ok(if found.is_empty() { Reply::NilArray } else { Reply::Pairs(found) })
}
