//! XLEN, XRANGE, XREAD.

use super::{block, ids};
use crate::command::Outcome;
use crate::command::strings::integer;
use crate::value::stream::{Entry, Id};
use crate::value::{Container, Stream};
use crate::{Context, Keyspace, Refused, Reply};

pub(super) fn xlen(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::count(keyspace.container::<Stream>(cx, args[1])?.map_or(0, Container::len)))
}

pub(super) fn xrange(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (from, to) = (ids::or_end(args[2], 0)?, ids::or_end(args[3], u64::MAX)?);
    let count = match args.get(4..) {
        None | Some([]) => usize::MAX,
        Some([word, count]) if word.eq_ignore_ascii_case(b"count") => usize::try_from(integer(count)?).unwrap_or(0),
        Some(_) => return Err(Refused::Syntax),
    };
    let Some(stream) = keyspace.container::<Stream>(cx, args[1])? else { return Ok(Reply::Array(Vec::new())) };
    if count == 0 {
        return Ok(Reply::NilArray);
    }
    Ok(Reply::Array(stream.log.range(from, to).take(count).map(shown).collect()))
}

/// An entry as clients see it.
pub(super) fn shown(entry: Entry<'_>) -> Reply {
    Reply::Array(vec![Reply::text(entry.id), Reply::Array(entry.fields().map(Reply::bulk).collect())])
}

pub(super) fn xread(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let call = block::Call::parse(args)?;
    let mut found = Vec::new();
    for (key, id) in call.streams() {
        let stream = keyspace.container::<Stream>(cx, key)?;
        let last = stream.map_or(Id::MIN, |stream| stream.last);
        let after = if id == b"$" { last } else { ids::exact(id, 0)? };
        let (Some(stream), Some(from)) = (stream, after.next()) else { continue };
        let entries: Vec<Reply> = stream.log.range(from, Id::MAX).take(call.count).map(shown).collect();
        if !entries.is_empty() {
            found.push((Reply::bulk(key), Reply::Array(entries)));
        }
    }
    Ok(block::answer(found))
}
