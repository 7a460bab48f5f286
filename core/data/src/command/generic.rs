//! Keys of any type.

use super::strings::integer;
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::Class;
use crate::{Context, Keyspace, Refused, Reply, Watched};
use base::{ShardId, Stamp};

/// The rows of this family; ids 200 to 299.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "del",
        id: 200,
        arity: -2,
        flags: "write",
        keys: Keys::ALL,
        run: Run::Write(del),
        summary: "Deletes one or more keys.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "unlink",
        id: 201,
        arity: -2,
        flags: "write fast",
        keys: Keys::ALL,
        run: Run::Write(del),
        summary: "Deletes one or more keys.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "exists",
        id: 202,
        arity: -2,
        flags: "readonly fast",
        keys: Keys::ALL,
        run: Run::Read(exists),
        summary: "Tells how many of the keys exist.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "touch",
        id: 203,
        arity: -2,
        flags: "readonly fast",
        keys: Keys::ALL,
        run: Run::Read(exists),
        summary: "Tells how many of the keys exist.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "type",
        id: 204,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(type_of),
        summary: "Tells the type of the value of a key.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "ttl",
        id: 205,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(ttl),
        summary: "Returns the time to live of a key in seconds.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "pttl",
        id: 206,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(pttl),
        summary: "Returns the time to live of a key in milliseconds.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "expire",
        id: 207,
        arity: -3,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(expire),
        summary: "Sets the time to live of a key in seconds.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "pexpire",
        id: 208,
        arity: -3,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(pexpire),
        summary: "Sets the time to live of a key in milliseconds.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "persist",
        id: 209,
        arity: 2,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(persist),
        summary: "Takes the expiry of a key away.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "watch",
        id: 210,
        arity: -2,
        flags: "noscript loading stale fast",
        keys: Keys::ALL,
        run: Run::Read(watch),
        summary: "Makes EXEC run only if the keys have not changed.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "rename",
        id: 211,
        arity: 3,
        flags: "write",
        keys: Keys::TWO,
        run: Run::Write(rename),
        summary: "Renames a key, replacing the one of the new name.",
        group: "generic",
        since: "1.0.0",
    },
];

fn del(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let mut removed = 0;
    for key in &args[1..] {
        if keyspace.remove(cx, key) {
            keyspace.notify(cx.db, Class::Generic, "del", key);
            removed += 1;
        }
    }
    Ok(Reply::count(removed))
}

fn exists(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::count(args[1..].iter().filter(|key| keyspace.look(cx, key).is_some()).count()))
}

fn type_of(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::Simple(keyspace.look(cx, args[1]).map_or("none", |live| live.value.type_name())))
}

fn ttl(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(left_ms(keyspace, cx, args[1]).map_or_else(|reply| reply, |ms| Reply::Int((ms + 500) / 1000)))
}

fn pttl(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(left_ms(keyspace, cx, args[1]).map_or_else(|reply| reply, Reply::Int))
}

/// Milliseconds to live; else the reply for a key that is not there (-2) or does not expire (-1).
fn left_ms(keyspace: &Keyspace, cx: &Context, key: &[u8]) -> Result<i64, Reply> {
    let live = keyspace.look(cx, key).ok_or(Reply::Int(-2))?;
    let at = live.expire_at.ok_or(Reply::Int(-1))?;
    Ok(i64::try_from(at.0.saturating_sub(cx.stamp.0)).unwrap_or(i64::MAX))
}

fn expire(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    expire_in(keyspace, cx, args, 1000, "expire")
}

fn pexpire(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    expire_in(keyspace, cx, args, 1, "pexpire")
}

fn expire_in(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]], unit_ms: i64, command: &'static str) -> Outcome {
    let bad = || Refused::InvalidExpire(command);
    ExpireOptions::parse(&args[3..])?;
    let ms = integer(args[2])?.checked_mul(unit_ms).ok_or_else(bad)?;
    let now = i64::try_from(cx.stamp.0).map_err(|_| bad())?;
    expire_at(keyspace, cx, args, now.checked_add(ms).ok_or_else(bad)?)
}

/// Sets the expiry of `args[1]` to `at_ms` if the options behind `args[2]` allow it.
pub(super) fn expire_at(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]], at_ms: i64) -> Outcome {
    let at = Stamp(u64::try_from(at_ms).unwrap_or(0));
    let options = ExpireOptions::parse(&args[3..])?;
    let Some(live) = keyspace.get(cx, args[1]) else { return Ok(Reply::Int(0)) };
    let allowed = options.allow(live.expire_at, at);
    if allowed {
        set_expiry(keyspace, cx, args[1], at);
    }
    Ok(Reply::Int(i64::from(allowed)))
}

/// Lets a live key expire; at once, if the time has passed.
pub(super) fn set_expiry(keyspace: &mut Keyspace, cx: &Context, key: &[u8], at: Stamp) {
    keyspace.set_expiry(cx, key, Some(at));
    let event = if keyspace.contains(cx, key) { "expire" } else { "del" };
    keyspace.notify(cx.db, Class::Generic, event, key);
}

/// Takes the expiry of a key away; false if it has none.
pub(super) fn clear_expiry(keyspace: &mut Keyspace, cx: &Context, key: &[u8]) -> bool {
    let expires = keyspace.get(cx, key).is_some_and(|live| live.expire_at.is_some());
    if expires {
        keyspace.set_expiry(cx, key, None);
        keyspace.notify(cx.db, Class::Generic, "persist", key);
    }
    expires
}

/// NX, XX, GT and LT.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ExpireOptions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl ExpireOptions {
    pub(super) fn parse(words: &[&[u8]]) -> Result<Self, Refused> {
        let mut options = Self::default();
        for word in words {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => options.nx = true,
                b"xx" => options.xx = true,
                b"gt" => options.gt = true,
                b"lt" => options.lt = true,
                _ => {
                    // As a string of C, which ends at its first zero byte.
                    let word = word.split(|byte| *byte == 0).next().unwrap_or_default();
                    let word = String::from_utf8_lossy(word);
                    return Err(Refused::Text(format!("ERR Unsupported option {word}")));
                }
            }
        }
        let text = if options.nx && (options.xx || options.gt || options.lt) {
            "ERR NX and XX, GT or LT options at the same time are not compatible"
        } else if options.gt && options.lt {
            "ERR GT and LT options at the same time are not compatible"
        } else {
            return Ok(options);
        };
        Err(Refused::Text(text.to_owned()))
    }

    /// A key that does not expire counts as one that expires at the end of time.
    fn allow(self, former: Option<Stamp>, at: Stamp) -> bool {
        let nx = !self.nx || former.is_none();
        let xx = !self.xx || former.is_some();
        let gt = !self.gt || former.is_some_and(|former| at > former);
        let lt = !self.lt || former.is_none_or(|former| at < former);
        nx && xx && gt && lt
    }
}

fn persist(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::Int(i64::from(clear_expiry(keyspace, cx, args[1]))))
}

fn watch(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let seen = |key: &&[u8]| {
        // Looking asks for a Tick if the key is dead by now: its removal must not count as a later change.
        let dies_at = keyspace.get(cx, key).and_then(|live| live.expire_at);
        let (bucket, revision) = keyspace.watched(cx.db, key);
        Watched { shard: ShardId(0), bucket, revision, dies_at }
    };
    Ok(Reply::Watched(args[1..].iter().map(seen).collect()))
}

pub(super) fn rename(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    if !keyspace.contains(cx, args[1]) {
        return Err(Refused::NoSuchKey);
    }
    if args[1] != args[2] {
        notify_of_successor(keyspace, cx, args[2]);
        keyspace.rename(cx, args[1], args[2]);
        keyspace.notify(cx.db, Class::Generic, "rename_from", args[1]);
        keyspace.notify(cx.db, Class::Generic, "rename_to", args[2]);
    }
    Ok(Reply::Ok)
}

/// As in Redis, a key that RENAME or COPY puts in the place of another is a new one.
pub(super) fn notify_of_successor(keyspace: &mut Keyspace, cx: &Context, to: &[u8]) {
    if keyspace.contains(cx, to) {
        keyspace.notify(cx.db, Class::New, "new", to);
    }
}
