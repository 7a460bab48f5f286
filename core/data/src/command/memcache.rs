//! What the memcached protocol asks of a key, as commands: `edge::memcached` speaks the protocol, and sends these.
//!
//! Values are the strings of the database, which other commands read and write as ever. A client's flags, and what the meta
//! commands know of recaching, stand beside the value ([`Marks`]); a change by another command sets them back. Times are
//! memcached's: seconds from now, seconds since 1970 where there are more than thirty days of them, 0 without end, less than
//! that over at once. Replies are arrays whose first part says how it went, in the two letters of the meta commands.

use super::strings::check_length;
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Class, Live, Marks, Ttl};
use crate::{Context, Keyspace, Refused, Reply};
use base::Stamp;

/// The rows of this family; ids 792 to 799.
pub static COMMANDS: &[Command] = &[
    row("memcache.fetch", FETCH_ID, -2, "write fast", Run::Write(fetch), "Returns a value with its marks, for mg."),
    row("memcache.store", 793, -6, "write denyoom", Run::Write(store), "Sets a value with its marks, for ms."),
    row("memcache.delete", 794, -2, "write", Run::Write(delete), "Deletes or invalidates a value, for md."),
    row("memcache.count", 795, -4, "write denyoom fast", Run::Write(count), "Adds to a counter or takes off, for ma."),
    row("memcache.get", 796, 2, "readonly fast", Run::Read(get), "Returns a value with its marks, for get and gets."),
];

pub(super) const FETCH_ID: u16 = 792;

const fn row(name: &'static str, id: u16, arity: i16, flags: &'static str, run: Run, summary: &'static str) -> Command {
    Command { name, id, arity, flags, keys: Keys::ONE, run, summary, group: "string", since: "7.0.0" }
}

/// What stands behind the fixed arguments.
#[derive(Clone, Copy, Debug, Default)]
struct Options<'a> {
    /// `C`: the version that the value must have.
    cas: Option<u64>,
    /// `E`: the version that it gets.
    new_cas: Option<u64>,
    /// `T`: when it dies.
    ttl: Option<i64>,
    /// `N`: what isn't there is made, and dies then.
    vivify: Option<i64>,
    /// `R`: a value with less than these seconds to live is to be brought anew.
    recache: Option<i64>,
    /// `J`: where a new counter begins.
    initial: Option<&'a [u8]>,
    /// `I`: the value is out of date.
    invalidate: bool,
    /// `X`: the value goes, and its key stays.
    empty: bool,
    /// `H`: that it is asked for is to be noted.
    note: bool,
}

impl<'a> Options<'a> {
    fn parse(mut rest: &[&'a [u8]]) -> Result<Self, Refused> {
        let mut options = Self::default();
        while let Some(word) = rest.first() {
            let number = rest.get(1).copied();
            let mut used = 2;
            match (word.to_ascii_lowercase().as_slice(), number) {
                (b"c", Some(number)) => options.cas = Some(unsigned(number)?),
                (b"e", Some(number)) => options.new_cas = Some(unsigned(number)?),
                (b"t", Some(number)) => options.ttl = Some(signed(number)?),
                (b"n", Some(number)) => options.vivify = Some(signed(number)?),
                (b"r", Some(number)) => options.recache = Some(signed(number)?),
                (b"j", Some(number)) => options.initial = Some(number),
                (b"i", _) => (options.invalidate, used) = (true, 1),
                (b"x", _) => (options.empty, used) = (true, 1),
                (b"h", _) => (options.note, used) = (true, 1),
                _ => return Err(Refused::Syntax),
            }
            rest = &rest[used..];
        }
        Ok(options)
    }
}

/// An unsigned number of 64 bits.
fn unsigned(text: &[u8]) -> Result<u64, Refused> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.filter(|_| digits).ok_or(Refused::NotAnInteger)
}

fn signed(text: &[u8]) -> Result<i64, Refused> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Refused::NotAnInteger)
}

/// When something dies that is said to die at `seconds`.
fn death(cx: &Context, seconds: i64) -> Ttl {
    const RELATIVE_SECONDS_MAX: u64 = 60 * 60 * 24 * 30;
    match u64::try_from(seconds) {
        Ok(0) => Ttl::Clear,
        Ok(seconds) if seconds <= RELATIVE_SECONDS_MAX => Ttl::At(Stamp(cx.stamp.0 + seconds * 1000)),
        Ok(seconds) => Ttl::At(Stamp(seconds.saturating_mul(1000).min(u64::MAX >> 1))),
        Err(_) => Ttl::At(Stamp(0)),
    }
}

/// What is answered of a value: itself, flags, version, seconds to live (-1 without end), seconds since it was asked for, whether it
/// was, and W, X and Z.
fn shown(keyspace: &Keyspace, cx: &Context, live: &Live<'_>, marks: Marks, won: bool) -> Outcome {
    let seconds = |ms: u64| i64::try_from((ms + 500) / 1000).unwrap_or(i64::MAX);
    let left = live.expire_at.map_or(-1, |at| seconds(at.0.saturating_sub(cx.stamp.0)));
    let since = if marks.accessed == Stamp(0) { 0 } else { seconds(cx.stamp.0.saturating_sub(marks.accessed.0)) };
    let cas = if marks.cas == 0 { keyspace.cas(cx.db, live.key) } else { marks.cas };
    let mut parts = vec![Reply::Bulk(live.value.blob()?), Reply::Int(i64::from(marks.flags)), Reply::text(cas)];
    parts.extend([left, since, i64::from(marks.hit)].map(Reply::Int));
    parts.extend([won, marks.stale, marks.sent].map(|on| Reply::Int(i64::from(on))));
    Ok(Reply::Array(parts))
}

fn get(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let Some(live) = keyspace.get(cx, args[1]) else { return Ok(Reply::Nil) };
    shown(keyspace, cx, &live, keyspace.marks(cx.db, args[1]).unwrap_or_default(), false)
}

/// What mg answers where that needs no change.
pub(super) fn untouched(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Option<Reply> {
    let options = Options::parse(&args[2..]).ok()?;
    let Some(live) = keyspace.get(cx, args[1]) else { return options.vivify.is_none().then_some(Reply::Nil) };
    let marks = keyspace.marks(cx.db, args[1]).unwrap_or_default();
    let plain = options.ttl.is_none() && !options.note && !wins(cx, &live, marks, options);
    plain.then(|| shown(keyspace, cx, &live, marks, false).into())
}

/// Whether who asks is to bring a new value: the first to see that it is out of date, or soon will be.
fn wins(cx: &Context, live: &Live<'_>, marks: Marks, options: Options<'_>) -> bool {
    let left_ms = live.expire_at.map(|at| at.0.saturating_sub(cx.stamp.0));
    let soon = options.recache.and_then(|seconds| u64::try_from(seconds).ok()).zip(left_ms);
    let soon = soon.is_some_and(|(seconds, left_ms)| left_ms < seconds.saturating_mul(1000));
    !marks.sent && (marks.stale || soon)
}

fn fetch(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (key, options) = (args[1], Options::parse(&args[2..])?);
    let Some(live) = keyspace.get(cx, key) else {
        let Some(seconds) = options.vivify else { return Ok(Reply::Nil) };
        put(keyspace, cx, key, b"", death(cx, seconds));
        let marks = Marks { sent: true, cas: options.new_cas.unwrap_or(0), ..Marks::default() };
        keyspace.set_marks(cx.db, key, Some(marks));
        let Some(live) = keyspace.get(cx, key) else { return Ok(Reply::Nil) };
        let marks = keyspace.marks(cx.db, key).unwrap_or_default();
        return shown(keyspace, cx, &live, Marks { sent: false, ..marks }, true);
    };
    let marks = keyspace.marks(cx.db, key).unwrap_or_default();
    let won = wins(cx, &live, marks, options);
    // The time to live that is told is the new one.
    let told = match options.ttl.map(|seconds| death(cx, seconds)) {
        Some(Ttl::At(at)) => Live { expire_at: Some(at), ..live },
        Some(_) => Live { expire_at: None, ..live },
        None => live,
    };
    let reply = shown(keyspace, cx, &told, marks, won)?;
    if won || options.note {
        let accessed = if options.note { cx.stamp } else { marks.accessed };
        // A version of its own, so that the winner's is not lost to a change of another key.
        let cas = keyspace.cas(cx.db, key);
        let marks = Marks { sent: marks.sent || won, hit: marks.hit || options.note, accessed, cas, ..marks };
        keyspace.set_marks(cx.db, key, Some(marks));
    }
    if let Some(seconds) = options.ttl {
        expire(keyspace, cx, key, seconds);
    }
    Ok(reply)
}

/// Sets a key to a string, and says so. What would be dead at once isn't set.
fn put(keyspace: &mut Keyspace, cx: &Context, key: &[u8], value: &[u8], ttl: Ttl) {
    if matches!(ttl, Ttl::At(at) if at <= cx.stamp) {
        return remove(keyspace, cx, key);
    }
    keyspace.set_string(cx, key, value, ttl);
    keyspace.notify(cx.db, Class::String, "set", key);
    if let Ttl::At(_) = ttl {
        keyspace.notify(cx.db, Class::Generic, "expire", key);
    }
}

fn remove(keyspace: &mut Keyspace, cx: &Context, key: &[u8]) {
    if keyspace.remove(cx, key) {
        keyspace.notify(cx.db, Class::Generic, "del", key);
    }
}

fn expire(keyspace: &mut Keyspace, cx: &Context, key: &[u8], seconds: i64) {
    match death(cx, seconds) {
        Ttl::At(at) => super::generic::set_expiry(keyspace, cx, key, at),
        _ => drop(super::generic::clear_expiry(keyspace, cx, key)),
    }
}

/// How it went, the version of what stands there now, and its length.
fn went(keyspace: &Keyspace, cx: &Context, key: &[u8], how: &str) -> Outcome {
    let len = keyspace.get(cx, key).and_then(|live| live.value.string().ok()).map_or(0, <[u8]>::len);
    Ok(Reply::Array(vec![Reply::bulk(how.as_bytes()), Reply::text(keyspace.cas(cx.db, key)), Reply::count(len)]))
}

fn store(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let [_, key, mode, value, flags, seconds, rest @ ..] = args else { return Err(Refused::Syntax) };
    let options = Options::parse(rest)?;
    let flags = u32::try_from(unsigned(flags)?).map_err(|_| Refused::NotAnInteger)?;
    let ttl = death(cx, signed(seconds)?);
    let mode = mode.to_ascii_lowercase();
    let (there, is) = (keyspace.contains(cx, key), keyspace.cas(cx.db, key));
    check_length(value.len())?;
    let mut stale = false;
    if let Some(wanted) = options.cas {
        stale = options.invalidate && wanted < is;
        if !there || (wanted != is && !stale) {
            return went(keyspace, cx, key, if there { "EX" } else { "NF" });
        }
    }
    // Whoever won the newer value's invalidation is bringing a newer one still.
    let marks = Marks { flags, cas: options.new_cas.unwrap_or(0), stale, sent: stale, ..Marks::default() };
    match (mode.as_slice(), there) {
        (b"s", _) | (b"e", false) | (b"r", true) => {
            put(keyspace, cx, key, value, ttl);
            mark(keyspace, cx, key, marks);
        }
        (b"a" | b"p", true) => {
            let ends = if mode == b"a" { End::Tail } else { End::Head };
            extend(keyspace, cx, key, value, ends, options)?;
        }
        (b"a" | b"p", false) if options.vivify.is_some() => {
            put(keyspace, cx, key, value, death(cx, options.vivify.unwrap_or(0)));
            mark(keyspace, cx, key, marks);
        }
        (b"e", true) | (b"r" | b"a" | b"p", false) => return went(keyspace, cx, key, "NS"),
        _ => return Err(Refused::Syntax),
    }
    went(keyspace, cx, key, "HD")
}

/// Marks a key, unless it died as it was set.
fn mark(keyspace: &mut Keyspace, cx: &Context, key: &[u8], marks: Marks) {
    if keyspace.contains(cx, key) {
        keyspace.set_marks(cx.db, key, Some(marks));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Head,
    Tail,
}

/// Puts more bytes to an end of a value that is there; its flags and its death stay.
fn extend(
    keyspace: &mut Keyspace,
    cx: &Context,
    key: &[u8],
    more: &[u8],
    end: End,
    options: Options<'_>,
) -> Result<(), Refused> {
    check_length(keyspace.string(cx, key)?.map_or(0, <[u8]>::len) + more.len())?;
    let flags = keyspace.marks(cx.db, key).unwrap_or_default().flags;
    let mut value = keyspace.take_string(cx, key)?;
    let at = if end == End::Tail { value.len() } else { 0 };
    value.splice(at..at, more.iter().copied());
    keyspace.set_owned(cx, key, value, Ttl::Keep);
    keyspace.notify(cx.db, Class::String, "append", key);
    mark(keyspace, cx, key, Marks { flags, cas: options.new_cas.unwrap_or(0), ..Marks::default() });
    Ok(())
}

fn delete(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (key, options) = (args[1], Options::parse(&args[2..])?);
    if !keyspace.contains(cx, key) {
        // It may be that somebody is filling it.
        keyspace.remove(cx, key);
        return went(keyspace, cx, key, "NF");
    }
    if options.cas.is_some_and(|wanted| wanted != keyspace.cas(cx.db, key)) {
        return went(keyspace, cx, key, "EX");
    }
    if !options.invalidate && !options.empty {
        remove(keyspace, cx, key);
        return went(keyspace, cx, key, "HD");
    }
    let marks = keyspace.marks(cx.db, key).unwrap_or_default();
    let mut flags = marks.flags;
    if options.empty {
        keyspace.string(cx, key)?;
        keyspace.set_string(cx, key, b"", Ttl::Keep);
        keyspace.notify(cx.db, Class::String, "set", key);
        flags = 0;
    }
    if let Some(seconds) = options.ttl {
        expire(keyspace, cx, key, seconds);
    }
    let cas = options.new_cas.unwrap_or(0);
    mark(keyspace, cx, key, Marks { flags, cas, stale: options.invalidate, sent: false, ..marks });
    went(keyspace, cx, key, "HD")
}

/// How it went, the version, the new number and the seconds it lives.
fn count(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (key, options) = (args[1], Options::parse(&args[4..])?);
    let by = unsigned(args[3]).map_err(|_| refused("CLIENT_ERROR invalid numeric delta argument"))?;
    let Some(live) = keyspace.get(cx, key) else {
        let Some(seconds) = options.vivify else { return counted(keyspace, cx, key, "NF", 0) };
        let begin = options.initial.map_or(Ok(0), unsigned)?;
        put(keyspace, cx, key, begin.to_string().as_bytes(), death(cx, seconds));
        mark(keyspace, cx, key, Marks { cas: options.new_cas.unwrap_or(0), ..Marks::default() });
        return counted(keyspace, cx, key, "HD", begin);
    };
    let text = live.value.string()?.trim_ascii_end();
    let old = unsigned(text).map_err(|_| refused("CLIENT_ERROR cannot increment or decrement non-numeric value"))?;
    if options.cas.is_some_and(|wanted| wanted != keyspace.cas(cx.db, key)) {
        return counted(keyspace, cx, key, "EX", old);
    }
    let new = match args[2].to_ascii_lowercase().as_slice() {
        b"i" => old.wrapping_add(by),
        b"d" => old.saturating_sub(by),
        _ => return Err(Refused::Syntax),
    };
    let flags = keyspace.marks(cx.db, key).unwrap_or_default().flags;
    keyspace.set_string(cx, key, new.to_string().as_bytes(), Ttl::Keep);
    keyspace.notify(cx.db, Class::String, "incrby", key);
    mark(keyspace, cx, key, Marks { flags, cas: options.new_cas.unwrap_or(0), ..Marks::default() });
    if let Some(seconds) = options.ttl {
        expire(keyspace, cx, key, seconds);
    }
    counted(keyspace, cx, key, "HD", new)
}

fn counted(keyspace: &Keyspace, cx: &Context, key: &[u8], how: &str, number: u64) -> Outcome {
    let expire_at = keyspace.get(cx, key).and_then(|live| live.expire_at);
    let left =
        expire_at.map_or(-1, |at| i64::try_from((at.0.saturating_sub(cx.stamp.0) + 500) / 1000).unwrap_or(i64::MAX));
    let cas = Reply::text(keyspace.cas(cx.db, key));
    Ok(Reply::Array(vec![Reply::bulk(how.as_bytes()), cas, Reply::text(number), Reply::Int(left)]))
}

fn refused(text: &str) -> Refused {
    Refused::Text(text.to_owned())
}
