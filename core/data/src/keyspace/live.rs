//! A key that lives, as commands see it.

use crate::value::Object;
use crate::{Blob, Refused};
use base::Stamp;
use bytes::Bytes;

/// A live key as commands see it.
#[derive(Clone, Copy, Debug)]
pub struct Live<'a> {
    pub key: &'a [u8],
    pub expire_at: Option<Stamp>,
    pub value: Value<'a>,
}

/// A value by its type.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    Str(&'a [u8]),
    /// A large string, to be shared.
    Large(&'a Bytes),
    /// A value of another type.
    Other(&'a Object),
}

impl<'a> Value<'a> {
    /// The bytes, if it is a string.
    pub fn string(self) -> Result<&'a [u8], Refused> {
        match self {
            Self::Str(bytes) => Ok(bytes),
            Self::Large(bytes) => Ok(bytes),
            Self::Other(_) => Err(Refused::WrongType),
        }
    }

    /// The string for a reply: small ones copied, large ones shared.
    pub fn blob(self) -> Result<Blob, Refused> {
        match self {
            Self::Str(bytes) => Ok(Blob::from(bytes)),
            Self::Large(bytes) => Ok(Blob::Shared(bytes.clone())),
            Self::Other(_) => Err(Refused::WrongType),
        }
    }

    /// The name that TYPE tells.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Str(_) | Self::Large(_) => "string",
            Self::Other(object) => object.type_name(),
        }
    }
}
