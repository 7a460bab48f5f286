//! A few integers, sorted, each as wide as the widest that has come: Redis' intset.

/// See the module: the width in a byte, then the integers; nothing if there are none and none was wide.
#[derive(Clone, Debug, Default)]
pub(super) struct Ints(Box<[u8]>);

const WIDTH_BYTES: usize = 1;

/// Bytes of each integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

/// Redis' `set-max-intset-entries`, as it is by default.
pub(in crate::value) const COUNT_MAX: usize = 512;

impl Width {
    fn of(n: i64) -> Self {
        if i16::try_from(n).is_ok() {
            Self::Two
        } else if i32::try_from(n).is_ok() {
            Self::Four
        } else {
            Self::Eight
        }
    }

    /// The width of so many bytes.
    pub(super) fn from_bytes(bytes: u8) -> Option<Self> {
        [Self::Two, Self::Four, Self::Eight].into_iter().find(|width| *width as u8 == bytes)
    }

    fn bytes(self) -> usize {
        self as usize
    }
}

impl Ints {
    pub(super) fn len(&self) -> usize {
        self.0.len().saturating_sub(WIDTH_BYTES) / self.width().bytes()
    }

    /// Bytes of memory besides the struct.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    pub(super) fn width(&self) -> Width {
        self.0.first().and_then(|bytes| Width::from_bytes(*bytes)).unwrap_or(Width::Two)
    }

    /// The `at`th in their order.
    pub(super) fn get(&self, at: usize) -> i64 {
        let width = self.width().bytes();
        let stored = &self.0[WIDTH_BYTES + at * width..][..width];
        // The sign is in the last byte: fill the ones above with it.
        let fill = if stored[width - 1] & 0x80 == 0 { 0 } else { 0xff };
        let mut bytes = [fill; 8];
        bytes[..width].copy_from_slice(stored);
        i64::from_le_bytes(bytes)
    }

    /// Where `n` is, or where it would be.
    pub(super) fn find(&self, n: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.get(middle).cmp(&n) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// True if it is new.
    pub(super) fn insert(&mut self, n: i64) -> bool {
        let Err(at) = self.find(n) else { return false };
        self.widen(Width::of(n));
        let width = self.width();
        let mut data = Vec::from(std::mem::take(&mut self.0));
        // As much as is needed: allocators give an eighth more, so that few new ones move all.
        data.reserve_exact(width.bytes() + if data.is_empty() { WIDTH_BYTES } else { 0 });
        if data.is_empty() {
            data.push(width as u8);
        }
        let place = WIDTH_BYTES + at * width.bytes();
        data.splice(place..place, n.to_le_bytes()[..width.bytes()].iter().copied());
        self.0 = data.into_boxed_slice();
        true
    }

    pub(super) fn remove_at(&mut self, at: usize) {
        let width = self.width().bytes();
        let place = WIDTH_BYTES + at * width;
        let mut data = Vec::from(std::mem::take(&mut self.0));
        data.drain(place..place + width);
        self.0 = data.into_boxed_slice();
    }

    /// Makes room for wider ones, if these are narrower.
    pub(super) fn widen(&mut self, width: Width) {
        if width <= self.width() {
            return;
        }
        let mut wide = Vec::with_capacity(WIDTH_BYTES + self.len() * width.bytes());
        wide.push(width as u8);
        for at in 0..self.len() {
            wide.extend_from_slice(&self.get(at).to_le_bytes()[..width.bytes()]);
        }
        self.0 = wide.into_boxed_slice();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::rng::Rng;
    use std::collections::BTreeSet;

    #[test]
    fn integers_stay_sorted_and_single_whatever_their_width() {
        let mut rng = Rng::new(1);
        for widest in [100, 40_000, u64::from(u32::MAX) * 9] {
            let (mut ints, mut plain) = (Ints::default(), BTreeSet::new());
            for _ in 0..2000 {
                let n = i64::try_from(rng.below(widest)).unwrap() - i64::try_from(widest / 2).unwrap();
                if rng.one_in(3) {
                    let at = ints.find(n);
                    assert_eq!(at.is_ok(), plain.remove(&n));
                    at.into_iter().for_each(|at| ints.remove_at(at));
                } else {
                    assert_eq!(ints.insert(n), plain.insert(n));
                }
            }
            let held: Vec<i64> = (0..ints.len()).map(|at| ints.get(at)).collect();
            assert_eq!(held, plain.into_iter().collect::<Vec<_>>());
        }
        let mut ints = Ints::default();
        [0, i64::MIN, i64::MAX].into_iter().for_each(|n| assert!(ints.insert(n)));
        assert_eq!((ints.get(0), ints.get(1), ints.get(2)), (i64::MIN, 0, i64::MAX));
    }

    #[test]
    fn they_take_what_an_intset_takes() {
        let bytes = |count: i64| {
            let mut ints = Ints::default();
            (0..count).for_each(|n| assert!(ints.insert(n)));
            size_of::<Ints>() + ints.bytes()
        };
        // Redis: 16 bytes for the object and 8 for the intset's head, with what its allocator adds.
        for (count, redis) in [(10, 48), (100, 240), (512, 1296)] {
            let most = redis * 11 / 10;
            assert!(bytes(count) <= most, "{count} integers take {} bytes", bytes(count));
        }
    }
}
