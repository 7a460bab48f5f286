//! What a range of a sorted set is made of: ranks, scores or names, and where such a range lies.

use crate::Refused;
use crate::command::float::c_float;
use crate::command::strings::integer;
use crate::value::zset::Name;
use crate::value::{Container, Zset};
use std::ops::Range;

/// What the two ends of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Name,
}

/// The direction in which members are returned; backwards, the greater end stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Forward,
    Backward,
}

/// A range, as a command spells it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bounds<'a> {
    /// From one rank to another, which count from the end if negative; from the greater end if backwards.
    Ranks(i64, i64, Direction),
    Scores(Score, Score),
    Names(Name<'a>, Name<'a>),
}

/// An end of a range of scores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    at: f64,
    /// The score itself is not in the range.
    open: bool,
}

impl<'a> Bounds<'a> {
    /// Reads the two words of a range in the order in which they stand.
    pub(super) fn read(by: By, direction: Direction, words: [&'a [u8]; 2]) -> Result<Self, Refused> {
        let [first, second] = words;
        let (min, max) = if direction == Direction::Forward { (first, second) } else { (second, first) };
        match by {
            By::Rank => Ok(Self::Ranks(integer(first)?, integer(second)?, direction)),
            By::Score => {
                let wrong = || Refused::Text("ERR min or max is not a float".to_owned());
                let ends = Score::read(min).zip(Score::read(max)).ok_or_else(wrong)?;
                Ok(Self::Scores(ends.0, ends.1))
            }
            By::Name => {
                let wrong = || Refused::Text("ERR min or max not valid string range item".to_owned());
                let ends = name(min).zip(name(max)).ok_or_else(wrong)?;
                Ok(Self::Names(ends.0, ends.1))
            }
        }
    }

    /// The ranks of the members in the range.
    pub(super) fn ranks(&self, zset: &Zset) -> Range<usize> {
        match *self {
            Self::Ranks(start, end, direction) => {
                let found = ranks(start, end, zset.len());
                match direction {
                    Direction::Forward => found,
                    Direction::Backward => zset.len() - found.end..zset.len() - found.start,
                }
            }
            Self::Scores(min, max) => {
                let begin = zset.lower(|score| if min.open { score <= min.at } else { score < min.at });
                let end = zset.lower(|score| if max.open { score < max.at } else { score <= max.at });
                begin..end.max(begin)
            }
            Self::Names(min, max) => zset.between(min, max),
        }
    }
}

impl Score {
    fn read(word: &[u8]) -> Option<Self> {
        let (open, number) = match word.strip_prefix(b"(") {
            Some(number) => (true, number),
            None => (false, word),
        };
        c_float(number).map(|at| Self { at, open })
    }
}

fn name(word: &[u8]) -> Option<Name<'_>> {
    match word.split_first()? {
        (b'-', []) => Some(Name::First),
        (b'+', []) => Some(Name::Last),
        (b'[', name) => Some(Name::From(name)),
        (b'(', name) => Some(Name::Beyond(name)),
        _ => None,
    }
}

/// The ranks from `start` to `end`, both in, which count from the end if negative.
fn ranks(start: i64, end: i64, len: usize) -> Range<usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (start, end) = (from_end(start).max(0), from_end(end).min(len - 1));
    let at = |n: i64| usize::try_from(n).unwrap_or(0);
    if start > end { 0..0 } else { at(start)..at(end) + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(by: By, direction: Direction, first: &str, second: &str) -> Result<Range<usize>, String> {
        let mut zset = Zset::default();
        for (member, score) in [("a", -1.0), ("b", 0.0), ("c", 0.0), ("d", 2.5), ("e", f64::INFINITY)] {
            zset.insert(member.as_bytes(), score);
        }
        let bounds = Bounds::read(by, direction, [first.as_bytes(), second.as_bytes()]);
        bounds.map(|bounds| bounds.ranks(&zset)).map_err(|refused| refused.to_string())
    }

    #[test]
    fn ranges_lie_where_redis_sees_them() {
        use Direction::{Backward, Forward};
        for (by, direction, first, second, ranks) in [
            (By::Rank, Forward, "0", "-1", 0..5),
            (By::Rank, Forward, "-2", "-1", 3..5),
            (By::Rank, Backward, "0", "1", 3..5),
            (By::Rank, Forward, "-9223372036854775808", "9223372036854775807", 0..5),
            (By::Score, Forward, "0", "2.5", 1..4),
            (By::Score, Forward, "(0", "(2.5", 3..3),
            (By::Score, Forward, "-inf", "(inf", 0..4),
            (By::Score, Backward, "+inf", "0", 1..5),
            (By::Score, Forward, "", "0x2", 1..3),
            (By::Score, Forward, "(", "5", 3..4),
            (By::Name, Forward, "-", "+", 0..5),
            (By::Name, Forward, "(a", "[c", 1..3),
            (By::Name, Backward, "[c", "(a", 1..3),
        ] {
            assert_eq!(found(by, direction, first, second), Ok(ranks), "{first} {second}");
        }
        for (first, second) in [("5", "1"), ("3", "2"), ("7", "9"), ("0", "-9")] {
            assert!(found(By::Rank, Forward, first, second).unwrap().is_empty(), "{first} {second}");
            assert!(found(By::Score, Forward, &format!("({second}"), second).unwrap().is_empty());
        }
        for (by, word, text) in [
            (By::Rank, "1.0", "ERR value is not an integer or out of range"),
            (By::Score, "x", "ERR min or max is not a float"),
            (By::Score, "(nan", "ERR min or max is not a float"),
            (By::Name, "a", "ERR min or max not valid string range item"),
            (By::Name, "", "ERR min or max not valid string range item"),
            (By::Name, "+x", "ERR min or max not valid string range item"),
        ] {
            let good = if by == By::Name { "-" } else { "0" };
            assert_eq!(found(by, Forward, word, good), Err(text.to_owned()));
            assert_eq!(found(by, Forward, good, word), Err(text.to_owned()));
        }
    }
}
