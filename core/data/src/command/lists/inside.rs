//! Lists: members that are found by their place or by what they are.

use super::super::strings::integer;
use super::super::{Command, Keys, Outcome, Run};
use super::{notify_of_loss, range};
use crate::keyspace::{Absent, Changed, Class};
use crate::value::{Container, End, List, Word};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this file; ids 508 to 513.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "lindex",
        id: 508,
        arity: 3,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(lindex),
        summary: "Returns the member of a list at a place.",
        group: "list",
        since: "1.0.0",
    },
    Command {
        name: "lset",
        id: 509,
        arity: 4,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(lset),
        summary: "Replaces the member of a list at a place.",
        group: "list",
        since: "1.0.0",
    },
    Command {
        name: "linsert",
        id: 510,
        arity: 5,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(linsert),
        summary: "Adds a member to a list before or after another.",
        group: "list",
        since: "2.2.0",
    },
    Command {
        name: "lrem",
        id: 511,
        arity: 4,
        flags: "write",
        keys: Keys::ONE,
        run: Run::Write(lrem),
        summary: "Removes members of a list that are equal to a string.",
        group: "list",
        since: "1.0.0",
    },
    Command {
        name: "ltrim",
        id: 512,
        arity: 4,
        flags: "write",
        keys: Keys::ONE,
        run: Run::Write(ltrim),
        summary: "Removes all members of a list but a range.",
        group: "list",
        since: "1.0.0",
    },
    Command {
        name: "lpos",
        id: 513,
        arity: -3,
        flags: "readonly",
        keys: Keys::ONE,
        run: Run::Read(lpos),
        summary: "Returns the places of members of a list that are equal to a string.",
        group: "list",
        since: "6.0.6",
    },
];

fn lindex(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let Some(list) = keyspace.container::<List>(cx, args[1])? else { return Ok(Reply::Nil) };
    let member = place(integer(args[2])?, list.len()).and_then(|at| list.get(at));
    Ok(member.map_or(Reply::Nil, |member| Reply::Bulk(member.blob())))
}

/// A place from the head; negative ones count from the tail. The list may end before it.
fn place(at: i64, len: usize) -> Option<usize> {
    match usize::try_from(at.unsigned_abs()) {
        Ok(back) if at < 0 => len.checked_sub(back),
        Ok(at) => Some(at),
        Err(_) => None,
    }
}

fn lset(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let list = keyspace.container::<List>(cx, args[1])?.ok_or(Refused::NoSuchKey)?;
    let at = place(integer(args[2])?, list.len()).filter(|at| *at < list.len());
    let at = at.ok_or_else(|| Refused::Text("ERR index out of range".to_owned()))?;
    keyspace.change(cx, args[1], Absent::Leave, |list: &mut List| (list.set(at, args[3]), Changed::Yes))?;
    keyspace.notify(cx.db, Class::List, "lset", args[1]);
    Ok(Reply::Ok)
}

fn linsert(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let behind = match args[2].to_ascii_lowercase().as_slice() {
        b"before" => 0,
        b"after" => 1,
        _ => return Err(Refused::Syntax),
    };
    let Some(list) = keyspace.container::<List>(cx, args[1])? else { return Ok(Reply::Int(0)) };
    let pivot = Word::of(args[3]);
    let Some(at) = list.walk(End::Head, 0).position(|member| member.is(pivot)) else { return Ok(Reply::Int(-1)) };
    let len = list.len() + 1;
    keyspace.change(cx, args[1], Absent::Leave, |list: &mut List| (list.insert(at + behind, args[4]), Changed::Yes))?;
    keyspace.notify(cx.db, Class::List, "linsert", args[1]);
    Ok(Reply::count(len))
}

fn lrem(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let count = integer(args[2])?;
    let Some(list) = keyspace.container::<List>(cx, args[1])? else { return Ok(Reply::Int(0)) };
    let most = if count == 0 { usize::MAX } else { usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX) };
    let from = if count < 0 { End::Tail } else { End::Head };
    let mut places: Vec<usize> = places_of(list, args[3], from).take(most).collect();
    if places.is_empty() {
        return Ok(Reply::Int(0));
    }
    if from == End::Tail {
        places.reverse();
    }
    let left = list.len() - places.len();
    keyspace.change(cx, args[1], Absent::Leave, |list: &mut List| (list.remove(&places), Changed::Yes))?;
    notify_of_loss(keyspace, cx, "lrem", args[1], left);
    Ok(Reply::count(places.len()))
}

/// The places, counted from the head, of all members that are `wanted`, in the order in which they come from an end.
fn places_of<'a>(list: &'a List, wanted: &'a [u8], from: End) -> impl Iterator<Item = usize> {
    let (wanted, last) = (Word::of(wanted), list.len().saturating_sub(1));
    let found = list.walk(from, 0).enumerate().filter(move |(_, member)| member.is(wanted));
    found.map(move |(at, _)| if from == End::Head { at } else { last - at })
}

fn ltrim(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    // As in Redis, a trim counts as a change even where nothing goes.
    let trimmed = keyspace.change(cx, args[1], Absent::Leave, |list: &mut List| {
        let (start, count) = range(start, stop, list.len());
        list.cut(End::Tail, list.len() - start - count);
        list.cut(End::Head, start);
        (count, Changed::Yes)
    })?;
    if let Some(left) = trimmed {
        notify_of_loss(keyspace, cx, "ltrim", args[1], left);
    }
    Ok(Reply::Ok)
}

/// `[RANK rank] [COUNT n] [MAXLEN n]`.
struct Search {
    from: End,
    /// Matches before the first that counts.
    skipped: usize,
    /// How many matches are wanted; one, and not in an array, if nothing.
    count: Option<usize>,
    /// How many members are looked at.
    most: usize,
}

impl Search {
    fn parse(mut rest: &[&[u8]]) -> Result<Self, Refused> {
        let mut search = Self { from: End::Head, skipped: 0, count: None, most: usize::MAX };
        while let Some(word) = rest.first() {
            let Some(number) = rest.get(1) else { return Err(Refused::Syntax) };
            match word.to_ascii_lowercase().as_slice() {
                b"rank" => search.rank(integer(number)?)?,
                b"count" => search.count = Some(unlimited_if_zero(number, "COUNT")?),
                b"maxlen" => search.most = unlimited_if_zero(number, "MAXLEN")?,
                _ => return Err(Refused::Syntax),
            }
            rest = &rest[2..];
        }
        Ok(search)
    }

    fn rank(&mut self, rank: i64) -> Result<(), Refused> {
        if rank == 0 {
            let text = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative \
                        to start from the end of the list";
            return Err(Refused::Text(text.to_owned()));
        }
        self.from = if rank < 0 { End::Tail } else { End::Head };
        // As in Redis, the lowest number, which has no opposite, skips nothing.
        let rank = rank.checked_abs().unwrap_or(1);
        self.skipped = usize::try_from(rank - 1).unwrap_or(usize::MAX);
        Ok(())
    }
}

fn unlimited_if_zero(number: &[u8], name: &str) -> Result<usize, Refused> {
    let n = integer(number).ok().and_then(|n| usize::try_from(n).ok());
    let n = n.ok_or_else(|| Refused::Text(format!("ERR {name} can't be negative")))?;
    Ok(if n == 0 { usize::MAX } else { n })
}

fn lpos(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let search = Search::parse(&args[3..])?;
    let list = keyspace.container::<List>(cx, args[1])?;
    let places = list.into_iter().flat_map(|list| {
        let looked_at = if search.from == End::Head {
            0..search.most.min(list.len())
        } else {
            list.len().saturating_sub(search.most)..list.len()
        };
        let places = places_of(list, args[2], search.from).take_while(move |at| looked_at.contains(at));
        places.skip(search.skipped).map(Reply::count)
    });
    Ok(match search.count {
        Some(count) => Reply::Array(places.take(count).collect()),
        None => { places }.next().unwrap_or(Reply::Nil),
    })
}
