//! What SORT is asked: its options, the patterns among them, and where its keys stand.

use super::super::strings::integer;
use super::super::{Command, Positions};
use super::{SORT_ID, SORT_RO_ID};
use crate::keyspace::Value;
use crate::value::{Hash, Word};
use crate::{Context, Keyspace, Refused};
use base::Slot;
use std::ops::Range;

/// Which way members are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Direction {
    #[default]
    Up,
    Down,
}

/// Whether there is an option STORE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stores {
    Yes,
    No,
}

/// Options of SORT.
#[derive(Debug, Default)]
pub(super) struct Request<'a> {
    /// What the members are ordered by, if not by themselves.
    pub(super) by: Option<Pattern<'a>>,
    /// BY a pattern without an asterisk: nothing is ordered.
    pub(super) unsorted: bool,
    pub(super) direction: Direction,
    /// By bytes, not by numbers.
    pub(super) alpha: bool,
    limit: Option<(i64, i64)>,
    pub(super) gets: Vec<Pattern<'a>>,
    pub(super) store: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// The options behind the key; `args` with the name.
    pub(super) fn parse(args: &[&'a [u8]], stores: Stores) -> Result<Self, Refused> {
        let mut request = Self::default();
        let mut rest = &args[2..];
        while let [word, more @ ..] = rest {
            rest = match (word.to_ascii_lowercase().as_slice(), more) {
                (b"asc", _) => {
                    request.direction = Direction::Up;
                    more
                }
                (b"desc", _) => {
                    request.direction = Direction::Down;
                    more
                }
                (b"alpha", _) => {
                    request.alpha = true;
                    more
                }
                (b"limit", [start, count, more @ ..]) => {
                    request.limit = Some((integer(start)?, integer(count)?));
                    more
                }
                (b"store", [key, more @ ..]) if stores == Stores::Yes => {
                    request.store = Some(*key);
                    more
                }
                (b"by", [pattern, more @ ..]) => {
                    request.by = Some(Pattern::of(pattern));
                    // As in Redis, a later pattern does not take this back.
                    request.unsorted |= !pattern.contains(&b'*');
                    more
                }
                (b"get", [pattern, more @ ..]) => {
                    request.gets.push(Pattern::of(pattern));
                    more
                }
                _ => return Err(Refused::Syntax),
            };
        }
        Ok(request)
    }

    /// Which of `len` members LIMIT leaves.
    pub(super) fn range(&self, len: usize) -> Range<usize> {
        let (start, count) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(start.max(0)).map_or(len, |start| start.min(len));
        match usize::try_from(count) {
            Ok(count) => start..start.saturating_add(count).min(len),
            Err(_) => start..len,
        }
    }
}

/// The key and, of STOREs, the last destination.
pub(super) fn key_positions(args: &[&[u8]]) -> Positions {
    let (mut at, mut store) = (2, None);
    while let Some(word) = args.get(at) {
        at += match word.to_ascii_lowercase().as_slice() {
            b"limit" => 3,
            b"by" | b"get" => 2,
            b"store" if at + 1 < args.len() => {
                store = Some(at + 1);
                2
            }
            _ => 1,
        };
    }
    [1].into_iter().chain(store).collect()
}

/// What BY and GET look for, with a member in the place of the asterisk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    /// `#`: the member itself.
    Member,
    /// Without an asterisk: nothing is found.
    Nothing,
    /// A string, or a field of a hash.
    Key { before: &'a [u8], after: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    fn of(pattern: &'a [u8]) -> Self {
        if pattern == b"#" {
            return Self::Member;
        }
        let Some(star) = pattern.iter().position(|byte| *byte == b'*') else { return Self::Nothing };
        let (before, after) = (&pattern[..star], &pattern[star + 1..]);
        let arrow = after.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < after.len());
        match arrow {
            Some(at) => Self::Key { before, after: &after[..at], field: Some(&after[at + 2..]) },
            None => Self::Key { before, after, field: None },
        }
    }

    /// What it finds for a member.
    pub(super) fn look_up<'k>(self, keyspace: &'k Keyspace, cx: &Context, member: Word<'k>) -> Option<Word<'k>> {
        let (before, after, field) = match self {
            Self::Member => return Some(member),
            Self::Nothing => return None,
            Self::Key { before, after, field } => (before, after, field),
        };
        let key = member.read(|member| [before, member, after].concat());
        if let Some(field) = field {
            return keyspace.container::<Hash>(cx, &key).ok()??.get(field);
        }
        match keyspace.get(cx, &key)?.value {
            Value::Str(bytes) => Some(Word::Text(bytes)),
            Value::Large(bytes) => Some(Word::Apart(bytes)),
            Value::Other(_) => None,
        }
    }

    /// The slot of all keys that it names, if its hashtag says so.
    fn slot(self) -> Option<Option<Slot>> {
        let Self::Key { before, .. } = self else { return None };
        let open = before.iter().position(|byte| *byte == b'{');
        let tagged = open
            .is_some_and(|open| before[open + 1..].iter().position(|byte| *byte == b'}').is_some_and(|len| len > 0));
        Some(tagged.then(|| Slot::of(before)))
    }
}

/// The slots of the keys that BY and GET name besides the keys of the command: those of their hashtags. Refused where a pattern
/// has none, for then its keys stand anywhere.
pub fn pattern_slots(command: &Command, args: &[&[u8]]) -> Result<Vec<Slot>, Refused> {
    if command.id != SORT_ID && command.id != SORT_RO_ID {
        return Ok(Vec::new());
    }
    // What can't be read is refused when it runs.
    let Ok(request) = Request::parse(args, Stores::Yes) else { return Ok(Vec::new()) };
    let slots =
        request.by.iter().filter(|_| !request.unsorted).chain(&request.gets).filter_map(|pattern| pattern.slot());
    slots.collect::<Option<_>>().ok_or_else(|| {
        let text = "ERR the keys that BY and GET name may stand in other shards; give the patterns and the key one {hashtag} \
                    before the asterisk, or run with --shards 1";
        Refused::Text(text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_come_apart_at_the_asterisk_and_the_arrow() {
        let key = |before: &'static str, after: &'static str, field: Option<&'static str>| Pattern::Key {
            before: before.as_bytes(),
            after: after.as_bytes(),
            field: field.map(str::as_bytes),
        };
        for (text, wanted) in [
            ("#", Pattern::Member),
            ("", Pattern::Nothing),
            ("nosort", Pattern::Nothing),
            ("a->b", Pattern::Nothing),
            ("*", key("", "", None)),
            ("w_*", key("w_", "", None)),
            ("w_*_x*", key("w_", "_x*", None)),
            ("h_*->f", key("h_", "", Some("f"))),
            ("h_*_x->f->g", key("h_", "_x", Some("f->g"))),
            ("h_*->", key("h_", "->", None)),
            ("a->b*", key("a->b", "", None)),
        ] {
            assert_eq!(Pattern::of(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn the_key_and_the_last_destination_are_keys() {
        for (line, wanted) in [
            ("sort a", &[1][..]),
            ("sort a store b", &[1, 3]),
            ("sort a by store get store limit store store store x", &[1, 10]),
            ("sort a STORE b desc store c", &[1, 6]),
            ("sort a store", &[1]),
        ] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert_eq!(key_positions(&args).as_slice(), wanted, "{line}");
        }
    }

    #[test]
    fn where_patterns_lead_must_be_known() {
        let command = super::super::super::find(b"sort").expect("a command");
        let slots = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            pattern_slots(command, &args).ok()
        };
        let x = Slot::of(b"x");
        assert_eq!(slots("sort {x}a by {x}w_* get {x}h_*->{y} get # get none"), Some(vec![x, x]));
        assert_eq!(slots("sort {x}a by nosort by w_* store {x}b limit 0 1"), Some(Vec::new()));
        for line in ["sort a by w_*", "sort a get *", "sort a get *{x}", "sort a get {x*}", "sort a get {}{x}*"] {
            assert_eq!(slots(line), None, "{line}");
        }
    }
}
