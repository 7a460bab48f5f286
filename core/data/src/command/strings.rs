//! Strings.

use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Class, Ttl};
use crate::{Context, Keyspace, Refused, Reply};
use base::Stamp;
use base::limits::STRING_BYTES_MAX;

/// The rows of this family; ids 100 to 199.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "get",
        id: 100,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(get),
        summary: "Returns the string value of a key.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "set",
        id: 101,
        arity: -3,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(set),
        summary: "Sets the string value of a key, ignoring its type.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "mget",
        id: 102,
        arity: -2,
        flags: "readonly fast",
        keys: Keys::ALL,
        run: Run::Read(mget),
        summary: "Returns the string values of one or more keys.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "mset",
        id: 103,
        arity: -3,
        flags: "write denyoom",
        keys: Keys::PAIRS,
        run: Run::Write(mset),
        summary: "Sets the string values of one or more keys.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "msetnx",
        id: 104,
        arity: -3,
        flags: "write denyoom",
        keys: Keys::PAIRS,
        run: Run::Write(msetnx),
        summary: "Sets the string values of one or more keys if none of them exists.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "setnx",
        id: 105,
        arity: 3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(setnx),
        summary: "Sets the string value of a key if it does not exist.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "append",
        id: 106,
        arity: 3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(append),
        summary: "Appends a string to the value of a key.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "strlen",
        id: 107,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(strlen),
        summary: "Returns the length of a string value.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "incr",
        id: 108,
        arity: 2,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(incr),
        summary: "Increments the integer value of a key by one.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "decr",
        id: 109,
        arity: 2,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(decr),
        summary: "Decrements the integer value of a key by one.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "incrby",
        id: 110,
        arity: 3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(incrby),
        summary: "Increments the integer value of a key by a number.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "decrby",
        id: 111,
        arity: 3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(decrby),
        summary: "Decrements the integer value of a key by a number.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "getdel",
        id: 112,
        arity: 2,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(getdel),
        summary: "Returns the string value of a key and deletes it.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "getset",
        id: 113,
        arity: 3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(getset),
        summary: "Returns the former string value of a key and sets a new one.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "setex",
        id: 114,
        arity: 4,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(setex),
        summary: "Sets the string value and the expiry in seconds of a key.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "psetex",
        id: 115,
        arity: 4,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(psetex),
        summary: "Sets the string value and the expiry in milliseconds of a key.",
        group: "string",
        since: "1.0.0",
    },
];

/// What SET's options ask for.
#[derive(Debug, Default)]
struct SetOptions {
    must: Must,
    get: bool,
    ttl: Option<Ttl>,
}

/// NX and XX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Must {
    #[default]
    Either,
    BeThere,
    BeAway,
}

fn get(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    keyspace.get(cx, args[1]).map_or(Ok(Reply::Nil), |live| live.value.blob().map(Reply::Bulk))
}

fn set(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let options = if args.len() == 3 { SetOptions::default() } else { set_options(cx, &args[3..])? };
    check_length(args[2].len())?;
    let former = if options.get { get(keyspace, cx, args)? } else { Reply::Nil };
    let allowed = match options.must {
        Must::Either => true,
        Must::BeThere => keyspace.contains(cx, args[1]),
        Must::BeAway => !keyspace.contains(cx, args[1]),
    };
    if allowed {
        put(keyspace, cx, args[1], args[2], options.ttl.unwrap_or(Ttl::Clear));
    }
    Ok(match (options.get, allowed) {
        (true, _) => former,
        (false, true) => Reply::Ok,
        (false, false) => Reply::Nil,
    })
}

/// Sets a key to a string, and says so.
fn put(keyspace: &mut Keyspace, cx: &Context, key: &[u8], value: &[u8], ttl: Ttl) {
    keyspace.set_string(cx, key, value, ttl);
    keyspace.notify(cx.db, Class::String, "set", key);
    if let Ttl::At(_) = ttl {
        keyspace.notify(cx.db, Class::Generic, "expire", key);
    }
}

fn set_options(cx: &Context, mut rest: &[&[u8]]) -> Result<SetOptions, Refused> {
    let mut options = SetOptions::default();
    let mut expires: Option<(&[u8], &[u8])> = None;
    // As in Redis, the same unit may stand there again, and the last number counts.
    let same =
        |former: Option<(&[u8], &[u8])>, unit: &[u8]| former.is_none_or(|(old, _)| old.eq_ignore_ascii_case(unit));
    while let Some(word) = rest.first() {
        let mut used = 1;
        match (word.to_ascii_lowercase().as_slice(), rest.get(1)) {
            (b"nx", _) if options.must != Must::BeThere => options.must = Must::BeAway,
            (b"xx", _) if options.must != Must::BeAway => options.must = Must::BeThere,
            (b"get", _) => options.get = true,
            (b"keepttl", _) if expires.is_none() => options.ttl = Some(Ttl::Keep),
            (b"ex" | b"px" | b"exat" | b"pxat", Some(number)) if same(expires, word) && options.ttl.is_none() => {
                expires = Some((word, *number));
                used = 2;
            }
            _ => return Err(Refused::Syntax),
        }
        rest = &rest[used..];
    }
    if let Some((unit, number)) = expires {
        options.ttl = Some(Ttl::At(expiry(cx, &unit.to_ascii_lowercase(), number, "set")?));
    }
    Ok(options)
}

/// The stamp that EX, PX, EXAT or PXAT means; `command` stands in the error.
pub(super) fn expiry(cx: &Context, unit: &[u8], number: &[u8], command: &'static str) -> Result<Stamp, Refused> {
    let bad = || Refused::InvalidExpire(command);
    let n = u64::try_from(integer(number)?).ok().filter(|n| *n > 0).ok_or_else(bad)?;
    let ms = if matches!(unit, b"ex" | b"exat") { n.checked_mul(1000).ok_or_else(bad)? } else { n };
    let at = if matches!(unit, b"ex" | b"px") { cx.stamp.0.checked_add(ms).ok_or_else(bad)? } else { ms };
    i64::try_from(at).map_err(|_| bad())?;
    Ok(Stamp(at))
}

/// A 64-bit integer, spelled as Redis wants it: no blanks, no plus, no leading zeros.
pub(super) fn integer(text: &[u8]) -> Result<i64, Refused> {
    let parsed: Option<i64> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.filter(|n| n.to_string().as_bytes() == text).ok_or(Refused::NotAnInteger)
}

pub(super) fn check_length(bytes: usize) -> Result<(), Refused> {
    if bytes > STRING_BYTES_MAX { Err(Refused::StringTooLong) } else { Ok(()) }
}

fn mget(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let value = |key: &&[u8]| match keyspace.get(cx, key).map(|live| live.value.blob()) {
        Some(Ok(blob)) => Reply::Bulk(blob),
        Some(Err(_)) | None => Reply::Nil,
    };
    Ok(Reply::Array(args[1..].iter().map(value).collect()))
}

fn mset(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(Refused::Arity("mset".to_owned()));
    }
    for pair in args[1..].chunks_exact(2) {
        put(keyspace, cx, pair[0], pair[1], Ttl::Clear);
    }
    Ok(Reply::Ok)
}

fn msetnx(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(Refused::Arity("msetnx".to_owned()));
    }
    if args[1..].chunks_exact(2).any(|pair| keyspace.contains(cx, pair[0])) {
        return Ok(Reply::Int(0));
    }
    mset(keyspace, cx, args).map(|_| Reply::Int(1))
}

fn setnx(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let free = !keyspace.contains(cx, args[1]);
    if free {
        put(keyspace, cx, args[1], args[2], Ttl::Clear);
    }
    Ok(Reply::Int(i64::from(free)))
}

fn append(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let len = keyspace.string(cx, args[1])?.map_or(0, <[u8]>::len) + args[2].len();
    check_length(len)?;
    let mut value = keyspace.take_string(cx, args[1])?;
    value.extend_from_slice(args[2]);
    keyspace.set_owned(cx, args[1], value, Ttl::Keep);
    keyspace.notify(cx.db, Class::String, "append", args[1]);
    Ok(Reply::count(len))
}

fn strlen(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::count(keyspace.string(cx, args[1])?.map_or(0, <[u8]>::len)))
}

fn incr(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    add(keyspace, cx, args[1], 1)
}

fn decr(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    add(keyspace, cx, args[1], -1)
}

fn incrby(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    add(keyspace, cx, args[1], integer(args[2])?)
}

fn decrby(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let by = integer(args[2])?;
    let by = by.checked_neg().ok_or_else(|| Refused::Text("ERR decrement would overflow".to_owned()))?;
    add(keyspace, cx, args[1], by)
}

fn add(keyspace: &mut Keyspace, cx: &Context, key: &[u8], by: i64) -> Outcome {
    let old = keyspace.string(cx, key)?.map_or(Ok(0), integer)?;
    let new = old.checked_add(by).ok_or(Refused::Overflow)?;
    keyspace.set_string(cx, key, new.to_string().as_bytes(), Ttl::Keep);
    keyspace.notify(cx.db, Class::String, "incrby", key);
    Ok(Reply::Int(new))
}

fn getdel(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let value = get(keyspace, cx, args)?;
    if keyspace.remove(cx, args[1]) {
        keyspace.notify(cx.db, Class::Generic, "del", args[1]);
    }
    Ok(value)
}

fn getset(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let value = get(keyspace, cx, args)?;
    put(keyspace, cx, args[1], args[2], Ttl::Clear);
    Ok(value)
}

fn setex(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let at = expiry(cx, b"ex", args[2], "setex")?;
    put(keyspace, cx, args[1], args[3], Ttl::At(at));
    Ok(Reply::Ok)
}

fn psetex(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let at = expiry(cx, b"px", args[2], "psetex")?;
    put(keyspace, cx, args[1], args[3], Ttl::At(at));
    Ok(Reply::Ok)
}
