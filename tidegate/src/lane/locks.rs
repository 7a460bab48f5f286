//! The lane's part of locks: calls about them go to the core, what they need of the disk's keeper goes to it.

use super::Driver;
use super::conn::Conn;
use super::serve::Core;
use crate::keeper::Task;
use crate::shared::lock;
use edge::LockCall;

impl Core<'_> {
    /// LOCK.* of a client of this lane.
    pub(super) fn lock_call(&mut self, conn: &mut Conn, call: LockCall) {
        let LockCall { seq, ask } = call;
        let Some(command) = conn.session.last().0 else { return };
        if !ask.only_reads() && self.is_refused_room(0) {
            return self.refuse_full(conn, command, seq);
        }
        conn.waiting.push_back(self.turn.asked(seq, command.id, None, Box::default()));
        self.lane.on_lock(self.now, (conn.handle, seq), ask, self.out);
    }
}

impl Driver {
    /// What locks want of the keeper.
    pub(super) fn look_at_locks(&mut self) {
        if std::mem::take(&mut self.out.wants_tokens) {
            self.ask_keeper(Task::LeaseTokens);
        }
    }

    /// Tells the other threads how locks stand.
    pub(super) fn tell_locks(&self) {
        if let Some(counts) = self.lane.lock_counts() {
            *lock(&self.shared.locks) = counts;
        }
    }
}
