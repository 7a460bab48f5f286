//! MEMORY: what takes memory on the node. What a key takes, its shard tells.

use crate::meters::Process;
use crate::shared::{Shared, lock};
use data::Reply;
use data::keyspace::table::PLACE_BYTES;
use std::fmt::Write;

/// MEMORY; `sub` in lower case.
pub fn memory(shared: &Shared, sub: &[u8]) -> Reply {
    match sub {
        b"stats" => stats(&Sizes::look(shared)),
        b"doctor" => Reply::Verbatim(report(&Sizes::look(shared))),
        b"malloc-stats" => Reply::Verbatim(malloc_stats()),
        _ => Reply::Ok,
    }
}

/// Bytes.
#[derive(Debug, Default)]
struct Sizes {
    resident: u64,
    resident_peak: u64,
    keyspace: u64,
    clients: u64,
    /// By database: keys, and those that expire.
    keys: Vec<(usize, (u64, u64))>,
}

impl Sizes {
    fn look(shared: &Shared) -> Self {
        let process = Process::look();
        let resident = process.resident_bytes.unwrap_or(0);
        let keys = shared.keys_by_db().into_iter().filter(|(_, (keys, _))| *keys > 0);
        Self {
            resident,
            resident_peak: process.resident_peak_bytes.unwrap_or(0).max(resident),
            keyspace: shared.keyspace_bytes(),
            clients: lock(&shared.clients).values().map(|card| card.vitals.buffer_bytes()).sum(),
            keys: keys.map(|(db, (keys, expiring))| (db, (keys as u64, expiring as u64))).collect(),
        }
    }

    fn key_count(&self) -> u64 {
        self.keys.iter().map(|(_, (keys, _))| keys).sum()
    }
}

/// The names are those of Redis; what it counts and the node doesn't is left out or 0.
fn stats(sizes: &Sizes) -> Reply {
    let keys = sizes.key_count();
    let overhead = sizes.resident.saturating_sub(sizes.keyspace);
    let mut rows = Vec::new();
    let mut number = |name: &str, value: u64| {
        rows.push((Reply::text(name), Reply::Int(i64::try_from(value).unwrap_or(i64::MAX))));
    };
    number("peak.allocated", sizes.resident_peak);
    number("total.allocated", sizes.resident);
    number("startup.allocated", 0);
    number("replication.backlog", 0);
    number("clients.slaves", 0);
    number("clients.normal", sizes.clients);
    number("cluster.links", 0);
    number("aof.buffer", 0);
    number("lua.caches", 0);
    number("functions.caches", 0);
    for (db, (keys, expiring)) in &sizes.keys {
        let bytes = |count: u64| Reply::Int(i64::try_from(count * PLACE_BYTES as u64).unwrap_or(i64::MAX));
        let of_db = vec![
            (Reply::text("overhead.hashtable.main"), bytes(*keys)),
            (Reply::text("overhead.hashtable.expires"), bytes(*expiring)),
        ];
        rows.push((Reply::text(format_args!("db.{db}")), Reply::Map(of_db)));
    }
    let mut number = |name: &str, value: u64| {
        rows.push((Reply::text(name), Reply::Int(i64::try_from(value).unwrap_or(i64::MAX))));
    };
    number("overhead.total", overhead);
    number("keys.count", keys);
    number("keys.bytes-per-key", sizes.keyspace.checked_div(keys).unwrap_or(0));
    number("dataset.bytes", sizes.keyspace);
    for name in ["allocator.allocated", "allocator.active", "allocator.resident"] {
        number(name, sizes.resident);
    }
    let mut share = |name: &str, value: f64| rows.push((Reply::text(name), Reply::Double(value)));
    share("dataset.percentage", ratio(sizes.keyspace, sizes.resident) * 100.0);
    share("peak.percentage", ratio(sizes.resident, sizes.resident_peak) * 100.0);
    share("fragmentation", ratio(sizes.resident, sizes.keyspace));
    Reply::Map(rows)
}

#[expect(clippy::cast_precision_loss, reason = "the share of some bytes")]
fn ratio(of: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { of as f64 / whole as f64 }
}

const MIB: u64 = 1024 * 1024;
/// A node with less than this is not worth a report.
const SMALL_BYTES: u64 = 5 * MIB;

fn report(sizes: &Sizes) -> String {
    let mut text = format!(
        "The node has {} MiB resident ({} at most), {} MiB of keys and values in {} keys, {} MiB of clients' buffers.\n",
        sizes.resident / MIB,
        sizes.resident_peak / MIB,
        sizes.keyspace / MIB,
        sizes.key_count(),
        sizes.clients / MIB,
    );
    let findings = [
        (
            sizes.resident_peak / 3 * 2 > sizes.resident,
            "It was half as large again: free pages may be on their way back to the kernel.",
        ),
        (
            sizes.keyspace > SMALL_BYTES && sizes.resident / 2 > sizes.keyspace,
            "Keys and values are less than half of it: buffers, snapshots that are written, the log's pages, or room that \
             removed keys have left.",
        ),
        (
            sizes.clients > SMALL_BYTES && sizes.clients > sizes.resident / 10,
            "Clients' buffers are a tenth of it: CLIENT LIST shows whose.",
        ),
    ];
    let mut found = findings.into_iter().filter(|(is, _)| *is).peekable();
    if found.peek().is_none() {
        text.push_str("Nothing about that is odd.\n");
    }
    for (_, finding) in found {
        let _ = writeln!(text, "* {finding}");
    }
    text
}

/// The allocator keeps its counts to itself: the kernel's are told.
fn malloc_stats() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of_memory = |line: &&str| line.starts_with("Vm") || line.starts_with("Rss");
    let lines: Vec<&str> = status.lines().filter(of_memory).collect();
    format!("allocator: mimalloc\n{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_tells_what_is_odd() {
        let usual = Sizes { resident: 100 * MIB, resident_peak: 110 * MIB, keyspace: 80 * MIB, ..Sizes::default() };
        assert!(report(&usual).contains("Nothing about that is odd"));
        let odd = Sizes { resident_peak: 400 * MIB, keyspace: 20 * MIB, clients: 30 * MIB, ..usual };
        assert_eq!(report(&odd).matches("* ").count(), 3);
    }
}
