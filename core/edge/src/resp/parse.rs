//! Finds one request at the front of a buffer: a multibulk frame or an inline command.
//!
//! One pass, no allocation for up to eight arguments, nothing allocated by a length that the client merely claims.

use base::limits::{ARGS_COUNT_MAX, ARGS_COUNT_UNAUTHENTICATED_MAX, BULK_BYTES_MAX, BULK_BYTES_UNAUTHENTICATED_MAX};
use base::limits::{INLINE_BYTES_MAX, REQUEST_BYTES_MAX};
use smallvec::SmallVec;

/// The arguments of a request, in the buffer they came in.
pub type Args<'a> = SmallVec<[&'a [u8]; 8]>;

/// What stands at the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    Complete {
        args: Args<'a>,
        used: usize,
    },
    /// A line of words; the bytes must be taken apart by [`words`].
    Inline {
        line: &'a [u8],
        used: usize,
    },
    /// Nothing to do: a blank line or an empty array.
    Empty {
        used: usize,
    },
    /// No use in trying again with fewer bytes than this.
    Partial {
        need_at_least: usize,
    },
    Invalid(Invalid),
}

/// What is wrong with a request; the connection can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    MultibulkLength,
    BulkLength,
    ExpectedDollar(u8),
    TooBigInline,
    TooBigMultibulk,
    UnbalancedQuotes,
    UnauthenticatedMultibulk,
    UnauthenticatedBulk,
    TooBigRequest,
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ERR Protocol error: ")?;
        match self {
            Self::MultibulkLength => f.write_str("invalid multibulk length"),
            Self::BulkLength => f.write_str("invalid bulk length"),
            Self::ExpectedDollar(got) => write!(f, "expected '$', got '{}'", char::from(*got).escape_default()),
            Self::TooBigInline => f.write_str("too big inline request"),
            Self::TooBigMultibulk => f.write_str("too big mbulk count string"),
            Self::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            Self::UnauthenticatedMultibulk => f.write_str("unauthenticated multibulk length"),
            Self::UnauthenticatedBulk => f.write_str("unauthenticated bulk length"),
            Self::TooBigRequest => f.write_str("request is larger than 1 GB"),
        }
    }
}

/// Whether the client has proved who it is: strangers get small limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    Known,
    Stranger,
}

/// How far a command with many arguments was parsed before its bytes ended: each byte is looked at once.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many arguments it has; 0 if there is no progress to go on from.
    count: usize,
    at: usize,
    args: Vec<std::ops::Range<usize>>,
}

/// Parses what stands at the front of `buf`.
#[must_use]
pub fn parse(buf: &[u8], trust: Trust) -> Parsed<'_> {
    go_on(&mut Progress::default(), buf, trust)
}

/// Parses what stands at the front of `buf`, which begins with what was there when `progress` was made.
pub fn go_on<'a>(progress: &mut Progress, buf: &'a [u8], trust: Trust) -> Parsed<'a> {
    match buf.first() {
        None => Parsed::Partial { need_at_least: 1 },
        Some(b'*') => multibulk(progress, buf, trust),
        Some(_) => inline(buf),
    }
}

/// `$0\r\n\r\n`.
const EMPTY_BULK_BYTES: usize = 6;
/// Progress is kept of commands with at least so many arguments.
const MANY_ARGS: usize = 64;

fn multibulk<'a>(progress: &mut Progress, buf: &'a [u8], trust: Trust) -> Parsed<'a> {
    let (count, mut at) = match number(buf, 1, Invalid::MultibulkLength) {
        Number::Is(count, at) => (count, at),
        Number::Partial => return partial_line(buf.len(), Invalid::TooBigMultibulk),
        Number::Bad(why) => return Parsed::Invalid(why),
    };
    if count <= 0 {
        return Parsed::Empty { used: at };
    }
    let Ok(count) = usize::try_from(count) else { return Parsed::Invalid(Invalid::MultibulkLength) };
    if count > ARGS_COUNT_MAX {
        return Parsed::Invalid(Invalid::MultibulkLength);
    }
    if trust == Trust::Stranger && count > ARGS_COUNT_UNAUTHENTICATED_MAX {
        return Parsed::Invalid(Invalid::UnauthenticatedMultibulk);
    }
    if count >= MANY_ARGS {
        return many(progress, count, at, buf, trust);
    }
    let mut args = Args::new();
    while args.len() < count {
        match bulk(buf, at, trust) {
            Ok((arg, next)) => {
                args.push(arg);
                at = next;
            }
            Err(stop) => return stop.awaiting(at, count - args.len()),
        }
    }
    Parsed::Complete { args, used: at }
}

/// A command of `count` arguments, the first of which stands at `first`.
fn many<'a>(progress: &mut Progress, count: usize, first: usize, buf: &'a [u8], trust: Trust) -> Parsed<'a> {
    if progress.count != count {
        *progress = Progress { count, at: first, args: Vec::new() };
    }
    while progress.args.len() < count {
        match bulk(buf, progress.at, trust) {
            Ok((arg, next)) => {
                let end = next - b"\r\n".len();
                progress.args.push(end - arg.len()..end);
                progress.at = next;
            }
            Err(stop) => return stop.awaiting(progress.at, count - progress.args.len()),
        }
    }
    let Progress { at, args, .. } = std::mem::take(progress);
    Parsed::Complete { args: args.into_iter().map(|range| &buf[range]).collect(), used: at }
}

fn bulk(buf: &[u8], at: usize, trust: Trust) -> Result<(&[u8], usize), Parsed<'_>> {
    match buf.get(at) {
        None => return Err(Parsed::Partial { need_at_least: buf.len() + 1 }),
        Some(b'$') => {}
        Some(other) => return Err(Parsed::Invalid(Invalid::ExpectedDollar(*other))),
    }
    let (len, start) = match number(buf, at + 1, Invalid::BulkLength) {
        Number::Is(len, start) => (len, start),
        Number::Partial => return Err(partial_line(buf.len() - at, Invalid::BulkLength).moved(buf.len(), at)),
        Number::Bad(why) => return Err(Parsed::Invalid(why)),
    };
    let len = usize::try_from(len).ok().filter(|len| *len <= BULK_BYTES_MAX);
    let Some(len) = len else { return Err(Parsed::Invalid(Invalid::BulkLength)) };
    if trust == Trust::Stranger && len > BULK_BYTES_UNAUTHENTICATED_MAX {
        return Err(Parsed::Invalid(Invalid::UnauthenticatedBulk));
    }
    let end = start + len;
    if end > REQUEST_BYTES_MAX {
        return Err(Parsed::Invalid(Invalid::TooBigRequest));
    }
    match buf.get(start..end + 2) {
        Some(bytes) => Ok((&bytes[..len], end + 2)),
        None => Err(Parsed::Partial { need_at_least: end + 2 }),
    }
}

impl Parsed<'_> {
    /// Partial by `left` arguments, the first of which begins at `at`: each has at least an empty one's bytes.
    fn awaiting(self, at: usize, left: usize) -> Self {
        match self {
            Self::Partial { need_at_least } => {
                Self::Partial { need_at_least: need_at_least.max(at + EMPTY_BULK_BYTES * left) }
            }
            other => other,
        }
    }

    fn moved(self, len: usize, _at: usize) -> Self {
        match self {
            Self::Partial { .. } => Self::Partial { need_at_least: len + 1 },
            other => other,
        }
    }
}

enum Number {
    Is(i64, usize),
    Partial,
    Bad(Invalid),
}

/// A decimal number and its CRLF at `at`.
fn number(buf: &[u8], at: usize, bad: Invalid) -> Number {
    let (negative, mut at) = if buf.get(at) == Some(&b'-') { (true, at + 1) } else { (false, at) };
    let first = at;
    let mut value = 0i64;
    while let Some(byte) = buf.get(at) {
        match byte {
            b'0'..=b'9' if at - first < DIGITS_MAX => value = value * 10 + i64::from(byte - b'0'),
            // As Redis: a length has one spelling.
            b'\r' if at > first && !(buf[first] == b'0' && (negative || at > first + 1)) => {
                return if buf.len() > at + 1 {
                    Number::Is(if negative { -value } else { value }, at + 2)
                } else {
                    Number::Partial
                };
            }
            _ => return Number::Bad(bad),
        }
        at += 1;
    }
    Number::Partial
}

/// A 64-bit integer in its one spelling: no plus, no blank, no leading zero.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let value: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value.to_string().as_bytes() == text).then_some(value)
}

/// More digits than any length has.
const DIGITS_MAX: usize = 18;

fn partial_line<'a>(have: usize, too_long: Invalid) -> Parsed<'a> {
    if have > INLINE_BYTES_MAX { Parsed::Invalid(too_long) } else { Parsed::Partial { need_at_least: have + 1 } }
}

fn inline(buf: &[u8]) -> Parsed<'_> {
    let Some(end) = buf.iter().take(INLINE_BYTES_MAX + 1).position(|byte| *byte == b'\n') else {
        return partial_line(buf.len(), Invalid::TooBigInline);
    };
    let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
    if line.iter().all(u8::is_ascii_whitespace) {
        Parsed::Empty { used: end + 1 }
    } else {
        Parsed::Inline { line, used: end + 1 }
    }
}

/// Takes an inline command apart: blanks separate, `".."` knows escapes, `'..'` only `\'`.
pub fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Invalid> {
    let mut out = Vec::new();
    let mut rest = line.trim_ascii_start();
    while let Some(first) = rest.first() {
        let mut word = Vec::new();
        rest = match first {
            b'"' => quoted(&rest[1..], b'"', &mut word)?,
            b'\'' => quoted(&rest[1..], b'\'', &mut word)?,
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                word.extend_from_slice(&rest[..end]);
                &rest[end..]
            }
        };
        out.push(word);
        rest = rest.trim_ascii_start();
    }
    Ok(out)
}

/// Reads up to the closing quote, behind which only a blank or the end may stand.
fn quoted<'a>(mut rest: &'a [u8], quote: u8, word: &mut Vec<u8>) -> Result<&'a [u8], Invalid> {
    loop {
        match rest {
            [] => return Err(Invalid::UnbalancedQuotes),
            [byte, after @ ..] if *byte == quote => {
                let clean = after.first().is_none_or(u8::is_ascii_whitespace);
                return if clean { Ok(after) } else { Err(Invalid::UnbalancedQuotes) };
            }
            [b'\\', b'x', high, low, after @ ..] if quote == b'"' && hex(*high).is_some() && hex(*low).is_some() => {
                word.push(hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0));
                rest = after;
            }
            [b'\\', byte, after @ ..] if quote == b'"' => {
                word.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = after;
            }
            [b'\\', b'\'', after @ ..] if quote == b'\'' => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_cut_anywhere_is_partial_and_then_complete() {
        let frame = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n";
        for cut in 0..frame.len() {
            let Parsed::Partial { need_at_least } = parse(&frame[..cut], Trust::Known) else { panic!("cut at {cut}") };
            assert!(need_at_least > cut && need_at_least <= frame.len());
        }
        let Parsed::Complete { args, used } = parse(frame, Trust::Known) else { panic!("whole") };
        assert_eq!((args.as_slice(), used), (&[&b"SET"[..], b"k", b"0123456789"][..], frame.len()));
    }

    #[test]
    fn many_arguments_cut_anywhere_are_the_same_arguments() {
        let count = MANY_ARGS + 3;
        let mut frame = format!("*{count}\r\n").into_bytes();
        for at in 0..count {
            frame.extend_from_slice(format!("${}\r\n{at}\r\n", at.to_string().len()).as_bytes());
        }
        for step in [1, 3, 50, frame.len()] {
            let mut progress = Progress::default();
            for have in (0..frame.len()).step_by(step) {
                let Parsed::Partial { need_at_least } = go_on(&mut progress, &frame[..have], Trust::Known) else {
                    panic!("{have} of {} bytes", frame.len())
                };
                assert!(need_at_least > have && need_at_least <= frame.len());
            }
            let Parsed::Complete { args, used } = go_on(&mut progress, &frame, Trust::Known) else { panic!("whole") };
            assert_eq!((args.len(), used), (count, frame.len()));
            assert!(args.iter().enumerate().all(|(at, arg)| *arg == at.to_string().as_bytes()));
            assert_eq!(progress.count, 0, "nothing is left for the next frame");
        }
    }

    #[test]
    fn claimed_lengths_are_bounded() {
        let invalid = |bytes: &'static [u8], trust| match parse(bytes, trust) {
            Parsed::Invalid(why) => why.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(invalid(b"*1048577\r\n", Trust::Known).ends_with("invalid multibulk length"));
        assert!(invalid(b"*1\r\n$536870913\r\n", Trust::Known).ends_with("invalid bulk length"));
        assert!(invalid(b"*1\r\n$-1\r\n", Trust::Known).ends_with("invalid bulk length"));
        for spelt in [&b"*01\r\n"[..], b"*-0\r\n", b"*+1\r\n", b"* 1\r\n", b"*1 \r\n"] {
            assert!(invalid(spelt, Trust::Known).ends_with("invalid multibulk length"), "{spelt:?}");
        }
        assert!(invalid(b"*1\r\nx", Trust::Known).ends_with("expected '$', got 'x'"));
        assert!(invalid(b"*11\r\n", Trust::Stranger).ends_with("unauthenticated multibulk length"));
        assert!(invalid(b"*1\r\n$16385\r\n", Trust::Stranger).ends_with("unauthenticated bulk length"));
        let line = vec![b'a'; INLINE_BYTES_MAX + 2];
        assert_eq!(parse(&line, Trust::Known), Parsed::Invalid(Invalid::TooBigInline));
    }

    #[test]
    fn inline_words_are_quoted_as_in_a_shell() {
        let took = words(b" set  \"a b\\x41\\n\" 'c\\'d' e ").unwrap();
        assert_eq!(took, [&b"set"[..], b"a bA\n", b"c'd", b"e"]);
        assert_eq!(words(b"set \"open"), Err(Invalid::UnbalancedQuotes));
        assert_eq!(words(b"set \"a\"b"), Err(Invalid::UnbalancedQuotes));
    }
}
