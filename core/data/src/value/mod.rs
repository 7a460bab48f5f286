//! Values that are more than one string: one file per type.
//!
//! A container keeps its members in an order that depends on its commands alone, never on capacity or addresses, so that
//! chance picks the same member on every replica. To clone one is cheap: its members stand in shared chunks that are copied
//! when they change. That is how a snapshot and a script keep the state of before.

mod dense;
pub mod hash;
pub mod list;
pub mod set;
pub mod stream;
pub mod zset;

use base::codec::{DecodeError, Reader, put_varint};
use bytes::Bytes;
pub use dense::Word;
pub use hash::Hash;
pub use list::{End, List};
pub use set::Set;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;
pub use stream::Stream;
pub use zset::Zset;

/// Redis' options that say which encoding OBJECT ENCODING tells, as they are here for good.
pub const ENCODING_OPTIONS: [(&str, usize); 5] = [
    ("hash-max-listpack-entries", hash::LISTPACK_COUNT_MAX),
    ("hash-max-listpack-value", hash::LISTPACK_BYTES_MAX),
    ("set-max-intset-entries", set::INT_COUNT_MAX),
    ("zset-max-listpack-entries", zset::SMALL_COUNT_MAX),
    ("zset-max-listpack-value", zset::SMALL_MEMBER_BYTES_MAX),
];

/// A type of values that a key can hold besides small strings.
pub trait Container: Clone + Default + std::fmt::Debug + Into<Object> {
    /// The container in a value, if it is of this type.
    fn of(object: &Object) -> Option<&Self>;

    /// The same, to be changed.
    fn of_mut(object: &mut Object) -> Option<&mut Self>;

    /// True if nothing is in it: then its key goes, unless [`Container::STAYS_EMPTY`].
    fn is_empty(&self) -> bool;

    /// How many members it has.
    fn len(&self) -> usize;

    /// Bytes of memory that it takes, as far as it knows at no cost.
    fn bytes(&self) -> usize;

    /// Adds its content, in its order, to a sum over the state.
    fn digest(&self, hasher: &mut SipHasher13);

    /// Appends the `part`th part of its image, some ten KiB, to `out`; true if more parts follow. The parts in their order are
    /// what [`Container::decode`] reads.
    fn encode_part(&self, part: usize, out: &mut Vec<u8>) -> bool;

    /// Reads an image back; every invariant is checked, for the bytes may come from elsewhere.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// True if its key stays when it is empty.
    const STAYS_EMPTY: bool = false;
}

/// A value that stands apart from its key.
#[derive(Clone, Debug)]
pub enum Object {
    Str(Box<Bytes>),
    List(Box<List>),
    Hash(Box<Hash>),
    Set(Box<Set>),
    Zset(Box<Zset>),
    Stream(Box<Stream>),
}

const _: () = assert!(size_of::<Option<Object>>() == 16, "each key of a small container pays for it");

impl From<Bytes> for Object {
    fn from(bytes: Bytes) -> Self {
        Self::Str(Box::new(bytes))
    }
}

/// Runs `$body` with `$inner` bound to the container of an [`Object`], or `$string` for a string.
macro_rules! each {
    ($object:expr, $bytes:ident => $string:expr, $inner:ident => $body:expr) => {
        match $object {
            Object::Str($bytes) => $string,
            Object::List($inner) => $body,
            Object::Hash($inner) => $body,
            Object::Set($inner) => $body,
            Object::Zset($inner) => $body,
            Object::Stream($inner) => $body,
        }
    };
}

/// What stands before the image of a value; part of the format.
const STR: u8 = 0;
const LIST: u8 = 1;
const SET: u8 = 2;
const ZSET: u8 = 3;
const HASH: u8 = 4;
const STREAM: u8 = 5;

/// Values with more members, or more bytes, are dropped where nobody waits.
const LARGE_COUNT: usize = 64;
const LARGE_BYTES: usize = 256 * 1024;

impl Object {
    /// The name that TYPE tells.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Str(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::Zset(_) => "zset",
            Self::Stream(_) => "stream",
        }
    }

    /// The name that OBJECT ENCODING tells: what Redis would hold it as, since clients ask.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match self {
            Self::Str(_) => "raw",
            Self::List(_) => "quicklist",
            Self::Hash(inner) => inner.encoding(),
            Self::Set(inner) => inner.encoding(),
            Self::Zset(inner) => inner.encoding(),
            Self::Stream(_) => "stream",
        }
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        each!(self, bytes => bytes.len(), inner => inner.bytes())
    }

    /// True if dropping it takes its time.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.bytes() > LARGE_BYTES || each!(self, _bytes => false, inner => inner.len() > LARGE_COUNT)
    }

    /// True if its key goes when there is nothing in it, and there isn't.
    pub(crate) fn goes_when_empty(&self) -> bool {
        match self {
            Self::Str(_) | Self::Stream(_) => false,
            Self::List(inner) => inner.is_empty(),
            Self::Hash(inner) => inner.is_empty(),
            Self::Set(inner) => inner.is_empty(),
            Self::Zset(inner) => inner.is_empty(),
        }
    }

    pub(crate) fn digest(&self, hasher: &mut SipHasher13) {
        if let Self::Str(bytes) = self {
            return Self::digest_string(bytes, hasher);
        }
        hasher.write_u8(self.tag());
        each!(self, _bytes => {}, inner => inner.digest(hasher));
    }

    pub(crate) fn digest_string(bytes: &[u8], hasher: &mut SipHasher13) {
        hasher.write_u8(STR);
        hasher.write_usize(bytes.len());
        hasher.write(bytes);
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Str(_) => STR,
            Self::List(_) => LIST,
            Self::Hash(_) => HASH,
            Self::Set(_) => SET,
            Self::Zset(_) => ZSET,
            Self::Stream(_) => STREAM,
        }
    }

    /// Appends a part of its image; see [`Container::encode_part`].
    pub fn encode_part(&self, part: usize, out: &mut Vec<u8>) -> bool {
        if part == 0 {
            out.push(self.tag());
        }
        each!(self, bytes => {
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
            false
        }, inner => inner.encode_part(part, out))
    }

    /// Reads an image back.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            STR => Bytes::copy_from_slice(reader.bytes()?).into(),
            LIST => List::decode(reader)?.into(),
            SET => Set::decode(reader)?.into(),
            ZSET => Zset::decode(reader)?.into(),
            HASH => Hash::decode(reader)?.into(),
            STREAM => Stream::decode(reader)?.into(),
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }
}

/// The parts of [`Container`] that only name the type.
macro_rules! kind {
    ($kind:ident) => {
        fn of(object: &$crate::value::Object) -> Option<&Self> {
            if let $crate::value::Object::$kind(inner) = object { Some(inner) } else { None }
        }

        fn of_mut(object: &mut $crate::value::Object) -> Option<&mut Self> {
            if let $crate::value::Object::$kind(inner) = object { Some(inner) } else { None }
        }
    };
}
pub(crate) use kind;

macro_rules! into_object {
    ($($kind:ident),*) => {
        $(impl From<$kind> for Object {
            fn from(inner: $kind) -> Self {
                Self::$kind(Box::new(inner))
            }
        })*
    };
}
into_object!(List, Hash, Set, Zset, Stream);
