//! What the threads of a node share: mailboxes, counters and the list of clients.

use crate::admin::latency::Latency;
use crate::admin::slowlog::Slowlog;
use crate::cli::Dev;
use crate::clients::Card;
use crate::lane::{Keys, Pause};
use crate::meters::Meters;
use crate::meters::totals::Totals;
use crate::neighbours;
use crate::settings::Settings;
use arc_swap::ArcSwap;
use base::{ClientId, NodeId, Roster, ShardId};
use bytes::Bytes;
use data::Reply;
use data::command::locks::Ask;
use data::waits::How;
use edge::cluster::Map;
use node::{Heard, LaneMessage, LockCounts, Released, ShardStatus, SnapshotNews, SnapshotWaiting};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What reaches a lane from other threads.
#[derive(Debug)]
pub enum Input {
    Accepted(Endpoint, std::net::TcpStream),
    Lane(LaneMessage),
    Persisted(Released),
    /// A block of locks' tokens, if one could be had.
    Tokens(Option<u64>),
    /// A call about a lock that comes by no connection of the lane, and where its answer goes.
    LockCall {
        caller: ClientId,
        ask: Ask,
        answer: tokio::sync::oneshot::Sender<Reply>,
    },
    /// Nobody waits for the answer to it any more.
    LockCallerGone(ClientId),
    /// What became of a step of a shard's snapshots.
    Snapshot {
        shard: ShardId,
        news: SnapshotNews,
    },
    BeginSnapshots,
    /// Scripts that were run elsewhere.
    Batch(Box<data::batch::Batch>),
    Kill(ClientId),
    /// A client's call that waits is to end so; who asked is told whether it did.
    Unblock {
        client: ClientId,
        how: How,
        asker: Option<Asker>,
    },
    /// The answer to what a client of the lane asked of another lane.
    Answer {
        client: ClientId,
        seq: u64,
        reply: Reply,
    },
    /// What entries did to keys of another lane's shards.
    Heard(Arc<[Heard]>),
    /// Another lane's client reads what one of this lane's is to be told.
    Invalidate {
        client: ClientId,
        keys: Keys,
    },
    /// What clients listen for has changed.
    Listen,
    /// Lines for those who monitor.
    Lines(Vec<Bytes>),
    /// How much memory there may be, and what is done about more, has changed.
    Memory,
    /// CLIENT PAUSE is over.
    Resumed,
    Stop,
}

/// A client that waits for what another lane does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub lane: usize,
    pub client: ClientId,
    pub seq: u64,
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
        if self.sleeping.swap(false, Ordering::SeqCst)
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
        self.depth() > 0
    }

    /// How many inputs wait.
    pub fn depth(&self) -> usize {
        lock(&self.inputs).len()
    }
}

/// Where a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// One big server: any command is answered here, whoever leads its shard.
    Routing,
    /// A node of a Redis Cluster: clients find the leader by themselves.
    Cluster,
    /// Database 0 for clients of memcached.
    Memcached,
}

/// The ports of a node, on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub resp: u16,
    pub cluster: u16,
    pub admin: u16,
    /// If it is served.
    pub memcached: Option<u16>,
    /// Of a node of a cluster.
    pub peers: Option<u16>,
}

/// Who a node is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The id of its cluster, if it is in one.
    pub cluster: Option<u64>,
    pub node: NodeId,
    pub name: String,
}

/// Counters and lists of the whole node.
#[derive(Debug)]
pub struct Shared {
    pub node: NodeId,
    pub started: Instant,
    /// The same by the wall clock.
    pub started_at_ms: u64,
    pub ports: Ports,
    pub dir: std::path::PathBuf,
    pub requirepass: Option<Vec<u8>>,
    pub mailboxes: Vec<Mailbox>,
    pub clients: Mutex<BTreeMap<u64, Card>>,
    pub next_client: AtomicU64,
    /// Calls of the admin port.
    pub next_caller: AtomicU64,
    /// Connections that were accepted, and that were refused for there were too many.
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    pub settings: Settings,
    /// Clients whose reads are tracked, and clients that monitor.
    pub trackers: AtomicUsize,
    pub monitors: AtomicUsize,
    pub pause: Pause,
    pub slowlog: Mutex<Slowlog>,
    pub latency: Mutex<Latency>,
    pub meters: Meters,
    /// What CONFIG RESETSTAT has seen: INFO counts from there.
    pub reset_at: Mutex<Totals>,
    /// Keys and keys with an expiry by database, as the lanes last told: `[lane][db]`.
    pub keys: Mutex<Vec<[(usize, usize); 16]>>,
    /// How the shards stand, as the lanes last told.
    pub shards: Mutex<BTreeMap<ShardId, ShardStatus>>,
    /// How locks stand, as their lane last told.
    pub locks: Mutex<LockCounts>,
    /// What this node knows of its cluster, for the cluster endpoint: swapped whole by the lane that has the links.
    pub map: ArcSwap<Map>,
    /// The cluster's id and roster, on a node that is in one; its first roster comes some moments after the first start.
    pub cluster: Option<u64>,
    /// What people call the node.
    pub name: String,
    /// And other nodes, as far as they have told.
    pub names: Mutex<BTreeMap<NodeId, String>>,
    pub roster: Mutex<Option<Arc<Roster>>>,
    /// True while the disk has no room for more log.
    pub disk_full: AtomicBool,
    phase: AtomicU8,
}

/// Where the node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The log is read, and nothing is served.
    Starting,
    Ready,
    /// What was begun is finished.
    Stopping,
}

impl Shared {
    /// What the threads of a node share at its start, with a mailbox per lane.
    pub fn new(options: &Dev, identity: Identity, ports: Ports, mailboxes: Vec<Mailbox>) -> Self {
        let Identity { cluster, node, name } = identity;
        let lanes = mailboxes.len();
        Self {
            node,
            started: Instant::now(),
            started_at_ms: crate::clock::wall_ms(),
            ports,
            dir: options.dir.clone(),
            requirepass: options.requirepass.as_ref().map(|text| text.clone().into_bytes()),
            mailboxes,
            clients: Mutex::new(BTreeMap::new()),
            next_client: AtomicU64::new(0),
            next_caller: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            settings: Settings::default(),
            trackers: AtomicUsize::new(0),
            monitors: AtomicUsize::new(0),
            pause: Pause::default(),
            slowlog: Mutex::default(),
            latency: Mutex::default(),
            meters: Meters::new(lanes),
            reset_at: Mutex::default(),
            shards: Mutex::default(),
            locks: Mutex::default(),
            map: ArcSwap::from_pointee(neighbours::alone(node, ports, options.shards)),
            keys: Mutex::new(vec![[(0, 0); 16]; lanes]),
            cluster,
            name,
            names: Mutex::default(),
            roster: Mutex::default(),
            disk_full: AtomicBool::new(false),
            phase: AtomicU8::new(0),
        }
    }

    /// By database, its keys and those of them with an expiry, as the lanes last told.
    pub fn keys_by_db(&self) -> Vec<(usize, (usize, usize))> {
        let lanes = lock(&self.keys);
        let sum = |db: usize| lanes.iter().fold((0, 0), |sum, lane| (sum.0 + lane[db].0, sum.1 + lane[db].1));
        (0..16).map(|db| (db, sum(db))).collect()
    }

    /// Bytes of all keys and values, as the lanes last told.
    pub fn keyspace_bytes(&self) -> u64 {
        self.meters.lanes.iter().map(|lane| lane.keyspace_bytes.get()).sum()
    }

    /// What counts against `maxmemory`, as the lanes last told.
    pub fn used_bytes(&self) -> u64 {
        self.meters.lanes.iter().map(|lane| lane.used_bytes.get()).sum()
    }

    /// Keys that went since memory had run out.
    pub fn evicted(&self) -> u64 {
        self.meters.lanes.iter().map(|lane| lane.evicted.get()).sum()
    }

    /// Where the node is in its life.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Stopping,
        }
    }

    /// The node goes on to `phase`.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }
}

/// Locks; a thread that panicked holding a lock has already ended the process.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
