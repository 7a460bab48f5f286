//! Sets, one at a time.

use super::picks::{self, Count};
use super::strings::integer;
use super::{Command, Keys, Outcome, Run, scans};
use crate::keyspace::{Absent, Changed, Class};
use crate::value::{Container, Set, Word};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this family; ids 570 to 584.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "sadd",
        id: 570,
        arity: -3,
        flags: "write denyoom fast",
        keys: Keys::ONE,
        run: Run::Write(sadd),
        summary: "Adds members to a set.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "srem",
        id: 571,
        arity: -3,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(srem),
        summary: "Removes members from a set.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "smembers",
        id: 572,
        arity: 2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(smembers),
        summary: "Returns all members of a set.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "sismember",
        id: 573,
        arity: 3,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(sismember),
        summary: "Tells whether a member is in a set.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "smismember",
        id: 574,
        arity: -3,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(smismember),
        summary: "Tells which of some members are in a set.",
        group: "set",
        since: "6.2.0",
    },
    Command {
        name: "scard",
        id: 575,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(scard),
        summary: "Returns how many members a set has.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "spop",
        id: 576,
        arity: -2,
        flags: "write fast",
        keys: Keys::ONE,
        run: Run::Write(spop),
        summary: "Returns members of a set by chance and removes them.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "srandmember",
        id: 577,
        arity: -2,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(srandmember),
        summary: "Returns members of a set by chance.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "smove",
        id: 578,
        arity: 4,
        flags: "write fast",
        keys: Keys::TWO,
        run: Run::Write(smove),
        summary: "Moves a member from one set to another.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "sscan",
        id: 579,
        arity: -3,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(sscan),
        summary: "Walks over the members of a set.",
        group: "set",
        since: "2.8.0",
    },
];

pub(super) fn at<'a>(keyspace: &'a Keyspace, cx: &Context, key: &[u8]) -> Result<Option<&'a Set>, Refused> {
    keyspace.container(cx, key)
}

pub(super) fn bulk(word: Word<'_>) -> Reply {
    Reply::Bulk(word.blob())
}

fn sadd(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let seed = keyspace.index_seed();
    let new = keyspace.change(cx, args[1], Absent::Make, |set: &mut Set| {
        let new = args[2..].iter().filter(|member| set.add(Word::of(member), seed)).count();
        (new, Changed::from(new > 0))
    })?;
    let new = new.unwrap_or(0);
    if new > 0 {
        keyspace.notify(cx.db, Class::Set, "sadd", args[1]);
    }
    Ok(Reply::count(new))
}

fn srem(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let gone = keyspace.change(cx, args[1], Absent::Leave, |set: &mut Set| {
        let gone = args[2..].iter().filter(|member| set.remove(Word::of(member))).count();
        ((gone, set.is_empty()), Changed::from(gone > 0))
    })?;
    let (gone, emptied) = gone.unwrap_or((0, false));
    if gone > 0 {
        tell_removal(keyspace, cx, "srem", args[1], emptied);
    }
    Ok(Reply::count(gone))
}

/// Tells that members went from a set, and whether it went with them.
fn tell_removal(keyspace: &mut Keyspace, cx: &Context, event: &'static str, key: &[u8], emptied: bool) {
    keyspace.notify(cx.db, Class::Set, event, key);
    if emptied {
        keyspace.notify(cx.db, Class::Generic, "del", key);
    }
}

fn smembers(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let members = at(keyspace, cx, args[1])?.map(|set| set.members(0..set.len()));
    Ok(Reply::Set(members.into_iter().flatten().map(bulk).collect()))
}

fn sismember(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let there = at(keyspace, cx, args[1])?.is_some_and(|set| set.contains(Word::of(args[2])));
    Ok(Reply::Int(i64::from(there)))
}

fn smismember(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let set = at(keyspace, cx, args[1])?;
    let there = |member: &&[u8]| set.is_some_and(|set| set.contains(Word::of(member)));
    Ok(Reply::Array(args[2..].iter().map(|member| Reply::Int(i64::from(there(member)))).collect()))
}

fn scard(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::count(at(keyspace, cx, args[1])?.map_or(0, Set::len)))
}

fn spop(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let count = match &args[2..] {
        [] => None,
        [count] => Some(positive(count)?),
        _ => return Err(Refused::Syntax),
    };
    let Some(set) = at(keyspace, cx, args[1])? else { return Ok(popped(Vec::new(), count)) };
    let len = set.len();
    let wanted = count.unwrap_or(1);
    if wanted >= len {
        let members = set.members(0..len).map(bulk).collect();
        keyspace.remove(cx, args[1]);
        tell_removal(keyspace, cx, "spop", args[1], true);
        return Ok(popped(members, count));
    }
    if wanted == 0 {
        return Ok(popped(Vec::new(), count));
    }
    let mut chance = cx.chance();
    let members = keyspace.change(cx, args[1], Absent::Leave, |set: &mut Set| {
        let members = (0..wanted).map(|_| take(set, picks::one(&mut chance, set.len())));
        (members.collect(), Changed::Yes)
    })?;
    tell_removal(keyspace, cx, "spop", args[1], false);
    Ok(popped(members.unwrap_or_default(), count))
}

/// The answer of SPOP: with a count, a set.
fn popped(mut members: Vec<Reply>, count: Option<usize>) -> Reply {
    if count.is_some() { Reply::Set(members) } else { members.pop().unwrap_or(Reply::Nil) }
}

fn positive(text: &[u8]) -> Result<usize, Refused> {
    let count = integer(text).ok().and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| Refused::Text("ERR value is out of range, must be positive".to_owned()))
}

/// Takes the member at a place out.
fn take(set: &mut Set, at: usize) -> Reply {
    let member = bulk(member(set, at));
    set.remove_at(at);
    member
}

fn member(set: &Set, at: usize) -> Word<'_> {
    set.members(at..at + 1).next().expect("places are drawn below the length")
}

fn srandmember(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let count = match &args[2..] {
        [] => None,
        [count] => Some(Count::parse(count)?),
        _ => return Err(Refused::Syntax),
    };
    let set = at(keyspace, cx, args[1])?;
    let mut chance = cx.chance();
    Ok(match (set, count) {
        (None, None) => Reply::Nil,
        (None, Some(_)) => Reply::Array(Vec::new()),
        (Some(set), None) => bulk(member(set, picks::one(&mut chance, set.len()))),
        (Some(set), Some(count)) => {
            let chosen = count.draw(&mut chance, set.len())?;
            Reply::Array(chosen.into_iter().map(|at| bulk(member(set, at))).collect())
        }
    })
}

fn smove(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (from, to, member) = (args[1], args[2], Word::of(args[3]));
    if !keyspace.contains(cx, from) {
        return Ok(Reply::Int(0));
    }
    let there = at(keyspace, cx, from)?.is_some_and(|set| set.contains(member));
    at(keyspace, cx, to)?;
    if from == to || !there {
        return Ok(Reply::Int(i64::from(there)));
    }
    let emptied = keyspace.change(cx, from, Absent::Leave, |set: &mut Set| {
        set.remove(member);
        (set.is_empty(), Changed::Yes)
    })?;
    tell_removal(keyspace, cx, "srem", from, emptied.unwrap_or(false));
    let seed = keyspace.index_seed();
    // Redis counts the destination as changed even if it had the member.
    let new = keyspace.change(cx, to, Absent::Make, |set: &mut Set| (set.add(member, seed), Changed::Yes))?;
    if new == Some(true) {
        keyspace.notify(cx.db, Class::Set, "sadd", to);
    }
    Ok(Reply::Int(1))
}

fn sscan(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let cursor = scans::cursor(args[2])?;
    let Some(set) = at(keyspace, cx, args[1])? else { return Ok(scans::nothing()) };
    let options = scans::Options::parse(&args[3..])?;
    let (range, next) = options.page(cursor, set.len(), set.scans_at_once());
    Ok(scans::reply(next, set.members(range).filter(|member| options.wants(*member)).map(bulk).collect()))
}
