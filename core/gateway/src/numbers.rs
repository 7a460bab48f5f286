//! From whole numbers to fractions and back, where rounding is what is wanted.

/// A count or a time as a fraction; exact below 2^53.
#[must_use]
pub(crate) fn real(n: u64) -> f64 {
    n as f64
}

/// The nearest whole number; zero below zero and for what is no number.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, which is what is wanted")]
pub(crate) fn whole(x: f64) -> u64 {
    x.round() as u64
}

/// As [`whole`], for counts.
#[must_use]
pub(crate) fn count(x: f64) -> u32 {
    u32::try_from(whole(x)).unwrap_or(u32::MAX)
}

pub(crate) const NS_PER_S: f64 = 1e9;
