//! Whether the shard holds what the model holds.

use crate::oracle::Content;
use data::keyspace::Value;

/// True if both are the same value.
pub(super) fn alike(found: Value<'_>, expected: &Content) -> bool {
    match (found, expected) {
        (Value::Str(found), Content::Str(expected)) => found == expected,
        (Value::Large(found), Content::Str(expected)) => found == expected,
        _ => false,
    }
}
