//! One client connection: its socket, its session, and the bytes on their way in and out.

use crate::clients::{Seen, Vitals};
use crate::meters::Asked;
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
    /// Bytes of an incomplete request, or of requests that wait for the session.
    pub inbuf: Vec<u8>,
    /// No use in parsing `inbuf` before it has this many bytes.
    pub need_bytes: usize,
    pub out: Vec<u8>,
    /// Bytes of `out` that are written already.
    pub written: usize,
    pub queued_flush: bool,
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
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    Bytes(usize),
    /// The socket has nothing more for now.
    Dry,
    Ended,
}

/// A client that doesn't read its replies is dropped when this much waits for it.
pub const OUT_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// A connection with this much unread output gets no more of its requests read.
pub const OUT_BYTES_PAUSE: usize = 1024 * 1024;

/// A connection that waits for this many replies gets no more of its requests read.
pub const PENDING_MAX: usize = 16 * 1024;

impl Conn {
    /// Reads into `buffer`.
    pub fn read(&mut self, buffer: &mut [u8]) -> Taken {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Taken::Ended,
                Ok(n) => Taken::Bytes(n),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Taken::Dry,
                Err(_) => Taken::Ended,
            };
        }
    }

    /// Writes what it can; false if the connection is gone.
    pub fn flush(&mut self) -> bool {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return false,
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        self.out.clear();
        self.written = 0;
        if self.out.capacity() > KEPT_BYTES {
            self.out = Vec::new();
        }
        true
    }

    /// Lets other threads see how the connection stands.
    pub fn note_vitals(&self, now: Instant) {
        self.vitals.note(&Seen {
            active_at: now,
            input_bytes: self.inbuf.len() as u64,
            output_bytes: self.unwritten() as u64,
            buffer_bytes: (self.inbuf.capacity() + self.out.capacity()) as u64,
            queued: self.session.queued().map(|count| count as u64),
            command: self.session.last().0.map(|command| command.id),
            db: self.session.db(),
            resp: self.session.resp(),
        });
    }

    /// The request that a reply belongs to, unless it was answered at once.
    pub fn asked(&mut self, seq: u64) -> Option<Asked> {
        let at = self.waiting.iter().position(|asked| asked.seq == seq)?;
        self.waiting.remove(at)
    }

    /// True while the next request may be served.
    pub fn may_go_on(&self) -> bool {
        !self.closing && !self.blocked && !self.asleep && self.unwritten() <= OUT_BYTES_PAUSE
    }

    /// Bytes that the client has not yet taken.
    pub fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }
}

/// An idle connection keeps no more buffer than this.
const KEPT_BYTES: usize = 256 * 1024;
