//! What asks sorted sets for members by their place in the order.

use super::{Command, Keys, Outcome, Run, Scores, members};
use crate::command::strings::integer;
use crate::value::{Container, Zset};
use crate::{Context, Keyspace, Refused, Reply};
use std::ops::Range;

/// The rows of this file.
pub static COMMANDS: &[Command] = &[Command {
    name: "zrange",
    id: 610,
    arity: -4,
    flags: "readonly",
    keys: Keys::ONE,
    run: Run::Read(zrange),
    summary: "Returns members of a sorted set within a range of ranks, scores or names.",
    group: "sorted-set",
    since: "1.2.0",
}];

fn zrange(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let scores = match args[4..] {
        [] => Scores::Without,
        [word] if word.eq_ignore_ascii_case(b"withscores") => Scores::With,
        _ => return Err(Refused::Syntax),
    };
    let (start, end) = (integer(args[2])?, integer(args[3])?);
    let Some(zset) = keyspace.container::<Zset>(cx, args[1])? else { return Ok(Reply::Array(Vec::new())) };
    Ok(members(zset.range(ranks(start, end, zset.len())), scores))
}

/// The ranks from `start` to `end`, both in, which count from the end if negative.
fn ranks(start: i64, end: i64, len: usize) -> Range<usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |at: i64| if at < 0 { at + len } else { at };
    let (start, end) = (from_end(start).max(0), from_end(end).min(len - 1));
    let at = |n: i64| usize::try_from(n).unwrap_or(0);
    if start > end { 0..0 } else { at(start)..at(end + 1) }
}
