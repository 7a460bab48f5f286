//! The clients of a node as other threads see them: what CLIENT LIST shows.
//!
//! What seldom changes stands in a [`Card`] under the lock of the list. What changes with every request are the
//! [`Vitals`]: relaxed numbers that the client's lane writes once a turn, so that no request takes a lock for them.

use base::{ClientId, Instant};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU64, Ordering};

/// One client as CLIENT LIST shows it.
#[derive(Clone, Debug)]
pub struct Card {
    pub lane: usize,
    pub handle: ClientId,
    /// The number of its socket.
    pub descriptor: i32,
    pub addr: SocketAddr,
    pub laddr: SocketAddr,
    pub since: Instant,
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    pub vitals: Arc<Vitals>,
}

/// Numbers of a connection as of its last turn.
#[derive(Debug, Default)]
pub struct Vitals {
    active_ns: AtomicU64,
    input_bytes: AtomicU64,
    output_bytes: AtomicU64,
    buffer_bytes: AtomicU64,
    queued: AtomicI64,
    command: AtomicU16,
    db: AtomicU8,
    resp: AtomicU8,
    blocked: AtomicBool,
}

/// The same, for a moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When it last asked or was answered.
    pub active_at: Instant,
    /// Bytes of requests that are not complete, or wait.
    pub input_bytes: u64,
    /// Bytes of replies that the client has not taken.
    pub output_bytes: u64,
    /// Memory of both buffers.
    pub buffer_bytes: u64,
    /// Commands that MULTI has queued.
    pub queued: Option<u64>,
    /// The id of the last command; none before the first.
    pub command: Option<u16>,
    pub db: u8,
    pub resp: u8,
    /// It waits in a blocking command.
    pub blocked: bool,
}

const NO_COMMAND: u16 = u16::MAX;

impl Vitals {
    /// Written by the lane of the client alone.
    pub fn note(&self, seen: &Seen) {
        self.active_ns.store(seen.active_at.0, Ordering::Relaxed);
        self.input_bytes.store(seen.input_bytes, Ordering::Relaxed);
        self.output_bytes.store(seen.output_bytes, Ordering::Relaxed);
        self.buffer_bytes.store(seen.buffer_bytes, Ordering::Relaxed);
        let queued = seen.queued.map_or(-1, |count| i64::try_from(count).unwrap_or(i64::MAX));
        self.queued.store(queued, Ordering::Relaxed);
        self.command.store(seen.command.unwrap_or(NO_COMMAND), Ordering::Relaxed);
        self.db.store(seen.db, Ordering::Relaxed);
        self.resp.store(seen.resp, Ordering::Relaxed);
        self.blocked.store(seen.blocked, Ordering::Relaxed);
    }

    pub fn see(&self) -> Seen {
        Seen {
            active_at: Instant(self.active_ns.load(Ordering::Relaxed)),
            input_bytes: self.input_bytes.load(Ordering::Relaxed),
            output_bytes: self.output_bytes.load(Ordering::Relaxed),
            buffer_bytes: self.buffer_bytes(),
            queued: u64::try_from(self.queued.load(Ordering::Relaxed)).ok(),
            command: Some(self.command.load(Ordering::Relaxed)).filter(|id| *id != NO_COMMAND),
            db: self.db.load(Ordering::Relaxed),
            resp: self.resp.load(Ordering::Relaxed),
            blocked: self.blocked.load(Ordering::Relaxed),
        }
    }

    pub fn buffer_bytes(&self) -> u64 {
        self.buffer_bytes.load(Ordering::Relaxed)
    }
}
