//! Turns of lanes and clients: what the binary's driver does, with the ledgers looking on.

use super::client::Client;
use super::fences::{can_be_judged, names_a_key, words};
use super::ledger::{Effect, Pending, What};
use super::machine::Mail;
use super::{Stopped, World};
use crate::answer::Expected;
use crate::oracle::Asked;
use crate::oracle::fences::Fences;
use crate::workload::Workload;
use base::record::{Payload, Record};
use base::rng::Rng;
use base::{ClientId, ShardId, Slot};
use data::Run;
use data::command::{Scatter, prefix};
use data::fence::as_fences;
use edge::Step;
use node::{Event, LaneMessage, Now, Queued, Request, Transaction};
use std::collections::BTreeSet;

/// Parts of a scattered command that have taken effect.
#[derive(Debug)]
pub(crate) struct Gather {
    wanted: usize,
    parts: Vec<(ShardId, Expected)>,
}

/// A request as a lane is about to see it.
pub(crate) struct Coming {
    shard: ShardId,
    pending: Pending,
    /// A part is executed at once unless it must be logged; its answer does not show.
    part_is_logged: bool,
}

impl World {
    /// A client sends, and its lane takes what came.
    pub(crate) fn client_turn(&mut self) -> Result<(), Stopped> {
        while (self.clients.len() as u64) < self.client_count {
            let id = ClientId(self.next_client);
            self.next_client += 1;
            self.clients.insert(id, Client::new(id));
        }
        let at = usize::try_from(self.rng.below(self.clients.len() as u64)).expect("few clients");
        let id = *self.clients.keys().nth(at).expect("the draw is below the count");
        if self.clients[&id].session.waits().is_some() && self.rng.one_in(24) {
            self.end_a_wait(id);
            let lane = self.lane_of_client(id);
            return self.lane_turn(lane);
        }
        let count = 1 + self.rng.below(self.pipeline_max);
        if self.clients[&id].waiting() < 200 {
            for _ in 0..count {
                self.ask(id);
            }
        }
        self.serve(id);
        let lane = self.lane_of_client(id);
        self.lane_turn(lane)
    }

    fn ask(&mut self, id: ClientId) {
        if self.rng.one_in(40) {
            return self.ask_about_fences(id);
        }
        let Self { rng, workload, clients, shape, holders, .. } = self;
        let client = clients.get_mut(&id).expect("it was just chosen");
        // The session refuses to flush under fences.
        let may_flush = !client.will_be_fenced;
        let flushes = |asked: &Asked| asked.name().starts_with("flush");
        let draw = |workload: &mut Workload, rng: &mut Rng, db, group, keyless| loop {
            let asked = workload.draw(rng, db, group, keyless);
            if may_flush || !flushes(&asked) {
                break asked;
            }
        };
        let plain =
            |db, text: &str| Asked { db, words: text.split(' ').map(|word| word.as_bytes().to_vec()).collect() };
        if rng.one_in(40) {
            let db = u8::try_from(rng.below(u64::from(crate::workload::DATABASES))).expect("few databases");
            client.send(plain(client.db, &format!("select {db}")));
            client.db = db;
        } else if rng.one_in(60) {
            client.send(plain(client.db, if rng.one_in(2) { "ping" } else { "unwatch" }));
        } else if rng.one_in(5) {
            let asked =
                if rng.one_in(2) { workload.wait(rng, client.db, None) } else { workload.serve(rng, client.db, None) };
            client.send(if rng.one_in(4) { holders.put_before(rng, asked) } else { asked });
        } else if rng.one_in(5) && !client.will_be_fenced {
            // Whoever waits to fill is looked at with each change of the key, and told at once if his fence is too old: that is
            // earlier than the model has it.
            client.send(workload.fill(rng, client.db, None));
        } else if rng.one_in(10) {
            self.ask_once(id);
        } else if workload.begins_transaction(rng) {
            let group = rng.below(crate::workload::GROUPS);
            if rng.one_in(2) {
                client.send(workload.watch(rng, client.db));
            }
            client.send(plain(client.db, "multi"));
            let fences = if rng.one_in(4) { holders.of_transaction(rng) } else { Vec::new() };
            let mut judged = false;
            for _ in 0..rng.below(5) {
                let mut asked = match rng.below(8) {
                    0 => workload.wait(rng, client.db, Some(group)),
                    1 | 2 => workload.serve(rng, client.db, Some(group)),
                    3 => workload.fill(rng, client.db, Some(group)),
                    _ => draw(workload, rng, client.db, Some(group), shape.shards == 1),
                };
                judged |= names_a_key(&asked);
                if rng.one_in(3) && can_be_judged(&asked) {
                    asked.words.splice(0..0, words(&fences));
                }
                client.send(asked);
            }
            let mut end = plain(client.db, if rng.one_in(8) { "discard" } else { "exec" });
            if judged && end.name() == "exec" && rng.one_in(2) {
                end.words.splice(0..0, words(&fences));
            }
            client.send(end);
        } else {
            let asked = draw(workload, rng, client.db, None, true);
            client.send(if rng.one_in(8) { holders.put_before(rng, asked) } else { asked });
        }
    }

    pub(crate) fn lane_of_client(&self, id: ClientId) -> usize {
        usize::try_from(id.0 % self.machine.lanes.len() as u64).expect("few lanes")
    }

    /// The session takes what its client has sent.
    pub(crate) fn serve(&mut self, id: ClientId) {
        let input = std::mem::take(&mut self.clients.get_mut(&id).expect("a client is served").input);
        let mut at = 0;
        while at < input.len() {
            let mut used = 0;
            let client = self.clients.get_mut(&id).expect("nobody leaves in a turn");
            let step = client.session.step(&input[at..], &mut used, &mut client.output);
            match step {
                Step::Request(call) => {
                    let asked = client.taken(call.seq, call.command.name, call.db, &call.args);
                    let fenced = call.under_fences();
                    let asked = client.under_fences(asked, fenced.as_ref().map(|(_, args)| &args[..]));
                    let (command, args) = match &fenced {
                        Some((row, args)) => (*row, &args[..]),
                        None => (call.command, &call.args[..]),
                    };
                    let (seq, db, joins) = (call.seq, call.db, call.joins);
                    self.on_request(Request { client: id, seq, db, joins, command, args }, asked);
                }
                Step::Exec(exec) => {
                    let (watches, commands, mut fences) = client.taken_exec(exec.seq);
                    fences.sort();
                    let mut told: Fences =
                        as_fences(&exec.fences).iter().map(|one| (one.lock.to_vec(), one.number)).collect();
                    told.sort();
                    assert_eq!(told, fences, "a_transaction_goes_under_all_its_fences");
                    self.watches_of_execs.insert((id, exec.seq), watches);
                    let queued = exec.commands.into_iter().map(|one| Queued {
                        db: one.db,
                        command: one.command,
                        args: one.args,
                    });
                    let queued: Vec<Queued> = queued.collect();
                    let same = queued.iter().map(|one| &one.args).eq(commands.iter().map(|asked| &asked.words));
                    assert!(same, "a_transaction_holds_what_was_queued");
                    let transaction = Transaction {
                        client: id,
                        seq: exec.seq,
                        once: exec.once,
                        fences: exec.fences,
                        watched: exec.watched,
                        commands: queued,
                    };
                    self.on_transaction(transaction);
                }
                Step::Answered => client.answered_here(),
                Step::Blocked => break,
                Step::NeedMore { .. }
                | Step::Inline(_)
                | Step::Close
                | Step::Admin(_)
                | Step::Everywhere(_)
                | Step::Lock(_)
                | Step::Listens(_)
                | Step::Reset { .. } => {
                    panic!("whole commands of the workload were sent, and the session says {step:?}")
                }
            }
            at += used;
        }
        let client = self.clients.get_mut(&id).expect("nobody leaves in a turn");
        client.input.splice(0..0, input[at..].iter().copied());
    }

    fn on_request(&mut self, request: Request<'_>, asked: Asked) {
        let (id, seq) = (request.client, request.seq);
        self.tally.command(request.command.name);
        let lane = self.lane_of_client(id);
        let now = self.now();
        if request.command.is_write() && self.machine.disk_full {
            return self.refuse(id, seq);
        }
        let mut coming = Vec::new();
        match request.command.run {
            Run::Scatter(scatter) => {
                let routing = self.machine.routing;
                let shards: Vec<ShardId> = match scatter {
                    Scatter::Scan => vec![shard_of_cursor(&asked, routing)],
                    _ => routing.shards().collect(),
                };
                let here = |shard: &ShardId| usize::from(routing.lane_of(*shard).0) == lane;
                shards.iter().copied().filter(here).for_each(|shard| self.end_script_of(shard));
                self.gathers.insert((id, seq), Gather { wanted: shards.len(), parts: Vec::new() });
                for shard in shards.into_iter().filter(here) {
                    let logged = request.command.is_write() || request.joins || self.must_log(shard, id);
                    let pending = Pending::new((id, seq), true, What::Command(asked.clone()));
                    coming.push(Coming { shard, pending, part_is_logged: logged });
                }
            }
            _ => {
                let shards: BTreeSet<ShardId> = prefix::key_positions(request.command, request.args)
                    .map(|at| self.machine.routing.shard_of(Slot::of(request.args[at])))
                    .collect();
                // A count of keys that makes no sense names none.
                let shard = shards.first().copied().unwrap_or(self.machine.routing.shard_of(Slot(0)));
                if shards.len() > 1 {
                    self.tally.event("cross-shard refusals");
                    self.client(id).expect(seq, Expected::ErrorWith("CROSSSHARD"));
                } else if usize::from(self.machine.routing.lane_of(shard).0) == lane {
                    let what = self.ledgers[usize::from(shard.0)].what(now, asked);
                    let pending = Pending::new((id, seq), false, what);
                    coming.push(Coming { shard, pending, part_is_logged: false });
                }
            }
        }
        self.call(lane, now, coming, |lane, out| lane.on_request(now, request, out));
    }

    /// A part of a scattered read is logged if its shard is not ready, or if its client waits for a logged read there.
    fn must_log(&self, shard: ShardId, client: ClientId) -> bool {
        let ledger = &self.ledgers[usize::from(shard.0)];
        !ledger.ready || ledger.holds_one_of(client)
    }

    fn on_transaction(&mut self, transaction: Transaction) {
        let (id, seq) = (transaction.client, transaction.seq);
        self.tally.command("exec");
        let (lane, now) = (self.lane_of_client(id), self.now());
        if self.machine.disk_full {
            return self.refuse(id, seq);
        }
        let routing = self.machine.routing;
        let mut shards: BTreeSet<ShardId> = transaction.watched.iter().map(|one| one.shard).collect();
        for one in &transaction.commands {
            let args: Vec<&[u8]> = one.args.iter().map(Vec::as_slice).collect();
            let keys = one.command.keys.positions(&args).map(|at| routing.shard_of(Slot::of(&one.args[at])));
            shards.extend(keys);
        }
        if shards.len() > 1 {
            self.tally.event("cross-shard refusals");
            self.client(id).expect(seq, Expected::ErrorWith("CROSSSHARD"));
        }
        let shard = shards.first().copied().unwrap_or(routing.shard_of(Slot(0)));
        let mut coming = Vec::new();
        if shards.len() < 2 && usize::from(routing.lane_of(shard).0) == lane {
            let pending = self.pending_exec(&transaction);
            coming.push(Coming { shard, pending, part_is_logged: false });
        }
        self.call(lane, now, coming, |lane, out| lane.on_transaction(now, transaction, out));
    }

    fn pending_exec(&mut self, transaction: &Transaction) -> Pending {
        let Transaction { client, seq, once, fences, commands, .. } = transaction;
        let fences = as_fences(fences).iter().map(|one| (one.lock.to_vec(), one.number)).collect();
        let once = once.as_ref().map(|id| id.as_id().to_string());
        let watches = self.watches_of_execs.remove(&(*client, *seq)).expect("an EXEC reaches its shard once");
        let commands = commands.iter().map(|one| Asked { db: one.db, words: one.args.clone() }).collect();
        Pending::new((*client, *seq), false, What::Exec { once, fences, watches, commands })
    }

    /// The driver refuses a write for lack of space.
    fn refuse(&mut self, id: ClientId, seq: u64) {
        self.tally.event("refused for lack of space");
        let client = self.client(id);
        client.expect(seq, Expected::ErrorWith("MISCONF"));
        let refusal = data::Reply::Error(data::Refused::Text("MISCONF no space left".to_owned()));
        client.session.on_reply(seq, refusal, &mut client.output);
    }

    fn on_mail(&mut self, lane: usize, mail: Mail) {
        if let Mail::Lane(LaneMessage::Part { shard, .. }) = &mail {
            self.end_script_of(*shard);
        }
        let now = self.now();
        match mail {
            Mail::Persisted(envelopes) => {
                for envelope in envelopes {
                    self.call(lane, now, Vec::new(), |lane, out| lane.on_persisted(now, envelope, out));
                }
            }
            Mail::Lane(message) => {
                let coming = match &message {
                    LaneMessage::Request { shard, request, .. } | LaneMessage::Part { shard, request, .. } => {
                        let part = matches!(message, LaneMessage::Part { .. });
                        let asked = Asked { db: request.queued.db, words: request.queued.args.clone() };
                        let queued = &request.queued.command;
                        let logged =
                            part && (queued.is_write() || request.joins || self.must_log(*shard, request.client));
                        let what = self.ledgers[usize::from(shard.0)].what(now, asked);
                        let pending = Pending::new((request.client, request.seq), part, what);
                        vec![Coming { shard: *shard, pending, part_is_logged: logged }]
                    }
                    LaneMessage::Transaction { shard, transaction, .. } => {
                        let pending = self.pending_exec(transaction);
                        vec![Coming { shard: *shard, pending, part_is_logged: false }]
                    }
                    LaneMessage::LetGo { client, seq, ending, .. } => {
                        let (client, seq, ending) = (*client, *seq, *ending);
                        self.let_go_in(lane, client, seq, ending);
                        Vec::new()
                    }
                    LaneMessage::Reply { .. }
                    | LaneMessage::PartReply { .. }
                    | LaneMessage::Roster(_)
                    | LaneMessage::FenceBound(_)
                    | LaneMessage::SlotFloor(_) => Vec::new(),
                    LaneMessage::Everywhere { .. } | LaneMessage::EverywhereAnswer { .. } => Vec::new(),
                    LaneMessage::Lock { .. } | LaneMessage::ForgetLocks { .. } => {
                        panic!("nobody_asks_for_locks_here: {message:?}")
                    }
                };
                self.call(lane, now, coming, |lane, out| lane.on_lane_message(now, message, out));
            }
        }
    }

    /// Calls a lane, and tells the ledgers what it did.
    pub(crate) fn call(
        &mut self,
        lane: usize,
        now: Now,
        coming: Vec<Coming>,
        call: impl FnOnce(&mut node::Lane, &mut node::Outbox),
    ) {
        let out = &mut self.machine.outs[lane];
        let (replies, sends) = (out.replies.len(), out.sends.len());
        call(&mut self.machine.lanes[lane], out);
        self.run_scripts(lane, now);
        let out = &self.machine.outs[lane];
        let mut answered: BTreeSet<(ClientId, u64)> = out.replies[replies..].iter().map(|one| (one.0, one.1)).collect();
        answered.extend(out.sends[sends..].iter().filter_map(|(_, message)| match message {
            LaneMessage::Reply { client, seq, .. } => Some((*client, *seq)),
            _ => None,
        }));
        self.settle_held(lane, now, &answered);
        for Coming { shard, pending, part_is_logged } in coming {
            let at_once =
                if pending.part { !part_is_logged } else { answered.contains(&(pending.client, pending.seq)) };
            let ledger = &mut self.ledgers[usize::from(shard.0)];
            if at_once {
                let effect = ledger.read(now, pending);
                self.on_effect(shard, effect);
            } else {
                ledger.arrive(pending);
            }
        }
        self.observe(lane, now);
        for (client, seq) in answered {
            for shard in 0..self.ledgers.len() {
                let over = self.ledgers[shard].time_is_over_before_it_is_told(now, client, seq);
                let over = over.or_else(|| self.ledgers[shard].time_is_over_held_back(now, client, seq));
                if let Some(effect) = over {
                    self.tally.event("waits timed out");
                    self.on_effect(ShardId(u16::try_from(shard).expect("few shards")), effect);
                }
            }
        }
    }

    /// Events and new entries of a lane.
    fn observe(&mut self, lane: usize, now: Now) {
        for event in std::mem::take(&mut self.machine.outs[lane].events) {
            match event {
                Event::Elected { shard, term } => self.ledgers[usize::from(shard.0)].elect(now, term),
                Event::Ready { shard, .. } => self.ledgers[usize::from(shard.0)].ready = true,
                Event::Applied { shard, index, commands } => {
                    for effect in self.ledgers[usize::from(shard.0)].apply(index, commands) {
                        self.on_effect(shard, effect);
                    }
                }
                Event::PeerMisbehaved { peer, what } => panic!("a_node_alone_has_no_peers: {peer} sent {what}"),
                Event::Regrouped { .. } | Event::LocksReady { .. } => {}
                Event::Evicted { keys, .. } => self.tally.events_by("keys evicted", keys as u64),
                Event::Deposed { shard, .. } => panic!("a_node_alone_leads: shard {shard} was deposed"),
                Event::ClockOff { .. } => panic!("a_node_alone_has_the_time: {event:?}"),
                Event::SnapshotSent { .. } | Event::SnapshotInstalled { .. } => {
                    panic!("a_node_alone_gets_its_state_from_its_log: {event:?}")
                }
                Event::BadEntry { shard, index } => panic!("entry {index} of shard {shard} can't be read"),
            }
        }
        let mut evictions = false;
        let out = &mut self.machine.outs[lane];
        for write in &out.raft.writes[self.machine.seen_writes[lane]..] {
            if let Record::Append { shard, index, payload: Payload::Data(entry), .. } = &write.record {
                evictions |= self.ledgers[usize::from(shard.0)].propose(now, *index, entry.clone());
            }
        }
        self.machine.seen_writes[lane] = out.raft.writes.len();
        if evictions {
            self.keys_go_only_when_there_is_too_much();
        }
    }

    pub(super) fn on_effect(&mut self, shard: ShardId, effect: Effect) {
        let Effect { client, seq, part, expected, watched } = effect;
        self.done += 1;
        if !self.clients.contains_key(&client) {
            return;
        }
        let expected = if part {
            let gather = self.gathers.get_mut(&(client, seq)).expect("a part has its whole");
            gather.parts.push((shard, expected));
            if gather.parts.len() < gather.wanted {
                return;
            }
            merge(self.gathers.remove(&(client, seq)).expect("it was just there").parts)
        } else {
            expected
        };
        let client = self.client(client);
        client.watches.extend(watched);
        client.expect(seq, expected);
    }

    /// A lane's turn: mail, timers, the end of the turn, and the replies.
    pub(crate) fn lane_turn(&mut self, lane: usize) -> Result<(), Stopped> {
        let waiting = self.machine.mail[lane].len();
        for _ in 0..waiting {
            let mail = self.machine.mail[lane].pop_front().expect("it was counted");
            self.on_mail(lane, mail);
        }
        let now = self.now();
        if self.machine.deadline(lane, now) {
            self.call(lane, now, Vec::new(), |lane, out| lane.on_timer(now, out));
        }
        self.end_turn(lane)?;
        let blocked: Vec<ClientId> =
            self.clients.values().filter(|one| !one.input.is_empty()).map(|one| one.id).collect();
        for id in blocked {
            if self.lane_of_client(id) == lane {
                self.serve(id);
            }
        }
        self.end_turn(lane)
    }

    pub(crate) fn end_turn(&mut self, lane: usize) -> Result<(), Stopped> {
        loop {
            let now = self.now();
            self.share_memory(lane);
            self.call(lane, now, Vec::new(), |lane, out| lane.on_turn_end(now, out));
            self.deliver(lane);
            for (to, message) in std::mem::take(&mut self.machine.outs[lane].sends) {
                self.machine.mail[usize::from(to.0)].push_back(Mail::Lane(message));
            }
            let steps = std::mem::take(&mut self.machine.outs[lane].snapshots);
            self.machine.hand_to_keeper(steps);
            let writes = std::mem::take(&mut self.machine.outs[lane].raft.writes);
            self.machine.seen_writes[lane] = 0;
            if writes.is_empty() {
                return Ok(());
            }
            let released = self.machine.persist(&mut self.rng, lane, writes)?;
            let now = self.now();
            for envelope in released {
                self.call(lane, now, Vec::new(), |lane, out| lane.on_persisted(now, envelope, out));
            }
        }
    }

    fn deliver(&mut self, lane: usize) {
        for (id, seq, reply) in std::mem::take(&mut self.machine.outs[lane].replies) {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            client.session.on_reply(seq, reply, &mut client.output);
        }
        for client in self.clients.values_mut() {
            client.replies_are_those_of_the_model(&mut self.tally.events);
            for (db, key, token) in std::mem::take(&mut client.given) {
                self.workload.note_token(db, key, token);
            }
        }
        self.settle_promises();
    }

    fn client(&mut self, id: ClientId) -> &mut Client {
        self.clients.get_mut(&id).expect("a client that waits is there")
    }
}

/// What a scattered command must be answered, from what its shards do.
fn merge(mut parts: Vec<(ShardId, Expected)>) -> Expected {
    parts.sort_by_key(|(shard, _)| *shard);
    let mut parts = parts.into_iter().map(|(_, expected)| expected);
    let first = parts.next().expect("there is a shard");
    parts.fold(first, |sum, one| match (sum, one) {
        (Expected::Between(a, b), Expected::Between(c, d)) => Expected::Between(a + c, b + d),
        (Expected::Keys(a), Expected::Keys(b)) => Expected::Keys(a.into_iter().chain(b).collect()),
        (Expected::KeyOf(a), Expected::KeyOf(b)) => Expected::KeyOf(a.into_iter().chain(b).collect()),
        (sum, one) => {
            assert_eq!(sum, one, "shards agree");
            sum
        }
    })
}

fn shard_of_cursor(asked: &Asked, routing: node::Routing) -> ShardId {
    let cursor: u64 = String::from_utf8_lossy(&asked.words[1]).parse().expect("the workload sends numbers");
    routing.shard_of(Slot(u16::try_from(cursor >> 32).expect("the workload sends slots")))
}
