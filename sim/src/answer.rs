//! Answers as a client sees them, read from RESP2 bytes, and what the oracle says they may be.

use crate::oracle::payloads;
use std::collections::BTreeSet;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Nil,
    NilArray,
    Array(Vec<Answer>),
}

/// What a reply must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    Is(Answer),
    /// An integer in this range: DBSIZE counts keys that are dead and not yet removed.
    Between(i64, i64),
    /// One of these keys, or nothing if there are none.
    KeyOf(BTreeSet<Vec<u8>>),
    /// Exactly these keys, in any order.
    Keys(BTreeSet<Vec<u8>>),
    /// A cursor, and some of these keys.
    PageOf(BTreeSet<Vec<u8>>),
    /// Members of a value, in any order.
    Rows(Rows),
    /// A payload of DUMP that holds this, as [`payloads`] tells it.
    Payload(String),
    /// An error that begins so.
    ErrorWith(&'static str),
    /// An error that begins so, with where it was raised behind it: a script's.
    ErrorOf(String),
    /// An array of these.
    All(Vec<Expected>),
}

/// Members of a value that may be answered: each a row of as many words as the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    pub rows: Vec<Vec<Vec<u8>>>,
    pub wanted: Wanted,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All, each as often as it is there.
    All,
    /// So many different ones.
    Different(usize),
    /// So many that may be the same.
    Draws(usize),
    /// Any, behind a cursor.
    Page,
}

impl Answer {
    /// `+OK`.
    #[must_use]
    pub fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    /// A bulk string.
    #[must_use]
    pub fn bulk(bytes: &[u8]) -> Self {
        Self::Bulk(bytes.to_vec())
    }

    /// Reads one reply off the front of `bytes`: the reply and its length, or nothing if it is not whole.
    ///
    /// # Panics
    ///
    /// If the bytes are no RESP2: the server's fault.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[1..end]).expect("a reply's first line is text");
        let next = end + 2;
        Some(match bytes[0] {
            b'+' => (Self::Simple(line.to_owned()), next),
            b'-' => (Self::Error(line.to_owned()), next),
            b':' => (Self::Int(line.parse().expect("an integer reply is one")), next),
            b'$' if line == "-1" => (Self::Nil, next),
            b'$' => {
                let len: usize = line.parse().expect("a bulk reply has a length");
                let body = bytes.get(next..next + len + 2)?;
                assert!(body.ends_with(b"\r\n"), "a bulk reply ends with a line break");
                (Self::bulk(&body[..len]), next + len + 2)
            }
            b'*' if line == "-1" => (Self::NilArray, next),
            b'*' => {
                let count: usize = line.parse().expect("an array reply has a count");
                let (mut parts, mut at) = (Vec::new(), next);
                for _ in 0..count {
                    let (part, used) = Self::read(bytes.get(at..).filter(|rest| !rest.is_empty())?)?;
                    parts.push(part);
                    at += used;
                }
                (Self::Array(parts), at)
            }
            other => panic!("a reply begins with {other}"),
        })
    }
}

impl Expected {
    /// True if `answer` is what it must be.
    #[must_use]
    pub fn allows(&self, answer: &Answer) -> bool {
        match (self, answer) {
            (Self::Is(wanted), got) => wanted == got,
            (Self::Between(least, most), Answer::Int(n)) => (least..=most).contains(&n),
            (Self::KeyOf(keys), Answer::Nil) => keys.is_empty(),
            (Self::KeyOf(keys), Answer::Bulk(key)) => keys.contains(key),
            (Self::Keys(keys), Answer::Array(parts)) => parts.len() == keys.len() && within(parts, keys),
            (Self::PageOf(keys), Answer::Array(parts)) => match parts.as_slice() {
                [Answer::Bulk(_), Answer::Array(parts)] => within(parts, keys),
                _ => false,
            },
            (Self::Rows(rows), Answer::Array(parts)) => rows.allow(parts),
            (Self::Payload(wanted), Answer::Bulk(payload)) => payloads::holds(payload).as_ref() == Some(wanted),
            (Self::ErrorWith(start), Answer::Error(text)) => text.starts_with(start),
            (Self::ErrorOf(start), Answer::Error(text)) => text.starts_with(start.as_str()),
            (Self::All(wanted), Answer::Array(parts)) => {
                wanted.len() == parts.len() && wanted.iter().zip(parts).all(|(wanted, part)| wanted.allows(part))
            }
            _ => false,
        }
    }
}

impl Rows {
    fn allow(&self, parts: &[Answer]) -> bool {
        if self.wanted == Wanted::Page {
            return match parts {
                [Answer::Bulk(_), Answer::Array(parts)] => self.rows_of(parts).is_some(),
                _ => false,
            };
        }
        let Some(mut got) = self.rows_of(parts) else { return false };
        got.sort_unstable();
        match self.wanted {
            Wanted::All => {
                let mut all: Vec<&[Vec<u8>]> = self.rows.iter().map(Vec::as_slice).collect();
                all.sort_unstable();
                got.iter().map(Vec::as_slice).eq(all)
            }
            Wanted::Different(count) => got.len() == count && got.is_sorted_by(|a, b| a < b),
            Wanted::Draws(count) => got.len() == count,
            Wanted::Page => unreachable!("it has a cursor"),
        }
    }

    /// The rows in an answer, if all of them are rows of this.
    fn rows_of(&self, parts: &[Answer]) -> Option<Vec<Vec<Vec<u8>>>> {
        let known: BTreeSet<&[Vec<u8>]> = self.rows.iter().map(Vec::as_slice).collect();
        let width = self.rows.first().map_or(1, Vec::len);
        let word = |part: &Answer| if let Answer::Bulk(word) = part { Some(word.clone()) } else { None };
        let row = |parts: &[Answer]| -> Option<Vec<Vec<u8>>> {
            let row: Vec<Vec<u8>> = parts.iter().map(word).collect::<Option<_>>()?;
            known.contains(row.as_slice()).then_some(row)
        };
        parts.chunks(width).map(row).collect()
    }
}

fn within(parts: &[Answer], keys: &BTreeSet<Vec<u8>>) -> bool {
    parts.iter().all(|part| matches!(part, Answer::Bulk(key) if keys.contains(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_all_or_so_many_or_any() {
        let rows: Vec<Vec<Vec<u8>>> =
            ["a1", "b2", "b2"].iter().map(|row| row.bytes().map(|b| vec![b]).collect()).collect();
        let allows = |wanted, text: &str| {
            let parts = text.bytes().map(|byte| Answer::bulk(&[byte])).collect();
            Expected::Rows(Rows { rows: rows.clone(), wanted }).allows(&Answer::Array(parts))
        };
        assert!(allows(Wanted::All, "b2a1b2") && !allows(Wanted::All, "a1b2") && !allows(Wanted::All, "a1a1b2"));
        assert!(allows(Wanted::Different(2), "b2a1") && !allows(Wanted::Different(2), "b2b2"));
        assert!(
            allows(Wanted::Draws(2), "b2b2") && !allows(Wanted::Draws(2), "b1b2") && !allows(Wanted::Draws(2), "b2b")
        );
        let page = |text: &str| {
            let parts = text.bytes().map(|byte| Answer::bulk(&[byte])).collect();
            let rows = Rows { rows: rows.clone(), wanted: Wanted::Page };
            Expected::Rows(rows).allows(&Answer::Array(vec![Answer::bulk(b"0"), Answer::Array(parts)]))
        };
        assert!(page("") && page("b2") && !page("a2"));
    }

    #[test]
    fn replies_are_read_whole_or_not_at_all() {
        let bytes = b"*3\r\n$2\r\na\n\r\n:-7\r\n*1\r\n$-1\r\n";
        let whole = Answer::Array(vec![Answer::bulk(b"a\n"), Answer::Int(-7), Answer::Array(vec![Answer::Nil])]);
        assert_eq!(Answer::read(bytes), Some((whole, bytes.len())));
        for cut in 1..bytes.len() {
            assert_eq!(Answer::read(&bytes[..cut]), None, "{cut}");
        }
    }
}
