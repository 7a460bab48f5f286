//! CLIENT PAUSE: the commands of this node's clients, or those that change something, wait.
//!
//! The pause is a setting of the node. Each lane looks at it once a batch; a connection whose next command must wait is held
//! back with its input, and looked at again when the pause is over or has changed. What other nodes' clients ask of
//! shards that this node leads goes on, and keys die in their time.

use super::Driver;
use super::conn::Conn;
use crate::shared::Input;
use base::Instant;
use data::command::{self, pubsub};
use data::{Command, Run};
use edge::resp::parse::{Parsed, Trust, parse, words};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is paused on a node, until when.
#[derive(Debug, Default)]
pub struct Pause {
    until_ns: AtomicU64,
    all: AtomicBool,
}

/// What must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    Nothing,
    /// What changes something, or tells others.
    Writes,
    All,
}

impl Pause {
    /// A pause begins, or one that runs grows longer and wider.
    pub fn begin(&self, now: Instant, ms: u64, all: bool) {
        let former = self.now(now);
        self.all.store(all || former == Paused::All, Ordering::SeqCst);
        let until_ns = now.0.saturating_add(ms.saturating_mul(1_000_000));
        if former == Paused::Nothing {
            self.until_ns.store(until_ns, Ordering::SeqCst);
        } else {
            self.until_ns.fetch_max(until_ns, Ordering::SeqCst);
        }
    }

    /// It is over.
    pub fn end(&self) {
        self.until_ns.store(0, Ordering::SeqCst);
    }

    /// What must wait at this time.
    pub fn now(&self, now: Instant) -> Paused {
        match self.until_ns.load(Ordering::Relaxed) {
            until if until <= now.0 => Paused::Nothing,
            _ if self.all.load(Ordering::Relaxed) => Paused::All,
            _ => Paused::Writes,
        }
    }

    fn until(&self) -> Instant {
        Instant(self.until_ns.load(Ordering::Relaxed))
    }
}

impl Driver {
    /// When a connection may go on that a pause holds back, if there is one.
    pub(super) fn pause_ends(&self) -> Option<Instant> {
        (!self.paused.is_empty()).then(|| self.shared.pause.until())
    }

    /// Lets connections go on if the pause is over, or isn't what it was.
    pub(super) fn look_at_paused(&mut self, now: Instant) {
        if self.paused.is_empty() || (self.shared.pause.now(now) != Paused::Nothing && !self.stopping) {
            return;
        }
        for client in std::mem::take(&mut self.paused) {
            let Some(place) = self.conns.place_of(client) else { continue };
            if let Some(conn) = self.conns.get_mut(place) {
                conn.paused = false;
            }
            self.queue_turn(place);
        }
    }
}

/// CLIENT UNPAUSE: the lanes look again.
pub fn tell_resumed(shared: &crate::shared::Shared) {
    shared.pause.end();
    shared.mailboxes.iter().for_each(|mailbox| mailbox.put(Input::Resumed));
}

/// True if what stands at the front of a connection's input must wait.
pub(super) fn must_wait(paused: Paused, conn: &Conn, bytes: &[u8]) -> bool {
    if conn.memcached.is_some() {
        return paused != Paused::Nothing;
    }
    match (paused, parse(bytes, Trust::Known)) {
        (Paused::Nothing, _) => false,
        (Paused::All, Parsed::Complete { .. } | Parsed::Inline { .. }) => true,
        (Paused::Writes, Parsed::Complete { args, .. }) => changes(conn, &args),
        (Paused::Writes, Parsed::Inline { line, .. }) => {
            let words = words(line).unwrap_or_default();
            changes(conn, &words.iter().map(Vec::as_slice).collect::<Vec<_>>())
        }
        _ => false,
    }
}

fn changes(conn: &Conn, args: &[&[u8]]) -> bool {
    let command = args.first().and_then(|name| command::find(name)).filter(|row| row.accepts(args.len()));
    let queued = || conn.session.queued_any(may_replicate);
    command.is_some_and(|row| may_replicate(row) || (row.name == "exec" && queued()))
}

/// True for what Redis would tell its replicas of.
fn may_replicate(command: &Command) -> bool {
    let publishes = matches!(command.run, Run::Everywhere) && pubsub::PUBSUB_ID != command.id;
    let script = command.group == "scripting" && !command.name.ends_with("_ro") && command.name != "script";
    command.is_write() || publishes || script || command.name == "pfcount"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_grows_and_ends() {
        let (pause, at) = (Pause::default(), |ms: u64| Instant(ms * 1_000_000));
        assert_eq!(pause.now(at(0)), Paused::Nothing);
        pause.begin(at(10), 100, false);
        assert_eq!((pause.now(at(10)), pause.now(at(109))), (Paused::Writes, Paused::Writes));
        pause.begin(at(20), 10, true);
        assert_eq!(
            (pause.now(at(100)), pause.now(at(110))),
            (Paused::All, Paused::Nothing),
            "the longer time, the wider kind"
        );
        pause.begin(at(200), 10, false);
        assert_eq!(pause.now(at(200)), Paused::Writes, "a pause that is over is forgotten");
        pause.end();
        assert_eq!(pause.now(at(200)), Paused::Nothing);
    }

    #[test]
    fn what_redis_would_replicate_waits() {
        let waits = |name: &str| may_replicate(command::find(name.as_bytes()).expect("a command"));
        assert!(waits("set") && waits("publish") && waits("flushall") && waits("once"));
        assert!(!waits("get") && !waits("subscribe") && !waits("pubsub") && !waits("ping"));
    }
}
