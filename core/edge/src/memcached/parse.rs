//! Frames: a line of words, and behind those that set something, a block of data.

use base::limits::{MEMCACHED_KEYS_BYTES_MAX, MEMCACHED_LINE_BYTES_MAX, MEMCACHED_VALUE_BYTES_MAX};
use smallvec::SmallVec;

/// The words of a line.
pub type Words<'a> = SmallVec<[&'a [u8]; 8]>;

/// What stands at the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A whole frame in so many bytes.
    Frame { words: Words<'a>, data: &'a [u8], used: usize },
    /// A line that is no good, for itself; nothing of what is behind it was taken.
    Bad { why: &'static str, used: usize },
    /// The same, and what was to be set is `data_bytes` long, behind the line: it is to be passed over.
    BadSet { why: &'static str, used: usize, data_bytes: u64 },
    /// A line that has no end: nothing behind it can be understood.
    TooLong,
    /// More bytes are needed: so many at least from the front.
    Partial { need_at_least: usize },
}

/// What a client is told of a line that is no command.
pub const UNKNOWN: &str = "ERROR";
/// And of one that is wrong.
pub const BAD_LINE: &str = "CLIENT_ERROR bad command line format";
const BAD_DATA: &str = "CLIENT_ERROR bad data chunk";
const TOO_LARGE: &str = "SERVER_ERROR object too large for cache";

/// Takes one frame apart.
#[must_use]
pub fn parse(buf: &[u8]) -> Parsed<'_> {
    let room = if may_be_long(buf) { MEMCACHED_KEYS_BYTES_MAX } else { MEMCACHED_LINE_BYTES_MAX };
    let seen = &buf[..buf.len().min(room)];
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return if buf.len() >= room { Parsed::TooLong } else { Parsed::Partial { need_at_least: buf.len() + 1 } };
    };
    let line = seen[..end].strip_suffix(b"\r").unwrap_or(&seen[..end]);
    let words: Words<'_> = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    let used = end + 1;
    let Some(at) = length_at(&words) else { return Parsed::Frame { words, data: b"", used } };
    let Some(length) = words.get(at) else { return Parsed::Bad { why: UNKNOWN, used } };
    let Some(data_bytes) = length_of(length) else { return Parsed::Bad { why: BAD_LINE, used } };
    match usize::try_from(data_bytes).ok().filter(|bytes| *bytes <= MEMCACHED_VALUE_BYTES_MAX) {
        Some(bytes) => block(words, &buf[used..], used, bytes),
        None => Parsed::BadSet { why: TOO_LARGE, used, data_bytes },
    }
}

/// The block behind the line.
fn block<'a>(words: Words<'a>, rest: &'a [u8], used: usize, bytes: usize) -> Parsed<'a> {
    const END: &[u8] = b"\r\n";
    let whole = bytes + END.len();
    let Some(block) = rest.get(..whole) else { return Parsed::Partial { need_at_least: used + whole } };
    match block.strip_suffix(END) {
        Some(data) => Parsed::Frame { words, data, used: used + whole },
        None => Parsed::Bad { why: BAD_DATA, used: used + whole },
    }
}

/// True for commands that name many keys.
fn may_be_long(buf: &[u8]) -> bool {
    [b"get".as_slice(), b"gat"].iter().any(|name| buf.starts_with(name))
}

/// Where the length of the data stands in a command that has some.
fn length_at(words: &[&[u8]]) -> Option<usize> {
    match *words.first()? {
        b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => Some(4),
        b"ms" => Some(2),
        _ => None,
    }
}

/// A length below the largest that is signed, as memcached has it.
fn length_of(word: &[u8]) -> Option<u64> {
    let digits = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
    let length: u64 = std::str::from_utf8(word).ok()?.parse().ok()?;
    (digits && length < u64::from(u32::MAX >> 1)).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(buf: &[u8]) -> (Vec<&[u8]>, &[u8], usize) {
        let Parsed::Frame { words, data, used } = parse(buf) else { panic!("{:?}", parse(buf)) };
        (words.to_vec(), data, used)
    }

    #[test]
    fn lines_and_blocks_are_framed() {
        assert_eq!(frame(b"get  a b\r\nx"), (vec![b"get".as_slice(), b"a", b"b"], b"".as_slice(), 10));
        assert_eq!(frame(b"mn\n"), (vec![b"mn".as_slice()], b"".as_slice(), 3));
        assert_eq!(frame(b"\r\n"), (vec![], b"".as_slice(), 2));
        let (words, data, used) = frame(b"set k 0 0 4\r\na\r\nb\r\nget k\r\n");
        assert_eq!((words.len(), data, used), (5, b"a\r\nb".as_slice(), 19));
        assert_eq!(frame(b"ms k 0\r\n\r\n").2, 10);
    }

    #[test]
    fn what_is_not_there_is_waited_for() {
        for (buf, need) in
            [("", 1), ("get", 4), ("set k 0 0 3", 12), ("set k 0 0 3\r\nab", 18), ("ms k 3\r\nabc\r", 13)]
        {
            assert_eq!(parse(buf.as_bytes()), Parsed::Partial { need_at_least: need }, "{buf:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (buf, why, used) in [
            ("set k\r\n", UNKNOWN, 7),
            ("ms\r\n", UNKNOWN, 4),
            ("set k 0 0 -1\r\n", BAD_LINE, 14),
            ("ms k S3\r\n", BAD_LINE, 9),
            ("set k 0 0 4294967296\r\n", BAD_LINE, 22),
            ("set k 0 0 2\r\nabcde\r\n", BAD_DATA, 17),
        ] {
            assert_eq!(parse(buf.as_bytes()), Parsed::Bad { why, used }, "{buf:?}");
        }
        let large = Parsed::BadSet { why: TOO_LARGE, used: 20, data_bytes: 99_999_999 };
        assert_eq!(parse(b"set k 0 0 99999999\r\nabc"), large);
        assert_eq!(parse(&[b'x'; MEMCACHED_LINE_BYTES_MAX]), Parsed::TooLong);
        let mut keys = b"get ".to_vec();
        keys.resize(MEMCACHED_LINE_BYTES_MAX, b'k');
        assert!(matches!(parse(&keys), Parsed::Partial { .. }));
    }
}
