//! What happens to keys, for those who listen: keyspace notifications, and the caches of clients.
//!
//! Every replica hears the same as it applies the log, and tells its own clients. Nothing is kept while nobody listens, and
//! nothing of it is state.

use super::Keyspace;

/// The classes of events that `notify-keyspace-events` names by letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `g`
    Generic,
    /// `$`
    String,
    /// `l`
    List,
    /// `s`
    Set,
    /// `h`
    Hash,
    /// `z`
    Zset,
    /// `x`
    Expired,
    /// `e`
    Evicted,
    /// `t`
    Stream,
    /// `n`
    New,
}

/// An event, as Redis names it: "set", "del", "expired".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub db: u8,
    pub class: Class,
    pub event: &'static str,
    pub key: Box<[u8]>,
}

/// What is listened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// Events are wanted.
    pub events: bool,
    /// The names of changed keys are wanted.
    pub changes: bool,
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) listening: Listening,
    notices: Vec<Notice>,
    changed: Vec<(u8, Box<[u8]>)>,
}

impl Heard {
    pub(super) fn changed(&mut self, db: u8, key: &[u8]) {
        if self.listening.changes {
            self.changed.push((db, key.into()));
        }
    }
}

impl Keyspace {
    /// Says what is listened for from now on.
    pub fn listen(&mut self, listening: Listening) {
        self.heard.listening = listening;
    }

    /// A command did something to a key that people may listen for.
    pub fn notify(&mut self, db: u8, class: Class, event: &'static str, key: &[u8]) {
        if self.heard.listening.events {
            self.heard.notices.push(Notice { db, class, event, key: key.into() });
        }
    }

    /// The events since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.heard.notices)
    }

    /// The keys that changed since the last call, with their databases; a flush stands in `take_notices` alone.
    pub fn take_changed(&mut self) -> Vec<(u8, Box<[u8]>)> {
        std::mem::take(&mut self.heard.changed)
    }
}
