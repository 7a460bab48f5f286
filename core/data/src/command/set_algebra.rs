//! What several sets have in common, have together, or have not.

use super::sets::{at, bulk};
use super::strings::integer;
use super::{Command, Keys, Outcome, Run};
use crate::keyspace::{Class, Ttl};
use crate::value::{Container, Set, Word};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this family; ids 585 to 599.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "sinter",
        id: 585,
        arity: -2,
        flags: "readonly",
        keys: Keys::ALL,
        run: Run::Read(sinter),
        summary: "Returns the members that are in all of some sets.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "sinterstore",
        id: 586,
        arity: -3,
        flags: "write denyoom",
        keys: Keys::ALL,
        run: Run::Write(sinterstore),
        summary: "Stores the members that are in all of some sets.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "sintercard",
        id: 587,
        arity: -3,
        flags: "readonly",
        keys: Keys::Counted { at: 1, destination: false },
        run: Run::Read(sintercard),
        summary: "Returns how many members are in all of some sets.",
        group: "set",
        since: "7.0.0",
    },
    Command {
        name: "sunion",
        id: 588,
        arity: -2,
        flags: "readonly",
        keys: Keys::ALL,
        run: Run::Read(sunion),
        summary: "Returns the members that are in any of some sets.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "sunionstore",
        id: 589,
        arity: -3,
        flags: "write denyoom",
        keys: Keys::ALL,
        run: Run::Write(sunionstore),
        summary: "Stores the members that are in any of some sets.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "sdiff",
        id: 590,
        arity: -2,
        flags: "readonly",
        keys: Keys::ALL,
        run: Run::Read(sdiff),
        summary: "Returns the members of the first set that are in no other.",
        group: "set",
        since: "1.0.0",
    },
    Command {
        name: "sdiffstore",
        id: 591,
        arity: -3,
        flags: "write denyoom",
        keys: Keys::ALL,
        run: Run::Write(sdiffstore),
        summary: "Stores the members of the first set that are in no other.",
        group: "set",
        since: "1.0.0",
    },
];

/// The sets at these keys; one that isn't there has no members.
fn sets<'a>(keyspace: &'a Keyspace, cx: &Context, keys: &[&[u8]]) -> Result<Vec<Option<&'a Set>>, Refused> {
    keys.iter().map(|key| at(keyspace, cx, key)).collect()
}

/// The members that all sets have, in the order of the smallest set.
fn common<'a>(sets: &[Option<&'a Set>]) -> impl Iterator<Item = Word<'a>> {
    let mut present: Vec<&'a Set> = sets.iter().copied().flatten().collect();
    present.sort_by_key(|set| set.len());
    if present.len() < sets.len() {
        present.clear();
    }
    let smallest = present.first().map(|set| set.members(0..set.len()));
    smallest.into_iter().flatten().filter(move |member| present[1..].iter().all(|set| set.contains(*member)))
}

/// The members that any set has, in the order in which they first come.
fn union(sets: &[Option<&Set>], seed: u64) -> Set {
    let mut all = Set::default();
    for member in sets.iter().flatten().flat_map(|set| set.members(0..set.len())) {
        all.add(member, seed);
    }
    all
}

/// The members of the first set that no other has, in its order.
fn difference<'a>(sets: &[Option<&'a Set>]) -> impl Iterator<Item = Word<'a>> {
    let first = sets.first().copied().flatten().map(|set| set.members(0..set.len()));
    let others: Vec<&'a Set> = sets[1..].iter().copied().flatten().collect();
    first.into_iter().flatten().filter(move |member| !others.iter().any(|set| set.contains(*member)))
}

fn sinter(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::Set(common(&sets(keyspace, cx, &args[1..])?).map(bulk).collect()))
}

fn sunion(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let all = union(&sets(keyspace, cx, &args[1..])?, keyspace.index_seed());
    Ok(Reply::Set(all.members(0..all.len()).map(bulk).collect()))
}

fn sdiff(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::Set(difference(&sets(keyspace, cx, &args[1..])?).map(bulk).collect()))
}

fn sinterstore(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let result = made_of(common(&sets(keyspace, cx, &args[2..])?), keyspace.index_seed());
    Ok(store(keyspace, cx, args[1], result, "sinterstore"))
}

fn sunionstore(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let result = union(&sets(keyspace, cx, &args[2..])?, keyspace.index_seed());
    Ok(store(keyspace, cx, args[1], result, "sunionstore"))
}

fn sdiffstore(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let result = made_of(difference(&sets(keyspace, cx, &args[2..])?), keyspace.index_seed());
    Ok(store(keyspace, cx, args[1], result, "sdiffstore"))
}

fn made_of<'a>(members: impl Iterator<Item = Word<'a>>, seed: u64) -> Set {
    let mut set = Set::default();
    for member in members {
        set.add(member, seed);
    }
    set
}

/// Puts a set where anything may stand; an empty one takes away what is there.
fn store(keyspace: &mut Keyspace, cx: &Context, key: &[u8], set: Set, event: &'static str) -> Reply {
    let count = set.len();
    if count > 0 {
        keyspace.set_object(cx, key, set, Ttl::Clear);
        keyspace.notify(cx.db, Class::Set, event, key);
    } else if keyspace.remove(cx, key) {
        keyspace.notify(cx.db, Class::Generic, "del", key);
    }
    Reply::count(count)
}

fn sintercard(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let text = |text: &str| Refused::Text(text.to_owned());
    let count = integer(args[1]).ok().and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
    let count = count.ok_or_else(|| text("ERR numkeys should be greater than 0"))?;
    let Some((keys, options)) = args[2..].split_at_checked(count) else {
        return Err(text("ERR Number of keys can't be greater than number of args"));
    };
    let mut limit = 0;
    for option in options.chunks(2) {
        let [word, number] = option else { return Err(Refused::Syntax) };
        if !word.eq_ignore_ascii_case(b"limit") {
            return Err(Refused::Syntax);
        }
        let number = integer(number).ok().and_then(|number| usize::try_from(number).ok());
        limit = number.ok_or_else(|| text("ERR LIMIT can't be negative"))?;
    }
    let sets = sets(keyspace, cx, keys)?;
    Ok(Reply::count(common(&sets).take(if limit == 0 { usize::MAX } else { limit }).count()))
}
