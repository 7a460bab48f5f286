//! Unions, intersections and differences of sorted sets; plain sets count as such whose scores are 1.

use super::{Command, Keys, Outcome, Run, Scores, store};
use crate::command::float::float;
use crate::command::strings::integer;
use crate::keyspace::Value;
use crate::value::{Container, Object, Set, Word, Zset};
use crate::{Context, Keyspace, Refused, Reply};
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    read_row("zunion", 623, zunion, "Returns the members of any of several sorted sets.", "6.2.0"),
    store_row("zunionstore", 624, zunionstore, "Stores the members of any of several sorted sets in a key.", "2.0.0"),
    read_row("zinter", 625, zinter, "Returns the members that several sorted sets share.", "6.2.0"),
    store_row("zinterstore", 626, zinterstore, "Stores the members that several sorted sets share in a key.", "2.0.0"),
    read_row("zintercard", 627, zintercard, "Counts the members that several sorted sets share.", "7.0.0"),
    read_row("zdiff", 628, zdiff, "Returns the members of a sorted set that others don't have.", "6.2.0"),
    store_row(
        "zdiffstore",
        629,
        zdiffstore,
        "Stores the members of a sorted set that others don't have in a key.",
        "6.2.0",
    ),
];

const fn read_row(
    name: &'static str,
    id: u16,
    run: fn(&Keyspace, &Context, &[&[u8]]) -> Outcome,
    summary: &'static str,
    since: &'static str,
) -> Command {
    let keys = Keys::Counted { at: 1, destination: false };
    let run = Run::Read(run);
    Command { name, id, arity: -3, flags: "readonly movablekeys", keys, run, summary, group: "sorted-set", since }
}

const fn store_row(
    name: &'static str,
    id: u16,
    run: fn(&mut Keyspace, &Context, &[&[u8]]) -> Outcome,
    summary: &'static str,
    since: &'static str,
) -> Command {
    let keys = Keys::Counted { at: 2, destination: true };
    let run = Run::Write(run);
    Command { name, id, arity: -4, flags: "write denyoom movablekeys", keys, run, summary, group: "sorted-set", since }
}

/// What is done with the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of the result, and so which options there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Answer,
    Store,
    Count,
}

/// What becomes of the scores of a member that several sets have.
#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

/// One of the sets.
#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Nothing,
    Zset(&'a Zset),
    Set(&'a Set),
}

/// A command that was read, with the sets it names.
struct Asked<'a> {
    sources: Vec<(Source<'a>, f64)>,
    aggregate: Aggregate,
    scores: Scores,
    /// ZINTERCARD counts no further.
    limit: usize,
}

/// A member's bytes.
type Name = SmallVec<[u8; 24]>;

impl<'a> Asked<'a> {
    /// Reads the words from the number of keys on.
    fn read(
        keyspace: &'a Keyspace,
        cx: &Context,
        name: &str,
        words: &[&[u8]],
        operation: Operation,
        goal: Goal,
    ) -> Result<Self, Refused> {
        let count = integer(words[0])?;
        if count < 1 {
            return Err(Refused::Text(format!("ERR at least 1 input key is needed for '{name}' command")));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let (keys, mut rest) = words[1..].split_at_checked(count).ok_or(Refused::Syntax)?;
        let sources = keys.iter().map(|key| Ok((Source::find(keyspace, cx, key)?, 1.0)));
        let sources = sources.collect::<Result<Vec<_>, Refused>>()?;
        let mut asked = Self { sources, aggregate: Aggregate::Sum, scores: Scores::Without, limit: usize::MAX };
        while let Some((word, more)) = rest.split_first() {
            rest = asked.option(&word.to_ascii_lowercase(), more, operation, goal)?;
        }
        if operation != Operation::Difference {
            // From the smallest on: the order in which scores are added shows in their last digits.
            asked.sources.sort_by_key(|(source, _)| source.len());
        }
        Ok(asked)
    }

    /// Reads an option; what stands behind it.
    fn option<'w>(
        &mut self,
        word: &[u8],
        rest: &'w [&'w [u8]],
        operation: Operation,
        goal: Goal,
    ) -> Result<&'w [&'w [u8]], Refused> {
        let weighs = operation != Operation::Difference && goal != Goal::Count;
        match (word, rest) {
            (b"weights", weights) if weighs && weights.len() >= self.sources.len() => {
                let (weights, rest) = weights.split_at(self.sources.len());
                for ((_, weight), word) in self.sources.iter_mut().zip(weights) {
                    *weight = float(word).map_err(|_| Refused::Text("ERR weight value is not a float".to_owned()))?;
                }
                Ok(rest)
            }
            (b"aggregate", [how, rest @ ..]) if weighs => {
                self.aggregate = match how.to_ascii_lowercase().as_slice() {
                    b"sum" => Aggregate::Sum,
                    b"min" => Aggregate::Min,
                    b"max" => Aggregate::Max,
                    _ => return Err(Refused::Syntax),
                };
                Ok(rest)
            }
            (b"withscores", rest) if goal == Goal::Answer => {
                self.scores = Scores::With;
                Ok(rest)
            }
            (b"limit", [limit, rest @ ..]) if goal == Goal::Count => {
                let limit = integer(limit).ok().and_then(|limit| usize::try_from(limit).ok());
                let limit = limit.ok_or_else(|| Refused::Text("ERR LIMIT can't be negative".to_owned()))?;
                self.limit = if limit == 0 { usize::MAX } else { limit };
                Ok(rest)
            }
            _ => Err(Refused::Syntax),
        }
    }

    /// The members of the result with their scores, in no order that matters.
    fn result(&self, operation: Operation) -> Vec<(Name, f64)> {
        match operation {
            Operation::Union => self.union(),
            Operation::Intersection => {
                let mut found = Vec::new();
                self.intersect(|member, score| {
                    found.push((name(member), score));
                    true
                });
                found
            }
            Operation::Difference => self.difference(),
        }
    }

    fn union(&self) -> Vec<(Name, f64)> {
        let mut all: BTreeMap<Name, f64> = BTreeMap::new();
        for (source, weight) in &self.sources {
            source.each(|member, score| {
                let score = number(weight * score);
                let whole = all.get(name(member).as_slice()).map_or(score, |whole| self.aggregate.of(*whole, score));
                all.insert(name(member), whole);
                true
            });
        }
        all.into_iter().collect()
    }

    /// Shows the members that all sets have, until `show` is false.
    fn intersect(&self, mut show: impl FnMut(Word<'_>, f64) -> bool) {
        let [(first, weight), others @ ..] = &self.sources[..] else { return };
        first.each(|member, score| {
            let whole = others.iter().try_fold(number(weight * score), |whole, (source, weight)| {
                Some(self.aggregate.of(whole, source.score(member)? * weight))
            });
            whole.is_none_or(|whole| show(member, whole))
        });
    }

    fn difference(&self) -> Vec<(Name, f64)> {
        let [(first, _), others @ ..] = &self.sources[..] else { return Vec::new() };
        let mut found = Vec::new();
        first.each(|member, score| {
            if others.iter().all(|(source, _)| source.score(member).is_none()) {
                found.push((name(member), score));
            }
            true
        });
        found
    }
}

impl Aggregate {
    fn of(self, whole: f64, score: f64) -> f64 {
        match self {
            Self::Sum => number(whole + score),
            // A NaN, of a weight of zero and an infinite score, is neither less nor more.
            Self::Min => {
                if score < whole {
                    score
                } else {
                    whole
                }
            }
            Self::Max => {
                if score > whole {
                    score
                } else {
                    whole
                }
            }
        }
    }
}

impl<'a> Source<'a> {
    fn find(keyspace: &'a Keyspace, cx: &Context, key: &[u8]) -> Result<Self, Refused> {
        match keyspace.get(cx, key).map(|live| live.value) {
            None => Ok(Self::Nothing),
            Some(Value::Other(Object::Zset(zset))) => Ok(Self::Zset(zset)),
            Some(Value::Other(Object::Set(set))) => Ok(Self::Set(set)),
            Some(_) => Err(Refused::WrongType),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Zset(zset) => zset.len(),
            Self::Set(set) => set.len(),
        }
    }

    fn score(self, member: Word<'_>) -> Option<f64> {
        match self {
            Self::Nothing => None,
            Self::Zset(zset) => member.read(|member| zset.score(member)),
            Self::Set(set) => set.contains(member).then_some(1.0),
        }
    }

    /// Shows its members, until `show` is false.
    fn each(self, mut show: impl FnMut(Word<'_>, f64) -> bool) {
        match self {
            Self::Nothing => {}
            Self::Zset(zset) => drop(zset.iter().all(|(member, score)| show(member, score))),
            Self::Set(set) => drop(set.members(0..set.len()).all(|member| show(member, 1.0))),
        }
    }
}

fn name(member: Word<'_>) -> Name {
    member.read(SmallVec::from_slice)
}

/// What is no number counts as zero.
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

fn zunion(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    answer(keyspace, cx, args, "zunion", Operation::Union)
}

fn zinter(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    answer(keyspace, cx, args, "zinter", Operation::Intersection)
}

fn zdiff(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    answer(keyspace, cx, args, "zdiff", Operation::Difference)
}

fn answer(keyspace: &Keyspace, cx: &Context, args: &[&[u8]], name: &str, operation: Operation) -> Outcome {
    let asked = Asked::read(keyspace, cx, name, &args[1..], operation, Goal::Answer)?;
    let found = sorted(asked.result(operation));
    Ok(match asked.scores {
        Scores::With => {
            Reply::Couples(found.iter().map(|(name, score)| (Reply::bulk(name), Reply::Double(*score))).collect())
        }
        Scores::Without => Reply::Array(found.iter().map(|(name, _)| Reply::bulk(name)).collect()),
    })
}

fn sorted(mut found: Vec<(Name, f64)>) -> Vec<(Name, f64)> {
    found.sort_by(|a, b| a.1.partial_cmp(&b.1).expect("a score is a number").then_with(|| a.0.cmp(&b.0)));
    found
}

fn zintercard(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let asked = Asked::read(keyspace, cx, "zintercard", &args[1..], Operation::Intersection, Goal::Count)?;
    let mut count = 0;
    asked.intersect(|_, _| {
        count += 1;
        count < asked.limit
    });
    Ok(Reply::count(count))
}

fn zunionstore(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    store_result(keyspace, cx, args, "zunionstore", Operation::Union)
}

fn zinterstore(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    store_result(keyspace, cx, args, "zinterstore", Operation::Intersection)
}

fn zdiffstore(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    store_result(keyspace, cx, args, "zdiffstore", Operation::Difference)
}

fn store_result(
    keyspace: &mut Keyspace,
    cx: &Context,
    args: &[&[u8]],
    name: &'static str,
    operation: Operation,
) -> Outcome {
    let asked = Asked::read(keyspace, cx, name, &args[2..], operation, Goal::Store)?;
    let mut new = Zset::default();
    // In order, so that each stands behind the one before.
    for (member, score) in sorted(asked.result(operation)) {
        new.insert(&member, score);
    }
    Ok(Reply::count(store(keyspace, cx, args[1], new, name)))
}
