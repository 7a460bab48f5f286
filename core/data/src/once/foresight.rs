//! What ids will mean to an entry that is tried out before it is proposed.
//!
//! Whether a command under an id runs depends on what is known of it when the entry is applied: after time has passed, and
//! after what stands before it in the entry. Recording and forgetting are no part of a trial, so that is foreseen here.
//! Where it can't be, near the caps, nothing that depends on it may stand in the same entry.

use super::{Id, Known, Outcomes};
use base::Stamp;
use base::limits::{EXPIRED_PER_ENTRY_MAX, ONCE_FLOOR_MS, ONCE_REPLY_BYTES_MAX};
use std::collections::{BTreeMap, BTreeSet};

/// What the entry will do to outcomes, as far as it is written.
#[derive(Debug, Default)]
pub(crate) struct Foresight {
    /// The highest number of each client that will be forgotten as time passes.
    floors: BTreeMap<Box<[u8]>, u64>,
    /// Ids that are used in the entry.
    used: BTreeSet<(Box<[u8]>, u64)>,
}

/// What will become of a command under an id.
#[derive(Debug)]
pub(crate) enum Foreseen {
    /// It will run, and its outcome be kept.
    Runs,
    /// It will be answered with this.
    Answered(Known),
    /// It stands in the same entry: it will be answered as there.
    Used,
    /// It is not known: nothing else may stand behind it.
    Unsure,
}

impl Outcomes {
    /// What an entry begins with whose time is `now`.
    pub(crate) fn foresight(&self, now: Stamp) -> Foresight {
        let mut foresight = Foresight::default();
        for going in self.kept.iter().take(EXPIRED_PER_ENTRY_MAX).take_while(|one| one.until <= now) {
            let floor = foresight.floors.entry(going.client.as_ref().into()).or_default();
            *floor = going.seq.max(*floor);
        }
        foresight
    }

    /// What will become of a command with this fingerprint, the next in the entry; its id counts as used from now on.
    pub(crate) fn foresee(&self, id: Id<'_>, fingerprint: u64, now: Stamp, foresight: &mut Foresight) -> Foreseen {
        let fresh = foresight.used.insert((id.client.into(), id.seq));
        if !fresh {
            return Foreseen::Used;
        }
        let used = foresight.used.len();
        let known = self.clients.get(id.client);
        let leaves = known.is_some_and(|client| client.until.0.saturating_add(ONCE_FLOOR_MS) <= now.0);
        let tight = self.clients.len() + used > self.caps.clients
            || self.kept.len() + used > self.caps.outcomes
            || self.reply_bytes + used * ONCE_REPLY_BYTES_MAX > self.caps.reply_bytes;
        if leaves || tight {
            return Foreseen::Unsure;
        }
        match self.look(id, fingerprint, now) {
            Known::No if foresight.floors.get(id.client).is_some_and(|floor| id.seq <= *floor) => Foreseen::Unsure,
            Known::No => Foreseen::Runs,
            known => Foreseen::Answered(known),
        }
    }
}
