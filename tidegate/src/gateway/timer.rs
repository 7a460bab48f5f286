//! The alarm of a lane: its services are called when they have something to do, and not before.

use base::Instant;
use std::cell::Cell;
use std::time::Duration;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub struct Timer {
    next: Cell<Instant>,
    earlier: Notify,
}

impl Default for Timer {
    fn default() -> Self {
        Self { next: Cell::new(NEVER), earlier: Notify::new() }
    }
}

const NEVER: Instant = Instant(u64::MAX);

impl Timer {
    /// Somebody wants to be called at `due`, or earlier.
    pub fn wants(&self, due: Instant) {
        if due < self.next.get() {
            self.next.set(due);
            self.earlier.notify_one();
        }
    }

    /// Waits until the earliest time that was wanted.
    pub async fn ring(&self) {
        loop {
            let next = self.next.get();
            let now = crate::clock::boot();
            if next <= now {
                self.next.set(NEVER);
                return;
            }
            if next == NEVER {
                self.earlier.notified().await;
            } else {
                let _ = tokio::time::timeout(Duration::from_nanos(next.since_ns(now)), self.earlier.notified()).await;
            }
        }
    }
}
