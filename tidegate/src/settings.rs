//! Settings that may change while the node runs.
//!
//! They are single numbers, read relaxed where they count; CONFIG SET writes them. Nothing else is written to their
//! cache lines.

use node::ScriptTimes;
use script::Limits;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
#[repr(align(128))]
pub struct Settings {
    clients_most: AtomicU64,
    slower_than_us: AtomicI64,
    slow_entries_max: AtomicU64,
    clients_max: AtomicU64,
    timeout_s: AtomicU64,
    output_timeout_s: AtomicU64,
    replica_staleness_ms: AtomicU64,
    script_busy_ms: AtomicU64,
    script_limit_ms: AtomicU64,
    script_bytes: AtomicU64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clients_most: AtomicU64::new(u64::MAX),
            slower_than_us: AtomicI64::new(10_000),
            slow_entries_max: AtomicU64::new(128),
            clients_max: AtomicU64::new(10_000),
            timeout_s: AtomicU64::new(0),
            output_timeout_s: AtomicU64::new(60),
            replica_staleness_ms: AtomicU64::new(1000),
            script_busy_ms: AtomicU64::new(ScriptTimes::default().busy_ms),
            script_limit_ms: AtomicU64::new(ScriptTimes::default().limit_ms),
            script_bytes: AtomicU64::new(Limits::default().bytes as u64),
        }
    }
}

impl Settings {
    /// How long scripts may take.
    pub fn script_times(&self) -> ScriptTimes {
        let of = |ms: &AtomicU64| ms.load(Ordering::Relaxed);
        ScriptTimes { busy_ms: of(&self.script_busy_ms), limit_ms: of(&self.script_limit_ms) }
    }

    /// After so long, those who wait for a script's shard are answered BUSY.
    pub fn set_script_busy_ms(&self, ms: u64) {
        self.script_busy_ms.store(ms, Ordering::Relaxed);
    }

    /// After so long a script is ended; none is if 0.
    pub fn set_script_limit_ms(&self, ms: u64) {
        self.script_limit_ms.store(ms, Ordering::Relaxed);
    }

    /// What scripts may use.
    pub fn script_limits(&self) -> Limits {
        let bytes = usize::try_from(self.script_bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let default = Limits::default();
        Limits { bytes, brisk_bytes: default.brisk_bytes.min(bytes), ms: self.script_times().limit_ms, ..default }
    }

    /// Memory that one script may use.
    pub fn set_script_bytes(&self, bytes: u64) {
        self.script_bytes.store(bytes, Ordering::Relaxed);
    }

    /// A replica answers reads of READONLY connections if it holds what was acknowledged so long ago.
    pub fn replica_staleness_ms(&self) -> u64 {
        self.replica_staleness_ms.load(Ordering::Relaxed)
    }

    pub fn set_replica_staleness_ms(&self, ms: u64) {
        self.replica_staleness_ms.store(ms, Ordering::Relaxed);
    }

    /// Commands that take at least so long go to the slowlog; all of them if 0, none if negative.
    pub fn slower_than_us(&self) -> i64 {
        self.slower_than_us.load(Ordering::Relaxed)
    }

    pub fn set_slower_than_us(&self, us: i64) {
        self.slower_than_us.store(us, Ordering::Relaxed);
    }

    /// The same in nanoseconds; nothing if the slowlog is off.
    pub fn slower_than_ns(&self) -> Option<u64> {
        u64::try_from(self.slower_than_us()).ok().map(|us| us.saturating_mul(1000))
    }

    /// Entries that the slowlog keeps.
    pub fn slow_entries_max(&self) -> u64 {
        self.slow_entries_max.load(Ordering::Relaxed)
    }

    pub fn set_slow_entries_max(&self, count: u64) {
        self.slow_entries_max.store(count, Ordering::Relaxed);
    }

    /// The most that `clients_max` may be set to.
    pub fn clients_most(&self) -> u64 {
        self.clients_most.load(Ordering::Relaxed)
    }

    pub fn set_clients_most(&self, count: u64) {
        self.clients_most.store(count, Ordering::Relaxed);
    }

    /// Client connections; more are refused.
    pub fn clients_max(&self) -> u64 {
        self.clients_max.load(Ordering::Relaxed)
    }

    pub fn set_clients_max(&self, count: u64) {
        self.clients_max.store(count, Ordering::Relaxed);
    }

    /// A client that has been silent for so many seconds is dropped; none is if 0.
    pub fn timeout_s(&self) -> u64 {
        self.timeout_s.load(Ordering::Relaxed)
    }

    pub fn set_timeout_s(&self, seconds: u64) {
        self.timeout_s.store(seconds, Ordering::Relaxed);
    }

    /// A client that has taken nothing of its replies for so many seconds is dropped; none is if 0.
    pub fn output_timeout_s(&self) -> u64 {
        self.output_timeout_s.load(Ordering::Relaxed)
    }

    pub fn set_output_timeout_s(&self, seconds: u64) {
        self.output_timeout_s.store(seconds, Ordering::Relaxed);
    }
}
