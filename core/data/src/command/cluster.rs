//! What a client of a Redis Cluster asks of a node: mostly rows, answered by the edge.
//!
//! Two subcommands of CLUSTER look into one slot, and are run where that slot is: argument 2 names it in the place of a key.

use super::containers::{HELP, Sub, sub};
use super::strings::integer;
use super::{Command, Keys, Outcome, Run};
use crate::{Context, Keyspace, Refused, Reply};
use base::Slot;
use base::slot::SLOT_COUNT;

/// The rows of this family; ids 450 to 459.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "cluster",
        id: CLUSTER_ID,
        arity: -2,
        flags: "stale",
        keys: Keys::NONE,
        run: Run::Read(look_into_slot),
        summary: "Tells where the slots of the cluster are.",
        group: "cluster",
        since: "3.0.0",
    },
    Command {
        name: "readonly",
        id: 451,
        arity: 1,
        flags: "loading stale fast",
        keys: Keys::NONE,
        run: Run::Session,
        summary: "Lets this connection read from replicas, which may be somewhat behind.",
        group: "cluster",
        since: "3.0.0",
    },
    Command {
        name: "readwrite",
        id: 452,
        arity: 1,
        flags: "loading stale fast",
        keys: Keys::NONE,
        run: Run::Session,
        summary: "Takes READONLY back.",
        group: "cluster",
        since: "3.0.0",
    },
    Command {
        name: "asking",
        id: 453,
        arity: 1,
        flags: "fast",
        keys: Keys::NONE,
        run: Run::Session,
        summary: "Accepted: no slot is ever half moved here.",
        group: "cluster",
        since: "3.0.0",
    },
];

pub(super) const CLUSTER_ID: u16 = 450;

/// The subcommands of CLUSTER. Those without help change a Redis Cluster by hand, and are refused.
pub(super) static SUBS: [Sub; 27] = [
    sub("countkeysinslot", 3, &["COUNTKEYSINSLOT <slot>", "    Return the number of keys in <slot>."]),
    sub(
        "getkeysinslot",
        4,
        &["GETKEYSINSLOT <slot> <count>", "    Return key names stored by current node in a slot."],
    ),
    sub("info", 2, &["INFO", "    Return information about the cluster."]),
    sub("keyslot", 3, &["KEYSLOT <key>", "    Return the hash slot for <key>."]),
    sub("myid", 2, &["MYID", "    Return the node id."]),
    sub(
        "nodes",
        2,
        &[
            "NODES",
            "    Return cluster configuration seen by node. Output format:",
            "    <id> <ip:port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
        ],
    ),
    sub("replicas", 3, &["REPLICAS <node-id>", "    Return <node-id> replicas."]),
    sub("slaves", 3, &[]),
    sub(
        "slots",
        2,
        &[
            "SLOTS",
            "    Return information about slots range mappings. Each range is made of:",
            "    start, end, master and replicas IP addresses, ports and ids",
        ],
    ),
    sub(
        "shards",
        2,
        &["SHARDS", "    Return information about slot range mappings and the nodes associated with them."],
    ),
    sub(
        "links",
        2,
        &[
            "LINKS",
            "    Return information about all network links between this node and its peers.",
            "    Output format is an array where each array element is a map containing attributes of a link",
        ],
    ),
    HELP,
    sub("addslots", -3, &[]),
    sub("addslotsrange", -4, &[]),
    sub("bumpepoch", 2, &[]),
    sub("count-failure-reports", 3, &[]),
    sub("delslots", -3, &[]),
    sub("delslotsrange", -4, &[]),
    sub("failover", -2, &[]),
    sub("flushslots", 2, &[]),
    sub("forget", 3, &[]),
    sub("meet", -4, &[]),
    sub("replicate", 3, &[]),
    sub("reset", -2, &[]),
    sub("saveconfig", 2, &[]),
    sub("set-config-epoch", 3, &[]),
    sub("setslot", -4, &[]),
];

/// The slot that a command looks into instead of keys; nothing for all others, and if there is no such slot.
#[must_use]
pub fn slot_of(command: &Command, args: &[&[u8]]) -> Option<Slot> {
    if command.id != CLUSTER_ID {
        return None;
    }
    slot(args.get(2)?).ok()
}

fn look_into_slot(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    if args[1].eq_ignore_ascii_case(b"countkeysinslot") && args.len() == 3 {
        let slot = slot(args[2]).map_err(|_| told("ERR Invalid slot", args[2]))?;
        return Ok(Reply::count(keyspace.slot_len(cx.db, slot)));
    }
    if !args[1].eq_ignore_ascii_case(b"getkeysinslot") || args.len() != 4 {
        return Err(Refused::Text("ERR this subcommand of CLUSTER is not for a shard".to_owned()));
    }
    let count = integer(args[3])?;
    let invalid = || Refused::Text("ERR Invalid slot or number of keys".to_owned());
    let slot = slot(args[2]).map_err(|_| told("ERR Invalid slot or number of keys", args[2]))?;
    let count = usize::try_from(count).map_err(|_| invalid())?;
    let keys = keyspace.keys_in_slot(cx.db, slot, count);
    Ok(Reply::Array(keys.map(Reply::bulk).collect()))
}

fn slot(text: &[u8]) -> Result<Slot, Refused> {
    let number = integer(text)?;
    let slot = u16::try_from(number).ok().filter(|slot| *slot < SLOT_COUNT);
    slot.map(Slot).ok_or(Refused::NotAnInteger)
}

/// A number that is none is refused as such, one out of range by `text`.
fn told(text: &str, word: &[u8]) -> Refused {
    match integer(word) {
        Ok(_) => Refused::Text(text.to_owned()),
        Err(refused) => refused,
    }
}
