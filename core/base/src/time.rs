//! The two kinds of time, kept apart by type.
//!
//! [`Instant`] is the boot-time clock of one machine (it counts suspend): good for durations and deadlines,
//! meaningless elsewhere. [`Stamp`] is the time that a log entry carries: the only time that replicated state may
//! see, equal on all replicas.

/// Nanoseconds on this machine's boot-time clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// Nanoseconds since `earlier`; zero if that lies ahead.
    #[must_use]
    pub fn since_ns(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This instant moved `ms` milliseconds ahead.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(NS_PER_MS)))
    }

    /// The next multiple of `ms` behind this: timers that needn't be exact then come together.
    #[must_use]
    pub fn next_multiple_of_ms(self, ms: u64) -> Self {
        let step_ns = ms * NS_PER_MS;
        Self((self.0 / step_ns + 1).saturating_mul(step_ns))
    }
}

/// Milliseconds since the Unix epoch as one shard's log tells them; never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

/// Nanoseconds in a millisecond.
pub const NS_PER_MS: u64 = 1_000_000;
