//! SUBSCRIBE and its kin: what a connection listens to, as it tells its client.
//!
//! They wait until all that was asked before is answered. So a message that comes with the first of a channel never overtakes
//! a reply, and a client of RESP2, which can't tell messages from replies, gets no reply any more from there on but
//! those that look like messages.

use super::encode::Proto;
use super::parse::Args;
use super::push::encode_push;
use super::session::{Muted, Session, error};
use super::step::Step;
use base::limits::SUBSCRIPTIONS_MAX;
use data::command::containers;
use data::command::pubsub::{Topic, listens};
use data::{Command, Refused, Reply};
use std::collections::BTreeSet;

/// Names by their kind.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    channels: Names,
    patterns: Names,
    shard_channels: Names,
}

type Names = BTreeSet<Box<[u8]>>;

/// A connection listens to something, or does so no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listens {
    pub topic: Topic,
    pub name: Box<[u8]>,
    pub on: bool,
}

impl Subscriptions {
    fn of(&self, topic: Topic) -> &Names {
        match topic {
            Topic::Channel => &self.channels,
            Topic::Pattern => &self.patterns,
            Topic::Shard => &self.shard_channels,
        }
    }

    fn of_mut(&mut self, topic: Topic) -> &mut Names {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::Shard => &mut self.shard_channels,
        }
    }

    /// What a client is told: shard channels are counted apart.
    fn told(&self, topic: Topic) -> usize {
        match topic {
            Topic::Shard => self.shard_channels.len(),
            Topic::Channel | Topic::Pattern => self.channels.len() + self.patterns.len(),
        }
    }
}

impl Session {
    /// How many channels, patterns or shard channels the connection listens to.
    #[must_use]
    pub fn subscriptions(&self, topic: Topic) -> usize {
        self.subscriptions.of(topic).len()
    }

    /// True if it listens to anything.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        TOPICS.into_iter().any(|topic| self.subscriptions(topic) > 0)
    }

    /// Stops listening to anything, without a word to the client.
    pub fn unsubscribe_all(&mut self) -> Vec<Listens> {
        let mut changes = Vec::new();
        for topic in TOPICS {
            let names = std::mem::take(self.subscriptions.of_mut(topic));
            changes.extend(names.into_iter().map(|name| Listens { topic, name, on: false }));
        }
        changes
    }

    /// The refusal of a command on a connection of RESP2 that listens.
    pub(super) fn check_listening(&self, command: &Command, sub: Option<usize>) -> Result<(), Refused> {
        let allowed = || listens(command).is_some() || matches!(command.name, "ping" | "quit" | "reset");
        if !self.awaits_messages_alone() || allowed() {
            return Ok(());
        }
        Err(Refused::Text(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
             context",
            containers::full_name(command, sub)
        )))
    }

    /// One of the rows of [`listens`].
    pub(super) fn subscribe<'a>(&mut self, command: &'static Command, args: &Args<'a>, out: &mut Vec<u8>) -> Step<'a> {
        if self.pending() > 0 {
            return Step::Blocked;
        }
        let Some((topic, on)) = listens(command) else { return Step::Answered };
        if self.muted == Muted::Next {
            self.muted = Muted::No;
        }
        let more = if on { args.len() - 1 } else { 0 };
        if self.subscriptions(topic) + more > SUBSCRIPTIONS_MAX {
            return self.answer(error("ERR too many subscriptions of one client; use patterns, or more clients"), out);
        }
        let names: Vec<Box<[u8]>> = match args.len() {
            1 => self.subscriptions.of(topic).iter().cloned().collect(),
            _ => args[1..].iter().map(|name| Box::from(*name)).collect(),
        };
        if names.is_empty() {
            self.confirm(command, topic, Reply::Nil, out);
        }
        let mut changes = Vec::new();
        for name in names {
            let kept = self.subscriptions.of_mut(topic);
            let changed = if on { kept.insert(name.clone()) } else { kept.remove(&name) };
            self.confirm(command, topic, Reply::bulk(&name), out);
            changes.extend(changed.then_some(Listens { topic, name, on }));
        }
        Step::Listens(changes)
    }

    fn confirm(&self, command: &'static Command, topic: Topic, name: Reply, out: &mut Vec<u8>) {
        let count = Reply::count(self.subscriptions.told(topic));
        encode_push(&[Reply::bulk(command.name.as_bytes()), name, count], self.proto, out);
    }

    /// True for a client that can't tell replies from messages, and so gets messages alone.
    pub(super) fn awaits_messages_alone(&self) -> bool {
        self.proto == Proto::Two && self.is_subscribed()
    }

    /// PING of such a client.
    pub(super) fn ping_of_listener(args: &[&[u8]]) -> Reply {
        let text = args.get(1).copied().unwrap_or_default();
        Reply::Array(vec![Reply::bulk(b"pong"), Reply::bulk(text)])
    }
}

const TOPICS: [Topic; 3] = [Topic::Channel, Topic::Pattern, Topic::Shard];
