//! Nodes whose memory runs out: what they may use, and what becomes of keys that go for it.
//!
//! A key that is evicted goes when the first node applies the entry that says so: in the history it is deleted then, by
//! nobody. So the checker of histories finds keys that vanish otherwise, and the digests leaders that take keys out alone.

use super::{MS, World, one_of};
use base::rng::Rng;
use base::{Index, NodeId, Stamp};
use data::keyspace::{Among, Class, Noted, Order, Ttl};
use data::{Context, Keyspace};
use history::{Command, Reply};
use node::Memory;

/// The first to apply an entry does so within this time of its turn's beginning.
const SLACK_NS: u64 = MS;

/// One run in two has a limit that some keys fit and all don't.
pub(super) fn drawn(rng: &mut Rng, shards: u16) -> Memory {
    let evicts = one_of(
        rng,
        [
            None,
            Some((Among::All, Order::Stale)),
            Some((Among::All, Order::Stale)),
            Some((Among::All, Order::Random)),
            Some((Among::Expiring, Order::Stale)),
        ],
    );
    let log_factor = one_of(rng, [0, 10]);
    let noted = one_of(rng, [Noted::Recency, Noted::Frequency { log_factor, decay_minutes: 1 }]);
    let room = rng.below(700) + 100;
    let bytes_max = if rng.one_in(2) { 0 } else { least_bytes() * u64::from(shards) + room };
    Memory { bytes_max, evicts, samples: one_of(rng, [1, 5]), noted }
}

/// What a keyspace with hardly anything in it uses.
fn least_bytes() -> u64 {
    let mut keyspace = Keyspace::new((0, 0));
    keyspace.advance(Stamp(1), Index(1));
    keyspace.set_string(&Context::new(0, Stamp(1)), b"k", b"v", Ttl::Clear);
    keyspace.used_bytes() as u64
}

impl World {
    /// What entries took out for want of memory is deleted in the history, once.
    pub(super) fn note_evictions(&mut self, node: NodeId) {
        for heard in std::mem::take(&mut self.living(node).out.heard) {
            let evicted: Vec<_> = heard.notices.iter().filter(|one| one.class == Class::Evicted).collect();
            let Some((shard, index)) = heard.entry.filter(|_| !evicted.is_empty()) else { continue };
            if !self.checks.evictions.insert((shard, index)) {
                continue;
            }
            for notice in evicted {
                self.count("eviction");
                let key = std::str::from_utf8(&notice.key).expect("clients write text");
                if self.checks.queues.evict(key) || self.checks.cells.evict(key) {
                    continue;
                }
                let command = Command::redis(&["DEL", key]).expect("the checker knows it");
                let who = format!("eviction of {key} by {index} of {shard}");
                let op = self.checks.history.invoke(who, command, self.now.saturating_sub(SLACK_NS));
                self.checks.history.returned(op, Reply::Int(1), self.now);
            }
        }
    }
}
