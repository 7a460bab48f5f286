//! One connection's stay: how long it may be, and what it takes up meanwhile.
//!
//! The few places are for requests that are answered at once. Who waits for a lock, or watches one, stays as long as it asked for, and
//! is counted as one of the node's clients instead, so that neither probes nor the limit of open files suffer.

use super::port::CONNECTION_TIME_MAX;
use crate::lane::CALLERS_LANE;
use crate::shared::{Mailbox, Shared, lock};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

#[derive(Debug)]
pub struct Visit {
    until: Mutex<Instant>,
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

/// A call that waits, while it is one of the node's clients.
#[derive(Debug)]
pub struct Guest(Arc<Shared>);

impl Visit {
    pub fn new(place: OwnedSemaphorePermit) -> Self {
        Self { until: Mutex::new(Instant::now() + CONNECTION_TIME_MAX), place: Mutex::new(Some(place)) }
    }

    /// When the connection ends, unless it is told to wait before.
    pub fn until(&self) -> Instant {
        *lock(&self.until)
    }

    /// The connection may stay for `wait` and the usual time behind it; nothing if there are as many clients as may be.
    pub fn wait(&self, shared: &Arc<Shared>, wait: Duration) -> Option<Guest> {
        let open: usize = shared.mailboxes.iter().map(|mailbox| mailbox.clients.load(Relaxed)).sum();
        if open as u64 >= shared.settings.clients_max() {
            return None;
        }
        *lock(&self.until) = Instant::now() + wait + CONNECTION_TIME_MAX;
        drop(lock(&self.place).take());
        let guest = Guest(shared.clone());
        guest.mailbox().clients.fetch_add(1, Relaxed);
        Some(guest)
    }
}

impl Guest {
    fn mailbox(&self) -> &Mailbox {
        &self.0.mailboxes[usize::from(CALLERS_LANE.0)]
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.mailbox().clients.fetch_sub(1, Relaxed);
    }
}
