//! What a node tells of itself at /status: the document that `tidegate status --json` prints.
//!
//! ```text
//! {cluster, epoch, nodes: [{id, name, pid, resp, admin, state, ..}], shards: [{id, leader, term, commit, applied, voters}]}
//! ```
//!
//! It has the shape of a cluster's. A node of `tidegate dev` is in none: its cluster is null and its epoch 0.

use crate::meters::Process;
use crate::meters::totals::Totals;
use crate::shared::{Phase, Shared, lock};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// The document.
pub fn document(shared: &Shared) -> Value {
    let id = format!("{:016x}", shared.node.0);
    let shards: Vec<Value> = lock(&shared.shards)
        .iter()
        .map(|(shard, status)| {
            json!({
                "id": shard.0,
                "leader": if status.leads { Value::from(id.as_str()) } else { Value::Null },
                "term": status.term.0,
                "commit": status.commit.0,
                "applied": status.applied.0,
                "voters": [id.as_str()],
            })
        })
        .collect();
    json!({ "cluster": Value::Null, "epoch": 0, "nodes": [node(shared, &id)], "shards": shards })
}

/// One word for how the node stands.
pub fn state(shared: &Shared) -> &'static str {
    match shared.phase() {
        Phase::Starting => "starting",
        Phase::Stopping => "stopping",
        Phase::Ready if shared.disk_full.load(Ordering::Relaxed) => "disk-full",
        Phase::Ready => "ready",
    }
}

fn node(shared: &Shared, id: &str) -> Value {
    let totals = Totals::of(shared);
    json!({
        "id": id,
        "name": "dev",
        "pid": std::process::id(),
        "resp": format!("127.0.0.1:{}", shared.ports.resp),
        "admin": format!("127.0.0.1:{}", shared.ports.admin),
        "state": state(shared),
        "version": env!("CARGO_PKG_VERSION"),
        "dir": shared.dir.display().to_string(),
        "uptime_seconds": shared.started.elapsed().as_secs(),
        "lanes": shared.mailboxes.len(),
        "connections": lock(&shared.clients).len(),
        "commands": totals.calls(),
        "errors": totals.errors(),
        "keys": shared.keys_by_db().iter().map(|(_, (keys, _))| keys).sum::<usize>(),
        "keyspace_bytes": shared.keyspace_bytes(),
        "resident_bytes": Process::look().resident_bytes,
        "wal_bytes": shared.meters.wal.size_bytes.get(),
    })
}
