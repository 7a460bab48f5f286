//! Members packed one behind the other in the order of (score, member): a whole small sorted set, or a leaf of a large one.
//!
//! ```text
//! count: u16 | score | member's length: varint | member | score | ..
//! ```
//!
//! The memory is as long as its content: to put a member in moves what stands behind it, some hundred bytes.

use super::score::{self, Spelled};
use base::codec::{Reader, put_varint};
use std::cmp::Ordering;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Packed(Vec<u8>);

/// A member where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) score: f64,
    pub(super) member: &'a [u8],
    /// Where its bytes begin and end.
    begin: usize,
    end: usize,
}

impl Packed {
    pub(super) const EMPTY: Self = Self(Vec::new());

    pub(super) fn len(&self) -> usize {
        self.0.first_chunk().map_or(0, |count| usize::from(u16::from_le_bytes(*count)))
    }

    /// Bytes of memory besides the struct.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity()
    }

    pub(super) fn entries(&self) -> Entries<'_> {
        Entries { bytes: &self.0, at: HEAD_BYTES, left: self.len() }
    }

    /// The entry of a member, and how many stand before it.
    pub(super) fn find(&self, member: &[u8]) -> Option<(usize, Entry<'_>)> {
        self.entries().enumerate().find(|(_, entry)| entry.member == member)
    }

    /// How many members stand before this place.
    pub(super) fn rank(&self, score: f64, member: &[u8]) -> usize {
        self.entries().take_while(|entry| entry.order(score, member).is_lt()).count()
    }

    /// Puts a member in that isn't there.
    pub(super) fn insert(&mut self, score: f64, member: &[u8]) {
        if self.0.is_empty() {
            self.0.reserve_exact(HEAD_BYTES + entry_bytes(score, member));
            self.0.extend_from_slice(&[0; HEAD_BYTES]);
        }
        let at =
            self.entries().find(|entry| entry.order(score, member).is_gt()).map_or(self.0.len(), |next| next.begin);
        let added = entry_bytes(score, member);
        let old = self.0.len();
        self.0.reserve_exact(added);
        write(&mut self.0, score, member);
        debug_assert_eq!(self.0.len(), old + added);
        self.0[at..].rotate_right(added);
        self.set_len(self.len() + 1);
    }

    /// Takes the entry out that [`Packed::find`] or an iteration showed to begin and end there.
    pub(super) fn remove(&mut self, (begin, end): (usize, usize)) {
        self.0.drain(begin..end);
        self.set_len(self.len() - 1);
        self.0.shrink_to_fit();
    }

    fn set_len(&mut self, len: usize) {
        let len = u16::try_from(len).expect("a chunk is split long before");
        self.0[..HEAD_BYTES].copy_from_slice(&len.to_le_bytes());
    }
}

impl Entry<'_> {
    /// How it stands to a place in the order.
    pub(super) fn order(&self, score: f64, member: &[u8]) -> Ordering {
        self.score.partial_cmp(&score).expect("a score is a number").then_with(|| self.member.cmp(member))
    }

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

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        let begin = self.at;
        let entry = &self.bytes[begin..];
        let (score, used) = score::read(entry).expect("a chunk is well formed");
        let mut reader = Reader::new(&entry[used..]);
        let member = reader.bytes().expect("a chunk is well formed");
        self.at = self.bytes.len() - reader.rest().len();
        Some(Entry { score, member, begin, end: self.at })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Entries<'_> {}

fn entry_bytes(score: f64, member: &[u8]) -> usize {
    let bits = usize::try_from(usize::BITS - member.len().leading_zeros()).expect("a word has few bits");
    Spelled::new(score).bytes().len() + bits.div_ceil(7).max(1) + member.len()
}

fn write(out: &mut Vec<u8>, score: f64, member: &[u8]) {
    out.extend_from_slice(Spelled::new(score).bytes());
    put_varint(out, member.len() as u64);
    out.extend_from_slice(member);
}

const HEAD_BYTES: usize = 2;
