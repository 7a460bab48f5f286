//! Streams.

mod group;
mod id;
mod log;

use super::{Container, kind};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
pub use group::{Consumer, Group, Nack};
pub use id::Id;
pub use log::{Entry, Log};
use siphasher::sip::SipHasher13;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub log: Log,
    pub groups: BTreeMap<Box<[u8]>, Arc<Group>>,
    pub last: Id,
    pub deleted_max: Id,
    pub added: u64,
}

impl Stream {
    /// Appends an entry; its ID is larger than the last one's.
    pub fn add(&mut self, id: Id, fields: &[&[u8]]) {
        assert!(id > self.last, "IDs grow");
        self.log.push(id, fields);
        self.last = id;
        self.added += 1;
    }

    /// A group, to be changed.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.groups.get_mut(name).map(Arc::make_mut)
    }
}

impl Container for Stream {
    kind!(Stream);

    const STAYS_EMPTY: bool = true;

    fn is_empty(&self) -> bool {
        self.log.len() == 0
    }

    fn len(&self) -> usize {
        self.log.len()
    }

    fn bytes(&self) -> usize {
        self.log.bytes()
    }

    fn digest(&self, hasher: &mut SipHasher13) {
        let mut image = Vec::new();
        self.encode_part(0, &mut image);
        hasher.write(&image);
    }

    fn encode_part(&self, _part: usize, out: &mut Vec<u8>) -> bool {
        for id in [self.last, self.deleted_max] {
            put_varint(out, id.ms);
            put_varint(out, id.seq);
        }
        put_varint(out, self.added);
        put_varint(out, self.log.len() as u64);
        for entry in self.log.range(Id::MIN, Id::MAX) {
            put_varint(out, entry.id.ms);
            put_varint(out, entry.id.seq);
            put_varint(out, entry.fields().count() as u64);
            entry.fields().for_each(|field| put_bytes(out, field));
        }
        put_varint(out, self.groups.len() as u64);
        for (name, group) in &self.groups {
            put_bytes(out, name);
            group.encode(out);
        }
        false
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut new = Self::default();
        let id = |reader: &mut Reader<'_>| Ok::<_, DecodeError>(Id::new(reader.varint()?, reader.varint()?));
        let last = id(reader)?;
        new.deleted_max = id(reader)?;
        let added = reader.varint()?;
        for _ in 0..reader.varint()? {
            let id = id(reader)?;
            let mut fields = Vec::new();
            for _ in 0..reader.varint()? {
                fields.push(reader.bytes()?);
            }
            if id <= new.last {
                return Err(DecodeError::Unknown(id.ms));
            }
            new.add(id, &fields);
        }
        for _ in 0..reader.varint()? {
            let name = reader.bytes()?;
            new.groups.insert(name.into(), Arc::new(Group::decode(reader)?));
        }
        (new.last, new.added) = (last, added);
        Ok(new)
    }
}
