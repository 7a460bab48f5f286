//! Scripts and libraries of functions: text that clients have given to be run, as part of a shard's state.
//!
//! Each shard has all of them, through its own log, so that whoever leads it can run them at once, after a restart and a
//! change of leaders too. Nothing here runs: what a library registers was found out by the leader that took it in, and
//! stands in the log with its text. Scripts are a cache, and the oldest go when it is full; functions stay.

mod dump;
pub use dump::undump;
mod image;

pub(crate) use image::{TAG_FLUSHES, TAG_LIBRARY, TAG_SCRIPT};

use crate::Refused;
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::limits::{FUNCTION_BYTES_MAX, SCRIPT_BYTES_MAX};
use bytes::Bytes;
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, VecDeque};
use std::hash::Hasher;
use std::sync::Arc;

/// What names a script: the SHA-1 of its text.
pub type Sha = [u8; 20];

/// All that a shard keeps to be run.
#[derive(Clone, Debug, Default)]
pub struct Scripts {
    bodies: BTreeMap<Sha, Bytes>,
    /// Oldest first.
    order: VecDeque<Sha>,
    body_bytes: usize,
    /// How often scripts were forgotten: what a node has seen before is worth nothing behind that.
    flushes: u64,
    libraries: BTreeMap<Box<[u8]>, Arc<Library>>,
    /// Which library has a function.
    functions: BTreeMap<Box<[u8]>, Box<[u8]>>,
    library_bytes: usize,
}

/// A text and the functions that it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    pub name: Box<[u8]>,
    /// All of it, the line that names it too.
    pub code: Bytes,
    /// In the order of their names.
    pub functions: Vec<Function>,
    /// Of the text.
    pub sha: Sha,
}

/// A function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    pub name: Box<[u8]>,
    pub description: Option<Box<[u8]>>,
    pub flags: Flags,
}

/// What a script or function says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// It changes nothing.
    pub const NO_WRITES: Self = Self(1);
    /// It may need memory that isn't there.
    pub const ALLOW_OOM: Self = Self(2);
    const ALL: [(&'static str, Self); 5] = [
        ("no-writes", Self::NO_WRITES),
        ("allow-oom", Self::ALLOW_OOM),
        ("allow-stale", Self(4)),
        ("no-cluster", Self(8)),
        ("allow-cross-slot-keys", Self(16)),
    ];

    /// The flag of this name.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| known.as_bytes() == name).map(|(_, flag)| flag)
    }

    /// These and those.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if all of those are among these.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The names of all of them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().filter(move |(_, flag)| self.has(*flag)).map(|(name, _)| name)
    }
}

impl Scripts {
    /// The script of this name.
    #[must_use]
    pub fn body(&self, sha: &Sha) -> Option<&Bytes> {
        self.bodies.get(sha)
    }

    /// How often scripts were forgotten.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// A function, and the library that it is of.
    #[must_use]
    pub fn function(&self, name: &[u8]) -> Option<(&Function, &Arc<Library>)> {
        let library = self.libraries.get(self.functions.get(name)?)?;
        Some((library.function(name)?, library))
    }

    /// The library of this name.
    #[must_use]
    pub fn library(&self, name: &[u8]) -> Option<&Arc<Library>> {
        self.libraries.get(name)
    }

    /// All libraries, in the order of their names.
    pub fn libraries(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.libraries.values()
    }

    /// How many functions there are.
    #[must_use]
    pub fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// Keeps a script; the oldest go if there are too many. False if it is there.
    pub(crate) fn keep(&mut self, sha: Sha, body: Bytes) -> bool {
        if self.bodies.contains_key(&sha) {
            return false;
        }
        self.body_bytes += body.len();
        self.bodies.insert(sha, body);
        self.order.push_back(sha);
        while self.body_bytes > SCRIPT_BYTES_MAX && self.order.len() > 1 {
            let oldest = self.order.pop_front().expect("there are some");
            self.body_bytes -= self.bodies.remove(&oldest).map_or(0, |body| body.len());
        }
        true
    }

    /// Forgets all scripts.
    pub(crate) fn flush(&mut self) {
        (self.bodies, self.order, self.body_bytes) = Default::default();
        self.flushes += 1;
    }

    /// Takes a library in, in place of one of the same name. It was looked at by [`Scripts::may_add`].
    pub fn add(&mut self, library: Library) {
        self.remove(&library.name);
        for function in &library.functions {
            self.functions.insert(function.name.clone(), library.name.clone());
        }
        self.library_bytes += library.code.len();
        self.libraries.insert(library.name.clone(), Arc::new(library));
    }

    /// True if a library may be taken in: in place of one of the same name only if `replace`, and none of its functions
    /// may be another's.
    pub fn may_add(&self, library: &Library, replace: bool) -> Result<(), Refused> {
        let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let former = self.libraries.get(&library.name);
        if former.is_some() && !replace {
            return Err(Refused::Text(format!("ERR Library '{}' already exists", shown(&library.name))));
        }
        let taken =
            |function: &&Function| self.functions.get(&function.name).is_some_and(|owner| *owner != library.name);
        if let Some(function) = library.functions.iter().find(taken) {
            return Err(Refused::Text(format!("ERR Function {} already exists", shown(&function.name))));
        }
        let bytes = self.library_bytes + library.code.len() - former.map_or(0, |former| former.code.len());
        if bytes > FUNCTION_BYTES_MAX {
            return Err(Refused::Text(format!(
                "ERR libraries may have {FUNCTION_BYTES_MAX} bytes together; delete one, or send a smaller one"
            )));
        }
        Ok(())
    }

    /// Removes a library; false if there is none of this name.
    pub(crate) fn remove(&mut self, name: &[u8]) -> bool {
        let Some(gone) = self.libraries.remove(name) else { return false };
        gone.functions.iter().for_each(|function| _ = self.functions.remove(&function.name));
        self.library_bytes -= gone.code.len();
        true
    }

    /// Removes all libraries.
    pub fn remove_all(&mut self) {
        (self.libraries, self.functions, self.library_bytes) = Default::default();
    }

    pub(crate) fn digest(&self, hasher: &mut SipHasher13) {
        hasher.write_u64(self.flushes);
        self.order.iter().for_each(|sha| hasher.write(sha));
        let mut bytes = Vec::new();
        self.libraries.values().for_each(|library| library.encode(&mut bytes));
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
    }
}

impl Library {
    /// A library; its functions in any order.
    #[must_use]
    pub fn new(name: Box<[u8]>, code: Bytes, mut functions: Vec<Function>) -> Self {
        functions.sort_by(|one, other| one.name.cmp(&other.name));
        let sha = sha_of(&code);
        Self { name, code, functions, sha }
    }

    /// The function of this name.
    #[must_use]
    pub fn function(&self, name: &[u8]) -> Option<&Function> {
        self.functions.iter().find(|function| *function.name == *name)
    }

    /// Appends name, text and functions.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.name);
        put_bytes(out, &self.code);
        self.encode_functions(out);
    }

    pub(crate) fn encode_functions(&self, out: &mut Vec<u8>) {
        put_varint(out, self.functions.len() as u64);
        for Function { name, description, flags } in &self.functions {
            put_bytes(out, name);
            out.extend_from_slice(&[flags.0, u8::from(description.is_some())]);
            description.iter().for_each(|text| put_bytes(out, text));
        }
    }

    /// What [`Library::encode`] wrote.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (name, code) = (reader.bytes()?, reader.bytes()?);
        Self::with_functions(name, code, reader)
    }

    pub(crate) fn with_functions(name: &[u8], code: &[u8], reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut functions: Vec<Function> = Vec::new();
        for _ in 0..reader.varint()? {
            let (name, flags) = (reader.bytes()?, Flags(reader.u8()?));
            let description = if reader.u8()? == 0 { None } else { Some(reader.bytes()?.into()) };
            if functions.last().is_some_and(|last| *last.name >= *name) {
                return Err(DecodeError::Overlong);
            }
            functions.push(Function { name: name.into(), description, flags });
        }
        Ok(Self::new(name.into(), Bytes::copy_from_slice(code), functions))
    }
}

/// The SHA-1 of a script's text.
#[must_use]
pub fn sha_of(body: &[u8]) -> Sha {
    sha1_smol::Sha1::from(body).digest().bytes()
}

/// A SHA-1 in 40 hexadecimal digits of any case.
#[must_use]
pub fn sha_from(digits: &[u8]) -> Option<Sha> {
    let mut sha = Sha::default();
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != sha.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in sha.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(sha)
}

/// The 40 digits of a SHA-1.
#[must_use]
pub fn sha_text(sha: &Sha) -> String {
    let digit = |four: u8| char::from(b"0123456789abcdef"[usize::from(four)]);
    sha.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, functions: &[&str]) -> Library {
        let function = |name: &&str| Function { name: name.as_bytes().into(), description: None, flags: Flags(3) };
        let functions = functions.iter().map(function).collect();
        Library::new(name.as_bytes().into(), Bytes::from_static(b"code"), functions)
    }

    #[test]
    fn a_function_is_of_one_library() {
        let mut scripts = Scripts::default();
        scripts.add(library("a", &["f", "g"]));
        let again = scripts.may_add(&library("a", &["f"]), false).unwrap_err().to_string();
        assert_eq!(again, "ERR Library 'a' already exists");
        let taken = scripts.may_add(&library("b", &["g"]), true).unwrap_err().to_string();
        assert_eq!(taken, "ERR Function g already exists");
        scripts.may_add(&library("a", &["f", "h"]), true).unwrap();
        scripts.add(library("a", &["f", "h"]));
        assert!(scripts.function(b"g").is_none() && scripts.function(b"h").is_some());
        assert!(scripts.remove(b"a") && !scripts.remove(b"a") && scripts.function_count() == 0);
    }

    #[test]
    fn the_oldest_scripts_go() {
        let mut scripts = Scripts::default();
        let body = |n: u8| Bytes::from(vec![n; SCRIPT_BYTES_MAX / 2 - 1]);
        let shas: Vec<Sha> = (0..3).map(|n| sha_of(&body(n))).collect();
        (0..3).zip(&shas).for_each(|(n, sha)| assert!(scripts.keep(*sha, body(n))));
        assert!(scripts.body(&shas[0]).is_none() && scripts.body(&shas[1]).is_some());
        assert!(!scripts.keep(shas[2], body(2)));
        scripts.flush();
        assert!(scripts.body(&shas[2]).is_none() && scripts.flushes() == 1);
    }

    #[test]
    fn hashes_are_read_in_any_case() {
        let sha = sha_of(b"return 1");
        assert_eq!(sha_text(&sha), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(sha_from(b"E0e1f9fabfc9d4800c877a703b823ac0578ff8db"), Some(sha));
        assert_eq!((sha_from(b"e0"), sha_from(&[b'g'; 40])), (None, None));
    }
}
