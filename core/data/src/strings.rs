//! Many strings in one piece of memory, for replies.

use crate::Reply;
use crate::value::Word;

/// A list of strings, for a reply of many small ones: as a list of replies each would take and move a reply's whole room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

/// Room for each of the strings that are to come.
const STRING_BYTES_GUESS: usize = 64;
/// No more room than this is taken for what is to come.
const GUESS_BYTES_MAX: usize = 64 * 1024;

impl Strings {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The string at `at`, if there are so many.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        let end = *self.ends.get(at)?;
        let start = at.checked_sub(1).map_or(0, |former| self.ends[former]);
        Some(&self.bytes[start..end])
    }

    /// All, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|at| self.get(at).expect("there are so many"))
    }

    fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
    }

    fn with_room(count: usize) -> Self {
        let bytes = Vec::with_capacity((count * STRING_BYTES_GUESS).min(GUESS_BYTES_MAX));
        Self { bytes, ends: Vec::with_capacity(count) }
    }
}

impl Reply {
    /// An array of strings. Large ones, which stand apart, are shared and not copied.
    pub fn strings<'a>(words: impl Iterator<Item = Word<'a>>) -> Self {
        let mut strings = Strings::with_room(words.size_hint().0);
        let mut words = words;
        while let Some(word) = words.next() {
            match word {
                Word::Apart(_) => {
                    let before = strings.iter().map(Self::bulk);
                    let rest = std::iter::once(word).chain(words).map(|word| Self::Bulk(word.blob()));
                    return Self::Array(before.chain(rest).collect());
                }
                word => word.read(|bytes| strings.push(bytes)),
            }
        }
        Self::Strings(strings)
    }
}

/// An array of strings is what it is however it is held.
impl PartialEq<[Reply]> for Strings {
    fn eq(&self, other: &[Reply]) -> bool {
        let same = |(own, other): (&[u8], &Reply)| matches!(other, Reply::Bulk(blob) if blob.as_bytes() == own);
        self.len() == other.len() && self.iter().zip(other).all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blob;
    use bytes::Bytes;

    #[test]
    fn an_array_of_strings_is_what_it_is_however_it_is_held() {
        let words = || [Word::Text(b"a"), Word::Int(-17), Word::Text(b"")].into_iter();
        let plain = |texts: &[&str]| Reply::Array(texts.iter().map(|text| Reply::bulk(text.as_bytes())).collect());
        let strings = Reply::strings(words());
        assert!(matches!(&strings, Reply::Strings(strings) if strings.len() == 3));
        assert_eq!(strings, plain(&["a", "-17", ""]));
        assert_eq!(plain(&["a", "-17", ""]), strings);
        for other in [plain(&["a", "-17"]), plain(&["a", "-17", "b"]), Reply::Array(vec![Reply::Nil; 3]), Reply::Nil] {
            assert_ne!(strings, other);
            assert_ne!(other, strings);
        }
        let large = Bytes::from_static(b"stands apart");
        let mixed: Vec<Word<'_>> = words().chain([Word::Apart(&large), Word::Text(b"z")]).collect();
        let mixed = Reply::strings(mixed.into_iter());
        assert_eq!(mixed, plain(&["a", "-17", "", "stands apart", "z"]));
        assert!(matches!(&mixed, Reply::Array(items) if matches!(&items[3], Reply::Bulk(Blob::Shared(_)))));
        let mut bytes = [Vec::new(), Vec::new()];
        Reply::strings(words()).encode(&mut bytes[0]);
        plain(&["a", "-17", ""]).encode(&mut bytes[1]);
        assert_eq!(bytes[0], bytes[1]);
    }
}
