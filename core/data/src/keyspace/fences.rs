//! The floors of locks, beside the keys: who changes them goes through here, so that a trial can take it back.

use super::Keyspace;
use crate::Refused;
use crate::fence::{Fence, Floors};

impl Keyspace {
    /// What is known of locks.
    #[must_use]
    pub fn floors(&self) -> &Floors {
        &self.floors
    }

    /// Refuses fences of which one is too old, and changes nothing then; else their floors rise.
    pub(crate) fn admit(&mut self, fences: &[Fence<'_>]) -> Result<(), Refused> {
        if fences.is_empty() {
            return Ok(());
        }
        self.floors.judge(fences)?;
        let Self { floors, trial, .. } = self;
        floors.note(fences, &mut |before| {
            if let Some(trial) = trial {
                trial.keep_floor(before);
            }
        });
        Ok(())
    }

    /// Puts a lock's floor where an administrator wants it.
    pub(crate) fn reset_floor(&mut self, lock: &[u8], number: u64) {
        let Self { floors, trial, .. } = self;
        floors.reset(lock, number, &mut |before| {
            if let Some(trial) = trial {
                trial.keep_floor(before);
            }
        });
    }
}
