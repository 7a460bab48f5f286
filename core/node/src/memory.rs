//! What happens when keys and values take more memory than the node may use.
//!
//! The leader of a shard picks keys by what it knows of their use and proposes an entry that takes them out; whoever
//! follows applies it. So replicas stay equal, and each node's limit holds as long as the leaders of what it hosts have the
//! same: a follower can't evict. What is too much is shared out among a node's shards by their size, for the leaders of the
//! others do their part. One entry of this kind is on its way at a time, and what it may take out is in proportion to what was
//! written meanwhile: the price of eviction is paid by writes, and nothing stalls when a limit is lowered by much.
//!
//! Where nothing may be evicted, commands that could need memory are refused before they are logged.

use crate::lane::Lane;
use crate::outbox::{Now, Outbox, Transaction};
use crate::replica::Replica;
use base::mutation::{self, Mutation};
use base::{Index, ShardId};
use data::command::prefix;
use data::keyspace::{Among, Noted, Order, Pool, Wanted};
use data::shard::EntryWriter;
use data::{Command, Refused, Reply, Run};

/// What a node may use, and what it does about more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of keys, values and what finds them, of all shards of the node; no limit if zero.
    pub bytes_max: u64,
    /// Which keys go, and in which order; none do if this is nothing.
    pub evicts: Option<(Among, Order)>,
    /// How many keys are drawn for each that goes.
    pub samples: u32,
    /// What is noted of the use of keys.
    pub noted: Noted,
}

impl Default for Memory {
    fn default() -> Self {
        Self { bytes_max: 0, evicts: None, samples: 5, noted: Noted::Recency }
    }
}

/// The other lanes of a node, which share its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// What their shards use.
    pub used_bytes: u64,
    /// Something may be evicted there.
    pub has_victims: bool,
}

/// How a lane stands to its limit.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    memory: Memory,
    /// The other lanes of the node.
    elsewhere: Elsewhere,
    /// What is too much, of the whole node.
    over_bytes: u64,
    /// What the node uses.
    used_bytes: u64,
    /// Nothing can be done about it.
    pub(crate) out: bool,
}

/// A replica's part in it.
#[derive(Debug, Default)]
pub(crate) struct Evicting {
    /// What was drawn for the last batch and stayed.
    pool: Pool,
    /// The entry that takes keys out and isn't applied yet.
    until: Option<Index>,
    /// Bytes of entries that were applied since the last batch was picked.
    pub(crate) written_bytes: usize,
    /// What the keyspace uses, while there is a limit.
    used_bytes: u64,
    /// There is one.
    pub(crate) limited: bool,
    /// What is noted of the use of keys.
    pub(crate) noted: Noted,
    /// What scripts write that could need memory is refused.
    pub(crate) refuses: bool,
}

/// A batch frees so many bytes at least, if there is so much to free; else in proportion to what was written.
const BATCH_BYTES_MIN: usize = 64 * 1024;
const BYTES_PER_WRITTEN: usize = 2;
/// And takes so many keys at most: some milliseconds of a lane's time.
const BATCH_KEYS_MAX: usize = 8 * 1024;
/// More draws for each key that goes would find hardly better ones.
const SAMPLES_MAX: u32 = 64;

impl Lane {
    /// What the node may use from now on.
    pub fn set_memory(&mut self, memory: Memory) {
        let former = std::mem::replace(&mut self.standing.memory, memory);
        for shard in self.config.routing.shards() {
            let Some(replica) = self.replicas[usize::from(shard.0)].as_mut() else { continue };
            replica.evicting.limited = memory.bytes_max > 0;
            replica.evicting.noted = memory.noted;
            replica.look_at_size();
            if former.evicts != memory.evicts || former.noted != memory.noted {
                replica.evicting.pool.clear();
                replica.note_uses_again();
            }
            self.soil(shard);
        }
        self.look_at_memory();
    }

    /// What is known of the other lanes of the node.
    pub fn set_elsewhere(&mut self, elsewhere: Elsewhere) {
        self.standing.elsewhere = elsewhere;
    }

    /// True if something may be evicted from shards of this lane, by whoever leads them.
    #[must_use]
    pub fn has_victims(&self) -> bool {
        let Some((among, _)) = self.standing.memory.evicts else { return false };
        let mut shards = self.config.routing.shards().zip(&self.replicas).filter_map(|(_, replica)| replica.as_ref());
        // What is lent to a script is not looked at: something will be found there, or not, when it is back.
        shards.any(|replica| !replica.is_home() || replica.state().keyspace().has_victims(among))
    }

    /// What the shards of this lane use; known while there is a limit.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.replicas.iter().flatten().map(|replica| replica.evicting.used_bytes).sum()
    }

    /// True if commands that could need memory are refused.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.standing.out
    }

    pub(crate) fn look_at_memory(&mut self) {
        let bytes_max = self.standing.memory.bytes_max;
        if bytes_max == 0 {
            (self.standing.over_bytes, self.standing.out) = (0, false);
            return self.tell_scripts();
        }
        let used_bytes = self.used_bytes() + self.standing.elsewhere.used_bytes;
        let over_bytes = used_bytes.saturating_sub(bytes_max);
        let out = over_bytes > 0 && !self.standing.elsewhere.has_victims && !self.has_victims();
        self.standing = Standing { used_bytes, over_bytes, out, ..std::mem::take(&mut self.standing) };
        self.tell_scripts();
    }

    fn tell_scripts(&mut self) {
        let refuses = self.standing.out;
        self.replicas.iter_mut().flatten().for_each(|replica| replica.evicting.refuses = refuses);
    }

    /// Proposes that keys of a shard go, if this node leads it and uses too much.
    pub(crate) fn evict(&mut self, now: Now, shard: ShardId, out: &mut Outbox) {
        let Standing { memory, over_bytes, used_bytes, .. } = self.standing;
        let Some((among, order)) = memory.evicts.filter(|_| over_bytes > 0 && !self.is_meta(shard)) else { return };
        let replica = self.replica(shard);
        let share = u128::from(over_bytes) * u128::from(replica.evicting.used_bytes) / u128::from(used_bytes.max(1));
        let bytes = usize::try_from(share).unwrap_or(usize::MAX).max(1);
        let samples = memory.samples.clamp(1, SAMPLES_MAX);
        replica.evict(now, Wanted { among, order, samples, bytes, keys_max: BATCH_KEYS_MAX }, out);
    }

    /// True if a command must not be logged for want of memory.
    pub(crate) fn is_refused_memory(&self, command: &Command, args: &[&[u8]]) -> bool {
        if !self.standing.out {
            return false;
        }
        match command.run {
            Run::Prefix(_) => prefix::parse(args).is_ok_and(|call| call.command.is_denyoom()),
            _ => command.is_denyoom(),
        }
    }

    /// The same for a transaction: if for one of its commands, for all.
    pub(crate) fn is_refused_transaction(&self, transaction: &Transaction) -> bool {
        self.standing.out && transaction.commands.iter().any(|one| one.command.is_denyoom())
    }
}

impl Replica {
    /// An entry was applied, or the state was replaced.
    pub(crate) fn look_at_size(&mut self) {
        if self.evicting.limited && self.is_home() {
            self.evicting.used_bytes = self.state().keyspace().used_bytes() as u64;
        }
    }

    /// The state is here, or another one is: what is noted of the use of keys is what was asked for.
    pub(crate) fn note_uses_again(&mut self) {
        let noted = self.evicting.noted;
        if self.is_home() && self.state().keyspace().noted_uses() != noted {
            self.state.cut().note_uses(noted);
        }
    }

    /// An entry of so many bytes was applied.
    pub(crate) fn note_written(&mut self, index: Index, bytes: usize) {
        self.evicting.written_bytes = self.evicting.written_bytes.saturating_add(bytes);
        self.evicting.until.take_if(|until| *until <= index);
    }

    /// What was proposed by a leader that is one no more may never come.
    pub(crate) fn forget_evicting(&mut self) {
        self.evicting.until = None;
    }

    fn evict(&mut self, now: Now, wanted: Wanted, out: &mut Outbox) {
        if self.evicting.until.is_some() || !self.may_evict() {
            return;
        }
        let most = BATCH_BYTES_MIN.max(self.evicting.written_bytes.saturating_mul(BYTES_PER_WRITTEN));
        let wanted = Wanted { bytes: wanted.bytes.min(most), ..wanted };
        let mut pool = std::mem::take(&mut self.evicting.pool);
        let stamp = self.stamp(now);
        let mut chance = self.draw();
        let batch = self.state().keyspace().victims(wanted, stamp, &mut pool, &mut chance);
        (self.evicting.pool, self.evicting.written_bytes) = (pool, 0);
        if batch.victims.is_empty() {
            return;
        }
        if mutation::on(Mutation::EvictsWithoutLog) {
            batch.victims.iter().for_each(|one| self.state.evict_unlogged(one));
            return self.look_at_size();
        }
        let mut entry = EntryWriter::default();
        batch.victims.iter().for_each(|one| entry.evict(one, wanted.among));
        self.evicting.until = Some(self.propose(now, entry.finish(stamp), Vec::new(), out));
    }
}

/// The answer to what would need memory.
pub(crate) fn out_of_memory() -> Reply {
    Reply::Error(Refused::Text(format!("OOM {WHY}")))
}

/// The same for a transaction.
pub(crate) fn transaction_out_of_memory() -> Reply {
    Reply::Error(Refused::Text(format!("EXECABORT Transaction discarded because of: OOM {WHY}")))
}

const WHY: &str = "command not allowed when used memory > 'maxmemory'.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LaneConfig, Request, Routing};
    use base::{ClientId, Instant, LaneId, NodeId};
    use data::command;
    use std::collections::BTreeSet;

    const KEYS: u64 = 2_000;
    const START_MS: u64 = 1_000_000;

    /// A node with one lane, whose writes are durable at once.
    struct Node {
        lane: Lane,
        out: Outbox,
        seq: u64,
        now: Now,
        evicted: usize,
    }

    impl Node {
        fn new() -> Self {
            let (mut out, node) = (Outbox::default(), NodeId(1));
            let now = Now { boot: Instant(1), wall_ms: START_MS };
            let config = LaneConfig { node, lane: LaneId(0), routing: Routing::new(2, 1), seed: 7 };
            let lane = Lane::start(now, config, &[node], Vec::new(), &mut out);
            let mut node = Self { lane, out, seq: 0, now, evicted: 0 };
            node.settle();
            assert!(node.lane.ready());
            node
        }

        /// Turns until nothing is left to do.
        fn settle(&mut self) {
            self.lane.on_timer(self.now, &mut self.out);
            loop {
                self.lane.on_turn_end(self.now, &mut self.out);
                for event in self.out.events.drain(..) {
                    let crate::Event::Evicted { keys, .. } = event else { continue };
                    self.evicted += keys;
                }
                let writes = std::mem::take(&mut self.out.raft.writes);
                if writes.is_empty() {
                    return;
                }
                for envelope in writes.into_iter().flat_map(|write| write.then) {
                    self.lane.on_persisted(self.now, envelope, &mut self.out);
                }
            }
        }

        fn run(&mut self, words: &str) -> Reply {
            let args: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
            let command = command::find(args[0]).expect("a command");
            self.seq += 1;
            let (client, seq) = (ClientId(1), self.seq);
            let request = Request { client, seq, db: 0, joins: false, command, args: &args };
            self.lane.on_request(self.now, request, &mut self.out);
            self.settle();
            self.out.replies.pop().expect("it is answered").2
        }

        /// Writes keys, every second of which expires.
        fn fill(&mut self) {
            for n in 0..KEYS {
                self.now.boot = Instant(self.now.boot.0 + 1_000_000_000);
                self.run(&if n % 2 == 0 { format!("SET {n} v EX 1000000") } else { format!("SET {n} v") });
            }
        }

        fn used(&self) -> u64 {
            self.lane.keyspaces().map(|(_, keyspace)| keyspace.used_bytes() as u64).sum()
        }

        fn keys(&mut self) -> BTreeSet<u64> {
            let Reply::Array(keys) = self.run("KEYS *") else { panic!("KEYS tells keys") };
            let number = |key: &Reply| {
                let Reply::Bulk(blob) = key else { panic!("keys are strings") };
                std::str::from_utf8(blob.as_bytes()).expect("text").parse().expect("a number")
            };
            keys.iter().map(number).collect()
        }
    }

    fn limited(bytes_max: u64, evicts: Option<(Among, Order)>) -> Memory {
        Memory { bytes_max, evicts, ..Memory::default() }
    }

    #[test]
    fn keys_go_only_when_there_is_too_much_and_only_those_that_may() {
        let all = [Order::Stale, Order::Random].map(|order| (Among::All, order));
        let expiring = [Order::Stale, Order::Random, Order::Soonest].map(|order| (Among::Expiring, order));
        for (among, order) in all.into_iter().chain(expiring) {
            let mut node = Node::new();
            node.fill();
            let used = node.used();
            node.lane.set_memory(limited(used, Some((among, order))));
            node.settle();
            assert_eq!((node.keys().len() as u64, node.evicted), (KEYS, 0), "nothing is too much");
            node.lane.set_memory(limited(used - 20_000, Some((among, order))));
            node.settle();
            let (kept, now) = (node.keys(), node.used());
            assert!((used - 22_000..=used - 20_000).contains(&now), "{order:?}: {} too little", used - 20_000 - now);
            let gone: Vec<u64> = (0..KEYS).filter(|n| !kept.contains(n)).collect();
            assert_eq!((gone.len(), node.evicted > 100), (node.evicted, true));
            if among == Among::Expiring {
                assert!(gone.iter().all(|n| n % 2 == 0), "only those that expire");
            }
            if order == Order::Stale {
                let mean = gone.iter().sum::<u64>() / gone.len() as u64;
                assert!(mean < KEYS / 4, "those that were not used for long: {mean}");
            }
            assert_eq!(node.run("SET more v"), Reply::Ok, "there is room for more");
        }
    }

    #[test]
    fn what_needs_memory_is_refused_when_nothing_may_go() {
        let refused = |reply: Reply| matches!(reply, Reply::Error(why) if why.to_string().contains("OOM"));
        for evicts in [None, Some((Among::Expiring, Order::Stale))] {
            let mut node = Node::new();
            (0..100).for_each(|n| _ = node.run(&format!("SET {n} v")));
            node.lane.set_memory(limited(node.used() - 1, evicts));
            assert!(node.lane.is_out_of_memory());
            for words in ["SET 1 w", "LPUSH l 1", "ONCE a:1 SET 1 w", "SETRANGE 1 9 x"] {
                assert!(refused(node.run(words)), "{words}");
            }
            assert_eq!((node.run("GET 1"), node.evicted), (Reply::bulk(b"v"), 0));
            let command = |words: &str| crate::Queued {
                db: 0,
                command: command::find(words.split(' ').next().expect("a name").as_bytes()).expect("a command"),
                args: words.split(' ').map(|word| word.as_bytes().to_vec()).collect(),
            };
            let commands = vec![command("GET 1"), command("SET 1 w")];
            let (client, seq) = (ClientId(1), 1000);
            let transaction =
                Transaction { client, seq, once: None, fences: Vec::new(), watched: Vec::new(), commands };
            node.lane.on_transaction(node.now, transaction, &mut node.out);
            assert!(refused(node.out.replies.pop().expect("it is answered").2));
            assert_eq!((node.run("DEL 1"), node.lane.is_out_of_memory()), (Reply::Int(1), false));
            assert_eq!(node.run("SET 1 w"), Reply::Ok);
        }
    }

    #[test]
    fn a_lowered_limit_is_reached_batch_by_batch() {
        let mut node = Node::new();
        node.fill();
        node.lane.set_memory(limited(1, Some((Among::All, Order::Stale))));
        node.settle();
        assert_eq!((node.keys().len(), node.evicted as u64), (0, KEYS));
        assert!(node.lane.is_out_of_memory(), "what is left can't go");
    }
}
