//! Serving connections: bytes in, requests to the core, replies out.

use super::caches::Trackers;
use super::conn::{Conn, Flushed, Taken};
use super::memory::follow_memory;
use super::monitor::Monitors;
use super::pause::{Paused, must_wait};
use super::publish::listen;
use super::slow::{Mark, Slow};
use super::{Conns, Driver, Sleeper};
use crate::admin::{latency, slowlog};
use crate::journal::Journal;
use crate::meters::{LaneMeters, Turn};
use crate::shared::Shared;
use crate::{admin, clock};
use base::{ClientId, Instant, LaneId};
use data::command::prefix;
use data::keyspace::NEAR_MAX;
use data::{Command, Reply};
use edge::{Call, EverywhereCall, ExecCall, Fate, Listens, Step, Tracking};
use node::{Lane, Now, Outbox, Queued, Request, Transaction};
use smallvec::SmallVec;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Driver {
    /// A readiness event of a connection.
    pub(super) fn on_ready(&mut self, place: usize, event: &mio::event::Event) {
        let Some(conn) = self.conns.get_mut(place) else { return };
        if event.is_writable() && conn.unwritten() > 0 {
            conn.queue_flush(place, &mut self.flush);
        }
        if event.is_readable() || event.is_read_closed() {
            conn.readable = true;
            conn.hung_up |= event.is_read_closed();
            if conn.session.waits().is_some() && (event.is_error() || event.is_write_closed()) {
                return self.close(place);
            }
            self.hang_up_if_waiting(place);
            self.take_turn(place);
        }
    }

    /// Gives those connections their turn that had more to do than the last one's share.
    pub(super) fn take_turns(&mut self) {
        let mut places = std::mem::take(&mut self.turns);
        for place in places.drain(..) {
            if let Some(conn) = self.conns.get_mut(place) {
                conn.queued_turn = false;
                self.take_turn(place);
            }
        }
        if self.turns.is_empty() {
            self.turns = places;
        }
    }

    /// Serves a connection its share: what was read before, else one read.
    fn take_turn(&mut self, place: usize) {
        let Some(conn) = self.conns.get_mut(place) else { return };
        if conn.queued_turn || !conn.wants_turn() || self.stopping {
            return;
        }
        if conn.unserved() >= conn.need_bytes.max(1) {
            self.serve_kept(place);
        } else {
            let mut buffer = std::mem::take(&mut self.buffer);
            self.read_and_serve(place, &mut buffer);
            self.buffer = buffer;
        }
        self.queue_turn(place);
    }

    pub(super) fn queue_turn(&mut self, place: usize) {
        let wants = |conn: &&mut Conn| !conn.queued_turn && conn.wants_turn();
        if let Some(conn) = self.conns.get_mut(place).filter(wants).filter(|_| !self.stopping) {
            conn.queued_turn = true;
            self.turns.push(place);
        }
    }

    fn read_and_serve(&mut self, place: usize, buffer: &mut [u8]) {
        let Some(conn) = self.conns.get_mut(place) else { return };
        match conn.read(buffer) {
            Taken::Dry => conn.readable = false,
            Taken::Ended => self.on_end(place),
            Taken::Bytes(n) => {
                conn.readable = n == buffer.len() || conn.hung_up;
                if conn.unserved() > 0 {
                    conn.keep(&buffer[..n]);
                    if conn.unserved() >= conn.need_bytes {
                        self.serve_kept(place);
                    } else {
                        conn.note_vitals(clock::boot());
                    }
                } else {
                    let used = self.serve(place, &buffer[..n]);
                    if let Some(conn) = self.conns.get_mut(place).filter(|_| used < n) {
                        conn.keep(&buffer[used..n]);
                    }
                }
            }
        }
    }

    /// The client sends no more; it may have shut down one direction only, and gets the replies it is owed.
    fn on_end(&mut self, place: usize) {
        let Some(conn) = self.conns.get_mut(place) else { return };
        (conn.closing, conn.readable) = (true, false);
        if conn.unwritten() == 0 && conn.pending() == 0 {
            self.close(place);
        }
    }

    /// Serves what was read before.
    fn serve_kept(&mut self, place: usize) {
        let Some(conn) = self.conns.get_mut(place) else { return };
        let (kept, from) = (std::mem::take(&mut conn.inbuf), std::mem::take(&mut conn.served));
        let used = self.serve(place, &kept[from..]);
        if let Some(conn) = self.conns.get_mut(place).filter(|_| from + used < kept.len()) {
            (conn.inbuf, conn.served) = (kept, from + used);
        }
    }

    /// Serves complete requests at the front of `bytes`, up to a turn's share; how many bytes they took.
    fn serve(&mut self, place: usize, bytes: &[u8]) -> usize {
        if self.conns.get(place).is_some_and(|conn| conn.memcached.is_some()) {
            return self.serve_memcached(place, bytes);
        }
        self.show_map(place);
        let (mut at, mut left) = (0, TURN_COST);
        loop {
            let (used, mut next) = self.serve_frames(place, &bytes[at..], &mut left);
            at += used;
            if let Next::Inline(frame, line_bytes) = next {
                let (used, behind) = self.serve_frames(place, &frame, &mut left);
                if used == 0 {
                    // What can't be served now stays a line.
                    return at;
                }
                at += line_bytes;
                next = if let Next::Done = behind { continue } else { behind };
            }
            match next {
                Next::Everywhere(call) => left = left.saturating_sub(self.everywhere(place, call)),
                Next::Done | Next::More | Next::Inline(..) => return at,
            }
        }
    }

    /// Serves frames up to one that is not for the connection's part of the lane alone.
    fn serve_frames(&mut self, place: usize, bytes: &[u8], left: &mut usize) -> (usize, Next) {
        let (mut core, conns, flush) = self.core(clock::now());
        let Some(conn) = conns.get_mut(place) else { return (bytes.len(), Next::Done) };
        let (mut used, mut next) = (0, Next::Done);
        let mut calls: Calls<'_> = SmallVec::new();
        conn.need_bytes = 0;
        while used < bytes.len() && *left > 0 && conn.may_go_on() && !core.holds_back(conn, &bytes[used..]) {
            let mut taken = 0;
            conn.session.note_memory(core.lane.is_out_of_memory());
            let step = conn.session.step(&bytes[used..], &mut taken, &mut conn.out);
            if let Step::Inline(frame) = step {
                next = Next::Inline(frame, taken);
                break;
            }
            if core.monitored {
                core.monitors.show(conn, &step, &bytes[used..used + taken]);
            }
            used += taken;
            *left = left.saturating_sub(cost(&step));
            if let Step::Request(call) = step {
                // Under a fence that is new to its shard, a read is logged too.
                let row = if call.under.is_some() { prefix::fence_row() } else { call.command };
                if core.no_room(row, &call.args) {
                    core.refuse_full(conn, call.command, call.seq);
                    continue;
                }
                calls.push(call);
                if calls.len() == NEAR_MAX {
                    core.requests(conn, &mut calls);
                }
                continue;
            }
            core.requests(conn, &mut calls);
            next = core.take(conn, step);
            if !matches!(next, Next::Done) {
                break;
            }
        }
        core.requests(conn, &mut calls);
        if !conn.waiting.is_empty() {
            // Others see what it waits for; what is answered is noted when it is written.
            conn.note_vitals(core.now.boot);
        }
        if conn.closing {
            used = bytes.len();
        }
        if !conn.out.is_empty() || conn.closing {
            conn.queue_flush(place, flush);
        }
        self.hang_up_if_waiting(place);
        (used, next)
    }

    /// What serves requests, beside the connections.
    pub(super) fn core(&mut self, now: Now) -> (Core<'_>, &mut Conns, &mut Vec<usize>) {
        self.turn.begin(now.boot);
        let core = Core {
            lane: &mut self.lane,
            out: &mut self.out,
            shared: &self.shared,
            id: self.id,
            journal: &self.journal,
            trackers: &mut self.trackers,
            monitors: &mut self.monitors,
            monitored: self.shared.monitors.load(Ordering::Relaxed) > 0,
            paused: &mut self.paused,
            pause: self.shared.pause.now(now.boot),
            sleepers: &mut self.sleepers,
            meters: &self.shared.meters.lanes[usize::from(self.id.0)],
            turn: &mut self.turn,
            slow: &mut self.slow,
            slower_than_ns: self.shared.settings.slower_than_ns(),
            timed_from_ns: self.shared.settings.timed_from_ns(),
            now,
        };
        (core, &mut self.conns, &mut self.flush)
    }

    /// Gives all replies of the outbox to their sessions. `ran_ns` is how long the writes among them ran.
    pub(super) fn deliver(&mut self, ran_ns: Option<u64>) {
        ran_ns.into_iter().for_each(|took_ns| latency::note(&self.shared, latency::COMMAND, took_ns));
        let slow_ns = ran_ns.filter(|ran| self.shared.settings.slower_than_ns().is_some_and(|least| *ran >= least));
        let mut slow_left = slow_ns.map_or(0, |_| self.shared.settings.slow_entries_max());
        let mut due = Vec::new();
        for (client, seq, reply) in std::mem::take(&mut self.out.replies) {
            let Some(place) = self.conns.place_of(client) else {
                self.answer_caller(client, reply);
                continue;
            };
            let Some(conn) = self.conns.get_mut(place) else { continue };
            if conn.session.waits() == Some(seq) {
                self.deliver_to_waiting(place, seq, reply);
                continue;
            }
            let meters = &self.shared.meters.lanes[usize::from(self.id.0)];
            let mark = release(&mut self.turn, meters, conn, seq, &reply);
            if let (Some(mark), Some(took_ns)) = (mark.filter(|_| slow_left > 0), slow_ns) {
                slow_left -= 1;
                slowlog::note(&self.shared, conn.number, self.slow.recall(mark), took_ns);
            }
            conn.on_reply_or_end(&self.shared.settings, seq, reply);
            conn.queue_flush(place, &mut self.flush);
            due.extend(conn.session.take_due().into_iter().map(|call| (place, call)));
        }
        if !due.is_empty() {
            for (place, call) in due {
                self.ask_everywhere(place, call);
            }
            self.deliver(None);
        }
    }

    /// Wakes the connections whose DEBUG SLEEP is over.
    pub(super) fn wake_sleepers(&mut self, now: Instant) {
        let due = self.sleepers.extract_if(.., |one| self.stopping || one.due() <= now);
        for Sleeper { since, client, seq, .. } in due.collect::<Vec<_>>() {
            let Some(conn) = self.conns.place_of(client).and_then(|place| self.conns.get_mut(place)) else { continue };
            (conn.asleep, conn.blocked) = (false, true);
            let slept_ns = now.since_ns(since);
            latency::note(&self.shared, latency::COMMAND, slept_ns);
            let mark = conn.waiting.iter().find(|asked| asked.seq == seq).and_then(|asked| asked.mark);
            if let Some(mark) =
                mark.filter(|_| self.shared.settings.slower_than_ns().is_some_and(|least| slept_ns >= least))
            {
                slowlog::note(&self.shared, conn.number, self.slow.recall(mark), slept_ns);
            }
            self.out.replies.push((client, seq, Reply::Ok));
        }
    }

    /// Writes to the clients; those that were held back go on if they can.
    pub(super) fn flush_all(&mut self, now: Instant) {
        let mut places = std::mem::take(&mut self.flush);
        for place in places.drain(..) {
            let Some(conn) = self.conns.get_mut(place) else { continue };
            conn.queued_flush = false;
            let flushed = conn.flush();
            conn.note_vitals(now);
            if flushed == Flushed::Gone || conn.is_done() {
                self.close(place);
                continue;
            }
            if flushed != Flushed::All && self.drop_if_slow(place, now) {
                continue;
            }
            let Some(conn) = self.conns.get_mut(place) else { continue };
            if flushed == Flushed::Enough {
                conn.queue_flush(place, &mut self.flush);
            }
            if !conn.asleep {
                conn.blocked = false;
            }
            self.queue_turn(place);
        }
        if self.flush.is_empty() {
            self.flush = places;
        }
    }
}

/// What a connection may cost in one turn; others wait so long.
pub(super) const TURN_COST: usize = 512;

/// What a step costs. A write is only written down for now.
fn cost(step: &Step<'_>) -> usize {
    match step {
        Step::Request(call) if call.command.is_write() => 1,
        Step::Request(_) => 4,
        Step::Exec(exec) => 1 + exec.commands.len(),
        Step::Admin(_) => 16,
        _ => 8,
    }
}

/// Requests of one connection that are given to the core together.
type Calls<'a> = SmallVec<[Call<'a>; NEAR_MAX]>;

/// What ends a batch of frames, beside their number.
enum Next {
    Done,
    /// More bytes must come first.
    More,
    /// An inline command, as the frame that means the same, and the bytes that it has as a line.
    Inline(Vec<u8>, usize),
    /// A message that other connections of the lane may get.
    Everywhere(EverywhereCall),
}

/// The core, with what counts its requests.
pub(super) struct Core<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) out: &'a mut Outbox,
    pub(super) shared: &'a Shared,
    pub(super) id: LaneId,
    pub(super) journal: &'a Journal,
    pub(super) trackers: &'a mut Trackers,
    monitors: &'a mut Monitors,
    /// Somebody on this node monitors.
    monitored: bool,
    paused: &'a mut Vec<ClientId>,
    pause: Paused,
    sleepers: &'a mut Vec<Sleeper>,
    pub(super) meters: &'a LaneMeters,
    pub(super) turn: &'a mut Turn,
    slow: &'a mut Slow,
    slower_than_ns: Option<u64>,
    /// What takes less is noted nowhere.
    timed_from_ns: Option<u64>,
    pub(super) now: Now,
}

impl Core<'_> {
    /// True if what stands at the front of the input must wait for the end of CLIENT PAUSE.
    pub(super) fn holds_back(&mut self, conn: &mut Conn, bytes: &[u8]) -> bool {
        if self.pause == Paused::Nothing || !must_wait(self.pause, conn, bytes) {
            return false;
        }
        conn.paused = true;
        self.paused.push(conn.handle);
        conn.note_vitals(self.now.boot);
        true
    }

    /// What a session asks for, unless that is a request for the core.
    fn take(&mut self, conn: &mut Conn, step: Step<'_>) -> Next {
        match step {
            Step::Exec(exec) => self.transaction(conn, exec),
            Step::Admin(call) => match admin::pause(call.command, &call.args) {
                Some(pause) => {
                    let sleeper = self.sleep(conn, &call, pause);
                    self.sleepers.push(sleeper);
                }
                None => self.admin_or_unblock(usize::from(self.id.0), conn, &call),
            },
            Step::Answered => {
                self.count_answered(conn);
                admin::note_session(self.shared, conn);
            }
            Step::Everywhere(call) => return Next::Everywhere(call),
            Step::Lock(call) => self.lock_call(conn, call),
            Step::Listens(changes) => {
                self.count_answered(conn);
                listen(self.lane, self.meters, conn, &changes);
            }
            Step::Reset { listens, tracking } => {
                self.count_answered(conn);
                self.reset(conn, &listens, tracking.as_deref());
                admin::note_session(self.shared, conn);
            }
            Step::NeedMore { need_at_least } => {
                conn.need_bytes = need_at_least;
                return Next::More;
            }
            Step::Blocked => conn.blocked = true,
            Step::Close => {
                self.count_answered(conn);
                conn.closing = true;
            }
            Step::Request(_) | Step::Inline(_) => unreachable!("these are taken before"),
        }
        Next::Done
    }

    /// Gives requests to the core, once what all of them will read has been brought near.
    fn requests(&mut self, conn: &mut Conn, calls: &mut Calls<'_>) {
        if calls.len() > 1 {
            let reads = calls.iter().filter(|call| !call.command.is_write());
            self.lane.bring_near(reads.filter_map(Call::first_key));
        }
        for call in calls.iter() {
            self.request(conn, call);
        }
        calls.clear();
    }

    /// A command for the core. What it answers at once is encoded while it is warm.
    pub(super) fn request(&mut self, conn: &mut Conn, call: &Call<'_>) {
        let fenced = call.under_fences();
        let (command, args) = match &fenced {
            Some((row, args)) => (*row, &args[..]),
            None => (call.command, &call.args[..]),
        };
        let request = Request { client: conn.handle, seq: call.seq, db: call.db, joins: call.joins, command, args };
        self.note_call(conn, call);
        let begun = self.slow.times(call.command, call.args.len(), self.timed_from_ns).then(clock::boot);
        match conn.session.cluster() {
            None => self.lane.on_request(self.now, request, self.out),
            Some(view) => self.request_of_cluster(view, call.place, request),
        }
        if !self.out.batches.is_empty() {
            super::scripts::run_brisk(self.lane, self.out, self.shared);
        }
        let mut waits = true;
        while self.out.replies.last().is_some_and(|(client, ..)| *client == conn.handle) {
            let (_, seq, reply) = self.out.replies.pop().expect("it was looked at");
            if seq == call.seq {
                waits = false;
                self.count(call.command.id, &reply);
            } else {
                release(self.turn, self.meters, conn, seq, &reply);
            }
            conn.on_reply(seq, reply);
        }
        if waits {
            let mark = self.slower_than_ns.map(|_| self.slow.mark(&call.args));
            conn.waiting.push_back(self.turn.asked(call.seq, call.command.id, mark, Box::default()));
        } else if let Some(begun) = begun {
            let took_ns = clock::boot().since_ns(begun);
            latency::note(self.shared, latency::event_of(call.command), took_ns);
            self.note_if_slow(conn, &call.args, took_ns);
        }
    }

    fn transaction(&mut self, conn: &mut Conn, exec: ExecCall) {
        let admin = exec.admin.iter().map(|(at, one)| {
            let args: Vec<&[u8]> = one.args.iter().map(Vec::as_slice).collect();
            (*at, admin::run(self.shared, conn, one.command, &args))
        });
        let replies = admin.collect();
        exec.admin.iter().for_each(|(_, one)| self.follow_memory(one.command));
        conn.session.on_exec_admin(exec.seq, replies);
        let id = conn.session.last().0.map_or(0, |exec| exec.id);
        let bytes = exec.commands.iter().flat_map(|one| &one.args).map(|arg| arg.len() as u64).sum();
        if self.is_refused_room(bytes) {
            self.meters.command(id).rejected.add(1);
            return conn.session.on_reply(exec.seq, admin::disk_full(), &mut conn.out);
        }
        self.note_exec(conn, &exec);
        let inner = exec.commands.iter().chain(exec.admin.iter().map(|(_, one)| one)).map(|one| one.command.id);
        let mark = self.slower_than_ns.map(|_| self.slow.mark(&[b"EXEC"]));
        conn.waiting.push_back(self.turn.asked(exec.seq, id, mark, inner.collect()));
        let queued = exec.commands.into_iter().map(|one| Queued { db: one.db, command: one.command, args: one.args });
        let ExecCall { seq, once, fences, watched, .. } = exec;
        let transaction = Transaction { client: conn.handle, seq, once, fences, watched, commands: queued.collect() };
        self.lane.on_transaction(self.now, transaction, self.out);
    }

    /// A command for the binary itself.
    pub(super) fn admin(&mut self, conn: &mut Conn, call: &Call<'_>) {
        conn.note_vitals(self.now.boot);
        let begun = clock::boot();
        let sub = call.args.get(1).map(|word| word.to_ascii_lowercase());
        let reply = match (call.command.name, sub.as_deref()) {
            ("client", Some(b"tracking")) => self.track(conn, &call.args),
            ("monitor", _) => {
                self.monitors.begin(self.shared, conn);
                Reply::Ok
            }
            _ => admin::run(self.shared, conn, call.command, &call.args),
        };
        self.follow_memory(call.command);
        self.count(call.command.id, &reply);
        let took_ns = clock::boot().since_ns(begun);
        latency::note(self.shared, latency::event_of(call.command), took_ns);
        self.note_if_slow(conn, &call.args, took_ns);
        conn.session.on_reply(call.seq, reply, &mut conn.out);
    }

    /// What CONFIG has set counts for the next command already.
    fn follow_memory(&mut self, command: &Command) {
        if command.name == "config" {
            follow_memory(self.lane, self.shared, self.id);
        }
    }

    /// RESET: what the lane knows of the connection is forgotten.
    fn reset(&mut self, conn: &Conn, listens: &[Listens], tracking: Option<&Tracking>) {
        listen(self.lane, self.meters, conn, listens);
        self.trackers.follow((&mut *self.lane, self.shared, self.id), conn.handle, tracking, None);
        self.monitors.end(self.shared, conn);
    }

    /// DEBUG SLEEP: the connection, and nobody else, waits.
    fn sleep(&mut self, conn: &mut Conn, call: &Call<'_>, pause: Duration) -> Sleeper {
        conn.asleep = true;
        let mark = Some(self.slow.mark(&call.args));
        conn.waiting.push_back(self.turn.asked(call.seq, call.command.id, mark, Box::default()));
        Sleeper { since: self.now.boot, pause, client: conn.handle, seq: call.seq }
    }

    fn note_if_slow(&self, conn: &Conn, args: &[&[u8]], took_ns: u64) {
        if self.slower_than_ns.is_some_and(|least| took_ns >= least) {
            slowlog::note(self.shared, conn.number, slowlog::shortened(args.iter().copied()), took_ns);
        }
    }

    /// A command was answered in the turn that asked.
    fn count(&mut self, id: u16, reply: &Reply) {
        self.turn.answered(id);
        if let Reply::Error(why) = reply {
            self.meters.failed(id, why);
        }
    }

    /// The session answered its last command.
    fn count_answered(&mut self, conn: &Conn) {
        match conn.session.last() {
            (Some(command), Fate::Refused) => self.meters.command(command.id).rejected.add(1),
            (None, _) => self.meters.unknown.add(1),
            (Some(_), Fate::Queued) => {}
            (Some(command), fate) => {
                self.turn.answered(command.id);
                self.meters.command(command.id).failed.add(u64::from(fate == Fate::Failed));
                if self.slower_than_ns == Some(0) {
                    // The arguments may be secret, and the time is none.
                    self.note_if_slow(conn, &[command.name.as_bytes()], 0);
                }
            }
        }
    }
}

/// The reply to a request that had to wait has come.
fn release(turn: &mut Turn, meters: &LaneMeters, conn: &mut Conn, seq: u64, reply: &Reply) -> Option<Mark> {
    let mut asked = conn.asked(seq)?;
    match reply {
        Reply::Error(why) => meters.failed(asked.id, why),
        Reply::Array(replies) => {
            let inner = asked.inner.iter().zip(replies);
            inner
                .filter(|(_, reply)| matches!(reply, Reply::Error(_)))
                .for_each(|(id, _)| meters.command(*id).failed.add(1));
        }
        _ => {}
    }
    if !matches!(reply, Reply::Array(_)) {
        // A transaction that was not executed: its commands didn't run.
        asked.inner = Box::default();
    }
    turn.released(&asked);
    asked.mark
}
