//! Walks over a list, from either end.

use super::entry;
use super::packed::Packed;
use super::{Chunk, Container, End, Form, List};
use crate::value::Word;

/// Members of a list in the order in which they come from one of its ends.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    list: &'a List,
    from: End,
    /// The members of the current chunk that are to come, and the next chunk, counted from the head.
    entries: &'a [u8],
    next: Option<usize>,
    left: usize,
}

enum Piece<'a> {
    Packed(&'a Packed),
    Large(Word<'a>),
}

impl<'a> Walk<'a> {
    pub(super) fn new(list: &'a List, from: End, skipped: usize) -> Self {
        let none = Self { list, from, entries: &[], next: None, left: 0 };
        let Some(left) = list.len().checked_sub(skipped).filter(|left| *left > 0) else { return none };
        let at = match from {
            End::Head => skipped,
            End::Tail => left - 1,
        };
        let (chunk, within) = match &list.0 {
            Form::One(_) => (0, at),
            Form::Many(many) => many.find(at),
        };
        let mut walk = Self { next: Some(chunk), left, ..none };
        if let Some(Piece::Packed(packed)) = walk.piece(chunk) {
            let entries = packed.entries();
            walk.entries = match from {
                End::Head => &entries[packed.seek(End::Head, within)..],
                End::Tail => &entries[..packed.seek(End::Head, within + 1)],
            };
            walk.next = walk.after(chunk);
        }
        walk
    }

    /// The members of one chunk.
    pub(super) fn of_chunk(list: &'a List, chunk: usize) -> Self {
        let mut walk = Self { list, from: End::Head, entries: &[], next: None, left: 0 };
        match walk.piece(chunk) {
            Some(Piece::Packed(packed)) => (walk.entries, walk.left) = (packed.entries(), packed.len()),
            Some(Piece::Large(_)) => (walk.next, walk.left) = (Some(chunk), 1),
            None => {}
        }
        walk
    }

    fn piece(&self, chunk: usize) -> Option<Piece<'a>> {
        let chunk = match &self.list.0 {
            Form::One(packed) => return (chunk == 0).then_some(Piece::Packed(packed)),
            Form::Many(many) => many.chunks.get(chunk)?,
        };
        Some(match chunk {
            Chunk::Packed(packed) => Piece::Packed(packed),
            Chunk::Large(bytes) => Piece::Large(Word::Apart(bytes)),
        })
    }

    fn after(&self, chunk: usize) -> Option<usize> {
        match self.from {
            End::Head => Some(chunk + 1),
            End::Tail => chunk.checked_sub(1),
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Word<'a>;

    #[inline]
    fn next(&mut self) -> Option<Word<'a>> {
        self.left = self.left.checked_sub(1)?;
        if self.entries.is_empty() {
            let chunk = self.next?;
            self.next = self.after(chunk);
            match self.piece(chunk)? {
                Piece::Packed(packed) => self.entries = packed.entries(),
                Piece::Large(member) => return Some(member),
            }
        }
        Some(match self.from {
            End::Head => {
                let (member, size) = entry::first(self.entries);
                self.entries = &self.entries[size..];
                member
            }
            End::Tail => {
                let (rest, last) = self.entries.split_at(self.entries.len() - entry::last_size(self.entries));
                self.entries = rest;
                entry::first(last).0
            }
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Walk<'_> {}
