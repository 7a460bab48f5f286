//! What is refused while the log has no room for it.

use super::conn::Conn;
use super::serve::Core;
use crate::admin;
use data::Command;
use std::sync::atomic::Ordering;

impl Core<'_> {
    /// True for a write that the log has no room for.
    pub(super) fn no_room(&mut self, command: &Command, args: &[&[u8]]) -> bool {
        command.is_write() && self.is_refused_room(args.iter().map(|arg| arg.len() as u64).sum())
    }

    /// A write that the disk has no room for.
    pub(super) fn refuse_full(&self, conn: &mut Conn, command: &Command, seq: u64) {
        self.meters.command(command.id).rejected.add(1);
        conn.on_reply(seq, admin::disk_full());
    }

    /// True if so many bytes can't be let in. A node with others beside it lets them lead, and goes on.
    pub(super) fn is_refused_room(&mut self, bytes: u64) -> bool {
        if !self.shared.disk_full.load(Ordering::Relaxed) && self.journal.lets_in(bytes) {
            return false;
        }
        let alone = self.lane.is_alone();
        self.lane.set_full(!alone);
        alone
    }
}
