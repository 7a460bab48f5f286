//! Commands without keys, for all shards or, where clients ask every node of a cluster by themselves, for those of this
//! node alone; and reads of a replica that may be behind.

use crate::gather::{nothing, shard_of_cursor};
use crate::lane::{Lane, Part, own, waiter};
use crate::outbox::{LaneMessage, Now, Outbox, Request};
use crate::replica::Origin;
use crate::script_parts::{answered_at_once, asks_one};
use base::ShardId;
use data::command::{Scatter, fences, keyless};
use data::{Context, Reply, Run};
use smallvec::SmallVec;

impl Lane {
    /// True for the shard that has no slots.
    #[must_use]
    pub fn is_meta(&self, shard: ShardId) -> bool {
        self.config.routing.meta_shard() == Some(shard)
    }

    /// A command without keys, for those shards alone that `within` names.
    pub fn on_scatter_within(
        &mut self,
        now: Now,
        request: Request<'_>,
        within: impl Fn(ShardId) -> bool,
        out: &mut Outbox,
    ) {
        let Run::Scatter(scatter) = request.command.run else { return self.on_request(now, request, out) };
        if scatter == Scatter::Scan {
            return self.scan_within(now, request, within, out);
        }
        if let Some(reply) = answered_at_once(request.command, scatter, request.args) {
            return out.replies.push((request.client, request.seq, reply));
        }
        if scatter.is_of_fences()
            && let Err(refused) = fences::parse(request.args)
        {
            return out.replies.push((request.client, request.seq, Reply::Error(refused)));
        }
        // A lock may guard keys anywhere.
        let within = |shard| scatter.is_of_fences() || within(shard);
        let count = if asks_one(scatter, request.args) { 1 } else { usize::MAX };
        let shards: Vec<ShardId> = self.config.routing.shards().filter(|shard| within(*shard)).take(count).collect();
        if shards.is_empty() {
            return out.replies.push((request.client, request.seq, nothing(scatter)));
        }
        self.scatter(now, request, scatter, &shards, out);
    }

    /// A page of SCAN. A shard that has been begun is finished wherever it is led by now; others are passed over.
    fn scan_within(&mut self, now: Now, request: Request<'_>, within: impl Fn(ShardId) -> bool, out: &mut Outbox) {
        let routing = self.config.routing;
        let cursor = request.args.get(1).copied().unwrap_or_default();
        let start_of = |shard: ShardId| u64::from(routing.first_slot(shard).0) << 32;
        let shard = shard_of_cursor(routing, cursor);
        if within(shard) || keyless::cursor(cursor) != Some(start_of(shard)) {
            return self.scatter(now, request, Scatter::Scan, &[shard], out);
        }
        let Some(next) = routing.shards().find(|next| *next > shard && within(*next)) else {
            let page = vec![Reply::text(0), Reply::Array(Vec::new())];
            return out.replies.push((request.client, request.seq, Reply::Array(page)));
        };
        let cursor = start_of(next).to_string();
        let mut args: SmallVec<[&[u8]; 8]> = request.args.into();
        args[1] = cursor.as_bytes();
        self.scatter(now, Request { args: &args, ..request }, Scatter::Scan, &[next], out);
    }

    /// Gives each of some shards its part of a command.
    fn scatter(&mut self, now: Now, request: Request<'_>, scatter: Scatter, shards: &[ShardId], out: &mut Outbox) {
        self.gathers.begin(request.client, request.seq, scatter, shards.len());
        let me = self.config.lane;
        for shard in shards.iter().copied() {
            let owner = self.config.routing.lane_of(shard);
            if owner == me {
                let waiter = waiter(Origin::Lane(me), request.client, request.seq, Part::Yes);
                self.part(now, shard, waiter, scatter, &request, out);
            } else {
                out.sends.push((owner, LaneMessage::Part { from: me, shard, request: own(&request) }));
            }
        }
    }

    /// A read of this node's copy of a shard, which may lack what was acknowledged in the last `bound_ms`. False if the
    /// copy may be older than that, or is another lane's: then nothing was done.
    pub fn on_replica_read(
        &mut self,
        now: Now,
        shard: ShardId,
        bound_ms: u64,
        request: &Request<'_>,
        out: &mut Outbox,
    ) -> bool {
        let Some(Some(replica)) = self.replicas.get(usize::from(shard.0)) else { return false };
        if !replica.is_home() {
            return false;
        }
        if !replica.group.may_read_behind(now.boot, bound_ms) || !matches!(request.command.run, Run::Read(_)) {
            return false;
        }
        // Time stands still between entries: the leader logs the death of keys within a tenth of a second.
        let cx = Context::new(request.db, replica.state().keyspace().applied_stamp());
        let Some(reply) = replica.state().read(&cx, request.command, request.args) else { return false };
        replica.hear_misses(request.command, out);
        out.replies.push((request.client, request.seq, reply));
        true
    }
}
