//! Encodings that older versions of Redis used for small values: ziplists, zipmaps, and sets of integers.
//!
//! ```text
//! ziplist: [bytes u32][last u32][elements u16] elements.. 0xff     element: [size of the one before: u8, or 0xfe u32][head][..]
//!   00nnnnnn [bytes]   01nnnnnn nnnnnnnn [bytes]   10...... [n u32 be][bytes]   a string of n bytes
//!   0xc0 i16   0xd0 i32   0xe0 i64   0xf0 i24   0xfe i8   0xf1..0xfd: 0 to 12   an integer
//! zipmap:  [pairs u8] pairs.. 0xff       pair: [length][field][length][free u8][value][free bytes]
//!   length: u8 up to 0xfd, or 0xfe u32
//! intset:  [bytes of each u32: 2, 4 or 8][count u32] integers in order
//! ```
//!
//! All numbers little-endian but where they aren't.

use super::listpack::{Elements, Item};
use super::source::{Bad, integer};
use base::codec::Reader;

const END: u8 = 0xff;
const LONG: u8 = 0xfe;
const COUNT_UNKNOWN: u16 = u16::MAX;

/// The elements of a ziplist; an error ends them.
#[derive(Debug)]
pub struct Ziplist<'a> {
    reader: Reader<'a>,
    /// How many elements the header tells, and how many were read.
    told: u16,
    count: u64,
    /// The size of the element before.
    before: usize,
}

impl<'a> Ziplist<'a> {
    /// The ziplist that `bytes` are.
    pub fn of(bytes: &'a [u8]) -> Result<Self, Bad> {
        let mut reader = Reader::new(bytes);
        let (size, _last, told) = (reader.u32()?, reader.u32()?, reader.u16()?);
        if usize::try_from(size) != Ok(bytes.len()) {
            return Err(Bad);
        }
        Ok(Self { reader, told, count: 0, before: 0 })
    }
}

impl<'a> Elements<'a> for Ziplist<'a> {
    fn next(&mut self) -> Result<Option<Item<'a>>, Bad> {
        let start = self.reader.rest().len();
        let back = match self.reader.u8()? {
            END => {
                let whole = self.told == COUNT_UNKNOWN || u64::from(self.told) == self.count;
                return if whole && self.reader.is_empty() { Ok(None) } else { Err(Bad) };
            }
            LONG => usize::try_from(self.reader.u32()?).map_err(|_| Bad)?,
            short => usize::from(short),
        };
        if back != self.before {
            return Err(Bad);
        }
        let item = element(&mut self.reader)?;
        self.before = start - self.reader.rest().len();
        self.count += 1;
        Ok(Some(item))
    }
}

fn element<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>, Bad> {
    let head = reader.u8()?;
    let low = usize::from(head & 0x3f);
    Ok(match head {
        0..0x40 => Item::Text(reader.take(low)?),
        0x40..0x80 => {
            let len = low << 8 | usize::from(reader.u8()?);
            Item::Text(reader.take(len)?)
        }
        0x80..0xc0 => {
            let len = usize::try_from(reader.u32()?.swap_bytes()).map_err(|_| Bad)?;
            Item::Text(reader.take(len)?)
        }
        0xc0 => Item::Int(integer(reader.take(2)?)),
        0xd0 => Item::Int(integer(reader.take(4)?)),
        0xe0 => Item::Int(integer(reader.take(8)?)),
        0xf0 => Item::Int(integer(reader.take(3)?)),
        0xfe => Item::Int(integer(reader.take(1)?)),
        0xf1..0xfe => Item::Int(i64::from(head - 0xf1)),
        _ => return Err(Bad),
    })
}

/// Lets every field and value of a zipmap be seen.
pub fn zipmap<'a>(bytes: &'a [u8], mut seen: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), Bad>) -> Result<(), Bad> {
    let mut reader = Reader::new(bytes);
    let told = reader.u8()?;
    let mut count = 0_u64;
    while let Some(len) = zipmap_length(&mut reader)? {
        let field = reader.take(len)?;
        let len = zipmap_length(&mut reader)?.ok_or(Bad)?;
        let free = usize::from(reader.u8()?);
        seen(field, reader.take(len)?)?;
        reader.take(free)?;
        count += 1;
    }
    // A map of many pairs doesn't tell how many they are.
    if reader.is_empty() && (told >= LONG || u64::from(told) == count) { Ok(()) } else { Err(Bad) }
}

fn zipmap_length(reader: &mut Reader<'_>) -> Result<Option<usize>, Bad> {
    Ok(match reader.u8()? {
        END => None,
        LONG => Some(usize::try_from(reader.u32()?).map_err(|_| Bad)?),
        short => Some(usize::from(short)),
    })
}

/// The integers of an intset.
pub fn intset(bytes: &[u8]) -> Result<impl Iterator<Item = i64>, Bad> {
    let mut reader = Reader::new(bytes);
    let (width, count) = (reader.u32()?, reader.u32()?);
    let width = usize::try_from(width).ok().filter(|width| matches!(width, 2 | 4 | 8)).ok_or(Bad)?;
    let rest = reader.rest();
    let all = || rest.chunks_exact(width).map(integer);
    let whole = usize::try_from(count).ok().and_then(|count| count.checked_mul(width)) == Some(rest.len());
    if whole && count > 0 && all().is_sorted_by(|a, b| a < b) { Ok(all()) } else { Err(Bad) }
}
