//! Slot -> shard -> lane: one immutable value, the same on every lane.

use base::{LaneId, ShardId, Slot};
use data::command::prefix;
use data::{Command, Refused, Run};

/// Which lane owns what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routing {
    shards: u16,
    lanes: u16,
}

impl Routing {
    /// `shards` equal ranges of slots, dealt out to `lanes` in turn.
    #[must_use]
    pub fn new(shards: u16, lanes: u16) -> Self {
        assert!(shards > 0 && shards <= base::limits::SHARD_COUNT_MAX && lanes > 0, "the command line was checked");
        Self { shards, lanes }
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
        LaneId(shard.0 % self.lanes)
    }

    /// All shards.
    pub fn shards(self) -> impl Iterator<Item = ShardId> {
        (0..self.shards).map(ShardId)
    }

    /// The one shard of all keys of a command; nothing if it has no keys.
    pub fn shard_of_keys(self, command: &Command, args: &[&[u8]]) -> Result<Option<ShardId>, Refused> {
        if self.shards == 1 {
            return Ok(Some(ShardId(0)));
        }
        if let Run::Prefix(_) = command.run {
            let call = prefix::parse(args)?;
            return self.shard_of_keys(call.command, &args[call.at..]);
        }
        let mut found = None;
        for at in command.keys.positions(args.len()) {
            let shard = self.shard_of(Slot::of(args[at]));
            match found {
                None => found = Some(shard),
                Some(first) if first != shard => return Err(Refused::CrossShard { first, second: shard }),
                Some(_) => {}
            }
        }
        Ok(found)
    }
}
