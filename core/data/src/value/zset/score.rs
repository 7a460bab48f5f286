//! Scores in few bytes: most are small integers or have few digits behind the point.
//!
//! ```text
//! 0 to 127               the score itself
//! 1sss snnn, n bytes     a signed little-endian integer of n bytes (1 to 7), divided by ten to the s (0 to 4)
//! 1000 0000, 8 bytes     any other score, as IEEE 754 little-endian
//! ```
//!
//! A score takes the first form that holds it exactly, so equal scores take equal bytes. Minus zero is none of the integers.

/// Bytes of the longest score.
pub(super) const BYTES_MAX: usize = 9;

/// A score in its bytes.
pub(super) struct Spelled {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

impl Spelled {
    pub(super) fn new(score: f64) -> Self {
        let mut bytes = [0; BYTES_MAX];
        if let Some((integer, scale)) = decimal(score) {
            if let (0, Ok(small @ 0..=0x7f)) = (scale, u8::try_from(integer)) {
                bytes[0] = small;
                return Self { bytes, len: 1 };
            }
            let bits = 65 - if integer < 0 { integer.leading_ones() } else { integer.leading_zeros() };
            let n = usize::try_from(bits.div_ceil(8)).expect("at most eight");
            bytes[0] = WIDE | scale << 3 | u8::try_from(n).expect("at most seven: an integer is below 2^53");
            bytes[1..=n].copy_from_slice(&integer.to_le_bytes()[..n]);
            return Self { bytes, len: 1 + n };
        }
        bytes[0] = WIDE;
        bytes[1..].copy_from_slice(&score.to_le_bytes());
        Self { bytes, len: BYTES_MAX }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The score at the front of `bytes` and how many bytes it takes; nothing if there is none.
pub(super) fn read(bytes: &[u8]) -> Option<(f64, usize)> {
    let head = *bytes.first()?;
    if head < WIDE {
        return Some((f64::from(head), 1));
    }
    let (scale, n) = (head >> 3 & 0x0f, u32::from(head & 7));
    // Eight bytes are read at once where so many follow.
    let word = match bytes.get(1..BYTES_MAX) {
        Some(word) => u64::from_le_bytes(word.try_into().ok()?),
        None => short_word(bytes.get(1..length(head))?)?,
    };
    if n == 0 {
        let score = f64::from_bits(word);
        return (scale == 0 && !score.is_nan()).then_some((score, BYTES_MAX));
    }
    let above = u64::BITS - 8 * n;
    let integer = exact((word << above).cast_signed() >> above);
    let score = if scale == 0 { integer } else { integer / TENS.get(usize::from(scale))? };
    Some((score, length(head)))
}

/// Fewer than eight bytes, the rest zero.
#[cold]
fn short_word(bytes: &[u8]) -> Option<u64> {
    let mut word = [0; 8];
    word.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(u64::from_le_bytes(word))
}

/// How many bytes the score that begins with `head` takes.
pub(super) fn length(head: u8) -> usize {
    match head & 7 {
        _ if head < WIDE => 1,
        0 => BYTES_MAX,
        n => 1 + usize::from(n),
    }
}

/// The integer and the power of ten that make up the score exactly, if some do.
fn decimal(score: f64) -> Option<(i64, u8)> {
    if score == 0.0 && score.is_sign_negative() {
        return None;
    }
    let fits = |(scale, power): (u8, &f64)| {
        let scaled = (score * power).round();
        if scaled.abs() >= INTEGER_MAX {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "an integer below 2^53")]
        let integer = scaled as i64;
        (exact(integer) / power == score).then_some((integer, scale))
    };
    (0..).zip(&TENS).find_map(fits)
}

/// An integer of at most 53 bits as a float: nothing is lost.
#[expect(clippy::cast_precision_loss, reason = "the caller's integers are below 2^55 and come from floats")]
fn exact(integer: i64) -> f64 {
    integer as f64
}

/// Set in the head of every score that isn't its own byte.
const WIDE: u8 = 0x80;
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;
const TENS: [f64; 5] = [1.0, 10.0, 100.0, 1000.0, 10_000.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_come_back_bit_for_bit_in_the_bytes_that_they_need() {
        let cases = [
            (0.0, 1),
            (127.0, 1),
            (128.0, 3),
            (-1.0, 2),
            (-128.0, 2),
            (32767.0, 3),
            (1e6, 4),
            (1.5, 2),
            (3.25, 3),
            (-99.99, 3),
            (0.1, 2),
            (1_700_000_000.123, 7),
            (9_007_199_254_740_991.0, 8),
            (9_007_199_254_740_993.0, 9),
            (-0.0, 9),
            (0.1 + 0.2, 9),
            (f64::MIN_POSITIVE, 9),
            (f64::MAX, 9),
            (f64::INFINITY, 9),
            (f64::NEG_INFINITY, 9),
        ];
        for (score, len) in cases {
            let spelled = Spelled::new(score);
            assert_eq!(spelled.bytes().len(), len, "{score}");
            assert_eq!(length(spelled.bytes()[0]), len, "{score}");
            let (back, used) = read(spelled.bytes()).unwrap();
            assert_eq!((back.to_bits(), used), (score.to_bits(), len), "{score}");
            assert!(read(&spelled.bytes()[..len - 1]).is_none(), "{score}");
        }
        let mut nan = vec![WIDE];
        nan.extend_from_slice(&f64::NAN.to_le_bytes());
        assert!(read(&nan).is_none() && read(&[0xff, 0, 0, 0, 0, 0, 0, 0]).is_none());
    }
}
