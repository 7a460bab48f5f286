//! What a command answers: a value, never bytes of a protocol.
//!
//! The edge that speaks to the client decides how a [`Reply`] looks on the wire. Small strings are held inline so
//! that the common GET allocates nothing; large ones share the stored bytes.

use crate::refused::Refused;
use bytes::Bytes;
use smallvec::SmallVec;

/// A reply as the command means it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`.
    Ok,
    /// Another simple string, such as PONG or QUEUED.
    Simple(&'static str),
    /// A simple string that a script has made.
    Status(Box<[u8]>),
    /// No value: a null bulk string in RESP2, null in RESP3.
    Nil,
    /// No array: a null array in RESP2 (EXEC aborted by WATCH), null in RESP3.
    NilArray,
    /// A 64-bit integer.
    Int(i64),
    /// A double: a bulk string in RESP2.
    Double(f64),
    /// A boolean: 1 or 0 in RESP2.
    Bool(bool),
    /// An integer of any size, in decimal: a bulk string in RESP2.
    BigNumber(Box<[u8]>),
    /// A binary-safe string.
    Bulk(Blob),
    /// Text of a format that three letters name, made by a script: a bulk string in RESP2.
    Formatted([u8; 3], Box<[u8]>),
    /// Text for people (INFO): a bulk string in RESP2, a verbatim `txt` string in RESP3.
    Verbatim(String),
    /// An ordered list.
    Array(Vec<Reply>),
    /// A set: an array in RESP2.
    Set(Vec<Reply>),
    /// Key and value pairs: a flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// A refusal; nothing was changed unless the error's own text says otherwise.
    Error(Refused),
    /// The leader has kept the answer since a script ran. Never leaves the lane that applies the entry.
    Kept,
    /// Answer to WATCH: what EXEC must find unchanged. Never leaves the edge.
    Watched(Vec<Watched>),
}

/// One watched key as the shard saw it: EXEC aborts if the bucket has changed since, or if the key has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    pub shard: base::ShardId,
    pub bucket: u32,
    /// How many changes the shard had seen when a key of the bucket last changed.
    pub revision: u64,
    /// When the key dies by itself, if it lived and will.
    pub dies_at: Option<base::Stamp>,
}

/// A string that is cheap to pass on: inline when small, shared when large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blob {
    Inline(SmallVec<[u8; INLINE_BYTES]>),
    Shared(Bytes),
}

/// Up to this size a [`Blob`] needs no allocation.
pub const INLINE_BYTES: usize = 112;

impl Blob {
    /// The string's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self::Inline(SmallVec::from_slice(bytes))
    }
}

impl Reply {
    /// A bulk string with a copy of `bytes`.
    #[must_use]
    pub fn bulk(bytes: &[u8]) -> Self {
        Self::Bulk(Blob::from(bytes))
    }

    /// A bulk string with the text of `value`.
    #[must_use]
    pub fn text(value: impl std::fmt::Display) -> Self {
        Self::bulk(value.to_string().as_bytes())
    }

    /// A count as an integer.
    #[must_use]
    pub fn count(n: usize) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<Result<Reply, Refused>> for Reply {
    fn from(outcome: Result<Reply, Refused>) -> Self {
        outcome.unwrap_or_else(Reply::Error)
    }
}
