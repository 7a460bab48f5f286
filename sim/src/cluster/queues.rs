//! Queues: lists that some clients push to and others wait at, through whatever happens to nodes and links.
//!
//! Every member is pushed once and is one of a kind. So it can be told of each what became of it: nobody gets it twice, nobody gets
//! what was refused, and what was acknowledged is with somebody or still there. Who waits in vain may take one member with
//! him: a client that went away, or whose node died, can't say whether it was served.

use super::{World, index};
use base::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// What became of the members of the queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// Those that were evicted at least once.
    evicted: BTreeSet<String>,
    pushed: BTreeMap<String, Pushed>,
    /// Members by who got them: no client gets one twice.
    got: BTreeSet<String>,
    /// Calls by queue of which nobody knows whether they were served.
    lost_calls: BTreeMap<String, u64>,
    pub(super) waited: u64,
}

#[derive(Debug)]
struct Pushed {
    queue: String,
    known: Known,
}

/// What a client knows of what it has pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    Done,
    /// It was refused, and had no effect.
    Refused,
}

const QUEUES: u64 = 3;

/// All queues.
pub(super) fn queues() -> impl Iterator<Item = String> {
    (0..QUEUES).map(|n| format!("{{{n}}}queue"))
}

/// A push or a call that waits.
pub(super) fn draw(rng: &mut Rng, value: String) -> Vec<String> {
    let queue = format!("{{{}}}queue", rng.below(QUEUES));
    match rng.below(5) {
        0 | 1 => vec!["RPUSH".into(), queue, value],
        2 | 3 => {
            let timeout = ["0", "0.05", "0.3", "1", "3"][index(rng.below(5))];
            vec!["BLPOP".into(), queue, timeout.into()]
        }
        _ => vec!["BRPOP".into(), queue, "0.2".into()],
    }
}

impl Queues {
    pub(super) fn push(&mut self, queue: &str, member: &str) {
        let pushed = Pushed { queue: queue.to_owned(), known: Known::Nothing };
        assert!(self.pushed.insert(member.to_owned(), pushed).is_none(), "members are one of a kind");
    }

    pub(super) fn on_pushed(&mut self, member: &str, known: Known) {
        self.pushed.get_mut(member).expect("it was pushed").known = known;
        assert!(known != Known::Refused || !self.got.contains(member), "nobody_gets_what_was_refused: {member}");
    }

    pub(super) fn get(&mut self, queue: &str, member: &str) {
        let pushed = self.pushed.get(member).unwrap_or_else(|| panic!("nobody_gets_what_nobody_pushed: {member}"));
        assert_eq!(pushed.queue, queue, "members_stay_in_their_queue: {member}");
        assert!(pushed.known != Known::Refused, "nobody_gets_what_was_refused: {member}");
        assert!(self.got.insert(member.to_owned()), "nobody_gets_a_member_twice: {member}");
    }

    /// A call of which nobody will know whether it was served.
    pub(super) fn lose(&mut self, queue: &str) {
        *self.lost_calls.entry(queue.to_owned()).or_default() += 1;
    }

    /// A queue went for want of memory, and its members with it. False if it is no queue.
    pub(super) fn evict(&mut self, key: &str) -> bool {
        let is_queue = queues().any(|queue| queue == key);
        if is_queue {
            self.evicted.insert(key.to_owned());
        }
        is_queue
    }

    /// What is left in a queue, at the end.
    pub(super) fn no_member_is_lost(&self, queue: &str, left: &[String]) {
        let left: BTreeSet<&String> = left.iter().collect();
        let mut missing = Vec::new();
        for (member, pushed) in self.pushed.iter().filter(|(_, pushed)| pushed.queue == queue) {
            let (got, there) = (self.got.contains(member), left.contains(member));
            assert!(!(got && there), "who_gets_a_member_takes_it: {member}");
            assert!(!there || pushed.known != Known::Refused, "what_was_refused_is_not_there: {member}");
            if pushed.known == Known::Done && !got && !there {
                missing.push(member);
            }
        }
        let calls = self.lost_calls.get(queue).copied().unwrap_or(0);
        assert!(
            missing.len() as u64 <= calls || self.evicted.contains(queue),
            "no_member_is_lost: {missing:?} of {queue} went to nobody, and {calls} clients went away while they waited"
        );
    }
}

impl World {
    /// Every node tells the same of each queue, and all members are accounted for.
    pub(super) fn queues_are_whole(&mut self) {
        for (at, node) in self.nodes().into_iter().enumerate() {
            let client = at % self.clients.len();
            self.leave(client);
            self.connect(client, node);
            for queue in queues() {
                self.ask_what_is_left(client, &queue);
            }
            self.until("last_reads_are_answered", |world| !world.clients[client].waits());
        }
    }
}
