//! What a leader knows of one other member.
//!
//! It sends one message at a time until it knows where the logs meet, then streams ahead of the answers, bounded by
//! count and bytes. A lost message shows by heartbeats that are answered while nothing moves: then it asks again.

use base::{Index, Instant};
use std::collections::VecDeque;

#[derive(Clone, Debug, Hash)]
pub(super) struct Progress {
    /// Durable there, and equal to the leader's log.
    pub(super) matched: Index,
    /// The first entry that was not sent.
    pub(super) next: Index,
    pub(super) flow: Flow,
    /// When it last answered.
    pub(super) heard_at: Instant,
    /// The last heartbeat of this term that it answered.
    pub(super) probe: u64,
}

/// How entries are sent.
#[derive(Clone, Debug, Hash)]
pub(super) enum Flow {
    /// Where do the logs meet? One question at a time, asked when so many heartbeats had been sent.
    Probe { asked: Option<u64> },
    /// Messages are on their way; each is known by its last entry. `stuck` counts heartbeats answered meanwhile.
    Stream { sent: VecDeque<(Index, usize)>, bytes: usize, stuck: u32 },
    /// It lacks entries that are gone here, and gets a snapshot.
    Snapshot,
}

/// Messages on their way to one member.
const STREAM_COUNT_MAX: usize = 64;
/// Bytes on their way to one member; one message may exceed them.
const STREAM_BYTES_MAX: usize = 8 * 1024 * 1024;
/// So many heartbeats answered while nothing moved mean that something was lost.
const STUCK_MAX: u32 = 3;

impl Progress {
    pub(super) fn new(last: Index, now: Instant) -> Self {
        Self { matched: Index(0), next: last.next(), flow: Flow::Probe { asked: None }, heard_at: now, probe: 0 }
    }

    /// True if entries may be sent now.
    pub(super) fn may_send(&self) -> bool {
        match &self.flow {
            Flow::Probe { asked } => asked.is_none(),
            Flow::Stream { sent, bytes, .. } => sent.len() < STREAM_COUNT_MAX && *bytes < STREAM_BYTES_MAX,
            Flow::Snapshot => false,
        }
    }

    /// Entries up to `last` were sent, behind the heartbeat `probe`.
    pub(super) fn on_sent(&mut self, last: Index, size: usize, probe: u64) {
        match &mut self.flow {
            Flow::Probe { asked } => *asked = Some(probe),
            Flow::Stream { sent, bytes, .. } => {
                sent.push_back((last, size));
                *bytes += size;
                self.next = last.next();
            }
            Flow::Snapshot => {}
        }
    }

    /// It holds everything up to `matched`; true if that is news.
    pub(super) fn on_matched(&mut self, matched: Index) -> bool {
        let news = matched > self.matched;
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched.next());
        match &mut self.flow {
            Flow::Stream { sent, bytes, stuck } => {
                while let Some((_, size)) = sent.pop_front_if(|(last, _)| *last <= self.matched) {
                    *bytes -= size;
                    *stuck = 0;
                }
            }
            Flow::Probe { .. } => {
                self.next = self.matched.next();
                self.flow = Flow::Stream { sent: VecDeque::new(), bytes: 0, stuck: 0 };
            }
            Flow::Snapshot => {}
        }
        news
    }

    /// The logs don't meet at `asked`; ask from `next` on. False if this was about an older question, or denies what the
    /// peer itself has answered for: then asking again would not help.
    pub(super) fn on_rejected(&mut self, asked: Index, next: Index) -> bool {
        let current = match &self.flow {
            Flow::Probe { .. } => asked.next() == self.next,
            Flow::Stream { .. } => true,
            Flow::Snapshot => false,
        };
        let current = current && asked > self.matched;
        if current {
            self.probe_from(next);
        }
        current
    }

    /// A heartbeat was answered: what was sent before it and not answered is lost, or slow. One that answers for less than
    /// it did before has restarted, and doesn't know any more how much of its log is the leader's: asking tells it.
    pub(super) fn on_heartbeat_answered(&mut self, probe: u64, matched: Index) {
        match &mut self.flow {
            Flow::Probe { asked } => *asked = asked.filter(|before| *before >= probe),
            Flow::Stream { sent, stuck, .. } if !sent.is_empty() => {
                *stuck += 1;
                if *stuck >= STUCK_MAX {
                    self.probe_from(self.matched.next());
                }
            }
            Flow::Stream { .. } if matched < self.matched => self.probe_from(self.matched.next()),
            Flow::Stream { .. } | Flow::Snapshot => {}
        }
    }

    /// Asks anew where the logs meet.
    pub(super) fn probe_from(&mut self, next: Index) {
        self.next = next.max(self.matched.next());
        self.flow = Flow::Probe { asked: None };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_waits_for_its_answer_and_then_streams() {
        let mut progress = Progress::new(Index(10), Instant(0));
        assert!(progress.may_send());
        progress.on_sent(Index(10), 1, 1);
        assert!(!progress.may_send());
        assert!(progress.on_rejected(Index(10), Index(5)) && progress.may_send());
        assert!(!progress.on_rejected(Index(10), Index(2)), "the answer to an older question");
        assert!(progress.on_matched(Index(4)));
        assert_eq!(progress.next, Index(5));
        for last in 5..70 {
            assert!(progress.may_send() == (last < 5 + 64));
            if progress.may_send() {
                progress.on_sent(Index(last), 1, 1);
            }
        }
        progress.on_matched(Index(6));
        assert!(progress.may_send());
    }

    #[test]
    fn what_is_lost_is_sent_again() {
        let mut progress = Progress::new(Index(0), Instant(0));
        progress.on_matched(Index(0));
        progress.on_sent(Index(3), 100, 1);
        for _ in 0..STUCK_MAX {
            assert_eq!(progress.next, Index(4));
            progress.on_heartbeat_answered(2, Index(0));
        }
        assert_eq!(progress.next, Index(1));
        assert!(matches!(progress.flow, Flow::Probe { asked: None }));
    }

    #[test]
    fn who_restarted_is_asked_though_it_lacks_nothing() {
        let mut progress = Progress::new(Index(0), Instant(0));
        progress.on_matched(Index(3));
        progress.on_heartbeat_answered(1, Index(3));
        assert!(matches!(progress.flow, Flow::Stream { .. }));
        progress.on_heartbeat_answered(2, Index(0));
        assert!(matches!(progress.flow, Flow::Probe { asked: None }));
        assert_eq!(progress.next, Index(4));
    }
}
