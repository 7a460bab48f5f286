//! The stamp clock of a shard's leader.
//!
//! Stamp = max(last stamp, wall clock at election + monotonic time in office): a jump of the wall clock moves nothing.

use crate::Now;
use base::Stamp;
use base::mutation::{self, Mutation};
use base::time::{Instant, NS_PER_MS};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StampClock {
    elected_wall_ms: u64,
    elected_at: Instant,
    last: Stamp,
}

impl StampClock {
    /// Takes office.
    pub(crate) fn elect(&mut self, now: Now, last: Stamp) {
        *self = Self { elected_wall_ms: now.wall_ms, elected_at: now.boot, last };
    }

    /// No later stamp lies below `stamp`.
    pub(crate) fn at_least(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp);
    }

    /// The stamp at `now`; never goes back.
    pub(crate) fn stamp(&mut self, now: Now) -> Stamp {
        if mutation::on(Mutation::RawWallClock) {
            return Stamp(now.wall_ms);
        }
        let here = Stamp(self.elected_wall_ms + now.boot.since_ns(self.elected_at) / NS_PER_MS);
        self.last = self.last.max(here);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_wall_clock_moves_nothing() {
        let at = |ms, wall_ms| Now { boot: Instant(ms * NS_PER_MS), wall_ms };
        let mut clock = StampClock::default();
        clock.elect(at(0, 1000), Stamp(0));
        assert_eq!(clock.stamp(at(5, 999_000)), Stamp(1005));
        assert_eq!(clock.stamp(at(6, 0)), Stamp(1006));
        clock.elect(at(10, 500), Stamp(1006));
        assert_eq!(clock.stamp(at(10, 500)), Stamp(1006), "a slow wall clock at election never takes the stamp back");
    }
}
