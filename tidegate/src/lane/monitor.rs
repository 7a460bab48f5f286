//! MONITOR: every command that clients of this node run, and what scripts call that are run here, as a line to those who asked for it.
//!
//! While nobody does, it costs a look at a number for each batch of requests. Else each request is taken apart a second time,
//! for its words. Lines leave at the end of the turn, behind the replies. Passwords are not shown, and commands of
//! administrators not at all, as in Redis.

use super::Driver;
use super::conn::Conn;
use crate::clock;
use crate::shared::{Input, Shared};
use base::ClientId;
use bytes::Bytes;
use data::Command;
use edge::resp::parse::{Parsed, Trust, parse};
use edge::{Fate, Push, Step};
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// Those of a lane's clients who monitor, and the turn's lines.
#[derive(Debug, Default)]
pub struct Monitors {
    clients: Vec<ClientId>,
    lines: Vec<Bytes>,
}

impl Monitors {
    /// A client monitors from now on.
    pub(super) fn begin(&mut self, shared: &Shared, conn: &mut Conn) {
        if !conn.session.monitors() {
            conn.session.begin_monitor();
            self.clients.push(conn.handle);
            shared.monitors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A client monitors no more, if it did.
    pub(super) fn end(&mut self, shared: &Shared, conn: &Conn) {
        if let Some(at) = self.clients.iter().position(|client| *client == conn.handle) {
            self.clients.swap_remove(at);
            shared.monitors.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Shows a request that was just stepped: `frame` is all of it.
    pub(super) fn show(&mut self, conn: &mut Conn, step: &Step<'_>, frame: &[u8]) {
        if matches!(step, Step::NeedMore { .. } | Step::Blocked | Step::Inline(_)) {
            return;
        }
        let (Some(command), fate) = conn.session.last() else { return };
        let Parsed::Complete { args, .. } = parse(frame, Trust::Known) else { return };
        if let Step::Exec(_) = step {
            self.lines.append(&mut conn.queued_lines);
        }
        if conn.session.queued().is_none() {
            conn.queued_lines.clear();
        }
        if fate == Fate::Refused || is_hidden(command, &args) {
            return;
        }
        let line = line(conn, command, &args);
        let lines = if fate == Fate::Queued { &mut conn.queued_lines } else { &mut self.lines };
        lines.push(line);
    }
}

impl Driver {
    /// Gives the turn's lines to those who monitor, on all lanes.
    pub(super) fn tell_lines(&mut self) {
        if self.monitors.lines.is_empty() {
            return;
        }
        let lines = std::mem::take(&mut self.monitors.lines);
        for (lane, mailbox) in self.shared.mailboxes.iter().enumerate() {
            if lane != usize::from(self.id.0) {
                mailbox.put(Input::Lines(lines.clone()));
            }
        }
        self.on_lines(&lines);
    }

    /// Lines of a lane of this node.
    pub(super) fn on_lines(&mut self, lines: &[Bytes]) {
        for line in lines {
            let push = Push::line(line.clone());
            for client in &self.monitors.clients {
                let Some(place) = self.conns.place_of(*client) else { continue };
                let Some(conn) = self.conns.get_mut(place) else { continue };
                conn.push(&push);
                conn.queue_flush(place, &mut self.flush);
            }
        }
    }
}

fn line(conn: &Conn, command: &Command, args: &[&[u8]]) -> Bytes {
    let addr = conn.stream.peer_addr().map_or_else(|_| "?".to_owned(), |addr| addr.to_string());
    let mut line = head(conn.session.db(), &addr);
    for (at, arg) in args.iter().enumerate() {
        line.push(' ');
        if is_secret(command, args, at) { line.push_str("\"(redacted)\"") } else { quote(arg, &mut line) }
    }
    line.push_str("\r\n");
    line.into()
}

/// The line of a command that a script has called.
pub(super) fn line_of_script(db: u8, args: &[Vec<u8>]) -> Bytes {
    let mut line = head(db, "lua");
    for arg in args {
        line.push(' ');
        quote(arg, &mut line);
    }
    line.push_str("\r\n");
    line.into()
}

fn head(db: u8, who: &str) -> String {
    let now_us = clock::wall_us();
    format!("+{}.{:06} [{db} {who}]", now_us / 1_000_000, now_us % 1_000_000)
}

/// True for what only administrators do, and for the last word.
fn is_hidden(command: &Command, args: &[&[u8]]) -> bool {
    if command.name == "quit" {
        return true;
    }
    if command.name != "client" {
        return command.flags.split(' ').any(|flag| flag == "admin");
    }
    let sub = args.get(1).map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    matches!(sub.as_slice(), b"kill" | b"list" | b"no-evict" | b"pause" | b"unpause" | b"unblock")
}

/// True for a password, and the user whose it is.
fn is_secret(command: &Command, args: &[&[u8]], at: usize) -> bool {
    match command.name {
        "auth" => at > 0,
        "hello" => (1..=2).any(|back| at > back && args[at - back].eq_ignore_ascii_case(b"auth")),
        _ => false,
    }
}

fn quote(arg: &[u8], line: &mut String) {
    line.push('"');
    for byte in arg {
        match byte {
            b'\\' | b'"' => line.extend(['\\', char::from(*byte)]),
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(*byte)),
            other => {
                let _ = write!(line, "\\x{other:02x}");
            }
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::command;

    #[test]
    fn words_are_quoted_as_redis_quotes_them() {
        let mut line = String::new();
        quote(b"a\"\\\n\r\t\x07\x08\x01\xff ~", &mut line);
        assert_eq!(line, r#""a\"\\\n\r\t\a\b\x01\xff ~""#);
    }

    #[test]
    fn secrets_are_not_shown_and_administration_is_hidden() {
        let secrets = |words: &str| {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            let row = command::find(args[0]).expect("a command");
            (0..args.len()).filter(|at| is_secret(row, &args, *at)).collect::<Vec<_>>()
        };
        assert_eq!(secrets("auth me secret"), [1, 2]);
        assert_eq!(secrets("HELLO 3 AUTH me secret SETNAME x"), [3, 4]);
        assert!(secrets("set auth x y").is_empty());
        let hidden = |words: &str| {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            is_hidden(command::find(args[0]).expect("a command"), &args)
        };
        assert!(hidden("config get x") && hidden("client LIST") && hidden("slowlog get") && hidden("monitor"));
        assert!(!hidden("client setname x") && !hidden("get x") && !hidden("info"));
    }
}
