//! Commands that concern every shard: each shard runs its part here, the node merges.

use super::fences;
use super::glob::glob;
use super::strings::integer;
use super::{Command, Keys, Outcome, Run, Scatter};
use crate::{Context, Keyspace, Refused, Reply};
use base::limits::DATABASE_COUNT;
use base::rng::Rng;

/// The rows of this family; ids 300 to 349.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "dbsize",
        id: 300,
        arity: 1,
        flags: "readonly fast",
        keys: Keys::NONE,
        run: Run::Scatter(Scatter::DbSize),
        summary: "Returns the number of keys in the database.",
        group: "server",
        since: "1.0.0",
    },
    Command {
        name: "keys",
        id: 301,
        arity: 2,
        flags: "readonly",
        keys: Keys::NONE,
        run: Run::Scatter(Scatter::Keys),
        summary: "Returns all key names that match a pattern.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "scan",
        id: 302,
        arity: -2,
        flags: "readonly",
        keys: Keys::NONE,
        run: Run::Scatter(Scatter::Scan),
        summary: "Iterates over the key names in the database.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "randomkey",
        id: 303,
        arity: 1,
        flags: "readonly",
        keys: Keys::NONE,
        run: Run::Scatter(Scatter::RandomKey),
        summary: "Returns a random key name from the database.",
        group: "generic",
        since: "1.0.0",
    },
    Command {
        name: "flushdb",
        id: 304,
        arity: -1,
        flags: "write",
        keys: Keys::NONE,
        run: Run::Scatter(Scatter::FlushDb),
        summary: "Removes all keys from the current database.",
        group: "server",
        since: "1.0.0",
    },
    Command {
        name: "flushall",
        id: 305,
        arity: -1,
        flags: "write",
        keys: Keys::NONE,
        run: Run::Scatter(Scatter::FlushAll),
        summary: "Removes all keys from all databases.",
        group: "server",
        since: "1.0.0",
    },
];

/// One shard's part of a scattered command that stands in the log.
pub fn run(scatter: Scatter, keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    match scatter {
        Scatter::FlushDb | Scatter::FlushAll => {
            let known = match args.get(1).map(|word| word.to_ascii_lowercase()) {
                None => true,
                Some(word) => args.len() == 2 && matches!(word.as_slice(), b"async" | b"sync"),
            };
            if !known {
                return Err(Refused::Syntax);
            }
            let dbs = if scatter == Scatter::FlushDb { cx.db..cx.db + 1 } else { 0..DATABASE_COUNT };
            dbs.for_each(|db| keyspace.flush(db));
            Ok(Reply::Ok)
        }
        Scatter::FenceReset => fences::reset(keyspace, args),
        Scatter::Script => super::scripts::script(keyspace, args),
        Scatter::Function => super::scripts::function(keyspace, args),
        Scatter::DbSize | Scatter::Keys | Scatter::Scan | Scatter::RandomKey | Scatter::FenceInfo => {
            let seed = keyspace.applied_index().0;
            read(scatter, keyspace, cx, args, &mut Rng::new(seed))
        }
    }
}

/// One shard's part of a scattered read.
pub fn read(scatter: Scatter, keyspace: &Keyspace, cx: &Context, args: &[&[u8]], rng: &mut Rng) -> Outcome {
    match scatter {
        Scatter::DbSize => Ok(Reply::count(keyspace.len(cx.db))),
        Scatter::RandomKey => Ok(keyspace.random_key(cx, rng).map_or(Reply::Nil, |key| Reply::bulk(&key))),
        Scatter::Keys => {
            let page = keyspace.scan(cx, 0, usize::MAX, |live| glob(args[1], live.key))?;
            Ok(Reply::Array(page.keys.iter().map(|key| Reply::bulk(key)).collect()))
        }
        Scatter::Scan => scan(keyspace, cx, args),
        Scatter::Function => super::scripts::look(keyspace, args),
        Scatter::FenceInfo => Ok(fences::info(keyspace, args)),
        Scatter::FlushDb | Scatter::FlushAll | Scatter::Script | Scatter::FenceReset => {
            unreachable!("it stands in the log, or is a script's")
        }
    }
}

/// The number of a cursor, read as C's strtoul does for Redis: up to a zero byte, nothing is 0, and a minus wraps.
#[must_use]
pub fn cursor(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text.split(|byte| *byte == 0).next()?).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text.is_empty() {
        return Some(0);
    }
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    Some(if negative { number.wrapping_neg() } else { number })
}

fn scan(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let cursor = cursor(args[1]).ok_or(Refused::InvalidCursor)?;
    let (mut pattern, mut count, mut kind): (&[u8], usize, Option<Vec<u8>>) = (b"*", 10, None);
    for pair in args[2..].chunks(2) {
        let [name, value] = pair else { return Err(Refused::Syntax) };
        match name.to_ascii_lowercase().as_slice() {
            b"match" => pattern = value,
            b"count" => count = usize::try_from(integer(value)?).ok().filter(|n| *n > 0).ok_or(Refused::Syntax)?,
            b"type" => kind = Some(value.to_ascii_lowercase()),
            _ => return Err(Refused::Syntax),
        }
    }
    let page = keyspace.scan(cx, cursor, count, |live| {
        let typed = kind.as_ref().is_none_or(|kind| kind == live.value.type_name().as_bytes());
        typed && glob(pattern, live.key)
    })?;
    let keys = page.keys.iter().map(|key| Reply::bulk(key)).collect();
    Ok(Reply::Array(vec![Reply::text(page.cursor), Reply::Array(keys)]))
}

#[cfg(test)]
mod tests {
    use super::cursor;

    #[test]
    fn cursors_are_read_as_c_does() {
        for (text, number) in
            [("", 0), ("0", 0), ("+7", 7), ("-1", u64::MAX), ("18446744073709551615", u64::MAX), ("5\0x", 5)]
        {
            assert_eq!(cursor(text.as_bytes()), Some(number), "{text:?}");
        }
        for text in ["abc", "1x", " 1", "--1", "-", "18446744073709551616"] {
            assert_eq!(cursor(text.as_bytes()), None, "{text:?}");
        }
    }
}
