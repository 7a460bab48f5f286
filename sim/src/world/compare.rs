//! Whether the shard holds what the model holds.

mod streams;

use crate::oracle::Content;
use data::keyspace::Value;
use data::value::{Container, End, List, Object, Word, Zset};

/// True if both are the same value.
pub(super) fn alike(found: Value<'_>, expected: &Content) -> bool {
    match (found, expected) {
        (Value::Str(found), Content::Str(expected)) => found == expected,
        (Value::Large(found), Content::Str(expected)) => found == expected,
        (Value::Other(Object::List(found)), Content::List(expected)) => lists_are_alike(found, expected),
        (Value::Other(Object::Hash(found)), Content::Hash(expected)) => {
            let same = |(field, value): (Word<'_>, Word<'_>)| expected.get(&bytes(field)) == Some(&bytes(value));
            let found_by_name = expected.keys().all(|field| found.contains(field));
            found.len() == expected.len() && found_by_name && found.fields(0..found.len()).all(same)
        }
        (Value::Other(Object::Set(found)), Content::Set(expected)) => {
            let found_by_name = expected.iter().all(|member| found.contains(Word::of(member)));
            let same = found.members(0..found.len()).all(|member| expected.contains(&bytes(member)));
            found.len() == expected.len() && found_by_name && same
        }
        (Value::Other(Object::Zset(found)), Content::Zset(expected)) => zsets_are_alike(found, expected),
        (Value::Other(Object::Stream(found)), Content::Stream(expected)) => streams::are_alike(found, expected),
        _ => false,
    }
}

fn bytes(word: Word<'_>) -> Vec<u8> {
    word.read(<[u8]>::to_vec)
}

/// The same members, from both sides.
fn lists_are_alike(found: &List, expected: &std::collections::VecDeque<Vec<u8>>) -> bool {
    found.len() == expected.len()
        && found.walk(End::Head, 0).map(bytes).eq(expected.iter().cloned())
        && found.walk(End::Tail, 0).map(bytes).eq(expected.iter().rev().cloned())
}

/// The same members in the order of their scores, each found by name too.
fn zsets_are_alike(found: &Zset, expected: &std::collections::BTreeMap<Vec<u8>, f64>) -> bool {
    let mut sorted: Vec<(f64, &[u8])> = expected.iter().map(|(member, score)| (*score, member.as_slice())).collect();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("a score is a number"));
    let by_name = sorted.iter().enumerate();
    let mut by_name =
        by_name.map(|(rank, (score, member))| (found.score(member), found.rank(member)) == (Some(*score), Some(rank)));
    found.len() == sorted.len()
        && by_name.all(|same| same)
        && found
            .iter()
            .map(|(member, score)| (score, bytes(member)))
            .eq(sorted.iter().map(|(score, name)| (*score, name.to_vec())))
}
