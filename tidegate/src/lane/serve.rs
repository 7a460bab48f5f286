//! Serving connections: bytes in, requests to the core, replies out.

use super::Driver;
use super::Sleeper;
use super::conn::{Conn, Flushed, Taken};
use super::slow::{Mark, Slow};
use crate::admin::slowlog;
use crate::clients::Card;
use crate::journal::Journal;
use crate::meters::{LaneMeters, Turn};
use crate::shared::{Endpoint, Shared, lock};
use crate::{admin, clock, log};
use base::{ClientId, Instant};
use data::keyspace::NEAR_MAX;
use data::{Command, Reply};
use edge::{Call, ExecCall, Fate, Session, SessionConfig, Step};
use mio::{Interest, Token};
use node::{Lane, Now, Outbox, Queued, Request, Transaction};
use smallvec::SmallVec;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Driver {
    /// A new connection of this lane.
    pub(super) fn admit(&mut self, endpoint: Endpoint, stream: std::net::TcpStream) {
        let (Ok(addr), Ok(laddr)) = (stream.peer_addr(), stream.local_addr()) else {
            self.mailbox().clients.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        if let Err(error) = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)) {
            log::warn("lane", "a connection can't be set up", &[("addr", &addr), ("error", &error)]);
            self.mailbox().clients.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let number = self.shared.next_client.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.accepted.fetch_add(1, Ordering::Relaxed);
        let cluster = (endpoint == Endpoint::Cluster).then(|| self.shared.map.load_full());
        let config = SessionConfig { requirepass: self.shared.requirepass.clone(), cluster };
        let session = Session::new(ClientId(number), config);
        let stream = mio::net::TcpStream::from_std(stream);
        let place = self.conns.insert(|handle| Conn::new(handle, number, stream, session));
        let conn = self.conns.get_mut(place).expect("it was just put there");
        let (handle, vitals, now) = (conn.handle, conn.vitals.clone(), clock::boot());
        conn.note_vitals(now);
        let descriptor = conn.stream.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut conn.stream, Token(place), interest) {
            log::warn("lane", "a connection can't be polled", &[("addr", &addr), ("error", &error)]);
            self.close(place);
            return;
        }
        let card = Card {
            lane: usize::from(self.id.0),
            handle,
            addr,
            laddr,
            since: now,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            descriptor,
            vitals,
        };
        lock(&self.shared.clients).insert(number, card);
    }

    /// A readiness event of a connection.
    pub(super) fn on_ready(&mut self, place: usize, event: &mio::event::Event) {
        let Some(conn) = self.conns.get_mut(place) else { return };
        if event.is_writable() && conn.unwritten() > 0 {
            conn.queue_flush(place, &mut self.flush);
        }
        if event.is_readable() || event.is_read_closed() {
            conn.readable = true;
            conn.hung_up |= event.is_read_closed();
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

    fn queue_turn(&mut self, place: usize) {
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
        if conn.unwritten() == 0 && conn.session.pending() == 0 {
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
        self.show_map(place);
        let (mut at, mut left) = (0, TURN_COST);
        loop {
            let (used, inline) = self.serve_frames(place, &bytes[at..], &mut left);
            at += used;
            let Some((frame, line_bytes)) = inline else { return at };
            // What can't be served now stays a line.
            if self.serve_frames(place, &frame, &mut left).0 == 0 {
                return at;
            }
            at += line_bytes;
        }
    }

    /// Serves frames up to an inline command, which it gives back as the frame that means the same, and the bytes it
    /// has as a line.
    fn serve_frames(&mut self, place: usize, bytes: &[u8], left: &mut usize) -> (usize, Option<(Vec<u8>, usize)>) {
        let Driver { conns, lane, out, shared, flush, id, journal, turn, slow, sleepers, .. } = self;
        let Some(conn) = conns.get_mut(place) else { return (bytes.len(), None) };
        let now = clock::now();
        turn.begin(now.boot);
        let meters = &shared.meters.lanes[usize::from(id.0)];
        let slower_than_ns = shared.settings.slower_than_ns();
        let mut core = Core { lane, out, shared, meters, turn, slow, slower_than_ns, now };
        let (mut used, mut inline) = (0, None);
        let mut calls: Calls<'_> = SmallVec::new();
        conn.need_bytes = 0;
        while used < bytes.len() && *left > 0 && conn.may_go_on() {
            let mut taken = 0;
            let step = conn.session.step(&bytes[used..], &mut taken, &mut conn.out);
            if let Step::Inline(frame) = step {
                inline = Some((frame, taken));
                break;
            }
            used += taken;
            *left = left.saturating_sub(cost(&step));
            let step = match step {
                Step::Request(call) if no_room(journal, call.command, &call.args) => {
                    core.refuse_full(conn, call.command, call.seq);
                    continue;
                }
                Step::Request(call) => {
                    calls.push(call);
                    if calls.len() == NEAR_MAX {
                        core.requests(conn, &mut calls);
                    }
                    continue;
                }
                other => other,
            };
            core.requests(conn, &mut calls);
            match step {
                Step::Exec(exec) => core.transaction(conn, exec, journal),
                Step::Admin(call) => match admin::pause(call.command, &call.args) {
                    Some(pause) => sleepers.push(core.sleep(conn, &call, pause)),
                    None => core.admin(conn, &call),
                },
                Step::Answered => {
                    core.count_answered(conn);
                    admin::note_session(shared, conn);
                }
                Step::NeedMore { need_at_least } => {
                    conn.need_bytes = need_at_least;
                    break;
                }
                Step::Blocked => conn.blocked = true,
                Step::Close => {
                    core.count_answered(conn);
                    conn.closing = true;
                }
                Step::Request(_) | Step::Inline(_) => unreachable!("these were taken above"),
            }
        }
        core.requests(conn, &mut calls);
        if !conn.waiting.is_empty() {
            // Others see what it waits for; what is answered is noted when it is written.
            conn.note_vitals(now.boot);
        }
        if conn.closing {
            used = bytes.len();
        }
        if !conn.out.is_empty() || conn.closing {
            conn.queue_flush(place, flush);
        }
        (used, inline)
    }

    /// Gives all replies of the outbox to their sessions. `ran_ns` is how long the writes among them ran.
    pub(super) fn deliver(&mut self, ran_ns: Option<u64>) {
        let slow_ns = ran_ns.filter(|ran| self.shared.settings.slower_than_ns().is_some_and(|least| *ran >= least));
        let mut slow_left = slow_ns.map_or(0, |_| self.shared.settings.slow_entries_max());
        for (client, seq, reply) in std::mem::take(&mut self.out.replies) {
            let Some(place) = self.conns.place_of(client) else { continue };
            let Some(conn) = self.conns.get_mut(place) else { continue };
            let meters = &self.shared.meters.lanes[usize::from(self.id.0)];
            let mark = release(&mut self.turn, meters, conn, seq, &reply);
            if let (Some(mark), Some(took_ns)) = (mark.filter(|_| slow_left > 0), slow_ns) {
                slow_left -= 1;
                slowlog::note(&self.shared, conn.number, self.slow.recall(mark), took_ns);
            }
            conn.session.on_reply(seq, reply, &mut conn.out);
            conn.queue_flush(place, &mut self.flush);
        }
    }

    /// Wakes the connections whose DEBUG SLEEP is over.
    pub(super) fn wake_sleepers(&mut self, now: Instant) {
        let due = self.sleepers.extract_if(.., |one| self.stopping || one.due() <= now);
        for Sleeper { since, client, seq, .. } in due.collect::<Vec<_>>() {
            let Some(conn) = self.conns.place_of(client).and_then(|place| self.conns.get_mut(place)) else { continue };
            (conn.asleep, conn.blocked) = (false, true);
            let slept_ns = now.since_ns(since);
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
            if flushed == Flushed::Gone || (conn.closing && conn.unwritten() == 0 && conn.session.pending() == 0) {
                self.close(place);
                continue;
            }
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

    /// Ends a connection.
    pub(super) fn close(&mut self, place: usize) {
        let Some(mut conn) = self.conns.remove(place) else { return };
        let _ = self.poll.registry().deregister(&mut conn.stream);
        lock(&self.shared.clients).remove(&conn.number);
        self.mailbox().clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// CLIENT KILL of a connection of this lane, which may be the one that asked: it still gets its answer.
    pub(super) fn kill(&mut self, client: ClientId) {
        if let Some(place) = self.conns.place_of(client) {
            // What it gets of its answer is all it gets.
            self.conns.get_mut(place).map(Conn::flush);
            self.close(place);
        }
    }
}

/// What a connection may cost in one turn; others wait so long.
const TURN_COST: usize = 512;

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

/// The core, with what counts its requests.
pub(super) struct Core<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) out: &'a mut Outbox,
    pub(super) shared: &'a Shared,
    meters: &'a LaneMeters,
    turn: &'a mut Turn,
    slow: &'a mut Slow,
    slower_than_ns: Option<u64>,
    pub(super) now: Now,
}

impl Core<'_> {
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
    fn request(&mut self, conn: &mut Conn, call: &Call<'_>) {
        if call.command.is_write() && self.shared.disk_full.load(Ordering::Relaxed) {
            return self.refuse_full(conn, call.command, call.seq);
        }
        let request = Request {
            client: conn.handle,
            seq: call.seq,
            db: call.db,
            joins: call.joins,
            command: call.command,
            args: &call.args,
        };
        let begun = self.slow.times(call.command, call.args.len(), self.slower_than_ns).then(clock::boot);
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
            conn.session.on_reply(seq, reply, &mut conn.out);
        }
        if waits {
            let mark = self.slower_than_ns.map(|_| self.slow.mark(&call.args));
            conn.waiting.push_back(self.turn.asked(call.seq, call.command.id, mark, Box::default()));
        } else if let Some(begun) = begun {
            self.note_if_slow(conn, &call.args, clock::boot().since_ns(begun));
        }
    }

    fn transaction(&mut self, conn: &mut Conn, exec: ExecCall, journal: &Journal) {
        let admin = exec.admin.iter().map(|(at, one)| {
            let args: Vec<&[u8]> = one.args.iter().map(Vec::as_slice).collect();
            (*at, admin::run(self.shared, conn, one.command, &args))
        });
        let replies = admin.collect();
        conn.session.on_exec_admin(exec.seq, replies);
        let id = conn.session.last().0.map_or(0, |exec| exec.id);
        let bytes = exec.commands.iter().flat_map(|one| &one.args).map(|arg| arg.len() as u64).sum();
        if self.shared.disk_full.load(Ordering::Relaxed) || !journal.lets_in(bytes) {
            self.meters.command(id).rejected.add(1);
            return conn.session.on_reply(exec.seq, admin::disk_full(), &mut conn.out);
        }
        let inner = exec.commands.iter().chain(exec.admin.iter().map(|(_, one)| one)).map(|one| one.command.id);
        let mark = self.slower_than_ns.map(|_| self.slow.mark(&[b"EXEC"]));
        conn.waiting.push_back(self.turn.asked(exec.seq, id, mark, inner.collect()));
        let queued = exec.commands.into_iter().map(|one| Queued { db: one.db, command: one.command, args: one.args });
        let ExecCall { seq, once, watched, .. } = exec;
        let transaction = Transaction { client: conn.handle, seq, once, watched, commands: queued.collect() };
        self.lane.on_transaction(self.now, transaction, self.out);
    }

    /// A write that the disk has no room for.
    fn refuse_full(&self, conn: &mut Conn, command: &Command, seq: u64) {
        self.meters.command(command.id).rejected.add(1);
        conn.session.on_reply(seq, admin::disk_full(), &mut conn.out);
    }

    /// A command for the binary itself.
    fn admin(&mut self, conn: &mut Conn, call: &Call<'_>) {
        conn.note_vitals(self.now.boot);
        let begun = clock::boot();
        let reply = admin::run(self.shared, conn, call.command, &call.args);
        self.count(call.command.id, &reply);
        self.note_if_slow(conn, &call.args, clock::boot().since_ns(begun));
        conn.session.on_reply(call.seq, reply, &mut conn.out);
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
        if matches!(reply, Reply::Error(_)) {
            self.meters.command(id).failed.add(1);
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

/// True for a write that the log has no room for.
fn no_room(journal: &Journal, command: &Command, args: &[&[u8]]) -> bool {
    command.is_write() && !journal.lets_in(args.iter().map(|arg| arg.len() as u64).sum())
}

/// The reply to a request that had to wait has come.
fn release(turn: &mut Turn, meters: &LaneMeters, conn: &mut Conn, seq: u64, reply: &Reply) -> Option<Mark> {
    let mut asked = conn.asked(seq)?;
    match reply {
        Reply::Error(_) => meters.command(asked.id).failed.add(1),
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
