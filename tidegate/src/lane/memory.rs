//! The limit on memory, which the lanes of a node share.

use super::Driver;
use crate::admin::limit;
use crate::meters::LaneMeters;
use crate::shared::{Input, Shared};
use base::LaneId;
use node::{Elsewhere, Lane};

/// Tells all lanes that the limit, or what is done about it, has changed.
pub fn tell_memory(shared: &Shared) {
    shared.mailboxes.iter().for_each(|mailbox| mailbox.put(Input::Memory));
}

/// A lane follows what is set by now.
pub(super) fn follow_memory(lane: &mut Lane, shared: &Shared, id: LaneId) {
    lane.set_elsewhere(elsewhere(shared, id));
    lane.set_memory(limit::memory(&shared.settings));
}

impl Driver {
    /// What this lane uses is told to the others, and what they use to this one.
    pub(super) fn share_memory(&mut self) {
        if self.shared.settings.memory_bytes_max() > 0 {
            self.meters().used_bytes.set(self.lane.used_bytes());
            self.meters().victims.set(u64::from(self.lane.has_victims()));
            self.lane.set_elsewhere(elsewhere(&self.shared, self.id));
        }
    }

    pub(super) fn meters(&self) -> &LaneMeters {
        &self.shared.meters.lanes[usize::from(self.id.0)]
    }
}

/// The other lanes, as they last told.
fn elsewhere(shared: &Shared, id: LaneId) -> Elsewhere {
    let lanes = shared.meters.lanes.iter().enumerate();
    let others = lanes.filter(|(at, _)| *at != usize::from(id.0)).map(|(_, lane)| lane);
    others.fold(Elsewhere::default(), |sum, lane| Elsewhere {
        used_bytes: sum.used_bytes + lane.used_bytes.get(),
        has_victims: sum.has_victims || lane.victims.get() > 0,
    })
}
