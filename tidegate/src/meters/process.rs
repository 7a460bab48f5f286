//! What the kernel knows of this process; a number that it doesn't tell is left out.

use std::path::Path;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process {
    pub resident_bytes: Option<u64>,
    /// The most that was ever resident.
    pub resident_peak_bytes: Option<u64>,
    pub open_files: Option<u64>,
    pub cpu_user_ticks: Option<u64>,
    pub cpu_system_ticks: Option<u64>,
}

/// The unit of CPU times in /proc, on every Linux there is.
pub const TICKS_PER_SECOND: u64 = 100;

impl Process {
    pub fn look() -> Self {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name, in parentheses, may hold anything; the fields after it are numbers.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        Self {
            resident_bytes: number(&statm, 1).map(|pages| pages * page_bytes()),
            resident_peak_bytes: peak.and_then(|text| number(text.trim(), 0)).map(|kib| kib * 1024),
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            cpu_user_ticks: number(fields, 11),
            cpu_system_ticks: number(fields, 12),
        }
    }

    pub fn cpu_ticks(&self) -> Option<u64> {
        Some(self.cpu_user_ticks? + self.cpu_system_ticks?)
    }
}

/// Bytes that this process may still write to the file system of `dir`.
pub fn disk_free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail * stat.f_frsize)
}

fn number(text: &str, at: usize) -> Option<u64> {
    text.split(' ').nth(at)?.parse().ok()
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}
