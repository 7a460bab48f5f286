//! Consumer groups: how far a group has read, and which entries were delivered and not acknowledged, by whom they are
//! owed.

use super::pages::Pages;
use super::{Entries, Id};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

/// A group of consumers, of whom each gets other entries.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last ID that was delivered.
    pub last: Id,
    /// How many of the stream's entries it has read, if that is known.
    pub read: Option<u64>,
    pending: Pages<Nack, NACKS_PER_PAGE>,
    /// By their places, which [`Nack`]s name.
    consumers: Vec<Option<Arc<Consumer>>>,
    /// Places that nobody has.
    free: Vec<u32>,
    places: BTreeMap<Box<[u8]>, Place>,
    name_bytes: usize,
}

/// One who reads for its group.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Box<[u8]>,
    /// When it last asked for something, in milliseconds.
    seen_ms: u64,
    pending: Pages<(), NACKS_PER_PAGE>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack {
    consumer: Place,
    /// When it was last delivered.
    pub at_ms: u64,
    /// How often it was.
    pub count: u64,
}

/// Where a consumer stands in its group, as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

const NACKS_PER_PAGE: usize = 128;
/// So many pages of pending entries are a part of an image: some 10 KiB.
const PAGES_PER_PART: usize = 8;
/// What a consumer takes besides its name, which is there twice.
const CONSUMER_BYTES: usize = size_of::<Consumer>() + 16 + 2 * size_of::<(Box<[u8]>, u64)>();
/// What a pending entry takes: in the group and with its consumer.
const NACK_BYTES: usize = size_of::<(Id, Nack)>() + size_of::<Id>();

impl Consumer {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// When it last asked for something, in milliseconds.
    #[must_use]
    pub fn seen_ms(&self) -> u64 {
        self.seen_ms
    }

    /// How many entries it owes.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// The entries that it owes, from `from` on.
    pub fn pending(&self, from: Id) -> impl Iterator<Item = Id> {
        self.pending.from(from).map(|(id, ())| id)
    }
}

impl Group {
    /// A group that has read up to `last`, which is so many entries if that is known.
    #[must_use]
    pub fn new(last: Id, read: Option<u64>) -> Self {
        Self { last, read, ..Self::default() }
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.pending.len() * NACK_BYTES + self.places.len() * CONSUMER_BYTES + self.name_bytes * 2
    }

    /// Where a consumer stands.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Place> {
        self.places.get(name).copied()
    }

    /// The consumer at a place.
    #[must_use]
    pub fn consumer(&self, place: Place) -> &Consumer {
        self.consumers[place.0 as usize].as_deref().expect(TAKEN)
    }

    /// The consumers, by name.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.places.values().map(|place| self.consumer(*place))
    }

    /// Makes a consumer that isn't there.
    pub fn add_consumer(&mut self, name: &[u8], seen_ms: u64) -> Place {
        let at = self.free.pop().unwrap_or_else(|| {
            self.consumers.push(None);
            u32::try_from(self.consumers.len() - 1).expect("memory ends before four thousand million consumers")
        });
        let new = Consumer { name: name.into(), seen_ms, pending: Pages::default() };
        self.consumers[at as usize] = Some(Arc::new(new));
        let place = Place(at);
        let former = self.places.insert(name.into(), place);
        assert!(former.is_none(), "a consumer is made once");
        self.name_bytes += name.len();
        place
    }

    /// Removes a consumer with what it owes; how many entries that were.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let place = self.places.remove(name)?;
        let consumer = self.consumers[place.0 as usize].take().expect(TAKEN);
        for id in consumer.pending(Id::MIN) {
            self.pending.remove(id);
        }
        self.name_bytes -= name.len();
        self.free.push(place.0);
        Some(consumer.pending.len())
    }

    /// A consumer asked for something.
    pub fn see(&mut self, place: Place, now_ms: u64) {
        self.consumer_mut(place).seen_ms = now_ms;
    }

    /// How many entries are pending.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// The pending entries, from `from` on.
    pub fn pending(&self, from: Id) -> impl Iterator<Item = (Id, Nack)> {
        self.pending.from(from).map(|(id, nack)| (id, *nack))
    }

    /// The first and the last pending entry.
    #[must_use]
    pub fn pending_ends(&self) -> Option<(Id, Id)> {
        Some((self.pending.first()?.0, self.pending.last()?.0))
    }

    /// A pending entry.
    #[must_use]
    pub fn nack(&self, id: Id) -> Option<Nack> {
        self.pending.get(id).copied()
    }

    /// An entry behind the last one is read.
    pub fn advance(&mut self, entries: &Entries, id: Id) {
        self.read = match self.read {
            Some(read) if !entries.has_holes_from(id) => Some(read.saturating_add(1)),
            read if entries.added() == 0 => read,
            _ => entries.added_up_to(id),
        };
        self.last = id;
    }

    /// How many entries it has yet to read, if that is known. Less than none if it was set so.
    #[must_use]
    pub fn lag(&self, entries: &Entries) -> Option<i64> {
        if entries.added() == 0 {
            return Some(0);
        }
        let read = match self.read {
            Some(read) if !entries.has_holes_from(self.last) => read,
            _ => entries.added_up_to(self.last)?,
        };
        Some(entries.added().wrapping_sub(read).cast_signed())
    }

    /// An entry is owed by this consumer from now on.
    pub fn assign(&mut self, id: Id, to: Place, at_ms: u64, count: u64) {
        let former = self.pending.insert(id, Nack { consumer: to, at_ms, count });
        match former {
            Some(former) if former.consumer == to => return,
            Some(former) => drop(self.consumer_mut(former.consumer).pending.remove(id)),
            None => {}
        }
        self.consumer_mut(to).pending.insert(id, ());
    }

    /// An entry that its consumer had before was delivered again.
    pub fn again(&mut self, id: Id, at_ms: u64) {
        let nack = self.pending.get_mut(id).expect("what a consumer owes is pending");
        (nack.at_ms, nack.count) = (at_ms, nack.count.wrapping_add(1));
    }

    /// Takes an entry off; false if it wasn't pending.
    pub fn acknowledge(&mut self, id: Id) -> bool {
        let Some(nack) = self.pending.remove(id) else { return false };
        let owed = self.consumer_mut(nack.consumer).pending.remove(id);
        assert!(owed.is_some(), "a pending entry is owed by its consumer");
        true
    }

    fn consumer_mut(&mut self, place: Place) -> &mut Consumer {
        Arc::make_mut(self.consumers[place.0 as usize].as_mut().expect(TAKEN))
    }
}

impl Nack {
    /// Who owes it.
    #[must_use]
    pub fn consumer(self) -> Place {
        self.consumer
    }
}

const TAKEN: &str = "a place that is named is taken";

/// Images.
impl Group {
    /// How many parts its image has.
    pub(super) fn part_count(&self) -> usize {
        1 + self.pending.page_count().div_ceil(PAGES_PER_PART)
    }

    /// Appends a part of its image: its head with its consumers, or some pending entries.
    pub(super) fn encode_part(&self, part: usize, out: &mut Vec<u8>) {
        let Some(part) = part.checked_sub(1) else {
            self.last.encode(out);
            put_varint(out, self.read.map_or(0, |read| read.wrapping_add(1)));
            put_varint(out, self.places.len() as u64);
            for consumer in self.consumers() {
                put_bytes(out, &consumer.name);
                put_varint(out, consumer.seen_ms);
            }
            put_varint(out, self.pending.len() as u64);
            return;
        };
        let numbers = self.numbers();
        let pages = part * PAGES_PER_PART..((part + 1) * PAGES_PER_PART).min(self.pending.page_count());
        for (id, nack) in pages.flat_map(|page| self.pending.page(page)) {
            id.encode(out);
            put_varint(out, u64::from(numbers[nack.consumer.0 as usize]));
            put_varint(out, nack.at_ms);
            put_varint(out, nack.count);
        }
    }

    /// Which in the order of names the consumer of each place is.
    fn numbers(&self) -> Vec<u32> {
        let mut numbers = vec![0; self.consumers.len()];
        for (number, place) in (0..).zip(self.places.values()) {
            numbers[place.0 as usize] = number;
        }
        numbers
    }

    /// Reads an image back.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut new = Self::new(Id::decode(reader)?, reader.varint()?.checked_sub(1));
        let mut before: Option<&[u8]> = None;
        for _ in 0..reader.varint()? {
            let name = reader.bytes()?;
            if before.is_some_and(|before| name <= before) {
                return Err(DecodeError::Unknown(name.len() as u64));
            }
            before = Some(name);
            new.add_consumer(name, reader.varint()?);
        }
        let mut before = None;
        for _ in 0..reader.varint()? {
            let id = Id::decode(reader)?;
            let consumer = u32::try_from(reader.varint()?).map_err(|_| DecodeError::Overlong)?;
            if consumer as usize >= new.consumers.len() || before.is_some_and(|before| id <= before) {
                return Err(DecodeError::Unknown(id.ms));
            }
            before = Some(id);
            new.assign(id, Place(consumer), reader.varint()?, reader.varint()?);
        }
        Ok(new)
    }

    pub(super) fn digest(&self, hasher: &mut SipHasher13) {
        let mut image = Vec::new();
        (0..self.part_count()).for_each(|part| self.encode_part(part, &mut image));
        hasher.write(&image);
    }
}
