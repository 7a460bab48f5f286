//! Numbers as C's printf spells them.

/// `%.<digits>g`.
pub(crate) fn general(value: f64, digits: usize) -> String {
    if value.is_nan() {
        return if value.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = scientific.split_once('e').expect("it is spelled with an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let wide = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= wide {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let places = usize::try_from(wide - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{value:.places$}")).to_owned()
}

/// Without the zeros that say nothing.
fn trimmed(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// As C converts a double to a 64-bit integer on the machines that Redis runs on: what doesn't fit is the least one.
#[expect(clippy::cast_possible_truncation, reason = "the range was looked at")]
pub(crate) fn truncated(value: f64) -> i64 {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&value) { value as i64 } else { i64::MIN }
}

/// The nearest double.
#[expect(clippy::cast_precision_loss, reason = "Lua has no other numbers")]
pub(crate) fn double(value: i64) -> f64 {
    value as f64
}

/// drand48's sequence, as `math.random` of Redis has it. A script begins somewhere in it, as its trial says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: i32) -> Self {
        Self(u64::from(seed.cast_unsigned()) << 16 | 0x330E)
    }

    /// Somewhere.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits & 0xFFFF_FFFF_FFFF)
    }

    /// From 0 up to, but not, 1.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & 0xFFFF_FFFF_FFFF;
        let drawn = i64::try_from(self.0 >> 17).unwrap_or(0) % i64::from(i32::MAX);
        double(drawn) / f64::from(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_as_in_c() {
        for (value, digits, wanted) in [
            (0.1, 17, "0.10000000000000001"),
            (1.5, 17, "1.5"),
            (1e20, 17, "1e+20"),
            (3.0, 17, "3"),
            (1e15, 14, "1e+15"),
            (1.0 / 3.0, 14, "0.33333333333333"),
            (123456.0, 14, "123456"),
            (1e-5, 14, "1e-05"),
            (0.0001, 14, "0.0001"),
            (-0.0, 14, "-0"),
            (f64::INFINITY, 14, "inf"),
            (9_007_199_254_740_991.0, 14, "9.007199254741e+15"),
            (0.0, 14, "0"),
            (99999999999999.9, 14, "1e+14"),
        ] {
            assert_eq!(general(value, digits), wanted);
        }
    }

    #[test]
    fn chance_is_that_of_redis() {
        for (mut chance, wanted) in [
            (Chance::new(0), ["0.17082803611217", "75", "5"]),
            (Chance::new(5), ["0.52483957937213", "28", "9"]),
            (Chance::from_bits(0x1234_ABCD_330E), ["0.39646477363839", "85", "7"]),
        ] {
            let share = chance.next();
            let others = [(chance.next() * 100.0).floor() + 1.0, (chance.next() * 6.0).floor() + 5.0];
            assert_eq!([share, others[0], others[1]].map(|n| general(n, 14)), wanted);
        }
    }

    #[test]
    fn what_does_not_fit_is_the_least_integer() {
        assert_eq!(truncated(-3.99), -3);
        assert_eq!([1e300, f64::NAN, -1e300].map(truncated), [i64::MIN; 3]);
    }
}
