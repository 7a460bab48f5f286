//! Laws of chance over the seeded generator: reals, exponential distances, Zipf's law.
//!
//! Zipf's law is drawn by rejection-inversion (Hörmann and Derflinger, "Rejection-inversion to generate variates from
//! monotone discrete distributions", 1996): no table, the same cost for a thousand keys and for a billion.

use super::options::KeyLaw;
use base::rng::Rng;

/// A real in [0, 1), all 53 bits of it.
pub fn unit(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A distance with an exponential law, in units of the mean.
pub fn exponential(rng: &mut Rng) -> f64 {
    -(-unit(rng)).ln_1p()
}

/// Draws the number of a key.
#[derive(Clone, Debug)]
pub enum Keys {
    Uniform { count: u64 },
    Zipf(Zipf),
}

impl Keys {
    /// A law over the numbers below `count`.
    #[must_use]
    pub fn new(law: KeyLaw, count: u64) -> Self {
        match law {
            KeyLaw::Uniform => Self::Uniform { count },
            KeyLaw::Zipf(exponent) => Self::Zipf(Zipf::new(count, exponent)),
        }
    }

    /// A number below the count; with Zipf's law, 0 is the most frequent.
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        match self {
            Self::Uniform { count } => rng.below(*count),
            Self::Zipf(zipf) => zipf.draw(rng),
        }
    }
}

/// Zipf's law: rank k has the weight k^-exponent.
#[derive(Clone, Debug)]
pub struct Zipf {
    count: u64,
    exponent: f64,
    integral_first: f64,
    integral_last: f64,
    /// Below this distance from a rank, a point is taken without a further look.
    squeeze: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let mut zipf = Self { count, exponent, integral_first: 0.0, integral_last: 0.0, squeeze: 0.0 };
        zipf.integral_first = zipf.integral(1.5) - 1.0;
        zipf.integral_last = zipf.integral(count as f64 + 0.5);
        zipf.squeeze = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    fn draw(&self, rng: &mut Rng) -> u64 {
        loop {
            let area = self.integral_last + unit(rng) * (self.integral_first - self.integral_last);
            let point = self.inverse(area);
            let rank = whole(point.round()).clamp(1, self.count);
            let k = rank as f64;
            if k - point <= self.squeeze || area >= self.integral(k + 0.5) - self.weight(k) {
                return rank - 1;
            }
        }
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of the weight, from 1 to x.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.exponent) * log;
        let quotient = if t.abs() > 1e-8 { t.exp_m1() / t } else { 1.0 + t / 2.0 };
        quotient * log
    }

    fn inverse(&self, area: f64) -> f64 {
        let t = (area * (1.0 - self.exponent)).max(-1.0);
        let quotient = if t.abs() > 1e-8 { t.ln_1p() / t } else { 1.0 - t / 2.0 };
        (quotient * area).exp()
    }
}

/// The whole number of a real that is not negative and below 2^63; others go to the nearest end.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is what is told")]
#[must_use]
pub fn whole(x: f64) -> u64 {
    x as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_distances_have_mean_one_and_the_right_tail() {
        let mut rng = Rng::new(3);
        let draws: Vec<f64> = (0..100_000).map(|_| exponential(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let over_two = draws.iter().filter(|d| **d > 2.0).count() as f64 / 1e5;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!((over_two - (-2.0f64).exp()).abs() < 0.005, "{over_two}");
        assert!(draws.iter().all(|d| d.is_finite() && *d >= 0.0));
    }

    #[test]
    fn zipf_gives_each_rank_its_share() {
        for exponent in [0.5, 0.99, 1.0, 2.0] {
            let keys = Keys::new(KeyLaw::Zipf(exponent), 100);
            let mut rng = Rng::new(9);
            let mut seen = [0u32; 100];
            (0..200_000).for_each(|_| seen[usize::try_from(keys.draw(&mut rng)).unwrap()] += 1);
            let total: f64 = (1..=100).map(|k| f64::from(k).powf(-exponent)).sum();
            for rank in [1u32, 2, 3, 10] {
                let share = f64::from(rank).powf(-exponent) / total;
                let got = f64::from(seen[rank as usize - 1]) / 200_000.0;
                assert!((got - share).abs() < 0.1 * share, "s={exponent} rank {rank}: {got} for {share}");
            }
        }
    }

    #[test]
    fn laws_stay_below_their_count_down_to_one_key() {
        let mut rng = Rng::new(1);
        for law in [KeyLaw::Uniform, KeyLaw::Zipf(0.99)] {
            for count in [1, 2, 1_000_000_000_000] {
                let keys = Keys::new(law, count);
                assert!((0..1000).all(|_| keys.draw(&mut rng) < count), "{law:?} of {count}");
            }
        }
    }
}
