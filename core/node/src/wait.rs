//! Calls that may wait, on their way: asked here if this node leads, or of whoever does, again if need be, until they are answered.
//!
//! A leader logs such a call, and `apply` answers it or says that it stands in a line ([`data::waits`]); reads stand there without the
//! log. It is answered when an entry serves it. When its time is over it is told so at once if every entry that was proposed here has
//! been applied, for none of a later stamp will serve it; else the entries that are on their way decide.
//!
//! Nodes ask for their own clients, of one leader after another, always under the same name: the life of the client's lane, the
//! connection, and the number of the call. So a leader's loss takes from nobody what was taken out for him, and nobody gets
//! two. A call whose client goes, or which is ended by CLIENT UNBLOCK, is let go by the log, so that all replicas agree on who
//! was served.

use crate::forward::{PATIENCE_MS, indoubt, no_quorum};
use crate::lane::{Lane, own};
use crate::memory::out_of_memory;
use crate::outbox::{LaneMessage, Now, Outbox, Queued, Request};
use crate::peer::{Asker, PeerMessage, Work};
use crate::replica::{Origin, Replica, Waiter};
use crate::waiting::{At, Call, Ending, Logged, Number};
use base::limits::WAIT_ANSWER_KEPT_MS;
use base::{ClientId, Instant, LaneId, NodeId, ShardId, Stamp, Term};
use data::command::{blocking, prefix};
use data::waits::{Caller, How, Patience, WaitId, is_nothing};
use data::{Command, Context, Reply, Run, Told};
use smallvec::SmallVec;

/// How long a call that may have been answered is asked again: for less time than answers are kept.
const DOUBT_MS_MAX: u64 = WAIT_ANSWER_KEPT_MS / 2;

impl Lane {
    /// A call that may wait, of a client of this node.
    pub(crate) fn wait(
        &mut self,
        now: Now,
        shard: ShardId,
        waiter: Waiter,
        request: &Request<'_>,
        timeout_ms: Option<u64>,
        out: &mut Outbox,
    ) {
        let Origin::Lane(lane) = waiter.origin else { unreachable!("another node's calls come as such") };
        let call = Call {
            waiter,
            queued: own(request).queued,
            life: self.life.wrapping_add(u64::from(lane.0)),
            joins: request.joins,
            since: now.boot,
            timeout_ms,
            due: None,
            at: At::Parked,
            term: Term(0),
            doubt_since: None,
            let_go: None,
        };
        self.begin_to_wait(now, shard, call, out);
    }

    /// The same of a client of another node, which leads the shard as that node thinks, and does.
    pub(crate) fn wait_for_peer(
        &mut self,
        now: Now,
        (shard, term): (ShardId, Term),
        waiter: Waiter,
        wait: PeerWait,
        out: &mut Outbox,
    ) {
        let PeerWait { life, age_ms, joins, queued } = wait;
        let since = Instant(now.boot.0.saturating_sub(age_ms.saturating_mul(base::time::NS_PER_MS)));
        let timeout_ms = timeout_ms(&queued);
        let (at, due, doubt_since, let_go) = (At::Parked, None, None, None);
        let call = Call { waiter, queued, life, joins, since, timeout_ms, due, at, term, doubt_since, let_go };
        self.begin_to_wait(now, shard, call, out);
    }

    fn begin_to_wait(&mut self, now: Now, shard: ShardId, call: Call, out: &mut Outbox) {
        let replica = self.replica(shard);
        replica.recall(&call.waiter);
        let Waiter { origin, client, seq, .. } = call.waiter;
        if let Some(former) = replica.waiting.of(origin, client, seq) {
            // Another node lost its link and asks again before that was seen here.
            replica.end(former, Ending::Gone, out);
        }
        let number = replica.waiting.insert(call);
        if replica.takes_waits() {
            self.ask_here(now, shard, number, out);
        } else {
            replica.send_parked(now, out);
        }
    }

    /// Asks parked calls here, if this node leads, in the order in which they came, up to one of these clients.
    pub(crate) fn ask_parked(&mut self, now: Now, shard: ShardId, but: &[(Origin, ClientId)], out: &mut Outbox) {
        if !self.replica(shard).takes_waits() {
            return;
        }
        for number in self.replica(shard).waiting.parked() {
            let of = self.replica(shard).waiting.get(number).map(|call| (call.waiter.origin, call.waiter.client));
            if of.is_some_and(|of| but.contains(&of)) {
                // Those behind it came later.
                return;
            }
            self.ask_here(now, shard, number, out);
        }
    }

    fn ask_here(&mut self, now: Now, shard: ShardId, number: Number, out: &mut Outbox) {
        if let Some((waiter, refused)) = self.refused_when_asked(shard, number) {
            return self.answer(waiter, shard, refused, out);
        }
        let replica = self.replica(shard);
        replica.begin_to_ask(now, number);
        let Some(call) = replica.waiting.get(number) else { return };
        let waiter = call.waiter;
        let reads = matches!(call.queued.command.run, Run::Read(_)) && !call.joins;
        if !reads || replica.has_logged_read(&waiter) {
            return self.log_wait(now, shard, waiter, out);
        }
        let queued = call.queued.clone();
        if replica.may_read_for(now, &waiter) {
            self.read_now(now, shard, waiter, &queued, out);
        } else if replica.is_ready() {
            replica.reads.wait(waiter, queued);
            self.soil(shard);
        } else {
            self.log_wait(now, shard, waiter, out);
        }
    }

    /// Whose call needs memory that isn't there, or stands under a fence that nobody was given: it waits no more.
    fn refused_when_asked(&mut self, shard: ShardId, number: Number) -> Option<(Waiter, Reply)> {
        let replica = self.replicas[usize::from(shard.0)].as_ref()?;
        let Queued { command, args, .. } = &replica.waiting.get(number)?.queued;
        let args: SmallVec<[&[u8]; 8]> = args.iter().map(Vec::as_slice).collect();
        let no_memory = self.is_refused_memory(command, &args).then(out_of_memory);
        let refused = no_memory.or_else(|| replica.refused_fence(command, &args).map(Reply::Error))?;
        drop(args);
        let call = self.replica(shard).waiting.remove(number)?;
        Some((Waiter { wait: 0, ..call.waiter }, refused))
    }

    /// A call that may wait goes into the log.
    pub(crate) fn log_wait(&mut self, now: Now, shard: ShardId, waiter: Waiter, out: &mut Outbox) {
        self.log_reads_of(now, shard, &waiter, out);
        let replica = self.replica(shard);
        replica.log_wait(now, waiter.wait);
        if replica.open_is_full() {
            replica.propose_open(now, out);
        }
        self.soil(shard);
    }

    /// A read found nothing: it stands in line, unless its time is over.
    pub(crate) fn stand_to_read(&mut self, now: Now, shard: ShardId, waiter: Waiter, out: &mut Outbox) {
        if let Some(reply) = self.replica(shard).stand_to_read(now, waiter.wait, out) {
            self.answer(waiter, shard, reply, out);
        }
    }

    /// A call of a client of this lane ends, unless it has been answered: the client is gone, or another client wishes so.
    pub fn let_go(&mut self, now: Now, client: ClientId, seq: u64, ending: Ending, out: &mut Outbox) {
        let from = self.config.lane;
        if self.let_go_here(now, Origin::Lane(from), (client, seq), ending, out) {
            return;
        }
        let others = self.config.routing.lanes().filter(|lane| *lane != from);
        out.sends.extend(others.map(|lane| (lane, LaneMessage::LetGo { from, client, seq, ending })));
    }

    /// The same for a client of any lane or node; false if it has no call in a shard of this lane.
    pub(crate) fn let_go_here(
        &mut self,
        now: Now,
        origin: Origin,
        (client, seq): (ClientId, u64),
        ending: Ending,
        out: &mut Outbox,
    ) -> bool {
        if let Origin::Lane(lane) = origin
            && self.let_lock_go(now, lane, (client, seq), ending, out)
        {
            return true;
        }
        let mut replicas = self.replicas.iter().flatten();
        let found = replicas.find_map(|one| Some((one.shard(), one.waiting.of(origin, client, seq)?)));
        let Some((shard, number)) = found else { return false };
        if let Some((waiter, reply)) = self.replica(shard).end(number, ending, out) {
            self.answer(waiter, shard, reply, out);
        }
        self.resume(now, shard, out);
        true
    }

    /// True if a call of a client of a lane is held back here: it is not asked while scripts wait to be run.
    #[must_use]
    pub fn holds_back(&self, lane: LaneId, client: ClientId, seq: u64) -> bool {
        let origin = Origin::Lane(lane);
        self.replicas.iter().flatten().any(|replica| replica.waiting.is_parked(origin, client, seq))
    }

    /// How many calls of any client may wait here, or are asked for elsewhere.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.replicas.iter().flatten().map(|replica| replica.waiting.len()).sum()
    }
}

/// A call that may wait, as another node asks for it.
#[derive(Clone, Debug)]
pub struct PeerWait {
    /// The life of the client's lane: with connection and number it names the call.
    pub life: u64,
    /// How long ago it came.
    pub age_ms: u64,
    pub joins: bool,
    pub queued: Queued,
}

impl Replica {
    /// True if calls that wait are asked here: its clock must go on from the log's, or their time would be over at once. They
    /// don't overtake what stands in line with a script.
    fn takes_waits(&self) -> bool {
        self.takes_work() && self.is_ready() && !self.has_line()
    }

    /// A call is about to be asked here.
    fn begin_to_ask(&mut self, now: Now, number: Number) {
        let stamp = self.clock.stamp(now);
        let Some(call) = self.waiting.get(number) else { return };
        let timeout_ms = if call.let_go.is_some() { Some(0) } else { call.timeout_ms };
        let due = timeout_ms.map(|ms| {
            let left_ms = ms.saturating_sub(call.age_ms(now.boot));
            (call.since.plus_ms(ms).max(now.boot), Stamp(stamp.0.saturating_add(left_ms)))
        });
        self.waiting.ask(number, due);
    }

    /// Puts a call that may wait into the open entry.
    fn log_wait(&mut self, now: Now, number: Number) {
        let stamp = self.clock.stamp(now);
        let alone = self.group.membership().members().count() == 1;
        let Some(call) = self.waiting.get(number) else { return };
        let since = Stamp(stamp.0.saturating_sub(call.age_ms(now.boot)));
        let patience = Patience { since, until: call.due.map(|(_, until)| until) };
        let Waiter { client, seq, .. } = call.waiter;
        // A node that is alone is never asked again: its clients go with it.
        let named = !(alone && call.is_ours());
        let caller = named.then_some(Caller { life: call.life, client: client.0, seq });
        let (waiter, Queued { db, command, args }) = (call.waiter, &call.queued);
        let args: SmallVec<[&[u8]; 8]> = args.iter().map(Vec::as_slice).collect();
        match command.run {
            Run::Prefix(_) => {
                let behind = prefix::parse(&args).expect("it was read when it came");
                let keep_ms = self.once_kept_ms;
                behind.once.iter().for_each(|id| self.open.once(*id, keep_ms));
                self.open.fences(&behind.fences);
                // An id does what a caller's name is for.
                let caller = caller.filter(|_| behind.once.is_none());
                self.open.wait(caller, patience, *db, behind.command, &args[behind.at..]);
            }
            _ => self.open.wait(caller, patience, *db, command, &args),
        }
        self.open_waiters.push(waiter);
    }

    /// A read that found nothing stands in line; what it is answered if it doesn't.
    fn stand_to_read(&mut self, now: Now, number: Number, out: &mut Outbox) -> Option<Reply> {
        let stamp = self.clock.stamp(now);
        let call = self.waiting.get(number).filter(|call| call.at == At::Asked)?;
        if call.let_go.is_some() || call.due.is_some_and(|(due, _)| due <= now.boot) {
            return Some(call.let_go.unwrap_or(How::Nil).reply());
        }
        let since = Stamp(stamp.0.saturating_sub(call.age_ms(now.boot)));
        let Queued { db, command, args } = call.queued.clone();
        let args: SmallVec<[&[u8]; 8]> = args.iter().map(Vec::as_slice).collect();
        let id = self.state.wait_to_read(&Context::new(db, stamp), command, &args, since);
        self.waiting.put(number, At::Standing(id));
        self.settle(number, id, out);
        None
    }

    /// What meant "from now on" in a call that stands in line is told to whoever would ask for it again.
    fn settle(&mut self, number: Number, id: WaitId, out: &mut Outbox) {
        let shard = self.shard;
        let Some(call) = self.waiting.get_mut(number) else { return };
        let (command, at) = behind_prefixes(&call.queued);
        if !blocking::of(command).is_some_and(blocking::Blocking::settles) {
            return;
        }
        let Some(settled) = self.state.keyspace().waits().args_of(id) else { return };
        let args: Vec<Vec<u8>> = call.queued.args[..at].iter().cloned().chain(settled).collect();
        if let Origin::Node(node, _) = call.waiter.origin {
            out.peers.push((node, PeerMessage::Settled { asker: call.asker(), shard, args: args.clone() }));
        }
        call.queued.args = args;
    }

    /// Another node's leader has told what a call of ours means by "from now on".
    pub(crate) fn on_settled(&mut self, from: NodeId, asker: Asker, args: Vec<Vec<u8>>) {
        let origin = Origin::Lane(asker.lane);
        let number = self.waiting.of(origin, asker.client, asker.seq);
        let call = number.and_then(|number| self.waiting.get_mut(number)).filter(|call| call.is_with(from));
        let waits = |args: &[Vec<u8>], command: &data::Command| {
            let args: SmallVec<[&[u8]; 8]> = args.iter().map(Vec::as_slice).collect();
            command.accepts(args.len()) && blocking::wish(command, &args).is_some()
        };
        if let Some(call) = call.filter(|call| waits(&args, call.queued.command)) {
            call.queued.args = args;
        }
    }

    /// What apply told of an operation of `waiter`, or of one of before: whom to answer. A call that waits is noted in `begun`.
    pub(crate) fn told(
        waiting: &mut crate::waiting::Waiting,
        told: Told,
        next: impl FnOnce() -> Option<Waiter>,
        begun: &mut Vec<(Number, WaitId)>,
    ) -> Option<(Waiter, Reply)> {
        match told {
            Told::Reply(reply) => {
                let waiter = next()?;
                if waiter.wait == 0 || waiting.remove(waiter.wait).is_some() {
                    return Some((Waiter { wait: 0, ..waiter }, reply));
                }
            }
            Told::Waits(id) => {
                let number = next()?.wait;
                let at = waiting.get(number).map(|call| call.at);
                if at.is_none_or(|at| at == At::Asked) {
                    waiting.put(number, At::Standing(id));
                    begun.push((number, id));
                }
                // Else this node was deposed before its entry was agreed on: the call is asked of the next leader, who begins with
                // an empty line.
            }
            Told::Over(id, reply) => {
                let call = waiting.standing(id).and_then(|number| waiting.remove(number))?;
                return Some((Waiter { wait: 0, ..call.waiter }, reply));
            }
        }
        None
    }

    /// Calls have begun to stand in line: whose client has gone meanwhile, or is to be let go, goes at once.
    pub(crate) fn on_begun(&mut self, begun: Vec<(Number, WaitId)>, out: &mut Outbox) {
        for (number, id) in begun {
            let let_go = match self.waiting.get(number) {
                None => Some(How::Nil),
                Some(call) => call.let_go,
            };
            match let_go {
                Some(how) => self.endings.push((id, how)),
                None => self.settle(number, id, out),
            }
        }
    }

    /// Logs who is to be let go. Call it before anything is proposed.
    pub(crate) fn log_endings(&mut self) {
        if self.takes_work() && !self.endings.is_empty() {
            for (id, how) in std::mem::take(&mut self.endings) {
                self.open.let_go_first(id, how);
            }
        }
    }

    /// Ends a call, wherever it is; who is answered at once.
    fn end(&mut self, number: Number, ending: Ending, out: &mut Outbox) -> Option<(Waiter, Reply)> {
        let (shard, call) = (self.shard, self.waiting.get_mut(number)?);
        let how = match ending {
            Ending::Gone => How::Nil,
            Ending::Told(how) => how,
        };
        let (at, waiter, asker) = (call.at, call.waiter, call.asker());
        // Of a call of another node, that one knows whether a former leader may have served it: it is asked here before it is over.
        let sure = call.doubt_since.is_none() && call.is_ours();
        let former = call.let_go.replace(how);
        match at {
            At::Standing(WaitId::Read(_)) => self.forget_read_of(number),
            At::Standing(id) if former.is_none() => self.let_go(id, how),
            At::Sent(to, _) => out.peers.push((to, PeerMessage::LetGo { asker, shard, how })),
            At::Standing(_) | At::Parked | At::Asked => {}
        }
        if ending == Ending::Gone {
            self.waiting.remove(number);
            return None;
        }
        let done = matches!(at, At::Standing(WaitId::Read(_))) || (at == At::Parked && sure);
        done.then(|| (waiter, how.reply()))
    }

    fn let_go(&mut self, id: WaitId, how: How) {
        if self.takes_work() {
            self.open.let_go(id, how);
        } else {
            self.endings.push((id, how));
        }
    }

    /// The read stands in line no more.
    fn forget_read_of(&mut self, number: Number) {
        if let Some(At::Standing(id @ WaitId::Read(_))) = self.waiting.get(number).map(|call| call.at) {
            if self.is_home() {
                self.state.forget_read(id);
            } else {
                self.unread.push(id);
            }
            self.waiting.put(number, At::Asked);
        }
    }

    /// This node doesn't lead any more. Calls of its own clients are asked elsewhere; those of others go back to where they came from.
    pub(crate) fn send_waiting_away(&mut self, now: Now, out: &mut Outbox) {
        self.endings.clear();
        for number in self.waiting.all(|call| call.is_here() || !call.is_ours()) {
            self.forget_read_of(number);
            let Some(call) = self.waiting.get_mut(number) else { continue };
            let Origin::Node(node, _) = call.waiter.origin else {
                call.doubt_since.get_or_insert(now.boot);
                self.waiting.put(number, At::Parked);
                continue;
            };
            let (asker, shard, term) = (call.asker(), self.shard, call.term);
            out.peers.push((node, PeerMessage::NotLeader { asker, shard, term, also_later: false }));
            self.waiting.remove(number);
        }
    }

    /// Sends parked calls to the leader of `term`.
    pub(crate) fn send_waiting(&mut self, now: Now, leader: NodeId, term: Term, out: &mut Outbox) {
        let shard = self.shard;
        for number in self.waiting.parked() {
            let Some(call) = self.waiting.get(number).filter(|call| call.is_ours()) else { continue };
            let (asker, age_ms) = (call.asker(), call.age_ms(now.boot));
            let wait = PeerWait { life: call.life, age_ms, joins: call.joins, queued: call.queued.clone() };
            out.peers.push((leader, PeerMessage::Ask { shard, term, asker, work: Work::Wait(wait) }));
            if let Some(how) = call.let_go {
                out.peers.push((leader, PeerMessage::LetGo { asker, shard, how }));
            }
            self.waiting.put(number, At::Sent(leader, term));
        }
    }

    /// Whom an answer to a call that may wait is for.
    pub(crate) fn on_wait_answer(&mut self, from: NodeId, asker: Asker) -> Option<Waiter> {
        let number = self.waiting.of(Origin::Lane(asker.lane), asker.client, asker.seq)?;
        let waits = self.waiting.get(number).is_some_and(|call| call.is_with(from));
        waits.then(|| self.waiting.remove(number)).flatten().map(|call| Waiter { wait: 0, ..call.waiter })
    }

    /// A node doesn't lead in `term`, or doesn't any more: true if that was about a call that may wait.
    pub(crate) fn on_wait_refused(&mut self, now: Now, from: NodeId, asker: Asker, term: Term) -> bool {
        let number = self.waiting.of(Origin::Lane(asker.lane), asker.client, asker.seq);
        let call = number.and_then(|number| self.waiting.get(number)).filter(|call| call.at == At::Sent(from, term));
        let Some(number) = call.map(|call| call.waiter.wait) else { return false };
        self.park(now, number);
        true
    }

    /// Calls that were sent to `peer` are asked again; those of its clients are let go.
    pub(crate) fn on_wait_link_lost(&mut self, now: Now, peer: NodeId, out: &mut Outbox) {
        self.waiting.all(|call| call.is_with(peer)).into_iter().for_each(|number| self.park(now, number));
        let theirs = |call: &Call| matches!(call.waiter.origin, Origin::Node(node, _) if node == peer);
        for number in self.waiting.all(theirs) {
            self.end(number, Ending::Gone, out);
        }
    }

    /// Calls that were sent to the leader of a term that is over are asked again.
    pub(crate) fn recall_waiting(&mut self, now: Now) {
        let (term, led) = (self.group.term(), self.group.leader().is_some());
        let superseded = |call: &Call| matches!(call.at, At::Sent(_, sent) if led && sent < term);
        self.waiting.all(superseded).into_iter().for_each(|number| self.park(now, number));
    }

    /// It was asked in vain, as far as is known here.
    pub(crate) fn park(&mut self, now: Now, number: Number) {
        if let Some(call) = self.waiting.get_mut(number) {
            call.doubt_since.get_or_insert(now.boot);
            self.waiting.put(number, At::Parked);
        }
    }

    /// Answers calls whose time is over: those that stand here, unless an entry is on its way that may serve them.
    pub(crate) fn time_out_waiting(&mut self, now: Now) -> Vec<(Waiter, Reply)> {
        let mut answers = Vec::new();
        let Some(logged) = self.may_time_out() else { return answers };
        if self.waiting.first_deadline(logged).is_none_or(|first| first > now.boot) {
            return answers;
        }
        let stamp = self.clock.stamp(now);
        for number in self.waiting.due(now.boot, logged) {
            let call = self.waiting.get(number).expect("it was just there");
            if let At::Standing(id @ WaitId::Logged { .. }) = call.at
                && call.due.is_some_and(|(_, until)| until > stamp)
            {
                // The time of the log stands still, for it had run ahead: an entry of this time could still serve it.
                self.let_go(id, How::Nil);
                self.waiting.leave_it_to_the_log(number);
                continue;
            }
            self.forget_read_of(number);
            let call = self.waiting.remove(number).expect("it was just there");
            answers.push((Waiter { wait: 0, ..call.waiter }, Reply::NilArray));
        }
        answers
    }

    /// When [`Replica::time_out_waiting`] has something to do.
    pub(crate) fn waiting_deadline(&self) -> Option<Instant> {
        self.waiting.first_deadline(self.may_time_out()?)
    }

    /// Whose time may be called over, if anybody's: of calls in the log, once every entry of this leader has been applied, and none
    /// is tried out, which has its stamp already. Then none serves who has waited long enough by now.
    fn may_time_out(&self) -> Option<Logged> {
        let logged = if self.nothing_proposed() && self.is_home() { Logged::Too } else { Logged::Not };
        self.is_ready().then_some(logged)
    }

    /// Gives up calls of clients of this node that nobody has answered long after their time, and those of which nobody will be
    /// able to tell whether they were answered.
    pub(crate) fn give_up_waiting(&mut self, now: Instant) -> Vec<(Waiter, Reply)> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let gives_up = |call: &Call| {
            let late = call.timeout_ms.is_some_and(|ms| now >= call.since.plus_ms(ms).plus_ms(PATIENCE_MS));
            let lost = call.doubt_since.is_some_and(|since| now >= since.plus_ms(DOUBT_MS_MAX));
            !call.is_here() && call.is_ours() && (late || lost)
        };
        let led = self.leads();
        let mut answers = Vec::new();
        for number in self.waiting.all(gives_up) {
            let call = self.waiting.remove(number).expect("it was just there");
            let sure = call.at == At::Parked && call.doubt_since.is_none();
            let reply = match sure {
                // Held back by scripts: nothing was there for it, as far as it could be asked.
                true if led => Reply::NilArray,
                true => no_quorum(),
                false => indoubt(),
            };
            answers.push((Waiter { wait: 0, ..call.waiter }, reply));
        }
        answers
    }
}

/// The command of a call, and where its name stands: behind its prefixes.
fn behind_prefixes(queued: &Queued) -> (&'static Command, usize) {
    let args: SmallVec<[&[u8]; 8]> = queued.args.iter().map(Vec::as_slice).collect();
    match queued.command.run {
        Run::Prefix(_) => prefix::parse(&args).map_or((queued.command, 0), |call| (call.command, call.at)),
        _ => (queued.command, 0),
    }
}

fn timeout_ms(queued: &Queued) -> Option<u64> {
    let args: SmallVec<[&[u8]; 8]> = queued.args.iter().map(Vec::as_slice).collect();
    blocking::wish(queued.command, &args)?.timeout_ms
}

/// Whether a read that may wait goes on to do so.
pub(crate) fn goes_on(waiter: &Waiter, reply: &Reply) -> bool {
    waiter.wait != 0 && is_nothing(reply)
}
