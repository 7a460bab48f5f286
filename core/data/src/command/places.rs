//! Keys that get another name or database, and expiries as points in time.

use super::generic::{ExpireOptions, expire_at, notify_of_successor, rename};
use super::strings::integer;
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::Class;
use crate::{Context, Keyspace, Refused, Reply};
use base::limits::DATABASE_COUNT;

/// The rows of this family; ids 220 to 239.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "expireat",
        id: 220,
        arity: -3,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(expireat),
        summary: "Sets the expiry of a key to a time in seconds.",
        group: "generic",
        since: "1.2.0",
    },
    Command {
        name: "pexpireat",
        id: 221,
        arity: -3,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(pexpireat),
        summary: "Sets the expiry of a key to a time in milliseconds.",
        group: "generic",
        since: "2.6.0",
    },
    Command {
        name: "expiretime",
        id: 222,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(expiretime),
        summary: "Returns when a key expires, in seconds.",
        group: "generic",
        since: "7.0.0",
    },
    Command {
        name: "pexpiretime",
        id: 223,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(pexpiretime),
        summary: "Returns when a key expires, in milliseconds.",
        group: "generic",
        since: "7.0.0",
    },
    Command {
        name: "renamenx",
        id: 224,
        arity: 3,
        flags: "write fast",
        keys: Keys::TWO,
        run: Run::Write(renamenx),
        summary: "Renames a key unless the new name exists.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "copy",
        id: 225,
        arity: -3,
        flags: "write denyoom",
        keys: Keys::TWO,
        run: Run::Write(copy),
        summary: "Copies a key's value to another key.",
        group: "generic",
        since: "6.2.0",
    },
    Command {
        name: "move",
        id: 226,
        arity: 3,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(move_key),
        summary: "Moves a key to another database.",
        group: "generic",
        since: "1.0.0",
    },
];

fn expireat(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    ExpireOptions::parse(&args[3..])?;
    let ms = integer(args[2])?.checked_mul(1000).ok_or(Refused::InvalidExpire("expireat"))?;
    expire_at(keyspace, cx, args, ms)
}

fn pexpireat(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    ExpireOptions::parse(&args[3..])?;
    expire_at(keyspace, cx, args, integer(args[2])?)
}

fn expiretime(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(time_of(keyspace, cx, args[1], 1000))
}

fn pexpiretime(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(time_of(keyspace, cx, args[1], 1))
}

fn time_of(keyspace: &Keyspace, cx: &Context, key: &[u8], unit_ms: u64) -> Reply {
    match keyspace.get(cx, key).map(|live| live.expire_at) {
        None => Reply::Int(-2),
        Some(None) => Reply::Int(-1),
        Some(Some(at)) => Reply::Int(i64::try_from((at.0 + unit_ms / 2) / unit_ms).unwrap_or(i64::MAX)),
    }
}

fn renamenx(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    if !keyspace.contains(cx, args[1]) {
        return Err(Refused::NoSuchKey);
    }
    if keyspace.contains(cx, args[2]) {
        return Ok(Reply::Int(0));
    }
    rename(keyspace, cx, args).map(|_| Reply::Int(1))
}

fn copy(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (mut to_db, mut replace) = (cx.db, false);
    let mut rest = &args[3..];
    while let Some(word) = rest.first() {
        match (word.to_ascii_lowercase().as_slice(), rest.get(1)) {
            (b"replace", _) => {
                replace = true;
                rest = &rest[1..];
            }
            (b"db", Some(number)) => {
                to_db = database(number)?;
                rest = &rest[2..];
            }
            _ => return Err(Refused::Syntax),
        }
    }
    if to_db == cx.db && args[1] == args[2] {
        return Err(Refused::SameObject);
    }
    let there = Context::new(to_db, cx.stamp);
    if !replace && keyspace.contains(&there, args[2]) {
        return Ok(Reply::Int(0));
    }
    if !keyspace.contains(cx, args[1]) {
        return Ok(Reply::Int(0));
    }
    notify_of_successor(keyspace, &there, args[2]);
    keyspace.copy(cx, args[1], to_db, args[2]);
    keyspace.notify(to_db, Class::Generic, "copy_to", args[2]);
    Ok(Reply::Int(1))
}

fn move_key(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let to_db = database(args[2])?;
    if to_db == cx.db {
        return Err(Refused::SameObject);
    }
    let there = Context::new(to_db, cx.stamp);
    if keyspace.contains(&there, args[1]) || !keyspace.copy(cx, args[1], to_db, args[1]) {
        return Ok(Reply::Int(0));
    }
    keyspace.remove(cx, args[1]);
    keyspace.notify(cx.db, Class::Generic, "move_from", args[1]);
    keyspace.notify(to_db, Class::Generic, "move_to", args[1]);
    Ok(Reply::Int(1))
}

fn database(number: &[u8]) -> Result<u8, Refused> {
    let number = i32::try_from(integer(number)?).map_err(|_| Refused::NotAnInt)?;
    u8::try_from(number).ok().filter(|db| *db < DATABASE_COUNT).ok_or(Refused::DbOutOfRange)
}
