//! The lane's part of the cluster endpoint: requests of clients that route by themselves, and the map that they go by.

use super::Driver;
use super::serve::Core;
use data::Reply;
use data::command::blocking;
use edge::cluster::{Place, View};
use node::{Now, Request};
use std::sync::Arc;

impl Driver {
    /// Draws the map anew, if something has changed.
    pub(super) fn redraw_map(&mut self, now: Now) {
        let Some(neighbours) = self.neighbours.as_mut().filter(|all| all.wants_map(now.boot)) else { return };
        let slots = self.lane.statuses().filter(|(shard, _)| !self.lane.is_meta(*shard));
        let map = neighbours.draw(now, slots.collect());
        self.shared.map.store(Arc::new(map));
    }

    /// Lets a connection of the cluster endpoint see the map as it is by now.
    pub(super) fn show_map(&mut self, place: usize) {
        if let Some(conn) = self.conns.get_mut(place).filter(|conn| conn.session.cluster().is_some()) {
            conn.session.see(&self.shared.map.load());
        }
    }
}

impl Core<'_> {
    /// A command of a client that asked this node for it, and no other.
    pub(super) fn request_of_cluster(&mut self, view: &View, place: Place, request: Request<'_>) {
        let waits = blocking::wish(request.command, request.args).is_some();
        if let Place::Replica(slot) = place
            && !waits
        {
            let (shard, bound_ms) = (view.map.shard_of(slot), self.shared.settings.replica_staleness_ms());
            if self.lane.on_replica_read(self.now, shard, bound_ms, &request, self.out) {
                return;
            }
            if !view.map.is_served_here(shard) {
                return self.out.replies.push((request.client, request.seq, Reply::Error(view.moved(slot))));
            }
        }
        self.lane.on_scatter_within(self.now, request, |shard| view.map.is_served_here(shard), self.out);
    }
}
