//! What asks sorted sets about members and counts.

use super::bounds::{Bounds, By, Direction};
use super::{Command, Keys, Outcome, Run};
use crate::value::{Container, Zset};
use crate::{Context, Keyspace, Reply};

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    row("zcard", 603, 2, "readonly fast", zcard, "Returns how many members a sorted set has.", "1.2.0"),
    row("zcount", 604, 4, "readonly fast", zcount, "Counts the members within a range of scores.", "2.0.0"),
    row("zlexcount", 605, 4, "readonly fast", zlexcount, "Counts the members within a range of names.", "2.8.9"),
    row("zscore", 606, 3, "readonly fast", zscore, "Returns the score of a member of a sorted set.", "1.2.0"),
    row("zmscore", 607, -3, "readonly fast", zmscore, "Returns the scores of members of a sorted set.", "6.2.0"),
    row("zrank", 608, 3, "readonly fast", zrank, "Returns how many members stand before one.", "2.0.0"),
    row("zrevrank", 609, 3, "readonly fast", zrevrank, "Returns how many members stand behind one.", "2.0.0"),
];

const fn row(
    name: &'static str,
    id: u16,
    arity: i16,
    flags: &'static str,
    run: fn(&Keyspace, &Context, &[&[u8]]) -> Outcome,
    summary: &'static str,
    since: &'static str,
) -> Command {
    Command { name, id, arity, flags, keys: Keys::ONE, run: Run::Read(run), summary, group: "sorted-set", since }
}

fn zcard(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::count(keyspace.container::<Zset>(cx, args[1])?.map_or(0, Container::len)))
}

fn zcount(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    count(keyspace, cx, args, By::Score)
}

fn zlexcount(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    count(keyspace, cx, args, By::Name)
}

fn count(keyspace: &Keyspace, cx: &Context, args: &[&[u8]], by: By) -> Outcome {
    let bounds = Bounds::read(by, Direction::Forward, [args[2], args[3]])?;
    Ok(Reply::count(keyspace.container::<Zset>(cx, args[1])?.map_or(0, |zset| bounds.ranks(zset).len())))
}

fn zscore(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(score(keyspace.container(cx, args[1])?, args[2]))
}

fn zmscore(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container(cx, args[1])?;
    Ok(Reply::Array(args[2..].iter().map(|member| score(zset, member)).collect()))
}

fn score(zset: Option<&Zset>, member: &[u8]) -> Reply {
    zset.and_then(|zset| zset.score(member)).map_or(Reply::Nil, Reply::Double)
}

fn zrank(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container::<Zset>(cx, args[1])?;
    Ok(zset.and_then(|zset| zset.rank(args[2])).map_or(Reply::Nil, Reply::count))
}

fn zrevrank(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container::<Zset>(cx, args[1])?;
    let rank = zset.and_then(|zset| Some(zset.len() - 1 - zset.rank(args[2])?));
    Ok(rank.map_or(Reply::Nil, Reply::count))
}
