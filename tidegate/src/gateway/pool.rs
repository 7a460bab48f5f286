//! The idle connections to one endpoint: the one used last is used next, so that those that aren't needed grow old and go.

use super::line::Line;
use base::Instant;
use std::cell::RefCell;
use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<Vec<Line>>,
}

/// Idle connections to one endpoint from one lane.
const IDLE_COUNT_MAX: usize = 1024;
/// One that rested no longer than this is used without a look at its socket, if what it is to carry can be sent again.
const FRESH_NS: u64 = 100_000_000;

impl Pool {
    /// The connection used last of those that are still open. `resendable` says that nothing is lost if it turns out to be closed.
    pub fn take(&self, now: Instant, idle_max: Duration, resendable: bool) -> Option<Line> {
        let mut idle = self.idle.borrow_mut();
        while let Some(line) = idle.pop() {
            let rested_ns = now.since_ns(line.idle_since);
            if u128::from(rested_ns) > idle_max.as_nanos() {
                // The others have rested longer.
                idle.clear();
                return None;
            }
            let looked_at = !resendable || rested_ns > FRESH_NS;
            let expected = line.keep_until.is_none_or(|until| now < until);
            if expected && (!looked_at || line.is_alive()) {
                return Some(line);
            }
        }
        None
    }

    /// Keeps a connection whose response has been read to its end.
    pub fn put(&self, now: Instant, mut line: Line) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < IDLE_COUNT_MAX {
            line.idle_since = now;
            idle.push(line);
        }
    }

    /// Lets go of those that have rested too long or were closed.
    pub fn sweep(&self, now: Instant, idle_max: Duration) {
        self.idle.borrow_mut().retain(|line| {
            let rested = u128::from(now.since_ns(line.idle_since)) <= idle_max.as_nanos();
            rested && line.keep_until.is_none_or(|until| now < until) && line.is_alive()
        });
    }

    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    pub fn idle_count(&self) -> usize {
        self.idle.borrow().len()
    }
}
