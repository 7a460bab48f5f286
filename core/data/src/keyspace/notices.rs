//! What happens to keys, for those who listen: keyspace notifications, and the caches of clients.
//!
//! Every replica hears the same as it applies the log, and tells its own clients. Nothing is kept while nobody listens, and
//! nothing of it is state.

use super::Keyspace;
use crate::Command;
use std::cell::RefCell;

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
    /// `m`
    Miss,
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
    /// Reads of keys that aren't there are events too.
    pub misses: bool,
    /// The names of changed keys are wanted.
    pub changes: bool,
}

/// A key that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which operation of its log entry did it, from 0; none where time did, before the first.
    pub by: Option<usize>,
    pub key: Box<[u8]>,
}

/// Keys that have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub keys: Vec<Change>,
    /// At least one database was emptied: any key may have changed.
    pub flushed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) listening: Listening,
    notices: Vec<Notice>,
    changes: Changes,
    /// Keys that the command at hand looked for in vain.
    misses: RefCell<Vec<(u8, Box<[u8]>)>>,
    operation: Option<usize>,
}

impl Heard {
    pub(super) fn changed(&mut self, key: &[u8]) {
        if self.listening.changes {
            self.changes.keys.push(Change { by: self.operation, key: key.into() });
        }
    }

    pub(super) fn flushed(&mut self) {
        self.changes.flushed |= self.listening.changes;
    }

    pub(super) fn missed(&self, db: u8, key: &[u8]) {
        if self.listening.misses {
            let mut misses = self.misses.borrow_mut();
            if misses.last().is_none_or(|(of, last)| (*of, &**last) != (db, key)) {
                misses.push((db, key.into()));
            }
        }
    }

    pub(super) fn notify(&mut self, db: u8, class: Class, event: &'static str, key: &[u8]) {
        if self.listening.events && !super::aside::is_hidden(db) {
            self.notices.push(Notice { db, class, event, key: key.into() });
        }
    }
}

impl Keyspace {
    /// Says what is listened for from now on.
    pub fn listen(&mut self, listening: Listening) {
        self.heard.listening = listening;
    }

    /// What is listened for.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.heard.listening
    }

    /// A command did something to a key that people may listen for. That a key is new or has expired is said where it is put
    /// in or taken out, and not by commands.
    pub fn notify(&mut self, db: u8, class: Class, event: &'static str, key: &[u8]) {
        self.heard.notify(db, class, event, key);
    }

    /// The events since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.heard.notices)
    }

    /// The keys that changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.heard.changes)
    }

    /// The keys that a read, which has just run, looked for in vain: notices for those who listen for misses.
    pub fn take_misses(&self, command: &Command) -> Vec<Notice> {
        if command.is_readonly() {
            self.take_all_misses()
        } else {
            drop(self.heard.misses.take());
            Vec::new()
        }
    }

    /// The keys that a script, which has just run, looked for in vain.
    pub fn take_all_misses(&self) -> Vec<Notice> {
        let misses = self.heard.misses.take().into_iter();
        misses.map(|(db, key)| Notice { db, class: Class::Miss, event: "keymiss", key }).collect()
    }

    /// A command of the log has run: what it missed is kept, if it is a read.
    pub(crate) fn ran(&mut self, command: &Command) {
        if self.heard.listening.misses {
            let misses = self.take_misses(command);
            self.heard.notices.extend(misses);
        }
    }

    /// The next operation of an entry begins; none before the first.
    pub(crate) fn begin_operation(&mut self, number: Option<usize>) {
        self.heard.operation = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, command};
    use base::{Index, Stamp};

    fn run(keyspace: &mut Keyspace, stamp: u64, words: &str) -> Vec<(Class, &'static str)> {
        let (applied, cx) = (keyspace.applied_index(), Context::new(0, Stamp(stamp)));
        keyspace.advance(Stamp(stamp), Index(applied.0 + 1));
        let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        let row = command::find(args[0]).expect("a command");
        match row.run {
            crate::Run::Write(run) => drop(run(keyspace, &cx, &args)),
            crate::Run::Read(run) => drop(run(keyspace, &cx, &args)),
            _ => keyspace.flush(0),
        }
        keyspace.ran(row);
        keyspace.take_notices().into_iter().map(|notice| (notice.class, notice.event)).collect()
    }

    #[test]
    fn keys_are_new_expire_and_are_missed() {
        let mut keyspace = Keyspace::new((1, 2));
        assert!(run(&mut keyspace, 1, "set a 1").is_empty(), "nobody listens");
        keyspace.listen(Listening { events: true, misses: true, changes: false });
        let has = |heard: &[(Class, &str)], event: &str| heard.iter().any(|(_, one)| *one == event);
        assert!(has(&run(&mut keyspace, 1, "set b 1 px 10"), "new"));
        assert!(!has(&run(&mut keyspace, 2, "set b 1 px 10"), "new"));
        let heard = run(&mut keyspace, 30, "set b 2");
        assert_eq!(heard[..2], [(Class::Expired, "expired"), (Class::New, "new")], "one died, and another came");
        assert_eq!(run(&mut keyspace, 30, "get x"), [(Class::Miss, "keymiss")]);
        assert!(!has(&run(&mut keyspace, 30, "del x"), "keymiss") && !has(&run(&mut keyspace, 30, "get b"), "keymiss"));
        run(&mut keyspace, 31, "set b 2 px 1");
        keyspace.advance(Stamp(40), Index(100));
        assert_eq!(keyspace.remove_dead(5), 1);
        assert!(matches!(keyspace.take_notices()[..], [Notice { event: "expired", .. }]));
        assert_eq!(keyspace.take_changes(), Changes::default());
    }

    #[test]
    fn changes_name_their_operation_and_a_flush_names_all() {
        let mut keyspace = Keyspace::new((1, 2));
        keyspace.listen(Listening { changes: true, ..Listening::default() });
        keyspace.begin_operation(Some(3));
        run(&mut keyspace, 1, "set a 1");
        run(&mut keyspace, 1, "del nosuch");
        let change = Change { by: Some(3), key: b"a"[..].into() };
        assert_eq!(keyspace.take_changes(), Changes { keys: vec![change], flushed: false });
        run(&mut keyspace, 1, "flushdb");
        assert!(keyspace.take_changes().flushed && !keyspace.take_changes().flushed);
    }
}
