//! The lane's part of the cluster: what peers send goes into the core, what the core has for them goes out in one frame
//! per peer and turn, before the lane waits for its own disk.

use super::Driver;
use crate::clock;
use crate::keeper::Task;
use crate::log;
use crate::peers::Event;
use crate::shared::lock;
use base::{NodeId, Roster};
use node::{Misbehaved, PeerMessage};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Driver {
    /// A readiness event of a link, or of their listener.
    pub(super) fn on_peer_ready(&mut self, event: &mio::event::Event) {
        let Some(peers) = &mut self.peers else { return };
        let mut events = std::mem::take(&mut self.peer_events);
        peers.on_ready(event, self.poll.registry(), &mut events);
        self.on_peer_events(events);
    }

    /// Dials and gives up what is due; how long until the next time.
    pub(super) fn on_peer_time(&mut self) -> Option<Duration> {
        let peers = self.peers.as_mut()?;
        let now = Instant::now();
        if now >= self.peers_at {
            let mut events = Vec::new();
            self.peers_at = now + peers.on_time(self.poll.registry(), &mut events);
            self.on_peer_events(events);
        }
        Some(self.peers_at.saturating_duration_since(now))
    }

    /// Goes on with links that had more than a turn's share.
    pub(super) fn go_on_with_peers(&mut self) {
        let Some(peers) = self.peers.as_mut().filter(|peers| peers.has_more()) else { return };
        let mut events = std::mem::take(&mut self.peer_events);
        peers.go_on(self.poll.registry(), &mut events);
        self.on_peer_events(events);
    }

    /// The core was sent what no node that keeps the rules would send.
    pub(super) fn on_misbehaved(&mut self, peer: NodeId, what: Misbehaved) {
        let Some(peers) = &mut self.peers else { return };
        let mut events = Vec::new();
        peers.on_misbehaved(peer, &what.to_string(), self.poll.registry(), &mut events);
        self.on_peer_events(events);
    }

    fn on_peer_events(&mut self, mut events: Vec<Event>) {
        if let Some(peers) = &self.peers {
            let meters = &self.shared.meters.lanes[usize::from(self.id.0)];
            meters.strangers.set(peers.counts.strangers);
            meters.peers_misbehaved.set(peers.counts.misbehaved);
        }
        let now = clock::now();
        for event in events.drain(..) {
            match event {
                Event::Message { peer, message } => {
                    self.lane.on_peer(now, peer, message, &mut self.out);
                    self.deliver_messages();
                }
                Event::Up { peer, life } => {
                    self.neighbours.iter_mut().for_each(|all| all.on_up(peer));
                    log::info("peers", "a node is linked", &[("node", &format!("{:016x}", peer.0))]);
                    self.ask_keeper(Task::Remember { node: peer, life });
                    self.lane.on_peer_up(now, peer, &mut self.out);
                }
                Event::Lost { peer } => {
                    self.neighbours.iter_mut().for_each(|all| all.on_lost(peer));
                    log::warn("peers", "the link to a node broke", &[("node", &format!("{:016x}", peer.0))]);
                    self.lane.on_peer_lost(now, peer, &mut self.out);
                }
            }
        }
        // A busy turn brings hundreds: a list that grows from nothing each time is memory given back and taken anew.
        if events.capacity() > self.peer_events.capacity() {
            self.peer_events = events;
        }
    }

    /// The roster that was written down when the node ran last.
    pub fn recall_roster(&mut self, roster: Roster) {
        let roster = Arc::new(roster);
        self.lane.recall_roster(roster.clone());
        self.on_roster(roster);
    }

    /// The cluster's roster has changed: who may link, and where nodes are found.
    pub fn on_roster(&mut self, roster: Arc<Roster>) {
        log::info(
            "node",
            "the cluster's roster is here",
            &[("epoch", &roster.epoch().0), ("nodes", &roster.cards().len())],
        );
        if let Some(peers) = &mut self.peers {
            let mut events = Vec::new();
            peers.follow(&roster, self.poll.registry(), &mut events);
            self.peers_at = Instant::now();
            self.on_peer_events(events);
        }
        *lock(&self.shared.roster) = Some(roster.clone());
        self.neighbours.iter_mut().for_each(|all| all.on_roster(roster.clone()));
        self.ask_keeper(Task::Roster(roster));
    }

    /// Gives the turn's messages to the links.
    pub(super) fn send_to_peers(&mut self) {
        let Some(peers) = &mut self.peers else { return };
        if self.out.raft.messages.is_empty() && self.out.peers.is_empty() {
            return;
        }
        for envelope in self.out.raft.messages.drain(..) {
            // Raft sends again what a missing link loses.
            peers.put(envelope.to, &PeerMessage::Raft { shard: envelope.shard, message: envelope.message });
        }
        let meters = &self.shared.meters.lanes[usize::from(self.id.0)];
        let mut unreached = Vec::new();
        let mut messages = std::mem::take(&mut self.out.peers);
        for (to, message) in messages.drain(..) {
            if let PeerMessage::Everywhere { number, .. } = &message
                && peers.backlog_bytes(to) > MESSAGES_BACKLOG_MAX
            {
                // Nobody is owed a message; what replicas tell each other goes first.
                meters.unsent_messages.add(1);
                self.lane.on_unasked(to, *number, &mut self.out);
                continue;
            }
            if matches!(message, PeerMessage::Register(_)) && peers.backlog_bytes(to) > MESSAGES_BACKLOG_MAX {
                // Rounds and questions that nothing is said to are sent again; an answer's asker asks again, or is told that it isn't known.
                continue;
            }
            if !peers.put(to, &message) && matches!(message, PeerMessage::Ask { .. }) && !unreached.contains(&to) {
                unreached.push(to);
            }
        }
        messages.append(&mut self.out.peers);
        self.out.peers = messages;
        let mut events: Vec<Event> = unreached.into_iter().map(|peer| Event::Lost { peer }).collect();
        peers.flush(self.poll.registry(), &mut events);
        self.on_peer_events(events);
    }
}

/// Clients' messages for a node whose link has more than this to send are dropped.
const MESSAGES_BACKLOG_MAX: usize = 32 * 1024 * 1024;
