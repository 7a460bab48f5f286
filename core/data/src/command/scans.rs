//! HSCAN, SSCAN and their like: a walk over the members of one value, page by page.
//!
//! Members stand in an order in which new ones come at the end, and the last fills the place of one that goes. The walk
//! begins at the end; its cursor says how many members are still to come, so it needs no memory of its own, and members
//! that stay meanwhile are all met.

use super::glob::glob;
use super::keyless;
use super::strings::integer;
use crate::value::Word;
use crate::{Refused, Reply};
use std::ops::Range;

/// What stands behind the cursor.
#[derive(Debug)]
pub(super) struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
}

/// Without COUNT.
const COUNT: usize = 10;

/// The cursor in a command.
pub(super) fn cursor(text: &[u8]) -> Result<u64, Refused> {
    keyless::cursor(text).ok_or(Refused::InvalidCursor)
}

/// The answer where there is no value.
pub(super) fn nothing() -> Reply {
    reply(0, Vec::new())
}

/// A page: the cursor of the next and what is in this one.
pub(super) fn reply(next: impl std::fmt::Display, members: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::text(next), Reply::Array(members)])
}

impl<'a> Options<'a> {
    pub(super) fn parse(words: &[&'a [u8]]) -> Result<Self, Refused> {
        let mut options = Self { pattern: None, count: COUNT };
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(Refused::Syntax) };
            if name.eq_ignore_ascii_case(b"count") {
                let count = usize::try_from(integer(value)?).ok();
                options.count = count.filter(|count| *count > 0).ok_or(Refused::Syntax)?;
            } else if name.eq_ignore_ascii_case(b"match") {
                options.pattern = Some(value);
            } else {
                return Err(Refused::Syntax);
            }
        }
        Ok(options)
    }

    /// The places that the page at `cursor` has in a value of `len` members, and the cursor of the next. `at_once`: a value
    /// that Redis keeps in one piece, of which it returns all whatever is asked.
    pub(super) fn page(&self, cursor: u64, len: usize, at_once: bool) -> (Range<usize>, usize) {
        if at_once {
            return (0..len, 0);
        }
        let cursor = usize::try_from(cursor).unwrap_or(usize::MAX);
        let end = if cursor == 0 { len } else { len.min(cursor) };
        let start = end.saturating_sub(self.count);
        (start..end, start)
    }

    /// How many members a page has, about.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// True if MATCH lets it through.
    pub(super) fn wants(&self, word: Word<'_>) -> bool {
        self.pattern.is_none_or(|pattern| word.read(|text| glob(pattern, text)))
    }
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn pages_come_from_the_end_and_meet_at_the_front() {
        let options = Options::parse(&[b"COUNT", b"4"]).unwrap();
        assert_eq!(options.page(0, 10, false), (6..10, 6));
        assert_eq!(options.page(6, 10, false), (2..6, 2));
        assert_eq!(options.page(2, 10, false), (0..2, 0));
        assert_eq!(options.page(6, 3, false), (0..3, 0), "members that went were behind the cursor or are here");
        assert_eq!(options.page(u64::MAX, 10, false), (6..10, 6));
        assert_eq!(options.page(6, 10, true), (0..10, 0));
    }
}
