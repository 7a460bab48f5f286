//! What puts members into sorted sets and changes their scores.

use super::{Command, Keys, Outcome, Run};
use crate::command::float::float;
use crate::keyspace::{Absent, Changed, Class};
use crate::value::Zset;
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "zadd",
        id: 600,
        arity: -4,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(zadd),
        summary: "Adds members to a sorted set, or gives them other scores.",
        group: "sorted-set",
        since: "1.2.0",
    },
    Command {
        name: "zincrby",
        id: 601,
        arity: 4,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(zincrby),
        summary: "Adds to the score of a member of a sorted set.",
        group: "sorted-set",
        since: "1.2.0",
    },
];

/// What ZADD's words ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::command) struct Options {
    /// Only new members.
    pub(in crate::command) nx: bool,
    /// Only members that are there.
    pub(in crate::command) xx: bool,
    /// Only scores that rise.
    gt: bool,
    /// Only scores that fall.
    lt: bool,
    /// Changes of score are counted too.
    pub(in crate::command) ch: bool,
    /// The score is added to the one that is there.
    incr: bool,
}

impl Options {
    /// The words before the first score, and how many they are.
    fn read(words: &[&[u8]]) -> (Self, usize) {
        let mut options = Self::default();
        for (at, word) in words.iter().enumerate() {
            match word.to_ascii_lowercase().as_slice() {
                b"nx" => options.nx = true,
                b"xx" => options.xx = true,
                b"gt" => options.gt = true,
                b"lt" => options.lt = true,
                b"ch" => options.ch = true,
                b"incr" => options.incr = true,
                _ => return (options, at),
            }
        }
        (options, words.len())
    }

    fn check(self, pairs: usize) -> Result<(), Refused> {
        let text = match self {
            Self { nx: true, xx: true, .. } => "ERR XX and NX options at the same time are not compatible",
            Self { gt: true, nx: true, .. } | Self { lt: true, nx: true, .. } | Self { gt: true, lt: true, .. } => {
                "ERR GT, LT, and/or NX options at the same time are not compatible"
            }
            Self { incr: true, .. } if pairs > 1 => "ERR INCR option supports a single increment-element pair",
            _ => return Ok(()),
        };
        Err(Refused::Text(text.to_owned()))
    }

    /// What a member's score becomes; nothing if it stays.
    fn decide(self, former: Option<f64>, score: f64) -> Option<f64> {
        let Some(former) = former else { return (!self.xx).then_some(score) };
        let new = if self.incr { former + score } else { score };
        let stays = self.nx || (self.gt && new <= former) || (self.lt && new >= former);
        (!stays).then_some(new)
    }
}

/// What a ZADD did.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    added: usize,
    updated: usize,
    /// The score of the last member that the options let through.
    score: Option<f64>,
}

fn zadd(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (options, words) = Options::read(&args[2..]);
    let pairs = &args[2 + words..];
    if pairs.is_empty() || pairs.len() % 2 == 1 {
        return Err(Refused::Syntax);
    }
    options.check(pairs.len() / 2)?;
    let pairs =
        pairs.chunks_exact(2).map(|pair| Ok((float(pair[0])?, pair[1]))).collect::<Result<Vec<_>, Refused>>()?;
    add_members(keyspace, cx, args[1], options, &pairs)
}

/// What ZADD does and answers when its words have been read.
pub(in crate::command) fn add_members(
    keyspace: &mut Keyspace,
    cx: &Context,
    key: &[u8],
    options: Options,
    pairs: &[(f64, &[u8])],
) -> Outcome {
    let done = add(keyspace, cx, key, options, pairs)?;
    if options.incr {
        return Ok(done.score.map_or(Reply::Nil, Reply::Double));
    }
    Ok(Reply::count(done.added + if options.ch { done.updated } else { 0 }))
}

fn zincrby(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let options = Options { incr: true, ..Options::default() };
    let done = add(keyspace, cx, args[1], options, &[(float(args[2])?, args[3])])?;
    Ok(done.score.map_or(Reply::Nil, Reply::Double))
}

fn add(
    keyspace: &mut Keyspace,
    cx: &Context,
    key: &[u8],
    options: Options,
    pairs: &[(f64, &[u8])],
) -> Result<Done, Refused> {
    let held = keyspace.container::<Zset>(cx, key)?;
    if let (Some(held), true, [(by, member)]) = (held, options.incr, pairs)
        && options.decide(held.score(member), *by).is_some_and(f64::is_nan)
    {
        return Err(Refused::Text("ERR resulting score is not a number (NaN)".to_owned()));
    }
    let absent = if options.xx { Absent::Leave } else { Absent::Make };
    let done = keyspace.change(cx, key, absent, |zset: &mut Zset| {
        let mut done = Done::default();
        for (score, member) in pairs {
            let former = zset.score(member);
            let Some(new) = options.decide(former, *score) else { continue };
            done.score = Some(new);
            done.added += usize::from(former.is_none());
            if former != Some(new) {
                done.updated += usize::from(former.is_some());
                zset.insert(member, new);
            }
        }
        (done, Changed::from(done.added + done.updated > 0))
    })?;
    let done = done.unwrap_or_default();
    if done.added + done.updated > 0 {
        keyspace.notify(cx.db, Class::Zset, if options.incr { "zincr" } else { "zadd" }, key);
    }
    Ok(done)
}
