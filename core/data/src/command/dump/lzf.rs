//! Marc Lehmann's LZF, unpacked.
//!
//! ```text
//! 000lllll [l + 1 bytes]              these bytes
//! lllooooo oooooooo                   l + 2 bytes from o + 1 bytes back
//! 111ooooo llllllll oooooooo          l + 9 bytes from o + 1 bytes back
//! ```

use super::source::Bad;
use base::codec::Reader;

/// Three bytes become 264 at most.
const GROWTH_MAX: usize = 88;
const LITERAL_END: u8 = 32;
const LONG: usize = 7;

/// `packed` unpacked, which must be `len` bytes.
pub fn unpack(packed: &[u8], len: usize) -> Result<Vec<u8>, Bad> {
    if len > packed.len().saturating_mul(GROWTH_MAX) {
        return Err(Bad);
    }
    let (mut reader, mut out) = (Reader::new(packed), Vec::with_capacity(len));
    while !reader.is_empty() {
        let head = reader.u8()?;
        if head < LITERAL_END {
            out.extend_from_slice(reader.take(usize::from(head) + 1)?);
        } else {
            let mut count = usize::from(head >> 5);
            if count == LONG {
                count += usize::from(reader.u8()?);
            }
            let back = (usize::from(head & 0x1f) << 8 | usize::from(reader.u8()?)) + 1;
            repeat(&mut out, back, count + 2)?;
        }
        if out.len() > len {
            return Err(Bad);
        }
    }
    if out.len() == len { Ok(out) } else { Err(Bad) }
}

/// Appends `count` bytes from `back` bytes before the end; those that are appended may be among them.
fn repeat(out: &mut Vec<u8>, back: usize, count: usize) -> Result<(), Bad> {
    let from = out.len().checked_sub(back).ok_or(Bad)?;
    if count <= back {
        out.extend_from_within(from..from + count);
    } else {
        for at in from..from + count {
            out.push(out[at]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_repeats_are_unpacked_and_damage_is_an_error() {
        assert_eq!(unpack(b"\x02abc", 3), Ok(b"abc".to_vec()));
        assert_eq!(unpack(b"\x00a\xe0\x0b\x00", 21), Ok(vec![b'a'; 21]));
        assert_eq!(unpack(b"\x02abc\x20\x02", 6), Ok(b"abcabc".to_vec()));
        for (packed, len) in [
            (&b"\x02abc"[..], 4),
            (b"\x02abc", 2),
            (b"\x05abc", 6),
            (b"\x00a\x20\x01", 4),
            (b"\xe0\x0b", 20),
            (b"", 1),
            (b"\x00a", usize::MAX),
        ] {
            assert_eq!(unpack(packed, len), Err(Bad), "{packed:?}");
        }
    }
}
