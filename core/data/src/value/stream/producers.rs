//! What was added to a stream under which name, so that a producer that doesn't know whether an entry arrived may add it
//! again: Redis 8.6's idempotent production.
//!
//! A producer's names are forgotten after some time, or when it has given too many newer ones. The producer that has been
//! quiet longest is looked at whenever anybody adds: so the quiet ones go, at a bounded cost.

use super::Id;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hasher;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub struct Producers {
    duration_s: u64,
    size_max: u64,
    /// How many entries were ever added under a name, and how many were not since they had been.
    added: u64,
    duplicates: u64,
    by_name: BTreeMap<Box<[u8]>, Arc<Producer>>,
    /// By the last entry that each has added.
    by_use: BTreeMap<Id, Box<[u8]>>,
    tracked: usize,
    bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Producer {
    /// By name: the entry, and when it was added in milliseconds.
    known: BTreeMap<Box<[u8]>, (Id, u64)>,
    /// The names in the order of their entries.
    order: VecDeque<Box<[u8]>>,
    last: Id,
    bytes: usize,
}

/// Whether an entry was added before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// As this one.
    As(Id),
    No,
}

/// Seconds for which names are kept.
pub const DURATION_S: RangeInclusive<u64> = 1..=86_400;
/// How many names of a producer are kept.
pub const SIZE: RangeInclusive<u64> = 1..=10_000;
const DURATION_S_DEFAULT: u64 = 100;
const SIZE_DEFAULT: u64 = 100;
/// So many producers are looked at whenever anybody adds: more than can come.
const QUIET_PER_ADD: usize = 2;
/// What a name takes besides its bytes, which are there twice.
const NAME_BYTES: usize = 2 * size_of::<Box<[u8]>>() + size_of::<(Id, u64)>();
/// What a producer takes besides its name, which is there twice, and its names.
const PRODUCER_BYTES: usize = size_of::<Producer>() + 64;
/// So many producers are a part of an image.
const PRODUCERS_PER_PART: usize = 16;

impl Default for Producers {
    fn default() -> Self {
        Self {
            duration_s: DURATION_S_DEFAULT,
            size_max: SIZE_DEFAULT,
            added: 0,
            duplicates: 0,
            by_name: BTreeMap::new(),
            by_use: BTreeMap::new(),
            tracked: 0,
            bytes: 0,
        }
    }
}

impl Producers {
    /// For how many seconds a name is kept, and how many of each producer.
    #[must_use]
    pub fn limits(&self) -> (u64, u64) {
        (self.duration_s, self.size_max)
    }

    /// Sets both limits, which are within their ranges. Other limits than before forget all names.
    pub fn set_limits(&mut self, duration_s: u64, size_max: u64) {
        if (duration_s, size_max) != self.limits() {
            let Self { added, duplicates, .. } = *self;
            *self = Self { duration_s, size_max, added, duplicates, ..Self::default() };
        }
    }

    /// How many producers and names are remembered.
    #[must_use]
    pub fn tracked(&self) -> (usize, usize) {
        (self.by_name.len(), self.tracked)
    }

    /// How many entries were ever added under a name, and how many were not since they had been.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.added, self.duplicates)
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    /// Whether a producer has added an entry of this name lately.
    #[must_use]
    pub fn look(&self, producer: &[u8], name: &[u8], now_ms: u64) -> Known {
        match self.by_name.get(producer).and_then(|its| its.known.get(name)) {
            Some((id, at_ms)) if !self.is_over(*at_ms, now_ms) => Known::As(*id),
            _ => Known::No,
        }
    }

    /// An entry was not added again.
    pub fn count_duplicate(&mut self) {
        self.duplicates = self.duplicates.saturating_add(1);
    }

    /// A producer has added an entry under a name that is not known.
    pub fn record(&mut self, producer: &[u8], name: &[u8], id: Id, now_ms: u64) {
        self.forget_quiet(now_ms);
        let mut of = self.take(producer).unwrap_or_default();
        let its = Arc::make_mut(&mut of);
        while its.first_at().is_some_and(|at_ms| self.is_over(at_ms, now_ms)) {
            its.forget_first();
        }
        its.push(name, id, now_ms);
        if its.order.len() as u64 > self.size_max {
            its.forget_first();
        }
        its.last = id;
        self.put(producer, of);
        self.added = self.added.saturating_add(1);
    }

    fn is_over(&self, at_ms: u64, now_ms: u64) -> bool {
        at_ms.saturating_add(self.duration_s * 1000) <= now_ms
    }

    /// Forgets producers all of whose names are over.
    fn forget_quiet(&mut self, now_ms: u64) {
        for _ in 0..QUIET_PER_ADD {
            let Some((_, name)) = self.by_use.first_key_value() else { return };
            if self.by_name.get(name).and_then(|its| its.last_at()).is_some_and(|at_ms| !self.is_over(at_ms, now_ms)) {
                return;
            }
            let name = name.clone();
            self.take(&name);
        }
    }

    fn take(&mut self, name: &[u8]) -> Option<Arc<Producer>> {
        let its = self.by_name.remove(name)?;
        self.by_use.remove(&its.last);
        self.tracked -= its.order.len();
        self.bytes -= its.bytes + PRODUCER_BYTES + name.len() * 2;
        Some(its)
    }

    fn put(&mut self, name: &[u8], its: Arc<Producer>) {
        // XSETID can lead back to an ID that was given before: who gave it is forgotten.
        if let Some(other) = self.by_use.get(&its.last).cloned() {
            self.take(&other);
        }
        self.tracked += its.order.len();
        self.bytes += its.bytes + PRODUCER_BYTES + name.len() * 2;
        self.by_use.insert(its.last, name.into());
        self.by_name.insert(name.into(), its);
    }
}

impl Producer {
    fn first_at(&self) -> Option<u64> {
        self.known.get(self.order.front()?).map(|(_, at_ms)| *at_ms)
    }

    fn last_at(&self) -> Option<u64> {
        self.known.get(self.order.back()?).map(|(_, at_ms)| *at_ms)
    }

    /// Adds a name that isn't there.
    fn push(&mut self, name: &[u8], id: Id, at_ms: u64) {
        self.known.insert(name.into(), (id, at_ms));
        self.order.push_back(name.into());
        self.bytes += name.len() * 2 + NAME_BYTES;
    }

    fn forget_first(&mut self) {
        if let Some(name) = self.order.pop_front() {
            self.known.remove(&name);
            self.bytes -= name.len() * 2 + NAME_BYTES;
        }
    }
}

/// Images: a head, then some producers in each part.
impl Producers {
    pub(super) fn part_count(&self) -> usize {
        1 + self.by_name.len().div_ceil(PRODUCERS_PER_PART)
    }

    pub(super) fn encode_part(&self, part: usize, out: &mut Vec<u8>) {
        let Some(part) = part.checked_sub(1) else {
            for number in [self.duration_s, self.size_max, self.added, self.duplicates, self.by_name.len() as u64] {
                put_varint(out, number);
            }
            return;
        };
        for (name, its) in self.by_name.iter().skip(part * PRODUCERS_PER_PART).take(PRODUCERS_PER_PART) {
            put_bytes(out, name);
            its.last.encode(out);
            put_varint(out, its.order.len() as u64);
            for name in &its.order {
                let (id, at_ms) = its.known.get(name).copied().expect("what is in order is known");
                put_bytes(out, name);
                id.encode(out);
                put_varint(out, at_ms);
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (duration_s, size_max) = (reader.varint()?, reader.varint()?);
        if !DURATION_S.contains(&duration_s) || !SIZE.contains(&size_max) {
            return Err(DecodeError::Unknown(duration_s));
        }
        let (added, duplicates) = (reader.varint()?, reader.varint()?);
        let mut new = Self { duration_s, size_max, added, duplicates, ..Self::default() };
        for _ in 0..reader.varint()? {
            let name = reader.bytes()?;
            let its = Producer::decode(reader, size_max)?;
            if new.by_name.contains_key(name) || new.by_use.contains_key(&its.last) {
                return Err(DecodeError::Unknown(its.last.ms));
            }
            new.put(name, Arc::new(its));
        }
        Ok(new)
    }

    pub(super) fn digest(&self, hasher: &mut SipHasher13) {
        let mut image = Vec::new();
        (0..self.part_count()).for_each(|part| self.encode_part(part, &mut image));
        hasher.write(&image);
    }
}

impl Producer {
    fn decode(reader: &mut Reader<'_>, size_max: u64) -> Result<Self, DecodeError> {
        let mut new = Self { last: Id::decode(reader)?, ..Self::default() };
        let count = reader.varint()?;
        if count == 0 || count > size_max {
            return Err(DecodeError::Unknown(count));
        }
        for _ in 0..count {
            let (name, id, at_ms) = (reader.bytes()?, Id::decode(reader)?, reader.varint()?);
            if new.known.contains_key(name) || new.last_at().is_some_and(|before| at_ms < before) {
                return Err(DecodeError::Unknown(at_ms));
            }
            new.push(name, id, at_ms);
        }
        Ok(new)
    }
}
