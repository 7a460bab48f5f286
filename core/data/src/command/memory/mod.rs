//! Memory, latency, persistence, replication, users and modules: what operators and the test suites of clients ask of a
//! server. Most of it is the node's business; what a key takes is its shard's.

pub(super) mod subs;

use super::strings::integer;
use super::{Command, Keys, Outcome, Run, dump};
use crate::{Context, Keyspace, Refused, Reply};

/// The rows of this family; ids 800 to 819.
pub static COMMANDS: &[Command] = &[
    node("memory", 800, -2, "", "Tells what takes memory.", "server", "4.0.0"),
    Command {
        name: "memory|usage",
        id: 801,
        arity: -3,
        flags: "readonly",
        keys: Keys::at(2, 2, 1),
        run: Run::Read(usage),
        summary: "Tells how much memory a key and its value take.",
        group: "server",
        since: "4.0.0",
    },
    node("latency", 802, -2, "", "Tells what took long, and how long commands take.", "server", "2.8.13"),
    node("lolwut", 803, -1, "readonly fast", "Shows a small piece of art, and the version.", "server", "5.0.0"),
    node("waitaof", 805, 4, "noscript", "Tells how many disks hold all writes before it.", "generic", "7.2.0"),
    node("role", 806, 1, "noscript loading stale fast", "Tells what the node is to others.", "server", "2.8.12"),
    node("lastsave", 807, 1, "loading stale fast", "Tells when the last snapshot was done.", "server", "1.0.0"),
    node("bgsave", 808, -1, "admin noscript", "Begins a snapshot.", "server", "1.0.0"),
    node("save", 809, 1, "admin noscript", "Begins a snapshot; writes are durable without it.", "server", "1.0.0"),
    node("bgrewriteaof", 810, 1, "admin noscript", "Begins a snapshot, which shortens the log.", "server", "1.0.0"),
    node("replicaof", 811, 3, "admin noscript stale", "Takes NO ONE; nodes replicate without it.", "server", "5.0.0"),
    node("slaveof", 812, 3, "admin noscript stale", "Takes NO ONE; nodes replicate without it.", "server", "1.0.0"),
    node("failover", 813, -1, "admin noscript stale", "Refused: leaders are elected.", "server", "6.2.0"),
    node("swapdb", 814, 3, "write fast", "Refused: databases keep their numbers.", "server", "4.0.0"),
    node("module", 815, -2, "", "Lists modules, of which there are none.", "server", "4.0.0"),
    node("acl", 816, -2, "", "Tells what users may do; there is one.", "server", "6.0.0"),
    Command {
        name: "debug|object",
        id: 817,
        arity: 3,
        flags: "admin noscript loading stale",
        keys: Keys::at(2, 2, 1),
        run: Run::Read(debug_object),
        summary: "Tells how the value of a key is held.",
        group: "server",
        since: "1.0.0",
    },
];

const fn node(
    name: &'static str,
    id: u16,
    arity: i16,
    flags: &'static str,
    summary: &'static str,
    group: &'static str,
    since: &'static str,
) -> Command {
    Command { name, id, arity, flags, keys: Keys::NONE, run: Run::Node, summary, group, since }
}

/// MEMORY USAGE. What a value takes is known without a look at its members, so that SAMPLES changes nothing.
fn usage(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    for pair in args[3..].chunks(2) {
        let [word, count] = pair else { return Err(Refused::Syntax) };
        if !word.eq_ignore_ascii_case(b"samples") || integer(count)? < 0 {
            return Err(Refused::Syntax);
        }
    }
    Ok(keyspace.footprint(cx, args[2]).map_or(Reply::Nil, Reply::count))
}

/// DEBUG OBJECT, in the words that clients take apart. Addresses are not told.
fn debug_object(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    let live = keyspace.peek(cx, args[2]).ok_or(Refused::NoSuchKey)?;
    let (encoding, size) = (super::object::encoding_of(live.value), dump::size(live.value));
    let idle = keyspace.idle_s(cx, args[2]).filter(|_| !cx.shared).unwrap_or(0);
    let text =
        format!("Value at:0x0 refcount:1 encoding:{encoding} serializedlength:{size} lru:0 lru_seconds_idle:{idle}");
    Ok(Reply::text(text))
}
