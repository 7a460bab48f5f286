//! Sorted sets.

mod packed;
mod score;

use super::{Container, kind};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use packed::Packed;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::ops::Range;

/// Members by score, and by their bytes where scores are equal.
#[derive(Clone, Debug)]
pub struct Zset {
    members: Packed,
}

impl Default for Zset {
    fn default() -> Self {
        Self { members: Packed::EMPTY }
    }
}

impl Zset {
    /// The score of a member.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.members.find(member).map(|(_, entry)| entry.score)
    }

    /// How many members stand before this one, and its score.
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        self.members.find(member).map(|(rank, entry)| (rank, entry.score))
    }

    /// Puts a member in or gives it another score; its former score. The score is a number.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let former = self.remove(member);
        self.members.insert(score, member);
        former
    }

    /// Takes a member out; its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (_, entry) = self.members.find(member)?;
        let (place, score) = (entry.place(), entry.score);
        self.members.remove(place);
        Some(score)
    }

    /// The members of these ranks, in order.
    pub fn range(&self, ranks: Range<usize>) -> impl Iterator<Item = (&[u8], f64)> {
        let count = ranks.end.saturating_sub(ranks.start);
        self.members.entries().skip(ranks.start).take(count).map(|entry| (entry.member, entry.score))
    }
}

impl Container for Zset {
    kind!(Zset);

    fn is_empty(&self) -> bool {
        self.members.len() == 0
    }

    fn len(&self) -> usize {
        self.members.len()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.members.bytes()
    }

    fn digest(&self, hasher: &mut SipHasher13) {
        for entry in self.members.entries() {
            hasher.write_u64(entry.score.to_bits());
            hasher.write_usize(entry.member.len());
            hasher.write(entry.member);
        }
    }

    fn encode_part(&self, _part: usize, out: &mut Vec<u8>) -> bool {
        put_varint(out, self.members.len() as u64);
        for entry in self.members.entries() {
            out.extend_from_slice(&entry.score.to_le_bytes());
            put_bytes(out, entry.member);
        }
        false
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut new = Self::default();
        for _ in 0..reader.varint()? {
            let score = f64::from_bits(reader.u64()?);
            let member = reader.bytes()?;
            if score.is_nan() || new.insert(member, score).is_some() {
                return Err(DecodeError::Overlong);
            }
        }
        Ok(new)
    }
}
