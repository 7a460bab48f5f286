//! What one lane counts: per command, how often, how it ended, and how long it took.

use super::{Counter, Gauge, Histogram};
use data::command::ID_MAX;
use data::{Command, Refused};
use std::sync::OnceLock;

/// The counts of a lane. It stands on cache lines of its own: no two lanes write to one.
#[derive(Debug)]
#[repr(align(128))]
pub struct LaneMeters {
    /// By the command's id; made when the lane first sees the command.
    commands: Box<[OnceLock<Box<CommandMeter>>]>,
    /// Requests with a name that no command has.
    pub unknown: Counter,
    /// Turns in which something was served.
    pub turns: Counter,
    /// Bytes of keys and values of the lane's shards.
    pub keyspace_bytes: Gauge,
    /// The same with what finds them: what counts against `maxmemory`. While there is such a limit, as of the last turn.
    pub used_bytes: Gauge,
    /// One if some may be evicted.
    pub victims: Gauge,
    /// Keys that went since memory had run out, of shards that were led here.
    pub evicted: Counter,
    /// Commands and transactions of its clients that a fence has refused.
    pub fenced: Counter,
    /// Of links to other nodes: see [`crate::peers::Counts`].
    pub strangers: Gauge,
    pub peers_misbehaved: Gauge,
    /// Messages that were not sent to another node, for its link is too far behind.
    pub unsent_messages: Counter,
    /// Clients that were dropped for they read too slowly.
    pub slow_clients: Counter,
    /// Channels, patterns and shard channels that clients of the lane listen to.
    pub topics: [Gauge; 3],
    /// Of the caches of its clients.
    pub tracked_keys: Gauge,
    pub tracked_items: Gauge,
    pub tracked_prefixes: Gauge,
}

/// The counts of one command.
#[derive(Debug, Default)]
pub struct CommandMeter {
    /// Ran and answered with an error.
    pub failed: Counter,
    /// Refused before they ran: wrong number of arguments, no password given, no room on the disk.
    pub rejected: Counter,
    /// From the turn in which the request was parsed to the release of the reply; its count is the number of calls.
    pub latency_ns: Histogram,
}

impl LaneMeters {
    pub fn new() -> Self {
        Self {
            commands: std::iter::repeat_with(OnceLock::new).take(ID_MAX).collect(),
            unknown: Counter::default(),
            turns: Counter::default(),
            keyspace_bytes: Gauge::default(),
            used_bytes: Gauge::default(),
            victims: Gauge::default(),
            evicted: Counter::default(),
            fenced: Counter::default(),
            strangers: Gauge::default(),
            peers_misbehaved: Gauge::default(),
            unsent_messages: Counter::default(),
            slow_clients: Counter::default(),
            topics: Default::default(),
            tracked_keys: Gauge::default(),
            tracked_items: Gauge::default(),
            tracked_prefixes: Gauge::default(),
        }
    }

    /// A command was answered with an error.
    pub fn failed(&self, id: u16, why: &Refused) {
        self.command(id).failed.add(1);
        if matches!(why, Refused::Text(text) if text.starts_with("FENCED ")) {
            self.fenced.add(1);
        }
    }

    /// The counts of a command, for the lane that writes them.
    pub fn command(&self, id: u16) -> &CommandMeter {
        self.commands[usize::from(id)].get_or_init(Box::default)
    }

    /// The counts of a command, if the lane has seen it.
    pub fn seen(&self, command: &Command) -> Option<&CommandMeter> {
        self.commands[usize::from(command.id)].get().map(|meter| &**meter)
    }
}
