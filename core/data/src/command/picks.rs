//! Members by chance: HRANDFIELD, SRANDMEMBER, SPOP and their like.

use super::strings::integer;
use crate::Refused;
use base::limits::PICKS_COUNT_MAX;
use base::rng::Rng;
use std::collections::BTreeSet;

/// How many members are wanted: that many different ones, or if negative, that many draws that may meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count(i64);

impl Count {
    pub(super) fn parse(text: &[u8]) -> Result<Self, Refused> {
        let count = integer(text)?;
        if count == i64::MIN {
            let most = i64::MAX;
            return Err(Refused::Text(format!("ERR value is out of range, value must between -{most} and {most}")));
        }
        Ok(Self(count))
    }

    /// Refuses a count whose double has no 64 bits: each member comes with another word.
    pub(super) fn can_be_doubled(self) -> Result<(), Refused> {
        if self.0.unsigned_abs() > i64::MAX.unsigned_abs() / 2 { Err(out_of_range()) } else { Ok(()) }
    }

    /// Places below `len`, which is above zero.
    pub(super) fn draw(self, chance: &mut Rng, len: usize) -> Result<Vec<usize>, Refused> {
        let count = usize::try_from(self.0.unsigned_abs()).unwrap_or(usize::MAX);
        if self.0 >= 0 {
            return Ok(different(chance, len, count));
        }
        // Redis would go on until its memory ends.
        if count > PICKS_COUNT_MAX {
            return Err(out_of_range());
        }
        Ok((0..count).map(|_| one(chance, len)).collect())
    }
}

/// A place below `len`, which is above zero.
pub(super) fn one(chance: &mut Rng, len: usize) -> usize {
    usize::try_from(chance.below(len as u64)).expect("below a length")
}

/// `count` different places below `len`, or all of them. Any that many are as likely as any others (Floyd's way).
fn different(chance: &mut Rng, len: usize, count: usize) -> Vec<usize> {
    if count >= len {
        return (0..len).collect();
    }
    let mut chosen = BTreeSet::new();
    for last in len - count..len {
        let place = one(chance, last + 1);
        if !chosen.insert(place) {
            chosen.insert(last);
        }
    }
    chosen.into_iter().collect()
}

fn out_of_range() -> Refused {
    Refused::Text("ERR value is out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_places_are_all_equally_likely() {
        let mut chance = Rng::new(3);
        for (len, count) in [(1, 1), (10, 3), (10, 9), (10, 10), (10, 50), (10, 0)] {
            let mut hits = vec![0; len];
            for _ in 0..1000 {
                let places = different(&mut chance, len, count);
                assert_eq!(places.len(), count.min(len));
                assert!(places.is_sorted_by(|a, b| a < b));
                places.into_iter().for_each(|place| hits[place] += 1);
            }
            let mean = 1000 * count.min(len) / len;
            assert!(hits.iter().all(|n: &usize| n.abs_diff(mean) < 80), "{count} of {len}: {hits:?}");
        }
    }

    #[test]
    fn counts_are_bounded() {
        for text in ["-9223372036854775808", "x", "1.0"] {
            assert!(Count::parse(text.as_bytes()).is_err());
        }
        let draw = |n: i64, len| Count(n).draw(&mut Rng::new(1), len).map(|places| places.len());
        assert_eq!((draw(-50, 3), draw(50, 3), draw(0, 3)), (Ok(50), Ok(3), Ok(0)));
        assert!(draw(-i64::MAX, 3).is_err() && Count(i64::MAX).can_be_doubled().is_err());
    }
}
