//! Floats as C reads them: Redis leaves the spelling of scores, bounds and places to strtod.

use crate::Refused;

/// A float that is the whole of `text`: a score, an increment, a longitude. Out of range and NaN are none.
pub(super) fn float(text: &[u8]) -> Result<f64, Refused> {
    let read = Leading::of(text);
    let whole =
        read.used == text.len() && !text.is_empty() && !text[0].is_ascii_whitespace() && text[0] != VERTICAL_TAB;
    if whole && !read.out_of_range && !read.value.is_nan() { Ok(read.value) } else { Err(Refused::NotAFloat) }
}

/// A float that ends a string of C: blanks may stand before it, what is out of range is infinite or zero, and nothing at all is 0.
pub(super) fn c_float(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let read = Leading::of(text);
    (read.used == text.len() && !read.value.is_nan()).then_some(read.value)
}

/// The same, but what is out of range is none: a weight of SORT.
pub(super) fn c_float_in_range(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let read = Leading::of(text);
    (read.used == text.len() && !read.value.is_nan() && !read.out_of_range).then_some(read.value)
}

/// What strtod finds at the front of a text.
struct Leading {
    value: f64,
    used: usize,
    /// The text told a number that no float is near.
    out_of_range: bool,
}

impl Leading {
    fn of(text: &[u8]) -> Self {
        let blank = |byte: &&u8| byte.is_ascii_whitespace() || **byte == VERTICAL_TAB;
        let blanks = text.iter().take_while(blank).count();
        let rest = &text[blanks..];
        let (negative, signs) = match rest.first() {
            Some(b'-') => (true, 1),
            Some(b'+') => (false, 1),
            _ => (false, 0),
        };
        let rest = &rest[signs..];
        let (value, used, out_of_range) = word(rest).or_else(|| hexadecimal(rest)).unwrap_or_else(|| decimal(rest));
        if used == 0 {
            return Self { value: 0.0, used: 0, out_of_range: false };
        }
        Self { value: if negative { -value } else { value }, used: blanks + signs + used, out_of_range }
    }
}

fn word(text: &[u8]) -> Option<(f64, usize, bool)> {
    let begins = |word: &str| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()));
    let words = [("infinity", f64::INFINITY), ("inf", f64::INFINITY), ("nan", f64::NAN)];
    words.into_iter().find(|(word, _)| begins(word)).map(|(word, value)| (value, word.len(), false))
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The exponent behind `mark`, and how many bytes it takes with the mark.
fn exponent(text: &[u8], mark: u8) -> Option<(i32, usize)> {
    let (first, rest) = text.split_first()?;
    let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
    let count = digits(&rest[sign..]);
    if !first.eq_ignore_ascii_case(&mark) || count == 0 {
        return None;
    }
    let written = std::str::from_utf8(&rest[..sign + count]).expect("digits are text");
    let huge = if rest[0] == b'-' { -EXPONENT_MAX } else { EXPONENT_MAX };
    let value = written.parse::<i32>().map_or(huge, |value| value.clamp(-EXPONENT_MAX, EXPONENT_MAX));
    Some((value, 1 + sign + count))
}

fn decimal(text: &[u8]) -> (f64, usize, bool) {
    let whole = digits(text);
    let fraction = if text.get(whole) == Some(&b'.') { digits(&text[whole + 1..]) } else { 0 };
    if whole + fraction == 0 {
        return (0.0, 0, false);
    }
    let point = usize::from(text.get(whole) == Some(&b'.'));
    let mantissa = whole + point + fraction;
    let used = mantissa + exponent(&text[mantissa..], b'e').map_or(0, |(_, used)| used);
    let written = std::str::from_utf8(&text[..used]).expect("digits are text");
    let value: f64 = written.parse().expect("the grammar of floats was followed");
    let zero = text[..mantissa].iter().all(|byte| matches!(byte, b'0' | b'.'));
    (value, used, value.is_infinite() || (value == 0.0 && !zero))
}

fn hexadecimal(text: &[u8]) -> Option<(f64, usize, bool)> {
    let rest = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X"))?;
    let (mut mantissa, mut scale, mut used, mut seen, mut point) = (0_u64, 0_i32, 0, false, false);
    for byte in rest {
        let digit = char::from(*byte).to_digit(16);
        match digit {
            Some(digit) if mantissa >> 58 == 0 => {
                mantissa = mantissa << 4 | u64::from(digit);
                scale -= if point { 4 } else { 0 };
            }
            // What doesn't fit is remembered as a low bit, so that halves are rounded right.
            Some(digit) => {
                mantissa |= u64::from(digit != 0);
                scale = scale.saturating_add(if point { 0 } else { 4 });
            }
            None if *byte == b'.' && !point => point = true,
            None => break,
        }
        seen |= digit.is_some();
        used += 1;
    }
    if !seen {
        return None;
    }
    let (power, more) = exponent(&rest[used..], b'p').unwrap_or((0, 0));
    let value = times_power_of_two(mantissa, scale.saturating_add(power));
    let out = value.is_infinite() || (value == 0.0 && mantissa != 0);
    Some((value, "0x".len() + used + more, out))
}

fn times_power_of_two(mantissa: u64, power: i32) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "rounding to the nearest float is what is wanted")]
    let mut value = mantissa as f64;
    let mut left = power.clamp(-EXPONENT_MAX, EXPONENT_MAX);
    // In steps, since two to the power alone may be out of range.
    while left != 0 && value != 0.0 && value.is_finite() {
        let step = left.clamp(-500, 500);
        value *= f64::from_bits(u64::from((1023 + step).unsigned_abs()) << 52);
        left -= step;
    }
    value
}

const VERTICAL_TAB: u8 = 0x0b;
/// Beyond any exponent that a float of some thousand digits could have.
const EXPONENT_MAX: i32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read_as_c_does_and_refused_as_redis_does() {
        let good = [
            ("0", 0.0),
            ("-1.5", -1.5),
            ("+3", 3.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-2", 0.01),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0x10", 16.0),
            ("0X1.8p1", 3.0),
            ("-0x.8", -0.5),
            ("0x1fffffffffffff8", 144_115_188_075_855_872.0),
            ("4.9406564584124654e-324", f64::from_bits(1)),
        ];
        for (text, value) in good {
            assert_eq!(float(text.as_bytes()), Ok(value), "{text}");
        }
        let bad = [
            "", " 1", "1 ", "abc", "nan", "-nan", "1e", "1e400", "-1e400", "1e-400", ".", "-", "0x", "1_0", "0x1p5000",
            "1\0", "\u{b}1",
        ];
        for text in bad {
            assert_eq!(float(text.as_bytes()), Err(Refused::NotAFloat), "{text:?}");
        }
    }

    #[test]
    fn bounds_may_be_empty_or_out_of_range() {
        for (text, value) in [("", 0.0), ("  7", 7.0), ("1e400", f64::INFINITY), ("1e-400", 0.0), ("5\0x", 5.0)] {
            assert_eq!(c_float(text.as_bytes()), Some(value), "{text:?}");
        }
        for text in ["x", "1x", "nan", "1 ", " "] {
            assert_eq!((c_float(text.as_bytes()), c_float_in_range(text.as_bytes())), (None, None), "{text:?}");
        }
        for text in ["1e400", "1e-400"] {
            assert_eq!(c_float_in_range(text.as_bytes()), None, "{text:?}");
        }
    }
}
