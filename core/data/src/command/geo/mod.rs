//! Places on the globe, kept in sorted sets: ids 700 to 709.

mod cells;
pub mod search;
mod sphere;
mod trig;
mod words;

use super::zsets::add;
use super::{Command, Keys, Outcome, Run};
use crate::value::Zset;
use crate::{Context, Keyspace, Refused, Reply};
use sphere::Place;

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "geoadd",
        id: 700,
        arity: -5,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(geoadd),
        summary: "Adds members at places, or moves them.",
        group: "geo",
        since: "3.2.0",
    },
    Command {
        name: "geopos",
        id: 701,
        arity: -2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(geopos),
        summary: "Returns the coordinates of members.",
        group: "geo",
        since: "3.2.0",
    },
    Command {
        name: "geodist",
        id: 702,
        arity: -4,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(geodist),
        summary: "Returns the distance between two members.",
        group: "geo",
        since: "3.2.0",
    },
    Command {
        name: "geohash",
        id: 703,
        arity: -2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(geohash),
        summary: "Returns the geohashes of members as text.",
        group: "geo",
        since: "3.2.0",
    },
];

fn geoadd(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let mut options = add::Options::default();
    let mut first = 2;
    while let Some(word) = args.get(first) {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => options.nx = true,
            b"xx" => options.xx = true,
            b"ch" => options.ch = true,
            _ => break,
        }
        first += 1;
    }
    let places = &args[first..];
    if places.is_empty() || !places.len().is_multiple_of(3) || (options.nx && options.xx) {
        return Err(Refused::Syntax);
    }
    let scored = places.chunks_exact(3).map(|words| {
        #[expect(clippy::cast_precision_loss, reason = "a hash has at most 53 bits")]
        let score = cells::hash(words::coordinates(words[0], words[1])?) as f64;
        Ok((score, words[2]))
    });
    let pairs = scored.collect::<Result<Vec<_>, Refused>>()?;
    add::add_members(keyspace, cx, args[1], options, &pairs)
}

fn geopos(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container(cx, args[1])?;
    let place = |member: &&[u8]| place(zset, member).map_or(Reply::NilArray, coordinates_reply);
    Ok(Reply::Array(args[2..].iter().map(place).collect()))
}

fn geodist(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let unit = match args[4..] {
        [] => 1.0,
        [word] => words::unit(word)?,
        _ => return Err(Refused::Syntax),
    };
    let zset = keyspace.container(cx, args[1])?;
    let places = place(zset, args[2]).zip(place(zset, args[3]));
    Ok(places.map_or(Reply::Nil, |(one, other)| distance_reply(sphere::distance(one, other) / unit)))
}

fn geohash(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let zset = keyspace.container(cx, args[1])?;
    let text = |member: &&[u8]| place(zset, member).map_or(Reply::Nil, |place| Reply::bulk(&cells::text(place)));
    Ok(Reply::Array(args[2..].iter().map(text).collect()))
}

fn place(zset: Option<&Zset>, member: &[u8]) -> Option<Place> {
    zset?.score(member).map(cells::place)
}

fn coordinates_reply(place: Place) -> Reply {
    Reply::Array(vec![Reply::Decimal(place.longitude), Reply::Decimal(place.latitude)])
}

/// A distance, with as many digits as make sense in any unit.
fn distance_reply(distance: f64) -> Reply {
    Reply::text(format_args!("{distance:.4}"))
}
