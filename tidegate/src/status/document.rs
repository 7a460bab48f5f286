//! What a node tells of itself at /status: the document that `tidegate status --json` prints.
//!
//! ```text
//! {cluster, epoch, nodes: [{id, name, pid, resp, admin, state, ..}], shards: [{id, leader, term, commit, applied, voters}]}
//! ```
//!
//! The first of the nodes is the one that was asked; of the others it knows where they listen. A node of `tidegate dev` is in no
//! cluster: that is null, and the epoch 0.

use crate::meters::Process;
use crate::meters::totals::Totals;
use crate::shared::{Phase, Shared, lock};
use base::NodeId;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// The document.
pub fn document(shared: &Shared) -> Value {
    let shards: Vec<Value> = lock(&shared.shards)
        .iter()
        .map(|(shard, status)| {
            json!({
                "id": shard.0,
                "leader": status.leader.map(hex),
                "term": status.term.0,
                "commit": status.commit.0,
                "applied": status.applied.0,
                "voters": status.voters.iter().copied().map(hex).collect::<Vec<_>>(),
                "learners": status.learners.iter().copied().map(hex).collect::<Vec<_>>(),
                "changing": status.changing,
            })
        })
        .collect();
    let roster = lock(&shared.roster).clone();
    let mut nodes = vec![node(shared)];
    for (id, card) in roster.iter().flat_map(|roster| roster.cards()).filter(|(id, _)| **id != shared.node) {
        nodes.push(json!({ "id": hex(*id), "resp": card.resp, "admin": card.admin, "peers": card.peers }));
    }
    json!({
        "cluster": shared.cluster.map(|id| format!("{id:016x}")),
        "epoch": roster.map_or(0, |roster| roster.epoch().0),
        "nodes": nodes,
        "shards": shards,
    })
}

fn hex(node: NodeId) -> String {
    format!("{:016x}", node.0)
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

fn node(shared: &Shared) -> Value {
    let totals = Totals::of(shared);
    json!({
        "id": hex(shared.node),
        "name": shared.name,
        "pid": std::process::id(),
        "resp": format!("127.0.0.1:{}", shared.ports.resp),
        "admin": format!("127.0.0.1:{}", shared.ports.admin),
        "peers": shared.ports.peers.map(|port| format!("127.0.0.1:{port}")),
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
