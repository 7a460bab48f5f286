//! What a command may know besides its keys: its database and the shard's time.

use base::Stamp;
use std::cell::Cell;

/// The circumstances of one command.
#[derive(Debug)]
pub struct Context {
    /// The database that the command runs in.
    pub db: u8,
    /// Time: of the entry when applied, of the leader when read. Never below the last applied stamp.
    pub stamp: Stamp,
    /// Set when a read met a key that is dead at `stamp` but not yet at the last applied stamp: the answer must wait
    /// for a Tick.
    pub tick_needed: Cell<bool>,
}

impl Context {
    /// A context for database `db` at `stamp`.
    #[must_use]
    pub fn new(db: u8, stamp: Stamp) -> Self {
        Self { db, stamp, tick_needed: Cell::new(false) }
    }
}
