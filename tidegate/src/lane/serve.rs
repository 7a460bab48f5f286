//! Serving connections: bytes in, requests to the core, replies out.

use super::Driver;
use super::conn::{Conn, OUT_BYTES_MAX, OUT_BYTES_PAUSE, PENDING_MAX, Taken};
use crate::journal::Journal;
use crate::shared::{Card, Shared, lock};
use crate::{admin, clock};
use base::ClientId;
use data::Command;
use data::keyspace::NEAR_MAX;
use edge::{Call, ExecCall, Session, SessionConfig, Step};
use mio::{Interest, Token};
use node::{Lane, Now, Outbox, Queued, Request, Transaction};
use smallvec::SmallVec;
use std::sync::atomic::Ordering;
use std::time::Instant;

impl Driver {
    /// A new connection of this lane.
    pub(super) fn admit(&mut self, stream: std::net::TcpStream) {
        let (Ok(addr), Ok(laddr)) = (stream.peer_addr(), stream.local_addr()) else {
            self.mailbox().clients.fetch_sub(1, Ordering::Relaxed);
            return;
        };
        if let Err(error) = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)) {
            eprintln!("tidegate: the connection of {addr} can't be set up: {error}");
            self.mailbox().clients.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let number = self.shared.next_client.fetch_add(1, Ordering::Relaxed) + 1;
        self.shared.connections.fetch_add(1, Ordering::Relaxed);
        let config = SessionConfig { requirepass: self.shared.requirepass.clone() };
        let session = Session::new(ClientId(number), config);
        let place = self.conns.insert(|handle| Conn {
            handle,
            number,
            stream: mio::net::TcpStream::from_std(stream),
            session,
            inbuf: Vec::new(),
            need_bytes: 0,
            out: Vec::new(),
            written: 0,
            queued_flush: false,
            blocked: false,
            closing: false,
            readable: true,
            hung_up: false,
        });
        let conn = self.conns.get_mut(place).expect("it was just put there");
        let handle = conn.handle;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut conn.stream, Token(place), interest) {
            eprintln!("tidegate: the connection of {addr} can't be polled: {error}");
            self.close(place);
            return;
        }
        let card = Card {
            lane: usize::from(self.id.0),
            handle,
            addr,
            laddr,
            since: Instant::now(),
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            db: 0,
            resp: 2,
        };
        lock(&self.shared.clients).insert(number, card);
    }

    /// A readiness event of a connection.
    pub(super) fn on_ready(&mut self, place: usize, event: &mio::event::Event) {
        let Some(conn) = self.conns.get_mut(place) else { return };
        if event.is_writable() && conn.unwritten() > 0 && !conn.queued_flush {
            conn.queued_flush = true;
            self.flush.push(place);
        }
        if event.is_readable() || event.is_read_closed() {
            conn.readable = true;
            conn.hung_up |= event.is_read_closed();
            self.read_all(place);
        }
    }

    /// Reads and serves until the socket is dry or the connection must wait.
    fn read_all(&mut self, place: usize) {
        loop {
            let mut buffer = std::mem::take(&mut self.buffer);
            let more = self.read_some(place, &mut buffer);
            self.buffer = buffer;
            if !more {
                return;
            }
        }
    }

    /// One read; true if another may bring more.
    fn read_some(&mut self, place: usize, buffer: &mut [u8]) -> bool {
        let Some(conn) = self.conns.get_mut(place) else { return false };
        let owed = conn.unwritten() > OUT_BYTES_PAUSE || conn.session.pending() > PENDING_MAX;
        if conn.blocked || conn.closing || owed {
            return false;
        }
        match conn.read(buffer) {
            Taken::Dry => {
                conn.readable = false;
                false
            }
            Taken::Ended => {
                self.on_end(place);
                false
            }
            Taken::Bytes(n) => {
                conn.readable = n == buffer.len() || conn.hung_up;
                let full = conn.readable;
                if conn.inbuf.is_empty() {
                    let used = self.serve(place, &buffer[..n]);
                    if let Some(conn) = self.conns.get_mut(place) {
                        conn.inbuf.extend_from_slice(&buffer[used..n]);
                    }
                } else {
                    conn.inbuf.extend_from_slice(&buffer[..n]);
                    self.serve_inbuf(place);
                }
                full
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

    fn serve_inbuf(&mut self, place: usize) {
        let Some(conn) = self.conns.get_mut(place) else { return };
        if conn.inbuf.len() < conn.need_bytes || conn.inbuf.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut conn.inbuf);
        let used = self.serve(place, &waiting);
        if let Some(conn) = self.conns.get_mut(place) {
            if used == 0 {
                conn.inbuf = waiting;
            } else {
                conn.inbuf.extend_from_slice(&waiting[used..]);
            }
        }
    }

    /// Serves complete requests at the front of `bytes`; how many bytes they took.
    fn serve(&mut self, place: usize, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let (used, inline) = self.serve_frames(place, &bytes[at..]);
            at += used;
            let Some(frame) = inline else { return at };
            self.serve_frames(place, &frame);
        }
    }

    /// Serves frames up to an inline command, which it gives back as the frame that means the same.
    fn serve_frames(&mut self, place: usize, bytes: &[u8]) -> (usize, Option<Vec<u8>>) {
        let Driver { conns, lane, out, shared, flush, id, journal, .. } = self;
        let Some(conn) = conns.get_mut(place) else { return (bytes.len(), None) };
        let now = clock::now();
        let (mut used, mut served, mut inline) = (0, 0, None);
        let mut calls: Calls<'_> = SmallVec::new();
        conn.need_bytes = 0;
        while used < bytes.len() && !conn.closing && !conn.blocked && inline.is_none() {
            let mut taken = 0;
            let step = conn.session.step(&bytes[used..], &mut taken, &mut conn.out);
            used += taken;
            served += 1;
            let step = match step {
                Step::Request(call) if no_room(journal, call.command, &call.args) => {
                    conn.session.on_reply(call.seq, admin::disk_full(), &mut conn.out);
                    continue;
                }
                Step::Request(call) => {
                    calls.push(call);
                    if calls.len() == NEAR_MAX {
                        requests(lane, out, shared, conn, &mut calls, now);
                    }
                    continue;
                }
                other => other,
            };
            requests(lane, out, shared, conn, &mut calls, now);
            match step {
                Step::Exec(exec) => {
                    let admin = exec.admin.iter().map(|(at, one)| {
                        let args: Vec<&[u8]> = one.args.iter().map(Vec::as_slice).collect();
                        (*at, admin::run(shared, usize::from(id.0), conn, one.command, &args))
                    });
                    let replies = admin.collect();
                    conn.session.on_exec_admin(exec.seq, replies);
                    transaction(lane, out, shared, conn, exec, now);
                }
                Step::Admin(call) => {
                    let reply = admin::run(shared, usize::from(id.0), conn, call.command, &call.args);
                    conn.session.on_reply(call.seq, reply, &mut conn.out);
                }
                Step::Inline(frame) => inline = Some(frame),
                Step::Answered => admin::note_session(shared, conn),
                Step::NeedMore { need_at_least } => {
                    conn.need_bytes = need_at_least;
                    break;
                }
                Step::Blocked => conn.blocked = true,
                Step::Close => conn.closing = true,
                Step::Request(_) => unreachable!("requests were taken above"),
            }
        }
        requests(lane, out, shared, conn, &mut calls, now);
        shared.commands.fetch_add(served, Ordering::Relaxed);
        if conn.closing {
            used = bytes.len();
        }
        if (!conn.out.is_empty() || conn.closing) && !conn.queued_flush {
            conn.queued_flush = true;
            flush.push(place);
        }
        (used, inline)
    }

    /// Gives all replies of the outbox to their sessions.
    pub(super) fn deliver(&mut self) {
        for (client, seq, reply) in std::mem::take(&mut self.out.replies) {
            let Some(place) = self.conns.place_of(client) else { continue };
            let Some(conn) = self.conns.get_mut(place) else { continue };
            conn.session.on_reply(seq, reply, &mut conn.out);
            if !conn.queued_flush {
                conn.queued_flush = true;
                self.flush.push(place);
            }
        }
    }

    /// Writes to the clients; those that were held back go on if they can.
    pub(super) fn flush_all(&mut self) {
        let mut places = std::mem::take(&mut self.flush);
        for place in places.drain(..) {
            let Some(conn) = self.conns.get_mut(place) else { continue };
            conn.queued_flush = false;
            let alive = conn.flush();
            if !alive || (conn.closing && conn.unwritten() == 0 && conn.session.pending() == 0) {
                self.close(place);
                continue;
            }
            if conn.unwritten() > OUT_BYTES_MAX {
                eprintln!("tidegate: client {} does not read its replies: dropped", conn.number);
                self.close(place);
                continue;
            }
            if conn.unwritten() > OUT_BYTES_PAUSE || conn.closing {
                continue;
            }
            let (blocked, readable) = (std::mem::take(&mut conn.blocked), conn.readable);
            if blocked {
                self.serve_inbuf(place);
            }
            if readable {
                self.read_all(place);
            }
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

    /// CLIENT KILL of a connection of this lane.
    pub(super) fn kill(&mut self, client: ClientId) {
        if let Some(place) = self.conns.place_of(client) {
            self.close(place);
        }
    }
}

/// Requests of one connection that are given to the core together.
type Calls<'a> = SmallVec<[Call<'a>; NEAR_MAX]>;

/// Gives requests to the core, once what all of them will read has been brought near.
fn requests(lane: &mut Lane, out: &mut Outbox, shared: &Shared, conn: &mut Conn, calls: &mut Calls<'_>, now: Now) {
    if calls.len() > 1 {
        let reads = calls.iter().filter(|call| !call.command.is_write());
        lane.bring_near(reads.filter_map(Call::first_key));
    }
    for call in calls.drain(..) {
        request(lane, out, shared, conn, &call, now);
    }
}

/// True for a large write that the disk has no space for: a small one always fits into the room that is prepared.
fn no_room(journal: &Journal, command: &Command, args: &[&[u8]]) -> bool {
    let bytes: usize = args.iter().map(|arg| arg.len()).sum();
    bytes > LARGE_BYTES && command.is_write() && !journal.has_room(bytes as u64)
}

/// Requests above this ask for room in the log before they are let in.
const LARGE_BYTES: usize = 1024 * 1024;

/// A command for the core. What it answers at once is encoded while it is warm.
fn request(lane: &mut Lane, out: &mut Outbox, shared: &Shared, conn: &mut Conn, call: &Call<'_>, now: Now) {
    if call.command.is_write() && shared.disk_full.load(Ordering::Relaxed) {
        return conn.session.on_reply(call.seq, admin::disk_full(), &mut conn.out);
    }
    let request = Request {
        client: conn.handle,
        seq: call.seq,
        db: call.db,
        joins: call.joins,
        command: call.command,
        args: &call.args,
    };
    lane.on_request(now, request, out);
    while out.replies.last().is_some_and(|(client, ..)| *client == conn.handle) {
        let (_, seq, reply) = out.replies.pop().expect("it was looked at");
        conn.session.on_reply(seq, reply, &mut conn.out);
    }
}

fn transaction(lane: &mut Lane, out: &mut Outbox, shared: &Shared, conn: &mut Conn, exec: ExecCall, now: Now) {
    if shared.disk_full.load(Ordering::Relaxed) {
        return conn.session.on_reply(exec.seq, admin::disk_full(), &mut conn.out);
    }
    let queued = exec.commands.into_iter().map(|one| Queued { db: one.db, command: one.command, args: one.args });
    let transaction =
        Transaction { client: conn.handle, seq: exec.seq, watched: exec.watched, commands: queued.collect() };
    lane.on_transaction(now, transaction, out);
}
