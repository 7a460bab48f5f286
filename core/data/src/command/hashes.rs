//! Hashes.

use super::picks::{self, Count};
use super::ranges::{float, sum_of_floats};
use super::strings::integer;
use super::{Command, Keys, Outcome, Run, scans};
use crate::keyspace::{Absent, Changed, Class};
use crate::value::{Container, Hash, Word};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this family; ids 540 to 569.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "hset",
        id: 540,
        arity: -4,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(hset),
        summary: "Sets fields of a hash.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hsetnx",
        id: 541,
        arity: 4,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(hsetnx),
        summary: "Sets a field of a hash that does not have it.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hmset",
        id: 542,
        arity: -4,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(hmset),
        summary: "Sets fields of a hash.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hget",
        id: 543,
        arity: 3,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(hget),
        summary: "Returns the value of a field of a hash.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hmget",
        id: 544,
        arity: -3,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(hmget),
        summary: "Returns the values of fields of a hash.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hgetall",
        id: 545,
        arity: 2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(hgetall),
        summary: "Returns all fields of a hash and their values.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hdel",
        id: 546,
        arity: -3,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(hdel),
        summary: "Removes fields from a hash.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hlen",
        id: 547,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(hlen),
        summary: "Returns how many fields a hash has.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hexists",
        id: 548,
        arity: 3,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(hexists),
        summary: "Tells whether a hash has a field.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hkeys",
        id: 549,
        arity: 2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(hkeys),
        summary: "Returns all fields of a hash.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hvals",
        id: 550,
        arity: 2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(hvals),
        summary: "Returns all values of a hash.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hstrlen",
        id: 551,
        arity: 3,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(hstrlen),
        summary: "Returns the length of the value of a field.",
        group: "hash",
        since: "3.2.0",
    },
    Command {
        name: "hincrby",
        id: 552,
        arity: 4,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(hincrby),
        summary: "Increments the integer in a field of a hash.",
        group: "hash",
        since: "2.0.0",
    },
    Command {
        name: "hincrbyfloat",
        id: 553,
        arity: 4,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(hincrbyfloat),
        summary: "Increments the number in a field of a hash by a float.",
        group: "hash",
        since: "2.6.0",
    },
    Command {
        name: "hrandfield",
        id: 554,
        arity: -2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(hrandfield),
        summary: "Returns fields of a hash by chance.",
        group: "hash",
        since: "6.2.0",
    },
    Command {
        name: "hscan",
        id: 555,
        arity: -3,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(hscan),
        summary: "Walks over the fields of a hash.",
        group: "hash",
        since: "2.8.0",
    },
];

fn at<'a>(keyspace: &'a Keyspace, cx: &Context, args: &[&[u8]]) -> Result<Option<&'a Hash>, Refused> {
    keyspace.container(cx, args[1])
}

fn bulk(word: Word<'_>) -> Reply {
    Reply::Bulk(word.blob())
}

/// The value of a field, or nil.
fn value(hash: Option<&Hash>, field: &[u8]) -> Reply {
    hash.and_then(|hash| hash.get(field)).map_or(Reply::Nil, bulk)
}

fn hset(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    set_all(keyspace, cx, args, "hset").map(Reply::count)
}

fn hmset(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    set_all(keyspace, cx, args, "hmset").map(|_| Reply::Ok)
}

/// How many fields are new.
fn set_all(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]], name: &str) -> Result<usize, Refused> {
    if !args.len().is_multiple_of(2) {
        return Err(Refused::Arity(name.to_owned()));
    }
    let seed = keyspace.index_seed();
    let new = keyspace.change(cx, args[1], Absent::Make, |hash: &mut Hash| {
        let new = args[2..].chunks_exact(2).filter(|pair| hash.set(pair[0], pair[1], seed)).count();
        (new, Changed::Yes)
    })?;
    keyspace.notify(cx.db, Class::Hash, "hset", args[1]);
    Ok(new.unwrap_or(0))
}

fn hsetnx(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let free = !at(keyspace, cx, args)?.is_some_and(|hash| hash.contains(args[2]));
    if free {
        set_all(keyspace, cx, args, "hsetnx")?;
    }
    Ok(Reply::Int(i64::from(free)))
}

fn hget(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(value(at(keyspace, cx, args)?, args[2]))
}

fn hmget(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let hash = at(keyspace, cx, args)?;
    Ok(Reply::Array(args[2..].iter().map(|field| value(hash, field)).collect()))
}

fn hgetall(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let pairs = at(keyspace, cx, args)?.map(|hash| hash.fields(0..hash.len()));
    let pairs = pairs.into_iter().flatten().map(|(field, value)| (bulk(field), bulk(value)));
    Ok(Reply::Map(pairs.collect()))
}

fn hkeys(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let fields = at(keyspace, cx, args)?.map(|hash| hash.fields(0..hash.len()));
    Ok(Reply::strings(fields.into_iter().flatten().map(|(field, _)| field)))
}

fn hvals(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let fields = at(keyspace, cx, args)?.map(|hash| hash.fields(0..hash.len()));
    Ok(Reply::strings(fields.into_iter().flatten().map(|(_, value)| value)))
}

fn hdel(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let gone = keyspace.change(cx, args[1], Absent::Leave, |hash: &mut Hash| {
        let gone = args[2..].iter().filter(|field| hash.remove(field)).count();
        ((gone, hash.is_empty()), Changed::from(gone > 0))
    })?;
    let (gone, emptied) = gone.unwrap_or((0, false));
    if gone > 0 {
        keyspace.notify(cx.db, Class::Hash, "hdel", args[1]);
    }
    if emptied {
        keyspace.notify(cx.db, Class::Generic, "del", args[1]);
    }
    Ok(Reply::count(gone))
}

fn hlen(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::count(at(keyspace, cx, args)?.map_or(0, Hash::len)))
}

fn hexists(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let there = at(keyspace, cx, args)?.is_some_and(|hash| hash.contains(args[2]));
    Ok(Reply::Int(i64::from(there)))
}

fn hstrlen(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let value = at(keyspace, cx, args)?.and_then(|hash| hash.get(args[2]));
    Ok(Reply::count(value.map_or(0, Word::len)))
}

fn hincrby(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let by = integer(args[3])?;
    let old = match at(keyspace, cx, args)?.and_then(|hash| hash.get(args[2])) {
        None => 0,
        Some(value) => value.integer().ok_or_else(|| Refused::Text("ERR hash value is not an integer".to_owned()))?,
    };
    let new = old.checked_add(by).ok_or(Refused::Overflow)?;
    put(keyspace, cx, args, new.to_string().as_bytes(), "hincrby")?;
    Ok(Reply::Int(new))
}

fn hincrbyfloat(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let by = float(args[3])?;
    if !by.is_finite() {
        return Err(Refused::Text("ERR value is NaN or Infinity".to_owned()));
    }
    let old = at(keyspace, cx, args)?.and_then(|hash| hash.get(args[2]));
    let old = old.map_or_else(|| b"0".to_vec(), |value| value.read(<[u8]>::to_vec));
    if float(&old).is_err() {
        return Err(Refused::Text("ERR hash value is not a float".to_owned()));
    }
    let new = sum_of_floats(&old, args[3])?;
    put(keyspace, cx, args, new.as_bytes(), "hincrbyfloat")?;
    Ok(Reply::bulk(new.as_bytes()))
}

/// Sets the field that stands in `args` and tells it as `event`.
fn put(
    keyspace: &mut Keyspace,
    cx: &Context,
    args: &[&[u8]],
    value: &[u8],
    event: &'static str,
) -> Result<(), Refused> {
    let seed = keyspace.index_seed();
    keyspace.change(cx, args[1], Absent::Make, |hash: &mut Hash| (hash.set(args[2], value, seed), Changed::Yes))?;
    keyspace.notify(cx.db, Class::Hash, event, args[1]);
    Ok(())
}

fn hrandfield(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let Some(count) = args.get(2) else {
        let Some(hash) = at(keyspace, cx, args)? else { return Ok(Reply::Nil) };
        return Ok(bulk(field(hash, picks::one(&mut cx.chance(), hash.len())).0));
    };
    let count = Count::parse(count)?;
    let with_values = match &args[3..] {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"withvalues") => true,
        _ => return Err(Refused::Syntax),
    };
    if with_values {
        count.can_be_doubled()?;
    }
    let Some(hash) = at(keyspace, cx, args)? else { return Ok(Reply::Array(Vec::new())) };
    let chosen = count.draw(&mut cx.chance(), hash.len())?;
    let chosen = chosen.into_iter().map(|at| field(hash, at));
    Ok(if with_values {
        Reply::Couples(chosen.map(|(field, value)| (bulk(field), bulk(value))).collect())
    } else {
        Reply::Array(chosen.map(|(field, _)| bulk(field)).collect())
    })
}

/// The field and value at a place.
fn field(hash: &Hash, at: usize) -> (Word<'_>, Word<'_>) {
    hash.fields(at..at + 1).next().expect("places are drawn below the length")
}

fn hscan(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let cursor = scans::cursor(args[2])?;
    let Some(hash) = at(keyspace, cx, args)? else { return Ok(scans::nothing()) };
    let options = scans::Options::parse(&args[3..])?;
    let (range, next) = options.page(cursor, hash.len(), hash.scans_at_once());
    let wanted = hash.fields(range).filter(|(field, _)| options.wants(*field));
    Ok(scans::reply(next, wanted.flat_map(|(field, value)| [bulk(field), bulk(value)]).collect()))
}
