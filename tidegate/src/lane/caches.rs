//! The lane's part of client-side caching: what its clients read is noted, and what has changed they are told.
//!
//! Each lane knows the caches of its own clients. What entries do is heard on the lane of their shard and told to the others
//! behind the replies of the turn, so that a client hears of a change after the answers that don't show it.

use super::Driver;
use super::conn::Conn;
use super::serve::Core;
use crate::shared::{Input, Shared, lock};
use base::{ClientId, LaneId};
use data::command::prefix;
use data::keyspace::Listening;
use edge::{Caches, Call, ExecCall, Mode, Push, Tracking};
use node::{Changed, Heard, Lane};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Keys to be forgotten; all if none are named.
pub type Keys = Option<Vec<Box<[u8]>>>;

/// The clients of a lane whose reads are tracked.
#[derive(Debug, Default)]
pub struct Trackers {
    caches: Caches,
    clients: BTreeSet<ClientId>,
    /// Those that are to be told something once more.
    again: Vec<ClientId>,
}

impl Trackers {
    /// A client's tracking was `before`, and is another now.
    pub(super) fn follow(
        &mut self,
        (lane, shared, id): (&mut Lane, &Shared, LaneId),
        client: ClientId,
        before: Option<&Tracking>,
        now: Option<&Tracking>,
    ) {
        if before == now {
            return;
        }
        prefixes(before).iter().for_each(|prefix| self.caches.unfollow(client, prefix));
        prefixes(now).iter().for_each(|prefix| self.caches.follow(client, prefix));
        match (before.is_some(), now.is_some()) {
            (false, true) => {
                self.clients.insert(client);
                shared.trackers.fetch_add(1, Ordering::SeqCst);
            }
            (true, false) => {
                self.clients.remove(&client);
                shared.trackers.fetch_sub(1, Ordering::SeqCst);
            }
            _ => return,
        }
        // Before any read of this client is sent on: the other lanes take their inputs in order.
        let listening = listening(shared);
        if lane.listening() != listening {
            lane.listen(listening);
            tell_listening(shared, Some(id));
        }
    }
}

impl Driver {
    /// Tells what entries did to the clients of all lanes.
    pub(super) fn tell_heard(&mut self) {
        if self.out.heard.is_empty() {
            return;
        }
        let heard: Arc<[Heard]> = std::mem::take(&mut self.out.heard).into();
        for (lane, mailbox) in self.shared.mailboxes.iter().enumerate() {
            if lane != usize::from(self.id.0) {
                mailbox.put(Input::Heard(heard.clone()));
            }
        }
        self.on_heard(&heard);
    }

    /// What entries did, of any shard of this node.
    pub(super) fn on_heard(&mut self, heard: &[Heard]) {
        for one in heard {
            self.deliver_notices(&one.notices);
        }
        if self.trackers.clients.is_empty() {
            return;
        }
        if heard.iter().any(|one| one.all_changed) {
            self.trackers.caches.clear();
            for client in self.trackers.clients.clone() {
                self.invalidate(client, None);
            }
            return;
        }
        let changed: Vec<&Changed> = heard.iter().flat_map(|one| &one.changed).collect();
        for one in &changed {
            self.on_changed(one);
        }
        self.broadcast(&changed);
        self.tell_counts();
    }

    fn on_changed(&mut self, changed: &Changed) {
        let Driver { trackers, conns, id, .. } = self;
        let by = own_client(changed, *id);
        let ignores = |client: ClientId| {
            by == Some(client) && conns.place_of(client).and_then(|place| conns.get(place)).is_some_and(noloop)
        };
        for client in trackers.caches.take(&changed.key, ignores) {
            self.invalidate(client, Some(vec![changed.key.clone()]));
        }
    }

    /// Tells those who track prefixes, each prefix's keys together.
    fn broadcast(&mut self, changed: &[&Changed]) {
        let mut told = Vec::new();
        for (prefix, clients) in self.trackers.caches.prefixes() {
            let of_prefix = |one: &&&Changed| one.key.starts_with(prefix);
            for client in clients {
                let place = self.conns.place_of(*client);
                let noloop = place.and_then(|place| self.conns.get(place)).is_some_and(noloop);
                let ignored = |one: &&&Changed| noloop && own_client(one, self.id) == Some(*client);
                let wanted = changed.iter().filter(of_prefix).filter(|one| !ignored(one));
                let mut seen = BTreeSet::new();
                let keys: Vec<Box<[u8]>> =
                    wanted.map(|one| one.key.clone()).filter(|key| seen.insert(key.clone())).collect();
                if !keys.is_empty() {
                    told.push((*client, keys));
                }
            }
        }
        for (client, keys) in told {
            self.invalidate(client, Some(keys));
        }
    }

    /// Tells a client, or whom it has named instead, that its cache must let keys go.
    fn invalidate(&mut self, client: ClientId, keys: Keys) {
        let Some(place) = self.conns.place_of(client) else { return };
        let Some(conn) = self.conns.get_mut(place) else { return };
        let Some(Tracking { redirect, .. }) = conn.session.tracking().cloned() else { return };
        match &keys {
            Some(keys) => keys.iter().for_each(|key| conn.session.note_invalidation(Some(key))),
            None => conn.session.note_invalidation(None),
        }
        if conn.session.owes_again() && !self.trackers.again.contains(&client) {
            self.trackers.again.push(client);
        }
        self.send_invalidation(place, redirect, keys);
    }

    fn send_invalidation(&mut self, place: usize, redirect: u64, keys: Keys) {
        let Driver { conns, flush, shared, id, .. } = self;
        let Some(conn) = conns.get_mut(place) else { return };
        if redirect == 0 {
            // RESP2 has no pushes: without another client, such a one is told nothing.
            if conn.session.resp() == 3 {
                conn.push(&invalidation(&keys));
                conn.queue_flush(place, flush);
            }
            return;
        }
        let target = lock(&shared.clients).get(&redirect).map(|card| (card.lane, card.handle));
        match target {
            Some((lane, handle)) if lane == usize::from(id.0) => self.take_invalidation(handle, &keys),
            Some((lane, handle)) => shared.mailboxes[lane].put(Input::Invalidate { client: handle, keys }),
            None => {
                conn.session.break_redirect();
                if conn.session.resp() == 3 {
                    conn.push(&Push::broken_redirect(redirect));
                    conn.queue_flush(place, flush);
                }
            }
        }
    }

    /// Another client's invalidations are for one of this lane.
    pub(super) fn take_invalidation(&mut self, client: ClientId, keys: &Keys) {
        let Some(place) = self.conns.place_of(client) else { return };
        if let Some(conn) = self.conns.get_mut(place) {
            conn.push(&invalidation(keys));
            conn.queue_flush(place, &mut self.flush);
        }
    }

    /// What was told while reads were on their way is told again, behind the answers that have come by now.
    pub(super) fn tell_again(&mut self) {
        for client in std::mem::take(&mut self.trackers.again) {
            let Some(place) = self.conns.place_of(client) else { continue };
            let Some(conn) = self.conns.get_mut(place) else { continue };
            let again = conn.session.take_again();
            if conn.session.owes_again() {
                self.trackers.again.push(client);
            }
            let redirect = conn.session.tracking().map(|tracking| tracking.redirect);
            let Some(redirect) = redirect.filter(|_| !again.is_empty()) else { continue };
            let keys: Keys = again.into_iter().collect();
            self.send_invalidation(place, redirect, keys);
        }
    }

    /// Lets keys go for which there is no room.
    pub(super) fn bound_caches(&mut self) {
        if self.trackers.clients.is_empty() {
            return;
        }
        let lanes = self.shared.mailboxes.len() as u64;
        let max = self.shared.settings.tracked_keys_max().div_ceil(lanes);
        let max = if max == 0 { usize::MAX } else { usize::try_from(max).unwrap_or(usize::MAX) };
        while let Some((key, clients)) = self.trackers.caches.evict(max) {
            for client in clients {
                self.invalidate(client, Some(vec![key.clone()]));
            }
        }
        self.tell_counts();
    }

    fn tell_counts(&self) {
        let counts = self.trackers.caches.counts();
        let meters = &self.shared.meters.lanes[usize::from(self.id.0)];
        meters.tracked_keys.set(counts.keys as u64);
        meters.tracked_items.set(counts.items as u64);
        meters.tracked_prefixes.set(counts.prefixes as u64);
    }

    /// What this node's clients listen for has changed.
    pub(super) fn follow_listening(&mut self) {
        self.lane.listen(listening(&self.shared));
        if self.shared.trackers.load(Ordering::SeqCst) == 0 {
            self.trackers.caches.clear();
            self.tell_counts();
        }
    }
}

impl Core<'_> {
    /// CLIENT TRACKING.
    pub(super) fn track(&mut self, conn: &mut Conn, args: &[&[u8]]) -> data::Reply {
        let before = conn.session.tracking().cloned();
        let shared = self.shared;
        let reply = conn.session.track(args, |id| lock(&shared.clients).contains_key(&id));
        let parts = (&mut *self.lane, shared, self.id);
        self.trackers.follow(parts, conn.handle, before.as_ref(), conn.session.tracking());
        reply
    }

    /// The keys of a command that the client may keep.
    pub(super) fn note_call(&mut self, conn: &Conn, call: &Call<'_>) {
        if call.noted {
            let keys = prefix::key_positions(call.command, &call.args);
            note(&mut self.trackers.caches, conn, keys.map(|at| call.args[at]));
        }
    }

    /// The same for a transaction.
    pub(super) fn note_exec(&mut self, conn: &Conn, exec: &ExecCall) {
        let reads = exec.commands.iter().filter(|one| one.command.is_readonly() || one.command.group == "scripting");
        for one in reads.filter(|_| exec.noted) {
            let args = one.words();
            note(&mut self.trackers.caches, conn, one.command.keys.positions(&args).map(|at| args[at]));
        }
    }
}

fn prefixes(tracking: Option<&Tracking>) -> &[Vec<u8>] {
    match tracking.map(|one| &one.mode) {
        Some(Mode::Broadcast(prefixes)) => prefixes,
        _ => &[],
    }
}

fn note<'a>(caches: &mut Caches, conn: &Conn, keys: impl Iterator<Item = &'a [u8]>) {
    keys.for_each(|key| caches.note(conn.handle, key));
}

/// What clients of the node listen for, as its settings and clients are now.
fn listening(shared: &Shared) -> Listening {
    let notified = shared.settings.notified();
    Listening {
        events: notified.any(),
        misses: notified.has(data::keyspace::Class::Miss),
        changes: shared.trackers.load(Ordering::SeqCst) > 0,
    }
}

/// Has the lanes look at what clients of the node listen for; all but one that knows.
pub fn tell_listening(shared: &Shared, but: Option<LaneId>) {
    let others =
        shared.mailboxes.iter().enumerate().filter(|(lane, _)| but.is_none_or(|but| usize::from(but.0) != *lane));
    others.for_each(|(_, mailbox)| mailbox.put(Input::Listen));
}

fn invalidation(keys: &Keys) -> Push {
    Push::invalidation(keys.as_ref().map(|keys| keys.iter().map(|key| &**key)))
}

/// The client of this lane that changed a key, if one did.
fn own_client(changed: &Changed, lane: LaneId) -> Option<ClientId> {
    changed.by.filter(|(of, _)| *of == lane).map(|(_, client)| client)
}

fn noloop(conn: &Conn) -> bool {
    conn.session.tracking().is_some_and(|tracking| tracking.noloop)
}
