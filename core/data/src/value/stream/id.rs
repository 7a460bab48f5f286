//! IDs of entries: milliseconds and a number within them.

use crate::{Blob, Reply};
use base::codec::{DecodeError, Reader, put_varint};
use smallvec::SmallVec;

/// An entry's ID; IDs of a stream grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub ms: u64,
    pub seq: u64,
}

impl Id {
    /// No entry has it.
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    /// The last of all.
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// An ID of its parts.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The ID as clients read it, in a reply: made without an allocation, since replies have many.
    #[must_use]
    pub fn reply(self) -> Reply {
        let mut text = SmallVec::new();
        put_number(self.ms, &mut text);
        text.push(b'-');
        put_number(self.seq, &mut text);
        Reply::Bulk(Blob::Inline(text))
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        put_varint(out, self.ms);
        put_varint(out, self.seq);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { ms: reader.varint()?, seq: reader.varint()? })
    }

    /// The ID right behind it.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The ID right before it.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

fn put_number<const N: usize>(mut n: u64, out: &mut SmallVec<[u8; N]>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(n % 10).expect("a digit");
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_as_redis_writes_them_and_have_neighbours() {
        for id in [Id::MIN, Id::MAX, Id::new(1_526_919_030_474, 55), Id::new(0, 10)] {
            assert_eq!(id.reply(), Reply::text(id));
            assert_eq!(id.next().and_then(Id::previous), (id != Id::MAX).then_some(id));
        }
        assert_eq!(Id::new(5, u64::MAX).next(), Some(Id::new(6, 0)));
        assert_eq!((Id::MIN.previous(), Id::MAX.next()), (None, None));
    }
}
