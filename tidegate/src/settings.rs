//! Settings that may change while the node runs.
//!
//! They are single numbers, read relaxed where they count; CONFIG SET writes them. Nothing else is written to their
//! cache lines.

use data::keyspace::Class;
use node::ScriptTimes;
use script::Limits;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU64, Ordering};

/// See the module.
#[derive(Debug)]
#[repr(align(128))]
pub struct Settings {
    clients_most: AtomicU64,
    slower_than_us: AtomicI64,
    slow_entries_max: AtomicU64,
    latency_from_ms: AtomicU64,
    clients_max: AtomicU64,
    timeout_s: AtomicU64,
    output_timeout_s: AtomicU64,
    replica_staleness_ms: AtomicU64,
    closes_on_lost_leader: AtomicBool,
    script_busy_ms: AtomicU64,
    script_limit_ms: AtomicU64,
    script_bytes: AtomicU64,
    notified: AtomicU16,
    tracked_keys_max: AtomicU64,
    memory_bytes_max: AtomicU64,
    memory_policy: AtomicU8,
    memory_samples: AtomicU64,
    lfu_log_factor: AtomicU64,
    lfu_decay_minutes: AtomicU64,
    output_limits: [[AtomicU64; 3]; 3],
}

/// What clients of the routing endpoint see of a write whose leader was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLostLeader {
    /// -INDOUBT, or -TRYAGAIN.
    #[default]
    Error,
    /// The end of the connection.
    Close,
}

impl OnLostLeader {
    /// Both names, as CONFIG and the node's file have them.
    pub const NAMES: [&str; 2] = ["error", "close"];
}

/// How much a client of a kind may be owed: more than the hard limit at no time, more than the soft one not for so long. No
/// limit if zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    pub hard_bytes: u64,
    pub soft_bytes: u64,
    pub soft_seconds: u64,
}

/// The kinds of clients that `client-output-buffer-limit` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputClass {
    Normal,
    /// There are none here.
    Replica,
    /// Those that get what they haven't asked for just then.
    Pubsub,
}

/// What `notify-keyspace-events` asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notified(u16);

const KEYSPACE: u16 = 1 << 14;
const KEYEVENT: u16 = 1 << 15;
/// The letters of classes, in the order in which they are shown; `d` is for modules, of which there are none.
const CLASSES: [(char, u16); 12] = [
    ('g', 1 << 0),
    ('$', 1 << 1),
    ('l', 1 << 2),
    ('s', 1 << 3),
    ('h', 1 << 4),
    ('z', 1 << 5),
    ('x', 1 << 6),
    ('e', 1 << 7),
    ('t', 1 << 8),
    ('d', 1 << 9),
    ('n', 1 << 10),
    ('m', 1 << 11),
];
/// All but `n` and `m`, as `A` means.
const ALL: u16 = (1 << 10) - 1;

impl Notified {
    /// Reads the letters; nothing if one of them means nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let bit = |letter| match letter {
            'A' => Some(ALL),
            'K' => Some(KEYSPACE),
            'E' => Some(KEYEVENT),
            other => CLASSES.iter().find(|(class, _)| *class == other).map(|(_, bit)| *bit),
        };
        text.chars().try_fold(0, |bits, letter| Some(bits | bit(letter)?)).map(Self)
    }

    /// True if events of the class are asked for.
    pub fn has(self, class: Class) -> bool {
        let letter = match class {
            Class::Generic => 'g',
            Class::String => '$',
            Class::List => 'l',
            Class::Set => 's',
            Class::Hash => 'h',
            Class::Zset => 'z',
            Class::Expired => 'x',
            Class::Evicted => 'e',
            Class::Stream => 't',
            Class::New => 'n',
            Class::Miss => 'm',
        };
        self.any() && CLASSES.iter().any(|(of, bit)| *of == letter && self.0 & bit != 0)
    }

    /// True if anything at all is to be told.
    pub fn any(self) -> bool {
        (self.keyspace() || self.keyevent()) && self.0 & !(KEYSPACE | KEYEVENT) != 0
    }

    /// Under the key's name.
    pub fn keyspace(self) -> bool {
        self.0 & KEYSPACE != 0
    }

    /// Under the event's.
    pub fn keyevent(self) -> bool {
        self.0 & KEYEVENT != 0
    }
}

impl std::fmt::Display for Notified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.0 & ALL == ALL;
        if all {
            f.write_str("A")?;
        }
        let of_all = |bit: u16| bit & ALL != 0;
        let shown =
            CLASSES.iter().filter(|(letter, bit)| self.0 & bit != 0 && !(all && of_all(*bit)) && *letter != 'm');
        shown.map(|(letter, _)| letter).try_for_each(|letter| write!(f, "{letter}"))?;
        let behind = [('K', KEYSPACE), ('E', KEYEVENT), ('m', 1 << 11)];
        behind.iter().filter(|(_, bit)| self.0 & bit != 0).try_for_each(|(letter, _)| write!(f, "{letter}"))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clients_most: AtomicU64::new(u64::MAX),
            slower_than_us: AtomicI64::new(10_000),
            slow_entries_max: AtomicU64::new(128),
            latency_from_ms: AtomicU64::new(0),
            clients_max: AtomicU64::new(10_000),
            timeout_s: AtomicU64::new(0),
            output_timeout_s: AtomicU64::new(60),
            replica_staleness_ms: AtomicU64::new(1000),
            closes_on_lost_leader: AtomicBool::new(false),
            script_busy_ms: AtomicU64::new(ScriptTimes::default().busy_ms),
            script_limit_ms: AtomicU64::new(ScriptTimes::default().limit_ms),
            script_bytes: AtomicU64::new(Limits::default().bytes as u64),
            notified: AtomicU16::new(0),
            tracked_keys_max: AtomicU64::new(1_000_000),
            memory_bytes_max: AtomicU64::new(0),
            memory_policy: AtomicU8::new(crate::admin::limit::NO_EVICTION),
            memory_samples: AtomicU64::new(5),
            lfu_log_factor: AtomicU64::new(10),
            lfu_decay_minutes: AtomicU64::new(1),
            output_limits: [[0, 0, 0], [256 * MIB, 64 * MIB, 60], [32 * MIB, 8 * MIB, 60]]
                .map(|limit| limit.map(AtomicU64::new)),
        }
    }
}

const MIB: u64 = 1024 * 1024;

impl Settings {
    /// How long scripts may take.
    pub fn script_times(&self) -> ScriptTimes {
        let of = |ms: &AtomicU64| ms.load(Ordering::Relaxed);
        ScriptTimes { busy_ms: of(&self.script_busy_ms), limit_ms: of(&self.script_limit_ms), apart: true }
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

    /// What clients are told of what happens to keys.
    pub fn notified(&self) -> Notified {
        Notified(self.notified.load(Ordering::Relaxed))
    }

    pub fn set_notified(&self, notified: Notified) {
        self.notified.store(notified.0, Ordering::Relaxed);
    }

    /// Keys that are remembered for the caches of clients; no bound if zero.
    pub fn tracked_keys_max(&self) -> u64 {
        self.tracked_keys_max.load(Ordering::Relaxed)
    }

    pub fn set_tracked_keys_max(&self, count: u64) {
        self.tracked_keys_max.store(count, Ordering::Relaxed);
    }

    /// What keys and values may take; no limit if zero.
    pub fn memory_bytes_max(&self) -> u64 {
        self.memory_bytes_max.load(Ordering::Relaxed)
    }

    pub fn set_memory_bytes_max(&self, bytes: u64) {
        self.memory_bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// What goes when they take more: a place in [`crate::admin::limit::POLICIES`].
    pub fn memory_policy(&self) -> u8 {
        self.memory_policy.load(Ordering::Relaxed)
    }

    pub fn set_memory_policy(&self, policy: u8) {
        self.memory_policy.store(policy, Ordering::Relaxed);
    }

    /// Keys that are drawn for each that goes.
    pub fn memory_samples(&self) -> u64 {
        self.memory_samples.load(Ordering::Relaxed)
    }

    pub fn set_memory_samples(&self, count: u64) {
        self.memory_samples.store(count, Ordering::Relaxed);
    }

    /// How seldom the counter of a key's uses rises.
    pub fn lfu_log_factor(&self) -> u64 {
        self.lfu_log_factor.load(Ordering::Relaxed)
    }

    pub fn set_lfu_log_factor(&self, factor: u64) {
        self.lfu_log_factor.store(factor, Ordering::Relaxed);
    }

    /// In how many minutes it sinks by one; never if zero.
    pub fn lfu_decay_minutes(&self) -> u64 {
        self.lfu_decay_minutes.load(Ordering::Relaxed)
    }

    pub fn set_lfu_decay_minutes(&self, minutes: u64) {
        self.lfu_decay_minutes.store(minutes, Ordering::Relaxed);
    }

    /// How much a client of a kind may be owed.
    pub fn output_limit(&self, class: OutputClass) -> OutputLimit {
        let [hard_bytes, soft_bytes, soft_seconds] =
            [0, 1, 2].map(|at| self.output_limits[class as usize][at].load(Ordering::Relaxed));
        OutputLimit { hard_bytes, soft_bytes, soft_seconds }
    }

    pub fn set_output_limit(&self, class: OutputClass, limit: OutputLimit) {
        let OutputLimit { hard_bytes, soft_bytes, soft_seconds } = limit;
        for (to, value) in self.output_limits[class as usize].iter().zip([hard_bytes, soft_bytes, soft_seconds]) {
            to.store(value, Ordering::Relaxed);
        }
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

    /// What takes at least so long is a sample of LATENCY; nothing is if 0.
    pub fn latency_from_ms(&self) -> u64 {
        self.latency_from_ms.load(Ordering::Relaxed)
    }

    pub fn set_latency_from_ms(&self, ms: u64) {
        self.latency_from_ms.store(ms, Ordering::Relaxed);
    }

    /// The same in nanoseconds; nothing if no samples are taken.
    pub fn latency_from_ns(&self) -> Option<u64> {
        Some(self.latency_from_ms()).filter(|ms| *ms > 0).map(|ms| ms.saturating_mul(1_000_000))
    }

    /// What takes less is noted neither by the slowlog nor by LATENCY; nothing if both are off.
    pub fn timed_from_ns(&self) -> Option<u64> {
        self.slower_than_ns().into_iter().chain(self.latency_from_ns()).min()
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
    pub fn on_lost_leader(&self) -> OnLostLeader {
        match self.closes_on_lost_leader.load(Ordering::Relaxed) {
            true => OnLostLeader::Close,
            false => OnLostLeader::Error,
        }
    }

    pub fn set_on_lost_leader(&self, what: OnLostLeader) {
        self.closes_on_lost_leader.store(what == OnLostLeader::Close, Ordering::Relaxed);
    }

    pub fn output_timeout_s(&self) -> u64 {
        self.output_timeout_s.load(Ordering::Relaxed)
    }

    pub fn set_output_timeout_s(&self, seconds: u64) {
        self.output_timeout_s.store(seconds, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_events_are_read_and_shown_as_redis_does() {
        for (given, shown) in [
            ("KEA", "AKE"),
            ("Kg", "gK"),
            ("", ""),
            ("Ex$", "$xE"),
            ("KEg$lshzxetdm", "AKEm"),
            ("Kn", "nK"),
            ("AEn", "AnE"),
            ("Km", "Km"),
        ] {
            assert_eq!(Notified::parse(given).map(|all| all.to_string()).as_deref(), Some(shown), "{given}");
        }
        assert_eq!(Notified::parse("KEA n"), None);
        let has = |text: &str, class| Notified::parse(text).is_some_and(|all| all.has(class));
        assert!(has("KA", Class::Evicted) && has("Ex", Class::Expired) && has("Em", Class::Miss));
        assert!(!has("A", Class::List), "neither K nor E");
        assert!(!has("KEA", Class::New) && !has("KEA", Class::Miss), "these must be asked for");
    }
}
