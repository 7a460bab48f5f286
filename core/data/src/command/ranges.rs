//! Parts of strings, floats in strings, and GETEX.

use super::generic::{clear_expiry, set_expiry};
use super::strings::{check_length, expiry, integer};
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Class, Ttl};
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
    let change = Change::parse(&args[2..])?;
    // As in Redis, the time is looked at only where there is a value.
    let Some(live) = keyspace.get(cx, args[1]) else { return Ok(Reply::Nil) };
    let value = Reply::Bulk(live.value.blob()?);
    match change {
        Change::None => {}
        Change::Persist => drop(clear_expiry(keyspace, cx, args[1])),
        Change::To { unit, number } => {
            let at = expiry(cx, &unit.to_ascii_lowercase(), number, "getex")?;
            set_expiry(keyspace, cx, args[1], at);
        }
    }
    Ok(value)
}

/// What GETEX does to the expiry.
enum Change<'a> {
    None,
    Persist,
    To { unit: &'a [u8], number: &'a [u8] },
}

impl<'a> Change<'a> {
    /// One option, which may stand there again; of numbers the last counts.
    fn parse(mut rest: &[&'a [u8]]) -> Result<Self, Refused> {
        let mut change = Self::None;
        while let Some(word) = rest.first() {
            let (next, used) = match (word.to_ascii_lowercase().as_slice(), rest.get(1)) {
                (b"persist", _) => (Self::Persist, 1),
                (b"ex" | b"px" | b"exat" | b"pxat", Some(number)) => (Self::To { unit: word, number }, 2),
                _ => return Err(Refused::Syntax),
            };
            let fits = match (&change, &next) {
                (Self::None, _) | (Self::Persist, Self::Persist) => true,
                (Self::To { unit, .. }, Self::To { unit: again, .. }) => unit.eq_ignore_ascii_case(again),
                _ => false,
            };
            if !fits {
                return Err(Refused::Syntax);
            }
            (change, rest) = (next, &rest[used..]);
        }
        Ok(change)
    }
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
    keyspace.notify(cx.db, Class::String, "setrange", args[1]);
    Ok(Reply::count(len))
}

fn incrbyfloat(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let old = keyspace.string(cx, args[1])?.unwrap_or(b"0");
    let text = sum_of_floats(old, args[2])?;
    keyspace.set_string(cx, args[1], text.as_bytes(), Ttl::Keep);
    keyspace.notify(cx.db, Class::String, "incrbyfloat", args[1]);
    Ok(Reply::bulk(text.as_bytes()))
}

/// The sum of two numbers, as Redis prints it.
pub(super) fn sum_of_floats(old: &[u8], by: &[u8]) -> Result<String, Refused> {
    if let (Some(old), Some(by)) = (decimal(old), decimal(by)) {
        // Decimals are added as decimals: 10.5 + 0.1 is 10.6, not the nearest sum of two binary fractions.
        return Ok(shown(old + by));
    }
    let new = float(old)? + float(by)?;
    if !new.is_finite() {
        return Err(Refused::NotFinite);
    }
    let text = format!("{new:.17}");
    Ok(text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// Digits behind the point that are kept, as many as Redis prints.
const DECIMALS: u32 = 17;
const ONE: i128 = 10_i128.pow(DECIMALS);
/// The sum of two decimals below this is far from the end of 128 bits.
const DECIMAL_END: i128 = 10_i128.pow(20) * ONE;

/// A decimal below 10^20, with an exponent or not, as a count of 10^-17; nothing where that would not be exact.
fn decimal(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok().filter(|e| e.abs() <= 40)?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 36 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: i128 = digits.parse().ok()?;
    let shift = DECIMALS.cast_signed() + exponent - i32::try_from(fraction.len()).ok()?;
    let power = 10_i128.checked_pow(shift.unsigned_abs())?;
    let value = if shift < 0 { (digits % power == 0).then_some(digits / power)? } else { digits.checked_mul(power)? };
    (value < DECIMAL_END).then_some(if negative { -value } else { value })
}

fn shown(value: i128) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, fraction) = (value.unsigned_abs() / ONE.unsigned_abs(), value.unsigned_abs() % ONE.unsigned_abs());
    let text = format!("{sign}{whole}.{fraction:017}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) fn float(text: &[u8]) -> Result<f64, Refused> {
    let parsed: Option<f64> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.filter(|value| !value.is_nan()).ok_or(Refused::NotAFloat)
}

#[cfg(test)]
mod tests {
    use super::{Change, decimal, shown};
    use crate::Refused;

    #[test]
    fn getex_takes_one_kind_of_option_of_which_the_last_counts() {
        let parse = |text: &str| {
            let words: Vec<&[u8]> = text.split_whitespace().map(str::as_bytes).collect();
            Change::parse(&words).map(|change| match change {
                Change::None => "none".to_owned(),
                Change::Persist => "persist".to_owned(),
                Change::To { number, .. } => String::from_utf8_lossy(number).into_owned(),
            })
        };
        for (text, change) in [("", "none"), ("PERSIST persist", "persist"), ("EX 1 ex 2", "2"), ("pxat x", "x")] {
            assert_eq!(parse(text).as_deref(), Ok(change), "{text}");
        }
        for text in ["EX", "EX 1 PX 1", "PERSIST EX 1", "EX 1 PERSIST", "KEEPTTL", "EX 1 2"] {
            assert_eq!(parse(text), Err(Refused::Syntax), "{text}");
        }
    }

    #[test]
    fn decimals_are_added_as_people_do() {
        for (a, b, sum) in [
            ("10.5", "0.1", "10.6"),
            ("5000", "200", "5200"),
            ("-0.5", ".5", "0"),
            ("-1", "-0.25", "-1.25"),
            ("100", "1e17", "100000000000000100"),
            ("-0.1", "3.0e3", "2999.9"),
            ("5.", "25E-2", "5.25"),
            ("1", "1e-17", "1.00000000000000001"),
            ("9223372036854775807", "100", "9223372036854775907"),
        ] {
            assert_eq!(shown(decimal(a.as_bytes()).unwrap() + decimal(b.as_bytes()).unwrap()), sum);
        }
        for none in ["", ".", "1e", "e1", "1e-18", "1e20", "1e2147483647", "abc", " 1", "1.2.3", "--1"] {
            assert_eq!(decimal(none.as_bytes()), None, "{none}");
        }
    }
}
