//! Clients that say nothing, and clients that take nothing of what they are owed.
//!
//! Once a second each connection is looked at: has any byte passed since the last look? Counting looks costs the way of
//! a request nothing, and a node that was stopped for a while holds that against nobody.

use super::Driver;
use crate::log;
use base::Instant;

impl Driver {
    /// Drops the connections whose time is over, if a look is due.
    pub(super) fn look_at_idle(&mut self, now: Instant) {
        if now.since_ns(self.looked_at) < LOOK_EVERY_NS {
            return;
        }
        self.looked_at = now;
        let (silent_max, stuck_max) = (self.shared.settings.timeout_s(), self.shared.settings.output_timeout_s());
        for place in 0..self.conns.places.len() {
            let Some(conn) = self.conns.get_mut(place) else { continue };
            let over = conn.over_since.is_some();
            let (silent, stuck) = conn.look();
            if over && self.drop_if_slow(place, now) {
                continue;
            }
            let Some(conn) = self.conns.get_mut(place) else { continue };
            // Who listens has nothing to say.
            let silent = if conn.session.is_subscribed() || conn.session.monitors() { 0 } else { silent };
            if stuck_max > 0 && stuck >= stuck_max {
                let fields: log::Fields<'_> = &[("client", &conn.number), ("seconds", &stuck)];
                log::warn("lane", "a client that doesn't read its replies was dropped (output-timeout)", fields);
                self.close(place);
            } else if silent_max > 0 && silent >= silent_max {
                log::debug("lane", "a silent client was dropped (timeout)", &[("client", &conn.number)]);
                self.close(place);
            }
        }
    }
}

/// A look a second: the timeouts count them.
const LOOK_EVERY_NS: u64 = 1_000_000_000;
