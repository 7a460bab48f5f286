//! Streams: entries that are appended, and read by everybody or by groups of consumers.

mod add;
mod call;
mod claim;
mod group;
mod ids;
mod info;
mod options;
mod pending;
mod read;
mod readgroup;
mod remove;
#[cfg(test)]
mod tests;
mod waiting;

use super::containers::{HELP, Sub, sub};
use super::{Command, Keys, Outcome, Positions, Run};
use crate::{Context, Keyspace};
pub use waiting::{group_of, narrowed, wait_ms, with_ids_resolved};

/// The rows of this family; ids 660 to 699.
pub static COMMANDS: &[Command] = &[
    write("xadd", 660, -5, "write denyoom fast", add::xadd, "Appends an entry to a stream."),
    read("xlen", 661, 2, "readonly fast", Keys::ONE, read::xlen, "Returns the number of entries of a stream."),
    read("xrange", 662, -4, "readonly", Keys::ONE, read::xrange, "Returns the entries within a range of IDs."),
    read("xrevrange", 663, -4, "readonly", Keys::ONE, read::xrevrange, "Returns the same, the last one first."),
    write("xdel", 664, -3, "write fast", remove::xdel, "Removes entries from a stream."),
    write("xtrim", 665, -4, "write", remove::xtrim, "Removes entries from the front of a stream."),
    write("xsetid", 666, -3, "write denyoom fast", remove::xsetid, "Sets the last ID of a stream."),
    read(
        "xread",
        667,
        -4,
        "readonly blocking movablekeys",
        Keys::Found(keys),
        read::xread,
        "Returns the entries of streams behind given IDs.",
    ),
    Command {
        name: "xgroup",
        id: XGROUP_ID,
        arity: -2,
        flags: "write denyoom",
        keys: Keys::at(2, 2, 1),
        run: Run::Write(group::xgroup),
        summary: "Makes, changes and removes groups of consumers.",
        group: "stream",
        since: "5.0.0",
    },
    Command {
        name: "xreadgroup",
        id: 669,
        arity: -7,
        flags: "write blocking movablekeys",
        keys: Keys::Found(keys),
        run: Run::Write(readgroup::xreadgroup),
        summary: "Returns new or pending entries of streams to a consumer of a group.",
        group: "stream",
        since: "5.0.0",
    },
    write("xack", 670, -4, "write fast", readgroup::xack, "Takes off entries that were delivered to a group."),
    read("xpending", 671, -3, "readonly", Keys::ONE, pending::xpending, "Returns what a group has pending."),
    write("xclaim", 672, -6, "write fast", claim::xclaim, "Gives pending entries to another consumer."),
    Command {
        since: "6.2.0",
        ..write(
            "xautoclaim",
            673,
            -6,
            "write fast",
            claim::xautoclaim,
            "Gives entries that are pending long to a consumer.",
        )
    },
    read("xinfo", XINFO_ID, -2, "readonly", Keys::at(2, 2, 1), info::xinfo, "Tells about a stream and its groups."),
    Command {
        since: "8.6.0",
        ..write(
            "xcfgset",
            675,
            -2,
            "write denyoom fast",
            add::xcfgset,
            "Sets how long names of entries are remembered.",
        )
    },
];

/// Where the commands with subcommands stand among the rows, and their ids.
const XGROUP: usize = 8;
const XINFO: usize = 14;
pub(super) const XGROUP_ID: u16 = 668;
pub(super) const XINFO_ID: u16 = 674;

pub(super) static XGROUP_SUBS: [Sub; 6] = [
    sub(
        "create",
        -5,
        &[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Create a new consumer group. Options are:",
            "    * MKSTREAM",
            "      Create the empty stream if it does not exist.",
            "    * ENTRIESREAD entries_read",
            "      Set the group's entries_read counter (internal use).",
        ],
    ),
    sub(
        "createconsumer",
        5,
        &["CREATECONSUMER <key> <groupname> <consumer>", "    Create a new consumer in the specified group."],
    ),
    sub("delconsumer", 5, &["DELCONSUMER <key> <groupname> <consumer>", "    Remove the specified consumer."]),
    sub("destroy", 4, &["DESTROY <key> <groupname>", "    Remove the specified group."]),
    sub(
        "setid",
        -5,
        &[
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Set the current group ID and entries_read counter.",
        ],
    ),
    HELP,
];

pub(super) static XINFO_SUBS: [Sub; 4] = [
    sub("consumers", 4, &["CONSUMERS <key> <groupname>", "    Show consumers of <groupname>."]),
    sub("groups", 3, &["GROUPS <key>", "    Show the stream consumer groups."]),
    sub("stream", -3, &["STREAM <key> [FULL [COUNT <count>]", "    Show information about the stream."]),
    HELP,
];

const fn write(
    name: &'static str,
    id: u16,
    arity: i16,
    flags: &'static str,
    run: fn(&mut Keyspace, &Context, &[&[u8]]) -> Outcome,
    summary: &'static str,
) -> Command {
    let run = Run::Write(run);
    Command { name, id, arity, flags, keys: Keys::ONE, run, summary, group: "stream", since: "5.0.0" }
}

const fn read(
    name: &'static str,
    id: u16,
    arity: i16,
    flags: &'static str,
    keys: Keys,
    run: fn(&Keyspace, &Context, &[&[u8]]) -> Outcome,
    summary: &'static str,
) -> Command {
    Command { name, id, arity, flags, keys, run: Run::Read(run), summary, group: "stream", since: "5.0.0" }
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
                return (at + 1..at + 1 + if names.is_multiple_of(2) { names / 2 } else { 0 }).collect();
            }
            _ => break,
        };
    }
    Positions::new()
}
