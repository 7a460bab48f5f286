//! Commands under fences, on their way: which reads need no entry, and which fences nobody was given.
//!
//! A read under a fence that its shard has seen is as good as a plain read. The first one under a new fence stands in the log,
//! for it raises the floor: from then on nobody with an older fence gets in, whoever leads.

use crate::lane::Lane;
use crate::outbox::{Now, Outbox, Request, Transaction};
use crate::replica::{Replica, Waiter};
use base::ShardId;
use base::mutation::{self, Mutation};
use data::command::prefix;
use data::fence::{Judged, as_fences, beyond};
use data::{Command, Context, Refused, Reply, Run};

impl Replica {
    /// What a read under fences is answered from the applied state; nothing if that takes an entry, for one of them is new here
    /// or time must pass first.
    pub(crate) fn read_fenced(&self, cx: &Context, args: &[&[u8]]) -> Option<Reply> {
        let call = prefix::parse(args).ok().filter(|call| call.once.is_none())?;
        let Run::Read(_) = call.command.run else { return None };
        match self.state().keyspace().floors().judge(&call.fences) {
            Err(refused) => return Some(Reply::Error(refused)),
            Ok(Judged::New) if !mutation::on(Mutation::FenceReadRaisesNothing) => return None,
            Ok(Judged::New | Judged::Seen) => {}
        }
        self.state().read(cx, call.command, &args[call.at..])
    }

    /// Why a call is refused that stands under a fence which nobody was given.
    pub(crate) fn refused_fence(&self, command: &Command, args: &[&[u8]]) -> Option<Refused> {
        let Run::Prefix(_) = command.run else { return None };
        beyond(&prefix::parse(args).ok()?.fences, self.fence_bound)
    }

    /// The same for a transaction.
    pub(crate) fn refused_fence_of(&self, transaction: &Transaction) -> Option<Refused> {
        beyond(&as_fences(&transaction.fences), self.fence_bound)
    }
}

impl Lane {
    /// The largest fence that may have been given out, as far as this node knows: a leader takes none beyond it into its log.
    /// Without end unless told.
    pub fn bound_fences(&mut self, bound: u64) {
        self.replicas.iter_mut().flatten().for_each(|replica| replica.fence_bound = bound);
    }

    /// Serves a call with prefixes if it is a read that needs no entry; false if it must be logged, or is for another node.
    #[cold]
    #[inline(never)]
    pub(crate) fn reads_fenced(
        &mut self,
        now: Now,
        shard: ShardId,
        waiter: Waiter,
        request: &Request<'_>,
        out: &mut Outbox,
    ) -> bool {
        let reads = prefix::parse(request.args).ok().filter(|call| matches!(call.command.run, Run::Read(_)));
        let Some(command) = reads.filter(|_| !request.joins).map(|call| call.command) else { return false };
        let replica = self.replica(shard);
        if !replica.takes_work() || replica.has_logged_read(&waiter) {
            return false;
        }
        if !replica.may_read_for(now, &waiter) {
            let waits_for_round = replica.is_ready();
            if waits_for_round {
                self.await_round(shard, waiter, request);
            }
            return waits_for_round;
        }
        let cx = replica.context(now, request.db);
        let Some(reply) = replica.read_fenced(&cx, request.args) else { return false };
        if replica.listening.misses {
            replica.hear_misses(command, out);
        }
        self.answer(waiter, shard, reply, out);
        true
    }
}
