//! Consumer groups.

use super::Id;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub last: Id,
    pub read: Option<u64>,
    pub pending: BTreeMap<Id, Nack>,
    pub consumers: BTreeMap<Box<[u8]>, Consumer>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Debug)]
pub struct Nack {
    pub consumer: Box<[u8]>,
    pub time: u64,
    pub count: u64,
}

/// One who reads for its group.
#[derive(Clone, Debug, Default)]
pub struct Consumer {
    pub seen: u64,
    pub pending: BTreeSet<Id>,
}

impl Group {
    /// Delivers an entry to a consumer that is there.
    pub fn deliver(&mut self, consumer: &[u8], id: Id, time: u64) {
        if let Some(old) = self.pending.insert(id, Nack { consumer: consumer.into(), time, count: 1 })
            && let Some(former) = self.consumers.get_mut(&old.consumer)
        {
            former.pending.remove(&id);
        }
        self.consumers.get_mut(consumer).expect("the consumer is there").pending.insert(id);
    }

    /// Takes an entry off; false if it wasn't pending.
    pub fn acknowledge(&mut self, id: Id) -> bool {
        let Some(nack) = self.pending.remove(&id) else { return false };
        self.consumers.get_mut(&nack.consumer).expect("a pending entry has a consumer").pending.remove(&id);
        true
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.last.ms);
        put_varint(out, self.last.seq);
        put_varint(out, self.read.map_or(0, |read| read + 1));
        put_varint(out, self.consumers.len() as u64);
        for (name, consumer) in &self.consumers {
            put_bytes(out, name);
            put_varint(out, consumer.seen);
        }
        put_varint(out, self.pending.len() as u64);
        for (id, nack) in &self.pending {
            put_varint(out, id.ms);
            put_varint(out, id.seq);
            put_bytes(out, &nack.consumer);
            put_varint(out, nack.time);
            put_varint(out, nack.count);
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let last = Id::new(reader.varint()?, reader.varint()?);
        let mut new = Self { last, read: reader.varint()?.checked_sub(1), ..Self::default() };
        for _ in 0..reader.varint()? {
            let name = reader.bytes()?;
            new.consumers.insert(name.into(), Consumer { seen: reader.varint()?, pending: BTreeSet::new() });
        }
        for _ in 0..reader.varint()? {
            let id = Id::new(reader.varint()?, reader.varint()?);
            let (consumer, time, count) = (reader.bytes()?, reader.varint()?, reader.varint()?);
            new.consumers.get_mut(consumer).ok_or(DecodeError::Unknown(0))?.pending.insert(id);
            new.pending.insert(id, Nack { consumer: consumer.into(), time, count });
        }
        Ok(new)
    }
}
