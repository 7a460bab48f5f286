//! The meta commands: a key, and flags of one letter, some with a token behind it.

use super::ask::{Asked, Flag, How, Kind, Meta, Part, Told, Wrong, check_key, one, part};
use super::parse::UNKNOWN;
use smallvec::SmallVec;
use std::borrow::Cow;

const INVALID: &str = "CLIENT_ERROR invalid flag";
const DUPLICATE: &str = "CLIENT_ERROR duplicate flag";
const BAD_TOKEN: &str = "CLIENT_ERROR bad token in command line format";
const BAD_KEY: &str = "CLIENT_ERROR error decoding key";
const OPAQUE_TOO_LONG: &str = "CLIENT_ERROR opaque token too long";
const OPAQUE_BYTES_MAX: usize = 32;

/// What each command's flags may be.
const OF_GET: &[u8] = b"bcfhklOqstuvENRT";
const OF_SET: &[u8] = b"bcCEFIkOqsTMN";
const OF_DELETE: &[u8] = b"bCEIkOqTx";
const OF_ARITHMETIC: &[u8] = b"bCENJDTMqtcvkO";

pub(super) fn ask<'a>(words: &[&'a [u8]], data: &'a [u8]) -> Result<Asked<'a>, Wrong> {
    let (name, rest) = words.split_first().expect("the caller has seen the first");
    if *name == b"mn" {
        return Ok(Asked::Here(Some("MN".to_owned())));
    }
    let Some((key, rest)) = rest.split_first() else { return Err(UNKNOWN) };
    check_key(key)?;
    match *name {
        b"mg" => get(key, rest),
        b"ms" => set(key, &rest[1..], data),
        b"md" => delete(key, rest),
        b"ma" => arithmetic(key, rest),
        b"me" => debug(key, rest),
        _ => Err(UNKNOWN),
    }
}

/// The flags of a call, checked.
struct Flags<'w, 'a> {
    words: &'w [&'a [u8]],
}

impl<'w, 'a> Flags<'w, 'a> {
    fn check(words: &'w [&'a [u8]], known: &[u8]) -> Result<Self, Wrong> {
        let mut seen = 0u128;
        for word in words {
            let letter = word[0];
            if !known.contains(&letter) {
                return Err(INVALID);
            }
            let bit = 1u128 << (letter & 127);
            if seen & bit != 0 {
                return Err(DUPLICATE);
            }
            seen |= bit;
            let token = &word[1..];
            match letter {
                b'N' | b'R' | b'T' => number::<i64>(token)?,
                b'C' | b'E' | b'J' | b'D' => number::<u64>(token)?,
                b'F' => number::<u32>(token)?,
                b'O' if token.len() > OPAQUE_BYTES_MAX => return Err(OPAQUE_TOO_LONG),
                _ => {}
            }
        }
        Ok(Self { words })
    }

    fn has(&self, letter: u8) -> bool {
        self.words.iter().any(|word| word[0] == letter)
    }

    fn token(&self, letter: u8) -> Option<&'a [u8]> {
        self.words.iter().find(|word| word[0] == letter).map(|word| &word[1..])
    }

    /// Hands tokens on to the core, as words of its own.
    fn hand_on(&self, part: &mut Part<'a>, letters: &'static [u8]) {
        for letter in letters.chunks(1) {
            if let Some(token) = self.token(letter[0]) {
                part.args.extend([Cow::Borrowed(letter), Cow::Borrowed(token)]);
            }
        }
    }

    /// The same for those that have none.
    fn hand_on_alone(&self, part: &mut Part<'a>, letters: &'static [u8]) {
        let letters = letters.chunks(1).filter(|letter| self.has(letter[0]));
        part.args.extend(letters.map(Cow::Borrowed));
    }

    /// The key that is meant, which may have been spelled in base 64.
    fn key(&self, key: &'a [u8]) -> Result<Cow<'a, [u8]>, Wrong> {
        if !self.has(b'b') {
            return Ok(Cow::Borrowed(key));
        }
        let key = decoded(key).ok_or(BAD_KEY)?;
        check_key(&key).map(|()| Cow::Owned(key))
    }

    fn meta(&self, kind: Kind, key: &[u8]) -> How {
        let told = |word: &&[u8]| match word[0] {
            b'c' => Some(Flag::Cas),
            b'f' => Some(Flag::ClientFlags),
            b'h' => Some(Flag::Hit),
            b'k' => Some(Flag::Key),
            b'l' => Some(Flag::LastAccess),
            b'O' => Some(Flag::Opaque(Box::from(&word[1..]))),
            b's' => Some(Flag::Size),
            b't' => Some(Flag::Ttl),
            _ => None,
        };
        let flags: SmallVec<[Flag; 8]> = self.words.iter().filter_map(told).collect();
        let (binary, value, quiet) = (self.has(b'b'), self.has(b'v'), self.has(b'q'));
        How::Meta(Box::new(Meta { kind, key: key.into(), binary, value, quiet, flags }))
    }
}

fn number<T: std::str::FromStr>(token: &[u8]) -> Result<(), Wrong> {
    std::str::from_utf8(token).ok().and_then(|text| text.parse::<T>().ok()).map(drop).ok_or(BAD_TOKEN)
}

fn get<'a>(key: &'a [u8], words: &[&'a [u8]]) -> Result<Asked<'a>, Wrong> {
    let flags = Flags::check(words, OF_GET)?;
    let mut part = part("memcache.fetch", []);
    part.args.push(flags.key(key)?);
    flags.hand_on(&mut part, b"NRTE");
    if flags.has(b'h') || flags.has(b'l') {
        part.args.push(Cow::Borrowed(b"H"));
    }
    Ok(one(part, flags.meta(Kind::Get, key)))
}

fn set<'a>(key: &'a [u8], words: &[&'a [u8]], data: &'a [u8]) -> Result<Asked<'a>, Wrong> {
    let flags = Flags::check(words, OF_SET)?;
    let mode: &[u8] = match flags.token(b'M') {
        None | Some(b"S" | b"s") => b"S",
        Some(b"E" | b"e") => b"E",
        Some(b"A" | b"a") => b"A",
        Some(b"P" | b"p") => b"P",
        Some(b"R" | b"r") => b"R",
        Some(_) => return Err("CLIENT_ERROR invalid mode for ms M token"),
    };
    let mut part = part("memcache.store", []);
    part.args.push(flags.key(key)?);
    let (client, ttl) = (flags.token(b'F').unwrap_or(b"0"), flags.token(b'T').unwrap_or(b"0"));
    part.args.extend([mode, data, client, ttl].map(Cow::Borrowed));
    flags.hand_on(&mut part, b"CEN");
    flags.hand_on_alone(&mut part, b"I");
    Ok(one(part, flags.meta(Kind::Set, key)))
}

fn delete<'a>(key: &'a [u8], words: &[&'a [u8]]) -> Result<Asked<'a>, Wrong> {
    let flags = Flags::check(words, OF_DELETE)?;
    let mut part = part("memcache.delete", []);
    part.args.push(flags.key(key)?);
    flags.hand_on(&mut part, b"CET");
    flags.hand_on_alone(&mut part, b"Ix");
    Ok(one(part, flags.meta(Kind::Delete, key)))
}

fn arithmetic<'a>(key: &'a [u8], words: &[&'a [u8]]) -> Result<Asked<'a>, Wrong> {
    let flags = Flags::check(words, OF_ARITHMETIC)?;
    let mode: &[u8] = match flags.token(b'M') {
        None | Some(b"I" | b"i" | b"+") => b"I",
        Some(b"D" | b"d" | b"-") => b"D",
        Some(_) => return Err("CLIENT_ERROR invalid mode for ma M token"),
    };
    let mut part = part("memcache.count", []);
    part.args.push(flags.key(key)?);
    part.args.extend([mode, flags.token(b'D').unwrap_or(b"1")].map(Cow::Borrowed));
    flags.hand_on(&mut part, b"CENJT");
    Ok(one(part, flags.meta(Kind::Arithmetic, key)))
}

fn debug<'a>(key: &'a [u8], words: &[&'a [u8]]) -> Result<Asked<'a>, Wrong> {
    let flags = Flags::check(words, b"b")?;
    let mut part = part("memcache.get", []);
    part.args.push(flags.key(key)?);
    Ok(one(part, How::Debug(key.into())))
}

/// Base 64 with its padding.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let bare = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    if !text.len().is_multiple_of(4) || bare.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(bare.len() * 3 / 4);
    for four in bare.chunks(4) {
        let mut bits = 0u32;
        for at in 0..4 {
            bits = (bits << 6) | u32::from(four.get(at).map_or(Some(0), |byte| digit(*byte))?);
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(out)
}

/// Only mg and ma tell their number; others say it in words.
impl Meta {
    /// Whether an answer of two letters goes without saying to one who wants to hear little.
    pub(super) fn hushes(&self, letters: &str) -> Told {
        let hushed = self.quiet && letters == if self.kind == Kind::Get { "EN" } else { "HD" };
        if hushed { Told::No } else { Told::Yes }
    }
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn base_64_is_read() {
        for (text, bytes) in [("Zm9v", Some("foo")), ("Zm8=", Some("fo")), ("Zg==", Some("f")), ("", Some(""))] {
            assert_eq!(decoded(text.as_bytes()).as_deref(), bytes.map(str::as_bytes), "{text}");
        }
        for text in ["Zm9", "Z===", "Zm9v=", "!!!!", "Zm9vZ", "===="] {
            assert_eq!(decoded(text.as_bytes()), None, "{text}");
        }
    }
}
