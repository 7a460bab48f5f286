//! Room in the log while the disk fills up: a write is let in only if the log can surely take it, so that none is left
//! waiting for space behind its proposal, where it can't be refused any more.
//!
//! The keeper makes segments ahead of use; while it can, a write costs one load here. Once it can't, what is left is shared
//! out: each write is counted from when it is let in until it is stored, and once less than [`ROOM_BYTES_MIN`] is left, or too
//! little for it, it is refused.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use storage::{Disk, Wal};

/// Room that must be prepared: below this, writes are refused. Time goes on in it, and what no client asked for.
pub const ROOM_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// Room that is kept ready: what a lane writes in some looks at full speed.
pub const ROOM_BYTES_WANTED: u64 = 24 * 1024 * 1024;
/// Room that is kept beside a large write for what may share its batch.
pub const MARGIN_BYTES: u64 = 1024 * 1024;

const _: () = assert!(ROOM_BYTES_MIN < ROOM_BYTES_WANTED, "the keeper learns of a full disk before writes are refused");

/// See the module.
#[derive(Debug, Default)]
pub struct Room {
    /// The keeper could make no segment when it last tried.
    short: AtomicBool,
    /// What the log can take, as of its last batch, and what of it in one batch.
    left_bytes: AtomicU64,
    batch_bytes_max: AtomicU64,
    /// What was let in since there is a shortage, and is not stored.
    promised_bytes: AtomicU64,
}

/// What was promised when a batch was taken: see [`Room::stored`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Promised(u64);

impl Room {
    /// True if a write of so many bytes may be let in; it is counted then.
    pub fn takes(&self, bytes: u64) -> bool {
        if !self.short.load(Relaxed) {
            return true;
        }
        let promised = self.promised_bytes.fetch_add(bytes, Relaxed);
        let left = self.left_bytes.load(Relaxed).saturating_sub(promised);
        let enough = left >= ROOM_BYTES_MIN.max(bytes.saturating_add(MARGIN_BYTES));
        if !enough {
            self.settle(Promised(bytes));
        }
        enough
    }

    /// Call it when a batch is taken, for [`Room::stored`] when it is stored.
    pub fn promised(&self) -> Promised {
        Promised(self.promised_bytes.load(Relaxed))
    }

    /// A batch is stored, and with it what was promised when it was taken.
    pub fn stored(&self, promised: Promised) {
        self.settle(promised);
    }

    /// True if a batch of so many bytes needs no file to be made for it, as far as can be told without the log.
    pub fn fits(&self, bytes: u64) -> bool {
        bytes.saturating_add(MARGIN_BYTES) <= self.batch_bytes_max.load(Relaxed) && !self.short.load(Relaxed)
    }

    /// Looks at what the log can take; true if the keeper should make more room, and isn't at it.
    pub fn look<D: Disk>(&self, wal: &Wal<D>) -> bool {
        self.set_left(wal.room_bytes(), wal.batch_bytes_max())
    }

    fn set_left(&self, bytes: u64, batch_bytes_max: u64) -> bool {
        self.batch_bytes_max.store(batch_bytes_max, Relaxed);
        self.left_bytes.swap(bytes, Relaxed) >= ROOM_BYTES_WANTED && bytes < ROOM_BYTES_WANTED
    }

    /// True if there is less than should be kept ready, and it isn't known that no more can be made.
    pub fn is_low(&self) -> bool {
        self.left_bytes.load(Relaxed) < ROOM_BYTES_WANTED && !self.short.load(Relaxed)
    }

    /// The keeper could make all segments that it should, or not.
    pub fn set_short(&self, short: bool) {
        self.short.store(short, Relaxed);
    }

    fn settle(&self, Promised(bytes): Promised) {
        // Lanes and the journal's thread may settle the same promises: what is let in twice is within the margin.
        let _ = self.promised_bytes.fetch_update(Relaxed, Relaxed, |all| Some(all.saturating_sub(bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn writes_are_refused_only_where_no_more_room_can_be_made() {
        let room = Room::default();
        assert!(!room.set_left(30 * MIB, 30 * MIB) && !room.is_low());
        assert!(room.set_left(20 * MIB, 20 * MIB), "the keeper is told once");
        assert!(!room.set_left(9 * MIB, 9 * MIB) && room.is_low());
        assert!(room.takes(100 * MIB), "the keeper will make room");
        assert!(room.fits(8 * MIB) && !room.fits(9 * MIB), "with a margin");
        room.set_short(true);
        assert!(!room.is_low(), "it is known that there is none");
        assert!(!room.fits(1), "what a batch has room for must be asked of the log itself");
        assert!(!room.takes(9 * MIB), "too large for what is left");
        assert!(room.takes(MIB) && room.takes(MIB));
        assert!(!room.takes(1), "what was let in counts before it is stored");
        let taken = room.promised();
        room.stored(taken);
        room.set_left(7 * MIB, 7 * MIB);
        assert!(!room.takes(1), "the rest is for time to go on in");
        room.set_short(false);
        assert!(room.takes(100 * MIB));
    }
}
