//! What asks sorted sets for members by their place in the order: ZRANGE, what stood for parts of it before Redis 6.2, and ZRANGESTORE.

use super::bounds::{Bounds, By, Direction};
use super::{Command, Keys, Outcome, Run, Scores, members, store};
use crate::command::strings::integer;
use crate::value::Zset;
use crate::{Context, Keyspace, Refused, Reply};
use std::ops::Range;

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    row("zrange", 610, zrange, "Returns members of a sorted set within a range of ranks, scores or names.", "1.2.0"),
    Command {
        name: "zrangestore",
        id: 611,
        arity: -5,
        flags: "write denyoom",
        keys: Keys::TWO,
        run: Run::Write(zrangestore),
        summary: "Stores a range of members of a sorted set in a key.",
        group: "sorted-set",
        since: "6.2.0",
    },
    row(
        "zrevrange",
        612,
        zrevrange,
        "Returns members of a sorted set within a range of ranks, the last first.",
        "1.2.0",
    ),
    row("zrangebyscore", 613, zrangebyscore, "Returns members of a sorted set within a range of scores.", "1.0.5"),
    row(
        "zrevrangebyscore",
        614,
        zrevrangebyscore,
        "Returns members of a sorted set within a range of scores, the last first.",
        "2.2.0",
    ),
    row("zrangebylex", 615, zrangebylex, "Returns members of a sorted set within a range of names.", "2.8.9"),
    row(
        "zrevrangebylex",
        616,
        zrevrangebylex,
        "Returns members of a sorted set within a range of names, the last first.",
        "2.8.9",
    ),
];

const fn row(
    name: &'static str,
    id: u16,
    run: fn(&Keyspace, &Context, &[&[u8]]) -> Outcome,
    summary: &'static str,
    since: &'static str,
) -> Command {
    Command {
        name,
        id,
        arity: -4,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(run),
        summary,
        group: "sorted-set",
        since,
    }
}

/// A range of members as a command asks for it.
struct Asked<'a> {
    bounds: Bounds<'a>,
    direction: Direction,
    limit: Limit,
    scores: Scores,
}

/// LIMIT: how many are left out, and how many may follow.
#[derive(Clone, Copy)]
struct Limit {
    offset: i64,
    /// None if negative.
    count: i64,
}

/// Whether the members go into a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goal {
    Answer,
    Store,
}

impl<'a> Asked<'a> {
    /// Reads the two ends in `words` and the options behind them. `by` and `direction` are what the command's name says.
    fn read(
        words: &[&'a [u8]],
        mut by: Option<By>,
        mut direction: Option<Direction>,
        goal: Goal,
    ) -> Result<Self, Refused> {
        let (mut limit, mut scores) = (Limit::NONE, Scores::Without);
        let mut rest = &words[2..];
        while let Some((word, more)) = rest.split_first() {
            rest = more;
            match (word.to_ascii_lowercase().as_slice(), more) {
                (b"withscores", _) if goal == Goal::Answer => scores = Scores::With,
                (b"limit", [offset, count, more @ ..]) => {
                    limit = Limit { offset: integer(offset)?, count: integer(count)? };
                    rest = more;
                }
                (b"rev", _) if direction.is_none() => direction = Some(Direction::Backward),
                (b"bylex", _) if by.is_none() => by = Some(By::Name),
                (b"byscore", _) if by.is_none() => by = Some(By::Score),
                _ => return Err(Refused::Syntax),
            }
        }
        let (by, direction) = (by.unwrap_or(By::Rank), direction.unwrap_or(Direction::Forward));
        let never = |text: &str| Err(Refused::Text(format!("ERR syntax error, {text}")));
        if limit.count != Limit::NONE.count && by == By::Rank {
            return never("LIMIT is only supported in combination with either BYSCORE or BYLEX");
        }
        if scores == Scores::With && by == By::Name {
            return never("WITHSCORES not supported in combination with BYLEX");
        }
        let limit = if by == By::Rank { Limit::NONE } else { limit };
        Ok(Self { bounds: Bounds::read(by, direction, [words[0], words[1]])?, direction, limit, scores })
    }

    fn ranks(&self, zset: &Zset) -> Range<usize> {
        let Range { start, end } = self.bounds.ranks(zset);
        // A negative offset leaves all out, as in Redis.
        let offset = usize::try_from(self.limit.offset).unwrap_or(usize::MAX).min(end - start);
        let count = usize::try_from(self.limit.count).unwrap_or(usize::MAX).min(end - start - offset);
        match self.direction {
            Direction::Forward => start + offset..start + offset + count,
            Direction::Backward => end - offset - count..end - offset,
        }
    }

    fn answer(&self, keyspace: &Keyspace, cx: &Context, key: &[u8]) -> Outcome {
        let Some(zset) = keyspace.container::<Zset>(cx, key)? else { return Ok(Reply::Array(Vec::new())) };
        let ranks = self.ranks(zset);
        Ok(match self.direction {
            Direction::Forward => members(zset.range(ranks), self.scores),
            Direction::Backward => members(zset.range_back(ranks), self.scores),
        })
    }
}

impl Limit {
    const NONE: Self = Self { offset: 0, count: -1 };
}

fn zrange(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Asked::read(&args[2..], None, None, Goal::Answer)?.answer(keyspace, cx, args[1])
}

fn zrevrange(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    named(keyspace, cx, args, By::Rank, Direction::Backward)
}

fn zrangebyscore(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    named(keyspace, cx, args, By::Score, Direction::Forward)
}

fn zrevrangebyscore(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    named(keyspace, cx, args, By::Score, Direction::Backward)
}

fn zrangebylex(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    named(keyspace, cx, args, By::Name, Direction::Forward)
}

fn zrevrangebylex(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    named(keyspace, cx, args, By::Name, Direction::Backward)
}

fn named(keyspace: &Keyspace, cx: &Context, args: &[&[u8]], by: By, direction: Direction) -> Outcome {
    Asked::read(&args[2..], Some(by), Some(direction), Goal::Answer)?.answer(keyspace, cx, args[1])
}

fn zrangestore(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let asked = Asked::read(&args[3..], None, None, Goal::Store)?;
    let mut found = Zset::default();
    if let Some(zset) = keyspace.container::<Zset>(cx, args[2])? {
        for (member, score) in zset.range(asked.ranks(zset)) {
            member.read(|member| found.insert(member, score));
        }
    }
    Ok(Reply::count(store(keyspace, cx, args[1], found, "zrangestore")))
}
