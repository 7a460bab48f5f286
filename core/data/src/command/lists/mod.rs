//! Lists: what is put in and taken out at their ends.
//!
//! The blocking forms, which wait where these find nothing, call [`pop`], [`mpop`] and [`move_one`].

pub mod inside;

use super::strings::integer;
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Absent, Changed, Class};
use crate::value::{Container, End, List, Word};
use crate::{Blob, Context, Keyspace, Refused, Reply};

/// The rows of this family; ids 500 to 539.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "lpush",
        id: 500,
        arity: -3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(lpush),
        summary: "Adds members at the head of a list.",
        group: "list",
        since: "1.0.0",
    },
    Command {
        name: "rpush",
        id: 501,
        arity: -3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(rpush),
        summary: "Adds members at the tail of a list.",
        group: "list",
        since: "1.0.0",
    },
    Command {
        name: "lpushx",
        id: 502,
        arity: -3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(lpushx),
        summary: "Adds members at the head of a list that exists.",
        group: "list",
        since: "2.2.0",
    },
    Command {
        name: "rpushx",
        id: 503,
        arity: -3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(rpushx),
        summary: "Adds members at the tail of a list that exists.",
        group: "list",
        since: "2.2.0",
    },
    Command {
        name: "lpop",
        id: 504,
        arity: -2,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(lpop),
        summary: "Takes members from the head of a list.",
        group: "list",
        since: "1.0.0",
    },
    Command {
        name: "rpop",
        id: 505,
        arity: -2,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(rpop),
        summary: "Takes members from the tail of a list.",
        group: "list",
        since: "1.0.0",
    },
    Command {
        name: "llen",
        id: 506,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(llen),
        summary: "Returns the length of a list.",
        group: "list",
        since: "1.0.0",
    },
    Command {
        name: "lrange",
        id: 507,
        arity: 4,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(lrange),
        summary: "Returns a range of members of a list.",
        group: "list",
        since: "1.0.0",
    },
    Command {
        name: "lmove",
        id: 514,
        arity: 5,
        flags: "write denyoom",
        keys: Keys::TWO,
        run: Run::Write(lmove),
        summary: "Takes a member from an end of a list and adds it at an end of another.",
        group: "list",
        since: "6.2.0",
    },
    Command {
        name: "rpoplpush",
        id: 515,
        arity: 3,
        flags: "write denyoom",
        keys: Keys::TWO,
        run: Run::Write(rpoplpush),
        summary: "Takes the last member of a list and adds it at the head of another.",
        group: "list",
        since: "1.2.0",
    },
    Command {
        name: "lmpop",
        id: 516,
        arity: -4,
        flags: "write movablekeys",
        keys: Keys::Counted { at: 1, destination: false },
        run: Run::Write(lmpop),
        summary: "Takes members from the first list that is not empty.",
        group: "list",
        since: "7.0.0",
    },
];

/// LEFT or RIGHT.
pub(super) fn end(word: &[u8]) -> Result<End, Refused> {
    match word.to_ascii_lowercase().as_slice() {
        b"left" => Ok(End::Head),
        b"right" => Ok(End::Tail),
        _ => Err(Refused::Syntax),
    }
}

fn lpush(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    push(keyspace, cx, End::Head, args, Absent::Make)
}

fn rpush(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    push(keyspace, cx, End::Tail, args, Absent::Make)
}

fn lpushx(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    push(keyspace, cx, End::Head, args, Absent::Leave)
}

fn rpushx(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    push(keyspace, cx, End::Tail, args, Absent::Leave)
}

fn push(keyspace: &mut Keyspace, cx: &Context, end: End, args: &[&[u8]], absent: Absent) -> Outcome {
    let len = keyspace.change(cx, args[1], absent, |list: &mut List| {
        args[2..].iter().for_each(|member| list.push(end, member));
        (list.len(), Changed::Yes)
    })?;
    if len.is_some() {
        keyspace.notify(cx.db, Class::List, pushed(end), args[1]);
    }
    Ok(Reply::count(len.unwrap_or(0)))
}

fn lpop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    pop_counted(keyspace, cx, End::Head, "lpop", args)
}

fn rpop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    pop_counted(keyspace, cx, End::Tail, "rpop", args)
}

fn pop_counted(keyspace: &mut Keyspace, cx: &Context, end: End, name: &str, args: &[&[u8]]) -> Outcome {
    let count = match args {
        [_, key] => {
            let taken = pop(keyspace, cx, key, end, 1)?;
            return Ok(taken.and_then(|taken| taken.into_iter().next()).map_or(Reply::Nil, Reply::Bulk));
        }
        [_, _, count] => positive(count)?,
        _ => return Err(Refused::Arity(name.to_owned())),
    };
    Ok(pop(keyspace, cx, args[1], end, count)?.map_or(Reply::NilArray, bulks))
}

/// Up to `count` members from an end of a list, in the order in which they leave; `None` if there is no list.
pub(super) fn pop(
    keyspace: &mut Keyspace,
    cx: &Context,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<Option<Vec<Blob>>, Refused> {
    let taken = keyspace.change(cx, key, Absent::Leave, |list: &mut List| {
        let taken: Vec<Blob> = list.walk(end, 0).take(count).map(Word::blob).collect();
        list.cut(end, taken.len());
        let changed = Changed::from(!taken.is_empty());
        ((taken, list.len()), changed)
    })?;
    let Some((taken, left)) = taken else { return Ok(None) };
    if !taken.is_empty() {
        notify_of_loss(keyspace, cx, popped(end), key, left);
    }
    Ok(Some(taken))
}

/// Up to `count` members, at least one, from the first list that is there: its place among the keys, and the members.
pub(super) fn mpop(
    keyspace: &mut Keyspace,
    cx: &Context,
    keys: &[&[u8]],
    end: End,
    count: usize,
) -> Result<Option<(usize, Vec<Blob>)>, Refused> {
    for (at, key) in keys.iter().enumerate() {
        if let Some(taken) = pop(keyspace, cx, key, end, count)? {
            return Ok(Some((at, taken)));
        }
    }
    Ok(None)
}

/// Moves a member from an end of one list to an end of another, or of the same; `None` if there is no list to take from.
pub(super) fn move_one(
    keyspace: &mut Keyspace,
    cx: &Context,
    (from, out): (&[u8], End),
    (to, into): (&[u8], End),
) -> Result<Option<Blob>, Refused> {
    if keyspace.container::<List>(cx, from)?.is_none() {
        return Ok(None);
    }
    // Nothing is taken if it can't be put there.
    keyspace.container::<List>(cx, to)?;
    let taken = keyspace.change(cx, from, Absent::Leave, |list: &mut List| {
        let taken = list.pop(out).expect("a list that is there has a member");
        if from == to {
            list.push_blob(into, &taken);
        }
        ((taken, list.len()), Changed::Yes)
    })?;
    let Some((taken, left)) = taken else { return Ok(None) };
    if from != to {
        keyspace.change(cx, to, Absent::Make, |list: &mut List| (list.push_blob(into, &taken), Changed::Yes))?;
    }
    keyspace.notify(cx.db, Class::List, pushed(into), to);
    notify_of_loss(keyspace, cx, popped(out), from, left);
    Ok(Some(taken))
}

fn llen(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::count(keyspace.container::<List>(cx, args[1])?.map_or(0, Container::len)))
}

fn lrange(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    let Some(list) = keyspace.container::<List>(cx, args[1])? else { return Ok(Reply::Array(Vec::new())) };
    let (start, count) = range(start, stop, list.len());
    Ok(Reply::strings(list.walk(End::Head, start).take(count)))
}

fn lmove(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (out, into) = (end(args[3])?, end(args[4])?);
    Ok(move_one(keyspace, cx, (args[1], out), (args[2], into))?.map_or(Reply::Nil, Reply::Bulk))
}

fn rpoplpush(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(move_one(keyspace, cx, (args[1], End::Tail), (args[2], End::Head))?.map_or(Reply::Nil, Reply::Bulk))
}

fn lmpop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let MPop { keys, end, count } = MPop::parse(&args[1..])?;
    Ok(mpop(keyspace, cx, keys, end, count)?.map_or(Reply::NilArray, |(at, taken)| popped_from(keys[at], taken)))
}

/// What LMPOP and BLMPOP answer when they took something.
pub(super) fn popped_from(key: &[u8], taken: Vec<Blob>) -> Reply {
    Reply::Array(vec![Reply::bulk(key), bulks(taken)])
}

/// `numkeys key [key ..] LEFT|RIGHT [COUNT n]`.
pub(super) struct MPop<'a> {
    pub keys: &'a [&'a [u8]],
    pub end: End,
    pub count: usize,
}

impl<'a> MPop<'a> {
    pub(super) fn parse(words: &'a [&'a [u8]]) -> Result<Self, Refused> {
        let positive = |word: &[u8], what: &str| {
            let n = integer(word).ok().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
            n.ok_or_else(|| Refused::Text(format!("ERR {what} should be greater than 0")))
        };
        let numkeys = positive(words[0], "numkeys")?;
        let rest = &words[1..];
        if numkeys >= rest.len() {
            return Err(Refused::Syntax);
        }
        let (keys, rest) = rest.split_at(numkeys);
        let end = end(rest[0])?;
        let (count, rest) = match &rest[1..] {
            [word, count, rest @ ..] if word.eq_ignore_ascii_case(b"count") => (positive(count, "count")?, rest),
            rest => (1, rest),
        };
        if rest.is_empty() { Ok(Self { keys, end, count }) } else { Err(Refused::Syntax) }
    }
}

/// Where a range begins and how many members it has; negative places count from the end.
fn range(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    if start > stop {
        return (0, 0);
    }
    let place = |n: i64| usize::try_from(n).unwrap_or(0);
    (place(start), place(stop - start + 1))
}

fn positive(word: &[u8]) -> Result<usize, Refused> {
    let n = integer(word).ok().and_then(|n| usize::try_from(n).ok());
    n.ok_or_else(|| Refused::Text("ERR value is out of range, must be positive".to_owned()))
}

fn bulks(members: impl IntoIterator<Item = Blob>) -> Reply {
    Reply::Array(members.into_iter().map(Reply::Bulk).collect())
}

/// Members were taken from a list, and so many are left; without any, its key is gone.
fn notify_of_loss(keyspace: &mut Keyspace, cx: &Context, event: &'static str, key: &[u8], left: usize) {
    keyspace.notify(cx.db, Class::List, event, key);
    if left == 0 {
        keyspace.notify(cx.db, Class::Generic, "del", key);
    }
}

fn pushed(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}

fn popped(end: End) -> &'static str {
    match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    }
}
