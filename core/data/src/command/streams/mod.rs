//! Streams.

pub mod block;
mod group;
mod ids;
mod read;
mod readgroup;
mod write;

use super::{Command, Keys, Positions, Run};

/// The rows of this family; ids 660 to 699.
pub static COMMANDS: &[Command] = &[
    row("xadd", 660, -5, "write denyoom fast", Keys::ONE, Run::Write(write::xadd), "Appends an entry to a stream."),
    row(
        "xlen",
        661,
        2,
        "readonly fast",
        Keys::ONE,
        Run::Read(read::xlen),
        "Returns the number of entries of a stream.",
    ),
    row(
        "xrange",
        662,
        -4,
        "readonly",
        Keys::ONE,
        Run::Read(read::xrange),
        "Returns the entries of a stream within a range of IDs.",
    ),
    row(
        "xread",
        667,
        -4,
        "readonly blocking movablekeys",
        Keys::Found(keys),
        Run::Read(read::xread),
        "Returns the entries of streams behind given IDs.",
    ),
    row(
        "xgroup",
        668,
        -2,
        "write denyoom",
        Keys::at(2, 2, 1),
        Run::Write(group::xgroup),
        "Makes, changes and removes consumer groups.",
    ),
    row(
        "xreadgroup",
        669,
        -7,
        "write blocking movablekeys",
        Keys::Found(keys),
        Run::Write(readgroup::xreadgroup),
        "Returns new or pending entries of streams to a consumer of a group.",
    ),
    row(
        "xack",
        670,
        -4,
        "write fast",
        Keys::ONE,
        Run::Write(readgroup::xack),
        "Acknowledges entries that were delivered to a group.",
    ),
];

const fn row(
    name: &'static str,
    id: u16,
    arity: i16,
    flags: &'static str,
    keys: Keys,
    run: Run,
    summary: &'static str,
) -> Command {
    Command { name, id, arity, flags, keys, run, summary, group: "stream", since: "5.0.0" }
}

/// The keys of XREAD and XREADGROUP: the first half of what follows STREAMS.
fn keys(args: &[&[u8]]) -> Positions {
    let mut at = 1;
    while let Some(word) = args.get(at) {
        at += match word.to_ascii_lowercase().as_slice() {
            b"block" | b"count" => 2,
            b"group" => 3,
            b"noack" => 1,
            b"streams" => {
                let names = args.len() - at - 1;
                let even = names > 0 && names.is_multiple_of(2);
                return if even { (at + 1..at + 1 + names / 2).collect() } else { Positions::new() };
            }
            _ => break,
        };
    }
    Positions::new()
}
