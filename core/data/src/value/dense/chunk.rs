//! Up to 64 members of a large value, each found by its number.
//!
//! Long words stand apart, in a list of their own, so that to move members about is cheap whatever they are.

use super::small::{make_room, member_size, trim};
use super::word::{self, Code, Word};
use bytes::Bytes;
use smallvec::SmallVec;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Chunk<const WORDS: usize> {
    /// Where each member begins.
    starts: [u16; COUNT_MAX],
    len: usize,
    data: Vec<u8>,
    /// Long words, and places of some that have gone.
    apart: Vec<Option<Bytes>>,
    apart_bytes: usize,
}

/// Members of one chunk.
pub(super) const COUNT_MAX: usize = 64;
/// Longer words stand apart.
const WORD_BYTES_MAX: usize = 256;
/// The most words of a member.
const WORDS_MAX: usize = 2;
const _: () = assert!(COUNT_MAX * WORDS_MAX * (WORD_BYTES_MAX + 3) <= u16::MAX as usize, "a start has 16 bits");
const _: () = assert!(COUNT_MAX * WORDS_MAX <= u8::MAX as usize, "a place apart has 8 bits");

/// A member on its way from one place to another.
#[derive(Debug)]
pub(super) struct Copied<const WORDS: usize> {
    data: SmallVec<[u8; 128]>,
    apart: [Option<Bytes>; WORDS],
}

impl<const WORDS: usize> Chunk<WORDS> {
    pub(super) fn new() -> Self {
        Self { starts: [0; COUNT_MAX], len: 0, data: Vec::new(), apart: Vec::new(), apart_bytes: 0 }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        let apart = self.apart.capacity() * size_of::<Option<Bytes>>() + self.apart_bytes;
        size_of::<Self>() + self.data.capacity() + apart
    }

    /// The bytes of the members from the `at`th on, and the words that stand apart.
    pub(super) fn from(&self, at: usize) -> (&[u8], &[Option<Bytes>]) {
        (&self.data[usize::from(self.starts[at])..], &self.apart)
    }

    /// True if the key of the `at`th member is `key`, whose code is `code`.
    pub(super) fn is_key(&self, at: usize, key: Word<'_>, code: &Code<'_>) -> bool {
        let (data, apart) = self.from(at);
        match word::place_apart(data) {
            None => code.begins(data),
            Some(place) => match (key, &apart[place]) {
                (Word::Text(text), Some(bytes)) => text == bytes,
                (Word::Apart(these), Some(those)) => these == those,
                _ => false,
            },
        }
    }

    pub(super) fn push(&mut self, words: &[Word<'_>; WORDS]) {
        self.starts[self.len] = offset(self.data.len());
        self.len += 1;
        let end = self.data.len();
        self.put(end, 0, words);
        if self.len == COUNT_MAX {
            self.data.shrink_to_fit();
        }
    }

    /// Puts words in place of a member.
    pub(super) fn replace(&mut self, at: usize, words: &[Word<'_>; WORDS]) {
        let start = usize::from(self.starts[at]);
        let size = member_size::<WORDS>(&self.data[start..]);
        self.exchange(at, start, size, words);
    }

    /// Puts words in place of those behind a member's key.
    pub(super) fn replace_rest(&mut self, at: usize, rest: &[Word<'_>]) {
        let start = usize::from(self.starts[at]);
        let data = &self.data[start..];
        let key = word::size(data);
        let size = member_size::<WORDS>(data) - key;
        self.exchange(at, start + key, size, rest);
    }

    /// Takes the last member out.
    pub(super) fn pop(&mut self) {
        self.len -= 1;
        let start = usize::from(self.starts[self.len]);
        self.free_apart(start, self.data.len() - start);
        self.data.truncate(start);
        trim(&mut self.data);
    }

    pub(super) fn copy_out(&self, at: usize) -> Copied<WORDS> {
        let (data, apart) = self.from(at);
        let mut used = 0;
        let apart = std::array::from_fn(|_| {
            let place = word::place_apart(&data[used..]);
            used += word::size(&data[used..]);
            place.and_then(|place| apart[place].clone())
        });
        Copied { data: SmallVec::from_slice(&data[..used]), apart }
    }

    /// Writes words of the `at`th member over the `old` bytes at `start`; the members behind move.
    fn exchange(&mut self, at: usize, start: usize, old: usize, words: &[Word<'_>]) {
        self.free_apart(start, old);
        let before = self.data.len();
        self.put(start, old, words);
        if self.data.len() != before {
            for one in &mut self.starts[at + 1..self.len] {
                *one = offset(usize::from(*one) + self.data.len() - before);
            }
            trim(&mut self.data);
        }
    }

    fn put(&mut self, at: usize, old: usize, words: &[Word<'_>]) {
        let codes: SmallVec<[Code<'_>; WORDS_MAX]> = words.iter().map(|word| self.code(*word)).collect();
        make_room(&mut self.data, at, old, codes.iter().map(Code::len).sum());
        let mut at = at;
        for code in codes {
            code.write(&mut self.data[at..]);
            at += code.len();
        }
    }

    /// How a word stands here; a long one is put apart.
    fn code<'a>(&mut self, word: Word<'a>) -> Code<'a> {
        let bytes = match word {
            Word::Text(text) if text.len() > WORD_BYTES_MAX => Bytes::copy_from_slice(text),
            Word::Apart(bytes) => bytes.clone(),
            Word::Text(_) | Word::Int(_) => return word.code(),
        };
        self.apart_bytes += bytes.len();
        let place = self.apart.iter().position(Option::is_none).unwrap_or_else(|| {
            self.apart.push(None);
            self.apart.len() - 1
        });
        self.apart[place] = Some(bytes);
        Code::apart(u8::try_from(place).expect("a chunk has fewer words"))
    }

    /// Forgets what the words in these bytes have apart.
    fn free_apart(&mut self, start: usize, size: usize) {
        let mut at = start;
        while at < start + size {
            let data = &self.data[at..];
            at += word::size(data);
            if let Some(place) = word::place_apart(data)
                && let Some(bytes) = self.apart[place].take()
            {
                self.apart_bytes -= bytes.len();
            }
        }
        if self.apart_bytes == 0 {
            self.apart = Vec::new();
        }
    }
}

impl<const WORDS: usize> Copied<WORDS> {
    pub(super) fn words(&self) -> [Word<'_>; WORDS] {
        let mut rest = self.data.as_slice();
        std::array::from_fn(|at| {
            let used = word::size(rest);
            let word = match &self.apart[at] {
                Some(bytes) => Word::Apart(bytes),
                None => Word::first(rest, &[]).0,
            };
            rest = &rest[used..];
            word
        })
    }
}

fn offset(at: usize) -> u16 {
    u16::try_from(at).expect("the limits of a chunk keep its bytes below 65,536")
}
