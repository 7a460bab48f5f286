//! Answers of all shards to one command, merged.

use crate::Routing;
use base::slot::SLOT_COUNT;
use base::{ClientId, ShardId};
use data::Reply;
use data::command::Scatter;
use std::collections::BTreeMap;

/// Commands that wait for parts.
#[derive(Debug, Default)]
pub(crate) struct Gathers {
    running: BTreeMap<(ClientId, u64), Gather>,
}

#[derive(Debug)]
struct Gather {
    scatter: Scatter,
    parts: Vec<(ShardId, Reply)>,
    wanted: usize,
}

impl Gathers {
    pub(crate) fn begin(&mut self, client: ClientId, seq: u64, scatter: Scatter, wanted: usize) {
        let former = self.running.insert((client, seq), Gather { scatter, parts: Vec::with_capacity(wanted), wanted });
        assert!(former.is_none(), "a client's sequence numbers are unique");
    }

    /// Takes one shard's part; the merged reply once all are there.
    pub(crate) fn on_part(
        &mut self,
        routing: Routing,
        client: ClientId,
        seq: u64,
        shard: ShardId,
        reply: Reply,
    ) -> Option<Reply> {
        let gather = self.running.get_mut(&(client, seq))?;
        gather.parts.push((shard, reply));
        if gather.parts.len() < gather.wanted {
            return None;
        }
        let mut done = self.running.remove(&(client, seq))?;
        done.parts.sort_by_key(|(shard, _)| *shard);
        Some(merge(routing, done.scatter, done.parts))
    }
}

fn merge(routing: Routing, scatter: Scatter, parts: Vec<(ShardId, Reply)>) -> Reply {
    if scatter.is_of_scripts() {
        return crate::script_parts::merge(scatter, parts.into_iter().map(|(_, reply)| reply).collect());
    }
    if let Some((_, error)) = parts.iter().find(|(_, reply)| matches!(reply, Reply::Error(_))) {
        return error.clone();
    }
    match scatter {
        Scatter::FlushDb | Scatter::FlushAll | Scatter::FenceReset => Reply::Ok,
        Scatter::FenceInfo => Reply::Array(parts.into_iter().filter_map(floor_of_shard).collect()),
        Scatter::DbSize => {
            let count = |reply: &Reply| if let Reply::Int(n) = reply { *n } else { 0 };
            Reply::Int(parts.iter().fold(0, |sum: i64, (_, reply)| sum.saturating_add(count(reply))))
        }
        Scatter::Keys => Reply::Array(
            parts
                .into_iter()
                .flat_map(|(_, reply)| if let Reply::Array(keys) = reply { keys } else { Vec::new() })
                .collect(),
        ),
        Scatter::RandomKey => {
            parts.into_iter().map(|(_, reply)| reply).find(|reply| !matches!(reply, Reply::Nil)).unwrap_or(Reply::Nil)
        }
        Scatter::Scan => {
            parts.into_iter().next().map_or(Reply::Nil, |(shard, reply)| next_shard(routing, shard, reply))
        }
        Scatter::Script | Scatter::Function => unreachable!("it was merged above"),
    }
}

/// Shard, floor and whose it is, of a shard that knows one.
fn floor_of_shard((shard, reply): (ShardId, Reply)) -> Option<Reply> {
    let Reply::Array(parts) = reply else { return None };
    Some(Reply::Array([Reply::Int(i64::from(shard.0))].into_iter().chain(parts).collect()))
}

/// The answer to a command that concerns no shard.
pub(crate) fn nothing(scatter: Scatter) -> Reply {
    match scatter {
        Scatter::FlushDb | Scatter::FlushAll | Scatter::FenceReset | Scatter::Script => Reply::Ok,
        Scatter::DbSize => Reply::Int(0),
        Scatter::Keys | Scatter::Function | Scatter::FenceInfo => Reply::Array(Vec::new()),
        Scatter::RandomKey | Scatter::Scan => Reply::Nil,
    }
}

/// A page of a SCAN that has reached the end of its shard goes on in the next one.
fn next_shard(routing: Routing, shard: ShardId, page: Reply) -> Reply {
    let Reply::Array(mut parts) = page else { return page };
    let at_end = matches!(parts.first(), Some(Reply::Bulk(cursor)) if cursor.as_bytes() == b"0");
    let next = ShardId(shard.0 + 1);
    if at_end && next.0 < routing.shard_count() {
        parts[0] = Reply::text(u64::from(routing.first_slot(next).0) << 32);
    }
    Reply::Array(parts)
}

/// The shard that a SCAN cursor points into; the last one if it lies beyond all.
pub(crate) fn shard_of_cursor(routing: Routing, cursor: &[u8]) -> ShardId {
    let number: u64 = data::command::keyless::cursor(cursor).unwrap_or(0);
    let slot = u16::try_from(number >> 32).unwrap_or(SLOT_COUNT - 1).min(SLOT_COUNT - 1);
    routing.shard_of(base::Slot(slot))
}
