//! What asks sorted sets about members and counts.

use super::{Command, Keys, Outcome, Run};
use crate::value::{Container, Zset};
use crate::{Context, Keyspace, Reply};

/// The rows of this file.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "zcard",
        id: 603,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(zcard),
        summary: "Returns how many members a sorted set has.",
        group: "sorted-set",
        since: "1.2.0",
    },
    Command {
        name: "zscore",
        id: 606,
        arity: 3,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(zscore),
        summary: "Returns the score of a member of a sorted set.",
        group: "sorted-set",
        since: "1.2.0",
    },
];

fn zcard(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    Ok(Reply::count(keyspace.container::<Zset>(cx, args[1])?.map_or(0, Container::len)))
}

fn zscore(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let held = keyspace.container::<Zset>(cx, args[1])?;
    Ok(held.and_then(|zset| zset.score(args[2])).map_or(Reply::Nil, Reply::Double))
}
