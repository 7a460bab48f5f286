//! What time the cluster has: leaders go by the median of the nodes' wall clocks, so one that is wrong harms nobody.
//!
//! A stamp begins, at each election, with a wall clock; were that an hour ahead, keys would die an hour early. Nodes tell
//! each other what time they have, each second and when a link is made. From what a majority tells, each knows how far its own
//! clock lies off their median, and whoever is elected corrects by that. Small differences are left alone: they are as much
//! the network's as the clocks'.
//!
//! Rejected: that a node with a wrong clock neither campaigns nor leads. If the others lack entries, nobody could lead.

use crate::lane::Lane;
use crate::outbox::{Event, Now, Outbox};
use crate::peer::PeerMessage;
use base::{Instant, NodeId};
use std::collections::{BTreeMap, VecDeque};

/// What a node knows of the others' clocks.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// For each peer how far its clock was ahead of this one's, and when: the last few times it told.
    heard: BTreeMap<NodeId, VecDeque<(i64, Instant)>>,
    tell_at: Instant,
    /// How far this clock lies behind the median; zero if that is little, or not known.
    behind_ms: i64,
}

const TELL_MS: u64 = 1_000;
/// What was told longer ago counts no more.
const HEARD_MS: u64 = 10_000;
const SAMPLES: usize = 4;
/// Clocks that differ by less are taken for right.
const TOLERATED_MS: i64 = 500;

impl Clocks {
    /// A peer told that it has `wall_ms`.
    fn on_told(&mut self, now: Now, from: NodeId, wall_ms: u64) {
        let ahead = i64::try_from(wall_ms).unwrap_or(i64::MAX).saturating_sub_unsigned(now.wall_ms);
        let samples = self.heard.entry(from).or_default();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back((ahead, now.boot));
    }

    /// How far this clock lies behind the median of at least `quorum` clocks, itself among them.
    fn behind_ms(&self, now: Now, quorum: usize) -> i64 {
        // A message's way makes its sender's clock look late, never early: the largest is the nearest.
        let fresh = |(_, at): &&(i64, Instant)| now.boot < at.plus_ms(HEARD_MS);
        let nearest = |samples: &VecDeque<(i64, Instant)>| samples.iter().filter(fresh).map(|(ahead, _)| *ahead).max();
        let mut all: Vec<i64> = self.heard.values().filter_map(nearest).chain([0]).collect();
        all.sort_unstable();
        let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
        // Of two in the middle, the one nearer to this clock: alone against one other nobody knows who is wrong.
        let median = if low.abs() <= high.abs() { low } else { high };
        if all.len() < quorum || median.abs() <= TOLERATED_MS { 0 } else { median }
    }
}

impl Lane {
    /// Tells the linked peers the time, if it is time for that, and looks at what they have told.
    pub(crate) fn keep_time(&mut self, now: Now, out: &mut Outbox) {
        if now.boot < self.clocks.tell_at {
            return;
        }
        self.clocks.tell_at = now.boot.next_multiple_of_ms(TELL_MS);
        let peers: Vec<NodeId> = self.spread.linked().collect();
        peers.into_iter().for_each(|peer| tell_time(now, peer, out));
        self.correct_time(now, out);
    }

    /// A peer has told its time.
    pub(crate) fn on_time_told(&mut self, now: Now, from: NodeId, wall_ms: u64, out: &mut Outbox) {
        self.clocks.on_told(now, from, wall_ms);
        self.correct_time(now, out);
    }

    fn correct_time(&mut self, now: Now, out: &mut Outbox) {
        let members = self.roster.as_ref().map_or(self.member_count, |roster| roster.cards().len());
        let behind_ms = self.clocks.behind_ms(now, members / 2 + 1);
        let was = std::mem::replace(&mut self.clocks.behind_ms, behind_ms);
        if (was == 0) != (behind_ms == 0) {
            out.events.push(Event::ClockOff { behind_ms });
        }
        for replica in self.replicas.iter_mut().flatten() {
            replica.clock_behind_ms = behind_ms;
        }
    }
}

/// Tells a peer the time.
pub(crate) fn tell_time(now: Now, peer: NodeId, out: &mut Outbox) {
    out.peers.push((peer, PeerMessage::Time { wall_ms: now.wall_ms }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(told: &[i64], quorum: usize) -> i64 {
        let now = Now { boot: Instant(1), wall_ms: 10_000_000 };
        let mut clocks = Clocks::default();
        for (at, ahead) in (2..).zip(told) {
            clocks.on_told(now, NodeId(at), now.wall_ms.saturating_add_signed(*ahead));
        }
        clocks.behind_ms(now, quorum)
    }

    #[test]
    fn one_wrong_clock_of_three_is_known_to_be_wrong() {
        const HOUR: i64 = 3_600_000;
        assert_eq!(behind(&[HOUR, 3], 2), 0, "another's is wrong");
        assert_eq!(behind(&[-HOUR, -HOUR + 3], 2), -HOUR + 3, "this one is ahead");
        assert_eq!(behind(&[HOUR, HOUR + 3], 2), HOUR, "this one is behind");
        assert_eq!(behind(&[HOUR], 2), 0, "of two nobody knows which");
        assert_eq!(behind(&[HOUR], 3), 0, "two of five say nothing");
        assert_eq!(behind(&[400, 450], 2), 0, "small differences are left alone");
    }

    #[test]
    fn a_late_message_makes_no_clock_wrong() {
        let now = Now { boot: Instant(1), wall_ms: 10_000_000 };
        let mut clocks = Clocks::default();
        for at in [2, 3] {
            clocks.on_told(now, NodeId(at), now.wall_ms);
            clocks.on_told(now, NodeId(at), now.wall_ms - 3_000);
        }
        assert_eq!(clocks.behind_ms(now, 2), 0);
        let later = Now { boot: now.boot.plus_ms(HEARD_MS), ..now };
        assert_eq!(clocks.behind_ms(later, 2), 0, "what is old counts no more");
    }
}
