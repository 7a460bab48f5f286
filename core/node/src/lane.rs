//! A lane: the shards of one thread, and the way of every request to its shard and back.

use crate::clocks::Clocks;
use crate::everywhere::Questions;
use crate::gather::Gathers;
use crate::locks::Locks;
use crate::memory::{Standing, out_of_memory, transaction_out_of_memory};
use crate::outbox::{LaneMessage, Now, Outbox, OwnedRequest, Queued, Request, Transaction};
use crate::peer::{Asker, PeerMessage, Work};
use crate::reads::name_shard;
use crate::replica::{Origin, Replica, ShardStatus, Waiter};
use crate::routing::Routing;
use crate::spread::{Spread, no_room};
use crate::steward::{NOBODY, Steward};
use crate::topics::Topics;
use base::mutation::{self, Mutation};
use base::record::RecoveredShard;
use base::rng::Rng;
use base::{ClientId, Instant, LaneId, NodeId, Roster, ShardId};
use consensus::Envelope;
use data::command::scripts::{Need, need, sub};
use data::command::{Scatter, blocking, keyless, may_go_unlogged, unlogged};
use data::keyspace::{Listening, bring_near};
use data::{Context, Keyspace, Reply, Run};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a lane is told at its start.
#[derive(Clone, Copy, Debug)]
pub struct LaneConfig {
    pub node: NodeId,
    pub lane: LaneId,
    pub routing: Routing,
    /// Seeds this lane's chance; from the operating system in a real process, from the run's seed in the simulator.
    pub seed: u64,
}

/// A shard as storage found it.
#[derive(Debug)]
pub struct RecoveredReplica {
    pub shard: ShardId,
    pub log: RecoveredShard,
    /// The keys of its snapshot, if it has one.
    pub keyspace: Option<Keyspace>,
}

/// One lane; see the module.
#[derive(Debug)]
pub struct Lane {
    pub(crate) config: LaneConfig,
    /// By shard number; a place is empty if another lane owns the shard.
    pub(crate) replicas: Vec<Option<Box<Replica>>>,
    /// Shards whose open entry waits for the end of the turn.
    pub(crate) dirty: Vec<ShardId>,
    pub(crate) gathers: Gathers,
    pub(crate) rng: Rng,
    /// When dead keys are looked for next.
    pub(crate) tick_at: Instant,
    /// On the lane of the meta shard.
    pub(crate) steward: Option<Steward>,
    pub(crate) roster: Option<Arc<Roster>>,
    pub(crate) clocks: Clocks,
    /// How many nodes the cluster began with.
    pub(crate) member_count: usize,
    pub(crate) spread: Spread,
    pub(crate) topics: Topics,
    pub(crate) questions: Questions,
    /// What clients of this node listen for.
    pub(crate) listening: Listening,
    /// The log has no room: nothing should be led here.
    pub(crate) full: bool,
    /// Names this life of the lane: drawn at its start.
    pub(crate) life: u64,
    /// How much memory there is.
    pub(crate) standing: Standing,
    /// On the lane that has them.
    pub(crate) locks: Option<Box<Locks>>,
}

impl Lane {
    /// A lane with its shards as they were found. `members` are the nodes that replicate them, where the log names none;
    /// a node that is alone leads at once.
    pub fn start(
        now: Now,
        config: LaneConfig,
        members: &[NodeId],
        recovered: Vec<RecoveredReplica>,
        out: &mut Outbox,
    ) -> Self {
        let mut rng = Rng::new(config.seed);
        let life = rng.next_u64();
        let mut found: BTreeMap<ShardId, RecoveredReplica> =
            recovered.into_iter().map(|one| (one.shard, one)).collect();
        let mut replicas = Vec::new();
        for shard in config.routing.groups() {
            if config.routing.lane_of(shard) != config.lane {
                replicas.push(None);
                continue;
            }
            let (log, keyspace) =
                found.remove(&shard).map_or((RecoveredShard::default(), None), |one| (one.log, one.keyspace));
            let seed = (rng.next_u64(), rng.next_u64());
            let mut replica = Box::new(Replica::new(
                config.node,
                members,
                (shard, config.routing.shard_count()),
                seed,
                log,
                keyspace,
            ));
            replica.start(now, out);
            replicas.push(Some(replica));
        }
        assert!(found.is_empty(), "the driver gives each lane its own shards");
        out.next_deadline = Some(now.boot);
        Self {
            config,
            replicas,
            dirty: Vec::new(),
            gathers: Gathers::default(),
            rng,
            tick_at: now.boot,
            steward: None,
            roster: None,
            clocks: Clocks::default(),
            member_count: members.len(),
            spread: Spread::default(),
            topics: Topics::default(),
            questions: Questions::default(),
            listening: Listening::default(),
            full: false,
            life,
            standing: Standing::default(),
            locks: None,
        }
    }

    /// A command of a client of this lane.
    pub fn on_request(&mut self, now: Now, request: Request<'_>, out: &mut Outbox) {
        let me = self.config.lane;
        match request.command.run {
            Run::Scatter(_) => self.on_scatter_within(now, request, |_| true, out),
            Run::Read(_) | Run::Write(_) | Run::Prefix(_) | Run::Script(_) => {
                match self.config.routing.shard_of_keys(request.command, request.args) {
                    Err(refused) => out.replies.push((request.client, request.seq, Reply::Error(refused))),
                    Ok(shard) => {
                        let shard = shard.unwrap_or(ShardId(0));
                        let owner = self.config.routing.lane_of(shard);
                        if owner == me {
                            let waiter = waiter(Origin::Lane(me), request.client, request.seq, Part::No);
                            self.local(now, shard, waiter, &request, out);
                        } else {
                            let request = own(&request);
                            out.sends.push((owner, LaneMessage::Request { from: me, shard, request }));
                        }
                    }
                }
            }
            Run::Session | Run::Node | Run::Everywhere | Run::Lock => unreachable!("the edge takes these apart"),
        }
    }

    /// Brings near what requests with these first keys, and there are some, will read in this lane's shards.
    pub fn bring_near<'a>(&self, keys: impl Iterator<Item = (u8, &'a [u8])>) {
        let lookup = |(db, key): (u8, &'a [u8])| {
            let shard = self.config.routing.shard_of_key(key);
            let replica = self.replicas[usize::from(shard.0)].as_ref().filter(|replica| replica.is_home())?;
            replica.state().keyspace().lookup(db, key)
        };
        bring_near(keys.filter_map(lookup));
    }

    /// True if no other node replicates what this lane holds.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.replicas.iter().flatten().all(|replica| replica.group.membership().is_alone(self.config.node))
    }

    /// A transaction of a client of this lane.
    pub fn on_transaction(&mut self, now: Now, transaction: Transaction, out: &mut Outbox) {
        match self.config.routing.shard_of_transaction(&transaction) {
            Err(refused) => out.replies.push((transaction.client, transaction.seq, Reply::Error(refused))),
            Ok(shard) => {
                let (me, owner) = (self.config.lane, self.config.routing.lane_of(shard));
                if owner == me {
                    let waiter = waiter(Origin::Lane(me), transaction.client, transaction.seq, Part::No);
                    self.log_transaction(now, shard, waiter, transaction, out);
                } else {
                    out.sends.push((owner, LaneMessage::Transaction { from: me, shard, transaction }));
                }
            }
        }
    }

    /// A message of another lane of this node.
    pub fn on_lane_message(&mut self, now: Now, message: LaneMessage, out: &mut Outbox) {
        match message {
            LaneMessage::Request { from, shard, request } => self.remote(now, from, shard, &request, Part::No, out),
            LaneMessage::Part { from, shard, request } => self.remote(now, from, shard, &request, Part::Yes, out),
            LaneMessage::Transaction { from, shard, transaction } => {
                let waiter = waiter(Origin::Lane(from), transaction.client, transaction.seq, Part::No);
                self.log_transaction(now, shard, waiter, transaction, out);
            }
            LaneMessage::LetGo { from, client, seq, ending } => {
                self.let_go_here(now, Origin::Lane(from), (client, seq), ending, out);
            }
            LaneMessage::Reply { client, seq, reply } => out.replies.push((client, seq, reply)),
            LaneMessage::Roster(roster) => self.roster = Some(roster),
            LaneMessage::Everywhere { from, number, what, reach } => {
                self.on_lane_asks(now, (from, number), what, reach, out);
            }
            LaneMessage::EverywhereAnswer { number, answer } => self.on_lane_answers(number, answer, out),
            LaneMessage::Lock { from, client, seq, ask } => self.ask_lock(now, from, (client, seq), ask, out),
            LaneMessage::ForgetLocks { from, client } => self.forget_locks_of(now, (from, client), out),
            LaneMessage::FenceBound(bound) => self.bound_fences(bound),
            LaneMessage::SlotFloor(floor) => self.on_slot_floor(floor),
            LaneMessage::PartReply { client, seq, shard, reply } => self.on_part(client, seq, shard, reply, out),
        }
    }

    /// What a durable write lets go, or a message of another node's group.
    pub fn on_persisted(&mut self, now: Now, envelope: Envelope, out: &mut Outbox) {
        let shard = envelope.shard;
        self.with_answers(shard, out, |replica, out, answered| replica.on_message(now, envelope, out, answered));
        self.resume(now, shard, out);
    }

    /// True once every shard of this lane serves reads.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.replicas.iter().flatten().all(|replica| replica.serves())
    }

    /// How the shards of this lane stand.
    pub fn statuses(&self) -> impl Iterator<Item = (ShardId, ShardStatus)> {
        let shards = self.config.routing.groups().zip(&self.replicas);
        shards.filter_map(|(shard, replica)| replica.as_ref().map(|replica| (shard, replica.status())))
    }

    /// The keys of the shards of this lane, for INFO and checks.
    pub fn keyspaces(&self) -> impl Iterator<Item = (ShardId, &Keyspace)> {
        self.config
            .routing
            .shards()
            .zip(&self.replicas)
            .filter_map(|(shard, replica)| Some((shard, replica.as_ref().filter(|replica| replica.is_home())?)))
            .map(|(shard, replica)| (shard, replica.state().keyspace()))
    }

    fn local(&mut self, now: Now, shard: ShardId, waiter: Waiter, request: &Request<'_>, out: &mut Outbox) {
        if let Some(reply) = self.unlogged(now, shard, &waiter, request, out) {
            return self.answer(waiter, shard, reply, out);
        }
        if blocking::may_wait(request.command)
            && let Some(wish) = blocking::wish(request.command, request.args)
        {
            return self.wait(now, shard, waiter, request, wish.timeout_ms, out);
        }
        if let Run::Prefix(_) = request.command.run
            && self.reads_fenced(now, shard, waiter, request, out)
        {
            return;
        }
        if self.full && request.command.is_write() && !self.leave_full(now, shard, out) {
            return self.answer(waiter, shard, no_room(), out);
        }
        let replica = self.replicas[usize::from(shard.0)].as_mut().expect("the routing names the owner");
        if !replica.takes_work() {
            return self.defer(now, shard, waiter, Work::of(own(request)), out);
        }
        if self.is_refused_memory(request.command, request.args) {
            return self.answer(waiter, shard, out_of_memory(), out);
        }
        if let Run::Script(_) = request.command.run
            && self.look(now, shard, waiter, request, out)
        {
            return;
        }
        let replica = self.replica(shard);
        if let Run::Read(_) = request.command.run
            && (!request.joins || mutation::on(Mutation::ReadOvertakesOwnWrite))
            && !replica.has_logged_read(&waiter)
        {
            if !replica.may_read_for(now, &waiter) {
                if replica.is_ready() {
                    return self.await_round(shard, waiter, request);
                }
                return self.log(now, shard, waiter, request, out);
            }
            let cx = replica.context(now, request.db);
            if let Some(reply) = replica.state().read(&cx, request.command, request.args) {
                if replica.listening.misses {
                    replica.hear_misses(request.command, out);
                }
                let reply = name_shard(reply, shard);
                if waiter.origin == Origin::Lane(self.config.lane) {
                    out.replies.push((waiter.client, waiter.seq, reply));
                } else {
                    self.answer(waiter, shard, reply, out);
                }
                return;
            }
        }
        self.log(now, shard, waiter, request, out);
    }

    /// The answer to a call that might have changed something, but needn't: as good as a read.
    fn unlogged(
        &mut self,
        now: Now,
        shard: ShardId,
        waiter: &Waiter,
        request: &Request<'_>,
        out: &mut Outbox,
    ) -> Option<Reply> {
        let Request { db, joins: false, command, args, .. } = *request else { return None };
        let replica = self.replicas[usize::from(shard.0)].as_mut().filter(|_| may_go_unlogged(command))?;
        let may_read = replica.takes_work() && !replica.has_logged_read(waiter) && replica.may_read_for(now, waiter);
        if !may_read {
            return None;
        }
        let cx = replica.context(now, db);
        let reply = unlogged(replica.state().keyspace(), &cx, command, args);
        if self.listening.misses {
            replica.hear_misses(command, out);
        }
        reply
    }

    pub(crate) fn log(&mut self, now: Now, shard: ShardId, waiter: Waiter, request: &Request<'_>, out: &mut Outbox) {
        self.log_reads_of(now, shard, &waiter, out);
        let replica = self.replicas[usize::from(shard.0)].as_mut().expect("the routing names the owner");
        if let Err(refused) = replica.log_request(waiter, request) {
            return self.answer(waiter, shard, Reply::Error(refused), out);
        }
        if replica.open_is_full() {
            replica.propose_open(now, out);
        }
        self.soil(shard);
    }

    pub(crate) fn log_transaction(
        &mut self,
        now: Now,
        shard: ShardId,
        waiter: Waiter,
        mut transaction: Transaction,
        out: &mut Outbox,
    ) {
        if self.full && !self.leave_full(now, shard, out) {
            return self.answer(waiter, shard, no_room(), out);
        }
        let replica = self.replicas[usize::from(shard.0)].as_mut().expect("the routing names the owner");
        if !replica.takes_work() {
            return self.defer(now, shard, waiter, Work::Transaction(transaction), out);
        }
        if self.is_refused_transaction(&transaction) {
            return self.answer(waiter, shard, transaction_out_of_memory(), out);
        }
        if let Some(refused) = self.replica(shard).refused_fence_of(&transaction) {
            return self.answer(waiter, shard, Reply::Error(refused), out);
        }
        self.log_reads_of(now, shard, &waiter, out);
        let replica = self.replica(shard);
        replica.log_transaction(waiter, &mut transaction);
        if replica.open_is_full() {
            replica.propose_open(now, out);
        }
        self.soil(shard);
    }

    pub(crate) fn soil(&mut self, shard: ShardId) {
        if self.dirty.last() != Some(&shard) {
            self.dirty.push(shard);
        }
    }

    pub(crate) fn part(
        &mut self,
        now: Now,
        shard: ShardId,
        waiter: Waiter,
        scatter: Scatter,
        request: &Request<'_>,
        out: &mut Outbox,
    ) {
        if self.full && request.command.is_write() && !self.leave_full(now, shard, out) {
            return self.answer(waiter, shard, no_room(), out);
        }
        let replica = self.replicas[usize::from(shard.0)].as_mut().expect("the routing names the owner");
        let of_scripts = scatter.is_of_scripts().then(|| need(scatter, request.args));
        if of_scripts == Some(Need::Running) && replica.leads() {
            return self.part_about_running(now, shard, waiter, scatter, request.args, out);
        }
        if !replica.takes_work() {
            return self.defer(now, shard, waiter, Work::of(own(request)), out);
        }
        if of_scripts == Some(Need::Compiler)
            && sub(request.args) == "exists"
            && self.look(now, shard, waiter, request, out)
        {
            return;
        }
        let replica = self.replicas[usize::from(shard.0)].as_mut().expect("the routing names the owner");
        let writes = request.command.is_write() && of_scripts != Some(Need::Look);
        if writes || request.joins || replica.has_logged_read(&waiter) {
            return self.log(now, shard, waiter, request, out);
        }
        if !replica.may_read_for(now, &waiter) {
            if replica.is_ready() {
                return self.await_round(shard, waiter, request);
            }
            return self.log(now, shard, waiter, request, out);
        }
        let cx: Context = replica.context(now, request.db);
        let reply = Reply::from(keyless::read(scatter, replica.state().keyspace(), &cx, request.args, &mut self.rng));
        self.answer(waiter, shard, reply, out);
    }

    fn remote(&mut self, now: Now, from: LaneId, shard: ShardId, request: &OwnedRequest, part: Part, out: &mut Outbox) {
        let waiter = waiter(Origin::Lane(from), request.client, request.seq, part);
        self.run(now, shard, waiter, request.joins, &request.queued, out);
    }

    /// Runs a command that came from elsewhere or had to wait.
    pub(crate) fn run(
        &mut self,
        now: Now,
        shard: ShardId,
        waiter: Waiter,
        joins: bool,
        queued: &Queued,
        out: &mut Outbox,
    ) {
        let Queued { db, command, args } = queued;
        let args: SmallVec<[&[u8]; 8]> = args.iter().map(Vec::as_slice).collect();
        let request = Request { client: waiter.client, seq: waiter.seq, db: *db, joins, command, args: &args };
        match command.run {
            Run::Scatter(scatter) => self.part(now, shard, waiter, scatter, &request, out),
            _ => self.local(now, shard, waiter, &request, out),
        }
    }

    /// Work for a shard that this node doesn't lead.
    pub(crate) fn defer(&mut self, now: Now, shard: ShardId, waiter: Waiter, work: Work, out: &mut Outbox) {
        let replica = self.replica(shard);
        if replica.leads() {
            if replica.watch_script(now) {
                let busy = replica.busy();
                return self.answer(waiter, shard, busy, out);
            }
            return replica.keep_work(waiter, work);
        }
        if let Origin::Node(from, lane) = waiter.origin {
            let Waiter { client, seq, part, .. } = waiter;
            let (asker, term) = (Asker { lane, client, seq, part }, self.replica(shard).group.term());
            return out.peers.push((from, PeerMessage::NotLeader { asker, shard, term, also_later: false }));
        }
        self.replica(shard).defer(now, waiter, work, out);
    }

    /// Does what had to wait for a leader, if that is this node now.
    pub(crate) fn resume(&mut self, now: Now, shard: ShardId, out: &mut Outbox) {
        self.soil(shard);
        for message in std::mem::take(&mut self.replica(shard).published) {
            self.publish(now, message, out);
        }
        self.end_rounds(now, shard, out);
        if !self.replica(shard).leads() {
            return self.release(now, shard, out);
        }
        if !self.replica(shard).takes_work() {
            return;
        }
        let held = self.replica(shard).take_held();
        // Before scripts that were held line up again: calls that may wait come behind those of their own client alone.
        let clients: SmallVec<[(Origin, ClientId); 8]> =
            held.iter().map(|(waiter, _)| (waiter.origin, waiter.client)).collect();
        self.ask_parked(now, shard, &clients, out);
        for (waiter, work) in held.into_iter().chain(self.replica(shard).take_parked()) {
            match work {
                Work::Command { joins, queued } => self.run(now, shard, waiter, joins, &queued, out),
                Work::Transaction(transaction) => self.log_transaction(now, shard, waiter, transaction, out),
                Work::Wait(_) => unreachable!("calls that may wait are kept apart"),
            }
        }
        self.ask_parked(now, shard, &[], out);
    }

    /// Calls a replica, whose answers go where they belong.
    pub(crate) fn with_answers(
        &mut self,
        shard: ShardId,
        out: &mut Outbox,
        call: impl FnOnce(&mut Replica, &mut Outbox, &mut dyn FnMut(Waiter, Reply)),
    ) {
        let me = self.config.lane;
        let replica = self.replicas[usize::from(shard.0)].as_mut().expect("a shard of this lane");
        let mut answers: SmallVec<[(Waiter, Reply); 4]> = SmallVec::new();
        let mut local = std::mem::take(&mut out.replies);
        call(replica, out, &mut |waiter, reply| {
            let reply = name_shard(reply, shard);
            if waiter.origin == Origin::Lane(me) && !waiter.part {
                local.push((waiter.client, waiter.seq, reply));
            } else {
                answers.push((waiter, reply));
            }
        });
        out.replies = local;
        for (waiter, reply) in answers {
            self.answer(waiter, shard, reply, out);
        }
    }

    pub(crate) fn owns(&self, shard: ShardId) -> bool {
        self.replicas.get(usize::from(shard.0)).is_some_and(Option::is_some)
    }

    pub(crate) fn replica(&mut self, shard: ShardId) -> &mut Replica {
        self.replicas[usize::from(shard.0)].as_mut().expect("a shard of this lane")
    }

    pub(crate) fn answer(&mut self, waiter: Waiter, shard: ShardId, reply: Reply, out: &mut Outbox) {
        let Waiter { origin, client, seq, part, wait, .. } = waiter;
        if wait != 0 && self.replica(shard).waiting.remove(wait).is_none() {
            // It is answered already, or nobody waits for it any more.
            return;
        }
        match origin {
            Origin::Node(node, lane) => {
                let asker = Asker { lane, client, seq, part };
                out.peers.push((node, PeerMessage::Answer { asker, shard, reply }));
            }
            Origin::Lane(lane) if lane == self.config.lane => {
                if part {
                    self.on_part(client, seq, shard, reply, out);
                } else {
                    out.replies.push((client, seq, reply));
                }
            }
            Origin::Lane(lane) if part => {
                out.sends.push((lane, LaneMessage::PartReply { client, seq, shard, reply }));
            }
            Origin::Lane(lane) => out.sends.push((lane, LaneMessage::Reply { client, seq, reply })),
        }
    }

    fn on_part(&mut self, client: ClientId, seq: u64, shard: ShardId, reply: Reply, out: &mut Outbox) {
        if client == NOBODY {
            return self.on_meta_answer(seq, &reply, out);
        }
        if let Some(reply) = self.gathers.on_part(self.config.routing, client, seq, shard, reply) {
            out.replies.push((client, seq, reply));
        }
    }
}

pub(crate) fn waiter(origin: Origin, client: ClientId, seq: u64, part: Part) -> Waiter {
    Waiter { origin, client, seq, part: matches!(part, Part::Yes), read: false, wait: 0 }
}

/// Whether an answer is one of several that are merged.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Yes,
    No,
}

pub(crate) fn own(request: &Request<'_>) -> OwnedRequest {
    let args = request.args.iter().map(|arg| arg.to_vec()).collect();
    let queued = Queued { db: request.db, command: request.command, args };
    OwnedRequest { client: request.client, seq: request.seq, joins: request.joins, queued }
}
