//! The page of /metrics: what each number is called, and what it means.

use super::text::{BYTES, COUNT, Page, SECONDS, seconds};
use super::totals::Totals;
use super::{LaneMeters, Process, Sums, process};
use crate::shared::{Phase, Shared, lock};
use std::sync::atomic::Ordering;

/// All metrics of the node.
pub fn page(shared: &Shared) -> String {
    let mut page = Page::default();
    about(&mut page, shared);
    commands(&mut page, &Totals::of(shared));
    connections(&mut page, shared);
    lanes(&mut page, shared);
    peers(&mut page, shared);
    log(&mut page, shared);
    snapshots(&mut page, shared);
    keys(&mut page, shared);
    locks(&mut page, shared);
    of_process(&mut page, shared);
    page.finish()
}

fn about(page: &mut Page, shared: &Shared) {
    let about = "One, with the version as a label.";
    page.gauge("tidegate_build_info", about).labelled("version", env!("CARGO_PKG_VERSION"), 1);
    page.gauge("tidegate_uptime_seconds", "Since the process started.").value(shared.started.elapsed().as_secs_f64());
    let ready = u8::from(shared.phase() == Phase::Ready);
    page.gauge("tidegate_ready", "One while commands are served.").value(ready);
    let took = seconds(shared.meters.recovery_ns.get());
    page.gauge("tidegate_recovery_seconds", "From the first byte read to ready.").value(took);
}

fn commands(page: &mut Page, totals: &Totals) {
    let mut calls = page.counter("tidegate_commands_total", "Commands that ran, those of transactions among them.");
    totals.commands.iter().for_each(|(name, one)| calls.labelled("command", name, one.calls()));
    let mut failed = page.counter("tidegate_commands_failed_total", "Commands that ran and answered with an error.");
    totals.commands.iter().for_each(|(name, one)| failed.labelled("command", name, one.failed));
    let about = "Commands refused before they ran: arguments, password, disk full. Unknown names count as such.";
    let mut rejected = page.counter("tidegate_commands_rejected_total", about);
    totals.commands.iter().for_each(|(name, one)| rejected.labelled("command", name, one.rejected));
    rejected.labelled("command", "unknown", totals.unknown);
    let about = "From the turn that parsed a command to the release of its reply, the wait for the disk included. All \
                 commands of a turn share its two looks at the clock.";
    let mut latency = page.histogram("tidegate_command_duration_seconds", about);
    for (name, one) in totals.commands.iter().filter(|(_, one)| one.calls() > 0) {
        latency.sums(&[("command", name)], &one.latency_ns, SECONDS);
    }
}

fn peers(page: &mut Page, shared: &Shared) {
    let sum = |of: fn(&LaneMeters) -> u64| shared.meters.lanes.iter().map(of).sum::<u64>();
    let about = "Connections to the peer port that ended before they had proved that they belong to the cluster.";
    page.counter("tidegate_peer_strangers_total", about).value(sum(|lane| lane.strangers.get()));
    let about = "Links to other nodes that were ended for what came over them.";
    page.counter("tidegate_peers_misbehaved_total", about).value(sum(|lane| lane.peers_misbehaved.get()));
    let about = "Messages that clients published and that were not sent to a node whose link was too far behind.";
    page.counter("tidegate_messages_unsent_total", about).value(sum(|lane| lane.unsent_messages.get()));
}

fn connections(page: &mut Page, shared: &Shared) {
    let (count, buffers, blocked) = {
        let clients = lock(&shared.clients);
        let blocked = clients.values().filter(|card| card.vitals.see().flags.blocked).count();
        (clients.len(), clients.values().map(|card| card.vitals.buffer_bytes()).sum::<u64>(), blocked)
    };
    page.gauge("tidegate_connections", "Open client connections.").value(count);
    let about = "Connections whose client waits: in a blocking command, DEBUG SLEEP or CLIENT PAUSE.";
    page.gauge("tidegate_connections_blocked", about).value(blocked);
    let accepted = shared.accepted.load(Ordering::Relaxed);
    page.counter("tidegate_connections_accepted_total", "Client connections accepted.").value(accepted);
    let about = "Client connections refused for there were too many.";
    page.counter("tidegate_connections_refused_total", about).value(shared.refused.load(Ordering::Relaxed));
    page.gauge("tidegate_connection_buffer_bytes", "Memory of the connections' buffers.").value(buffers);
    let sum = |of: fn(&LaneMeters) -> u64| shared.meters.lanes.iter().map(of).sum::<u64>();
    let about = "Clients dropped for they were owed more than client-output-buffer-limit allows.";
    page.counter("tidegate_slow_clients_total", about).value(sum(|lane| lane.slow_clients.get()));
    let about = "Commands and transactions that were refused, for their lock has had another holder since.";
    page.counter("tidegate_fences_refused_total", about).value(sum(|lane| lane.fenced.get()));
    let about = "What clients of the node listen to, by kind; a name counts once for each lane.";
    let mut topics = page.gauge("tidegate_subscriptions", about);
    for (at, kind) in ["channels", "patterns", "shard_channels"].into_iter().enumerate() {
        let count: u64 = shared.meters.lanes.iter().map(|lane| lane.topics[at].get()).sum();
        topics.labelled("kind", kind, count);
    }
    let about = "Keys that are remembered for the caches of clients.";
    page.gauge("tidegate_tracked_keys", about).value(sum(|lane| lane.tracked_keys.get()));
}

fn lanes(page: &mut Page, shared: &Shared) {
    let numbered = || shared.mailboxes.iter().zip(&shared.meters.lanes).enumerate();
    let mut turns = page.counter("tidegate_lane_turns_total", "Turns in which a lane served something.");
    numbered().for_each(|(lane, (_, meters))| turns.labelled("lane", &lane.to_string(), meters.turns.get()));
    let mut depth = page.gauge("tidegate_lane_mailbox_inputs", "Inputs of other threads that wait for a lane.");
    numbered().for_each(|(lane, (mailbox, _))| depth.labelled("lane", &lane.to_string(), mailbox.depth()));
    let mut clients = page.gauge("tidegate_lane_connections", "Open client connections by lane.");
    numbered().for_each(|(lane, (mailbox, _))| {
        clients.labelled("lane", &lane.to_string(), mailbox.clients.load(Ordering::Relaxed));
    });
}

fn log(page: &mut Page, shared: &Shared) {
    let wal = &shared.meters.wal;
    let mut batches =
        page.counter("tidegate_wal_batches_total", "Batches stored and synced, by the thread that did it.");
    batches.labelled("by", "lane", wal.inline_batches.get());
    batches.labelled("by", "journal", wal.thread_batches.get());
    page.histogram("tidegate_wal_batch_records", "Records in a batch.").sums(
        &[],
        &Sums::from(&wal.batch_records),
        COUNT,
    );
    let about = "Bytes of a batch, filled up to whole pages.";
    page.histogram("tidegate_wal_batch_bytes", about).sums(&[], &Sums::from(&wal.batch_bytes), BYTES);
    let about = "Writing a batch to the log, before its sync.";
    page.histogram("tidegate_wal_append_duration_seconds", about).sums(&[], &Sums::from(&wal.append_ns), SECONDS);
    let about = "One fdatasync of the log.";
    page.histogram("tidegate_wal_sync_duration_seconds", about).sums(&[], &Sums::from(&wal.sync_ns), SECONDS);
    let about = "Turns of lanes that wait for the journal thread.";
    page.gauge("tidegate_wal_queue_jobs", about).value(wal.queue_jobs.get());
    page.gauge("tidegate_wal_segments", "Segments in use.").value(wal.segments.get());
    page.gauge("tidegate_wal_spare_segments", "Segments prepared for use.").value(wal.spares.get());
    page.gauge("tidegate_wal_bytes", "The log's size since the last snapshot that let go of it.")
        .value(wal.size_bytes.get());
    let about = "Bytes that can be appended without making a file.";
    page.gauge("tidegate_wal_room_bytes", about).value(wal.room_bytes.get());
    let full = u8::from(shared.disk_full.load(Ordering::Relaxed));
    page.gauge("tidegate_disk_full", "One while writes are refused for want of room.").value(full);
    if let Some(free) = process::disk_free_bytes(&shared.dir) {
        page.gauge("tidegate_disk_free_bytes", "Free space where the data lies.").value(free);
    }
}

fn snapshots(page: &mut Page, shared: &Shared) {
    let meters = &shared.meters.snapshots;
    page.counter("tidegate_snapshots_total", "Snapshots of shards finished.").value(meters.count.get());
    page.counter("tidegate_snapshots_failed_total", "Snapshots of shards given up.").value(meters.failed.get());
    page.counter("tidegate_snapshot_bytes_total", "Bytes of all snapshots.").value(meters.bytes.get());
    page.gauge("tidegate_snapshot_last_bytes", "Bytes of the last snapshot.").value(meters.last_bytes.get());
    let took = seconds(meters.last_ns.get());
    page.gauge("tidegate_snapshot_last_duration_seconds", "How long the last snapshot took.").value(took);
    let at = seconds(meters.last_at_ms.get().saturating_mul(1_000_000));
    page.gauge("tidegate_snapshot_last_timestamp_seconds", "When the last snapshot was finished; 0 if none was.")
        .value(at);
}

fn keys(page: &mut Page, shared: &Shared) {
    let keys = shared.keys_by_db();
    let mut family = page.gauge("tidegate_keys", "Keys by database.");
    keys.iter().for_each(|(db, (keys, _))| family.labelled("db", &db.to_string(), keys));
    let mut family = page.gauge("tidegate_keys_with_expiry", "Keys that have an expiry, by database.");
    keys.iter().for_each(|(db, (_, expiring))| family.labelled("db", &db.to_string(), expiring));
    let about = "Bytes of keys and values as stored, without tables and the allocator's share.";
    page.gauge("tidegate_keyspace_bytes", about).value(shared.keyspace_bytes());
    let about = "What counts against maxmemory: keys, values and what finds them.";
    page.gauge("tidegate_memory_used_bytes", about).value(shared.used_bytes());
    let about = "The limit maxmemory; 0 if there is none.";
    page.gauge("tidegate_memory_limit_bytes", about).value(shared.settings.memory_bytes_max());
    let about = "Keys that went since memory had run out, of shards that this node led.";
    page.counter("tidegate_evicted_keys_total", about).value(shared.evicted());
}

fn locks(page: &mut Page, shared: &Shared) {
    let (gauges, counters) = crate::locks::told(shared);
    for crate::locks::Told(name, value, about) in gauges {
        page.gauge(name, about).value(value);
    }
    for crate::locks::Told(name, value, about) in counters {
        page.counter(name, about).value(value);
    }
}

/// Under the names that Prometheus' own client libraries use.
fn of_process(page: &mut Page, shared: &Shared) {
    let process = Process::look();
    let started = seconds(shared.started_at_ms.saturating_mul(1_000_000));
    page.gauge("process_start_time_seconds", "When the process started, since the epoch.").value(started);
    if let Some(bytes) = process.resident_bytes {
        page.gauge("process_resident_memory_bytes", "Resident memory.").value(bytes);
    }
    if let Some(ticks) = process.cpu_ticks() {
        let spent = seconds(ticks.saturating_mul(1_000_000_000 / process::TICKS_PER_SECOND));
        page.counter("process_cpu_seconds_total", "CPU time, of user and system.").value(spent);
    }
    if let Some(files) = process.open_files {
        page.gauge("process_open_fds", "Open file descriptors.").value(files);
    }
}
