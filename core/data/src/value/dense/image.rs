//! The image of members, and their part of a sum over the state.
//!
//! ```text
//! seed of the index, 0 without one: varint | count: varint | words, each: length varint, bytes
//! ```

use super::{Dense, Word};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Members in one part of an image.
const PART_COUNT: usize = 8;

impl<const WORDS: usize> Dense<WORDS> {
    /// Adds the members, in their order, to a sum.
    pub(in crate::value) fn digest(&self, hasher: &mut SipHasher13) {
        hasher.write_usize(self.len());
        for word in self.members(0..self.len()).flatten() {
            word.read(|text| {
                hasher.write_usize(text.len());
                hasher.write(text);
            });
        }
    }

    /// Appends the `part`th part of the image; true if more follow.
    pub(in crate::value) fn encode_part(&self, part: usize, out: &mut Vec<u8>) -> bool {
        if part == 0 {
            put_varint(out, self.seed().unwrap_or(0));
            put_varint(out, self.len() as u64);
        }
        let from = part * PART_COUNT;
        let end = self.len().min(from + PART_COUNT);
        for word in self.members(from..end).flatten() {
            word.read(|text| put_bytes(out, text));
        }
        end < self.len()
    }

    /// Reads an image back. There is at least one member, and none twice.
    pub(in crate::value) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (seed, count) = (reader.varint()?, reader.varint()?);
        let mut new = Self::default();
        for _ in 0..count {
            let mut texts = [b"".as_slice(); WORDS];
            for text in &mut texts {
                *text = reader.bytes()?;
            }
            if !new.put(&texts.map(Word::of), seed) {
                return Err(DecodeError::Overlong);
            }
        }
        if new.is_empty() { Err(DecodeError::Truncated) } else { Ok(new) }
    }
}
