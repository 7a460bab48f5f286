//! What takes members out of sorted sets at an end.

use super::{Command, Keys, Outcome, Run};
use crate::command::strings::integer;
use crate::keyspace::{Absent, Changed, Class};
use crate::value::{Container, Zset};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "zpopmin",
        id: 620,
        arity: -2,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(zpopmin),
        summary: "Takes the members with the lowest scores out of a sorted set.",
        group: "sorted-set",
        since: "5.0.0",
    },
    Command {
        name: "zpopmax",
        id: 621,
        arity: -2,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(zpopmax),
        summary: "Takes the members with the highest scores out of a sorted set.",
        group: "sorted-set",
        since: "5.0.0",
    },
];

/// An end of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Extreme {
    Min,
    Max,
}

fn zpopmin(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    zpop(keyspace, cx, args, Extreme::Min)
}

fn zpopmax(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    zpop(keyspace, cx, args, Extreme::Max)
}

fn zpop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]], from: Extreme) -> Outcome {
    if args.len() > 3 {
        return Err(Refused::Syntax);
    }
    let count = args.get(2).map(|count| positive(count)).transpose()?;
    let popped = pop(keyspace, cx, args[1], from, count.unwrap_or(1))?;
    Ok(match count {
        Some(_) => Reply::Pairs(popped),
        None => Reply::Array(popped.into_iter().flat_map(|(member, score)| [member, score]).collect()),
    })
}

fn positive(text: &[u8]) -> Result<usize, Refused> {
    let wrong = || Refused::Text("ERR value is out of range, must be positive".to_owned());
    integer(text).ok().and_then(|count| usize::try_from(count).ok()).ok_or_else(wrong)
}

/// Takes up to `count` members out, the outermost first, with their scores; nothing of a key that isn't there.
pub(in crate::command) fn pop(
    keyspace: &mut Keyspace,
    cx: &Context,
    key: &[u8],
    from: Extreme,
    count: usize,
) -> Result<Vec<(Reply, Reply)>, Refused> {
    let popped = keyspace.change(cx, key, Absent::Leave, |zset: &mut Zset| {
        let mut popped = Vec::new();
        while popped.len() < count && !zset.is_empty() {
            let rank = if from == Extreme::Min { 0 } else { zset.len() - 1 };
            let (member, score) =
                zset.range(rank..rank + 1).next().map(|(m, s)| (m.to_vec(), s)).expect("it has members");
            zset.remove(&member);
            popped.push((Reply::bulk(&member), Reply::Double(score)));
        }
        let emptied = zset.is_empty();
        let changed = Changed::from(!popped.is_empty());
        ((popped, emptied), changed)
    })?;
    let Some((popped, emptied)) = popped else { return Ok(Vec::new()) };
    if !popped.is_empty() {
        keyspace.notify(cx.db, Class::Zset, if from == Extreme::Min { "zpopmin" } else { "zpopmax" }, key);
        if emptied {
            keyspace.notify(cx.db, Class::Generic, "del", key);
        }
    }
    Ok(popped)
}
