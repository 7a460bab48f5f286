//! Members in few bytes: one that spells an integer stands as the integer.
//!
//! ```text
//! 2 * n: varint, n bytes        text
//! 2 * n + 1: varint, n bytes    a signed little-endian integer of n bytes (0 to 8)
//! ```
//!
//! What spells an integer never stands as text, so equal members take equal bytes.

use crate::value::Word;
use base::codec::Reader;

/// The longest head: a length of 64 bits, or an integer behind its own.
const HEAD_BYTES_MAX: usize = 10;

/// A member in its bytes: a head, and the text behind it if it is text.
pub(super) struct Coded<'a> {
    head: [u8; HEAD_BYTES_MAX],
    head_len: usize,
    text: &'a [u8],
}

impl<'a> Coded<'a> {
    pub(super) fn new(member: Word<'a>) -> Self {
        let mut coded = Self { head: [0; HEAD_BYTES_MAX], head_len: 0, text: b"" };
        match member {
            Word::Text(text) => coded.set_text(text),
            Word::Apart(text) => coded.set_text(text),
            Word::Int(integer) => {
                let bits = if integer == 0 { 0 } else { 65 - (integer ^ (integer >> 63)).leading_zeros() };
                let n = usize::try_from(bits.div_ceil(8)).expect("at most eight");
                coded.push(2 * n + 1);
                coded.head[1..9].copy_from_slice(&integer.to_le_bytes());
                coded.head_len = 1 + n;
            }
        }
        coded
    }

    fn set_text(&mut self, text: &'a [u8]) {
        self.text = text;
        self.push(2 * text.len());
    }

    /// Puts a number into the head, as LEB128.
    fn push(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.head[self.head_len] = number.to_le_bytes()[0] | 0x80;
            self.head_len += 1;
            number >>= 7;
        }
        self.head[self.head_len] = number.to_le_bytes()[0];
        self.head_len += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.head_len + self.text.len()
    }

    /// Writes it into room of its length.
    pub(super) fn write(&self, room: &mut [u8]) {
        let (head, text) = room.split_at_mut(self.head_len);
        head.copy_from_slice(&self.head[..self.head_len]);
        text.copy_from_slice(self.text);
    }

    /// True if it stands at the front of `bytes`.
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        bytes.strip_prefix(&self.head[..self.head_len]).is_some_and(|rest| rest.starts_with(self.text))
    }
}

/// How many bytes the member at the front takes.
pub(super) fn size(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        head @ ..0x80 => Some(1 + usize::from(*head) / 2),
        _ => {
            let mut reader = Reader::new(bytes);
            let number = reader.len().ok()?;
            Some(bytes.len() - reader.rest().len() + number / 2)
        }
    }
}

/// Takes a member off the front, if there is one.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Option<Word<'a>> {
    let number = match reader.rest().first()? {
        // The length of nearly all.
        head @ ..0x80 => {
            reader.take(1).ok()?;
            usize::from(*head)
        }
        _ => reader.len().ok()?,
    };
    let bytes = reader.take(number / 2).ok()?;
    if number % 2 == 0 {
        return Some(Word::Text(bytes));
    }
    let mut wide = [if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 }; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(Word::Int(i64::from_le_bytes(wide)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_back_and_integers_are_short() {
        let long = [b'x'; 20_000];
        let cases: [(&[u8], usize); 14] = [
            (b"", 1),
            (b"a", 2),
            (b"0", 1),
            (b"7", 2),
            (b"-1", 2),
            (b"127", 2),
            (b"128", 3),
            (b"1000234", 4),
            (b"-9223372036854775808", 9),
            (b"9223372036854775807", 9),
            (b"9223372036854775808", 20),
            (b"007", 4),
            (&long[..63], 64),
            (&long, 20_003),
        ];
        for (text, len) in cases {
            let coded = Coded::new(Word::of(text));
            assert_eq!(coded.len(), len, "{}", String::from_utf8_lossy(text));
            let mut room = vec![0; len];
            coded.write(&mut room);
            assert!(coded.begins(&room));
            let mut reader = Reader::new(&room);
            let back = read(&mut reader).unwrap();
            assert!(reader.is_empty() && back.read(|back| back == text));
            assert!(read(&mut Reader::new(&room[..len - 1])).is_none());
        }
        assert!(read(&mut Reader::new(&[19, 0, 0, 0, 0, 0, 0, 0, 0, 0])).is_none());
    }
}
