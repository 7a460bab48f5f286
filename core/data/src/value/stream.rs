//! Streams.

use super::{Container, kind};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// A member and what belongs to it.
type Member = (Box<[u8]>, Box<[u8]>);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    members: Vec<Member>,
    bytes: usize,
}

impl Container for Stream {
    kind!(Stream);

    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn len(&self) -> usize {
        self.members.len()
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn digest(&self, hasher: &mut SipHasher13) {
        for (member, value) in &self.members {
            hasher.write_usize(member.len());
            hasher.write(member);
            hasher.write_usize(value.len());
            hasher.write(value);
        }
    }

    fn encode_part(&self, _part: usize, out: &mut Vec<u8>) -> bool {
        put_varint(out, self.members.len() as u64);
        for (member, value) in &self.members {
            put_bytes(out, member);
            put_bytes(out, value);
        }
        false
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut new = Self::default();
        for _ in 0..reader.varint()? {
            let (member, value) = (reader.bytes()?, reader.bytes()?);
            new.bytes += member.len() + value.len();
            new.members.push((member.into(), value.into()));
        }
        Ok(new)
    }
}
