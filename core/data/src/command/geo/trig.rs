//! Sine, cosine and arc sine from additions and multiplications alone.
//!
//! Those of the platform may differ between versions of the C library, and with them what a replica stores for
//! GEOSEARCHSTORE; IEEE arithmetic is the same everywhere. An angle is taken to the nearest 1/64, whose sine and cosine stand in
//! a table with twice the digits, and a short series; results are within 0.51 units in the last place.

/// Sine of an angle in radians of at most [`ANGLE_MAX`] either way.
pub(super) fn sin(angle: f64) -> f64 {
    let (entry, rest) = nearest(angle.abs());
    let sine = turned(entry.sin, entry.cos, rest);
    if angle < 0.0 { -sine } else { sine }
}

/// Cosine of an angle in radians of at most [`ANGLE_MAX`] either way.
pub(super) fn cos(angle: f64) -> f64 {
    let (entry, rest) = nearest(angle.abs());
    turned(entry.cos, entry.sin.negated(), rest)
}

/// The angle from 0 to a quarter turn whose sine this is; NaN above 1, as everywhere.
pub(super) fn asin(sine: f64) -> f64 {
    if sine.is_nan() || sine > 1.0 {
        return f64::NAN;
    }
    let quarter = TABLE.partition_point(|entry| entry.cos.hi > 0.0);
    let at = TABLE[..quarter].partition_point(|entry| entry.sin.hi <= sine).saturating_sub(1);
    let entry = &TABLE[at];
    // The sine of what is left beyond the entry's angle, by the theorem of addition.
    let square = product(sine, sine);
    let cosine = Twin { hi: 1.0, lo: 0.0 }.plus(square.negated()).root();
    let left = entry.cos.times(Twin { hi: sine, lo: 0.0 }).plus(entry.sin.times(cosine).negated());
    let (d, dd) = (left.hi, left.hi * left.hi);
    let series = d * dd * (1.0 / 6.0 + dd * (3.0 / 40.0 + dd * (15.0 / 336.0 + dd * (105.0 / 3456.0))));
    let whole = sum(angle_of(at), left.hi);
    whole.hi + (whole.lo + (left.lo + series))
}

/// Angles beyond this aren't known: some more than half a turn.
pub(super) const ANGLE_MAX: f64 = 4.0;

/// A number of some 106 bits, as the sum of two.
#[derive(Clone, Copy, Debug)]
struct Twin {
    hi: f64,
    lo: f64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    sin: Twin,
    cos: Twin,
}

/// The sine of an angle and a rest of at most 1/128, of the angle's sine and cosine.
fn turned(sin: Twin, cos: Twin, rest: f64) -> f64 {
    let square = rest * rest;
    let sin_less_rest = rest * square * (-1.0 / 6.0 + square * (1.0 / 120.0 - square / 5040.0));
    let cos_less_one = square * (-0.5 + square * (1.0 / 24.0 - square / 720.0));
    let first = product(cos.hi, rest);
    let whole = sum(sin.hi, first.hi);
    let small = sin.lo + first.lo + cos.lo * rest + cos.hi * sin_less_rest + sin.hi * cos_less_one;
    whole.hi + (whole.lo + small)
}

/// The table's entry for the nearest angle, and what is left to the angle itself.
fn nearest(angle: f64) -> (Entry, f64) {
    let at = if angle <= ANGLE_MAX { (angle * PARTS).round() } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an integer from 0 to 256")]
    let index = at as usize;
    (TABLE[index], angle - at / PARTS)
}

fn angle_of(at: usize) -> f64 {
    f64::from(u16::try_from(at).expect("the table is short")) / PARTS
}

impl Twin {
    const fn negated(self) -> Self {
        Self { hi: -self.hi, lo: -self.lo }
    }

    const fn plus(self, other: Self) -> Self {
        let (high, low) = (sum(self.hi, other.hi), sum(self.lo, other.lo));
        let high = sum(high.hi, high.lo + low.hi);
        sum(high.hi, high.lo + low.lo)
    }

    const fn times(self, other: Self) -> Self {
        let main = product(self.hi, other.hi);
        sum(main.hi, main.lo + (self.hi * other.lo + self.lo * other.hi))
    }

    const fn divided_by(self, by: f64) -> Self {
        let hi = self.hi / by;
        let back = product(hi, by);
        sum(hi, (self.hi - back.hi - back.lo + self.lo) / by)
    }

    /// The square root; 0 of what is negative.
    fn root(self) -> Self {
        if self.hi <= 0.0 {
            return Self { hi: 0.0, lo: 0.0 };
        }
        let root = self.hi.sqrt();
        let square = product(root, root);
        sum(root, (self.hi - square.hi - square.lo + self.lo) / (2.0 * root))
    }
}

/// The sum, and what rounding it lost (Knuth).
const fn sum(a: f64, b: f64) -> Twin {
    let hi = a + b;
    let part = hi - a;
    Twin { hi, lo: (a - (hi - part)) + (b - part) }
}

/// The product, and what rounding it lost (Dekker).
const fn product(a: f64, b: f64) -> Twin {
    let (a, b) = (halves(a), halves(b));
    let hi = (a.hi + a.lo) * (b.hi + b.lo);
    Twin { hi, lo: ((a.hi * b.hi - hi) + a.hi * b.lo + a.lo * b.hi) + a.lo * b.lo }
}

/// Two numbers of half the bits whose sum this is.
const fn halves(whole: f64) -> Twin {
    let scaled = whole * 134_217_729.0;
    let hi = scaled - (scaled - whole);
    Twin { hi, lo: whole - hi }
}

const PARTS: f64 = 64.0;
const ENTRIES: usize = 257;
static TABLE: [Entry; ENTRIES] = table();

const fn table() -> [Entry; ENTRIES] {
    let step = Entry { sin: series(1.0 / PARTS, 1.0), cos: series(1.0, 0.0) };
    let none = Entry { sin: Twin { hi: 0.0, lo: 0.0 }, cos: Twin { hi: 1.0, lo: 0.0 } };
    let mut table = [none; ENTRIES];
    let mut at = 1;
    while at < ENTRIES {
        let Entry { sin, cos } = table[at - 1];
        table[at] = Entry {
            sin: sin.times(step.cos).plus(cos.times(step.sin)),
            cos: cos.times(step.cos).plus(sin.times(step.sin).negated()),
        };
        at += 1;
    }
    table
}

/// The series of the sine or the cosine of 1/64, by its first term and that term's power.
const fn series(first: f64, power: f64) -> Twin {
    let mut term = Twin { hi: first, lo: 0.0 };
    let mut whole = term;
    let mut last = power;
    while last < 20.0 {
        let scaled = Twin { hi: -term.hi / (PARTS * PARTS), lo: -term.lo / (PARTS * PARTS) };
        term = scaled.divided_by((last + 1.0) * (last + 2.0));
        whole = whole.plus(term);
        last += 2.0;
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::rng::Rng;

    /// How many of `count` results are those of the platform, of which none may be more than a unit in the last place away.
    fn agreement(count: u32, mut draw: impl FnMut() -> (f64, f64)) -> u32 {
        let mut same = 0;
        for _ in 0..count {
            let (ours, theirs) = draw();
            let apart = ours.to_bits().abs_diff(theirs.to_bits());
            assert!(apart <= 1, "{ours:e} and {theirs:e}");
            same += u32::from(apart == 0);
        }
        same
    }

    #[test]
    fn results_are_those_of_a_good_library() {
        let mut rng = Rng::new(5);
        let mut unit = || f64::from(u32::try_from(rng.next_u64() >> 32).unwrap()) / f64::from(u32::MAX);
        let mut angles = || (unit() * 2.0 - 1.0) * if unit() < 0.3 { 0.001 } else { std::f64::consts::PI };
        let sines = agreement(50_000, || {
            let angle = angles();
            (sin(angle), angle.sin())
        });
        let cosines = agreement(50_000, || {
            let angle = angles();
            (cos(angle), angle.cos())
        });
        let mut unit = || f64::from(u32::try_from(rng.next_u64() >> 32).unwrap()) / f64::from(u32::MAX);
        let arcs = agreement(50_000, || {
            let sine = unit() * if unit() < 0.3 { 0.0001 } else { 1.0 };
            (asin(sine), sine.asin())
        });
        for same in [sines, cosines, arcs] {
            assert!(same > 49_000, "{sines} {cosines} {arcs}");
        }
    }

    #[test]
    fn the_ends_are_exact() {
        assert_eq!((sin(0.0), cos(0.0), asin(0.0)), (0.0, 1.0, 0.0));
        assert_eq!(asin(1.0), std::f64::consts::FRAC_PI_2);
        assert!(asin(1.0 + f64::EPSILON).is_nan() && asin(f64::NAN).is_nan());
        assert!(sin(std::f64::consts::PI).abs() < 2e-16 && cos(std::f64::consts::FRAC_PI_2).abs() < 1e-16);
    }
}
