//! The boot-time clock, which counts suspend, and the wall clock.

use base::Instant;
use node::Now;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, on both clocks.
pub fn now() -> Now {
    Now { boot: boot(), wall_ms: wall_ms() }
}

/// The boot-time clock.
pub fn boot() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Instant(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Milliseconds since the Unix epoch.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
