//! IDs as clients spell them.
//!
//! Redis reads their numbers as C does: signs, leading zeros and blanks are let through, and a zero byte ends them.

use crate::Refused;
use crate::value::stream::Id;

/// The ID that XADD is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `*`: the time.
    Next,
    /// `ms-*`: the next one within a millisecond.
    Within(u64),
    Exactly(Id),
}

/// Longer ones are refused without a look.
const TEXT_BYTES_MAX: usize = 127;

fn invalid() -> Refused {
    Refused::Text("ERR Invalid stream ID specified as stream command argument".to_owned())
}

/// `ms-seq`, or `ms` with `seq` for the missing number.
pub(super) fn exact(text: &[u8], seq: u64) -> Result<Id, Refused> {
    match parse(text, seq)? {
        (ms, Some(seq)) => Ok(Id::new(ms, seq)),
        (_, None) => Err(invalid()),
    }
}

/// The same, or `-` or `+` for the ends.
pub(super) fn or_end(text: &[u8], seq: u64) -> Result<Id, Refused> {
    match c_string(text) {
        b"-" => Ok(Id::MIN),
        b"+" => Ok(Id::MAX),
        _ => exact(text, seq),
    }
}

/// The first ID of a range; `(` leaves the one that is named out.
pub(super) fn start(text: &[u8]) -> Result<Id, Refused> {
    let bad = || Refused::Text("ERR invalid start ID for the interval".to_owned());
    match text {
        [b'(', after @ ..] if !after.is_empty() => exact(after, 0)?.next().ok_or_else(bad),
        _ => or_end(text, 0),
    }
}

/// The last ID of a range; `(` leaves the one that is named out.
pub(super) fn end(text: &[u8]) -> Result<Id, Refused> {
    let bad = || Refused::Text("ERR invalid end ID for the interval".to_owned());
    match text {
        [b'(', before @ ..] if !before.is_empty() => exact(before, u64::MAX)?.previous().ok_or_else(bad),
        _ => or_end(text, u64::MAX),
    }
}

/// What XADD is to give.
pub(super) fn wanted(text: &[u8]) -> Result<Wanted, Refused> {
    if c_string(text) == b"*" {
        return Ok(Wanted::Next);
    }
    Ok(match parse(text, 0)? {
        (ms, Some(seq)) => Wanted::Exactly(Id::new(ms, seq)),
        (ms, None) => Wanted::Within(ms),
    })
}

/// Both numbers; the second is nothing if it is `*`.
fn parse(text: &[u8], seq: u64) -> Result<(u64, Option<u64>), Refused> {
    let whole = c_string(text);
    if text.len() > TEXT_BYTES_MAX || matches!(whole, b"-" | b"+") {
        return Err(invalid());
    }
    match whole.iter().position(|byte| *byte == b'-') {
        None => Ok((number(whole)?, Some(seq))),
        Some(at) if &whole[at + 1..] == b"*" => Ok((number(&whole[..at])?, None)),
        Some(at) => Ok((number(&whole[..at])?, Some(number(&whole[at + 1..])?))),
    }
}

/// A number as C's strtoull reads it, but that a plain negative one is none.
fn number(text: &[u8]) -> Result<u64, Refused> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().take_while(|byte| blank(byte)).count()..];
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid());
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    let sum = digits.iter().try_fold(0, add).ok_or_else(invalid)?;
    // A plain one was read as a signed integer before, and refused.
    let plain = digits.len() == text.len() - 1 && digits[0] != b'0' && sum <= i64::MIN.unsigned_abs();
    match negative {
        true if plain => Err(invalid()),
        true => Ok(sum.wrapping_neg()),
        false => Ok(sum),
    }
}

/// What C would see: up to the first zero byte.
pub(super) fn c_string(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The same as text for an error.
pub(super) fn c_text(text: &[u8]) -> String {
    String::from_utf8_lossy(c_string(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_redis_reads_them() {
        let read: [(&[u8], u64, u64); 8] = [
            (b"5-1", 5, 1),
            (b"5", 5, 9),
            (b"05-+1", 5, 1),
            (b" 5- \t7", 5, 7),
            (b"5--03", 5, u64::MAX - 2),
            (b"5--0", 5, 0),
            (b"5\0x-y", 5, 9),
            (b"18446744073709551615-18446744073709551615", u64::MAX, u64::MAX),
        ];
        for (text, ms, seq) in read {
            assert_eq!(exact(text, 9).ok(), Some(Id::new(ms, seq)), "{}", String::from_utf8_lossy(text));
        }
        for text in ["5--3", "18446744073709551616-1", "5-", "-5", "", "-", "5-1 ", "5-*", "5 -1"] {
            assert!(exact(text.as_bytes(), 9).is_err(), "{text}");
        }
        assert!(exact(&[b'0'; 128], 0).is_err() && exact(&[b'0'; 127], 0).is_ok());
    }

    #[test]
    fn ranges_leave_out_what_they_are_told() {
        assert_eq!(start(b"(5").ok(), Some(Id::new(5, 1)));
        assert_eq!(end(b"(5").ok(), Some(Id::new(5, u64::MAX - 1)));
        assert_eq!((start(b"-").ok(), end(b"+").ok()), (Some(Id::MIN), Some(Id::MAX)));
        let refusal = |refused: Result<Id, Refused>| refused.unwrap_err().to_string();
        assert_eq!(refusal(end(b"(0-0")), "ERR invalid end ID for the interval");
        assert_eq!(refusal(start(b"(+")), invalid().to_string());
        assert_eq!(refusal(start(b"(")), invalid().to_string());
        assert_eq!(wanted(b"7-*").ok(), Some(Wanted::Within(7)));
    }
}
