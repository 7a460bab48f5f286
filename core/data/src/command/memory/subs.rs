//! The subcommands of MEMORY, LATENCY, MODULE and ACL.

use super::super::containers::{HELP, Sub, sub};

pub(in super::super) static MEMORY: [Sub; 6] = [
    sub("doctor", 2, &["DOCTOR", "    Say what is odd about the node's memory."]),
    sub(
        "malloc-stats",
        2,
        &["MALLOC-STATS", "    Return what the allocator and the kernel tell of the node's memory."],
    ),
    sub("purge", 2, &["PURGE", "    Accepted; free pages go back to the kernel by themselves."]),
    sub("stats", 2, &["STATS", "    Return what takes memory on the node, in bytes."]),
    sub(
        "usage",
        -3,
        &[
            "USAGE <key> [SAMPLES <count>]",
            "    Return the bytes that <key> and its value take. Nothing is sampled: the",
            "    number is known.",
        ],
    ),
    HELP,
];

pub(in super::super) static LATENCY: [Sub; 7] = [
    sub("doctor", 2, &["DOCTOR", "    Return a report on what took long, for people."]),
    sub("graph", 3, &["GRAPH <event>", "    Draw the samples of the <event>."]),
    sub(
        "history",
        3,
        &["HISTORY <event>", "    Return times and milliseconds of the <event>, a sample a second at most."],
    ),
    sub("latest", 2, &["LATEST", "    Return the last and the longest sample of every event."]),
    sub("reset", -2, &["RESET [<event> ...]", "    Forget the samples of the events, or of all."]),
    sub(
        "histogram",
        -2,
        &["HISTOGRAM [<command> ...]", "    Return how many calls of each command took up to how many microseconds."],
    ),
    HELP,
];

pub(in super::super) static MODULE: [Sub; 5] = [
    sub("list", 2, &["LIST", "    Return the modules: none."]),
    sub("load", -3, &["LOAD <path> [<arg> ...]", "    Refused: there are no modules."]),
    sub("loadex", -3, &["LOADEX <path> [...]", "    Refused: there are no modules."]),
    sub("unload", 3, &["UNLOAD <name>", "    Refused: there are no modules."]),
    HELP,
];

pub(in super::super) static ACL: [Sub; 13] = [
    sub("cat", -2, &["CAT [<category>]", "    List all categories of commands, or the commands of one."]),
    sub("deluser", -3, &["DELUSER <username> [<username> ...]", "    Remove users; the default user stays."]),
    sub("dryrun", -4, &["DRYRUN <username> <command> [<arg> ...]", "    Say whether a user may run a command."]),
    sub("genpass", -2, &["GENPASS [<bits>]", "    Return a random password, of 256 bits unless told."]),
    sub("getuser", 3, &["GETUSER <username>", "    Return what a user may do."]),
    sub("list", 2, &["LIST", "    Return the users as lines of a file of users."]),
    sub("load", 2, &["LOAD", "    Refused: there is no file of users."]),
    sub("log", -2, &["LOG [<count> | RESET]", "    Return what was denied to users: nothing."]),
    sub("save", 2, &["SAVE", "    Refused: there is no file of users."]),
    sub("setuser", -3, &["SETUSER <username> <attribute> [...]", "    Refused: the default user is the only one."]),
    sub("users", 2, &["USERS", "    Return the names of all users."]),
    sub("whoami", 2, &["WHOAMI", "    Return the user of this connection."]),
    HELP,
];
