//! How a member stands in a chunk: so that it can be found from either side, and integers are short.
//!
//! ```text
//! [0x00 + n]            an integer from 0 to 127
//! [0x80 + n][bytes]     a string of n < 64 bytes
//! [0xC0 + high][low]    an integer of 13 bits, from -4096
//! [0xE0 + high][low][bytes]   a string whose length has 12 bits
//! [0xF0 + n][bytes]     an integer in n bytes, little-endian
//! ```
//!
//! and behind each its size: one byte below 128, else `[high][low + 0x80]`, to be read backwards. A string that spells an
//! integer is always stored as one, so equal members have equal bytes.

use crate::value::Word;

/// Longer members stand by themselves, outside the chunks.
pub(super) const MEMBER_BYTES_MAX: usize = 1024;
/// The most bytes that a member of a chunk takes there.
pub(super) const SIZE_MAX: usize = MEMBER_BYTES_MAX + 4;

const STRING: u8 = 0x80;
const INT13: u8 = 0xC0;
const LONG_STRING: u8 = 0xE0;
const INT: u8 = 0xF0;
const STRING_BYTES_END: usize = 64;
const INT13_FIRST: i64 = -4096;
const INT13_LAST: i64 = 4095;
/// Behind an entry, one byte tells a size below this.
const BACK_END: usize = 128;

/// How many bytes a member takes in a chunk.
pub(super) fn size(member: Word<'_>) -> usize {
    let front = match member {
        Word::Int(0..=127) => 1,
        Word::Int(INT13_FIRST..=INT13_LAST) => 2,
        Word::Int(n) => 1 + width(n),
        Word::Text(bytes) if bytes.len() < STRING_BYTES_END => 1 + bytes.len(),
        Word::Text(bytes) => 2 + bytes.len(),
        Word::Apart(_) => unreachable!("a large member stands by itself"),
    };
    front + if front < BACK_END { 1 } else { 2 }
}

/// Writes a member to `slot`, which has its size.
pub(super) fn write(slot: &mut [u8], member: Word<'_>) {
    let front = slot.len() - if slot.len() <= BACK_END { 1 } else { 2 };
    match member {
        Word::Int(n @ 0..=127) => slot[0] = n.to_le_bytes()[0],
        Word::Int(n @ INT13_FIRST..=INT13_LAST) => {
            let [low, high, ..] = (n - INT13_FIRST).to_le_bytes();
            (slot[0], slot[1]) = (INT13 + high, low);
        }
        Word::Int(n) => {
            let width = width(n);
            slot[0] = INT + n_byte(width);
            slot[1..=width].copy_from_slice(&n.to_le_bytes()[..width]);
        }
        Word::Text(bytes) if bytes.len() < STRING_BYTES_END => {
            slot[0] = STRING + n_byte(bytes.len());
            slot[1..front].copy_from_slice(bytes);
        }
        Word::Text(bytes) => {
            let [low, high, ..] = bytes.len().to_le_bytes();
            (slot[0], slot[1]) = (LONG_STRING + high, low);
            slot[2..front].copy_from_slice(bytes);
        }
        Word::Apart(_) => unreachable!("a large member stands by itself"),
    }
    let [low, ..] = front.to_le_bytes();
    if front < BACK_END {
        slot[front] = low;
    } else {
        (slot[front], slot[front + 1]) = (n_byte(front >> 7), low | 0x80);
    }
}

/// The first member of `entries` and how many bytes it takes there.
#[inline]
pub(super) fn first(entries: &[u8]) -> (Word<'_>, usize) {
    let head = entries[0];
    let (member, front) = match head {
        0..STRING => (Word::Int(i64::from(head)), 1),
        STRING..INT13 => {
            let front = 1 + usize::from(head - STRING);
            (Word::Text(&entries[1..front]), front)
        }
        INT13..LONG_STRING => {
            let high = i64::from(head - INT13) << 8;
            (Word::Int(INT13_FIRST + (high | i64::from(entries[1]))), 2)
        }
        LONG_STRING..INT => {
            let front = 2 + (usize::from(head - LONG_STRING) << 8 | usize::from(entries[1]));
            (Word::Text(&entries[2..front]), front)
        }
        INT.. => {
            let front = 1 + usize::from(head - INT);
            (Word::Int(wide(&entries[1..front])), front)
        }
    };
    (member, front + if front < BACK_END { 1 } else { 2 })
}

/// How many bytes the last member of `entries` takes there.
#[inline]
pub(super) fn last_size(entries: &[u8]) -> usize {
    let last = entries.len() - 1;
    let low = usize::from(entries[last]);
    if low < BACK_END { low + 1 } else { ((low - BACK_END) | (usize::from(entries[last - 1]) << 7)) + 2 }
}

/// How many bytes an integer needs.
fn width(n: i64) -> usize {
    let bits = 65 - if n < 0 { !n } else { n }.leading_zeros();
    bits.div_ceil(8) as usize
}

fn wide(bytes: &[u8]) -> i64 {
    let sign = if bytes.last().is_some_and(|high| high & 0x80 != 0) { 0xFF } else { 0 };
    let mut whole = [sign; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(whole)
}

fn n_byte(n: usize) -> u8 {
    u8::try_from(n).expect("counts of an entry's head fit a byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_from_either_side_as_they_were_written() {
        let mut texts: Vec<Vec<u8>> =
            vec![b"-0".to_vec(), b"007".to_vec(), b"+1".to_vec(), b"-".to_vec(), b"1e3".to_vec()];
        for len in [0, 1, 2, 63, 64, 125, 126, 127, 128, 300, 1023, MEMBER_BYTES_MAX] {
            texts.push(vec![b'x'; len]);
        }
        for power in 0..63 {
            for n in [(1_i64 << power) - 1, 1 << power, -(1 << power), -(1 << power) - 1] {
                texts.push(n.to_string().into_bytes());
            }
        }
        texts.extend(
            ["9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"]
                .map(|n| n.into()),
        );
        for text in &texts {
            let member = Word::of(text);
            let size = size(member);
            assert!(size <= SIZE_MAX);
            let mut entries = vec![0xEE; size];
            write(&mut entries, member);
            assert_eq!(last_size(&entries), size, "{member:?}");
            entries.push(0xEE);
            let (back, used) = first(&entries);
            assert!(back.is(member) && used == size, "{back:?}");
            assert_eq!(member.blob().as_bytes(), text);
            assert_eq!(
                matches!(member, Word::Int(_)),
                std::str::from_utf8(text).unwrap().parse::<i64>().is_ok_and(|n| n.to_string().as_bytes() == text)
            );
        }
    }

    #[test]
    fn small_integers_are_short() {
        for (n, wanted) in [
            (0, 2),
            (127, 2),
            (128, 3),
            (-4096, 3),
            (4095, 3),
            (4096, 4),
            (-32768, 4),
            (1_700_000_000_000, 8),
            (i64::MIN, 10),
        ] {
            assert_eq!(size(Word::Int(n)), wanted, "{n}");
        }
    }
}
