//! One key and its value in one piece of memory.
//!
//! ```text
//! [flags u8][epoch u8][key length varint][value length varint][expire at u64 le, if flag][key][value]
//! ```
//!
//! The value is the string, or where the flags say so, an object number in 4 bytes. What follows in the item's slot means
//! nothing. `epoch` tells a running snapshot whether the item has been saved; it is this node's own and no part of the
//! state.

use base::Stamp;
use base::codec::Reader;

/// What an item holds behind its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A string, here.
    Str(&'a [u8]),
    /// A value too large or of another type: its number in the keyspace's objects.
    Object(u32),
}

impl Body<'_> {
    fn len(self) -> usize {
        match self {
            Self::Str(value) => value.len(),
            Self::Object(number) => number.to_le_bytes().len(),
        }
    }
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

/// Where the parts of an item lie.
#[derive(Clone, Copy)]
struct Layout {
    key_at: usize,
    key_bytes: usize,
    value_bytes: usize,
}

/// How many bytes an item takes.
#[must_use]
pub fn size(key: &[u8], body: Body<'_>, expire_at: Option<Stamp>) -> usize {
    let value_bytes = body.len();
    let expiry = if expire_at.is_some() { 8 } else { 0 };
    2 + varint_bytes(key.len()) + varint_bytes(value_bytes) + expiry + key.len() + value_bytes
}

/// Writes an item to the front of its slot.
pub fn write(slot: &mut [u8], key: &[u8], body: Body<'_>, expire_at: Option<Stamp>, epoch: u8) {
    let number;
    let (mut flags, value) = match body {
        Body::Str(value) => (0, value),
        Body::Object(object) => {
            number = object.to_le_bytes();
            (OBJECT, number.as_slice())
        }
    };
    flags |= if expire_at.is_some() { EXPIRES } else { 0 };
    slot[0] = flags;
    slot[EPOCH_AT] = epoch;
    let mut at = put_len(slot, 2, key.len());
    at = put_len(slot, at, value.len());
    if let Some(expire_at) = expire_at {
        slot[at..at + 8].copy_from_slice(&expire_at.0.to_le_bytes());
        at += 8;
    }
    slot[at..at + key.len()].copy_from_slice(key);
    at += key.len();
    slot[at..at + value.len()].copy_from_slice(value);
}

/// The key of an item: what a look-up compares.
#[must_use]
#[inline]
pub fn key(item: &[u8]) -> &[u8] {
    let Layout { key_at, key_bytes, .. } = layout(item);
    &item[key_at..key_at + key_bytes]
}

/// Takes an item apart.
#[must_use]
#[inline]
pub fn view(item: &[u8]) -> View<'_> {
    let Layout { key_at, key_bytes, value_bytes } = layout(item);
    let (key, value) = item[key_at..key_at + key_bytes + value_bytes].split_at(key_bytes);
    let expire_at = (item[0] & EXPIRES != 0).then(|| Stamp(eight(&item[key_at - 8..key_at])));
    let body = if item[0] & OBJECT == 0 { Body::Str(value) } else { Body::Object(four(value)) };
    View { key, expire_at, body }
}

/// Overwrites a string in place; false if it has another length or is no string.
pub fn overwrite(item: &mut [u8], value: &[u8]) -> bool {
    let Layout { key_at, key_bytes, value_bytes } = layout(item);
    let fits = item[0] & OBJECT == 0 && value_bytes == value.len();
    if fits {
        item[key_at + key_bytes..][..value_bytes].copy_from_slice(value);
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

#[inline]
fn layout(item: &[u8]) -> Layout {
    let expiry = if item[0] & EXPIRES == 0 { 0 } else { 8 };
    if item[2] < 128 && item[3] < 128 {
        return Layout { key_at: 4 + expiry, key_bytes: usize::from(item[2]), value_bytes: usize::from(item[3]) };
    }
    let mut reader = Reader::new(&item[2..]);
    let mut field = || reader.varint().ok().and_then(|len| usize::try_from(len).ok()).expect("items are built here");
    let (key_bytes, value_bytes) = (field(), field());
    Layout { key_at: item.len() - reader.rest().len() + expiry, key_bytes, value_bytes }
}

fn varint_bytes(len: usize) -> usize {
    if len < 128 { 1 } else { len.ilog2() as usize / 7 + 1 }
}

/// Writes a length as LEB128; where it ends.
fn put_len(slot: &mut [u8], mut at: usize, mut len: usize) -> usize {
    while len >= 128 {
        slot[at] = len.to_le_bytes()[0] | 0x80;
        len >>= 7;
        at += 1;
    }
    slot[at] = len.to_le_bytes()[0];
    at + 1
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

    fn build(key: &[u8], body: Body<'_>, expire_at: Option<Stamp>, epoch: u8, slack: usize) -> Vec<u8> {
        let mut slot = vec![0xEE; size(key, body, expire_at) + slack];
        write(&mut slot, key, body, expire_at, epoch);
        slot
    }

    #[test]
    fn items_come_apart_as_they_were_built() {
        for key_len in [0, 1, 127, 128, 300, 20_000] {
            for value_len in [0, 5, 127, 128, 2048] {
                for (expire_at, slack) in [(None, 0), (Some(Stamp(77)), 7)] {
                    let (name, value) = (vec![b'k'; key_len], vec![b'v'; value_len]);
                    let built = build(&name, Body::Str(&value), expire_at, 3, slack);
                    let seen = view(&built);
                    assert_eq!((seen.key, seen.expire_at, seen.body), (&name[..], expire_at, Body::Str(&value)));
                    assert_eq!((key(&built), epoch(&built)), (&name[..], 3));
                    let object = build(&name, Body::Object(9), expire_at, 3, slack);
                    assert_eq!(view(&object).body, Body::Object(9));
                }
            }
        }
    }

    #[test]
    fn a_string_of_the_same_length_is_overwritten_in_place() {
        let mut built = build(b"k", Body::Str(b"old"), Some(Stamp(5)), 0, 4);
        assert!(overwrite(&mut built, b"new"));
        assert!(!overwrite(&mut built, b"longer"));
        assert_eq!(view(&built).body, Body::Str(b"new"));
    }
}
