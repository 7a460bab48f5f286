//! A sketch as it stands in a string.
//!
//! ```text
//! "HYLL"  [encoding: 0 dense, 1 sparse]  [3 bytes]  [count u64 le; nothing if its highest bit is set]  registers
//! ```

use super::dense::{self, DENSE_BYTES, REGISTER_COUNT};
use super::sparse::{self, Raised};
use crate::Refused;

pub const HEADER_BYTES: usize = 16;
const MAGIC: &[u8] = b"HYLL";
const ENCODING_AT: usize = 4;
const COUNT_AT: usize = 8;
const COUNT_UNKNOWN: u8 = 0x80;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// How the registers are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Dense,
    Sparse,
}

/// A string that begins as a sketch does; the runs of a sparse one may still make no sense.
#[derive(Clone, Copy, Debug)]
pub struct Sketch<'a> {
    bytes: &'a [u8],
    encoding: Encoding,
}

/// How many registers have which value.
pub type Histogram = [u32; 64];

pub fn corrupt() -> Refused {
    Refused::Text("INVALIDOBJ Corrupted HLL object detected".to_owned())
}

/// A sketch that has seen nothing.
pub fn empty() -> Vec<u8> {
    let mut bytes = header(SPARSE);
    bytes.extend_from_slice(&[0x7f, 0xff]);
    bytes
}

fn header(encoding: u8) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(encoding);
    bytes.resize(HEADER_BYTES, 0);
    bytes
}

/// The count must be estimated anew.
pub fn forget_count(bytes: &mut [u8]) {
    bytes[HEADER_BYTES - 1] |= COUNT_UNKNOWN;
}

/// Raises a register, in whatever encoding then holds it; false if it was so high already.
pub fn set(bytes: &mut Vec<u8>, index: usize, count: u8) -> Result<bool, Refused> {
    if bytes[ENCODING_AT] == SPARSE {
        match sparse::set(bytes, index, count)? {
            Raised::Yes => {
                forget_count(bytes);
                return Ok(true);
            }
            Raised::No => return Ok(false),
            Raised::TooLarge => *bytes = to_dense(std::mem::take(bytes))?,
        }
    }
    Ok(dense::set(bytes, index, count))
}

/// The same sketch with dense registers.
pub fn to_dense(bytes: Vec<u8>) -> Result<Vec<u8>, Refused> {
    if bytes[ENCODING_AT] == DENSE {
        return Ok(bytes);
    }
    let mut dense = bytes[..HEADER_BYTES].to_vec();
    dense[ENCODING_AT] = DENSE;
    dense.resize(DENSE_BYTES, 0);
    let mut index = 0;
    sparse::each(&bytes, |len, value| {
        for index in index..index + len {
            dense::set(&mut dense, index, value);
        }
        index += len;
    })?;
    Ok(dense)
}

impl<'a> Sketch<'a> {
    /// The sketch in a string.
    pub fn of(bytes: &'a [u8]) -> Result<Self, Refused> {
        let encoding = match bytes.get(ENCODING_AT) {
            Some(&DENSE) if bytes.len() == DENSE_BYTES => Some(Encoding::Dense),
            Some(&SPARSE) if bytes.len() >= HEADER_BYTES => Some(Encoding::Sparse),
            _ => None,
        };
        let why = "WRONGTYPE Key is not a valid HyperLogLog string value.";
        let encoding = encoding.filter(|_| bytes.starts_with(MAGIC)).ok_or_else(|| Refused::Text(why.to_owned()))?;
        Ok(Self { bytes, encoding })
    }

    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub fn encoding(self) -> Encoding {
        self.encoding
    }

    /// The count that the string came with.
    pub fn cached_count(self) -> Option<u64> {
        let bytes = self.bytes[COUNT_AT..HEADER_BYTES].try_into().expect("eight bytes were cut");
        Some(u64::from_le_bytes(bytes)).filter(|count| count.leading_zeros() > 0)
    }

    pub fn histogram(self) -> Result<Histogram, Refused> {
        let mut found = [0; 64];
        match self.encoding {
            Encoding::Dense => dense::registers(self.bytes).for_each(|value| found[usize::from(value)] += 1),
            Encoding::Sparse => sparse::each(self.bytes, |len, value| {
                found[usize::from(value)] += u32::try_from(len).expect("runs are short");
            })?,
        }
        Ok(found)
    }
}

/// One byte per register: what several sketches have seen together.
#[derive(Debug)]
pub struct Registers(Box<[u8]>);

impl Default for Registers {
    fn default() -> Self {
        Self(vec![0; REGISTER_COUNT].into_boxed_slice())
    }
}

impl Registers {
    pub fn merge(&mut self, sketch: Sketch<'_>) -> Result<(), Refused> {
        match sketch.encoding {
            Encoding::Dense => {
                let pairs = self.0.iter_mut().zip(dense::registers(sketch.bytes));
                pairs.for_each(|(register, value)| *register = value.max(*register));
                Ok(())
            }
            Encoding::Sparse => {
                let mut rest = self.0.iter_mut();
                sparse::each(sketch.bytes, |len, value| {
                    rest.by_ref().take(len).for_each(|register| *register = value.max(*register));
                })
            }
        }
    }

    /// The registers that are not zero.
    pub fn set_ones(&self) -> impl Iterator<Item = (usize, u8)> {
        self.0.iter().copied().enumerate().filter(|(_, value)| *value > 0)
    }

    pub fn histogram(&self) -> Histogram {
        let mut found = [0; 64];
        self.0.iter().for_each(|value| found[usize::from(*value)] += 1);
        found
    }
}
