//! Streams as bytes: a head, the pages of the log, each group, each producer.

use super::{Group, Id, Producers, Stream};
use crate::value::{Container, kind};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

impl Container for Stream {
    kind!(Stream);

    const STAYS_EMPTY: bool = true;

    fn is_empty(&self) -> bool {
        self.log().is_empty()
    }

    fn len(&self) -> usize {
        self.log().len()
    }

    fn bytes(&self) -> usize {
        let producers = self.producers().map_or(0, Producers::bytes);
        size_of::<Self>() + self.log().bytes() + self.group_bytes + producers
    }

    fn digest(&self, hasher: &mut SipHasher13) {
        let mut head = Vec::new();
        self.encode_marks(&mut head);
        hasher.write(&head);
        hasher.write_usize(self.len());
        self.log().digest(hasher);
        hasher.write_usize(self.groups.len());
        for (name, group) in &self.groups {
            hasher.write_usize(name.len());
            hasher.write(name);
            group.digest(hasher);
        }
        if let Some(producers) = self.producers() {
            producers.digest(hasher);
        }
    }

    fn encode_part(&self, part: usize, out: &mut Vec<u8>) -> bool {
        let groups = self.groups.values().map(|group| group.part_count()).sum::<usize>();
        let counts = [1, self.log().part_count(), groups, self.producers().map_or(0, Producers::part_count)];
        let mut at = part;
        for (kind, count) in counts.into_iter().enumerate() {
            if at < count {
                match kind {
                    0 => self.encode_head(out),
                    1 => self.log().encode_part(at, out),
                    2 => self.encode_group_part(at, out),
                    _ => self.producers().expect("it has parts").encode_part(at, out),
                }
                break;
            }
            at -= count;
        }
        part + 1 < counts.iter().sum()
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut new = Self::default();
        let entries = &mut new.entries;
        (entries.last, entries.deleted_max, entries.added) =
            (Id::decode(reader)?, Id::decode(reader)?, reader.varint()?);
        let (log_parts, groups, has_producers) = (reader.varint()?, reader.varint()?, reader.u8()?);
        let mut after = None;
        for _ in 0..log_parts {
            entries.log.decode_part(reader, &mut after)?;
        }
        if entries.log.last().is_some_and(|last| last > entries.last) {
            return Err(DecodeError::Unknown(entries.last.ms));
        }
        for _ in 0..groups {
            let name = reader.bytes()?;
            if new.groups.last_key_value().is_some_and(|(before, _)| *name <= **before) {
                return Err(DecodeError::Unknown(name.len() as u64));
            }
            new.add_group(name, Group::decode(reader)?);
        }
        new.producers = match has_producers {
            0 => None,
            1 => Some(Box::new(Producers::decode(reader)?)),
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        Ok(new)
    }
}

impl Stream {
    fn encode_marks(&self, out: &mut Vec<u8>) {
        self.entries.last.encode(out);
        self.entries.deleted_max.encode(out);
        put_varint(out, self.entries.added);
    }

    fn encode_head(&self, out: &mut Vec<u8>) {
        self.encode_marks(out);
        put_varint(out, self.log().part_count() as u64);
        put_varint(out, self.groups.len() as u64);
        out.push(u8::from(self.producers.is_some()));
    }

    fn encode_group_part(&self, mut part: usize, out: &mut Vec<u8>) {
        for (name, group) in &self.groups {
            let count = group.part_count();
            if part < count {
                if part == 0 {
                    put_bytes(out, name);
                }
                return group.encode_part(part, out);
            }
            part -= count;
        }
    }
}
