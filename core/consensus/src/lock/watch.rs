//! Those who watch locks: voters tell this node of changes, and it tells each watcher what is newer than the last that it saw.

use super::outbox::{Notice, Outbox, Waiter};
use super::shared::Shared;
use super::value::Lock;
use crate::register::Message;
use crate::register::acceptor::SUBSCRIPTION_MS;
use base::Instant;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Default)]
pub(crate) struct Watchers {
    names: BTreeMap<Bytes, Watched>,
    renew_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Watched {
    waiters: Vec<Waiter>,
    /// The newest version that they were told.
    version: u64,
}

impl Watchers {
    /// Somebody watches a name from now on.
    pub(crate) fn add(&mut self, now: Instant, waiter: Waiter, name: Bytes, shared: &Shared, out: &mut Outbox) {
        let watched = self.names.entry(name.clone()).or_default();
        if !watched.waiters.contains(&waiter) {
            watched.waiters.push(waiter);
        }
        if watched.waiters.len() == 1 {
            shared.ask_voters(&[], &Message::Subscribe { name }, out);
        }
        self.renew_at.get_or_insert(now.plus_ms(SUBSCRIPTION_MS / 3));
    }

    /// Somebody watches a name no more.
    pub(crate) fn remove(&mut self, waiter: Waiter, name: &Bytes) {
        let Some(watched) = self.names.get_mut(name) else { return };
        watched.waiters.retain(|known| *known != waiter);
        if watched.waiters.is_empty() {
            self.names.remove(name);
        }
    }

    /// A voter tells of a change.
    pub(crate) fn on_changed(&mut self, name: &Bytes, version: u64, lock: &Arc<Lock>, out: &mut Outbox) {
        let Some(watched) = self.names.get_mut(name).filter(|one| one.version < version) else { return };
        watched.version = version;
        let notice = |waiter: &Waiter| Notice { waiter: *waiter, name: name.clone(), version, lock: Arc::clone(lock) };
        out.notices.extend(watched.waiters.iter().map(notice));
    }

    pub(crate) fn due(&self) -> Instant {
        self.renew_at.unwrap_or(Instant(u64::MAX))
    }

    /// Subscribes again, before voters forget.
    pub(crate) fn on_timer(&mut self, now: Instant, shared: &Shared, out: &mut Outbox) {
        if self.renew_at.is_none_or(|at| now < at) {
            return;
        }
        for name in self.names.keys() {
            shared.ask_voters(&[], &Message::Subscribe { name: name.clone() }, out);
        }
        self.renew_at = (!self.names.is_empty()).then(|| now.plus_ms(SUBSCRIPTION_MS / 3));
    }
}
