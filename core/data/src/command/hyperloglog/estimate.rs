//! How many elements make registers look like this: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches", 2017, section 4. Only additions, multiplications, divisions and square roots: every machine gives the same.

use super::dense::REGISTER_COUNT;
use super::sketch::Histogram;

/// 1 / (2 ln 2).
const ALPHA: f64 = 0.721_347_520_444_481_7;
/// Registers above this were raised by hashes that had no one at all.
const PLACE_MAX: usize = 50;

/// The estimate, rounded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates; no estimate is negative")]
pub fn count(found: &Histogram) -> u64 {
    let m = f64::from(u32::try_from(REGISTER_COUNT).expect("small"));
    let share = |count: u32| f64::from(count) / m;
    let mut z = m * tau((m - f64::from(found[PLACE_MAX + 1])) / m);
    for count in found[1..=PLACE_MAX].iter().rev() {
        z = (z + f64::from(*count)) * 0.5;
    }
    z += m * sigma(share(found[0]));
    (ALPHA * m * m / z).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}
