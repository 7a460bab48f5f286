//! What the node counts of itself.
//!
//! Every number has one writer, the thread that does what it counts, and any number of readers: a count is a load and
//! a store, both relaxed, with no locked instruction and no cache line that two lanes write. Readers add the lanes'
//! numbers up when somebody asks ([`totals`]); what they see may be a turn old and is never torn within one number.
//!
//! Nothing here reads a clock on a request's way. A lane looks at its clock when it begins to serve a turn and before
//! it writes the turn's replies, as it must anyway; every request of the turn has those two as its times ([`turn`]).

mod histogram;
mod lane;
pub mod page;
pub mod process;
pub mod text;
pub mod totals;
mod turn;

pub use histogram::{Histogram, Sums};
pub use lane::LaneMeters;
pub use process::Process;
pub use turn::{Asked, Turn};

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A count with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down, with one writer.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted, by who counts it.
#[derive(Debug)]
pub struct Meters {
    pub lanes: Vec<LaneMeters>,
    pub wal: WalMeters,
    pub snapshots: SnapshotMeters,
    /// How long it took to read snapshots and the log at the start.
    pub recovery_ns: Gauge,
}

/// Of the write-ahead log; whoever holds its lock is the writer.
#[derive(Debug, Default)]
pub struct WalMeters {
    /// Batches that a lane stored itself, and those of the journal thread.
    pub inline_batches: Counter,
    pub thread_batches: Counter,
    pub batch_records: Histogram,
    pub batch_bytes: Histogram,
    pub append_ns: Histogram,
    pub sync_ns: Histogram,
    /// Turns of lanes that wait for the journal thread; whoever holds the queue's lock writes it.
    pub queue_jobs: Gauge,
    /// The keeper looks at the log from time to time, and writes these four.
    pub segments: Gauge,
    pub spares: Gauge,
    pub size_bytes: Gauge,
    pub room_bytes: Gauge,
}

/// Of snapshots; the keeper writes them.
#[derive(Debug, Default)]
pub struct SnapshotMeters {
    pub count: Counter,
    pub failed: Counter,
    pub bytes: Counter,
    pub last_bytes: Gauge,
    pub last_ns: Gauge,
    /// When the last was finished, by the wall clock; zero if none was.
    pub last_at_ms: Gauge,
}

impl SnapshotMeters {
    /// A shard's snapshot has its name.
    pub fn finished(&self, bytes: u64, took: Duration) {
        self.count.add(1);
        self.bytes.add(bytes);
        self.last_bytes.set(bytes);
        self.last_ns.set(nanos(took));
        self.last_at_ms.set(crate::clock::wall_ms());
    }
}

/// A duration in nanoseconds, as histograms take it.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Meters {
    pub fn new(lanes: usize) -> Self {
        Self {
            lanes: std::iter::repeat_with(LaneMeters::new).take(lanes).collect(),
            wal: WalMeters::default(),
            snapshots: SnapshotMeters::default(),
            recovery_ns: Gauge::default(),
        }
    }
}
