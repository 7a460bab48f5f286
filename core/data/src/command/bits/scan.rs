//! Bits counted and found in a part of a string.

use crate::Refused;
use std::ops::Not;

/// What the ends of a range count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Bytes,
    Bits,
}

impl Unit {
    /// The word behind a range, if there is one.
    pub(super) fn of(word: Option<&&[u8]>) -> Result<Self, Refused> {
        match word {
            None => Ok(Self::Bytes),
            Some(word) if word.eq_ignore_ascii_case(b"byte") => Ok(Self::Bytes),
            Some(word) if word.eq_ignore_ascii_case(b"bit") => Ok(Self::Bits),
            Some(_) => Err(Refused::Syntax),
        }
    }
}

/// Bits of a string from `start` to before `end`; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Range {
    /// All bits, if there are any.
    pub(super) fn whole(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().not().then_some(Self { start: 0, end: bytes.len() as u64 * 8 })
    }

    /// From `start` to `end`, both included, counted from the string's end if negative.
    pub(super) fn between(bytes: &[u8], start: i64, end: i64, unit: Unit) -> Option<Self> {
        let scale = if unit == Unit::Bits { 1 } else { 8 };
        let len = i64::try_from(bytes.len()).expect("strings are shorter") * (8 / scale);
        let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
        let (start, end) = (from_end(start), from_end(end).min(len - 1));
        let bit = |at: i64| u64::try_from(at * scale).expect("the ends are not negative");
        (start <= end).then(|| Self { start: bit(start), end: bit(end + 1) })
    }

    /// How many bits are set.
    pub(super) fn count(self, bytes: &[u8]) -> i64 {
        let Cut { head, body, tail } = self.cut(bytes);
        let mut sum = head.count_ones() + tail.count_ones();
        let mut total = 0;
        let (words, rest) = body.as_chunks::<8>();
        for group in words.chunks(1 << 20) {
            total += group.iter().map(|word| i64::from(u64::from_ne_bytes(*word).count_ones())).sum::<i64>();
        }
        sum += rest.iter().map(|byte| byte.count_ones()).sum::<u32>();
        total + i64::from(sum)
    }

    /// The first bit that is set, or clear.
    pub(super) fn find(self, bytes: &[u8], wanted: bool) -> Option<u64> {
        let (first, last) = (self.start / 8, (self.end - 1) / 8);
        let flip = if wanted { 0 } else { 0xff };
        // What is found in a byte, of those bits of it that belong to the range.
        let within = |at: u64| {
            let byte = (bytes[usize::try_from(at).ok()?] ^ flip) & self.mask(at);
            (byte != 0).then(|| at * 8 + u64::from(byte.leading_zeros()))
        };
        let middle = || {
            let body = bytes.get(usize::try_from(first + 1).ok()?..usize::try_from(last).ok()?)?;
            let nothing = [flip; 8];
            let words = body.as_chunks::<8>().0.iter().take_while(|word| **word == nothing).count() * 8;
            let at = words + body[words..].iter().position(|byte| *byte != flip)?;
            within(first + 1 + at as u64)
        };
        within(first).or_else(middle).or_else(|| within(last))
    }

    /// The bits of the byte `at` that belong to the range.
    fn mask(self, at: u64) -> u8 {
        let mut mask = 0xff;
        if at == self.start / 8 {
            mask &= 0xff >> (self.start % 8);
        }
        if at == (self.end - 1) / 8 {
            mask &= 0xff << (7 - (self.end - 1) % 8);
        }
        mask
    }

    fn cut(self, bytes: &[u8]) -> Cut<'_> {
        let place = |at: u64| usize::try_from(at).expect("the range lies in the string");
        let (first, last) = (self.start / 8, (self.end - 1) / 8);
        let head = bytes[place(first)] & self.mask(first);
        if first == last {
            return Cut { head, body: &[], tail: 0 };
        }
        Cut { head, body: &bytes[place(first + 1)..place(last)], tail: bytes[place(last)] & self.mask(last) }
    }
}

/// A range in whole bytes and what is left of its first and last.
struct Cut<'a> {
    head: u8,
    body: &'a [u8],
    tail: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit(bytes: &[u8], at: u64) -> bool {
        bytes[usize::try_from(at / 8).expect("small")] & (0x80 >> (at % 8)) != 0
    }

    #[test]
    fn every_range_of_some_strings_is_counted_and_searched_as_bit_by_bit() {
        let mut rng = base::rng::Rng::new(5);
        for round in 0..40_u64 {
            let len = usize::try_from(1 + rng.below(40)).expect("small");
            let fill = [0, 0xff][usize::try_from(round % 2).expect("small")];
            let mut bytes = vec![fill; len];
            for _ in 0..rng.below(4) {
                let at = usize::try_from(rng.below(len as u64)).expect("small");
                bytes[at] = rng.next_u64().to_le_bytes()[0];
            }
            for start in 0..len as u64 * 8 {
                for end in [start + 1, start + 1 + rng.below(len as u64 * 8 - start), len as u64 * 8] {
                    let range = Range { start, end };
                    let set = (start..end).filter(|at| bit(&bytes, *at)).count();
                    assert_eq!(range.count(&bytes), i64::try_from(set).expect("small"));
                    for wanted in [false, true] {
                        let found = (start..end).find(|at| bit(&bytes, *at) == wanted);
                        assert_eq!(range.find(&bytes, wanted), found, "{bytes:?} {range:?} {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn ends_count_from_the_end_where_negative() {
        let bytes = [0; 3];
        let bits = |start, end, unit| Range::between(&bytes, start, end, unit).map(|range| (range.start, range.end));
        assert_eq!(bits(0, -1, Unit::Bytes), Some((0, 24)));
        assert_eq!(bits(-2, -1, Unit::Bytes), Some((8, 24)));
        assert_eq!(bits(-1, -2, Unit::Bytes), None);
        assert_eq!(bits(-7, -8, Unit::Bytes), Some((0, 8)));
        assert_eq!(bits(i64::MIN, i64::MAX, Unit::Bits), Some((0, 24)));
        assert_eq!(bits(5, 5, Unit::Bits), Some((5, 6)));
        assert_eq!(bits(-100, -90, Unit::Bits), Some((0, 1)));
        assert_eq!(bits(3, 9, Unit::Bytes), None);
    }
}
