//! Lists: chunks of packed members, one after the other.
//!
//! A chunk holds some KiB and is shared with clones until one of them changes it; what is looked for by its place is found
//! by skipping whole chunks. A list of one chunk is that chunk alone; longer ones hold a queue of them. A large member is a
//! chunk of its own and is shared with replies. Where the chunks part depends on what was done to the list, and nobody sees
//! it: neither the image nor the digest tells.

mod entry;
mod packed;
mod walk;

#[cfg(test)]
mod tests;

use super::{Container, Word, kind};
use crate::Blob;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use bytes::Bytes;
use packed::{PACKED_BYTES_MAX, Packed};
use siphasher::sip::SipHasher13;
use std::collections::VecDeque;
use std::hash::Hasher;
pub use walk::Walk;

/// One of the two ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Head,
    Tail,
}

impl End {
    /// The end across.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Head => Self::Tail,
            Self::Tail => Self::Head,
        }
    }
}

/// A list.
#[derive(Clone, Debug)]
pub struct List(Form);

#[derive(Clone, Debug)]
enum Form {
    /// Few members in one chunk, or none.
    One(Packed),
    Many(Box<Many>),
}

/// Chunks, none of them empty.
#[derive(Clone, Debug, Default)]
struct Many {
    chunks: VecDeque<Chunk>,
    /// Members of all chunks, and the memory that they take.
    len: usize,
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Chunk {
    Packed(Packed),
    Large(Bytes),
}

/// A new chunk at the end of a long list begins with room for this part of what the list takes.
const SPARE_PART: usize = 16;

impl Default for List {
    fn default() -> Self {
        Self(Form::One(Packed::default()))
    }
}

impl Default for Chunk {
    fn default() -> Self {
        Self::Packed(Packed::default())
    }
}

impl Chunk {
    fn of(member: &[u8]) -> Self {
        if member.len() > entry::MEMBER_BYTES_MAX {
            return Self::Large(Bytes::copy_from_slice(member));
        }
        let mut packed = Packed::default();
        packed.push(End::Tail, Word::of(member), 0);
        Self::Packed(packed)
    }

    fn len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Large(_) => 1,
        }
    }

    /// Memory besides its place among the chunks.
    fn bytes(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.bytes(),
            Self::Large(bytes) => bytes.len(),
        }
    }

    /// What remains without the members at these places, which rise.
    fn without(&self, mut places: impl Iterator<Item = usize>) -> Self {
        let Self::Packed(packed) = self else {
            return if places.next().is_none() { self.clone() } else { Self::default() };
        };
        let entries = packed.entries();
        let (mut kept, mut count) = (Vec::new(), packed.len());
        let (mut at, mut place, mut from) = (0, 0, 0);
        for gone in places {
            for _ in place..gone {
                at += entry::first(&entries[at..]).1;
            }
            kept.push(&entries[from..at]);
            at += entry::first(&entries[at..]).1;
            (place, from, count) = (gone + 1, at, count - 1);
        }
        kept.push(&entries[from..]);
        Self::Packed(Packed::joined(&kept, count))
    }
}

impl List {
    /// Adds a member at an end.
    pub fn push(&mut self, end: End, member: &[u8]) {
        if member.len() > entry::MEMBER_BYTES_MAX {
            return self.push_shared(end, Bytes::copy_from_slice(member));
        }
        let member = Word::of(member);
        let size = entry::size(member);
        match &mut self.0 {
            Form::One(packed) if packed.fits(size) => packed.push(end, member, 0),
            Form::One(_) => self.many().push(end, member, size),
            Form::Many(many) => many.push(end, member, size),
        }
    }

    /// Adds a member that was taken elsewhere; a large one is not copied.
    pub fn push_blob(&mut self, end: End, member: &Blob) {
        match member {
            Blob::Shared(bytes) if bytes.len() > entry::MEMBER_BYTES_MAX => self.push_shared(end, bytes.clone()),
            _ => self.push(end, member.as_bytes()),
        }
    }

    fn push_shared(&mut self, end: End, member: Bytes) {
        self.many().add(end, Chunk::Large(member));
    }

    /// Takes the member at an end.
    pub fn pop(&mut self, end: End) -> Option<Blob> {
        let blob = self.walk(end, 0).next()?.blob();
        self.cut(end, 1);
        Some(blob)
    }

    /// Takes up to `count` members away at an end.
    pub fn cut(&mut self, end: End, count: usize) {
        match &mut self.0 {
            Form::One(packed) => packed.cut(end, count.min(packed.len())),
            Form::Many(many) => {
                many.cut(end, count);
                self.settle();
            }
        }
    }

    /// The member at `at`, counted from the head.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<Word<'_>> {
        self.walk(End::Head, at).next()
    }

    /// The members from an end on, without the first `skipped`.
    #[must_use]
    pub fn walk(&self, from: End, skipped: usize) -> Walk<'_> {
        Walk::new(self, from, skipped)
    }

    /// Puts `member` in place of the one at `at`; false if there is none.
    pub fn set(&mut self, at: usize, member: &[u8]) -> bool {
        if at >= self.len() {
            return false;
        }
        let many = self.many();
        let (chunk, within) = many.find(at);
        if !many.overwrite(chunk, within, member) {
            many.splice(chunk, within, 1, member);
        }
        self.settle();
        true
    }

    /// Adds a member that then stands at `at`, counted from the head, or at the tail if the list ends before.
    pub fn insert(&mut self, at: usize, member: &[u8]) {
        if at >= self.len() {
            return self.push(End::Tail, member);
        }
        let many = self.many();
        let (chunk, within) = many.find(at);
        many.splice(chunk, within, 0, member);
        self.settle();
    }

    /// Takes away the members at these places, which rise and are there.
    pub fn remove(&mut self, places: &[usize]) {
        let (Some(first), Some(last)) = (places.first(), places.last()) else { return };
        let many = self.many();
        let ((first, within), (last, _)) = (many.find(*first), many.find(*last));
        let mut before = places[0] - within;
        let mut rest = places;
        let mut kept = Vec::new();
        for chunk in first..=last {
            let chunk = &many.chunks[chunk];
            let (here, later) = rest.split_at(rest.partition_point(|place| *place < before + chunk.len()));
            kept.push(chunk.without(here.iter().map(|place| place - before)));
            (before, rest) = (before + chunk.len(), later);
        }
        many.replace(first, last, kept);
        self.settle();
    }

    /// The chunks, as those of a long list until [`List::settle`].
    fn many(&mut self) -> &mut Many {
        if let Form::One(packed) = &mut self.0 {
            let mut many = Many::default();
            if packed.len() > 0 {
                many.add(End::Tail, Chunk::Packed(std::mem::take(packed)));
            }
            self.0 = Form::Many(Box::new(many));
        }
        match &mut self.0 {
            Form::Many(many) => many,
            Form::One(_) => unreachable!("it was made long"),
        }
    }

    /// A list of one chunk is that chunk alone.
    fn settle(&mut self) {
        let Form::Many(many) = &mut self.0 else { return };
        if many.chunks.is_empty() {
            *self = Self::default();
        } else if let (1, Some(Chunk::Packed(packed))) = (many.chunks.len(), many.chunks.front_mut()) {
            self.0 = Form::One(std::mem::take(packed));
        }
    }

    fn chunk_count(&self) -> usize {
        match &self.0 {
            Form::One(packed) => usize::from(packed.len() > 0),
            Form::Many(many) => many.chunks.len(),
        }
    }
}

impl Many {
    fn push(&mut self, end: End, member: Word<'_>, size: usize) {
        let spare = self.bytes / SPARE_PART;
        let edge = match end {
            End::Head => self.chunks.front_mut(),
            End::Tail => self.chunks.back_mut(),
        };
        match edge {
            Some(Chunk::Packed(packed)) if packed.fits(size) => {
                let held = packed.bytes();
                packed.push(end, member, spare);
                self.bytes = self.bytes - held + packed.bytes();
                self.len += 1;
            }
            _ => {
                let mut packed = Packed::default();
                packed.push(end, member, spare);
                self.add(end, Chunk::Packed(packed));
            }
        }
    }

    /// Adds a chunk at an end.
    fn add(&mut self, end: End, chunk: Chunk) {
        self.len += chunk.len();
        self.bytes += chunk.bytes();
        match end {
            End::Head => self.chunks.push_front(chunk),
            End::Tail => self.chunks.push_back(chunk),
        }
    }

    fn cut(&mut self, end: End, mut count: usize) {
        while count > 0 {
            let edge = match end {
                End::Head => self.chunks.pop_front(),
                End::Tail => self.chunks.pop_back(),
            };
            let Some(mut chunk) = edge else { return };
            (self.len, self.bytes) = (self.len - chunk.len(), self.bytes - chunk.bytes());
            match &mut chunk {
                Chunk::Packed(packed) if packed.len() > count => {
                    packed.cut(end, count);
                    self.add(end, chunk);
                    count = 0;
                }
                whole => count -= whole.len(),
            }
        }
        if self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks.shrink_to(2 * self.chunks.len());
        }
    }

    /// The chunk of the member at `at`, which is there, and its place within.
    fn find(&self, at: usize) -> (usize, usize) {
        if at < self.len / 2 {
            let mut before = 0;
            for (place, chunk) in self.chunks.iter().enumerate() {
                if at < before + chunk.len() {
                    return (place, at - before);
                }
                before += chunk.len();
            }
        }
        let mut before = self.len;
        for (place, chunk) in self.chunks.iter().enumerate().rev() {
            before -= chunk.len();
            if at >= before {
                return (place, at - before);
            }
        }
        unreachable!("the member is there")
    }

    /// Writes `member` over another of the same size; false if that can't be.
    fn overwrite(&mut self, chunk: usize, within: usize, member: &[u8]) -> bool {
        match &mut self.chunks[chunk] {
            Chunk::Packed(packed) if member.len() <= entry::MEMBER_BYTES_MAX => {
                let at = packed.seek(End::Head, within);
                packed.overwrite(at, Word::of(member))
            }
            _ => false,
        }
    }

    /// In a chunk, takes `gone` members away at `within` and puts another there.
    fn splice(&mut self, chunk: usize, within: usize, gone: usize, member: &[u8]) {
        let new = Chunk::of(member);
        let parts = match (&self.chunks[chunk], &new) {
            (Chunk::Packed(packed), Chunk::Packed(member)) => {
                let (before, after) = packed.parted(within, gone);
                if before.len() + member.used() + after.len() <= PACKED_BYTES_MAX {
                    let whole = Packed::joined(&[before, member.entries(), after], packed.len() - gone + 1);
                    vec![Chunk::Packed(whole)]
                } else {
                    let rest = packed.len() - within - gone;
                    let (before, after) = (Packed::joined(&[before], within), Packed::joined(&[after], rest));
                    vec![Chunk::Packed(before), new, Chunk::Packed(after)]
                }
            }
            (Chunk::Packed(packed), Chunk::Large(_)) => {
                let ((before, after), rest) = (packed.parted(within, gone), packed.len() - within - gone);
                let (before, after) = (Packed::joined(&[before], within), Packed::joined(&[after], rest));
                vec![Chunk::Packed(before), new, Chunk::Packed(after)]
            }
            (large @ Chunk::Large(_), _) if gone == 0 => vec![new, large.clone()],
            (Chunk::Large(_), _) => vec![new],
        };
        self.replace(chunk, chunk, parts);
    }

    /// Puts others, which may be empty, in place of some chunks; they are joined with their neighbours where they fit.
    fn replace(&mut self, first: usize, last: usize, new: Vec<Chunk>) {
        let (from, to) = (first.saturating_sub(1), (last + 2).min(self.chunks.len()));
        let mut old: Vec<Chunk> = self.chunks.range_mut(from..to).map(std::mem::take).collect();
        self.len -= old.iter().map(Chunk::len).sum::<usize>();
        self.bytes -= old.iter().map(Chunk::bytes).sum::<usize>();
        old.splice(first - from..=last - from, new);
        let joined = joined(old);
        self.len += joined.iter().map(Chunk::len).sum::<usize>();
        self.bytes += joined.iter().map(Chunk::bytes).sum::<usize>();
        if joined.len() < to - from {
            self.chunks.drain(from + joined.len()..to);
        }
        for (at, chunk) in (from..).zip(joined) {
            if at < to {
                self.chunks[at] = chunk;
            } else {
                self.chunks.insert(at, chunk);
            }
        }
    }
}

/// The same members in as few chunks as next to each other can be joined.
fn joined(chunks: Vec<Chunk>) -> Vec<Chunk> {
    let mut joined: Vec<Chunk> = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        match (joined.last_mut(), &chunk) {
            (_, Chunk::Packed(packed)) if packed.len() == 0 => {}
            (Some(Chunk::Packed(former)), Chunk::Packed(packed)) if former.fits(packed.used()) => {
                let len = former.len() + packed.len();
                *former = Packed::joined(&[former.entries(), packed.entries()], len);
            }
            _ => joined.push(chunk),
        }
    }
    joined
}

impl Container for List {
    kind!(List);

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        match &self.0 {
            Form::One(packed) => packed.len(),
            Form::Many(many) => many.len,
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.0 {
                Form::One(packed) => packed.bytes(),
                Form::Many(many) => size_of::<Many>() + many.chunks.capacity() * size_of::<Chunk>() + many.bytes,
            }
    }

    fn digest(&self, hasher: &mut SipHasher13) {
        for member in self.walk(End::Head, 0) {
            member.read(|bytes| {
                hasher.write_usize(bytes.len());
                hasher.write(bytes);
            });
        }
    }

    /// A part is a chunk; the count of all members stands before the first.
    fn encode_part(&self, part: usize, out: &mut Vec<u8>) -> bool {
        if part == 0 {
            put_varint(out, self.len() as u64);
        }
        for member in Walk::of_chunk(self, part) {
            member.read(|bytes| put_bytes(out, bytes));
        }
        part + 1 < self.chunk_count()
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut list = Self::default();
        for _ in 0..reader.varint()? {
            list.push(End::Tail, reader.bytes()?);
        }
        // A key of an empty list would have gone.
        if list.is_empty() { Err(DecodeError::Unknown(0)) } else { Ok(list) }
    }
}
