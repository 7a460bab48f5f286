//! The lane's part of publish and subscribe: messages to the clients that listen, each encoded once for each protocol.
//!
//! A message that a client of this lane publishes is with the lane's own listeners before the next command is served; other
//! lanes and nodes have it at the end of the turn. A client that takes too little of what it is sent is dropped, for what
//! waits for it takes memory and nothing slows its publishers down.

use super::Driver;
use super::conn::Conn;
use crate::clock;
use crate::log;
use crate::meters::LaneMeters;
use crate::settings::OutputLimit;
use crate::shared::Endpoint;
use base::Instant;
use bytes::Bytes;
use data::command::pubsub::{Everywhere, Message, Topic};
use data::keyspace::Notice;
use edge::{EverywhereCall, Listens, Push};
use node::{Lane, Reach};

impl Driver {
    /// PUBLISH, SPUBLISH or PUBSUB of a client of this lane; how many of the lane's clients got a message.
    pub(super) fn everywhere(&mut self, place: usize, call: EverywhereCall) -> usize {
        let Some(conn) = self.conns.get_mut(place) else { return 0 };
        let id = conn.session.last().0.map_or(0, |command| command.id);
        conn.waiting.push_back(self.turn.asked(call.seq, id, None, Box::default()));
        self.ask_everywhere(place, call)
    }

    /// The same for what stands in a transaction that is committed.
    pub(super) fn ask_everywhere(&mut self, place: usize, call: EverywhereCall) -> usize {
        let Some(conn) = self.conns.get_mut(place) else { return 0 };
        // Clients that know all nodes ask each of them, and add up.
        let reach = match (&call.what, conn.endpoint()) {
            (Everywhere::Publish(_), _) | (_, Endpoint::Routing | Endpoint::Memcached) => Reach::Cluster,
            (_, Endpoint::Cluster) => Reach::Node,
        };
        let asker = (conn.handle, call.seq);
        self.lane.on_everywhere(clock::now(), asker, call.what, reach, &mut self.out);
        self.deliver_messages()
    }

    /// Gives the outbox's messages to those who listen; how many got one.
    pub(super) fn deliver_messages(&mut self) -> usize {
        let mut messages = std::mem::take(&mut self.out.messages);
        let told = messages.drain(..).map(|message| self.deliver_message(&message)).sum();
        if self.out.messages.is_empty() {
            self.out.messages = messages;
        }
        told
    }

    fn deliver_message(&mut self, message: &Message) -> usize {
        let Driver { lane, conns, flush, .. } = self;
        let mut told = 0;
        for (pattern, clients) in lane.topics().listeners(message) {
            let push = Push::message(message, pattern);
            for client in clients {
                let Some(place) = conns.place_of(*client) else { continue };
                let Some(conn) = conns.get_mut(place) else { continue };
                conn.push(&push);
                conn.queue_flush(place, flush);
                told += 1;
            }
        }
        told
    }

    /// Keyspace notifications, to clients of this lane.
    pub(super) fn deliver_notices(&mut self, notices: &[Notice]) {
        let wanted = self.shared.settings.notified();
        if self.lane.topics().is_silent() {
            return;
        }
        for Notice { db, event, key, .. } in notices.iter().filter(|notice| wanted.has(notice.class)) {
            if wanted.keyspace() {
                let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
                self.deliver_message(&notification(channel.into(), Bytes::from_static(event.as_bytes())));
            }
            if wanted.keyevent() {
                let channel = format!("__keyevent@{db}__:{event}");
                self.deliver_message(&notification(channel.into(), Bytes::copy_from_slice(key)));
            }
        }
    }

    /// Drops a client that is owed too much; false if it may stay.
    pub(super) fn drop_if_slow(&mut self, place: usize, now: Instant) -> bool {
        let Some(conn) = self.conns.get_mut(place) else { return false };
        let limit = self.shared.settings.output_limit(conn.output_class());
        let Some(why) = over_limit(conn, limit, now) else { return false };
        let (addr, owed, number) = (conn.stream.peer_addr(), conn.owed_bytes(), conn.number);
        let addr = addr.map_or_else(|_| "unknown".to_owned(), |addr| addr.to_string());
        let fields: log::Fields<'_> = &[("client", &number), ("addr", &addr), ("owed_bytes", &owed), ("limit", &why)];
        log::warn("lane", "a client that reads too slowly was dropped (client-output-buffer-limit)", fields);
        self.shared.meters.lanes[usize::from(self.id.0)].slow_clients.add(1);
        self.close(place);
        true
    }
}

/// A client listens to other channels than before.
pub(super) fn listen(lane: &mut Lane, meters: &LaneMeters, conn: &Conn, changes: &[Listens]) {
    for Listens { topic, name, on } in changes {
        if *on {
            lane.topics_mut().listen(conn.handle, *topic, name);
        } else {
            lane.topics_mut().unlisten(conn.handle, *topic, name);
        }
    }
    if !changes.is_empty() {
        let counts = [Topic::Channel, Topic::Pattern, Topic::Shard].map(|topic| lane.topics().count(topic));
        meters.topics.iter().zip(counts).for_each(|(gauge, count)| gauge.set(count as u64));
    }
}

fn notification(channel: Bytes, payload: Bytes) -> Message {
    Message { topic: Topic::Channel, channel, payload }
}

/// Which limit a client is over.
fn over_limit(conn: &mut Conn, limit: OutputLimit, now: Instant) -> Option<&'static str> {
    let owed = conn.owed_bytes() as u64;
    if limit.hard_bytes > 0 && owed > limit.hard_bytes {
        return Some("hard");
    }
    if limit.soft_bytes == 0 || owed <= limit.soft_bytes {
        conn.over_since = None;
        return None;
    }
    let since = *conn.over_since.get_or_insert(now);
    (now.since_ns(since) >= limit.soft_seconds.saturating_mul(1_000_000_000)).then_some("soft")
}
