//! INFO: the node's numbers under the names that Redis gives them, where it has one.

use crate::meters::text::seconds;
use crate::meters::totals::Totals;
use crate::meters::{LaneMeters, Process, Sums, process};
use crate::shared::{Endpoint, Phase, Shared, lock};
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// The text for the sections that are asked for; all but the statistics of single commands if none is.
pub fn info(shared: &Shared, endpoint: Endpoint, wanted: &[&[u8]]) -> String {
    let wanted: Vec<String> = wanted.iter().map(|name| String::from_utf8_lossy(name).to_lowercase()).collect();
    let has = |name: &str| wanted.iter().any(|one| one == name);
    let mut out = String::new();
    for (name, section, usual) in SECTIONS {
        let asked = has("all") || has("everything") || has(&name.to_lowercase());
        if asked || (*usual && (wanted.is_empty() || has("default"))) {
            let separator = if out.is_empty() { "" } else { "\r\n" };
            let _ = write!(out, "{separator}# {name}\r\n");
            for (key, value) in section(shared, endpoint) {
                let _ = write!(out, "{key}:{value}\r\n");
            }
        }
    }
    out
}

type Lines = Vec<(String, String)>;
type Section = fn(&Shared, Endpoint) -> Lines;

/// Name, maker, and whether INFO shows it unasked.
const SECTIONS: &[(&str, Section, bool)] = &[
    ("Server", server, true),
    ("Clients", |shared, _| clients(shared), true),
    ("Memory", |shared, _| memory(shared), true),
    ("Persistence", |shared, _| persistence(shared), true),
    ("Stats", |shared, _| stats(shared), true),
    ("Replication", |_, _| lines(&[("role", &"master"), ("connected_slaves", &0)]), true),
    ("Locks", |shared, _| locks(shared), true),
    ("CPU", |_, _| cpu(), true),
    ("Commandstats", |shared, _| command_stats(shared), false),
    ("Latencystats", |shared, _| latency_stats(shared), false),
    ("Cluster", |_, endpoint| lines(&[("cluster_enabled", &u8::from(endpoint == Endpoint::Cluster))]), true),
    ("Keyspace", |shared, _| keyspace(shared), true),
];

fn lines(pairs: &[(&str, &dyn std::fmt::Display)]) -> Lines {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.to_string())).collect()
}

fn server(shared: &Shared, endpoint: Endpoint) -> Lines {
    let (mode, port) = match endpoint {
        Endpoint::Routing | Endpoint::Memcached => ("standalone", shared.ports.resp),
        Endpoint::Cluster => ("cluster", shared.ports.cluster),
    };
    let uptime = shared.started.elapsed().as_secs();
    lines(&[
        ("redis_version", &"7.0.15"),
        ("redis_mode", &mode),
        ("tidegate_version", &env!("CARGO_PKG_VERSION")),
        ("os", &std::env::consts::OS),
        ("arch_bits", &64),
        ("process_id", &std::process::id()),
        ("tcp_port", &port),
        ("admin_port", &shared.ports.admin),
        ("server_time_usec", &(crate::clock::wall_ms() * 1000)),
        ("uptime_in_seconds", &uptime),
        ("uptime_in_days", &(uptime / 86_400)),
        ("lanes", &shared.mailboxes.len()),
    ])
}

fn clients(shared: &Shared) -> Lines {
    let clients = lock(&shared.clients);
    let seen: Vec<_> = clients.values().map(|card| card.vitals.see()).collect();
    lines(&[
        ("connected_clients", &clients.len()),
        ("client_recent_max_input_buffer", &seen.iter().map(|one| one.input_bytes).max().unwrap_or(0)),
        ("client_recent_max_output_buffer", &seen.iter().map(|one| one.output_bytes).max().unwrap_or(0)),
        ("blocked_clients", &seen.iter().filter(|one| one.flags.blocked).count()),
        ("tracking_clients", &shared.trackers.load(Ordering::Relaxed)),
        ("pubsub_clients", &seen.iter().filter(|one| one.flags.subscribed).count()),
    ])
}

fn memory(shared: &Shared) -> Lines {
    let rss = Process::look().resident_bytes.unwrap_or(0);
    let (used, limit) = (shared.used_bytes(), shared.settings.memory_bytes_max());
    let peak = Process::look().resident_peak_bytes.unwrap_or(rss);
    let buffers: u64 = lock(&shared.clients).values().map(|card| card.vitals.buffer_bytes()).sum();
    lines(&[
        ("used_memory", &used),
        ("used_memory_human", &human(used)),
        ("used_memory_rss", &rss),
        ("used_memory_rss_human", &human(rss)),
        ("used_memory_rss_peak", &peak),
        ("used_memory_dataset", &shared.keyspace_bytes()),
        ("mem_clients_normal", &buffers),
        ("maxmemory", &limit),
        ("maxmemory_human", &if limit == 0 { "0B".to_owned() } else { human(limit) }),
        ("maxmemory_policy", &super::limit::NAMES[usize::from(shared.settings.memory_policy())]),
        ("mem_allocator", &"mimalloc"),
    ])
}

fn persistence(shared: &Shared) -> Lines {
    let (wal, snapshots) = (&shared.meters.wal, &shared.meters.snapshots);
    let syncs = Sums::from(&wal.sync_ns);
    let full = shared.disk_full.load(Ordering::Relaxed);
    lines(&[
        ("loading", &u8::from(shared.phase() == Phase::Starting)),
        ("rdb_last_save_time", &(snapshots.last_at_ms.get() / 1000)),
        ("rdb_last_bgsave_status", &"ok"),
        ("rdb_last_bgsave_time_sec", &(snapshots.last_ns.get() / 1_000_000_000)),
        ("aof_enabled", &1),
        ("aof_last_write_status", &if full { "err" } else { "ok" }),
        ("aof_current_size", &wal.size_bytes.get()),
        ("disk_full", &u8::from(full)),
        ("disk_free_bytes", &process::disk_free_bytes(&shared.dir).unwrap_or(0)),
        ("wal_segments", &wal.segments.get()),
        ("wal_spare_segments", &wal.spares.get()),
        ("wal_queue_jobs", &wal.queue_jobs.get()),
        ("wal_syncs", &syncs.count()),
        ("wal_syncs_by_lanes", &wal.inline_batches.get()),
        ("wal_syncs_by_journal", &wal.thread_batches.get()),
        ("wal_sync_usec_p50", &usec(syncs.quantile(0.5))),
        ("wal_sync_usec_p99", &usec(syncs.quantile(0.99))),
        ("wal_records", &Sums::from(&wal.batch_records).sum),
        ("wal_bytes_written", &Sums::from(&wal.batch_bytes).sum),
        ("snapshots", &snapshots.count.get()),
        ("snapshots_failed", &snapshots.failed.get()),
        ("snapshot_last_bytes", &snapshots.last_bytes.get()),
        ("recovery_seconds", &format!("{:.3}", seconds(shared.meters.recovery_ns.get()))),
    ])
}

fn locks(shared: &Shared) -> Lines {
    let (gauges, counters) = crate::locks::told(shared);
    let line = |one: crate::locks::Told| {
        (one.0.trim_start_matches("tidegate_").trim_end_matches("_total").to_owned(), one.1.to_string())
    };
    gauges.into_iter().chain(counters).map(line).collect()
}

fn stats(shared: &Shared) -> Lines {
    let totals = Totals::since_reset(shared);
    let sum = |of: fn(&LaneMeters) -> u64| shared.meters.lanes.iter().map(of).sum::<u64>();
    lines(&[
        ("total_connections_received", &totals.accepted),
        ("total_commands_processed", &totals.calls()),
        ("rejected_connections", &totals.refused),
        ("total_error_replies", &totals.errors()),
        ("evicted_keys", &totals.evicted),
        ("refused_fences", &sum(|lane| lane.fenced.get())),
        ("pubsub_channels", &sum(|lane| lane.topics[0].get())),
        ("pubsub_patterns", &sum(|lane| lane.topics[1].get())),
        ("pubsubshard_channels", &sum(|lane| lane.topics[2].get())),
        ("tracking_total_keys", &sum(|lane| lane.tracked_keys.get())),
        ("tracking_total_items", &sum(|lane| lane.tracked_items.get())),
        ("tracking_total_prefixes", &sum(|lane| lane.tracked_prefixes.get())),
        ("client_output_buffer_limit_disconnections", &sum(|lane| lane.slow_clients.get())),
        ("lane_turns", &shared.meters.lanes.iter().map(|lane| lane.turns.get()).sum::<u64>()),
    ])
}

fn cpu() -> Lines {
    let process = Process::look();
    let spent = |ticks: Option<u64>| {
        let ns = ticks.unwrap_or(0) * (1_000_000_000 / process::TICKS_PER_SECOND);
        format!("{:.6}", seconds(ns))
    };
    lines(&[("used_cpu_sys", &spent(process.cpu_system_ticks)), ("used_cpu_user", &spent(process.cpu_user_ticks))])
}

/// Times hold the wait for the disk: they are what a client feels, the network apart.
fn command_stats(shared: &Shared) -> Lines {
    let totals = Totals::since_reset(shared);
    let line = |(name, one): (&&str, &crate::meters::totals::CommandTotals)| {
        let (calls, sum_ns) = (one.calls(), one.latency_ns.sum);
        let each = usec(sum_ns.checked_div(calls).unwrap_or(0));
        let (usec, rejected, failed) = (sum_ns / 1000, one.rejected, one.failed);
        let text = format!(
            "calls={calls},usec={usec},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"
        );
        (format!("cmdstat_{name}"), text)
    };
    totals.commands.iter().map(line).collect()
}

fn latency_stats(shared: &Shared) -> Lines {
    let totals = Totals::since_reset(shared);
    let ran = totals.commands.iter().filter(|(_, one)| one.calls() > 0);
    let line = |(name, one): (&&str, &crate::meters::totals::CommandTotals)| {
        let at = |share| usec(one.latency_ns.quantile(share));
        let text = format!("p50={:.3},p99={:.3},p99.9={:.3}", at(0.5), at(0.99), at(0.999));
        (format!("latency_percentiles_usec_{name}"), text)
    };
    ran.map(line).collect()
}

fn keyspace(shared: &Shared) -> Lines {
    let held = shared.keys_by_db().into_iter().filter(|(_, (keys, _))| *keys > 0);
    held.map(|(db, (keys, expires))| (format!("db{db}"), format!("keys={keys},expires={expires},avg_ttl=0"))).collect()
}

fn usec(ns: u64) -> f64 {
    seconds(ns) * 1e6
}

fn human(bytes: u64) -> String {
    let mib = f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0;
    format!("{mib:.2}M")
}
