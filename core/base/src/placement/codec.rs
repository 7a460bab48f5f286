//! A placement as bytes: `version u8 = 1 | epoch varint | replicas u8 | nodes varint, ids u64 .. | shards varint`, then for each shard
//! its voters, as many as it must have, as places among the nodes (`u16` each, rising), and its leader as a place
//! among those (`u8`). FORMAT.md has the same.
//!
//! What decodes is valid ([`Placement::validate`]): nobody needs to look again.

use super::{Flaw, Hosts, Placement};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::limits::{NODE_COUNT_MAX, SHARD_COUNT_MAX};
use crate::{Epoch, NodeId, ShardId};

const VERSION: u8 = 1;

impl Placement {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_varint(&mut out, self.epoch.0);
        out.push(self.replicas);
        put_varint(&mut out, self.nodes.len() as u64);
        for node in &self.nodes {
            out.extend_from_slice(&node.0.to_le_bytes());
        }
        put_varint(&mut out, self.shards.len() as u64);
        for hosts in &self.shards {
            self.put_hosts(&mut out, hosts);
        }
        out
    }

    /// The placement that all of `bytes` spell.
    pub fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown(u64::from(version)).into());
        }
        let epoch = Epoch(reader.varint()?);
        let replicas = reader.u8()?;
        let count = count(&mut reader, NODE_COUNT_MAX)?.ok_or(Flaw::Nodes)?;
        let nodes = (0..count).map(|_| reader.u64().map(NodeId)).collect::<Result<_, _>>()?;
        let mut placement = Self { epoch, replicas, nodes, shards: Vec::new() };
        placement.validate_head()?;
        for shard in 0..self::count(&mut reader, SHARD_COUNT_MAX)?.ok_or(Flaw::Shards)? {
            let hosts = placement.hosts_from(&mut reader)?.ok_or(Flaw::Hosts(ShardId(shard)))?;
            placement.shards.push(hosts);
        }
        if !reader.is_empty() {
            return Err(Flaw::Tail);
        }
        placement.validate()?;
        Ok(placement)
    }

    fn put_hosts(&self, out: &mut Vec<u8>, hosts: &Hosts) {
        for voter in &hosts.voters {
            let place = self.nodes.binary_search(voter).expect("a voter is one of the nodes");
            out.extend_from_slice(&u16::try_from(place).expect("NODE_COUNT_MAX is below 2^16").to_le_bytes());
        }
        let leader = hosts.voters.binary_search(&hosts.leader).expect("the leader is one of the voters");
        out.push(u8::try_from(leader).expect("REPLICA_COUNT_MAX is below 2^8"));
    }

    /// The nodes of the next shard; nothing if they are named by places that don't exist.
    fn hosts_from(&self, reader: &mut Reader) -> Result<Option<Hosts>, DecodeError> {
        let mut places = Vec::new();
        for _ in 0..self.voters_per_shard() {
            places.push(usize::from(reader.u16()?));
        }
        let leader = usize::from(reader.u8()?);
        let voters: Option<Vec<NodeId>> = places.into_iter().map(|place| self.nodes.get(place).copied()).collect();
        Ok(voters.and_then(|voters| Some(Hosts { leader: *voters.get(leader)?, voters })))
    }
}

/// A count; nothing if it is above the limit.
fn count(reader: &mut Reader, most: u16) -> Result<Option<u16>, DecodeError> {
    let count = reader.varint()?;
    Ok(u16::try_from(count).ok().filter(|count| *count <= most))
}
