//! Hashes: fields and their values.

use super::dense::{Dense, Members};
use super::{Container, Word, kind};
use base::codec::{DecodeError, Reader};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use std::ops::Range;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Hash {
    fields: Dense<2>,
    /// It has outgrown what Redis keeps in a listpack, at some time: then OBJECT ENCODING and HSCAN tell.
    grown: bool,
}

const _: () = assert!(size_of::<Hash>() == 32, "each small hash pays for it");

/// Redis' `hash-max-listpack-entries` and `hash-max-listpack-value`, as they are by default.
pub(super) const LISTPACK_COUNT_MAX: usize = 512;
pub(super) const LISTPACK_BYTES_MAX: usize = 64;

/// What stands before the image.
const LISTPACK: u8 = 0;
const HASHTABLE: u8 = 1;

impl Hash {
    /// The value of a field.
    #[must_use]
    pub fn get(&self, field: &[u8]) -> Option<Word<'_>> {
        self.fields.get(Word::of(field)).map(|[_, value]| value)
    }

    /// True if it has the field.
    #[must_use]
    pub fn contains(&self, field: &[u8]) -> bool {
        self.fields.find(Word::of(field)).is_some()
    }

    /// Sets a field; true if it is new. `seed` is [`crate::Keyspace::index_seed`].
    pub fn set(&mut self, field: &[u8], value: &[u8], seed: u64) -> bool {
        let new = self.fields.put(&[Word::of(field), Word::of(value)], seed);
        let longest = field.len().max(value.len());
        self.grown |= longest > LISTPACK_BYTES_MAX || self.fields.len() > LISTPACK_COUNT_MAX;
        new
    }

    /// Removes a field; true if it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        self.fields.remove(Word::of(field))
    }

    /// The fields and values at these places of its order, which the commands alone decide.
    pub fn fields(&self, range: Range<usize>) -> impl ExactSizeIterator<Item = (Word<'_>, Word<'_>)> {
        let members: Members<'_, 2> = self.fields.members(range);
        members.map(|[field, value]| (field, value))
    }

    /// The name that OBJECT ENCODING tells.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        if self.grown { "hashtable" } else { "listpack" }
    }

    /// True if a scan returns all at once, as in Redis.
    #[must_use]
    pub fn scans_at_once(&self) -> bool {
        !self.grown
    }
}

impl Container for Hash {
    kind!(Hash);

    fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    fn len(&self) -> usize {
        self.fields.len()
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.fields.bytes()
    }

    fn digest(&self, hasher: &mut SipHasher13) {
        hasher.write_u8(u8::from(self.grown));
        self.fields.digest(hasher);
    }

    fn encode_part(&self, part: usize, out: &mut Vec<u8>) -> bool {
        if part == 0 {
            out.push(if self.grown { HASHTABLE } else { LISTPACK });
        }
        self.fields.encode_part(part, out)
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let grown = match reader.u8()? {
            LISTPACK => false,
            HASHTABLE => true,
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        let fields = Dense::decode(reader)?;
        let short = |word: Word<'_>| word.len() <= LISTPACK_BYTES_MAX;
        let fits = || fields.len() <= LISTPACK_COUNT_MAX && fields.members(0..fields.len()).flatten().all(short);
        if grown || fits() { Ok(Self { fields, grown }) } else { Err(DecodeError::Overlong) }
    }
}
