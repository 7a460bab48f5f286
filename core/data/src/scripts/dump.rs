//! FUNCTION DUMP and RESTORE: all libraries as bytes that clients keep, in the format of Redis, so that they move there
//! and back.
//!
//! Each library is an opcode and its text, as a string of an RDB file; behind all of them stand the version of the format
//! and a checksum, CRC-64 (Jones). What is read may come from anywhere: every length is held against what is there.

use super::Scripts;
use crate::Refused;
use base::limits::FUNCTION_BYTES_MAX;

const FUNCTION: u8 = 0xF5;
const VERSION: u16 = 10;
const FOOTER_BYTES: usize = 10;

impl Scripts {
    /// All libraries.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for library in self.libraries() {
            out.push(FUNCTION);
            put_string(&mut out, &library.code);
        }
        out.extend_from_slice(&VERSION.to_le_bytes());
        let sum = crc64(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }
}

/// The texts of the libraries in a dump.
pub fn undump(payload: &[u8]) -> Result<Vec<Vec<u8>>, Refused> {
    let bad = || Refused::Text("ERR DUMP payload version or checksum are wrong".to_owned());
    let at = payload.len().checked_sub(FOOTER_BYTES).ok_or_else(bad)?;
    let (body, footer) = payload.split_at(at);
    let (version, sum) = footer.split_at(2);
    let known = u16::from_le_bytes([version[0], version[1]]) <= VERSION;
    if !known || sum != crc64(&payload[..at + 2]).to_le_bytes() {
        return Err(bad());
    }
    let mut rest = body;
    let mut codes = Vec::new();
    while let Some((opcode, behind)) = rest.split_first() {
        if *opcode != FUNCTION {
            return Err(Refused::Text("ERR given type is not a function".to_owned()));
        }
        rest = behind;
        let code = string(&mut rest).filter(|code| code.len() <= FUNCTION_BYTES_MAX);
        codes.push(code.ok_or_else(|| Refused::Text("ERR failed loading functions payload".to_owned()))?);
    }
    Ok(codes)
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    match u32::try_from(bytes.len()).expect("libraries are smaller than 4 GiB") {
        short @ 0..64 => out.push(short.to_le_bytes()[0]),
        long => {
            out.push(0x80);
            out.extend_from_slice(&long.to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// A string as RDB files have it: plain, packed by LZF, or an integer.
fn string(rest: &mut &[u8]) -> Option<Vec<u8>> {
    const PACKED: u8 = 0xC3;
    match *rest.first()? {
        PACKED => {
            *rest = &rest[1..];
            let (packed, plain) = (length(rest)?, length(rest)?);
            unpack(take(rest, packed)?, plain)
        }
        size @ 0xC0..=0xC2 => {
            *rest = &rest[1..];
            let bytes = take(rest, 1 << (size - 0xC0))?;
            let number = match bytes {
                [a] => i32::from(i8::from_le_bytes([*a])),
                [a, b] => i32::from(i16::from_le_bytes([*a, *b])),
                _ => i32::from_le_bytes(bytes.try_into().ok()?),
            };
            Some(number.to_string().into_bytes())
        }
        _ => {
            let len = length(rest)?;
            take(rest, len).map(<[u8]>::to_vec)
        }
    }
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    let first = take(rest, 1)?[0];
    match first >> 6 {
        0 => Some(usize::from(first)),
        1 => Some(usize::from(first & 0x3F) << 8 | usize::from(take(rest, 1)?[0])),
        _ if first == 0x80 => usize::try_from(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?)).ok(),
        _ if first == 0x81 => usize::try_from(u64::from_be_bytes(take(rest, 8)?.try_into().ok()?)).ok(),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

/// LZF: runs of plain bytes, and pieces of what came before.
fn unpack(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    let (mut rest, mut out) = (packed, Vec::new());
    while !rest.is_empty() {
        let control = usize::from(take(&mut rest, 1)?[0]);
        if control < 32 {
            out.extend_from_slice(take(&mut rest, control + 1)?);
        } else {
            let more = if control >> 5 == 7 { usize::from(take(&mut rest, 1)?[0]) } else { 0 };
            let back = (control & 31) << 8 | usize::from(take(&mut rest, 1)?[0]);
            let from = out.len().checked_sub(back + 1)?;
            for at in from..from + (control >> 5) + more + 2 {
                out.push(out[at]);
            }
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| TABLE[usize::from(sum.to_le_bytes()[0] ^ byte)] ^ (sum >> 8))
}

/// The polynomial 0xAD93D23594C935A9, reflected.
static TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (mut sum, mut bit) = (at as u64, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0x95AC_9329_AC4B_C9B5 } else { sum >> 1 };
            bit += 1;
        }
        table[at] = sum;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripts::{Function, Library};
    use bytes::Bytes;

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(crc64(b"123456789"), 0xE9C6_D914_C4B8_D9CA);
    }

    #[test]
    fn a_dump_of_redis_is_read() {
        let dump = b"\xf5\xc3@u@\x80\x1f#!lua name=a\nredis.register_func\x04tion{\xc0\x08\x00_`'\r'fa',callback=\xc0\x1b\x19(k,a) return 1 end,descrip@B\x18='d',flags={'no-writes'}}\n\x00\xe5\xee\xcc\xe1\xc8S\xa7\x99";
        let code = "#!lua name=a\nredis.register_function{function_name='fa',callback=function(k,a) return 1 end,\
                    description='d',flags={'no-writes'}}";
        assert_eq!(undump(dump), Ok(vec![code.as_bytes().to_vec()]));
        assert_eq!(undump(b"\n\x00]\x9b\\@\x0f\x7f\xa2\xda"), Ok(Vec::new()));
        for cut in 0..dump.len() {
            assert!(undump(&dump[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_dumped_is_what_is_read() {
        let mut scripts = Scripts::default();
        let code = |n: usize| Bytes::from(vec![b'x'; n]);
        for (name, bytes) in [("a", 5), ("b", 63), ("c", 64), ("d", 70_000)] {
            let functions =
                vec![Function { name: name.as_bytes().into(), description: None, flags: Default::default() }];
            scripts.add(Library::new(name.as_bytes().into(), code(bytes), functions));
        }
        let codes = undump(&scripts.dump()).unwrap();
        assert_eq!(codes, [5, 63, 64, 70_000].map(|n| code(n).to_vec()));
    }
}
