//! Why a placement can't be made or changed so, and what is wrong with one that came as bytes.

use crate::codec::DecodeError;
use crate::{NodeId, ShardId};

/// The caller asks for what can't be; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The node belongs to the placement already, or is named twice.
    Present(NodeId),
    /// The node doesn't belong to the placement.
    Absent(NodeId),
    /// So many nodes: none, or more than `limits::NODE_COUNT_MAX`.
    NodeCount(usize),
    /// So many shards: none, or more than `limits::SHARD_COUNT_MAX`.
    ShardCount(u16),
    /// So many replicas: none, or more than `limits::REPLICA_COUNT_MAX`.
    ReplicaCount(u8),
}

/// What is wrong with a placement that was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The bytes are none of this version.
    Bytes(DecodeError),
    /// Bytes behind the end.
    Tail,
    /// An epoch that no placement has.
    Epoch,
    /// The number of replicas.
    Replicas,
    /// Too many or too few nodes, or not in rising order.
    Nodes,
    /// Too many or too few shards.
    Shards,
    /// A shard whose voters are too few, not in rising order or not among the nodes, or whose leader is no voter.
    Hosts(ShardId),
}

impl From<DecodeError> for Flaw {
    fn from(error: DecodeError) -> Self {
        Self::Bytes(error)
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Present(node) => write!(f, "node {:016x} is there already", node.0),
            Self::Absent(node) => write!(f, "there is no node {:016x}", node.0),
            Self::NodeCount(count) => write!(f, "a cluster can't have {count} nodes"),
            Self::ShardCount(count) => write!(f, "a cluster can't have {count} shards"),
            Self::ReplicaCount(count) => write!(f, "a shard can't have {count} replicas"),
        }
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(error) => error.fmt(f),
            Self::Tail => write!(f, "there are bytes behind the end"),
            Self::Epoch => write!(f, "no placement has this epoch"),
            Self::Replicas => write!(f, "no shard can have so many replicas"),
            Self::Nodes => write!(f, "the nodes are too many, too few or not in order"),
            Self::Shards => write!(f, "the shards are too many or too few"),
            Self::Hosts(shard) => write!(f, "the nodes of shard {shard} can't be its"),
        }
    }
}

impl std::error::Error for Refused {}
impl std::error::Error for Flaw {}
