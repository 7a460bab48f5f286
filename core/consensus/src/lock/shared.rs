//! What all parts of a node's plane share.

use super::command::Outcome;
use super::outbox::Outbox;
use super::tokens::Tokens;
use crate::register::acceptor::Acceptor;
use crate::register::{Asker, Message, Parcel, View};
use base::limits::LOCK_HOME_COUNT_MAX;
use base::mutation::{self, Mutation};
use base::rng::Rng;
use base::{Instant, NodeId};
use bytes::Bytes;
use std::collections::BTreeSet;

/// How a plane begins.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    /// Greater at each start of this node, and durable before the plane is made.
    pub incarnation: u64,
    /// Greater after each restore of a backup: tokens and fences go on above all that may have been given out since.
    pub generation: u16,
    pub view: View,
    pub seed: u64,
    pub tuning: Tuning,
}

/// Durations in milliseconds, and what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// A home with requests that is silent for so long is passed over until it is heard.
    pub hedge_ms: u64,
    /// What isn't answered is sent again after so long, and each time after twice as long.
    pub resend_ms: u64,
    /// A request is given up so long after its wait.
    pub patience_ms: u64,
    /// A free register that nobody touched for so long may be swept.
    pub idle_ms: u64,
    /// So often some registers are looked at for idle ones.
    pub sweep_ms: u64,
    /// Names for which a home keeps what it knows between requests.
    pub home_count_max: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            hedge_ms: 20,
            resend_ms: 100,
            patience_ms: 2_000,
            idle_ms: 60_000,
            sweep_ms: 100,
            home_count_max: LOCK_HOME_COUNT_MAX,
        }
    }
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Shared {
    pub(crate) me: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) tuning: Tuning,
    pub(crate) view: View,
    pub(crate) acceptor: Acceptor,
    pub(crate) tokens: Tokens,
    pub(crate) rng: Rng,
    /// Peers without a link.
    pub(crate) lost: BTreeSet<NodeId>,
    /// The number of the last read.
    pub(crate) reads: u64,
    /// Counts up to here may have been used in this epoch for names that are forgotten here.
    pub(crate) counts_used: u64,
}

impl Shared {
    pub(crate) fn new(config: &Config, acceptor: Acceptor) -> Self {
        let incarnation = if mutation::on(Mutation::IncarnationStands) { 0 } else { config.incarnation };
        Self {
            me: config.me,
            incarnation,
            tuning: config.tuning,
            view: config.view.clone(),
            acceptor,
            tokens: Tokens::new(config.generation),
            rng: Rng::new(config.seed),
            lost: BTreeSet::new(),
            reads: incarnation << READ_BITS,
            counts_used: 0,
        }
    }

    /// True if this node votes: it belongs to the epoch, has all of the former one, and has not sealed this one.
    pub(crate) fn votes(&self) -> bool {
        let table = &self.acceptor.table;
        self.view.has(self.me) && table.ready == self.view.epoch() && table.sealed < self.view.epoch()
    }

    pub(crate) fn send(&self, to: NodeId, message: Message, out: &mut Outbox) {
        out.send(Parcel { from: self.me, to, epoch: self.view.epoch(), message });
    }

    /// To every voter but those of whom nothing is wanted any more.
    pub(crate) fn ask_voters(&self, but: &[NodeId], message: &Message, out: &mut Outbox) {
        for to in self.view.voters().iter().filter(|node| !but.contains(node)) {
            self.send(*to, message.clone(), out);
        }
    }

    pub(crate) fn answer(&self, asker: Asker, name: &Bytes, outcome: Outcome, out: &mut Outbox) {
        if asker.number != NOBODY {
            self.send(asker.node, Message::Answer { asker, name: name.clone(), outcome }, out);
        }
    }

    /// Voters who may still answer.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = NodeId> {
        self.view.voters().iter().copied().filter(|node| !self.lost.contains(node))
    }

    pub(crate) fn next_read(&mut self) -> u64 {
        self.reads += 1;
        self.reads
    }

    /// A time drawn from the range that a number of lost ballots gives, so that two proposers get out of each other's way.
    pub(crate) fn backoff(&mut self, now: Instant, lost: u32) -> Instant {
        let most_us = 500u64 << lost.min(7);
        Instant(now.0 + self.rng.below(most_us * 1000))
    }
}

/// The number of requests that nobody waits for.
pub(crate) const NOBODY: u64 = 0;
/// Reads of a life: their numbers are of no other.
const READ_BITS: u32 = 32;
