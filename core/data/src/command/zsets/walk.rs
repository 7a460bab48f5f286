//! Members by chance and page by page: ZRANDMEMBER and ZSCAN.

use super::{Command, Keys, Outcome, Run, Scores, members};
use crate::command::picks::{self, Count};
use crate::command::scans::{self, Options};
use crate::value::{Container, Zset};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "zrandmember",
        id: 630,
        arity: -2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(zrandmember),
        summary: "Returns members of a sorted set by chance.",
        group: "sorted-set",
        since: "6.2.0",
    },
    Command {
        name: "zscan",
        id: 631,
        arity: -3,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(zscan),
        summary: "Walks over the members of a sorted set.",
        group: "sorted-set",
        since: "2.8.0",
    },
];

fn zrandmember(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let Some(count) = args.get(2) else {
        let Some(zset) = keyspace.container::<Zset>(cx, args[1])? else { return Ok(Reply::Nil) };
        let chosen = zset.nth(picks::one(&mut cx.chance(), zset.len()));
        return Ok(chosen.map_or(Reply::Nil, |(member, _)| Reply::Bulk(member.blob())));
    };
    let count = Count::parse(count)?;
    let scores = match args[3..] {
        [] => Scores::Without,
        [word] if word.eq_ignore_ascii_case(b"withscores") => Scores::With,
        _ => return Err(Refused::Syntax),
    };
    if scores == Scores::With {
        count.can_be_doubled()?;
    }
    let Some(zset) = keyspace.container::<Zset>(cx, args[1])? else { return Ok(Reply::Array(Vec::new())) };
    let chosen = count.draw(&mut cx.chance(), zset.len())?;
    Ok(members(chosen.into_iter().filter_map(|rank| zset.nth(rank)), scores))
}

fn zscan(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let cursor = scans::cursor(args[2])?;
    let Some(zset) = keyspace.container::<Zset>(cx, args[1])? else { return Ok(scans::nothing()) };
    let options = Options::parse(&args[3..])?;
    let mut page = Vec::new();
    let is_small = zset.encoding() == Zset::default().encoding();
    let next = zset.scan(cursor, options.count(), |member, score| {
        if options.wants(member) {
            let score = if is_small { small_score(score) } else { Reply::digits(score) };
            page.extend([Reply::Bulk(member.blob()), Reply::text(score)]);
        }
    });
    Ok(scans::reply(next, page))
}

/// A score as Redis keeps it in a small set: integers in all their digits.
fn small_score(score: f64) -> String {
    if score.fract() == 0.0 && score.abs() <= INTEGER_MAX { format!("{score:.0}") } else { Reply::digits(score) }
}

/// 2^62: integers beyond it are kept as any other score.
const INTEGER_MAX: f64 = 4_611_686_018_427_387_904.0;
