//! Parts of strings, floats in strings, and GETEX.

use super::strings::{check_length, expiry, integer};
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::Ttl;
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this family; ids 130 to 149.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "getex",
        id: 130,
        arity: -2,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(getex),
        summary: "Returns the string value of a key and sets or clears its expiry.",
        group: "string",
        since: "6.2.0",
    },
    Command {
        name: "getrange",
        id: 131,
        arity: 4,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(getrange),
        summary: "Returns a part of the string value of a key.",
        group: "string",
        since: "2.4.0",
    },
    Command {
        name: "substr",
        id: 132,
        arity: 4,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(getrange),
        summary: "Returns a part of the string value of a key.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "setrange",
        id: 133,
        arity: 4,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(setrange),
        summary: "Overwrites a part of a string value.",
        group: "string",
        since: "2.2.0",
    },
    Command {
        name: "incrbyfloat",
        id: 134,
        arity: 3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(incrbyfloat),
        summary: "Increments the number at a key by a float.",
        group: "string",
        since: "2.6.0",
    },
];

fn getex(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let ttl = match &args[2..] {
        [] => None,
        [word] if word.eq_ignore_ascii_case(b"persist") => Some(None),
        [unit, number] => match unit.to_ascii_lowercase().as_slice() {
            unit @ (b"ex" | b"px" | b"exat" | b"pxat") => Some(Some(expiry(cx, unit, number, "getex")?)),
            _ => return Err(Refused::Syntax),
        },
        _ => return Err(Refused::Syntax),
    };
    let Some(live) = keyspace.get(cx, args[1]) else { return Ok(Reply::Nil) };
    let value = Reply::Bulk(live.value.blob()?);
    let expires = live.expire_at.is_some();
    match ttl {
        Some(None) if !expires => {}
        Some(expire_at) => drop(keyspace.set_expiry(cx, args[1], expire_at)),
        None => {}
    }
    Ok(value)
}

fn getrange(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (start, end) = (integer(args[2])?, integer(args[3])?);
    let bytes = keyspace.string(cx, args[1])?.unwrap_or_default();
    let len = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::bulk(b""));
    }
    let from_end = |at: i64| if at < 0 { (len + at).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if start > end || len == 0 {
        return Ok(Reply::bulk(b""));
    }
    let at = |n: i64| usize::try_from(n).unwrap_or(0);
    Ok(Reply::bulk(&bytes[at(start)..=at(end)]))
}

fn setrange(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let offset = usize::try_from(integer(args[2])?).map_err(|_| Refused::OffsetOutOfRange)?;
    let old = keyspace.string(cx, args[1])?.map_or(0, <[u8]>::len);
    if args[3].is_empty() {
        return Ok(Reply::count(old));
    }
    let end = offset.checked_add(args[3].len()).ok_or(Refused::StringTooLong)?;
    check_length(end)?;
    let mut value = keyspace.take_string(cx, args[1])?;
    value.resize(value.len().max(end), 0);
    value[offset..end].copy_from_slice(args[3]);
    let len = value.len();
    keyspace.set_owned(cx, args[1], value, Ttl::Keep);
    Ok(Reply::count(len))
}

fn incrbyfloat(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let old = keyspace.string(cx, args[1])?.unwrap_or(b"0");
    let text = match (decimal(old), decimal(args[2])) {
        // Decimals are added as decimals: 10.5 + 0.1 is 10.6, not the nearest sum of two binary fractions.
        (Some(old), Some(by)) => shown(old + by),
        _ => {
            let new = float(old)? + float(args[2])?;
            if !new.is_finite() {
                return Err(Refused::NotFinite);
            }
            new.to_string()
        }
    };
    keyspace.set_string(cx, args[1], text.as_bytes(), Ttl::Keep);
    Ok(Reply::bulk(text.as_bytes()))
}

/// Digits behind the point that are kept, as many as Redis prints.
const DECIMALS: u32 = 17;
const ONE: i128 = 10_i128.pow(DECIMALS);

/// A plain decimal below 10^19, as a count of 10^-17.
fn decimal(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !plain(whole) || !plain(fraction) || whole.len() > 19 || fraction.len() > 17
    {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: i128 = format!("{fraction:0<17}").parse().ok()?;
    let value = whole * ONE + fraction;
    Some(if negative { -value } else { value })
}

fn shown(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, fraction) = (value.unsigned_abs() / ONE.unsigned_abs(), value.unsigned_abs() % ONE.unsigned_abs());
    let text = format!("{sign}{whole}.{fraction:017}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn float(text: &[u8]) -> Result<f64, Refused> {
    let parsed: Option<f64> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.filter(|value| !value.is_nan()).ok_or(Refused::NotAFloat)
}

#[cfg(test)]
mod tests {
    use super::{decimal, shown};

    #[test]
    fn decimals_are_added_as_people_do() {
        for (a, b, sum) in [
            ("10.5", "0.1", "10.6"),
            ("5000", "200", "5200"),
            ("-0.5", ".5", "0"),
            ("-1", "-0.25", "-1.25"),
            ("9223372036854775807", "100", "9223372036854775907"),
        ] {
            assert_eq!(shown(decimal(a.as_bytes()).unwrap() + decimal(b.as_bytes()).unwrap()), sum);
        }
        for none in ["", ".", "1e3", "abc", " 1", "1.2.3", "--1"] {
            assert_eq!(decimal(none.as_bytes()), None, "{none}");
        }
    }
}
