//! How fresh a follower is, by its own clock alone: reads from replicas that are behind by no more than is asked for.
//!
//! When a message was *heard* says little: it may have waited in a socket while this process was stopped. So each
//! heartbeat names the last one that this follower has answered, and the follower knows when it sent that answer: the
//! heartbeat was sent later than that, and its commit index covers all that was acknowledged before, if its sender led
//! then. It had proof of that, the answers of a quorum, of `age_ms` before, and says so. All in all the follower, once it
//! has applied that commit index, holds every write that was acknowledged `age_ms` before it sent its answer.

use super::{Group, Role};
use base::time::NS_PER_MS;
use base::{Index, Instant, NodeId, Term};
use std::collections::VecDeque;

/// What a heartbeat says of how fresh its commit index is; zero in `answered` if that is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fresh {
    /// The last heartbeat of this term that the receiver has answered.
    pub answered: u64,
    /// So long before the sending, the sender surely led.
    pub age_ms: u64,
    /// What it had committed at the sending.
    pub commit: Index,
}

/// What a follower remembers.
#[derive(Clone, Debug, Default)]
pub(super) struct Freshness {
    /// Whose heartbeats were answered, which, and when.
    of: Option<(NodeId, Term)>,
    answered: VecDeque<(u64, Instant)>,
    /// The freshest that was told: everything acknowledged before the time less the age is at or before the index.
    known: Option<(Instant, u64, Index)>,
}

/// Answers that are remembered; one that isn't makes a replica seem older than it is.
const ANSWERS_MAX: usize = 64;

impl Group {
    /// True if the applied state holds all that was acknowledged `bound_ms` ago.
    #[must_use]
    pub fn may_read_behind(&self, now: Instant, bound_ms: u64) -> bool {
        let fresh = |(at, age_ms, commit): (Instant, u64, Index)| {
            now.plus_ms(age_ms) < at.plus_ms(bound_ms) && self.applied.index >= commit
        };
        self.fresh.known.is_some_and(fresh)
    }

    /// What a heartbeat to a peer says, which has answered `answered`.
    pub(super) fn fresh_for(&self, now: Instant, answered: u64) -> Fresh {
        let Role::Leader(leader) = &self.role else { return Fresh::default() };
        let Some((_, sent_at)) = leader.answered.filter(|_| self.has_settled()) else { return Fresh::default() };
        Fresh { answered, age_ms: now.since_ns(sent_at).div_ceil(NS_PER_MS), commit: self.commit }
    }

    /// A heartbeat of this term's leader came, and is answered now.
    pub(super) fn on_fresh(&mut self, now: Instant, from: NodeId, probe: u64, fresh: Fresh) {
        let leader = Some((from, self.term));
        let Freshness { of, answered, known } = &mut self.fresh;
        if *of != leader {
            (*of, *answered) = (leader, VecDeque::new());
        }
        while let Some((before, at)) = answered.pop_front_if(|(before, _)| *before <= fresh.answered) {
            if before == fresh.answered {
                *known = Some((at, fresh.age_ms, fresh.commit));
            }
        }
        if answered.len() < ANSWERS_MAX {
            answered.push_back((probe, now));
        }
    }
}
