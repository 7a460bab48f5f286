//! Scripts and functions: how they are called, and what of them is state.
//!
//! Whoever leads a shard runs a script once, and the log holds what it did; so a call has no function here, and neither a replica nor a
//! log knows Lua. SCRIPT and FUNCTION concern every shard: each keeps all scripts and functions, and answers for itself. To
//! take a library in, its leader runs its text to see what it registers, and logs FUNCTION KEEP, which no client can send.

use super::containers::{HELP, Sub, sub as sub_row};
use super::glob::glob;
use super::{Command, Keys, Outcome, Run, Scatter, find};
use crate::keyspace::Keyspace;
use crate::scripts::{Function, Library, sha_from, sha_of, sha_text};
use crate::{Refused, Reply};
use base::codec::Reader;
use bytes::Bytes;

/// The rows of this family; ids 750 to 769.
pub static COMMANDS: &[Command] = &[
    call("eval", 750, Kind::Body, Access::Any, "Runs a script.", "2.6.0"),
    call("evalsha", 751, Kind::Sha, Access::Any, "Runs a script that was loaded, by its SHA-1.", "2.6.0"),
    call("eval_ro", 752, Kind::Body, Access::Reads, "Runs a script that changes nothing.", "7.0.0"),
    call(
        "evalsha_ro",
        753,
        Kind::Sha,
        Access::Reads,
        "Runs a script that was loaded and changes nothing, by its SHA-1.",
        "7.0.0",
    ),
    call("fcall", 754, Kind::Function, Access::Any, "Calls a function.", "7.0.0"),
    call("fcall_ro", 755, Kind::Function, Access::Reads, "Calls a function that changes nothing.", "7.0.0"),
    Command {
        name: "script",
        id: SCRIPT_ID,
        arity: -2,
        flags: "noscript",
        keys: Keys::NONE,
        run: Run::Scatter(Scatter::Script),
        summary: "Loads, finds, forgets and stops scripts.",
        group: "scripting",
        since: "2.6.0",
    },
    Command {
        name: "function",
        id: FUNCTION_ID,
        arity: -2,
        flags: "noscript",
        keys: Keys::NONE,
        run: Run::Scatter(Scatter::Function),
        summary: "Loads, lists, deletes and stops functions.",
        group: "scripting",
        since: "7.0.0",
    },
];

pub(super) const SCRIPT_ID: u16 = 756;
pub(super) const FUNCTION_ID: u16 = 757;

pub(super) static SCRIPT_SUBS: [Sub; 6] = [
    sub_row("debug", 3, &["DEBUG (YES|SYNC|NO)", "    NO is accepted: scripts are not debugged here."]),
    sub_row(
        "exists",
        -3,
        &[
            "EXISTS <sha1> [<sha1> ...]",
            "    Return information about the existence of the scripts in the script cache.",
        ],
    ),
    sub_row("flush", -2, &["FLUSH [ASYNC|SYNC]", "    Flush the Lua scripts cache, on all nodes."]),
    sub_row("kill", 2, &["KILL", "    Kill the currently executing Lua script: nothing of it takes effect."]),
    sub_row("load", 3, &["LOAD <script>", "    Load a script into the scripts cache without executing it."]),
    HELP,
];

pub(super) static FUNCTION_SUBS: [Sub; 9] = [
    sub_row(
        "load",
        -3,
        &["LOAD [REPLACE] <FUNCTION CODE>", "    Create a new library with the given library name and code."],
    ),
    sub_row("delete", 3, &["DELETE <LIBRARY NAME>", "    Delete the given library."]),
    sub_row(
        "list",
        -2,
        &[
            "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
            "    Return general information on all the libraries:",
            "    * Library name",
            "    * The engine used to run the Library",
            "    * Functions list",
            "    * Library code (if WITHCODE is given)",
            "    Only libraries that match a pattern are listed if LIBRARYNAME is given.",
        ],
    ),
    sub_row(
        "stats",
        2,
        &[
            "STATS",
            "    Return information about the current function running, or nil:",
            "    * Function name",
            "    * Command used to run the function",
            "    * Duration in MS that the function is running",
            "    In addition, returns a list of available engines.",
        ],
    ),
    sub_row("kill", 2, &["KILL", "    Kill the current running function: nothing of it takes effect."]),
    sub_row("flush", -2, &["FLUSH [ASYNC|SYNC]", "    Delete all the libraries."]),
    sub_row(
        "dump",
        2,
        &["DUMP", "    Return a serialized payload representing the current libraries, for FUNCTION RESTORE."],
    ),
    sub_row(
        "restore",
        -3,
        &[
            "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
            "    Restore the libraries represented by the given payload (default APPEND):",
            "    * FLUSH: delete all existing libraries.",
            "    * APPEND: add the restored libraries to the existing libraries. On collision, abort.",
            "    * REPLACE: the same, but replace libraries of the same names.",
        ],
    ),
    HELP,
];

/// How a call names what it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Body,
    Sha,
    Function,
}

/// What a call may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Any,
    Reads,
}

/// A row that runs a script or function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script {
    pub kind: Kind,
    pub access: Access,
}

const fn call(
    name: &'static str,
    id: u16,
    kind: Kind,
    access: Access,
    summary: &'static str,
    since: &'static str,
) -> Command {
    let flags = match access {
        Access::Any => "noscript stale skip_monitor no_mandatory_keys movablekeys",
        Access::Reads => "readonly noscript stale skip_monitor no_mandatory_keys movablekeys",
    };
    let keys = Keys::Counted { at: 2, destination: false };
    let run = Run::Script(Script { kind, access });
    Command { name, id, arity: -3, flags, keys, run, summary, group: "scripting", since }
}

/// Some of a call's words.
pub type Words<'a> = &'a [&'a [u8]];

/// The keys and other arguments of a call.
pub fn arguments<'a>(kind: Kind, args: Words<'a>) -> Result<(Words<'a>, Words<'a>), Refused> {
    let text = |text: &str| Refused::Text(text.to_owned());
    let count = super::strings::integer(args[2]);
    let count =
        if kind == Kind::Function { count.map_err(|_| text("ERR Bad number of keys provided"))? } else { count? };
    let rest = &args[3..];
    match usize::try_from(count) {
        Err(_) => Err(text("ERR Number of keys can't be negative")),
        Ok(count) => {
            rest.split_at_checked(count).ok_or_else(|| text("ERR Number of keys can't be greater than number of args"))
        }
    }
}

/// A subcommand, in lower case.
#[must_use]
pub fn sub(args: &[&[u8]]) -> String {
    args.get(1).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase()).unwrap_or_default()
}

/// What a subcommand of SCRIPT or FUNCTION needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It is about what runs: a lane answers.
    Running,
    /// Something is to be compiled, or what was compiled be looked at.
    Compiler,
    /// It changes the state.
    State,
    /// It reads it; one shard is like another.
    Look,
}

/// What a subcommand needs.
#[must_use]
pub fn need(scatter: Scatter, args: &[&[u8]]) -> Need {
    match (scatter, sub(args).as_str()) {
        (Scatter::Script, "load" | "exists") | (Scatter::Function, "load" | "restore") => Need::Compiler,
        (Scatter::Script, "flush") | (Scatter::Function, "delete" | "flush") => Need::State,
        (Scatter::Function, "list" | "dump") => Need::Look,
        _ => Need::Running,
    }
}

/// SCRIPT, where it stands in the log.
pub(super) fn script(keyspace: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    match (sub(args).as_str(), args) {
        ("load", [_, _, body]) => {
            let sha = sha_of(body);
            if keyspace.scripts().body(&sha).is_none() {
                keyspace.scripts_mut().keep(sha, Bytes::copy_from_slice(body));
            }
            Ok(Reply::text(sha_text(&sha)))
        }
        ("flush", [_, _]) => {
            keyspace.scripts_mut().flush();
            Ok(Reply::Ok)
        }
        ("flush", [_, _, how]) if is_sync_or_async(how) => {
            keyspace.scripts_mut().flush();
            Ok(Reply::Ok)
        }
        ("flush", _) => Err(Refused::Text("ERR SCRIPT FLUSH only support SYNC|ASYNC option".to_owned())),
        ("exists", [_, _, shas @ ..]) => {
            let known = |sha: &&[u8]| sha_from(sha).is_some_and(|sha| keyspace.scripts().body(&sha).is_some());
            Ok(Reply::Array(shas.iter().map(|sha| Reply::Int(i64::from(known(sha)))).collect()))
        }
        _ => Err(Refused::Text("ERR this subcommand of SCRIPT can't be logged".to_owned())),
    }
}

/// FUNCTION, where it stands in the log.
pub(super) fn function(keyspace: &mut Keyspace, args: &[&[u8]]) -> Outcome {
    match (sub(args).as_str(), args) {
        (KEEP, [_, _, name, code, functions, replace]) => {
            let damaged = |_| Refused::Text("ERR a library that can't be read".to_owned());
            let library = Library::with_functions(name, code, &mut Reader::new(functions)).map_err(damaged)?;
            let name = Reply::bulk(name);
            keyspace.scripts().may_add(&library, *replace == b"1")?;
            keyspace.scripts_mut().add(library);
            Ok(name)
        }
        ("delete", [_, _, name]) if keyspace.scripts().library(name).is_none() => {
            Err(Refused::Text("ERR Library not found".to_owned()))
        }
        ("delete", [_, _, name]) => {
            keyspace.scripts_mut().remove(name);
            Ok(Reply::Ok)
        }
        ("flush", [_, _]) => {
            keyspace.scripts_mut().remove_all();
            Ok(Reply::Ok)
        }
        ("flush", [_, _, how]) if is_sync_or_async(how) => {
            keyspace.scripts_mut().remove_all();
            Ok(Reply::Ok)
        }
        ("flush", _) => Err(Refused::Text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option".to_owned())),
        _ => look(keyspace, args),
    }
}

/// The arguments of the call that takes `library` in.
#[must_use]
pub fn keep(library: &Library, replace: bool) -> [Vec<u8>; 6] {
    let mut functions = Vec::new();
    library.encode_functions(&mut functions);
    let replace = if replace { b"1" } else { b"0" };
    let words: [&[u8]; 6] = [b"FUNCTION", KEEP.as_bytes(), &library.name, &library.code, &functions, replace];
    words.map(<[u8]>::to_vec)
}

/// The row of FUNCTION.
#[must_use]
pub fn function_row() -> &'static Command {
    find(b"function").expect("it stands above")
}

const KEEP: &str = "keep";

/// FUNCTION LIST and DUMP.
pub fn look(keyspace: &Keyspace, args: &[&[u8]]) -> Outcome {
    match sub(args).as_str() {
        "list" => list(keyspace, &args[2..]),
        "dump" => Ok(Reply::Bulk(crate::Blob::Shared(Bytes::from(keyspace.scripts().dump())))),
        _ => Err(Refused::Text("ERR this subcommand of FUNCTION can't be logged".to_owned())),
    }
}

fn list(keyspace: &Keyspace, options: &[&[u8]]) -> Outcome {
    let (mut pattern, mut with_code, mut rest) = (None, false, options);
    while let [option, behind @ ..] = rest {
        rest = behind;
        match option.to_ascii_lowercase().as_slice() {
            b"withcode" if !with_code => with_code = true,
            b"libraryname" if pattern.is_none() => {
                let [wanted, behind @ ..] = rest else {
                    return Err(Refused::Text("ERR library name argument was not given".to_owned()));
                };
                (pattern, rest) = (Some(*wanted), behind);
            }
            _ => {
                let option = String::from_utf8_lossy(option);
                return Err(Refused::Text(format!("ERR Unknown argument {option}")));
            }
        }
    }
    let wanted = |library: &&std::sync::Arc<Library>| pattern.is_none_or(|pattern| glob(pattern, &library.name));
    let shown = keyspace.scripts().libraries().filter(wanted).map(|library| show(library, with_code));
    Ok(Reply::Array(shown.collect()))
}

fn show(library: &Library, with_code: bool) -> Reply {
    let function = |Function { name, description, flags }: &Function| {
        Reply::Map(vec![
            (Reply::text("name"), Reply::bulk(name)),
            (Reply::text("description"), description.as_ref().map_or(Reply::Nil, |text| Reply::bulk(text))),
            (Reply::text("flags"), Reply::Set(flags.names().map(Reply::Simple).collect())),
        ])
    };
    let mut fields = vec![
        (Reply::text("library_name"), Reply::bulk(&library.name)),
        (Reply::text("engine"), Reply::text("LUA")),
        (Reply::text("functions"), Reply::Array(library.functions.iter().map(function).collect())),
    ];
    if with_code {
        fields.push((Reply::text("library_code"), Reply::Bulk(crate::Blob::Shared(library.code.clone()))));
    }
    Reply::Map(fields)
}

fn is_sync_or_async(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"sync") || word.eq_ignore_ascii_case(b"async")
}
