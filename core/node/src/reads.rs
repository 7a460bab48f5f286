//! Reads of a leader without a lease: one round of heartbeats for all reads of a turn proves that it still leads.
//!
//! A lease is there nearly always; this is for the moments after an election, after a quorum was slow to answer, and
//! before a leader hands over. A client's later commands don't overtake such a read: reads wait behind it, and when it
//! writes, what waits goes into the log before that.

use crate::lane::{Lane, own};
use crate::outbox::{Now, Outbox, Queued, Request};
use crate::peer::Work;
use crate::replica::Waiter;
use crate::wait::goes_on;
use base::ShardId;
use consensus::raft::Ticket;
use data::command::{keyless, prefix};
use data::{Reply, Run};
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Reads that wait for a proof that their leader leads.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// Come in this turn; their round begins at its end.
    fresh: Vec<(Waiter, Queued)>,
    /// Rounds on their way, oldest first.
    rounds: VecDeque<(Ticket, Vec<(Waiter, Queued)>)>,
}

impl Reads {
    /// Takes a read.
    pub(crate) fn wait(&mut self, waiter: Waiter, queued: Queued) {
        self.fresh.push((waiter, queued));
    }

    /// True if a read of this client waits.
    pub(crate) fn has(&self, waiter: &Waiter) -> bool {
        if self.fresh.is_empty() && self.rounds.is_empty() {
            return false;
        }
        let of = |(one, _): &(Waiter, Queued)| (one.origin, one.client) == (waiter.origin, waiter.client);
        self.fresh.iter().any(of) || self.rounds.iter().flat_map(|(_, reads)| reads).any(of)
    }

    /// All that wait, in their order.
    fn take(&mut self) -> Vec<(Waiter, Queued)> {
        let rounds = self.rounds.drain(..).flat_map(|(_, reads)| reads);
        rounds.chain(self.fresh.drain(..)).collect()
    }
}

impl Lane {
    /// Begins the round for the reads that came in this turn.
    pub(crate) fn begin_round(&mut self, now: Now, shard: ShardId, out: &mut Outbox) {
        let replica = self.replica(shard);
        if replica.reads.fresh.is_empty() {
            return;
        }
        if let Some(ticket) = replica.group.begin_read(now.boot, &mut out.raft) {
            let reads = std::mem::take(&mut replica.reads.fresh);
            replica.reads.rounds.push_back((ticket, reads));
        }
        // A group of one voter has its answer already; who leads no more sends them on.
        self.end_rounds(now, shard, out);
    }

    /// Serves the reads whose round has been answered, and sends on those whose leader leads no more.
    pub(crate) fn end_rounds(&mut self, now: Now, shard: ShardId, out: &mut Outbox) {
        let replica = self.replica(shard);
        if !replica.leads() {
            // Those that may wait are asked elsewhere by themselves.
            for (waiter, queued) in replica.reads.take().into_iter().filter(|(waiter, _)| waiter.wait == 0) {
                self.defer(now, shard, waiter, Work::Command { joins: false, queued }, out);
            }
            return;
        }
        if !self.replica(shard).is_home() {
            // A script has the state: they are served when it is back.
            return;
        }
        loop {
            let replica = self.replica(shard);
            let group = &replica.group;
            let answered = |(ticket, _): &mut (Ticket, Vec<_>)| group.is_confirmed(*ticket) == Some(true);
            let Some((_, reads)) = replica.reads.rounds.pop_front_if(answered) else { return };
            for (waiter, queued) in reads {
                self.read_now(now, shard, waiter, &queued, out);
            }
        }
    }

    /// Puts a read behind the round that begins at the end of this turn.
    pub(crate) fn await_round(&mut self, shard: ShardId, waiter: Waiter, request: &Request<'_>) {
        self.replica(shard).reads.wait(waiter, own(request).queued);
        self.soil(shard);
    }

    /// Serves a read whose leader has proved that it led when it came.
    pub(crate) fn read_now(&mut self, now: Now, shard: ShardId, waiter: Waiter, queued: &Queued, out: &mut Outbox) {
        let cx = self.replica(shard).context(now, queued.db);
        let args: SmallVec<[&[u8]; 8]> = queued.args.iter().map(Vec::as_slice).collect();
        let replica = self.replicas[usize::from(shard.0)].as_ref().expect("a shard of this lane");
        let reply = match queued.command.run {
            Run::Scatter(scatter) => {
                Some(keyless::read(scatter, replica.state().keyspace(), &cx, &args, &mut self.rng).into())
            }
            Run::Prefix(_) => replica.read_fenced(&cx, &args),
            _ => replica.state().read(&cx, queued.command, &args),
        };
        if reply.is_some() && self.listening.misses {
            let read = prefix::parse(&args).map_or(queued.command, |call| call.command);
            replica.hear_misses(read, out);
        }
        match reply {
            Some(reply) if goes_on(&waiter, &reply) => self.stand_to_read(now, shard, waiter, out),
            Some(reply) => self.answer(waiter, shard, name_shard(reply, shard), out),
            // It meets a key that is dead by now: the log must say so first.
            None => self.log_queued(now, shard, waiter, queued, out),
        }
    }

    fn log_queued(&mut self, now: Now, shard: ShardId, waiter: Waiter, queued: &Queued, out: &mut Outbox) {
        if waiter.wait != 0 {
            return self.log_wait(now, shard, waiter, out);
        }
        let Queued { db, command, args } = queued;
        let args: SmallVec<[&[u8]; 8]> = args.iter().map(Vec::as_slice).collect();
        let request = Request { client: waiter.client, seq: waiter.seq, db: *db, joins: false, command, args: &args };
        self.log(now, shard, waiter, &request, out);
    }

    /// A client whose reads wait goes on to write: they go into the log before it, and all others with them.
    pub(crate) fn log_reads_of(&mut self, now: Now, shard: ShardId, waiter: &Waiter, out: &mut Outbox) {
        if !self.replica(shard).reads.has(waiter) {
            return;
        }
        for (waiter, queued) in self.replica(shard).reads.take() {
            self.log_queued(now, shard, waiter, &queued, out);
        }
    }
}

/// WATCH's rows don't know their shard: it is told here.
pub(crate) fn name_shard(reply: Reply, shard: ShardId) -> Reply {
    match reply {
        Reply::Watched(mut watched) => {
            watched.iter_mut().for_each(|one| one.shard = shard);
            Reply::Watched(watched)
        }
        other => other,
    }
}
