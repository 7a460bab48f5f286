//! What entries do to keys, for the clients of this node: keyspace notifications, and what their caches must let go.
//!
//! Every replica hears it as it applies, so each node tells its own clients and nothing of it crosses the network. A client
//! reads through the leader, which has applied all that its answer shows; this node's replica applies what follows later
//! than that, and so after the client's wish to hear of it was noted. What a replica never applies, for a snapshot
//! stands for it, and what it can't know while nobody is known to lead, counts as a change of every key.

use crate::lane::Lane;
use crate::outbox::{Changed, Heard, Outbox};
use crate::replica::{Origin, Replica, Waiter};
use data::Command;
use data::keyspace::Listening;

impl Lane {
    /// What clients of this node listen for from now on, on any of its lanes.
    pub fn listen(&mut self, listening: Listening) {
        self.listening = listening;
        // The meta shard stands behind those with slots: what the cluster keeps for itself is for nobody.
        for (_, replica) in self.config.routing.shards().zip(&mut self.replicas) {
            replica.iter_mut().for_each(|replica| replica.listen(listening));
        }
    }

    /// What clients of this node listen for.
    #[must_use]
    pub fn listening(&self) -> Listening {
        self.listening
    }
}

impl Replica {
    pub(crate) fn listen(&mut self, listening: Listening) {
        self.listening = listening;
        self.listen_again();
    }

    /// The state is another one, or was lent: it is told what is listened for.
    pub(crate) fn listen_again(&mut self) {
        if self.is_home() {
            self.state.cut().listen(self.listening);
        }
    }

    /// An entry was applied, and these wait for its operations.
    pub(crate) fn hear(&mut self, waiters: &[Waiter], out: &mut Outbox) {
        let keyspace = self.state.cut();
        let (notices, changes) = (keyspace.take_notices(), keyspace.take_changes());
        if notices.is_empty() && changes.keys.is_empty() && !changes.flushed {
            return;
        }
        let client = |at: usize| match waiters.get(at)?.origin {
            Origin::Lane(lane) => Some((lane, waiters[at].client)),
            Origin::Node(..) => None,
        };
        let changed = changes.keys.into_iter().map(|one| Changed { key: one.key, by: one.by.and_then(client) });
        let entry = Some((self.shard(), self.state().keyspace().applied_index()));
        out.heard.push(Heard { notices, changed: changed.collect(), all_changed: changes.flushed, entry });
    }

    /// A read has run here, outside of the log.
    pub(crate) fn hear_misses(&self, command: &Command, out: &mut Outbox) {
        let notices = self.state().keyspace().take_misses(command);
        if !notices.is_empty() {
            out.heard.push(Heard { notices, ..Heard::default() });
        }
    }

    /// A script that only reads has run here.
    pub(crate) fn hear_misses_of_script(&self, out: &mut Outbox) {
        let notices = self.state().keyspace().take_all_misses();
        if !notices.is_empty() {
            out.heard.push(Heard { notices, ..Heard::default() });
        }
    }

    /// What changes is not heard one by one: the state was replaced, or others may change it.
    pub(crate) fn hear_of_all(&mut self, out: &mut Outbox) {
        if self.listening.changes {
            out.heard.push(Heard { all_changed: true, ..Heard::default() });
        }
    }
}
