//! What takes members out of sorted sets by name or by range.

use super::bounds::{Bounds, By, Direction};
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Absent, Changed, Class};
use crate::value::{Container, Zset};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    row("zrem", 602, -3, "write fast", zrem, "Takes members out of a sorted set.", "1.2.0"),
    row("zremrangebyrank", 617, 4, "write", zremrangebyrank, "Takes a range of ranks out of a sorted set.", "2.0.0"),
    row("zremrangebyscore", 618, 4, "write", zremrangebyscore, "Takes a range of scores out of a sorted set.", "1.2.0"),
    row("zremrangebylex", 619, 4, "write", zremrangebylex, "Takes a range of names out of a sorted set.", "2.8.9"),
];

const fn row(
    name: &'static str,
    id: u16,
    arity: i16,
    flags: &'static str,
    run: fn(&mut Keyspace, &Context, &[&[u8]]) -> Outcome,
    summary: &'static str,
    since: &'static str,
) -> Command {
    Command { name, id, arity, flags, keys: Keys::ONE, run: Run::Write(run), summary, group: "sorted-set", since }
}

fn zrem(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    take(keyspace, cx, args[1], "zrem", |zset| args[2..].iter().filter_map(|member| zset.remove(member)).count())
}

fn zremrangebyrank(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    take_range(keyspace, cx, args, By::Rank, "zremrangebyrank")
}

fn zremrangebyscore(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    take_range(keyspace, cx, args, By::Score, "zremrangebyscore")
}

fn zremrangebylex(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    take_range(keyspace, cx, args, By::Name, "zremrangebylex")
}

fn take_range(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]], by: By, event: &'static str) -> Outcome {
    let bounds = Bounds::read(by, Direction::Forward, [args[2], args[3]])?;
    take(keyspace, cx, args[1], event, |zset| {
        let ranks = bounds.ranks(zset);
        zset.remove_range(ranks.clone());
        ranks.len()
    })
}

/// Lets members be taken out, and tells how many were.
fn take(
    keyspace: &mut Keyspace,
    cx: &Context,
    key: &[u8],
    event: &'static str,
    take: impl FnOnce(&mut Zset) -> usize,
) -> Result<Reply, Refused> {
    let taken = keyspace.change(cx, key, Absent::Leave, |zset: &mut Zset| {
        let count = take(zset);
        ((count, zset.is_empty()), Changed::from(count > 0))
    })?;
    let (count, emptied) = taken.unwrap_or((0, false));
    if count > 0 {
        keyspace.notify(cx.db, Class::Zset, event, key);
    }
    if emptied {
        keyspace.notify(cx.db, Class::Generic, "del", key);
    }
    Ok(Reply::count(count))
}
