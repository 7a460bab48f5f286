//! What a command may know besides its keys: its database and the shard's time.

use base::Stamp;
use base::rng::Rng;
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
    /// True if the reply becomes part of the state: it must not depend on what a replica has noted for itself.
    pub shared: bool,
    chance: Cell<u64>,
}

impl Context {
    /// A context for database `db` at `stamp`.
    #[must_use]
    pub fn new(db: u8, stamp: Stamp) -> Self {
        Self { db, stamp, tick_needed: Cell::new(false), shared: false, chance: Cell::new(0) }
    }

    /// The same with a seed for what the command leaves to chance. In the log it comes from the state and the place of the
    /// command alone, so that all replicas choose alike.
    #[must_use]
    pub fn with_chance(self, seed: u64) -> Self {
        self.chance.set(seed);
        self
    }

    /// Chance for one command; each call begins another sequence.
    #[must_use]
    pub fn chance(&self) -> Rng {
        let mut rng = Rng::new(self.chance.get());
        self.chance.set(rng.next_u64());
        rng
    }
}
