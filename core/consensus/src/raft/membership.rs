//! Who belongs to a group: voters, learners and, while voters change, those of before (joint consensus, Raft section 6).
//!
//! In a joint membership every decision needs a majority of the voters of before *and* of the new ones, so that no two
//! disjoint majorities exist at any moment. Quorums are found by sorting at most seven numbers: nothing clever.

use base::NodeId;
use base::codec::{DecodeError, Reader, put_varint};
use bytes::Bytes;

/// The members of a group; each list is sorted and names nobody twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Membership {
    voters: Vec<NodeId>,
    /// The voters of before, while they change.
    outgoing: Vec<NodeId>,
    learners: Vec<NodeId>,
}

/// One step of a change of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new member that receives the log and has no vote.
    AddLearner(NodeId),
    /// A learner becomes a voter.
    Promote(NodeId),
    /// A voter or learner leaves.
    Remove(NodeId),
}

/// Why members can't be changed so; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeRefused {
    NotLeader,
    /// A former change is not complete.
    Unfinished,
    /// This node is a member already.
    Member(NodeId),
    /// This node is not a learner.
    NotALearner(NodeId),
    /// This node is no member.
    NotAMember(NodeId),
    /// The learner lacks too many entries to vote.
    Lagging(NodeId),
    /// No voter would be left, or more than [`VOTERS_COUNT_MAX`].
    VoterCount(usize),
    /// More learners than [`LEARNERS_COUNT_MAX`].
    LearnerCount(usize),
}

/// The most voters of a group.
pub const VOTERS_COUNT_MAX: usize = 7;
/// The most learners of a group.
pub const LEARNERS_COUNT_MAX: usize = 7;

impl Membership {
    /// A group of these voters.
    #[must_use]
    pub fn of_voters(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: sorted(voters), ..Self::default() }
    }

    /// True while two majorities are needed.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// True if `node`'s vote counts.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// True if `node` belongs to the group.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.contains(&node)
    }

    /// The voters, those of before among them.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> {
        sorted(self.voters.iter().chain(&self.outgoing).copied()).into_iter()
    }

    /// All members.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        sorted(self.voters.iter().chain(&self.outgoing).chain(&self.learners).copied()).into_iter()
    }

    /// Members without a vote.
    #[must_use]
    pub fn learners(&self) -> &[NodeId] {
        &self.learners
    }

    /// True if `node` is the only member: it needs nobody.
    #[must_use]
    pub fn is_alone(&self, node: NodeId) -> bool {
        self.voters == [node] && self.outgoing.is_empty() && self.learners.is_empty()
    }

    /// True if those for whom `has` holds are a majority of the voters, and of those of before.
    pub fn is_quorum(&self, has: impl Fn(NodeId) -> bool) -> bool {
        self.agreed(|node| u64::from(has(node))) == 1
    }

    /// The largest number that a majority of the voters, and of those of before, has reached.
    pub fn agreed(&self, reached: impl Fn(NodeId) -> u64) -> u64 {
        let of = |voters: &[NodeId]| {
            let mut numbers: Vec<u64> = voters.iter().map(|node| reached(*node)).collect();
            numbers.sort_unstable_by(|a, b| b.cmp(a));
            numbers.get(numbers.len() / 2).copied()
        };
        of(&self.voters).unwrap_or(0).min(of(&self.outgoing).unwrap_or(u64::MAX))
    }

    /// The membership on the way to one with these changes: joint, if voters change.
    pub fn changed(&self, changes: &[Change]) -> Result<Self, ChangeRefused> {
        if self.is_joint() {
            return Err(ChangeRefused::Unfinished);
        }
        let mut next = self.clone();
        for change in changes {
            match *change {
                Change::AddLearner(node) if next.contains(node) => return Err(ChangeRefused::Member(node)),
                Change::AddLearner(node) => next.learners.push(node),
                Change::Promote(node) if !next.learners.contains(&node) => {
                    return Err(ChangeRefused::NotALearner(node));
                }
                Change::Promote(node) => {
                    next.learners.retain(|one| *one != node);
                    next.voters.push(node);
                }
                Change::Remove(node) if !next.contains(node) => return Err(ChangeRefused::NotAMember(node)),
                Change::Remove(node) => {
                    next.learners.retain(|one| *one != node);
                    next.voters.retain(|one| *one != node);
                }
            }
        }
        next.learners = sorted(next.learners);
        next.voters = sorted(next.voters);
        if next.voters.is_empty() || next.voters.len() > VOTERS_COUNT_MAX {
            return Err(ChangeRefused::VoterCount(next.voters.len()));
        }
        if next.learners.len() > LEARNERS_COUNT_MAX {
            return Err(ChangeRefused::LearnerCount(next.learners.len()));
        }
        if next.voters != self.voters {
            next.outgoing.clone_from(&self.voters);
        }
        Ok(next)
    }

    /// The membership behind a joint one.
    #[must_use]
    pub fn settled(&self) -> Self {
        Self { outgoing: Vec::new(), ..self.clone() }
    }

    /// `[count][id u64]..` for voters, those of before, and learners.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        for list in [&self.voters, &self.outgoing, &self.learners] {
            put_varint(&mut out, list.len() as u64);
            list.iter().for_each(|node| out.extend_from_slice(&node.0.to_le_bytes()));
        }
        Bytes::from(out)
    }

    /// What [`Membership::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut list = || {
            let count = reader.varint()?;
            if count > (VOTERS_COUNT_MAX.max(LEARNERS_COUNT_MAX)) as u64 {
                return Err(DecodeError::Overlong);
            }
            let nodes = (0..count).map(|_| Ok(NodeId(reader.u64()?))).collect::<Result<Vec<_>, DecodeError>>()?;
            if nodes.is_sorted_by(|a, b| a < b) { Ok(nodes) } else { Err(DecodeError::Unknown(count)) }
        };
        let (voters, outgoing, learners) = (list()?, list()?, list()?);
        if voters.is_empty() || !reader.is_empty() {
            return Err(DecodeError::Truncated);
        }
        Ok(Self { voters, outgoing, learners })
    }
}

fn sorted(nodes: impl IntoIterator<Item = NodeId>) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = nodes.into_iter().collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> Membership {
        Membership::of_voters(ids.iter().copied().map(NodeId))
    }

    #[test]
    fn a_majority_is_more_than_half_and_nobody_counts_twice() {
        let three = nodes(&[1, 2, 3, 3, 3]);
        assert!(three.is_quorum(|node| node.0 != 2));
        assert!(!three.is_quorum(|node| node.0 == 3));
        let reached = |node: NodeId| [0, 5, 9, 7][usize::try_from(node.0).unwrap()];
        assert_eq!(three.agreed(reached), 7);
        let four = nodes(&[1, 2, 3, 4]);
        assert!(!four.is_quorum(|node| node.0 <= 2), "half is not a majority");
        assert!(nodes(&[1]).is_quorum(|_| true) && !nodes(&[1]).is_quorum(|_| false));
    }

    #[test]
    fn a_joint_membership_needs_both_majorities() {
        let mut before = nodes(&[1, 2, 3]);
        before.learners = vec![NodeId(4), NodeId(5)];
        let changes = [Change::Promote(NodeId(4)), Change::Promote(NodeId(5)), Change::Remove(NodeId(1))];
        let joint = before.changed(&changes).unwrap();
        assert!(joint.is_joint());
        assert!(!joint.is_quorum(|node| node.0 >= 3), "3, 4 and 5 are no majority of 1, 2 and 3");
        assert!(joint.is_quorum(|node| matches!(node.0, 2..=4)));
        assert_eq!(joint.changed(&[Change::Remove(NodeId(2))]), Err(ChangeRefused::Unfinished));
        assert_eq!(joint.settled().voters().collect::<Vec<_>>(), [2, 3, 4, 5].map(NodeId));
        assert_eq!(Membership::decode(&joint.encode()), Ok(joint));
    }

    #[test]
    fn changes_that_make_no_sense_are_refused() {
        let one = nodes(&[1]);
        assert_eq!(one.changed(&[Change::Remove(NodeId(1))]), Err(ChangeRefused::VoterCount(0)));
        assert_eq!(one.changed(&[Change::Promote(NodeId(2))]), Err(ChangeRefused::NotALearner(NodeId(2))));
        assert_eq!(one.changed(&[Change::AddLearner(NodeId(1))]), Err(ChangeRefused::Member(NodeId(1))));
        assert_eq!(one.changed(&[Change::Remove(NodeId(9))]), Err(ChangeRefused::NotAMember(NodeId(9))));
        let crowd: Vec<Change> = (2..=9).map(|node| Change::AddLearner(NodeId(node))).collect();
        assert_eq!(one.changed(&crowd), Err(ChangeRefused::LearnerCount(8)), "what is encoded can be decoded");
        let with_learner = one.changed(&[Change::AddLearner(NodeId(2))]).unwrap();
        assert!(!with_learner.is_joint() && with_learner.contains(NodeId(2)) && !with_learner.is_voter(NodeId(2)));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let whole = nodes(&[1, 2, 3]).encode();
        for cut in 0..whole.len() {
            assert!(Membership::decode(&whole[..cut]).is_err());
        }
        let mut unsorted = whole.to_vec();
        unsorted[1] = 9;
        assert!(Membership::decode(&unsorted).is_err());
    }
}
