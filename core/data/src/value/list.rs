//! Lists.

use super::{Container, kind};
use crate::Blob;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use siphasher::sip::SipHasher13;
use std::collections::VecDeque;
use std::hash::Hasher;

/// One of the two ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Head,
    Tail,
}

/// A list.
#[derive(Clone, Debug, Default)]
pub struct List {
    members: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl List {
    /// Adds a member at an end.
    pub fn push(&mut self, end: End, member: &[u8]) {
        self.bytes += member.len();
        match end {
            End::Head => self.members.push_front(member.into()),
            End::Tail => self.members.push_back(member.into()),
        }
    }

    /// Takes the member at an end.
    pub fn pop(&mut self, end: End) -> Option<Blob> {
        let member = match end {
            End::Head => self.members.pop_front(),
            End::Tail => self.members.pop_back(),
        }?;
        self.bytes -= member.len();
        Some(Blob::from(&*member))
    }

    /// Up to `count` members from `start` on.
    pub fn range(&self, start: usize, count: usize) -> impl Iterator<Item = Blob> {
        self.members.iter().skip(start).take(count).map(|member| Blob::from(&**member))
    }
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
            list.push(End::Tail, reader.bytes()?);
        }
        Ok(list)
    }
}
