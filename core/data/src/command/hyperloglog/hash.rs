//! Where an element counts: MurmurHash64A by Austin Appleby, which is in the public domain, with the seed of Redis.

use super::dense::REGISTER_COUNT;

const SEED: u64 = 0xadc8_3b19;
const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;
/// The low bits of a hash name a register, the others are searched for their first one.
const INDEX_BITS: u32 = REGISTER_COUNT.trailing_zeros();

/// The register of an element, and what it must hold at least: the place of the first one among the hash's other bits.
pub fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let index = usize::try_from(hash % REGISTER_COUNT as u64).expect("below the number of registers");
    let rest = hash >> INDEX_BITS | 1 << (64 - INDEX_BITS);
    (index, u8::try_from(rest.trailing_zeros() + 1).expect("at most 51"))
}

fn murmur(bytes: &[u8]) -> u64 {
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(MULTIPLIER);
    hash ^ hash >> SHIFT
}
