//! The boot-time clock, which counts suspend, and the wall clock.

use base::Instant;
use node::Now;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, on both clocks. The wall clock is read as of the last tick of the kernel: an election needs no better, and reading
/// it well costs as much as a look-up.
pub fn now() -> Now {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    let seconds = u64::try_from(wall.tv_sec).unwrap_or(0);
    let wall_ms = seconds * 1000 + u64::try_from(wall.tv_nsec).unwrap_or(0) / 1_000_000;
    Now { boot: boot(), wall_ms }
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
