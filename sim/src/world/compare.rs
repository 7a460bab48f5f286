//! Whether the shard holds what the model holds.

use crate::oracle::Content;
use data::keyspace::Value;
use data::value::{Container, End, List, Object};

/// True if both are the same value.
pub(super) fn alike(found: Value<'_>, expected: &Content) -> bool {
    match (found, expected) {
        (Value::Str(found), Content::Str(expected)) => found == expected,
        (Value::Large(found), Content::Str(expected)) => found == expected,
        (Value::Other(Object::List(found)), Content::List(expected)) => lists_are_alike(found, expected),
        _ => false,
    }
}

/// The same members, from both sides.
fn lists_are_alike(found: &List, expected: &std::collections::VecDeque<Vec<u8>>) -> bool {
    let bytes = |member: data::value::Member<'_>| member.read(<[u8]>::to_vec);
    found.len() == expected.len()
        && found.walk(End::Head, 0).map(bytes).eq(expected.iter().cloned())
        && found.walk(End::Tail, 0).map(bytes).eq(expected.iter().rev().cloned())
}
