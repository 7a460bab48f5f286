//! One client connection: its socket, its session, and the bytes on their way in and out.
//!
//! What is for one client alone is made in its own buffer. Large pushes, which may be for many, stand in a queue before that
//! buffer, and their bytes are shared: a megabyte to ten thousand clients is in memory once.

use crate::clients::{Flags, Seen, Vitals};
use crate::meters::Asked;
use crate::settings::OutputClass;
use crate::shared::{Asker, Endpoint};
use base::limits::OUT_BYTES_SOFT;
use base::{ClientId, Instant};
use bytes::Bytes;
use data::Reply;
use data::command::pubsub::Topic;
use edge::{Mode, Push, Session, memcached};
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

/// A connection; see the module.
#[derive(Debug)]
pub struct Conn {
    pub handle: ClientId,
    /// What CLIENT ID tells.
    pub number: u64,
    pub stream: TcpStream,
    pub session: Session,
    /// On the memcached endpoint: it speaks, and `session` has nothing to do.
    pub memcached: Option<Box<memcached::session::Session>>,
    /// Bytes that came and are not served yet, behind some that are.
    pub inbuf: Vec<u8>,
    /// Bytes of `inbuf` that are served.
    pub served: usize,
    /// No use in parsing what is left of `inbuf` before it has this many bytes.
    pub need_bytes: usize,
    pub out: Vec<u8>,
    /// Bytes of `out` that are written already.
    pub written: usize,
    /// What goes out before `out`; of the first, as much is written as `queue_written` says.
    queue: VecDeque<Bytes>,
    queue_written: usize,
    queue_bytes: usize,
    /// Since when it has owed its client more than the soft limit.
    pub over_since: Option<Instant>,
    pub queued_flush: bool,
    /// It waits for its next turn.
    pub queued_turn: bool,
    /// The session waits for a reply before it can go on.
    pub blocked: bool,
    /// To be closed once everything is written.
    pub closing: bool,
    /// It owes answers that it won't give: what is made already is all.
    pub cut: bool,
    /// The socket said it has more to read than was taken.
    pub readable: bool,
    /// Requests whose replies have not come, oldest first.
    pub waiting: VecDeque<Asked>,
    pub vitals: Arc<Vitals>,
    /// DEBUG SLEEP runs: nothing more is served before it is over.
    pub asleep: bool,
    /// CLIENT PAUSE holds the next command back.
    pub paused: bool,
    /// What MULTI has queued, for those who monitor.
    pub queued_lines: Vec<Bytes>,
    /// The client has sent its last byte: behind what there is to read comes the end, and no event of its own.
    pub hung_up: bool,
    pub idle: Idle,
    /// Its client hung up, or the node stops, while its call waited: unless that is served first, the connection ends.
    pub hanging: bool,
    /// Who asked by CLIENT UNBLOCK that its call end.
    pub unblocker: Option<Asker>,
}

/// How long nothing has passed, by looks at regular times.
#[derive(Debug, Default)]
pub struct Idle {
    read_bytes: u64,
    written_bytes: u64,
    seen: (u64, u64),
    looks: (u64, u64),
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    All,
    /// The client must take some before more can be written.
    Full,
    /// More can be written, in the next turn.
    Enough,
    Gone,
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Bytes(usize),
    /// The socket has nothing more for now.
    Dry,
    Ended,
}

/// A connection that waits for this many replies gets no more of its requests read.
pub const PENDING_MAX: usize = 16 * 1024;

impl Conn {
    /// A connection from which nothing has been read.
    pub fn new(handle: ClientId, number: u64, stream: TcpStream, session: Session) -> Self {
        Self {
            handle,
            number,
            stream,
            session,
            memcached: None,
            inbuf: Vec::new(),
            served: 0,
            need_bytes: 0,
            out: Vec::new(),
            written: 0,
            queue: VecDeque::new(),
            queue_written: 0,
            queue_bytes: 0,
            over_since: None,
            queued_flush: false,
            queued_turn: false,
            blocked: false,
            closing: false,
            cut: false,
            readable: true,
            waiting: VecDeque::new(),
            vitals: Arc::default(),
            asleep: false,
            paused: false,
            queued_lines: Vec::new(),
            hung_up: false,
            idle: Idle::default(),
            hanging: false,
            unblocker: None,
        }
    }

    /// Where the client came in.
    pub fn endpoint(&self) -> Endpoint {
        match (&self.memcached, self.session.cluster()) {
            (Some(_), _) => Endpoint::Memcached,
            (None, Some(_)) => Endpoint::Cluster,
            (None, None) => Endpoint::Routing,
        }
    }

    /// The answer to the request `seq`.
    pub fn on_reply(&mut self, seq: u64, reply: Reply) {
        match &mut self.memcached {
            Some(session) => session.on_reply(seq, reply, &mut self.out),
            None => self.session.on_reply(seq, reply, &mut self.out),
        }
    }

    /// Requests whose answers have not left.
    pub fn pending(&self) -> usize {
        self.memcached.as_ref().map_or_else(|| self.session.pending(), |session| session.pending())
    }

    /// True if answers are kept because the client hasn't taken those before them.
    fn holds(&self) -> bool {
        self.memcached.as_ref().map_or_else(|| self.session.holds(), |session| session.holds())
    }

    /// Makes more of the answers that were kept.
    fn go_on(&mut self) {
        match &mut self.memcached {
            Some(session) => session.go_on(&mut self.out),
            None => self.session.go_on(&mut self.out),
        }
    }

    /// Reads into `buffer`.
    pub fn read(&mut self, buffer: &mut [u8]) -> Taken {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Taken::Ended,
                Ok(n) => {
                    self.idle.read_bytes += n as u64;
                    Taken::Bytes(n)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Taken::Dry,
                Err(_) => Taken::Ended,
            };
        }
    }

    /// Has its output written at the end of the turn.
    pub fn queue_flush(&mut self, place: usize, flush: &mut Vec<usize>) {
        if !std::mem::replace(&mut self.queued_flush, true) {
            flush.push(place);
        }
    }

    /// Keeps bytes that can't be served yet.
    pub fn keep(&mut self, bytes: &[u8]) {
        if self.served > 0 {
            self.inbuf.drain(..self.served);
            self.served = 0;
        }
        // A large request gets its room in one piece, once so much has come that its length is more than a claim.
        if self.need_bytes > self.inbuf.capacity() && self.inbuf.len() >= self.need_bytes / 8 {
            self.inbuf.reserve_exact((self.need_bytes - self.inbuf.len()).max(bytes.len()));
        }
        self.inbuf.extend_from_slice(bytes);
    }

    /// Bytes that wait in `inbuf`.
    pub fn unserved(&self) -> usize {
        self.inbuf.len() - self.served
    }

    /// True if the next turn has something to do.
    pub fn wants_turn(&self) -> bool {
        let servable = self.unserved() >= self.need_bytes.max(1);
        (servable || self.readable) && self.may_go_on()
    }

    /// Gives the client something that it has not asked for.
    pub fn push(&mut self, push: &Push) {
        let Some(bytes) = self.session.push(push) else { return };
        if bytes.len() < SHARED_BYTES_MIN {
            return self.out.extend_from_slice(&bytes);
        }
        if self.written < self.out.len() {
            let before = Bytes::from(std::mem::take(&mut self.out)).slice(self.written..);
            self.enqueue(before);
        }
        self.out.clear();
        self.written = 0;
        self.enqueue(bytes);
    }

    fn enqueue(&mut self, bytes: Bytes) {
        self.queue_bytes += bytes.len();
        self.queue.push_back(bytes);
    }

    /// Writes what it can and what is fair, and has more made of the replies that wait for it.
    pub fn flush(&mut self) -> Flushed {
        let mut left = TURN_OUT_BYTES;
        loop {
            if self.queue.is_empty() && self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
                self.go_on();
                if self.out.is_empty() {
                    if self.out.capacity() > KEPT_BYTES {
                        self.out = Vec::new();
                    }
                    return Flushed::All;
                }
            }
            if left == 0 {
                return Flushed::Enough;
            }
            let (bytes, from) = match self.queue.front() {
                Some(first) => (&first[..], self.queue_written),
                None => (&self.out[..], self.written),
            };
            let end = bytes.len().min(from + left);
            match self.stream.write(&bytes[from..end]) {
                Ok(0) => return Flushed::Gone,
                Ok(n) => {
                    self.wrote(n);
                    left -= n;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Flushed::Full,
                Err(_) => return Flushed::Gone,
            }
        }
    }

    fn wrote(&mut self, n: usize) {
        self.idle.written_bytes += n as u64;
        let Some(first) = self.queue.front() else {
            self.written += n;
            return;
        };
        self.queue_written += n;
        if self.queue_written == first.len() {
            self.queue_bytes -= first.len();
            self.queue_written = 0;
            self.queue.pop_front();
        }
    }

    /// A regular look: for how many of them the client has sent nothing, and for how many it has taken nothing of what
    /// it is owed.
    pub fn look(&mut self) -> (u64, u64) {
        let now = (self.idle.read_bytes, self.idle.written_bytes);
        let owed = self.unwritten() > 0 || self.holds();
        let (silent, stuck) = self.idle.looks;
        let silent = if now.0 == self.idle.seen.0 && self.pending() == 0 { silent + 1 } else { 0 };
        let stuck = if owed && now.1 == self.idle.seen.1 { stuck + 1 } else { 0 };
        self.idle.seen = now;
        self.idle.looks = (silent, stuck);
        (silent, stuck)
    }

    /// Lets other threads see how the connection stands.
    pub fn note_vitals(&self, now: Instant) {
        let session = &self.session;
        let subscriptions = [Topic::Channel, Topic::Pattern, Topic::Shard].map(|topic| session.subscriptions(topic));
        self.vitals.note(&Seen {
            active_at: now,
            input_bytes: self.unserved() as u64,
            input_room_bytes: (self.inbuf.capacity() - self.inbuf.len()) as u64,
            output_bytes: (self.out.len() - self.written) as u64,
            output_room_bytes: self.out.capacity() as u64,
            shared_count: self.queue.len() as u64,
            shared_bytes: (self.queue_bytes - self.queue_written + session.unsent_bytes()) as u64,
            queued: session.queued().map(|count| count as u64),
            command: session.last().0.map(|command| command.id),
            sub: session.last_sub(),
            db: session.db(),
            resp: session.resp(),
            subscriptions: subscriptions.map(|count| count as u64),
            redirect: session.tracking().map(|tracking| tracking.redirect),
            flags: self.flags(),
            read_bytes: self.idle.read_bytes,
            written_bytes: self.idle.written_bytes,
        });
    }

    /// What CLIENT LIST shows by letters.
    fn flags(&self) -> Flags {
        let (tracking, (no_evict, no_touch)) = (self.session.tracking(), self.session.wishes());
        Flags {
            monitors: self.session.monitors(),
            subscribed: self.session.is_subscribed(),
            multi: self.session.queued().is_some(),
            blocked: self.asleep || self.paused || self.session.waits().is_some(),
            tracks: tracking.is_some(),
            redirect_broken: tracking.is_some_and(|one| one.broken),
            broadcast: tracking.is_some_and(|one| matches!(one.mode, Mode::Broadcast(_))),
            closing: self.closing,
            readonly: self.session.cluster().is_some_and(|view| view.readonly),
            no_evict,
            no_touch,
        }
    }

    /// The request that a reply belongs to, unless it was answered at once.
    pub fn asked(&mut self, seq: u64) -> Option<Asked> {
        let at = self.waiting.iter().position(|asked| asked.seq == seq)?;
        self.waiting.remove(at)
    }

    /// True while the next request may be served.
    pub fn may_go_on(&self) -> bool {
        let stopped = self.closing || self.blocked || self.asleep || self.paused || self.session.waits().is_some();
        !stopped && self.out.len() <= OUT_BYTES_SOFT && self.pending() <= PENDING_MAX && !self.holds()
    }

    /// True if it is to be closed and has nothing more to give.
    pub fn is_done(&self) -> bool {
        self.closing && self.unwritten() == 0 && (self.cut || self.pending() == 0)
    }

    /// Bytes that the client has not yet taken.
    pub fn unwritten(&self) -> usize {
        self.queue_bytes - self.queue_written + self.out.len() - self.written
    }

    /// Which limit holds for what it is owed.
    pub fn output_class(&self) -> OutputClass {
        let pushed = self.session.is_subscribed() || self.session.tracking().is_some() || self.session.monitors();
        if pushed { OutputClass::Pubsub } else { OutputClass::Normal }
    }

    /// The same, with what waits for the end of a reply.
    pub fn owed_bytes(&self) -> usize {
        self.unwritten() + self.session.unsent_bytes()
    }
}

/// Smaller pushes are copied to where the replies stand: a part of its own would cost a system call more.
const SHARED_BYTES_MIN: usize = 16 * 1024;
/// One connection's share of a turn's writing.
const TURN_OUT_BYTES: usize = 128 * 1024;
/// An idle connection keeps no more buffer than this.
const KEPT_BYTES: usize = 256 * 1024;
