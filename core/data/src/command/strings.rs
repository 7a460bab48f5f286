//! Strings.

use super::{Command, Keys, Outcome, Run};
use crate::keyspace::Ttl;
use crate::{Context, Keyspace, Reply};

/// The rows of this family; ids 100 to 199.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "get",
        id: 100,
        arity: 2,
        flags: "readonly fast",
        keys: Keys::ONE,
        run: Run::Read(get),
        summary: "Returns the string value of a key.",
        group: "string",
        since: "1.0.0",
    },
    Command {
        name: "set",
        id: 101,
        arity: -3,
        flags: "write denyoom",
        keys: Keys::ONE,
        run: Run::Write(set),
        summary: "Sets the string value of a key.",
        group: "string",
        since: "1.0.0",
    },
];

fn get(keyspace: &Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    match keyspace.get(cx, args[1]) {
        None => Ok(Reply::Nil),
        Some(live) => live.value.blob().map(Reply::Bulk),
    }
}

fn set(keyspace: &mut Keyspace, cx: &Context, args: &[&[u8]]) -> Outcome {
    keyspace.set_string(cx, args[1], args[2], Ttl::Clear);
    Ok(Reply::Ok)
}
