//! The entries of a stream, in the order of their IDs: chunks in pages.

use super::Id;
use super::chunk::{Chunk, Entry};
use super::pages::Pages;
use base::codec::{DecodeError, Reader, put_varint};
use siphasher::sip::SipHasher13;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// By the ID of the first entry that was put into each.
    chunks: Pages<Arc<Chunk>, CHUNKS_PER_PAGE>,
    len: usize,
    bytes: usize,
}

/// What trimming leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// So many entries.
    Newest(u64),
    /// The entries from this one on.
    From(Id),
}

/// How to trim.
#[derive(Clone, Copy, Debug)]
pub struct Trim {
    pub keep: Keep,
    /// Whole chunks alone are removed, so that more may be left than was asked.
    pub approximate: bool,
    /// No more entries than this are removed by whole chunks.
    pub most: Option<u64>,
}

/// A page is a part of an image: some 30 KiB.
const CHUNKS_PER_PAGE: usize = 8;

impl Log {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many chunks there are: where Redis has nodes of its radix tree.
    #[must_use]
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// How many parts of an image it makes.
    pub(super) fn part_count(&self) -> usize {
        self.chunks.page_count()
    }

    /// Appends an entry with an ID larger than any; `fields` are names and values in turn.
    pub fn push(&mut self, id: Id, fields: &[&[u8]]) {
        self.len += 1;
        // XSETID can lead back before chunks in which nothing lives any more.
        while let Some((first, chunk)) = self.chunks.last().filter(|(first, _)| *first >= id) {
            assert!(chunk.live() == 0, "IDs grow");
            self.bytes -= chunk.bytes();
            self.chunks.remove(first);
        }
        let bytes = fields.iter().map(|field| field.len()).sum();
        match self.chunks.last_mut() {
            Some(chunk) if chunk.has_room(bytes) => {
                let chunk = Arc::make_mut(chunk);
                self.bytes -= chunk.bytes();
                chunk.push(id, fields);
                self.bytes += chunk.bytes();
            }
            full => {
                if let Some(chunk) = full {
                    Arc::make_mut(chunk).close();
                }
                let new = Chunk::new(id, fields);
                self.bytes += new.bytes();
                self.chunks.insert(id, Arc::new(new));
            }
        }
    }

    /// Removes an entry; false if it isn't there.
    pub fn remove(&mut self, id: Id) -> bool {
        let Some((first, chunk)) = self.chunks.floor(id) else { return false };
        if chunk.get(id).is_none() {
            return false;
        }
        self.len -= 1;
        if chunk.live() == 1 {
            self.bytes -= chunk.bytes();
            self.chunks.remove(first);
            return true;
        }
        let chunk = Arc::make_mut(self.chunks.get_mut(first).expect("the chunk was found"));
        self.bytes -= chunk.bytes();
        chunk.remove(id);
        self.bytes += chunk.bytes();
        true
    }

    /// Removes entries from the front; how many they were.
    pub fn trim(&mut self, trim: Trim) -> usize {
        let before = self.len;
        while let Some((first, chunk)) = self.chunks.first() {
            let (excess, end) = match trim.keep {
                Keep::Newest(len) => (self.len.saturating_sub(usize::try_from(len).unwrap_or(usize::MAX)), Id::MAX),
                Keep::From(id) => (usize::MAX, id),
            };
            let live = chunk.live();
            if excess == 0 || trim.most.is_some_and(|most| (before - self.len + live) as u64 > most) {
                break;
            }
            if excess >= live && (end == Id::MAX && matches!(trim.keep, Keep::Newest(_)) || chunk.last() < end) {
                self.bytes -= chunk.bytes();
                self.len -= live;
                self.chunks.remove(first);
                continue;
            }
            if !trim.approximate {
                let chunk = Arc::make_mut(self.chunks.first_mut().expect("there is a first"));
                self.bytes -= chunk.bytes();
                self.len -= chunk.remove_front(excess, end);
                self.bytes += chunk.bytes();
            }
            break;
        }
        before - self.len
    }

    /// The entry of an ID.
    #[must_use]
    pub fn get(&self, id: Id) -> Option<Entry<'_>> {
        self.chunks.floor(id)?.1.get(id)
    }

    /// The entries from `from` to `to`, both included.
    pub fn range(&self, from: Id, to: Id) -> impl Iterator<Item = Entry<'_>> {
        let first = self.chunks.floor(from).map_or(from, |(first, _)| first);
        let entries = self.chunks.from(first).flat_map(move |(_, chunk)| chunk.entries(from));
        entries.take_while(move |entry| entry.id <= to)
    }

    /// The same, the last one first.
    pub fn range_back(&self, from: Id, to: Id) -> impl Iterator<Item = Entry<'_>> {
        let entries = self.chunks.up_to(to).flat_map(move |(_, chunk)| chunk.entries_back(to));
        entries.take_while(move |entry| entry.id >= from)
    }

    /// The ID of the first entry.
    #[must_use]
    pub fn first(&self) -> Option<Id> {
        self.range(Id::MIN, Id::MAX).next().map(|entry| entry.id)
    }

    /// The ID of the last entry.
    #[must_use]
    pub fn last(&self) -> Option<Id> {
        self.range_back(Id::MIN, Id::MAX).next().map(|entry| entry.id)
    }

    pub(super) fn digest(&self, hasher: &mut SipHasher13) {
        self.chunks.from(Id::MIN).for_each(|(_, chunk)| chunk.digest(hasher));
    }

    /// Appends a part of its image: how many chunks, and they.
    pub(super) fn encode_part(&self, part: usize, out: &mut Vec<u8>) {
        let chunks = self.chunks.page(part);
        put_varint(out, chunks.len() as u64);
        chunks.iter().for_each(|(_, chunk)| chunk.encode(out));
    }

    /// Reads a part of an image to the end of what was read so far, whose last ID is `after`.
    pub(super) fn decode_part(&mut self, reader: &mut Reader<'_>, after: &mut Option<Id>) -> Result<(), DecodeError> {
        for _ in 0..reader.varint()? {
            let chunk = Chunk::decode(reader, after)?;
            self.len = self.len.checked_add(chunk.live()).ok_or(DecodeError::Overlong)?;
            self.bytes += chunk.bytes();
            self.chunks.insert(chunk.first(), Arc::new(chunk));
        }
        Ok(())
    }
}
