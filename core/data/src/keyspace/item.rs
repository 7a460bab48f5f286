//! One key and its value in one allocation.
//!
//! ```text
//! [flags u8][epoch u8][key length varint][expire at u64 le, if flag][key][value, or object number u32 le]
//! ```
//!
//! `epoch` tells a running snapshot whether the item has been saved; it is this node's own and no part of the state.

use base::Stamp;
use base::codec::{Reader, put_varint};

/// What an item holds behind its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A string, here.
    Str(&'a [u8]),
    /// A value too large or of another type: its number in the keyspace's objects.
    Object(u32),
}

/// An item taken apart.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub key: &'a [u8],
    pub expire_at: Option<Stamp>,
    pub body: Body<'a>,
}

const EXPIRES: u8 = 1;
const OBJECT: u8 = 2;
const EPOCH_AT: usize = 1;

/// Builds an item.
#[must_use]
pub fn build(key: &[u8], body: Body<'_>, expire_at: Option<Stamp>, epoch: u8) -> Box<[u8]> {
    let number;
    let (mut flags, value) = match body {
        Body::Str(value) => (0, value),
        Body::Object(object) => {
            number = object.to_le_bytes();
            (OBJECT, number.as_slice())
        }
    };
    let expiry = expire_at.map(|at| at.0.to_le_bytes());
    flags |= if expiry.is_some() { EXPIRES } else { 0 };
    let expiry = expiry.as_ref().map_or(&[][..], |bytes| bytes);
    let length_bytes = if key.len() < 128 { 1 } else { key.len().ilog2() as usize / 7 + 1 };
    let mut out = Vec::with_capacity(2 + length_bytes + expiry.len() + key.len() + value.len());
    out.extend_from_slice(&[flags, epoch]);
    put_varint(&mut out, key.len() as u64);
    out.extend_from_slice(expiry);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    out.into_boxed_slice()
}

/// The key of an item: what a look-up compares.
#[must_use]
pub fn key(item: &[u8]) -> &[u8] {
    let (start, len) = key_span(item);
    &item[start..start + len]
}

/// Takes an item apart.
#[must_use]
pub fn view(item: &[u8]) -> View<'_> {
    let (start, len) = key_span(item);
    let (key, value) = item[start..].split_at(len);
    let expire_at = (item[0] & EXPIRES != 0).then(|| Stamp(eight(&item[start - 8..start])));
    let body = if item[0] & OBJECT == 0 { Body::Str(value) } else { Body::Object(four(value)) };
    View { key, expire_at, body }
}

/// Overwrites a string in place; false if it has another length or is no string.
pub fn overwrite(item: &mut [u8], value: &[u8]) -> bool {
    let (start, len) = key_span(item);
    let fits = item[0] & OBJECT == 0 && item.len() - start - len == value.len();
    if fits {
        item[start + len..].copy_from_slice(value);
    }
    fits
}

/// The snapshot epoch in which the item was saved or made.
#[must_use]
pub fn epoch(item: &[u8]) -> u8 {
    item[EPOCH_AT]
}

/// Marks the item as saved in `epoch`.
pub fn set_epoch(item: &mut [u8], epoch: u8) {
    item[EPOCH_AT] = epoch;
}

fn key_span(item: &[u8]) -> (usize, usize) {
    let expiry = if item[0] & EXPIRES == 0 { 0 } else { 8 };
    if item[2] < 128 {
        return (3 + expiry, usize::from(item[2]));
    }
    let mut reader = Reader::new(&item[2..]);
    let len = reader.len().expect("items are built here");
    (item.len() - reader.rest().len() + expiry, len)
}

fn eight(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes were cut"))
}

fn four(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("an object's item ends with four bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_apart_as_they_were_built() {
        for key_len in [0, 1, 127, 128, 300, 20_000] {
            for expire_at in [None, Some(Stamp(77))] {
                let name = vec![b'k'; key_len];
                let built = build(&name, Body::Str(b"value"), expire_at, 3);
                let seen = view(&built);
                assert_eq!((seen.key, seen.expire_at, seen.body), (&name[..], expire_at, Body::Str(b"value")));
                assert_eq!((key(&built), epoch(&built)), (&name[..], 3));
                let object = build(&name, Body::Object(9), expire_at, 3);
                assert_eq!(view(&object).body, Body::Object(9));
            }
        }
    }

    #[test]
    fn a_string_of_the_same_length_is_overwritten_in_place() {
        let mut built = build(b"k", Body::Str(b"old"), Some(Stamp(5)), 0);
        assert!(overwrite(&mut built, b"new"));
        assert!(!overwrite(&mut built, b"longer"));
        assert_eq!(view(&built).body, Body::Str(b"new"));
    }
}
