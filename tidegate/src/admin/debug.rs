//! DEBUG: what the test suites of clients use of it. DEBUG OBJECT is the shard's, DEBUG SLEEP the lane's.

use super::error;
use crate::log;
use data::Reply;

/// DEBUG; `sub` in lower case, its arguments behind it. Nothing if there is no such subcommand.
pub fn debug(sub: &[u8], args: &[&[u8]]) -> Option<Reply> {
    Some(match (sub, args) {
        (b"help", []) => Reply::Array(HELP.iter().map(|line| Reply::Simple(line)).collect()),
        (b"sleep", _) => error("ERR DEBUG SLEEP delays its connection, which a transaction is no place for"),
        (b"error", [text]) => error(&String::from_utf8_lossy(text)),
        (b"log", [text]) => {
            log::info("debug", "a client says", &[("text", &String::from_utf8_lossy(text))]);
            Reply::Ok
        }
        // Keys die by the shard's time alone, and values pack themselves.
        (b"set-active-expire" | b"quicklist-packed-threshold", [_]) | (b"change-repl-id", []) => Reply::Ok,
        (b"protocol", [kind]) => protocol(&kind.to_ascii_lowercase()),
        _ => return None,
    })
}

/// A reply of a type, for those who test how they read it.
#[expect(clippy::approx_constant, reason = "the number that Redis answers")]
fn protocol(kind: &[u8]) -> Reply {
    let three = || (0..3).map(Reply::Int).collect();
    match kind {
        b"string" => Reply::text("Hello World"),
        b"integer" => Reply::Int(12_345),
        b"double" => Reply::Double(3.141),
        b"null" => Reply::Nil,
        b"array" => Reply::Array(three()),
        b"set" => Reply::Set(three()),
        b"map" => Reply::Map((0..3).map(|n| (Reply::Int(n), Reply::Bool(n == 1))).collect()),
        b"verbatim" => Reply::Verbatim("This is a verbatim\nstring".to_owned()),
        b"true" => Reply::Bool(true),
        b"false" => Reply::Bool(false),
        _ => error(
            "ERR Wrong protocol type name. Please use one of the following: \
             string|integer|double|null|array|set|map|verbatim|true|false",
        ),
    }
}

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANGE-REPL-ID",
    "    Accepted, and nothing comes of it.",
    "ERROR <string>",
    "    Return an error of this text.",
    "LOG <message>",
    "    Write the message to the node's log.",
    "OBJECT <key>",
    "    Tell how the value of <key> is held.",
    "PROTOCOL <type>",
    "    Return a value of the type: string, integer, double, null, array, set, map,",
    "    verbatim, true or false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Accepted, and nothing comes of it.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Accepted: keys that are dead are removed all the same.",
    "SLEEP <seconds>",
    "    Delay this connection, and no other.",
    "HELP",
    "    Prints this help.",
];
