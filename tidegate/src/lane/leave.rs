//! How a lane ends: first others take over what this node leads, then its connections get what they are owed, then they are
//! closed. Requests that come meanwhile are served by whoever leads by then. Both parts have an end, whatever others do.

use super::Driver;
use super::conn::Conn;
use crate::log;
use base::Instant;
use node::Now;

/// Handing over takes some milliseconds where all is well.
const HAND_OVER_MS: u64 = 1_000;
/// What is owed after that, or nobody takes, is given up.
const ANSWER_MS: u64 = 5_000;

impl Driver {
    /// The node was told to stop.
    pub(super) fn begin_leaving(&mut self, now: Now) {
        if self.leaving_until.is_some() {
            return;
        }
        let hand_over_until = now.boot.plus_ms(HAND_OVER_MS);
        self.leaving_until = Some((hand_over_until, hand_over_until.plus_ms(ANSWER_MS)));
        self.stopping = self.peers.is_none();
        if !self.stopping {
            self.lane.leave(now, &mut self.out);
        }
    }

    /// Once others lead, no more requests are taken, and a connection that is owed nothing is closed: its client goes on at
    /// another node.
    pub(super) fn go_on_leaving(&mut self, now: Now) {
        if self.stopping {
            self.hang_up_all(now);
            self.close_desk(now);
            self.close_idle();
        }
        let Some((until, _)) = self.leaving_until.filter(|_| !self.stopping) else { return };
        let left = self.lane.has_left();
        if left || now.boot >= until {
            self.stopping = true;
            let how = if left { "others lead what this node led" } else { "nobody took over in time" };
            log::info("lane", how, &[]);
        }
    }

    fn close_idle(&mut self) {
        for place in 0..self.conns.places.len() {
            let owed = |conn: &mut Conn| conn.pending() > 0 || conn.unwritten() > 0;
            if self.conns.get_mut(place).is_some_and(|conn| !owed(conn)) {
                self.close(place);
            }
        }
    }

    /// True if what is owed may be given up.
    pub(super) fn out_of_time(&self, now: Now) -> bool {
        self.leaving_until.is_some_and(|(_, until): (Instant, Instant)| now.boot >= until)
    }
}
