//! What clients and operators ask about a command besides its row: the categories of access lists that it is in, and what
//! it does to its keys. Both follow from the row as a rule; the exceptions stand here.

use super::{Command, Keys, prefix};
use crate::Reply;

/// The categories that access lists know, by the names that ACL CAT tells.
pub const CATEGORIES: [&str; 21] = {
    let mut names = SHOWN;
    let mut at = 0;
    while at < names.len() {
        names[at] = names[at].split_at(1).1;
        at += 1;
    }
    names
};

/// The same as COMMAND INFO shows them.
pub const SHOWN: [&str; 21] = [
    "@keyspace",
    "@read",
    "@write",
    "@set",
    "@sortedset",
    "@list",
    "@hash",
    "@string",
    "@bitmap",
    "@hyperloglog",
    "@geo",
    "@stream",
    "@pubsub",
    "@admin",
    "@fast",
    "@slow",
    "@blocking",
    "@dangerous",
    "@connection",
    "@transaction",
    "@scripting",
];

/// Commands that are dangerous though they need no administrator.
const DANGEROUS: [&str; 14] = [
    "flushall",
    "flushdb",
    "info",
    "keys",
    "lastsave",
    "migrate",
    "replconf",
    "restore",
    "restore-asking",
    "role",
    "sort",
    "sort_ro",
    "swapdb",
    "latency",
];

/// True if a command is in a category of [`CATEGORIES`].
#[must_use]
pub fn is_in(row: &Command, category: &str) -> bool {
    let has = |flag: &str| row.flags.split(' ').any(|one| one == flag);
    match category {
        "read" => has("readonly") && row.group != "scripting",
        "write" => has("write") && row.group != "scripting",
        "slow" => !has("fast"),
        "admin" | "fast" | "blocking" => has(category),
        "dangerous" => has("admin") || DANGEROUS.contains(&row.name),
        "keyspace" => {
            row.group == "generic" && row.name != "wait" && row.name != "waitaof" || KEYSPACE.contains(&row.name)
        }
        "sortedset" => row.group == "sorted-set",
        "transaction" => row.group == "transactions",
        "connection" => row.group == "connection" || row.name == "wait" || row.name == "command",
        _ => row.group == category,
    }
}

/// Commands of the server's group that are about keys.
const KEYSPACE: [&str; 5] = ["dbsize", "flushall", "flushdb", "swapdb", "restore-asking"];

/// What a command does to its first key, and to the others.
type Uses = (&'static str, &'static str);

const READS: Uses = ("RO access", "RO access");
const LOOKS: Uses = ("RO", "RO");
const CHANGES: Uses = ("RW access update", "RW access update");
const TAKES: Uses = ("RW access delete", "RW access delete");
const REMOVES: Uses = ("RW delete", "RW delete");
const ADDS: Uses = ("RW insert", "RW insert");
const SETS: Uses = ("RW update", "RW update");
const PUTS: Uses = ("OW update", "OW update");
const STORES: Uses = ("OW update", "RO access");
const MOVES: Uses = ("RW access delete", "RW insert");

/// By what they do; other commands read their keys, or change them.
const USES: &[(Uses, &[&str])] = &[
    (
        LOOKS,
        &[
            "exists",
            "hexists",
            "hlen",
            "hstrlen",
            "llen",
            "memory|usage",
            "object",
            "scard",
            "sismember",
            "strlen",
            "touch",
            "type",
            "watch",
            "xlen",
            "zcard",
        ],
    ),
    (
        TAKES,
        &[
            "blmpop", "blpop", "brpop", "bzmpop", "bzpopmax", "bzpopmin", "getdel", "lmpop", "lpop", "rpop", "spop",
            "zmpop", "zpopmax", "zpopmin",
        ],
    ),
    (
        REMOVES,
        &[
            "hdel",
            "lrem",
            "ltrim",
            "srem",
            "xautoclaim",
            "xdel",
            "xtrim",
            "zrem",
            "zremrangebylex",
            "zremrangebyrank",
            "zremrangebyscore",
        ],
    ),
    (ADDS, &["append", "hsetnx", "linsert", "lpush", "lpushx", "pfadd", "rpush", "rpushx", "sadd", "xgroup"]),
    (
        SETS,
        &[
            "expire",
            "expireat",
            "geoadd",
            "hmset",
            "hset",
            "lset",
            "persist",
            "pexpire",
            "pexpireat",
            "setrange",
            "xack",
            "xadd",
            "xclaim",
            "xsetid",
            "zadd",
        ],
    ),
    (PUTS, &["mset", "psetex", "restore", "restore-asking", "setex"]),
    (
        STORES,
        &[
            "bitop",
            "geosearchstore",
            "sdiffstore",
            "sunionstore",
            "zdiffstore",
            "zinterstore",
            "zrangestore",
            "zunionstore",
        ],
    ),
    (MOVES, &["blmove", "brpoplpush", "lmove", "rpoplpush", "smove"]),
    (("RO access", "OW update"), &["copy", "georadius", "georadiusbymember", "sort"]),
    (("RM delete", "RM delete"), &["del", "unlink"]),
    (("OW insert", "OW insert"), &["msetnx", "setnx"]),
    (("RW access", "RW access"), &["pfcount", "pfdebug"]),
    (("RW access insert", "RO access"), &["pfmerge"]),
    (("RW access delete", "OW update"), &["rename"]),
    (("RW access delete", "OW insert"), &["renamenx"]),
    (("RW update", "RO access"), &["sinterstore"]),
    (READS, &["xreadgroup"]),
];

/// The keys of a call that has some, and what is done to each.
pub(super) fn keys_and_uses(row: &Command, call: &[&[u8]]) -> Vec<Reply> {
    let named = prefix::parse(call).ok().filter(|_| matches!(row.run, super::Run::Prefix(_)));
    let (inner, words) = named.map_or((row, call), |one| (one.command, &call[one.at..]));
    let (first, others) = uses(inner, words);
    let shown = |(at, flags): (usize, &'static str)| {
        let flags = flags.split(' ').map(Reply::Simple).collect();
        Reply::Array(vec![Reply::bulk(call[at]), Reply::Set(flags)])
    };
    let flags = std::iter::once(first).chain(std::iter::repeat(others));
    prefix::key_positions(row, call).zip(flags).map(shown).collect()
}

/// Where the keys of a command stand and what is done to them, as COMMAND INFO shows it.
pub(super) fn key_specs(row: &Command) -> Vec<Reply> {
    let (first, others) = uses(row, &[]);
    let flags = |uses: &'static str| Reply::Set(uses.split(' ').map(Reply::Simple).collect());
    let spec = |uses, begin: (&str, Reply), find: (&str, Reply)| {
        let kind = |(kind, spec): (&str, Reply)| {
            Reply::Map(vec![(Reply::text("type"), Reply::text(kind)), (Reply::text("spec"), spec)])
        };
        let fields = [("flags", flags(uses)), ("begin_search", kind(begin)), ("find_keys", kind(find))];
        Reply::Map(fields.into_iter().map(|(name, value)| (Reply::text(name), value)).collect())
    };
    let numbers = |fields: &[(&str, i64)]| {
        Reply::Map(fields.iter().map(|(name, value)| (Reply::text(name), Reply::Int(*value))).collect())
    };
    let index = |at: i64| ("index", numbers(&[("index", at)]));
    let range = |last: i64, step: i64| ("range", numbers(&[("lastkey", last), ("keystep", step), ("limit", 0)]));
    match row.keys {
        Keys::At { first: 0, .. } => Vec::new(),
        Keys::At { first: 1, last: 2, step: 1 } if first != others => {
            vec![spec(first, index(1), range(0, 1)), spec(others, index(2), range(0, 1))]
        }
        Keys::At { first: from, last, step } => {
            let last = if last < 0 { last } else { last - from };
            vec![spec(first, index(from.into()), range(last.into(), step.into()))]
        }
        Keys::Counted { at, destination } => {
            let counted = numbers(&[("keynumidx", 0), ("firstkey", 1), ("keystep", 1)]);
            let uses = if destination { others } else { first };
            let counted = spec(uses, index(at.into()), ("keynum", counted));
            let stored = destination.then(|| spec(first, index(1), range(0, 1)));
            stored.into_iter().chain([counted]).collect()
        }
        Keys::Found(_) => {
            let unknown = || ("unknown", Reply::Map(Vec::new()));
            vec![spec(first, unknown(), unknown())]
        }
    }
}

fn uses(row: &Command, call: &[&[u8]]) -> Uses {
    let has = |word: &[u8]| call.iter().skip(2).any(|one| one.eq_ignore_ascii_case(word));
    match row.name {
        "set" if !has(b"get") => PUTS,
        "bitfield" if !has(b"set") && !has(b"incrby") => READS,
        name => match USES.iter().find(|(_, names)| names.contains(&name)) {
            Some((uses, _)) => *uses,
            None if row.is_write() => CHANGES,
            None => READS,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    #[test]
    fn exceptions_name_commands_and_each_once() {
        let mut seen = Vec::new();
        for name in USES.iter().flat_map(|(_, names)| *names) {
            assert!(!seen.contains(&name), "{name}");
            seen.push(name);
        }
    }

    #[test]
    fn categories_follow_from_the_row() {
        let of = |name: &str| -> Vec<&str> {
            let row = find(name.as_bytes()).expect("a command");
            CATEGORIES.into_iter().filter(|category| is_in(row, category)).collect()
        };
        assert_eq!(of("get"), ["read", "string", "fast"]);
        assert_eq!(of("setbit"), ["write", "bitmap", "slow"]);
        assert_eq!(of("keys"), ["keyspace", "read", "slow", "dangerous"]);
        assert_eq!(of("config"), ["admin", "slow", "dangerous"]);
        assert_eq!(of("multi"), ["fast", "transaction"]);
    }
}
