//! The commands of old clients.

use super::ask::{Asked, How, Told, Wrong, check_key, one, part};
use super::parse::{BAD_LINE, UNKNOWN};
use std::borrow::Cow;

const BAD_TIME: &str = "CLIENT_ERROR invalid exptime argument";
const BAD_DELETE: &str = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]";
const NO_DELAY: &str = "SERVER_ERROR flush_all can't wait here; nothing was flushed; give no delay";
/// Clients look for the version to know what they may use; what follows it says who answers.
const VERSION: &str = concat!("VERSION 1.6.18-tidegate-", env!("CARGO_PKG_VERSION"));

pub(super) fn ask<'a>(words: &[&'a [u8]], data: &'a [u8]) -> Result<Asked<'a>, Wrong> {
    let Some((name, rest)) = words.split_first() else { return Err(UNKNOWN) };
    match *name {
        b"get" => values(rest, None, Told::No),
        b"gets" => values(rest, None, Told::Yes),
        b"gat" => touched(rest, Told::No),
        b"gats" => touched(rest, Told::Yes),
        b"set" => store(rest, data, b"S"),
        b"add" => store(rest, data, b"E"),
        b"replace" => store(rest, data, b"R"),
        b"append" => store(rest, data, b"A"),
        b"prepend" => store(rest, data, b"P"),
        b"cas" => store(rest, data, b"C"),
        b"incr" => number(rest, b"I"),
        b"decr" => number(rest, b"D"),
        b"delete" => delete(rest),
        b"touch" => touch(rest),
        b"flush_all" => flush(rest),
        b"verbosity" if !rest.is_empty() => Ok(here(told(rest, 1), "OK")),
        b"version" => Ok(here(Told::Yes, VERSION)),
        b"stats" => Ok(match rest {
            [] => Asked::Stats,
            [b"reset", ..] => here(Told::Yes, "RESET"),
            _ => here(Told::Yes, "END"),
        }),
        b"quit" => Ok(Asked::Quit),
        _ => Err(UNKNOWN),
    }
}

fn here<'a>(told: Told, text: &str) -> Asked<'a> {
    Asked::Here((told == Told::Yes).then(|| text.to_owned()))
}

/// Whether the word behind the first `count` says that no answer is wanted.
fn told(words: &[&[u8]], count: usize) -> Told {
    if words.get(count..).is_some_and(|rest| rest.last() == Some(&b"noreply".as_slice())) {
        Told::No
    } else {
        Told::Yes
    }
}

fn values<'a>(keys: &[&'a [u8]], exptime: Option<&'a [u8]>, cas: Told) -> Result<Asked<'a>, Wrong> {
    if keys.is_empty() {
        return Err(UNKNOWN);
    }
    keys.iter().try_for_each(|key| check_key(key))?;
    let get = |key: &&'a [u8]| match exptime {
        None => part("memcache.get", [key]),
        Some(exptime) => part("memcache.fetch", [key, b"T", exptime]),
    };
    let how = How::Values { keys: keys.iter().map(|key| Box::from(*key)).collect(), cas };
    Ok(Asked::Core { parts: keys.iter().map(get).collect(), how })
}

fn touched<'a>(rest: &[&'a [u8]], cas: Told) -> Result<Asked<'a>, Wrong> {
    let [exptime, keys @ ..] = rest else { return Err(UNKNOWN) };
    check_time(exptime, BAD_TIME)?;
    values(keys, Some(exptime), cas)
}

fn store<'a>(rest: &[&'a [u8]], data: &'a [u8], mode: &'static [u8]) -> Result<Asked<'a>, Wrong> {
    let ([key, flags, exptime, _], more) = rest.split_first_chunk().ok_or(UNKNOWN)?;
    check_key(key)?;
    check_number::<u32>(flags)?;
    check_time(exptime, BAD_LINE)?;
    let (sets, how) = if mode == b"C" { (b"S".as_slice(), 1) } else { (mode, 0) };
    let mut part = part("memcache.store", [key, sets, data, flags, exptime]);
    if mode == b"C" {
        let cas = more.first().ok_or(UNKNOWN)?;
        check_number::<u64>(cas)?;
        part.args.extend([Cow::Borrowed(b"C".as_slice()), Cow::Borrowed(*cas)]);
    }
    Ok(one(part, How::Stored(told(more, how))))
}

fn number<'a>(rest: &[&'a [u8]], mode: &'static [u8]) -> Result<Asked<'a>, Wrong> {
    let [key, delta, ..] = rest else { return Err(UNKNOWN) };
    check_key(key)?;
    check_number::<u64>(delta).map_err(|_| "CLIENT_ERROR invalid numeric delta argument")?;
    Ok(one(part("memcache.count", [key, mode, delta]), How::Number(told(rest, 2))))
}

fn delete<'a>(rest: &[&'a [u8]]) -> Result<Asked<'a>, Wrong> {
    let Some((key, more)) = rest.split_first() else { return Err(UNKNOWN) };
    check_key(key)?;
    match more {
        [] | [b"0" | b"noreply"] | [b"0", b"noreply"] => {}
        _ => return Err(BAD_DELETE),
    }
    Ok(one(part("memcache.delete", [key]), How::Deleted(told(rest, 1))))
}

fn touch<'a>(rest: &[&'a [u8]]) -> Result<Asked<'a>, Wrong> {
    let [key, exptime, ..] = rest else { return Err(UNKNOWN) };
    check_key(key)?;
    check_time(exptime, BAD_TIME)?;
    Ok(one(part("memcache.fetch", [key, b"T", exptime]), How::Touched(told(rest, 2))))
}

fn flush<'a>(rest: &[&'a [u8]]) -> Result<Asked<'a>, Wrong> {
    match rest.first() {
        None | Some(&b"0" | &b"noreply") => Ok(one(part("flushdb", []), How::Flushed(told(rest, 0)))),
        Some(delay) => Err(if check_time(delay, BAD_LINE).is_ok() { NO_DELAY } else { BAD_LINE }),
    }
}

fn check_time(text: &[u8], wrong: Wrong) -> Result<(), Wrong> {
    let time: Option<i64> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    time.map(drop).ok_or(wrong)
}

fn check_number<T: std::str::FromStr>(text: &[u8]) -> Result<(), Wrong> {
    let number = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|text| text.parse::<T>().ok()).map(drop).ok_or(BAD_LINE)
}
