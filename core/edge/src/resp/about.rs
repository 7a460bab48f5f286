//! What its driver may know of a session.

use super::encode::Proto;
use super::session::Session;
use super::step::Fate;
use super::transaction::Transaction;
use data::Command;

impl Session {
    /// The name given by CLIENT SETNAME.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The library's name given by CLIENT SETINFO.
    #[must_use]
    pub fn lib_name(&self) -> &[u8] {
        &self.lib_name
    }

    /// The library's version given by CLIENT SETINFO.
    #[must_use]
    pub fn lib_ver(&self) -> &[u8] {
        &self.lib_ver
    }

    /// The selected database.
    #[must_use]
    pub fn db(&self) -> u8 {
        self.db
    }

    /// 2 or 3.
    #[must_use]
    pub fn resp(&self) -> u8 {
        if self.proto == Proto::Two { 2 } else { 3 }
    }

    /// The last command, unless its name was unknown, and how it fared here.
    #[must_use]
    pub fn last(&self) -> (Option<&'static Command>, Fate) {
        self.last
    }

    /// The name of the last command, with that of its subcommand.
    #[must_use]
    pub fn last_sub(&self) -> Option<usize> {
        self.last_sub
    }

    /// What CLIENT NO-EVICT and NO-TOUCH have said.
    #[must_use]
    pub fn wishes(&self) -> (bool, bool) {
        (self.no_evict, self.no_touch)
    }

    /// True while a key that was watched may have changed.
    #[must_use]
    pub fn watches(&self) -> bool {
        !self.watched.is_empty()
    }

    /// True if it gets the lines of MONITOR.
    #[must_use]
    pub fn monitors(&self) -> bool {
        self.monitors
    }

    /// It gets them from now on, and can't ask for keys any more.
    pub fn begin_monitor(&mut self) {
        self.monitors = true;
    }

    /// True if MULTI has queued a command of a kind.
    #[must_use]
    pub fn queued_any(&self, is: impl Fn(&Command) -> bool) -> bool {
        self.transaction.as_ref().is_some_and(|all| all.queued().iter().any(|one| is(one.command)))
    }

    /// Whether memory has run out on this node: MULTI then queues nothing.
    pub fn note_memory(&mut self, out_of_memory: bool) {
        self.out_of_memory = out_of_memory;
    }

    /// How many commands MULTI has queued; nothing outside of MULTI.
    #[must_use]
    pub fn queued(&self) -> Option<usize> {
        self.transaction.as_ref().map(Transaction::len)
    }
}
