//! Numbers and strings as Redis' files spell them.
//!
//! ```text
//! 00nnnnnn                  a length below 64
//! 01nnnnnn nnnnnnnn         a length below 16,384
//! 0x80 [u32 be]             a length
//! 0x81 [u64 be]             a length
//! 110000ee                  instead of a string's length: e = 0, 1, 2: an integer of 1, 2 or 4 bytes, le
//!                           e = 3: [packed length][length][LZF]
//! ```

use super::lzf;
use base::codec::{DecodeError, Reader};
use base::limits::REQUEST_BYTES_MAX;
use std::borrow::Cow;

/// The bytes are no value: damaged, hostile, or of a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad;

impl From<DecodeError> for Bad {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

/// A payload that is being read.
#[derive(Debug)]
pub struct Source<'a> {
    reader: Reader<'a>,
    /// What may still come out of packed strings.
    unpacked_left: usize,
}

/// A length, or how a string is spelled that has none.
enum Length {
    Plain(u64),
    Integer(u8),
    Packed,
}

const LENGTH_32: u8 = 0x80;
const LENGTH_64: u8 = 0x81;
const PACKED: u8 = 3;
/// The longest string that may be an integer.
const INTEGER_BYTES_MAX: usize = 11;

impl<'a> Source<'a> {
    pub fn new(payload: &'a [u8]) -> Self {
        Self { reader: Reader::new(payload), unpacked_left: REQUEST_BYTES_MAX }
    }

    pub fn u8(&mut self) -> Result<u8, Bad> {
        Ok(self.reader.u8()?)
    }

    pub fn u64(&mut self) -> Result<u64, Bad> {
        Ok(self.reader.u64()?)
    }

    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Bad> {
        Ok(self.reader.take(len)?)
    }

    /// A length.
    pub fn length(&mut self) -> Result<u64, Bad> {
        match self.any_length()? {
            Length::Plain(length) => Ok(length),
            Length::Integer(_) | Length::Packed => Err(Bad),
        }
    }

    fn size(&mut self) -> Result<usize, Bad> {
        usize::try_from(self.length()?).map_err(|_| Bad)
    }

    /// How many members a value has: no value has none.
    pub fn count(&mut self) -> Result<u64, Bad> {
        self.length().and_then(|count| if count == 0 { Err(Bad) } else { Ok(count) })
    }

    /// A string.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Bad> {
        match self.any_length()? {
            Length::Plain(length) => Ok(Cow::Borrowed(self.take(usize::try_from(length).map_err(|_| Bad)?)?)),
            Length::Integer(bytes) => {
                let number = integer(self.take(usize::from(bytes))?);
                Ok(Cow::Owned(number.to_string().into_bytes()))
            }
            Length::Packed => {
                let (packed, len) = (self.size()?, self.size()?);
                self.unpacked_left = self.unpacked_left.checked_sub(len).ok_or(Bad)?;
                lzf::unpack(self.take(packed)?, len).map(Cow::Owned)
            }
        }
    }

    fn any_length(&mut self) -> Result<Length, Bad> {
        let head = self.u8()?;
        let low = u64::from(head & 0x3f);
        Ok(match (head >> 6, head) {
            (0, _) => Length::Plain(low),
            (1, _) => Length::Plain(low << 8 | u64::from(self.u8()?)),
            (_, LENGTH_32) => Length::Plain(u64::from(self.reader.u32()?.swap_bytes())),
            (_, LENGTH_64) => Length::Plain(self.u64()?.swap_bytes()),
            (3, _) => match head & 0x3f {
                size @ 0..PACKED => Length::Integer(1 << size),
                PACKED => Length::Packed,
                _ => return Err(Bad),
            },
            _ => return Err(Bad),
        })
    }
}

/// An integer of 1 to 8 bytes, little-endian.
pub fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|high| high & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(whole)
}

pub fn put_length(out: &mut Vec<u8>, length: u64) {
    let [.., high, low] = length.to_be_bytes();
    match length {
        0..0x40 => out.push(low),
        0x40..0x4000 => out.extend_from_slice(&[0x40 | high, low]),
        _ => match u32::try_from(length) {
            Ok(length) => {
                out.push(LENGTH_32);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                out.push(LENGTH_64);
                out.extend_from_slice(&length.to_be_bytes());
            }
        },
    }
}

pub fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    let number = (string.len() <= INTEGER_BYTES_MAX).then(|| crate::command::strings::integer(string).ok()).flatten();
    match number.and_then(|number| i32::try_from(number).ok()) {
        Some(number) => put_integer(out, number),
        None => {
            put_length(out, string.len() as u64);
            out.extend_from_slice(string);
        }
    }
}

/// A string that spells an integer.
pub fn put_number(out: &mut Vec<u8>, number: i64) {
    if let Ok(number) = i32::try_from(number) {
        return put_integer(out, number);
    }
    let text = number.to_string();
    put_length(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_integer(out: &mut Vec<u8>, number: i32) {
    let bytes = number.to_le_bytes();
    let size = (0..2).find(|size| i64::from(number) == integer(&bytes[..1 << size])).unwrap_or(2);
    out.push(0xc0 | size);
    out.extend_from_slice(&bytes[..1 << size]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_strings_come_back_as_they_went() {
        for length in [0, 63, 64, 16_383, 16_384, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let mut out = Vec::new();
            put_length(&mut out, length);
            assert_eq!(Source::new(&out).length(), Ok(length));
        }
        for text in ["", "0", "-128", "128", "-32769", "2147483647", "2147483648", "-2147483648", "01", "x"] {
            let mut out = Vec::new();
            put_string(&mut out, text.as_bytes());
            assert_eq!(Source::new(&out).string().as_deref(), Ok(text.as_bytes()));
        }
        for number in [0, 127, -129, i64::MIN, i64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, number);
            assert_eq!(Source::new(&out).string().as_deref(), Ok(number.to_string().as_bytes()));
        }
    }

    #[test]
    fn lengths_that_promise_too_much_are_errors() {
        for bytes in
            [&b"\x05abc"[..], b"\x80\xff\xff\xff\xff", b"\x81\xff\xff\xff\xff\xff\xff\xff\xff", b"\xc4", b"\x82", b""]
        {
            assert_eq!(Source::new(bytes).string(), Err(Bad), "{bytes:?}");
        }
        assert_eq!(Source::new(b"\xc0\x01").length(), Err(Bad));
        assert_eq!(Source::new(b"\xc3\x02\x80\xff\xff\xff\xff\x00a").string(), Err(Bad));
    }
}
