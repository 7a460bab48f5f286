//! Commands about the node itself: INFO, CONFIG, CLIENT LIST and KILL, COMMAND, SLOWLOG, LATENCY, MEMORY, ACL, DEBUG.

mod acl;
mod art;
mod client;
pub use client::Unblock;
mod config;
mod debug;
mod info;
pub mod latency;
pub mod limit;
mod memory;
mod output_limits;
pub mod slowlog;
mod standing;

use crate::clock;
use crate::lane::Conn;
use crate::shared::{Shared, lock};
use data::command::containers;
use data::{Command, Refused, Reply};
use std::time::Duration;

/// Runs a command of [`data::Run::Node`], whose subcommand the edge has checked.
pub fn run(shared: &Shared, conn: &Conn, command: &Command, args: &[&[u8]]) -> Reply {
    let sub = args.get(1).map(|arg| arg.to_ascii_lowercase()).unwrap_or_default();
    let rest = args.get(2..).unwrap_or_default();
    match (command.name, sub.as_slice()) {
        ("info", _) => Reply::Verbatim(info::info(shared, conn.endpoint(), &args[1..])),
        ("command", _) => data::command::docs::command(args).into(),
        (_, b"help") if args.len() == 2 && containers::has(command) => containers::help(command),
        ("config", sub) => config::config(shared, sub, rest),
        ("client", sub) => client::client(shared, conn, sub, rest),
        ("slowlog", sub) => slowlog::slowlog(shared, sub, rest),
        ("wait", _) => wait(shared, args[1], args[2]),
        ("latency", sub) => latency::latency(shared, sub, rest),
        ("memory", sub) => memory::memory(shared, sub),
        ("acl", sub) => acl::acl(shared, sub, rest),
        ("module", b"list") => Reply::Array(Vec::new()),
        ("module", _) => error("ERR there are no modules here; nothing was done"),
        ("lolwut", _) => art::lolwut(clock::boot().0),
        ("monitor", _) => error("ERR MONITOR isn't allowed for DENY BLOCKING client"),
        ("debug", sub) => debug::debug(sub, rest).unwrap_or_else(|| unknown(command, args)),
        (name, _) => standing::standing(shared, name, args),
    }
}

/// WAIT. Replies leave in order, and each write's once a majority of its shard's voters has it on disk: when this one leaves, that is so
/// for all before it. More is never known, so there is nothing to wait for.
fn wait(shared: &Shared, wanted: &[u8], timeout: &[u8]) -> Reply {
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    match (number(wanted), number(timeout)) {
        (None, _) => Reply::Error(Refused::NotAnInteger),
        (_, None) => error("ERR timeout is not an integer or out of range"),
        (_, Some(..0)) => error("ERR timeout is negative"),
        _ => Reply::count(lock(&shared.shards).values().map(|shard| shard.voters.len() / 2).min().unwrap_or(0)),
    }
}

/// CLIENT UNBLOCK, whose answer comes when it is known whether the client was served meanwhile; nothing for other commands, and
/// for calls that are refused.
pub fn unblock(command: &Command, args: &[&[u8]]) -> Option<Unblock> {
    let [_, sub, rest @ ..] = args else { return None };
    let meant = command.name == "client" && sub.eq_ignore_ascii_case(b"unblock");
    meant.then(|| Unblock::parse(rest).ok()).flatten()
}

fn unknown(command: &Command, args: &[&[u8]]) -> Reply {
    error(&format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
        String::from_utf8_lossy(args.get(1).copied().unwrap_or_default()),
        command.name.to_uppercase()
    ))
}

/// How long DEBUG SLEEP holds its own connection back; nothing for other commands.
///
/// Redis stops for everybody. Here that would stop the shards of a lane and show nothing but that it can be done: what
/// clients want of this command is a reply that comes late.
pub fn pause(command: &Command, args: &[&[u8]]) -> Option<Duration> {
    let [_, sub, seconds] = args else { return None };
    if command.name != "debug" || !sub.eq_ignore_ascii_case(b"sleep") {
        return None;
    }
    let seconds = std::str::from_utf8(seconds).ok()?.parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(|pause| pause.min(PAUSE_MAX))
}

const PAUSE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The answer to writes while the disk has no room.
pub fn disk_full() -> Reply {
    error(
        "MISCONF the disk has no room for the write-ahead log; nothing was changed. Reads go on. \
         Free space in the data directory and writes go on by themselves",
    )
}

/// Keeps the client's card true; its lane calls this when the session has answered by itself.
pub fn note_session(shared: &Shared, conn: &Conn) {
    let (Some(command), _) = conn.session.last() else { return };
    if !matches!(command.name, "client" | "hello" | "reset" | "exec") {
        return;
    }
    let mut clients = lock(&shared.clients);
    let Some(card) = clients.get_mut(&conn.number) else { return };
    card.name = conn.session.name().to_vec();
    card.lib_name = conn.session.lib_name().to_vec();
    card.lib_ver = conn.session.lib_ver().to_vec();
}

fn error(text: &str) -> Reply {
    Reply::Error(Refused::Text(text.to_owned()))
}
