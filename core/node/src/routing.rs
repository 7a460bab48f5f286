//! Slot -> shard -> lane: one immutable value, the same on every lane.

use crate::outbox::Transaction;
use base::{LaneId, ShardId, Slot};
use data::command::{nodes, prefix, sort};
use data::{Command, Refused, Run, Watched};
use smallvec::SmallVec;

const ALONE: &str = "ERR this node is in no cluster: `tidegate local` and `tidegate server` make one";

/// Which lane owns what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    shards: u16,
    lanes: u16,
    meta: bool,
}

impl Routing {
    /// `shards` equal ranges of slots, dealt out to `lanes` in turn.
    #[must_use]
    pub fn new(shards: u16, lanes: u16) -> Self {
        assert!(shards > 0 && shards <= base::limits::SHARD_COUNT_MAX && lanes > 0, "the command line was checked");
        Self { shards, lanes, meta: false }
    }

    /// The same with the meta shard of a cluster, which has no slots and stands behind the others.
    #[must_use]
    pub fn with_meta(self) -> Self {
        assert!(self.shards < base::limits::SHARD_COUNT_MAX, "the configuration was checked");
        Self { meta: true, ..self }
    }

    /// The meta shard, which keeps the cluster's roster; nothing on a node that is in none.
    #[must_use]
    pub fn meta_shard(self) -> Option<ShardId> {
        self.meta.then_some(ShardId(self.shards))
    }

    /// How many shards there are.
    #[must_use]
    pub fn shard_count(self) -> u16 {
        self.shards
    }

    /// The shard of a slot.
    #[must_use]
    pub fn shard_of(self, slot: Slot) -> ShardId {
        slot.shard(self.shards)
    }

    /// The shard of a key.
    #[must_use]
    pub fn shard_of_key(self, key: &[u8]) -> ShardId {
        if self.shards == 1 { ShardId(0) } else { self.shard_of(Slot::of(key)) }
    }

    /// The first slot of a shard.
    #[must_use]
    pub fn first_slot(self, shard: ShardId) -> Slot {
        Slot::first_of(shard, self.shards)
    }

    /// The lane that owns a shard.
    #[must_use]
    pub fn lane_of(self, shard: ShardId) -> LaneId {
        if shard.0 == self.shards { LaneId(0) } else { LaneId(shard.0 % self.lanes) }
    }

    /// All lanes.
    pub fn lanes(self) -> impl Iterator<Item = LaneId> {
        (0..self.lanes).map(LaneId)
    }

    /// All shards that have slots.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (0..self.shards).map(ShardId)
    }

    /// All shards, the meta shard among them.
    pub fn groups(self) -> impl Iterator<Item = ShardId> {
        self.shards().chain(self.meta_shard())
    }

    /// The one shard of all keys of a command; nothing if it has no keys.
    pub fn shard_of_keys(self, command: &Command, args: &[&[u8]]) -> Result<Option<ShardId>, Refused> {
        if nodes::is_meta(command) {
            return self.meta_shard().map(Some).ok_or_else(|| Refused::Text(ALONE.to_owned()));
        }
        if self.shards == 1 {
            return Ok(Some(ShardId(0)));
        }
        if let Run::Prefix(_) = command.run {
            return self.shard_behind_prefix(args);
        }
        self.shard_of_plain(command, args)
    }

    /// Apart, so that other commands' way stays short.
    #[cold]
    #[inline(never)]
    fn shard_behind_prefix(self, args: &[&[u8]]) -> Result<Option<ShardId>, Refused> {
        let call = prefix::parse(args)?;
        self.shard_of_plain(call.command, &args[call.at..])
    }

    fn shard_of_plain(self, command: &Command, args: &[&[u8]]) -> Result<Option<ShardId>, Refused> {
        let mut found = data::command::cluster::slot_of(command, args).map(|slot| self.shard_of(slot));
        let keys = command.keys.positions(args).map(|at| Slot::of(args[at]));
        for slot in keys.chain(sort::pattern_slots(command, args)?) {
            let shard = self.shard_of(slot);
            match found {
                None => found = Some(shard),
                Some(first) if first != shard => return Err(Refused::CrossShard { first, second: shard }),
                Some(_) => {}
            }
        }
        Ok(found)
    }

    /// The one shard of a transaction.
    pub(crate) fn shard_of_transaction(self, transaction: &Transaction) -> Result<ShardId, Refused> {
        let mut found: Option<ShardId> = None;
        for Watched { shard, .. } in &transaction.watched {
            match found {
                Some(first) if first != *shard => return Err(Refused::CrossShard { first, second: *shard }),
                _ => found = Some(*shard),
            }
        }
        for queued in &transaction.commands {
            let args: SmallVec<[&[u8]; 8]> = queued.args.iter().map(Vec::as_slice).collect();
            let Some(shard) = self.shard_of_keys(queued.command, &args)? else { continue };
            match found {
                Some(first) if first != shard => return Err(Refused::CrossShard { first, second: shard }),
                _ => found = Some(shard),
            }
        }
        Ok(found.unwrap_or(self.shard_of(Slot(0))))
    }
}
