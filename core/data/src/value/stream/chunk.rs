//! Some entries of a stream, packed.
//!
//! `[names: length varint, bytes each]`, then the entries: `[length of the rest varint][flags][ms varint][seq varint]`, then
//! the values, each behind its length; an entry whose field names are not those of the first one has their count and the
//! names before the values, in turn. `ms` counts from the chunk's first ID, and `seq` too within its millisecond.
//!
//! What is deleted is marked, and thrown away when half of the bytes are: rarely, and at a cost that the deletions paid for.

use super::{Id, weight};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;
use std::hash::Hasher;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    data: Vec<u8>,
    /// Where the entries begin.
    body: usize,
    name_count: usize,
    first: Id,
    /// The ID of the entry that was added last, deleted or not.
    last: Id,
    live: usize,
    /// How many were deleted, the thrown away among them: Redis, which throws nothing away, closes a node by their number.
    dead: usize,
    dead_bytes: usize,
    weight: usize,
}

/// An entry as it is read.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub id: Id,
    /// The names, if they stand apart.
    names: Option<Reader<'a>>,
    body: Reader<'a>,
    /// How many fields there are.
    count: usize,
}

/// Names and values of an entry in turn.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    names: Option<Reader<'a>>,
    body: Reader<'a>,
    left: usize,
}

/// Redis' stream-node-max-bytes and stream-node-max-entries, as they are by default.
const WEIGHT_MAX: usize = 4096;
const ENTRY_COUNT_MAX: usize = 100;
/// Bytes of a chunk besides its data: itself, its counts as a shared thing, its place in a page.
const CHUNK_BYTES: usize = size_of::<Chunk>() + 16 + size_of::<(Id, usize)>();

const DEAD: u8 = 1;
const NAMED: u8 = 2;
/// Fewer dead bytes than this are left where they are.
const DEAD_BYTES_MIN: usize = 64;

impl<'a> Entry<'a> {
    /// Names and values in turn.
    #[must_use]
    pub fn fields(&self) -> Fields<'a> {
        Fields { names: self.names, body: self.body, left: self.count * 2 }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let from = match &mut self.names {
            Some(names) if self.left % 2 == 1 => names,
            _ => &mut self.body,
        };
        Some(from.bytes().expect(WHOLE))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}

const WHOLE: &str = "a chunk is whole: it was made here, or checked when it was read";

/// An entry where it stands.
struct Raw<'a> {
    at: usize,
    /// The whole of it, with its length.
    bytes: &'a [u8],
    flags: u8,
    id: Id,
    rest: Reader<'a>,
}

impl Chunk {
    /// A chunk of one entry; `fields` are names and values in turn.
    pub(super) fn new(id: Id, fields: &[&[u8]]) -> Self {
        let mut data = Vec::new();
        let names = || fields.iter().step_by(2).copied();
        names().for_each(|name| put_bytes(&mut data, name));
        let name_count = fields.len() / 2;
        let weight = weight::of_head(names(), name_count);
        let body = data.len();
        let mut new = Self { data, body, name_count, first: id, last: id, live: 0, dead: 0, dead_bytes: 0, weight };
        new.push(id, fields);
        new
    }

    pub(super) fn first(&self) -> Id {
        self.first
    }

    /// The ID of what was added last, deleted or not.
    pub(super) fn last(&self) -> Id {
        self.last
    }

    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn bytes(&self) -> usize {
        self.data.len() + CHUNK_BYTES
    }

    /// True if Redis would put an entry of so many bytes, names and values, into the same node.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.weight + bytes < WEIGHT_MAX && self.live + self.dead < ENTRY_COUNT_MAX
    }

    /// Adds an entry whose ID is larger than the first one's; `fields` are names and values in turn.
    pub(super) fn push(&mut self, id: Id, fields: &[&[u8]]) {
        let named = !self.has_names(fields);
        let values = || fields.iter().skip(usize::from(!named)).step_by(if named { 1 } else { 2 }).copied();
        let count = fields.len() / 2;
        let (ms, seq) = self.delta(id);
        let names = if named { varint_bytes(count as u64) } else { 0 };
        let fixed = 1 + varint_bytes(ms) + varint_bytes(seq) + names;
        let whole = fixed + values().map(|value| varint_bytes(value.len() as u64) + value.len()).sum::<usize>();
        put_varint(&mut self.data, whole as u64);
        self.data.push(if named { NAMED } else { 0 });
        put_varint(&mut self.data, ms);
        put_varint(&mut self.data, seq);
        if named {
            put_varint(&mut self.data, count as u64);
        }
        values().for_each(|value| put_bytes(&mut self.data, value));
        let plain = (id.ms.wrapping_sub(self.first.ms), id.seq.wrapping_sub(self.first.seq));
        self.weight += weight::of_entry(values(), named.then_some(count), count, plain);
        self.live += 1;
        self.last = id;
    }

    /// Gives back what was allocated ahead: nothing will be added any more.
    pub(super) fn close(&mut self) {
        self.data.shrink_to_fit();
    }

    /// The live entries from `from` on, in order.
    pub(super) fn entries(&self, from: Id) -> impl Iterator<Item = Entry<'_>> {
        self.raw().filter(move |raw| raw.flags & DEAD == 0 && raw.id >= from).map(|raw| self.entry(&raw))
    }

    /// The live entries up to `to`, the last one first.
    pub(super) fn entries_back(&self, to: Id) -> impl Iterator<Item = Entry<'_>> {
        let live = self.raw().filter(|raw| raw.flags & DEAD == 0 && raw.id <= to);
        let places: SmallVec<[usize; ENTRY_COUNT_MAX]> = live.map(|raw| raw.at).collect();
        places.into_iter().rev().filter_map(|at| self.raw_from(at).next()).map(|raw| self.entry(&raw))
    }

    /// The live entry of an ID.
    pub(super) fn get(&self, id: Id) -> Option<Entry<'_>> {
        self.find(id).map(|raw| self.entry(&raw))
    }

    /// Deletes a live entry; false if there is none of this ID.
    pub(super) fn remove(&mut self, id: Id) -> bool {
        let Some(raw) = self.find(id) else { return false };
        let (at, len) = (raw.at, raw.bytes.len());
        self.kill(at, len);
        self.compact();
        true
    }

    /// Deletes live entries from the front: up to `most` and as long as their IDs are below `end`. How many they were.
    pub(super) fn remove_front(&mut self, most: usize, end: Id) -> usize {
        let below = self.raw().take_while(|raw| raw.id < end).filter(|raw| raw.flags & DEAD == 0);
        let places: SmallVec<[(usize, usize); ENTRY_COUNT_MAX]> =
            below.take(most).map(|raw| (raw.at, raw.bytes.len())).collect();
        for (at, len) in &places {
            self.kill(*at, *len);
        }
        self.compact();
        places.len()
    }

    pub(super) fn digest(&self, hasher: &mut SipHasher13) {
        let mut head = Vec::new();
        self.encode_head(&mut head);
        hasher.write(&head);
        hasher.write(&self.data[..self.body]);
        self.raw().filter(|raw| raw.flags & DEAD == 0).for_each(|raw| hasher.write(raw.bytes));
    }

    /// Appends its image: without what was deleted.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        self.encode_head(out);
        put_varint(out, (self.data.len() - self.dead_bytes) as u64);
        out.extend_from_slice(&self.data[..self.body]);
        self.raw().filter(|raw| raw.flags & DEAD == 0).for_each(|raw| out.extend_from_slice(raw.bytes));
    }

    fn encode_head(&self, out: &mut Vec<u8>) {
        for id in [self.first, self.last] {
            id.encode(out);
        }
        for number in [self.live, self.dead, self.weight, self.name_count] {
            put_varint(out, number as u64);
        }
    }

    /// Reads an image back; what comes behind must have larger IDs than `after`, which is moved on.
    pub(super) fn decode(reader: &mut Reader<'_>, after: &mut Option<Id>) -> Result<Self, DecodeError> {
        let (first, last) = (Id::decode(reader)?, Id::decode(reader)?);
        let (live, dead, weight, name_count) = (reader.len()?, reader.len()?, reader.len()?, reader.len()?);
        let data = reader.bytes()?;
        let mut rest = Reader::new(data);
        for _ in 0..name_count {
            rest.bytes()?;
        }
        let body = data.len() - rest.rest().len();
        let sum = live.checked_add(dead).filter(|sum| *sum > 0 && *sum <= ENTRY_COUNT_MAX);
        if sum.is_none() || weight > u32::MAX as usize || after.is_some_and(|after| first <= after) || last < first {
            return Err(DecodeError::Unknown(first.ms));
        }
        let new = Self { data: data.to_vec(), body, name_count, first, last, live, dead, dead_bytes: 0, weight };
        new.check(rest, after)?;
        Ok(new)
    }

    /// Whether the entries of an image are in order, whole, alive and as many as it says.
    fn check(&self, mut rest: Reader<'_>, after: &mut Option<Id>) -> Result<(), DecodeError> {
        let mut before = None;
        for _ in 0..self.live {
            let mut entry = Reader::new(rest.bytes()?);
            let flags = entry.u8()?;
            let id = self.read_id(&mut entry)?;
            let count = if flags == NAMED { entry.len()?.checked_mul(2) } else { Some(self.name_count) };
            for _ in 0..count.ok_or(DecodeError::Overlong)? {
                entry.bytes()?;
            }
            if flags & !NAMED != 0 || !entry.is_empty() || before.is_some_and(|before| id <= before) || id > self.last {
                return Err(DecodeError::Unknown(id.ms));
            }
            before = Some(id);
        }
        *after = before.max(Some(self.first));
        if rest.is_empty() { Ok(()) } else { Err(DecodeError::Overlong) }
    }

    fn read_id(&self, reader: &mut Reader<'_>) -> Result<Id, DecodeError> {
        let (ms, seq) = (reader.varint()?, reader.varint()?);
        let seq = if ms == 0 { self.first.seq.checked_add(seq) } else { Some(seq) };
        let ms = self.first.ms.checked_add(ms);
        Ok(Id::new(ms.ok_or(DecodeError::Overlong)?, seq.ok_or(DecodeError::Overlong)?))
    }

    /// How far an ID is from the first.
    fn delta(&self, id: Id) -> (u64, u64) {
        assert!(id >= self.first, "IDs of a chunk begin with its first");
        let ms = id.ms - self.first.ms;
        (ms, if ms == 0 { id.seq - self.first.seq } else { id.seq })
    }

    fn has_names(&self, fields: &[&[u8]]) -> bool {
        let mut names = Reader::new(&self.data[..self.body]);
        fields.len() == self.name_count * 2
            && fields.iter().step_by(2).all(|name| names.bytes().is_ok_and(|known| known == *name))
    }

    fn find(&self, id: Id) -> Option<Raw<'_>> {
        self.raw().find(|raw| raw.id == id && raw.flags & DEAD == 0)
    }

    fn raw(&self) -> impl Iterator<Item = Raw<'_>> {
        self.raw_from(self.body)
    }

    /// The entries from the one that stands at `at`.
    fn raw_from(&self, at: usize) -> impl Iterator<Item = Raw<'_>> {
        let mut rest = Reader::new(&self.data[at..]);
        std::iter::from_fn(move || {
            let before = rest.rest();
            if before.is_empty() {
                return None;
            }
            let mut entry = Reader::new(rest.bytes().expect(WHOLE));
            let bytes = &before[..before.len() - rest.rest().len()];
            let flags = entry.u8().expect(WHOLE);
            let id = self.read_id(&mut entry).expect(WHOLE);
            Some(Raw { at: self.data.len() - before.len(), bytes, flags, id, rest: entry })
        })
    }

    fn entry<'a>(&'a self, raw: &Raw<'a>) -> Entry<'a> {
        let mut body = raw.rest;
        if raw.flags & NAMED == 0 {
            let names = Some(Reader::new(&self.data[..self.body]));
            return Entry { id: raw.id, names, body, count: self.name_count };
        }
        let count = body.len().expect(WHOLE);
        Entry { id: raw.id, names: None, body, count }
    }

    fn kill(&mut self, at: usize, len: usize) {
        let mut reader = Reader::new(&self.data[at..]);
        reader.varint().expect(WHOLE);
        let flags = self.data.len() - reader.rest().len();
        self.data[flags] |= DEAD;
        self.live -= 1;
        self.dead += 1;
        self.dead_bytes += len;
    }

    /// Throws deleted entries away if they are many.
    fn compact(&mut self) {
        if self.dead_bytes < DEAD_BYTES_MIN || self.dead_bytes * 2 < self.data.len() {
            return;
        }
        let mut data = Vec::with_capacity(self.data.len() - self.dead_bytes);
        data.extend_from_slice(&self.data[..self.body]);
        self.raw().filter(|raw| raw.flags & DEAD == 0).for_each(|raw| data.extend_from_slice(raw.bytes));
        (self.data, self.dead_bytes) = (data, 0);
    }
}

fn varint_bytes(n: u64) -> usize {
    (usize::try_from(n.checked_ilog2().unwrap_or(0)).expect("at most 63") / 7) + 1
}
