//! Listpacks: Redis' lists of short strings and integers in one piece.
//!
//! ```text
//! [bytes of all u32 le][elements u16 le, 65535: unknown] elements.. 0xff
//! element: [head][..][the size of both, backwards]
//! 0nnnnnnn                    an integer below 128          110nnnnn nnnnnnnn          an integer of 13 bits
//! 10nnnnnn [bytes]            a string below 64             1110nnnn nnnnnnnn [bytes]  a string below 4,096
//! 0xf0 [length u32 le][bytes] a string                      0xf1 .. 0xf4 [bytes]       an integer of 2, 3, 4, 8 bytes
//! ```

use super::source::{Bad, integer};
use base::codec::Reader;
use std::borrow::Cow;

/// An element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Text(&'a [u8]),
    Int(i64),
}

/// A list in one piece that is being read.
pub trait Elements<'a> {
    /// The next element, or nothing behind the last.
    fn next(&mut self) -> Result<Option<Item<'a>>, Bad>;

    /// The next element, which must be there.
    fn need(&mut self) -> Result<Item<'a>, Bad> {
        self.next()?.ok_or(Bad)
    }
}

const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;
const HEADER_BYTES: usize = 6;

impl<'a> Item<'a> {
    /// The string that it is.
    pub fn text(self) -> Cow<'a, [u8]> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Int(number) => Cow::Owned(number.to_string().into_bytes()),
        }
    }
}

/// The elements of a listpack; an error ends them.
#[derive(Debug)]
pub struct Items<'a> {
    reader: Reader<'a>,
    left: Option<u16>,
}

impl<'a> Items<'a> {
    /// The listpack that `bytes` are.
    pub fn of(bytes: &'a [u8]) -> Result<Self, Bad> {
        let mut reader = Reader::new(bytes);
        let (size, count) = (reader.u32()?, reader.u16()?);
        if usize::try_from(size) != Ok(bytes.len()) {
            return Err(Bad);
        }
        Ok(Self { reader, left: Some(count).filter(|count| *count != COUNT_UNKNOWN) })
    }
}

impl<'a> Elements<'a> for Items<'a> {
    fn next(&mut self) -> Result<Option<Item<'a>>, Bad> {
        let before = self.reader.rest();
        let head = self.reader.u8()?;
        if head == END {
            return if self.reader.is_empty() && self.left.unwrap_or(0) == 0 { Ok(None) } else { Err(Bad) };
        }
        let low = usize::from(head);
        let item = match head {
            0..0x80 => Item::Int(i64::from(head)),
            0x80..0xc0 => Item::Text(self.reader.take(low & 0x3f)?),
            0xc0..0xe0 => {
                let raw = i64::from(head & 0x1f) << 8 | i64::from(self.reader.u8()?);
                Item::Int(raw << 51 >> 51)
            }
            0xe0..0xf0 => {
                let len = (low & 0x0f) << 8 | usize::from(self.reader.u8()?);
                Item::Text(self.reader.take(len)?)
            }
            0xf0 => {
                let len = usize::try_from(self.reader.u32()?).map_err(|_| Bad)?;
                Item::Text(self.reader.take(len)?)
            }
            0xf1..0xf5 => Item::Int(integer(self.reader.take([2, 3, 4, 8][low - 0xf1])?)),
            _ => return Err(Bad),
        };
        let size = before.len() - self.reader.rest().len();
        let mut backwards = Vec::new();
        put_back(&mut backwards, size);
        if self.reader.take(backwards.len())? != backwards {
            return Err(Bad);
        }
        self.left = self.left.map(|left| left.checked_sub(1).ok_or(Bad)).transpose()?;
        Ok(Some(item))
    }
}

/// A listpack that is being made.
#[derive(Debug)]
pub struct Maker {
    bytes: Vec<u8>,
    count: usize,
}

impl Default for Maker {
    fn default() -> Self {
        Self { bytes: vec![0; HEADER_BYTES], count: 0 }
    }
}

impl Maker {
    pub fn push(&mut self, text: &[u8]) {
        if let Ok(number) = crate::command::strings::integer(text) {
            return self.push_int(number);
        }
        let before = self.bytes.len();
        let [low, high, ..] = text.len().to_le_bytes();
        match text.len() {
            0..0x40 => self.bytes.push(0x80 | low),
            0x40..0x1000 => self.bytes.extend_from_slice(&[0xe0 | high, low]),
            len => {
                self.bytes.push(0xf0);
                let len = u32::try_from(len).expect("strings are shorter");
                self.bytes.extend_from_slice(&len.to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
        self.end(before);
    }

    pub fn push_int(&mut self, number: i64) {
        let before = self.bytes.len();
        let bytes = number.to_le_bytes();
        match number {
            0..0x80 => self.bytes.push(bytes[0]),
            -0x1000..0x1000 => self.bytes.extend_from_slice(&[0xc0 | bytes[1] & 0x1f, bytes[0]]),
            _ => {
                let sizes = [(0xf1, 2), (0xf2, 3), (0xf3, 4)];
                let fits = sizes.into_iter().find(|(_, size)| integer(&bytes[..*size]) == number);
                let (head, size) = fits.unwrap_or((0xf4, 8));
                self.bytes.push(head);
                self.bytes.extend_from_slice(&bytes[..size]);
            }
        }
        self.end(before);
    }

    fn end(&mut self, before: usize) {
        let size = self.bytes.len() - before;
        put_back(&mut self.bytes, size);
        self.count += 1;
    }

    pub fn done(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let size = u32::try_from(self.bytes.len()).expect("listpacks are cut before they are large");
        self.bytes[..4].copy_from_slice(&size.to_le_bytes());
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        self.bytes[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}

/// An element's size, to be read from its end: seven bits a byte, all but the last read with a flag.
fn put_back(out: &mut Vec<u8>, size: usize) {
    let digits = match size {
        0..0x80 => 1,
        0x80..0x3fff => 2,
        0x3fff..0x1f_ffff => 3,
        0x1f_ffff..0xfff_ffff => 4,
        _ => 5,
    };
    for digit in (0..digits).rev() {
        let flag = if digit + 1 == digits { 0 } else { 0x80 };
        out.push((size >> (7 * digit)).to_le_bytes()[0] & 0x7f | flag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back_as_they_went() {
        let mut maker = Maker::default();
        let numbers =
            [0, 127, 128, -1, 4095, -4096, 4096, 32_767, -32_769, 1 << 23, -(1 << 31), 1 << 31, i64::MIN, i64::MAX];
        numbers.iter().for_each(|number| maker.push_int(*number));
        let texts: Vec<Vec<u8>> = [0, 1, 63, 64, 127, 4095, 4096, 17_000].map(|len| vec![b'x'; len]).to_vec();
        texts.iter().for_each(|text| maker.push(text));
        let bytes = maker.done();
        let mut found = Items::of(&bytes).expect("a header");
        for number in numbers {
            assert_eq!(found.next(), Ok(Some(Item::Int(number))));
        }
        for text in &texts {
            assert_eq!(found.next(), Ok(Some(Item::Text(text))));
        }
        assert_eq!(found.next(), Ok(None));
        for cut in 0..bytes.len() {
            assert!(Items::of(&bytes[..cut]).is_err(), "the size is told at the start");
        }
    }
}
