//! What the threads of a node share: mailboxes, counters and the list of clients.

use base::ClientId;
use consensus::Envelope;
use node::{LaneMessage, SnapshotWaiting};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What reaches a lane from other threads.
#[derive(Debug)]
pub enum Input {
    Accepted(std::net::TcpStream),
    Lane(LaneMessage),
    Persisted(Vec<Envelope>),
    SnapshotFailed { shard: base::ShardId },
    BeginSnapshots,
    Kill(ClientId),
    Stop,
}

/// A lane's mailbox.
#[derive(Debug)]
pub struct Mailbox {
    inputs: Mutex<Vec<Input>>,
    /// True while the lane may be blocked in poll: only then is a wake-up worth a system call.
    pub sleeping: AtomicBool,
    waker: mio::Waker,
    /// Connections of the lane.
    pub clients: AtomicUsize,
    /// Bytes of snapshots that the keeper has not yet written.
    pub snapshot_backlog: Backlog,
}

/// Bytes between a lane and the keeper.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: AtomicUsize,
    copied_bytes: AtomicUsize,
}

impl Backlog {
    /// A piece was handed over.
    pub fn gave(&self, bytes: usize, copied: bool) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.copied_bytes.fetch_add(if copied { bytes } else { 0 }, Relaxed);
    }

    /// A piece is written.
    pub fn took(&self, bytes: usize, copied: bool) {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.copied_bytes.fetch_sub(if copied { bytes } else { 0 }, Relaxed);
    }

    /// What waits.
    pub fn waiting(&self) -> SnapshotWaiting {
        SnapshotWaiting { bytes: self.bytes.load(Relaxed), copied_bytes: self.copied_bytes.load(Relaxed) }
    }
}

impl Mailbox {
    pub fn new(waker: mio::Waker) -> Self {
        Self {
            inputs: Mutex::new(Vec::new()),
            sleeping: AtomicBool::new(false),
            waker,
            clients: AtomicUsize::new(0),
            snapshot_backlog: Backlog::default(),
        }
    }

    /// Puts an input in and wakes the lane if it sleeps.
    pub fn put(&self, input: Input) {
        self.put_all(std::iter::once(input));
    }

    /// The same for several, under one lock and with one wake-up.
    pub fn put_all(&self, inputs: impl Iterator<Item = Input>) {
        lock(&self.inputs).extend(inputs);
        if self.sleeping.swap(false, std::sync::atomic::Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            crate::dev::die(&format!("a lane can't be woken: {error}"));
        }
    }

    /// Takes everything that has come.
    pub fn take(&self, into: &mut Vec<Input>) {
        std::mem::swap(&mut *lock(&self.inputs), into);
    }

    /// True if something waits.
    pub fn has_mail(&self) -> bool {
        !lock(&self.inputs).is_empty()
    }
}

/// One client as CLIENT LIST shows it.
#[derive(Clone, Debug)]
pub struct Card {
    pub lane: usize,
    pub handle: ClientId,
    pub addr: SocketAddr,
    pub laddr: SocketAddr,
    pub since: Instant,
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    pub db: u8,
    pub resp: u8,
}

/// Counters and lists of the whole node.
#[derive(Debug)]
pub struct Shared {
    pub started: Instant,
    pub port: u16,
    pub dir: std::path::PathBuf,
    pub requirepass: Option<Vec<u8>>,
    pub mailboxes: Vec<Mailbox>,
    pub clients: Mutex<BTreeMap<u64, Card>>,
    pub next_client: AtomicU64,
    pub commands: AtomicU64,
    pub connections: AtomicU64,
    /// Keys and keys with an expiry by database, as the lanes last told: `[lane][db]`.
    pub keys: Mutex<Vec<[(usize, usize); 16]>>,
    /// True while the disk has no room for more log.
    pub disk_full: AtomicBool,
    pub stopping: AtomicBool,
}

/// Locks; a thread that panicked holding a lock has already ended the process.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
