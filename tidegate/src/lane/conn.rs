//! One client connection: its socket, its session, and the bytes on their way in and out.

use crate::clients::{Seen, Vitals};
use crate::meters::Asked;
use crate::shared::{Asker, Endpoint};
use base::limits::OUT_BYTES_SOFT;
use base::{ClientId, Instant};
use edge::Session;
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
    /// Bytes that came and are not served yet, behind some that are.
    pub inbuf: Vec<u8>,
    /// Bytes of `inbuf` that are served.
    pub served: usize,
    /// No use in parsing what is left of `inbuf` before it has this many bytes.
    pub need_bytes: usize,
    pub out: Vec<u8>,
    /// Bytes of `out` that are written already.
    pub written: usize,
    pub queued_flush: bool,
    /// It waits for its next turn.
    pub queued_turn: bool,
    /// The session waits for a reply before it can go on.
    pub blocked: bool,
    /// To be closed once everything is written.
    pub closing: bool,
    /// The socket said it has more to read than was taken.
    pub readable: bool,
    /// Requests whose replies have not come, oldest first.
    pub waiting: VecDeque<Asked>,
    pub vitals: Arc<Vitals>,
    /// DEBUG SLEEP runs: nothing more is served before it is over.
    pub asleep: bool,
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
            inbuf: Vec::new(),
            served: 0,
            need_bytes: 0,
            out: Vec::new(),
            written: 0,
            queued_flush: false,
            queued_turn: false,
            blocked: false,
            closing: false,
            readable: true,
            waiting: VecDeque::new(),
            vitals: Arc::default(),
            asleep: false,
            hung_up: false,
            idle: Idle::default(),
            hanging: false,
            unblocker: None,
        }
    }

    /// Where the client came in.
    pub fn endpoint(&self) -> Endpoint {
        if self.session.cluster().is_some() { Endpoint::Cluster } else { Endpoint::Routing }
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

    /// Writes what it can and what is fair, and has more made of the replies that wait for it.
    pub fn flush(&mut self) -> Flushed {
        let mut left = TURN_OUT_BYTES;
        loop {
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
                self.session.go_on(&mut self.out);
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
            let end = self.out.len().min(self.written + left);
            match self.stream.write(&self.out[self.written..end]) {
                Ok(0) => return Flushed::Gone,
                Ok(n) => {
                    self.written += n;
                    self.idle.written_bytes += n as u64;
                    left -= n;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Flushed::Full,
                Err(_) => return Flushed::Gone,
            }
        }
    }

    /// A regular look: for how many of them the client has sent nothing, and for how many it has taken nothing of what
    /// it is owed.
    pub fn look(&mut self) -> (u64, u64) {
        let now = (self.idle.read_bytes, self.idle.written_bytes);
        let owed = self.unwritten() > 0 || self.session.holds();
        let (silent, stuck) = self.idle.looks;
        let silent = if now.0 == self.idle.seen.0 && self.session.pending() == 0 { silent + 1 } else { 0 };
        let stuck = if owed && now.1 == self.idle.seen.1 { stuck + 1 } else { 0 };
        self.idle.seen = now;
        self.idle.looks = (silent, stuck);
        (silent, stuck)
    }

    /// Lets other threads see how the connection stands.
    pub fn note_vitals(&self, now: Instant) {
        self.vitals.note(&Seen {
            active_at: now,
            input_bytes: self.unserved() as u64,
            output_bytes: self.unwritten() as u64,
            buffer_bytes: (self.inbuf.capacity() + self.out.capacity()) as u64,
            queued: self.session.queued().map(|count| count as u64),
            command: self.session.last().0.map(|command| command.id),
            db: self.session.db(),
            resp: self.session.resp(),
            blocked: self.session.waits().is_some(),
        });
    }

    /// The request that a reply belongs to, unless it was answered at once.
    pub fn asked(&mut self, seq: u64) -> Option<Asked> {
        let at = self.waiting.iter().position(|asked| asked.seq == seq)?;
        self.waiting.remove(at)
    }

    /// True while the next request may be served.
    pub fn may_go_on(&self) -> bool {
        let stopped = self.closing || self.blocked || self.asleep || self.session.waits().is_some();
        !stopped && self.out.len() <= OUT_BYTES_SOFT && self.session.pending() <= PENDING_MAX && !self.session.holds()
    }

    /// Bytes that the client has not yet taken.
    pub fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }
}

/// One connection's share of a turn's writing.
const TURN_OUT_BYTES: usize = 128 * 1024;
/// An idle connection keeps no more buffer than this.
const KEPT_BYTES: usize = 256 * 1024;
