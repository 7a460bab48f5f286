//! The boot-time clock, which counts suspend, and the wall clock.
//!
//! Tests make the wall clock jump: if `TIDEGATE_TEST_WALL_OFFSET_FILE` is set when the process starts, the file that it names
//! holds milliseconds that are added to the wall clock, and is read a hundred times a second. The boot-time clock can't jump.

use base::Instant;
use node::Now;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What tests add to the wall clock; zero in every other process.
static WALL_OFFSET_MS: AtomicI64 = AtomicI64::new(0);

/// Lets the wall clock jump if a test wants it.
pub fn follow_tests() {
    let Some(file) = std::env::var_os("TIDEGATE_TEST_WALL_OFFSET_FILE").map(PathBuf::from) else { return };
    crate::log::warn("clock", "the wall clock follows a file, as only tests want it", &[("file", &file.display())]);
    std::thread::spawn(move || {
        loop {
            let offset_ms = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
            WALL_OFFSET_MS.store(offset_ms.unwrap_or(0), Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

fn with_offset(real_ms: u64) -> u64 {
    real_ms.saturating_add_signed(WALL_OFFSET_MS.load(Ordering::Relaxed))
}

/// Now, on both clocks. The wall clock is read as of the last tick of the kernel: an election needs no better, and reading
/// it well costs as much as a look-up.
pub fn now() -> Now {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    let seconds = u64::try_from(wall.tv_sec).unwrap_or(0);
    let wall_ms = seconds * 1000 + u64::try_from(wall.tv_nsec).unwrap_or(0) / 1_000_000;
    Now { boot: boot(), wall_ms: with_offset(wall_ms) }
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
    with_offset(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Microseconds since the Unix epoch.
pub fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    with_offset(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)) * 1000 + u64::from(since.subsec_micros() % 1000)
}
