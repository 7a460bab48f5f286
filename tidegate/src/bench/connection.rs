//! One connection: bytes to be written, requests that wait for their replies, and the reply that has half come.

use super::load::Load;
use super::reply::{Answer, Replies};
use super::tally::Pending;
use base::rng::Rng;
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};

/// A connection of one thread.
#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    replies: Replies,
    out: Vec<u8>,
    out_done: usize,
    pending: VecDeque<Pending>,
    /// True while the thread's queue of free connections holds it.
    pub queued: bool,
    /// The target has sent its last byte: behind what there is to read comes the end, and no event of its own.
    pub hung_up: bool,
}

/// Why a connection has ended.
#[derive(Debug)]
pub struct Lost(pub String);

impl Connection {
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            replies: Replies::default(),
            out: Vec::new(),
            out_done: 0,
            pending: VecDeque::new(),
            queued: false,
            hung_up: false,
        }
    }

    /// Requests whose replies are missing.
    #[must_use]
    pub fn pending(&self) -> &VecDeque<Pending> {
        &self.pending
    }

    /// True while bytes wait to be written.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Puts one request into the output.
    pub fn push(&mut self, load: &Load, rng: &mut Rng, due_ns: u64, now_ns: u64) {
        let op = load.push(rng, &mut self.out);
        self.pending.push_back(Pending { due_ns, sent_ns: now_ns, op });
    }

    /// Writes what can be written; how many bytes went.
    pub fn write(&mut self) -> Result<u64, Lost> {
        let before = self.out_done;
        while self.out_done < self.out.len() {
            match self.stream.write(&self.out[self.out_done..]) {
                Ok(count) => self.out_done += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Lost(error.to_string())),
            }
        }
        let written = (self.out_done - before) as u64;
        if self.out_done == self.out.len() {
            self.out.clear();
            self.out_done = 0;
        }
        Ok(written)
    }

    /// Reads what is there, and tells each reply with its request; how many bytes came.
    pub fn read(&mut self, buffer: &mut [u8], mut on: impl FnMut(Pending, &Answer<'_>)) -> Result<u64, Lost> {
        let mut received = 0;
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(Lost("the target closed it".into())),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(received),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Lost(error.to_string())),
            };
            received += count as u64;
            let (pending, mut surplus) = (&mut self.pending, false);
            let fed = self.replies.feed(&buffer[..count], |answer| match pending.pop_front() {
                Some(request) => on(request, &answer),
                None => surplus = true,
            });
            fed.map_err(|not| Lost(format!("the target doesn't speak RESP: \"{}\"", not.0)))?;
            if surplus {
                return Err(Lost("the target sent more replies than there were requests".into()));
            }
            // A short read has emptied the socket; the next bytes come with an event of their own.
            if count < buffer.len() && !self.hung_up {
                return Ok(received);
            }
        }
    }
}
