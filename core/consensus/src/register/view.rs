//! Who votes, in which epoch, and who voted before.

use base::{Epoch, NodeId};

/// The voters of all registers. An epoch changes only when its voters do, or to sweep; the next one is opened only when a majority
/// of this one's voters have told [`crate::lock::Event::Ready`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    epoch: Epoch,
    voters: Vec<NodeId>,
    /// The epoch before and its voters, where all that counts is to be fetched; none for the first.
    before: Option<(Epoch, Vec<NodeId>)>,
}

/// Why voters are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewRefused {
    /// There must be from 1 to [`VOTER_COUNT_MAX`], each once: only then do two majorities share one.
    Voters,
    /// The former epoch must be older.
    Epoch,
}

/// More voters make locks slower, not safer.
pub const VOTER_COUNT_MAX: usize = 5;

impl View {
    /// Voters of an epoch behind another's.
    pub fn new(epoch: Epoch, voters: Vec<NodeId>, before: Option<(Epoch, Vec<NodeId>)>) -> Result<Self, ViewRefused> {
        let sound = |voters: &[NodeId]| {
            let once = voters.iter().enumerate().all(|(at, one)| !voters[..at].contains(one));
            (1..=VOTER_COUNT_MAX).contains(&voters.len()) && once
        };
        if !sound(&voters) || before.as_ref().is_some_and(|(_, voters)| !sound(voters)) {
            return Err(ViewRefused::Voters);
        }
        let older = before.as_ref().is_none_or(|(former, _)| *former < epoch);
        if epoch == Epoch(0) || epoch > Epoch::MAX || !older {
            return Err(ViewRefused::Epoch);
        }
        Ok(Self { epoch, voters, before })
    }

    /// Its number.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Who votes.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// The epoch before, and who voted then.
    #[must_use]
    pub fn before(&self) -> Option<&(Epoch, Vec<NodeId>)> {
        self.before.as_ref()
    }

    /// True if this node votes.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.voters.contains(&node)
    }

    /// How many voters decide.
    #[must_use]
    pub fn quorum(&self) -> usize {
        quorum(self.voters.len())
    }

    /// The voters in the order in which they are to be this name's home.
    pub fn homes(&self, name: &[u8]) -> impl Iterator<Item = NodeId> + use<> {
        let hash = hash(name);
        let mut ranked: Vec<(u64, NodeId)> = self.voters.iter().map(|node| (mix(hash ^ mix(node.0)), *node)).collect();
        ranked.sort_unstable();
        ranked.into_iter().rev().map(|(_, node)| node)
    }
}

/// A majority of so many.
#[must_use]
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// FNV-1a.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3))
}

/// The finish of splitmix64: spreads what differs in few bits.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
