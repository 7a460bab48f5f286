//! How a word, a member of a set or a field or value of a hash, stands in memory: so that integers are short.
//!
//! ```text
//! [n < 0x80][bytes]           a string of n bytes
//! [0x80 + n]                  an integer below 96
//! [0xE0][length u16][bytes]   a longer string
//! [0xE1][place u8]            a string that stands apart, in a list of its chunk
//! [0xF0 + n][bytes]           another integer, in n bytes, little-endian
//! ```
//!
//! A string that spells a 64-bit integer, as that is printed, always stands as one: equal words have equal bytes.

use crate::Blob;
use bytes::Bytes;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// A word where it stands, or one to be looked for.
#[derive(Clone, Copy, Debug)]
pub enum Word<'a> {
    /// A string that spells no 64-bit integer.
    Text(&'a [u8]),
    /// The string that this integer is printed as.
    Int(i64),
    /// A long string, to be shared.
    Apart(&'a Bytes),
}

const SHORT_END: u8 = 0x80;
const TINY: u8 = 0x80;
const TINY_END: u8 = 0xE0;
const TINY_COUNT: i64 = 96;
const LONG: u8 = 0xE0;
const APART: u8 = 0xE1;
const INT: u8 = 0xF0;
const _: () = assert!(TINY as i64 + TINY_COUNT == TINY_END as i64, "each head byte means one thing");

/// "-9223372036854775808" has so many.
const DIGITS_MAX: usize = 20;
/// The longest head: that of an integer of eight bytes.
const HEAD_MAX: usize = 9;

impl<'a> Word<'a> {
    /// What this string is as a word.
    #[must_use]
    pub fn of(text: &'a [u8]) -> Self {
        parse(text).map_or(Self::Text(text), Self::Int)
    }

    /// The string, for a reply; shared if it stands apart.
    #[must_use]
    pub fn blob(self) -> Blob {
        match self {
            Self::Text(text) => Blob::from(text),
            Self::Int(n) => Blob::from(Digits::of(n).text()),
            Self::Apart(bytes) => Blob::Shared(bytes.clone()),
        }
    }

    /// Gives the string to `read`.
    pub fn read<T>(self, read: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Text(text) => read(text),
            Self::Int(n) => read(Digits::of(n).text()),
            Self::Apart(bytes) => read(bytes),
        }
    }

    /// True if both are the same string; `other` was made by [`Word::of`].
    #[must_use]
    pub fn is(self, other: Word<'_>) -> bool {
        match (self, other) {
            (Self::Int(a), Word::Int(b)) => a == b,
            (Self::Text(a), Word::Text(b)) => a == b,
            (Self::Apart(a), Word::Text(b)) => a == b,
            _ => false,
        }
    }

    /// Bytes of the string.
    #[must_use]
    pub fn len(self) -> usize {
        self.read(<[u8]>::len)
    }

    /// True for the empty string.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The integer that the string spells.
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        if let Self::Int(n) = self { Some(n) } else { None }
    }

    /// A hash under a secret seed, so that nobody can choose words that meet.
    pub(super) fn hash(self, seed: u64) -> u32 {
        let mut hasher = SipHasher13::new_with_keys(seed, !seed);
        match self {
            Self::Int(n) => hasher.write_i64(n),
            Self::Text(text) => hasher.write(text),
            Self::Apart(bytes) => hasher.write(bytes),
        }
        let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// How it stands among others.
    pub(super) fn code(self) -> Code<'a> {
        let mut code = Code { head: [0; HEAD_MAX], head_len: 1, text: b"" };
        match self {
            Self::Int(n) => code.integer(n),
            Self::Text(text) => code.string(text),
            Self::Apart(bytes) => code.string(bytes),
        }
        code
    }

    /// The word at the front of `data`, and how many bytes it takes there.
    pub(super) fn first(data: &'a [u8], apart: &'a [Option<Bytes>]) -> (Self, usize) {
        let used = size(data);
        let word = match data[0] {
            head @ ..SHORT_END => Self::Text(&data[1..1 + usize::from(head)]),
            head @ TINY..TINY_END => Self::Int(i64::from(head - TINY)),
            LONG => Self::Text(&data[3..used]),
            APART => Self::Apart(apart[usize::from(data[1])].as_ref().expect("a word names a place that is taken")),
            _ => {
                // The sign is in the last byte: fill the ones above with it.
                let fill = if data[used - 1] & 0x80 == 0 { 0 } else { 0xff };
                let mut bytes = [fill; 8];
                bytes[..used - 1].copy_from_slice(&data[1..used]);
                Self::Int(i64::from_le_bytes(bytes))
            }
        };
        (word, used)
    }
}

/// How many bytes the word at the front of `data` takes there.
pub(super) fn size(data: &[u8]) -> usize {
    match data[0] {
        head @ ..SHORT_END => 1 + usize::from(head),
        TINY..TINY_END => 1,
        LONG => 3 + usize::from(u16::from_le_bytes([data[1], data[2]])),
        APART => 2,
        head => 1 + usize::from(head - INT),
    }
}

/// The place in the list of its chunk of the word at the front of `data`, if it stands apart.
pub(super) fn place_apart(data: &[u8]) -> Option<usize> {
    (data[0] == APART).then(|| usize::from(data[1]))
}

/// The bytes of a word: a head, and the string behind it if it is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Code<'a> {
    head: [u8; HEAD_MAX],
    head_len: usize,
    text: &'a [u8],
}

impl Code<'_> {
    /// A string that stands at `place` of the list.
    pub(super) fn apart(place: u8) -> Self {
        let mut code = Code { head: [0; HEAD_MAX], head_len: 2, text: b"" };
        code.head[..2].copy_from_slice(&[APART, place]);
        code
    }

    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        self.head_len + self.text.len()
    }

    /// True if it stands at the front of `data`.
    pub(super) fn begins(&self, data: &[u8]) -> bool {
        data[0] == self.head[0]
            && data.starts_with(&self.head[..self.head_len])
            && data[self.head_len..].starts_with(self.text)
    }

    /// Writes it to the front of `room`.
    pub(super) fn write(&self, room: &mut [u8]) {
        room[..self.head_len].copy_from_slice(&self.head[..self.head_len]);
        room[self.head_len..self.len()].copy_from_slice(self.text);
    }
}

impl<'a> Code<'a> {
    fn integer(&mut self, n: i64) {
        if (0..TINY_COUNT).contains(&n) {
            self.head[0] = TINY + n.to_le_bytes()[0];
            return;
        }
        let bits = 65 - (n ^ (n >> 63)).leading_zeros();
        let bytes = bits.div_ceil(8).to_le_bytes()[0];
        self.head[0] = INT + bytes;
        self.head[1..].copy_from_slice(&n.to_le_bytes());
        self.head_len = 1 + usize::from(bytes);
    }

    fn string(&mut self, text: &'a [u8]) {
        self.text = text;
        match u8::try_from(text.len()) {
            Ok(len @ ..SHORT_END) => self.head[0] = len,
            _ => {
                // Strings beyond 16 bits never stand among others; they are told by their size.
                let len = u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes();
                self.head[..3].copy_from_slice(&[LONG, len[0], len[1]]);
                self.head_len = 3;
            }
        }
    }
}

/// A 64-bit integer that is spelled as it would be printed: no blanks, no plus, no leading zeros.
fn parse(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] if !negative => return Some(0),
        [b'0', ..] => return None,
        _ if digits.len() >= DIGITS_MAX => return None,
        _ => {}
    }
    let mut n = 0_i64;
    for byte in digits {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        n = n.checked_mul(10)?;
        n = if negative { n.checked_sub(digit)? } else { n.checked_add(digit)? };
    }
    Some(n)
}

/// An integer as it is printed.
struct Digits {
    bytes: [u8; DIGITS_MAX],
    from: usize,
}

impl Digits {
    fn of(n: i64) -> Self {
        let mut digits = Self { bytes: [0; DIGITS_MAX], from: DIGITS_MAX };
        let mut rest = n.unsigned_abs();
        loop {
            digits.put(b'0' + (rest % 10).to_le_bytes()[0]);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if n < 0 {
            digits.put(b'-');
        }
        digits
    }

    fn put(&mut self, byte: u8) {
        self.from -= 1;
        self.bytes[self.from] = byte;
    }

    fn text(&self) -> &[u8] {
        &self.bytes[self.from..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_as_they_went() {
        let mut texts: Vec<Vec<u8>> = ["", "a", "0", "-0", "00", "01", "+1", "-", "1 ", " 1", "95", "96", "-1", "1.5"]
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .collect();
        for bits in 0..64 {
            for n in [1_i64 << bits, (1_i64 << bits).wrapping_sub(1), (1_i64 << bits).wrapping_neg()] {
                texts.push(n.to_string().into_bytes());
            }
        }
        texts.extend(["9223372036854775808", "-9223372036854775809", "99999999999999999999"].map(Into::into));
        texts.extend([126, 127, 128, 129, 255, 256, 65_535].map(|n| vec![b'x'; n]));
        texts.sort();
        texts.dedup();
        for text in &texts {
            let word = Word::of(text);
            let spelled = std::str::from_utf8(text).unwrap().parse::<i64>().ok();
            assert_eq!(word.integer(), spelled.filter(|n| n.to_string().as_bytes() == text), "{text:?}");
            let code = word.code();
            let mut data = vec![0; code.len()];
            code.write(&mut data);
            data.push(7);
            assert!(code.begins(&data));
            let (back, used) = Word::first(&data, &[]);
            assert_eq!((used, size(&data)), (code.len(), code.len()), "{text:?}");
            back.read(|back| assert_eq!(back, text));
            assert_eq!(back.hash(3), word.hash(3));
            let others = texts.iter().filter(|other| Word::of(other).code().begins(&data));
            assert_eq!(others.collect::<Vec<_>>(), [text]);
        }
    }

    #[test]
    fn integers_are_short() {
        for (n, bytes) in [(0, 1), (95, 1), (96, 2), (-1, 2), (127, 2), (128, 3), (-128, 2), (-129, 3), (40_000, 4)] {
            assert_eq!(Word::Int(n).code().len(), bytes, "{n}");
        }
        assert_eq!(Word::Int(1_700_000_000_000).code().len(), 7);
        assert_eq!(Word::Int(i64::MIN).code().len(), 9);
    }
}
