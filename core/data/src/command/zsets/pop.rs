//! What takes members out of sorted sets at an end.

use super::{Command, Keys, Outcome, Run};
use crate::command::strings::integer;
use crate::keyspace::{Absent, Changed, Class};
use crate::value::{Container, Word, Zset};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "zpopmin",
        id: 620,
        arity: -2,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(zpopmin),
        summary: "Takes the members with the lowest scores out of a sorted set.",
        group: "sorted-set",
        since: "5.0.0",
    },
    Command {
        name: "zpopmax",
        id: 621,
        arity: -2,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(zpopmax),
        summary: "Takes the members with the highest scores out of a sorted set.",
        group: "sorted-set",
        since: "5.0.0",
    },
    Command {
        name: "zmpop",
        id: 622,
        arity: -4,
        flags: "write",
        keys: Keys::Counted { at: 1, destination: false },
        run: Run::Write(zmpop),
        summary: "Takes members out of the first sorted set that has any.",
        group: "sorted-set",
        since: "7.0.0",
    },
];

/// An end of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command) enum Extreme {
    Min,
    Max,
}

/// Members with their scores, the outermost first.
pub(in crate::command) type Popped = Vec<(Reply, Reply)>;

/// What the words of ZMPOP ask for, and those of BZMPOP behind its timeout.
#[derive(Clone, Copy, Debug)]
pub(in crate::command) struct Mpop<'a> {
    pub(in crate::command) keys: &'a [&'a [u8]],
    pub(in crate::command) from: Extreme,
    pub(in crate::command) count: usize,
}

impl<'a> Mpop<'a> {
    /// Reads the words from the number of keys on.
    pub(in crate::command) fn read(words: &'a [&'a [u8]]) -> Result<Self, Refused> {
        let number = |word: &[u8], text: &str| {
            let number = integer(word).ok().and_then(|number| usize::try_from(number).ok());
            number
                .filter(|number| *number > 0)
                .ok_or_else(|| Refused::Text(format!("ERR {text} should be greater than 0")))
        };
        let (first, words) = words.split_first().ok_or(Refused::Syntax)?;
        let (keys, rest) = words.split_at_checked(number(first, "numkeys")?).ok_or(Refused::Syntax)?;
        let (from, rest) = rest.split_first().ok_or(Refused::Syntax)?;
        let from = match from.to_ascii_lowercase().as_slice() {
            b"min" => Extreme::Min,
            b"max" => Extreme::Max,
            _ => return Err(Refused::Syntax),
        };
        let count = match rest {
            [] => 1,
            [word, count, more @ ..] if word.eq_ignore_ascii_case(b"count") => {
                let count = number(count, "count")?;
                if !more.is_empty() {
                    return Err(Refused::Syntax);
                }
                count
            }
            _ => return Err(Refused::Syntax),
        };
        Ok(Self { keys, from, count })
    }
}

fn zpopmin(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    zpop(keyspace, cx, args, Extreme::Min)
}

fn zpopmax(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    zpop(keyspace, cx, args, Extreme::Max)
}

fn zpop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]], from: Extreme) -> Outcome {
    if args.len() > 3 {
        return Err(Refused::Syntax);
    }
    let wrong = || Refused::Text("ERR value is out of range, must be positive".to_owned());
    let number = |word: &&[u8]| integer(word).ok().and_then(|count| usize::try_from(count).ok()).ok_or_else(wrong);
    let count = args.get(2).map(number).transpose()?;
    let popped = pop(keyspace, cx, args[1], from, count.unwrap_or(1))?;
    Ok(match count {
        Some(_) => Reply::Couples(popped),
        None => Reply::Array(popped.into_iter().flat_map(|(member, score)| [member, score]).collect()),
    })
}

fn zmpop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let asked = Mpop::read(&args[1..])?;
    let popped = mpop(keyspace, cx, asked)?;
    Ok(popped.map_or(Reply::NilArray, |(key, popped)| nested(key, popped)))
}

/// The answer of ZMPOP and BZMPOP: the key, then each member beside its score.
pub(in crate::command) fn nested(key: &[u8], popped: Popped) -> Reply {
    let members = popped.into_iter().map(|(member, score)| Reply::Array(vec![member, score]));
    Reply::Array(vec![Reply::bulk(key), Reply::Array(members.collect())])
}

/// Takes members out of the first key that is there; nothing if none is.
pub(in crate::command) fn mpop<'a>(
    keyspace: &mut Keyspace,
    cx: &Context,
    asked: Mpop<'a>,
) -> Result<Option<(&'a [u8], Popped)>, Refused> {
    for key in asked.keys {
        if keyspace.container::<Zset>(cx, key)?.is_some() {
            return Ok(Some((key, pop(keyspace, cx, key, asked.from, asked.count)?)));
        }
    }
    Ok(None)
}

/// Takes up to `count` members out; none of a key that isn't there.
pub(in crate::command) fn pop(
    keyspace: &mut Keyspace,
    cx: &Context,
    key: &[u8],
    from: Extreme,
    count: usize,
) -> Result<Popped, Refused> {
    let taken = keyspace.change(cx, key, Absent::Leave, |zset: &mut Zset| {
        let count = count.min(zset.len());
        let reply = |(member, score): (Word<'_>, f64)| (Reply::Bulk(member.blob()), Reply::Double(score));
        let (popped, ranks): (Popped, _) = match from {
            Extreme::Min => (zset.range(0..count).map(reply).collect(), 0..count),
            Extreme::Max => {
                let ranks = zset.len() - count..zset.len();
                (zset.range_back(ranks.clone()).map(reply).collect(), ranks)
            }
        };
        zset.remove_range(ranks);
        ((popped, zset.is_empty()), Changed::from(count > 0))
    })?;
    let Some((popped, emptied)) = taken else { return Ok(Vec::new()) };
    if !popped.is_empty() {
        let event = if from == Extreme::Min { "zpopmin" } else { "zpopmax" };
        keyspace.notify(cx.db, Class::Zset, event, key);
    }
    if emptied {
        keyspace.notify(cx.db, Class::Generic, "del", key);
    }
    Ok(popped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_zmpop_are_checked_in_order() {
        let read = |text: &str| {
            let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
            Mpop::read(&words)
                .map(|asked| (asked.keys.len(), asked.from, asked.count))
                .map_err(|refused| refused.to_string())
        };
        assert_eq!(read("1 a MIN"), Ok((1, Extreme::Min, 1)));
        assert_eq!(read("2 a b max Count 5"), Ok((2, Extreme::Max, 5)));
        for (text, error) in [
            ("0 a MIN", "ERR numkeys should be greater than 0"),
            ("x a MIN", "ERR numkeys should be greater than 0"),
            ("2 a MIN", "ERR syntax error"),
            ("1 a mid", "ERR syntax error"),
            ("1 a MIN COUNT 0", "ERR count should be greater than 0"),
            ("1 a MIN COUNT", "ERR syntax error"),
            ("1 a MIN COUNT 1 COUNT 2", "ERR syntax error"),
            ("9223372036854775807 a MIN", "ERR syntax error"),
        ] {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }
}
