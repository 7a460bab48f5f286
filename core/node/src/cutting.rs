//! Snapshots of a shard's state, cut slice by slice beside its work.

use crate::outbox::{Outbox, SnapshotStep, SnapshotWaiting};
use crate::replica::Replica;
use base::Index;
use base::record::SnapshotMark;

const CUT_BACKLOG_BYTES_MAX: usize = 2 * base::limits::MIB;
/// What one turn gives to a running snapshot, and how much of it may wait for the disk.
const CUT_SLICE_BYTES: usize = 64 * 1024;
/// What one turn copies out of it: large values are given out in parts.
const CUT_GIVEN_BYTES_MAX: usize = 512 * 1024;

impl Replica {
    /// Starts a snapshot at the last applied entry; false if one runs already or there is nothing to save.
    pub(crate) fn begin_snapshot(&mut self, out: &mut Outbox) -> bool {
        let index = self.applied().1;
        if self.cutting.is_some() || index == Index(0) || !self.is_home() {
            return false;
        }
        self.cutting = Some(index);
        self.state.cut().begin_cut();
        let members = self.group.membership_at(index).encode();
        let mark = SnapshotMark { index, term: self.group.applied().term, members };
        out.snapshots.push(SnapshotStep::Begin { shard: self.shard, mark });
        true
    }

    /// A slice of the running snapshot.
    pub(crate) fn snapshot_slice(&mut self, waiting: SnapshotWaiting, out: &mut Outbox) {
        self.copied_bytes = waiting.copied_bytes;
        if self.cutting.is_none() || !self.is_home() {
            return;
        }
        let keyspace = self.state.cut();
        let room = waiting.bytes <= CUT_BACKLOG_BYTES_MAX;
        let walked = room && (!keyspace.cutting() || keyspace.cut_slice(CUT_SLICE_BYTES));
        let mut given = 0;
        while given < CUT_GIVEN_BYTES_MAX
            && let Some((bytes, copied)) = keyspace.cut_output()
        {
            given += if copied { bytes.len() } else { 0 };
            out.snapshots.push(SnapshotStep::Piece { shard: self.shard, bytes, copied });
        }
        out.garbage.append(&mut keyspace.take_garbage());
        if walked && keyspace.cut_is_drained() {
            self.cutting = None;
            out.snapshots.push(SnapshotStep::End { shard: self.shard });
        }
    }

    /// True while a snapshot has not been walked to its end.
    pub(crate) fn cutting(&self) -> bool {
        self.cutting.is_some()
    }

    /// The snapshot's file could not be written: stop cutting.
    pub(crate) fn abort_snapshot(&mut self) {
        match self.stop_cutting() {
            true if self.is_home() => self.state.cut().abort_cut(),
            true => self.abort_cut_when_back(),
            false => {}
        }
    }

    /// True if a snapshot was being cut.
    pub(crate) fn stop_cutting(&mut self) -> bool {
        self.cutting.take().is_some()
    }
}
