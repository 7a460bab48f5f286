//! `string.find`, `match`, `gmatch` and `gsub` over [`super::Matcher`].
//!
//! `gsub` with a function or a table is a loop in the sandbox's own Lua around `scan`, so that what the function does is
//! seen by everything that watches over a script.

use super::{Capture, Failed, Matcher};
use crate::errors::{text, wrong_type};
use crate::guard::Guard;
use crate::natives::{Native, integer, string};
use mlua::{Lua, MultiValue, Result, Value};

/// Steps are counted in such portions.
const PORTION: u64 = 1024;

/// Adds the functions to a table that the sandbox takes apart.
pub(crate) fn register(native: &Native<'_>) -> Result<()> {
    native.add("find", |lua, guard, args| find(lua, guard, args, Wanted::Place))?;
    native.add("match", |lua, guard, args| find(lua, guard, args, Wanted::Captures))?;
    native.add("gmatch", gmatch)?;
    native.add("gsub", gsub)?;
    native.add("scan", scan)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Place,
    Captures,
}

impl Wanted {
    fn name(self) -> &'static str {
        if self == Self::Place { "find" } else { "match" }
    }
}

/// Asks the guard now and then.
pub(crate) fn meter(guard: &Guard) -> impl FnMut() -> Result<()> + '_ {
    let mut steps = 0;
    move || {
        steps += 1;
        if steps % PORTION == 0 { guard.spend(PORTION) } else { Ok(()) }
    }
}

fn failed(lua: &Lua, failed: Failed) -> mlua::Error {
    match failed {
        Failed::Pattern(why) => text(lua, why),
        Failed::Meter(error) => error,
    }
}

fn find(lua: &Lua, guard: &Guard, args: MultiValue, wanted: Wanted) -> Result<MultiValue> {
    let (subject, pattern) = (string(lua, &args, 1, wanted.name())?, string(lua, &args, 2, wanted.name())?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let from = begin(integer(lua, &args, 3, wanted.name())?.unwrap_or(1), subject.len());
    let plain = !matches!(args.get(3), None | Some(Value::Nil | Value::Boolean(false)));
    guard.spend(1 + subject.len() as u64 / 256)?;
    if wanted == Wanted::Place && (plain || is_plain(&pattern)) {
        let found = search(&subject[from.min(subject.len())..], &pattern, guard)?;
        return Ok(found.map_or_else(nothing, |at| span(from + at, from + at + pattern.len())));
    }
    let (anchored, inner) = anchor(&pattern);
    let mut matcher = Matcher::new(&subject, inner, meter(guard));
    for at in from..=subject.len() {
        if let Some(to) = matcher.at(at).map_err(|why| failed(lua, why))? {
            let captures = matcher.captures();
            let whole = wanted == Wanted::Captures;
            let mut out = if whole { MultiValue::new() } else { span(at, to) };
            out.extend(values(lua, &subject, captures, whole.then_some((at, to)))?);
            return Ok(out);
        }
        if anchored {
            break;
        }
    }
    Ok(nothing())
}

/// `scan(subject, pattern, from)`: at `from` alone, where a match ends (the first byte behind it, from 1) and its captures,
/// or the whole of it.
fn scan(lua: &Lua, guard: &Guard, args: MultiValue) -> Result<MultiValue> {
    let (subject, pattern) = (string(lua, &args, 1, "gsub")?, string(lua, &args, 2, "gsub")?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let from = begin(integer(lua, &args, 3, "gsub")?.unwrap_or(1), subject.len());
    let mut matcher = Matcher::new(&subject, anchor(&pattern).1, meter(guard));
    guard.spend(1)?;
    let Some(to) = matcher.at(from).map_err(|why| failed(lua, why))? else { return Ok(nothing()) };
    let mut out = MultiValue::from_iter([number(to + 1)]);
    out.extend(values(lua, &subject, matcher.captures(), Some((from, to)))?);
    Ok(out)
}

/// `gmatch(subject, pattern, from)`: the next match at `from` or behind it: where the one after it may begin, and its captures
/// or the whole of it.
fn gmatch(lua: &Lua, guard: &Guard, args: MultiValue) -> Result<MultiValue> {
    let (subject, pattern) = (string(lua, &args, 1, "gmatch")?, string(lua, &args, 2, "gmatch")?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let from = usize::try_from(integer(lua, &args, 3, "gmatch")?.unwrap_or(1) - 1).unwrap_or(0);
    let mut matcher = Matcher::new(&subject, &pattern, meter(guard));
    guard.spend(1)?;
    for at in from..=subject.len() {
        if let Some(to) = matcher.at(at).map_err(|why| failed(lua, why))? {
            let mut out = MultiValue::from_iter([number(if to == at { to + 2 } else { to + 1 })]);
            out.extend(values(lua, &subject, matcher.captures(), Some((at, to)))?);
            return Ok(out);
        }
    }
    Ok(nothing())
}

/// `gsub` with a string to put in.
fn gsub(lua: &Lua, guard: &Guard, args: MultiValue) -> Result<MultiValue> {
    let (subject, pattern) = (string(lua, &args, 1, "gsub")?, string(lua, &args, 2, "gsub")?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let put_in = match args.get(2) {
        Some(Value::String(_) | Value::Number(_) | Value::Integer(_)) => string(lua, &args, 3, "gsub")?,
        other => return Err(wrong_type(lua, 3, "gsub", "string/function/table", other)),
    };
    let put_in = put_in.as_bytes();
    let most = integer(lua, &args, 4, "gsub")?.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(0));
    let (anchored, inner) = anchor(&pattern);
    let mut matcher = Matcher::new(&subject, inner, meter(guard));
    let (mut out, mut at, mut count) = (Vec::new(), 0, 0);
    while count < most {
        let matched = matcher.at(at).map_err(|why| failed(lua, why))?;
        if let Some(to) = matched {
            count += 1;
            substitute(lua, &mut out, &subject, (at, to), matcher.captures(), &put_in)?;
            guard.spend(1 + out.len() as u64 / (64 * 1024))?;
        }
        match matched {
            Some(to) if to > at => at = to,
            _ if at < subject.len() => {
                out.push(subject[at]);
                at += 1;
            }
            _ => break,
        }
        if out.len() > OUT_BYTES_MAX {
            return Err(text(lua, "resulting string too large"));
        }
        if anchored {
            break;
        }
    }
    out.extend_from_slice(subject.get(at..).unwrap_or_default());
    Ok(MultiValue::from_iter([Value::String(lua.create_string(out)?), number(count)]))
}

/// The interpreter may not have so much memory.
const OUT_BYTES_MAX: usize = 512 * 1024 * 1024;

fn substitute(
    lua: &Lua,
    out: &mut Vec<u8>,
    subject: &[u8],
    (from, to): (usize, usize),
    captures: &[Capture],
    put_in: &[u8],
) -> Result<()> {
    let mut rest = put_in;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let Some((escaped, behind)) = rest.split_first() else {
            // Lua 5.1 reads the zero behind the string.
            out.push(0);
            break;
        };
        rest = behind;
        match escaped {
            b'0' => out.extend_from_slice(&subject[from..to]),
            b'1' if captures.is_empty() => out.extend_from_slice(&subject[from..to]),
            b'1'..=b'9' => {
                let capture = captures.get(usize::from(escaped - b'1'));
                match capture.ok_or_else(|| text(lua, "invalid capture index"))? {
                    Capture::Piece { from, to } => out.extend_from_slice(&subject[*from..*to]),
                    Capture::Place(at) => out.extend_from_slice((at + 1).to_string().as_bytes()),
                    Capture::Open { .. } => return Err(text(lua, "unfinished capture")),
                }
            }
            other => out.push(*other),
        }
    }
    Ok(())
}

/// Captures as values; where there are none, `whole` if it is given.
fn values(lua: &Lua, subject: &[u8], captures: &[Capture], whole: Option<(usize, usize)>) -> Result<MultiValue> {
    let mut out = MultiValue::new();
    if captures.is_empty()
        && let Some((from, to)) = whole
    {
        out.push_back(Value::String(lua.create_string(&subject[from..to])?));
    }
    for capture in captures {
        out.push_back(match capture {
            Capture::Piece { from, to } => Value::String(lua.create_string(&subject[*from..*to])?),
            Capture::Place(at) => number(at + 1),
            Capture::Open { .. } => return Err(text(lua, "unfinished capture")),
        });
    }
    Ok(out)
}

fn anchor(pattern: &[u8]) -> (bool, &[u8]) {
    pattern.strip_prefix(b"^").map_or((false, pattern), |rest| (true, rest))
}

fn is_plain(pattern: &[u8]) -> bool {
    let end = pattern.iter().position(|byte| *byte == 0).unwrap_or(pattern.len());
    !pattern[..end].iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

/// Where `wanted` first stands.
fn search(subject: &[u8], wanted: &[u8], guard: &Guard) -> Result<Option<usize>> {
    let Some((first, rest)) = wanted.split_first() else { return Ok(Some(0)) };
    let mut at = 0;
    while let Some(skipped) = subject[at..].iter().position(|byte| byte == first) {
        at += skipped;
        guard.spend((skipped as u64 + wanted.len() as u64) / 64)?;
        if subject[at + 1..].starts_with(rest) {
            return Ok(Some(at));
        }
        at += 1;
    }
    Ok(None)
}

/// Where a search that is told to begin at `init` begins; behind the end if there is nothing.
fn begin(init: i64, len: usize) -> usize {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from = if init < 0 { (len + init + 1).max(1) } else { init.max(1) };
    usize::try_from((from - 1).min(len)).unwrap_or(0)
}

fn span(from: usize, to: usize) -> MultiValue {
    MultiValue::from_iter([number(from + 1), number(to)])
}

fn nothing() -> MultiValue {
    MultiValue::from_iter([Value::Nil])
}

#[expect(clippy::cast_precision_loss, reason = "strings have fewer than 2^53 bytes")]
pub(crate) fn number(n: usize) -> Value {
    Value::Number(n as f64)
}
