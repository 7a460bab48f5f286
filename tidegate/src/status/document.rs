//! What a node tells at /status: the document that `tidegate status --json` prints.
//!
//! ```text
//! {cluster, epoch, nodes: [{id, name, pid, resp, admin, state, ..}], shards: [{id, leader, term, commit, applied, voters, ..}]}
//! ```
//!
//! The first of the nodes is the one that was asked. It has asked the others (`gather`); who didn't answer is `unreachable`. Of a
//! shard, the view counts that is of the latest term, and the leader's before others; what each replica has applied stands in
//! `replicas`. A node of `tidegate dev` is in no cluster: that is null, and the epoch 0.

use crate::meters::Process;
use crate::meters::totals::Totals;
use crate::shared::{Phase, Shared, lock};
use base::roster::Card;
use base::{NodeId, ShardId};
use node::ShardStatus;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// What the node knows by itself: one of `nodes`, and the shards as it sees them.
pub fn own(shared: &Shared) -> Value {
    let seen = lock(&shared.shards);
    let shard = |(id, status): (&ShardId, &ShardStatus)| {
        json!({
            "id": id.0,
            "leader": status.leader.map(hex),
            "term": status.term.0,
            "commit": status.commit.0,
            "applied": status.applied.0,
            "voters": status.voters.iter().copied().map(hex).collect::<Vec<_>>(),
            "learners": status.learners.iter().copied().map(hex).collect::<Vec<_>>(),
            "changing": status.changing,
        })
    };
    json!({ "node": node(shared), "shards": seen.iter().map(shard).collect::<Vec<_>>() })
}

/// The document of all that is known, given what the other nodes answered.
pub fn document(shared: &Shared, others: &[(NodeId, Card, Option<Value>)]) -> Value {
    let mine = own(shared);
    let mut nodes = vec![mine["node"].clone()];
    for (id, card, answer) in others {
        nodes.push(match answer {
            Some(answer) => answer["node"].clone(),
            None => json!({
                "id": hex(*id),
                "name": lock(&shared.names).get(id),
                "pid": Value::Null,
                "resp": card.resp,
                "cluster": card.cluster,
                "admin": card.admin,
                "peers": card.peers,
                "state": "unreachable",
            }),
        });
    }
    let views: Vec<&Value> =
        [&mine].into_iter().chain(others.iter().filter_map(|(_, _, answer)| answer.as_ref())).collect();
    let shards = views.iter().flat_map(|view| view["shards"].as_array().into_iter().flatten());
    let ids: BTreeSet<u64> = shards.filter_map(|shard| shard["id"].as_u64()).collect();
    json!({
        "cluster": shared.cluster.map(|id| format!("{id:016x}")),
        "epoch": lock(&shared.roster).as_ref().map_or(0, |roster| roster.epoch().0),
        "nodes": nodes,
        "shards": ids.into_iter().filter_map(|id| shard(&views, id)).collect::<Vec<_>>(),
    })
}

/// A shard as whoever knows best sees it.
fn shard(views: &[&Value], id: u64) -> Option<Value> {
    let of = |view: &&Value| {
        let found = view["shards"].as_array()?.iter().find(|shard| shard["id"] == id)?;
        Some((view["node"]["id"].clone(), found.clone()))
    };
    let seen: Vec<(Value, Value)> = views.iter().filter_map(of).collect();
    let (_, best) = seen.iter().max_by_key(|(node, shard)| (shard["term"].as_u64(), shard["leader"] == *node))?;
    let mut best = best.clone();
    let replica = |(node, shard): &(Value, Value)| json!({ "node": node, "applied": shard["applied"] });
    best["replicas"] = seen.iter().map(replica).collect();
    Some(best)
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
        "cluster": format!("127.0.0.1:{}", shared.ports.cluster),
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
