//! Members packed one behind the other in the order of (score, member): a whole small sorted set, or a leaf of a large one.
//!
//! ```text
//! count: u16 | score | member | score | member | ..
//! ```
//!
//! The memory is as long as its content: to put a member in moves what stands behind it, some hundred bytes.

use super::member::{self, Coded};
use super::score::{self, Spelled};
use crate::value::Word;
use base::codec::Reader;
use std::cmp::Ordering;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed(Box<[u8]>);

/// A member where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) score: f64,
    pub(super) member: Word<'a>,
    /// Where its bytes begin and end.
    begin: usize,
    end: usize,
}

impl Packed {
    pub(super) fn len(&self) -> usize {
        self.0.first_chunk().map_or(0, |count| usize::from(u16::from_le_bytes(*count)))
    }

    /// Bytes of its content.
    pub(super) fn used_bytes(&self) -> usize {
        self.0.len()
    }

    /// Bytes of memory besides the struct.
    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }

    pub(super) fn entries(&self) -> Entries<'_> {
        Entries { bytes: &self.0, at: HEAD_BYTES, left: self.len() }
    }

    /// The entry of a member; the others aren't read.
    pub(super) fn find(&self, member: Word<'_>) -> Option<Entry<'_>> {
        let coded = Coded::new(member);
        let mut at = HEAD_BYTES;
        while at < self.0.len() {
            let bytes = &self.0[at + score::length(self.0[at])..];
            if coded.begins(bytes) {
                return Entries { bytes: &self.0, at, left: 1 }.next();
            }
            at = self.0.len() - bytes.len() + member::size(bytes).expect("a chunk is well formed");
        }
        None
    }

    /// Puts a member in that isn't there; how many stand before it.
    pub(super) fn insert(&mut self, score: f64, member: &[u8]) -> usize {
        let (mut rank, mut at) = (0, self.0.len().max(HEAD_BYTES));
        for entry in self.entries() {
            if entry.order(score, member).is_gt() {
                at = entry.begin;
                break;
            }
            rank += 1;
        }
        self.insert_at(at, score, Word::of(member));
        rank
    }

    /// Puts a member behind all others, where its place is.
    pub(super) fn push(&mut self, score: f64, member: Word<'_>) {
        self.insert_at(self.0.len().max(HEAD_BYTES), score, member);
    }

    fn insert_at(&mut self, at: usize, score: f64, member: Word<'_>) {
        let (score, member) = (Spelled::new(score), Coded::new(member));
        let old = self.0.len().max(HEAD_BYTES);
        let added = score.bytes().len() + member.len();
        self.change(|bytes| {
            bytes.reserve_exact(old + added - bytes.len());
            bytes.resize(old + added, 0);
            bytes.copy_within(at..old, at + added);
        });
        let (front, back) = self.0[at..at + added].split_at_mut(score.bytes().len());
        front.copy_from_slice(score.bytes());
        member.write(back);
        self.set_len(self.len() + 1);
    }

    /// Takes an entry out, by its [`Entry::place`].
    pub(super) fn remove(&mut self, (begin, end): (usize, usize)) {
        self.change(|bytes| drop(bytes.drain(begin..end)));
        self.set_len(self.len() - 1);
    }

    /// Takes out all but the first `rank` members.
    pub(super) fn split(&mut self, rank: usize) -> Self {
        let at = self.entries().nth(rank).map_or(self.0.len(), |entry| entry.begin);
        let mut right = Vec::with_capacity(HEAD_BYTES + self.0.len() - at);
        right.extend_from_slice(&[0; HEAD_BYTES]);
        right.extend_from_slice(&self.0[at..]);
        let mut right = Self(right.into_boxed_slice());
        right.set_len(self.len() - rank);
        self.change(|bytes| bytes.truncate(at));
        self.set_len(rank);
        right
    }

    /// Where to split it into halves of about as many bytes, with at least a member on each side of two.
    pub(super) fn middle(&self) -> usize {
        let rank = self.entries().take_while(|entry| entry.end <= self.0.len() / 2).count();
        rank.clamp(1, self.len().saturating_sub(1).max(1))
    }

    /// Adds members that stand behind all of its own.
    pub(super) fn append(&mut self, other: &Self) {
        let added = other.0.get(HEAD_BYTES..).unwrap_or_default();
        self.change(|bytes| {
            bytes.reserve_exact(added.len());
            bytes.extend_from_slice(added);
        });
        self.set_len(self.len() + other.len());
    }

    /// Changes its bytes; memory that is left over is given back.
    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::mem::take(&mut self.0).into_vec();
        change(&mut bytes);
        self.0 = bytes.into_boxed_slice();
    }

    fn set_len(&mut self, len: usize) {
        let len = u16::try_from(len).expect("a chunk is split long before");
        self.0[..HEAD_BYTES].copy_from_slice(&len.to_le_bytes());
    }
}

impl Entry<'_> {
    /// How it stands to a place in the order.
    pub(super) fn order(&self, score: f64, member: &[u8]) -> Ordering {
        let by_score = self.score.partial_cmp(&score).expect("a score is a number");
        by_score.then_with(|| self.member.read(|own| own.cmp(member)))
    }

    /// Its place for [`Packed::remove`].
    pub(super) fn place(&self) -> (usize, usize) {
        (self.begin, self.end)
    }
}

/// The entries from some on.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

impl Entries<'_> {
    /// No entries.
    pub(super) const NONE: Self = Self { bytes: &[], at: 0, left: 0 };
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        let begin = self.at;
        let mut reader = Reader::new(&self.bytes[begin..]);
        let (score, member) = read(&mut reader).expect("a chunk is well formed");
        self.at = self.bytes.len() - reader.rest().len();
        Some(Entry { score, member, begin, end: self.at })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

/// Appends an entry, as chunks and images hold it.
pub(super) fn write(out: &mut Vec<u8>, score: f64, member: Word<'_>) {
    out.extend_from_slice(Spelled::new(score).bytes());
    let (member, begin) = (Coded::new(member), out.len());
    out.resize(begin + member.len(), 0);
    member.write(&mut out[begin..]);
}

/// Takes an entry off the front, if there is one.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Option<(f64, Word<'a>)> {
    let (score, used) = score::read(reader.rest())?;
    reader.take(used).ok()?;
    Some((score, member::read(reader)?))
}

const HEAD_BYTES: usize = 2;
