//! Lists.

use super::{Container, kind};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// A list.
#[derive(Clone, Debug, Default)]
pub struct List {
    pub members: std::collections::VecDeque<Box<[u8]>>,
    pub bytes: usize,
}

impl Container for List {
    kind!(List);

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
        for member in &self.members {
            hasher.write_usize(member.len());
            hasher.write(member);
        }
    }

    fn encode_part(&self, _part: usize, out: &mut Vec<u8>) -> bool {
        put_varint(out, self.members.len() as u64);
        self.members.iter().for_each(|member| put_bytes(out, member));
        false
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut list = Self::default();
        for _ in 0..reader.varint()? {
            let member = reader.bytes()?;
            list.bytes += member.len();
            list.members.push_back(member.into());
        }
        Ok(list)
    }
}
