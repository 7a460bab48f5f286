//! The image of a sorted set in snapshots: its form and its members in order; the shape of a tree is not in it.
//!
//! ```text
//! form: u8 (0 small, 1 large) | count: varint | score, member as in a chunk | ..
//! ```

use super::index::Hash;
use super::packed::{self, Packed};
use super::{Form, Large, SMALL_COUNT_MAX, SMALL_MEMBER_BYTES_MAX, Zset};
use crate::value::{Container, Word};
use base::codec::{DecodeError, Reader, put_varint};
use smallvec::SmallVec;

/// Members per part of an image.
const PART_COUNT: usize = 512;
const SMALL: u8 = 0;
const LARGE: u8 = 1;

pub(super) fn encode_part(zset: &Zset, part: usize, out: &mut Vec<u8>) -> bool {
    if part == 0 {
        out.push(if matches!(zset.0, Form::Small(_)) { SMALL } else { LARGE });
        put_varint(out, zset.len() as u64);
    }
    let begin = part * PART_COUNT;
    for (member, score) in zset.range(begin..begin + PART_COUNT) {
        packed::write(out, score, member);
    }
    begin + PART_COUNT < zset.len()
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Zset, DecodeError> {
    let form = reader.u8()?;
    let count = reader.varint()?;
    match form {
        _ if count == 0 => Err(DecodeError::Overlong),
        SMALL if count <= SMALL_COUNT_MAX as u64 => decode_small(reader, count),
        LARGE => decode_large(reader, count),
        SMALL => Err(DecodeError::Overlong),
        other => Err(DecodeError::Unknown(u64::from(other))),
    }
}

/// Reads entries, each behind the one before it.
fn entries<'a>(
    reader: &mut Reader<'a>,
    count: u64,
    mut each: impl FnMut(&[u8], f64) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut former: Option<(f64, Word<'a>)> = None;
    for _ in 0..count {
        let (score, member) = packed::read(reader).ok_or(DecodeError::Truncated)?;
        member.read(|text| {
            let follows =
                |(last, name): (f64, Word<'_>)| last < score || (last == score && name.read(|name| name < text));
            if former.is_none_or(follows) { each(text, score) } else { Err(OUT_OF_ORDER) }
        })?;
        former = Some((score, member));
    }
    Ok(())
}

fn decode_small(reader: &mut Reader<'_>, count: u64) -> Result<Zset, DecodeError> {
    let mut packed = Packed::default();
    let mut hashes: SmallVec<[Hash; SMALL_COUNT_MAX]> = SmallVec::new();
    entries(reader, count, |text, score| {
        if text.len() > SMALL_MEMBER_BYTES_MAX || (score == 0.0 && score.is_sign_negative()) {
            return Err(DecodeError::Overlong);
        }
        // As a word of its own: an image may spell an integer as text.
        let member = Word::of(text);
        hashes.push(Hash::of(member));
        packed.push(score, member);
        Ok(())
    })?;
    hashes.sort_unstable();
    if hashes.windows(2).any(|pair| pair[0] == pair[1]) && any_twice(&packed) {
        return Err(TWICE);
    }
    Ok(Zset(Form::Small(packed)))
}

/// True if a member stands there twice, whose first place is found.
fn any_twice(packed: &Packed) -> bool {
    packed.entries().any(|entry| packed.find(entry.member).is_none_or(|first| first.place() != entry.place()))
}

fn decode_large(reader: &mut Reader<'_>, count: u64) -> Result<Zset, DecodeError> {
    let mut large = Box::new(Large::default());
    entries(reader, count, |text, score| match large.insert(text, score) {
        None => Ok(()),
        Some(_) => Err(TWICE),
    })?;
    Ok(Zset(Form::Large(large)))
}

/// What an image of ours never has: its tags are the numbers of no form.
const OUT_OF_ORDER: DecodeError = DecodeError::Unknown(2);
const TWICE: DecodeError = DecodeError::Unknown(3);
