//! What a model checker tells two replicas apart by.
//!
//! Everything in a [`Group`] counts, with three exceptions, or the states to be looked at would have no end. How fresh a follower is decides nothing
//! but reads from it, of which no model speaks. Chance does not count: who compares replicas gives a spread of zero, so that nothing is drawn. And writes of term and vote count from
//! the last durable one on, since their number alone changes nothing. A field that is added must be named here.

use super::fresh::Fresh;
use super::{Group, HardState};
use std::hash::{Hash, Hasher};

impl Hash for Group {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let Self {
            me,
            shard,
            tuning,
            rng: _,
            term,
            vote,
            hard,
            role,
            leader,
            log,
            generation,
            durable,
            verified,
            commit,
            applied,
            members,
            heard_at,
            fresh: _,
            quarantined_until,
            campaign_at,
            retired,
            turned,
            held_from,
        } = self;
        (me, shard, tuning, term, vote, hard, role, leader, log).hash(to);
        (generation, durable, verified, commit, applied, members).hash(to);
        (heard_at, quarantined_until, campaign_at, retired, turned, held_from).hash(to);
    }
}

impl Hash for HardState {
    fn hash<H: Hasher>(&self, to: &mut H) {
        let Self { written, stored, held } = self;
        (written - stored).hash(to);
        held.iter().for_each(|(needs, envelope)| (needs - stored, envelope).hash(to));
    }
}

impl Hash for Fresh {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
