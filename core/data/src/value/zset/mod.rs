//! Sorted sets: members with scores, in the order of (score, member).
//!
//! A small one is one packed chunk. A large one is a tree over such chunks, with an index by member: see [`large`]. What was
//! large once stays so, as in Redis, where OBJECT ENCODING shows it.

mod image;
mod index;
mod large;
mod leaves;
mod member;
mod packed;
mod score;
#[cfg(test)]
mod tests;
mod tree;

use super::{Container, Word, kind};
use base::codec::{DecodeError, Reader};
use large::Large;
use packed::{Entries, Packed};
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;
use std::hash::Hasher;
use std::ops::Range;

/// See the module.
#[derive(Clone, Debug)]
pub struct Zset(Form);

#[derive(Clone, Debug)]
enum Form {
    Small(Packed),
    Large(Box<Large>),
}

/// An end of a range of names, for sets whose members have one score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// Before all names.
    First,
    /// After all names.
    Last,
    /// This name and what is on its far side.
    From(&'a [u8]),
    /// What is beyond this name.
    Beyond(&'a [u8]),
}

const _: () = assert!(size_of::<Zset>() == 16, "each small sorted set pays for it");

impl Default for Zset {
    fn default() -> Self {
        Self(Form::Small(Packed::default()))
    }
}

impl Zset {
    /// What OBJECT ENCODING tells.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match self.0 {
            Form::Small(_) => "listpack",
            Form::Large(_) => "skiplist",
        }
    }

    /// The score of a member.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Form::Small(packed) => packed.find(Word::of(member)).map(|entry| entry.score),
            Form::Large(large) => large.score(member),
        }
    }

    /// How many members stand before this one.
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match &self.0 {
            Form::Small(packed) => {
                let place = packed.find(Word::of(member))?.place();
                packed.entries().position(|entry| entry.place() == place)
            }
            Form::Large(large) => large.score(member).map(|score| large.rank(score, member)),
        }
    }

    /// How many members have scores for which `low` is true: all up to some score.
    #[must_use]
    pub fn lower(&self, low: impl Fn(f64) -> bool) -> usize {
        match &self.0 {
            Form::Small(packed) => packed.entries().take_while(|entry| low(entry.score)).count(),
            Form::Large(large) => large.lower(low),
        }
    }

    /// The ranks of the members from one name to another. Where scores differ, names are in no order, and it is any range.
    #[must_use]
    pub fn between(&self, min: Name<'_>, max: Name<'_>) -> Range<usize> {
        let begin = self.names_until(|member| match min {
            Name::First => false,
            Name::Last => true,
            Name::From(min) => member < min,
            Name::Beyond(min) => member <= min,
        });
        let end = self.names_until(|member| match max {
            Name::First => false,
            Name::Last => true,
            Name::From(max) => member <= max,
            Name::Beyond(max) => member < max,
        });
        begin..end.max(begin)
    }

    /// How many members stand before the first for which `low` is false, found by ranks alone: the shape of a tree is no state.
    fn names_until(&self, low: impl Fn(&[u8]) -> bool) -> usize {
        let (mut begin, mut end) = (0, self.len());
        while begin < end {
            let middle = usize::midpoint(begin, end);
            let is_low = self.nth(middle).is_some_and(|(member, _)| member.read(&low));
            (begin, end) = if is_low { (middle + 1, end) } else { (begin, middle) };
        }
        begin
    }

    /// The member of a rank and its score.
    #[must_use]
    pub fn nth(&self, rank: usize) -> Option<(Word<'_>, f64)> {
        let (packed, rank) = self.seek(rank)?;
        packed.entries().nth(rank).map(|entry| (entry.member, entry.score))
    }

    /// The members of these ranks, in order.
    pub fn range(&self, ranks: Range<usize>) -> impl Iterator<Item = (Word<'_>, f64)> {
        let mut left = ranks.start..ranks.end.min(self.len());
        let mut here = Entries::NONE;
        std::iter::from_fn(move || {
            left.next().and_then(|rank| {
                if here.len() == 0 {
                    let (packed, skipped) = self.seek(rank)?;
                    here = packed.entries();
                    here.by_ref().take(skipped).for_each(drop);
                }
                here.next().map(|entry| (entry.member, entry.score))
            })
        })
    }

    /// The members of these ranks, the last first.
    pub fn range_back(&self, ranks: Range<usize>) -> impl Iterator<Item = (Word<'_>, f64)> {
        let mut left = ranks.start..ranks.end.min(self.len());
        let mut here = Vec::new();
        std::iter::from_fn(move || {
            left.next_back().and_then(|rank| {
                if here.is_empty() {
                    let (packed, before) = self.seek(rank)?;
                    here.extend(packed.entries().take(before + 1).map(|entry| (entry.member, entry.score)));
                }
                here.pop()
            })
        })
    }

    /// All members, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Word<'_>, f64)> {
        self.range(0..self.len())
    }

    /// The chunk in which the member of a rank stands, and how many stand before it there.
    fn seek(&self, rank: usize) -> Option<(&Packed, usize)> {
        match &self.0 {
            Form::Small(packed) => (rank < packed.len()).then_some((packed, rank)),
            Form::Large(large) => large.seek(rank),
        }
    }

    /// Puts a member in or gives it another score; its former score. A NaN is no score.
    pub fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        assert!(!score.is_nan(), "a score is a number");
        match &mut self.0 {
            Form::Large(large) => large.insert(member, score),
            Form::Small(packed) => {
                let former = packed.find(Word::of(member)).map(|entry| (entry.place(), entry.score));
                if let Some((place, _)) = former {
                    packed.remove(place);
                } else if packed.len() == SMALL_COUNT_MAX || member.len() > SMALL_MEMBER_BYTES_MAX {
                    self.grow().insert(member, score);
                    return None;
                }
                packed.insert(small_score(score), member);
                former.map(|(_, score)| score)
            }
        }
    }

    /// Takes a member out; its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match &mut self.0 {
            Form::Large(large) => large.remove(member),
            Form::Small(packed) => {
                let entry = packed.find(Word::of(member))?;
                let (place, score) = (entry.place(), entry.score);
                packed.remove(place);
                Some(score)
            }
        }
    }

    /// Takes out the members of these ranks.
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        for _ in ranks.clone() {
            let Some((member, _)) = self.nth(ranks.start) else { return };
            let member: SmallVec<[u8; 64]> = member.read(SmallVec::from_slice);
            self.remove(&member);
        }
    }

    /// Turns it into a large one.
    fn grow(&mut self) -> &mut Large {
        if let Form::Small(packed) = &self.0 {
            let mut large = Box::new(Large::default());
            for entry in packed.entries() {
                entry.member.read(|member| large.insert(member, entry.score));
            }
            self.0 = Form::Large(large);
        }
        let Form::Large(large) = &mut self.0 else { unreachable!("it was made so") };
        large
    }

    /// Shows a page of members from a cursor on, about `count`, and tells the next cursor: 0 when there is none. What is there
    /// during a whole scan is shown, whatever becomes of its score. A small one is one page.
    pub fn scan(&self, cursor: u64, count: usize, mut show: impl FnMut(Word<'_>, f64)) -> u64 {
        match &self.0 {
            Form::Small(packed) => {
                packed.entries().for_each(|entry| show(entry.member, entry.score));
                0
            }
            Form::Large(large) => large.scan(cursor, count, show),
        }
    }
}

impl Container for Zset {
    kind!(Zset);

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        match &self.0 {
            Form::Small(packed) => packed.len(),
            Form::Large(large) => large.len(),
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.0 {
                Form::Small(packed) => packed.bytes(),
                Form::Large(large) => large.bytes(),
            }
    }

    fn digest(&self, hasher: &mut SipHasher13) {
        hasher.write_u8(u8::from(matches!(self.0, Form::Large(_))));
        for (member, score) in self.iter() {
            hasher.write_u64(score.to_bits());
            member.read(|member| {
                hasher.write_usize(member.len());
                hasher.write(member);
            });
        }
    }

    fn encode_part(&self, part: usize, out: &mut Vec<u8>) -> bool {
        image::encode_part(self, part, out)
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        image::decode(reader)
    }
}

/// A small one knows no minus zero, as a listpack doesn't: clients see the difference.
fn small_score(score: f64) -> f64 {
    score + 0.0
}

/// A small sorted set has at most so many members, of at most so many bytes, as in Redis.
pub(super) const SMALL_COUNT_MAX: usize = 128;
pub(super) const SMALL_MEMBER_BYTES_MAX: usize = 64;
