//! Registers of six bits each, packed from the lowest bit up, behind the header.

use super::sketch::HEADER_BYTES;

/// How many registers a sketch has.
pub const REGISTER_COUNT: usize = 1 << 14;
const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u16 = (1 << REGISTER_BITS) - 1;
/// How long a dense sketch is.
pub const DENSE_BYTES: usize = HEADER_BYTES + REGISTER_COUNT * REGISTER_BITS / 8;

/// The register `index` of a dense sketch.
pub fn get(bytes: &[u8], index: usize) -> u8 {
    let (at, shift) = place(index);
    let pair = u16::from_le_bytes([bytes[at], bytes.get(at + 1).copied().unwrap_or(0)]);
    (pair >> shift & REGISTER_MAX).to_le_bytes()[0]
}

/// Raises a register to `count`; false if it was there already.
pub fn set(bytes: &mut [u8], index: usize, count: u8) -> bool {
    if get(bytes, index) >= count {
        return false;
    }
    let (at, shift) = place(index);
    let (mask, value) = ((REGISTER_MAX << shift).to_le_bytes(), (u16::from(count) << shift).to_le_bytes());
    for (byte, (mask, value)) in bytes[at..].iter_mut().zip(mask.into_iter().zip(value)) {
        *byte = *byte & !mask | value;
    }
    true
}

/// All registers in order.
pub fn registers(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let groups = bytes[HEADER_BYTES..].as_chunks::<3>().0.iter();
    groups.flat_map(|[a, b, c]| {
        let four = u32::from_le_bytes([*a, *b, *c, 0]);
        [0, 6, 12, 18].map(|shift| (four >> shift).to_le_bytes()[0] & 0x3f)
    })
}

fn place(index: usize) -> (usize, usize) {
    let bit = index * REGISTER_BITS;
    (HEADER_BYTES + bit / 8, bit % 8)
}
