//! What those who wait are told of keys: which have something for them.

use super::{Keyspace, Value};
use crate::Context;
use crate::command::blocking::Kind;
use crate::waits::Waits;
use base::Stamp;

impl Keyspace {
    /// Calls that wait for something.
    #[must_use]
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    pub(crate) fn waits_mut(&mut self) -> &mut Waits {
        self.keep_waits();
        &mut self.waits
    }

    /// What those who wait would find at a key.
    pub(crate) fn kind_of(&self, db: u8, stamp: Stamp, key: &[u8]) -> Option<Kind> {
        // Nobody has looked for it: this is no miss.
        match self.find_live(&Context::new(db, stamp), key)?.value {
            Value::Other(object) => match object.type_name() {
                "list" => Some(Kind::List),
                "zset" => Some(Kind::Zset),
                "stream" => Some(Kind::Stream),
                _ => None,
            },
            Value::Str(_) | Value::Large(_) => None,
        }
    }

    /// Something else may be there for those who wait at a key than was before.
    pub(crate) fn note_for_waits(&mut self, db: u8, key: &[u8]) {
        if !self.waits.is_empty() && self.waits.at(db, key) {
            let found = self.kind_of(db, self.applied.0, key);
            self.keep_waits();
            self.waits.changed(db, key, found);
        }
    }
}
