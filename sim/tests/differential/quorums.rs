//! Quorums of plain and joint memberships: the same changes, the same numbers, the same decisions.
//!
//! A change that leaves the voters as they are is joint there and not here: both halves are equal, and so is what they
//! decide.

use base::NodeId;
use base::rng::Rng;
use consensus::raft::{Change, ChangeRefused, Membership};
use raft::eraftpb::{ConfChangeSingle, ConfChangeType};
use raft::{Changer, ProgressTracker};
use std::collections::BTreeMap;

const IDS_MAX: u64 = 9;

/// How many memberships were compared, and how many of them were joint.
pub fn compare(seed: u64, cases: u64) -> (u64, u64) {
    let mut rng = Rng::new(seed);
    let (mut compared, mut joint) = (0, 0);
    for _ in 0..cases {
        let mut ids: Vec<u64> = (1..=IDS_MAX).collect();
        for at in (1..ids.len()).rev() {
            ids.swap(at, usize::try_from(rng.below(at as u64 + 1)).expect("small"));
        }
        let voters = 1 + usize::try_from(rng.below(7)).expect("small");
        let learners = usize::try_from(rng.below(3)).expect("small");
        let (voters, learners) = (&ids[..voters], &ids[voters..voters + learners]);
        let add: Vec<Change> = learners.iter().map(|id| Change::AddLearner(NodeId(*id))).collect();
        let ours = Membership::of_voters(voters.iter().copied().map(NodeId)).changed(&add).expect("they are new");
        let theirs = tracker(voters, learners);
        decisions_agree(&mut rng, &ours, theirs);
        let changes = draw_changes(&mut rng, &ids);
        let theirs = enter_joint(tracker(voters, learners), &changes);
        match ours.changed(&changes) {
            Ok(ours) => {
                joint += u64::from(ours.is_joint());
                decisions_agree(&mut rng, &ours, theirs.expect("a change that we take makes sense"));
                compared += 1;
            }
            Err(ChangeRefused::VoterCount(0)) => assert!(theirs.is_none(), "a_group_keeps_a_voter: {changes:?}"),
            // They have no such limit, and take a change that changes nothing.
            Err(_) => {}
        }
    }
    (compared, joint)
}

fn draw_changes(rng: &mut Rng, ids: &[u64]) -> Vec<Change> {
    let mut ids = ids.to_vec();
    let change = |rng: &mut Rng, ids: &mut Vec<u64>| {
        let node = NodeId(ids.swap_remove(usize::try_from(rng.below(ids.len() as u64)).expect("small")));
        [Change::AddLearner(node), Change::Promote(node), Change::Remove(node), Change::Remove(node)]
            [usize::try_from(rng.below(4)).expect("small")]
    };
    (0..1 + rng.below(4)).map(|_| change(rng, &mut ids)).collect()
}

fn tracker(voters: &[u64], learners: &[u64]) -> ProgressTracker {
    let mut tracker = ProgressTracker::new(1);
    let voters = voters.iter().map(|id| (ConfChangeType::AddNode, *id));
    for (kind, id) in voters.chain(learners.iter().map(|id| (ConfChangeType::AddLearnerNode, *id))) {
        let (members, changes) = Changer::new(&tracker).simple(&[single(kind, id)]).expect("one at a time");
        tracker.apply_conf(members, changes, 1);
    }
    tracker
}

fn enter_joint(mut tracker: ProgressTracker, changes: &[Change]) -> Option<ProgressTracker> {
    let changes: Vec<ConfChangeSingle> = changes
        .iter()
        .map(|change| match change {
            Change::AddLearner(node) => single(ConfChangeType::AddLearnerNode, node.0),
            Change::Promote(node) => single(ConfChangeType::AddNode, node.0),
            Change::Remove(node) => single(ConfChangeType::RemoveNode, node.0),
        })
        .collect();
    let (members, changes) = Changer::new(&tracker).enter_joint(false, &changes).ok()?;
    tracker.apply_conf(members, changes, 1);
    Some(tracker)
}

fn single(kind: ConfChangeType, id: u64) -> ConfChangeSingle {
    let mut change = ConfChangeSingle { node_id: id, ..Default::default() };
    change.set_change_type(kind);
    change
}

/// For random acknowledgements and votes.
fn decisions_agree(rng: &mut Rng, ours: &Membership, mut theirs: ProgressTracker) {
    for _ in 0..4 {
        let reached: BTreeMap<u64, u64> = (1..=IDS_MAX).map(|id| (id, rng.below(6))).collect();
        for (id, progress) in theirs.iter_mut() {
            progress.matched = reached[id];
        }
        let agreed = ours.agreed(|node| reached[&node.0]);
        assert_eq!(agreed, theirs.maximal_committed_index().0, "commits_agree: {ours:?} {reached:?}");
        let votes: BTreeMap<u64, u64> = (1..=IDS_MAX).map(|id| (id, rng.below(3))).collect();
        let voted = |id: u64| [None, Some(true), Some(false)][usize::try_from(votes[&id]).expect("small")];
        let won = ours.is_quorum(|node| voted(node.0) == Some(true));
        let result = theirs.conf().voters().vote_result(voted).to_string();
        assert_eq!(won, result == "VoteWon", "votes_agree: {ours:?} {votes:?} {result}");
    }
}
