//! Values written as payloads: each in the plain form of its type, which every Redis since 5.0 reads and packs as it likes.

use super::load::{HASH, LIST, SET, STREAM, STRING, ZSET};
use super::source::{put_length, put_number, put_string};
use super::streams;
use crate::keyspace::Value;
use crate::value::{Container, End, Hash, List, Object, Set, Word, Zset};

/// The payload of a value, without its footer.
pub fn value(value: Value<'_>) -> Vec<u8> {
    match value {
        Value::Str(bytes) => string(bytes),
        Value::Large(bytes) => string(bytes),
        Value::Other(Object::Str(bytes)) => string(bytes),
        Value::Other(Object::List(list)) => list_of(list),
        Value::Other(Object::Set(set)) => set_of(set),
        Value::Other(Object::Hash(hash)) => hash_of(hash),
        Value::Other(Object::Zset(zset)) => zset_of(zset),
        Value::Other(Object::Stream(stream)) => {
            let mut out = vec![STREAM];
            streams::save(stream, &mut out);
            out
        }
    }
}

/// A payload that begins with its type and a count.
fn headed(kind: u8, container: &impl Container) -> Vec<u8> {
    let mut out = vec![kind];
    put_length(&mut out, container.len() as u64);
    out
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 32);
    out.push(STRING);
    put_string(&mut out, bytes);
    out
}

fn list_of(list: &List) -> Vec<u8> {
    let mut out = headed(LIST, list);
    list.walk(End::Head, 0).for_each(|member| word(&mut out, member));
    out
}

fn set_of(set: &Set) -> Vec<u8> {
    let mut out = headed(SET, set);
    set.members(0..set.len()).for_each(|member| word(&mut out, member));
    out
}

fn hash_of(hash: &Hash) -> Vec<u8> {
    let mut out = headed(HASH, hash);
    for (field, value) in hash.fields(0..hash.len()) {
        word(&mut out, field);
        word(&mut out, value);
    }
    out
}

fn zset_of(zset: &Zset) -> Vec<u8> {
    let mut out = headed(ZSET, zset);
    for (member, score) in zset.iter() {
        word(&mut out, member);
        out.extend_from_slice(&score.to_le_bytes());
    }
    out
}

fn word(out: &mut Vec<u8>, word: Word<'_>) {
    match word {
        Word::Int(number) => put_number(out, number),
        Word::Text(bytes) => put_string(out, bytes),
        Word::Apart(bytes) => put_string(out, bytes),
    }
}
