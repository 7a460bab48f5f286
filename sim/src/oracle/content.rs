//! What a key of the model holds, by type: plain collections, in no clever form.

use super::{hashes, lists, sets, streams, zsets};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Str(Vec<u8>),
    List(lists::List),
    Hash(hashes::Hash),
    Set(sets::Set),
    Zset(zsets::Zset),
    Stream(streams::Stream),
}

impl Content {
    /// The bytes of a string; the caller has looked at the type.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Str(bytes) => bytes.clone(),
            other => unreachable!("{other:?} is no string: the type was looked at"),
        }
    }

    pub(crate) fn is_string(&self) -> bool {
        matches!(self, Self::Str(_))
    }

    /// The name that TYPE tells.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Str(_) => "string",
            Self::List(_) => "list",
            Self::Hash(_) => "hash",
            Self::Set(_) => "set",
            Self::Zset(_) => "zset",
            Self::Stream(_) => "stream",
        }
    }

    pub(crate) fn goes_when_empty(&self) -> bool {
        match self {
            Self::Str(_) | Self::Stream(_) => false,
            Self::List(inner) => inner.is_empty(),
            Self::Hash(inner) => inner.is_empty(),
            Self::Set(inner) => inner.is_empty(),
            Self::Zset(inner) => inner.is_empty(),
        }
    }
}
