//! Scripts drawn from a seed, played to both clusters, which must agree at each quiet point.
//!
//! An event is given to both; then each cluster's messages arrive in an order of its own, some twice, those across a
//! partition not at all, until nothing is on its way; then leaders beat until all that they reach has caught up.

use crate::cluster::{Cluster, Copies, NODES, View};
use crate::ours::Ours;
use crate::theirs::Theirs;
use base::rng::Rng;
use std::collections::BTreeMap;

/// What happened, by name.
pub type Counts = BTreeMap<&'static str, u64>;

pub struct Play {
    rng: Rng,
    ours: Ours,
    theirs: Theirs,
    /// Replicas reach those with the same number.
    sides: [u8; 3],
    next_data: u8,
    /// The longest committed log that was seen.
    committed: Vec<(u64, Option<u8>)>,
    counts: Counts,
    story: Vec<String>,
}

/// So many rounds of heartbeats bring everyone up to date whom a leader reaches.
const ROUNDS: usize = 8;

impl Play {
    pub fn run(seed: u64, events: usize) -> Counts {
        let mut play = Self {
            rng: Rng::new(seed),
            ours: Ours::new(),
            theirs: Theirs::new(),
            sides: [0; 3],
            next_data: 0,
            committed: Vec::new(),
            counts: Counts::new(),
            story: vec![format!("seed {seed}")],
        };
        for _ in 0..events {
            play.event();
        }
        play.counts
    }

    fn event(&mut self) {
        let node = 1 + self.rng.below(3);
        let leads = self.ours.view(node).leads;
        match self.rng.below(10) {
            0..=2 if !leads => self.campaign(node),
            0..=3 if leads => self.propose(node),
            4..=5 if leads => self.propose_and_lose_answers(node),
            6 => self.part(),
            7 => self.restart(node),
            8 if leads => self.transfer(node),
            9 if leads && self.rng.one_in(3) => self.hear_nobody(node),
            _ => {}
        }
    }

    fn both(&mut self, what: &'static str, told: String, act: impl Fn(&mut dyn Cluster)) {
        *self.counts.entry(what).or_default() += 1;
        self.story.push(told);
        act(&mut self.ours);
        act(&mut self.theirs);
    }

    fn campaign(&mut self, node: u64) {
        let view = self.ours.view(node);
        let voters: Vec<View> = self.reached_from(node).map(|other| self.ours.view(other)).collect();
        if voters.iter().any(|other| other.term > view.term) {
            // Whether it learns of that term or wins first depends on the order of the answers.
            *self.counts.entry("campaign put off").or_default() += 1;
            return;
        }
        let votes = voters.iter().filter(|other| !other.leads && is_up_to_date(&view.log, &other.log)).count();
        self.both("campaign", format!("{node} campaigns, {votes} may vote for it"), |cluster| {
            cluster.forget_promises();
            cluster.campaign(node);
        });
        self.drain();
        for (whose, leads) in [("ours", self.ours.view(node).leads), ("theirs", self.theirs.view(node).leads)] {
            assert_eq!(leads, votes >= 1, "who_may_lead_follows_from_the_logs: {whose}\n{}", self.told());
        }
        *self.counts.entry(if votes >= 1 { "campaign won" } else { "campaign lost" }).or_default() += 1;
        self.be_quiet();
    }

    fn propose(&mut self, node: u64) {
        let data = self.draw_data();
        self.both("proposal", format!("{node} proposes {data}"), |cluster| cluster.propose(node, data));
        self.drain();
        self.be_quiet();
    }

    /// The entry reaches some followers, and their answers are lost.
    fn propose_and_lose_answers(&mut self, node: u64) {
        let data = self.draw_data();
        let reached: Vec<u64> = self.reached_from(node).filter(|_| self.rng.clone().one_in(2)).collect();
        self.rng.next_u64();
        self.both("answers lost", format!("{node} proposes {data}, only {reached:?} get it"), |cluster| {
            cluster.propose(node, data);
            let wire = cluster.on_their_way();
            for at in (0..wire.len()).rev() {
                if reached.contains(&wire[at].1) {
                    cluster.deliver(at, Copies::One);
                }
            }
            cluster.lose_all();
        });
        self.they_agree();
    }

    fn part(&mut self) {
        let alone = self.rng.below(4);
        self.sides = [1, 2, 3].map(|node| u8::from(node == alone));
        let told = if alone == 0 { "all are joined".to_owned() } else { format!("{alone} is cut off") };
        self.both(if alone == 0 { "joined" } else { "cut off" }, told, |_| {});
        self.be_quiet();
    }

    fn restart(&mut self, node: u64) {
        self.both("restart", format!("{node} restarts"), |cluster| cluster.restart(node));
        self.be_quiet();
    }

    fn transfer(&mut self, node: u64) {
        let Some(to) = self.reached_from(node).next() else { return };
        let view = self.ours.view(node);
        if self.reached_from(node).any(|other| self.ours.view(other).term != view.term)
            || self.ours.view(to).log != view.log
        {
            return;
        }
        self.both("transfer", format!("{node} hands over to {to}"), |cluster| {
            cluster.forget_promises();
            cluster.transfer(node, to);
        });
        self.drain();
        self.be_quiet();
        assert!(self.ours.view(to).leads, "who_is_handed_the_lead_takes_it\n{}", self.told());
    }

    fn hear_nobody(&mut self, node: u64) {
        self.both("hears nobody", format!("{node} hears nobody"), |cluster| {
            cluster.hear_nobody(node);
            cluster.lose_all();
        });
        for leads in [self.ours.view(node).leads, self.theirs.view(node).leads] {
            assert!(!leads, "who_hears_no_quorum_leads_no_more\n{}", self.told());
        }
        self.be_quiet();
    }

    fn draw_data(&mut self) -> u8 {
        self.next_data = self.next_data.wrapping_add(1);
        self.next_data
    }

    fn reached_from(&self, node: u64) -> impl Iterator<Item = u64> + use<> {
        let sides = self.sides;
        NODES.filter(move |other| *other != node && are_joined(sides, node, *other))
    }

    fn drain(&mut self) {
        drain(&mut self.ours, &mut self.rng.clone(), self.sides);
        drain(&mut self.theirs, &mut self.rng.clone(), self.sides);
        self.rng.next_u64();
    }

    fn be_quiet(&mut self) {
        for _ in 0..ROUNDS {
            for node in NODES {
                if self.ours.view(node).leads {
                    self.ours.beat(node);
                }
                if self.theirs.view(node).leads {
                    self.theirs.beat(node);
                }
            }
            self.drain();
        }
        self.they_agree();
        self.commits_agree();
    }

    /// Terms, leaders and whole logs are the same; votes don't contradict each other.
    fn they_agree(&mut self) {
        *self.counts.entry("quiet points").or_default() += 1;
        for node in NODES {
            let (ours, theirs) = (self.ours.view(node), self.theirs.view(node));
            let same = (ours.leads, ours.term, &ours.log) == (theirs.leads, theirs.term, &theirs.log);
            let votes_fit = ours.vote == theirs.vote || ours.vote.is_none() || theirs.vote.is_none();
            assert!(same && votes_fit, "replicas_agree: {node}\n{}", self.told());
            for view in [ours, theirs] {
                let committed = usize::try_from(view.commit).expect("small");
                let shared = committed.min(self.committed.len());
                assert!(
                    view.log[..shared] == self.committed[..shared],
                    "committed_prefixes_agree: {node}\n{}",
                    self.told()
                );
                if committed > self.committed.len() {
                    self.committed = view.log[..committed].to_vec();
                }
            }
        }
    }

    /// Who hears a leader has committed the same, here and there.
    fn commits_agree(&mut self) {
        for leader in NODES.filter(|node| self.ours.view(*node).leads) {
            let term = self.ours.view(leader).term;
            for node in self.reached_from(leader).chain([leader]) {
                let (ours, theirs) = (self.ours.view(node), self.theirs.view(node));
                if ours.term == term {
                    assert_eq!(ours.commit, theirs.commit, "commits_agree: {node}\n{}", self.told());
                }
            }
        }
    }

    fn told(&self) -> String {
        let mut lines = self.story.clone();
        for node in NODES {
            lines.push(format!("{node} ours   {:?}", self.ours.view(node)));
            lines.push(format!("{node} theirs {:?}", self.theirs.view(node)));
        }
        lines.join("\n")
    }
}

fn drain(cluster: &mut dyn Cluster, rng: &mut Rng, sides: [u8; 3]) {
    for _ in 0..10_000 {
        let wire = cluster.on_their_way();
        if wire.is_empty() {
            return;
        }
        let at = usize::try_from(rng.below(wire.len() as u64)).expect("small");
        let (from, to) = wire[at];
        if !are_joined(sides, from, to) {
            cluster.lose(at);
        } else {
            cluster.deliver(at, if rng.one_in(12) { Copies::Two } else { Copies::One });
        }
    }
    panic!("a_cluster_comes_to_rest");
}

fn are_joined(sides: [u8; 3], a: u64, b: u64) -> bool {
    let side = |node: u64| sides[usize::try_from(node).expect("small") - 1];
    side(a) == side(b)
}

/// A log that ends so holds at least what the other does (Raft 5.4.1).
fn is_up_to_date(log: &[(u64, Option<u8>)], other: &[(u64, Option<u8>)]) -> bool {
    let end = |log: &[(u64, Option<u8>)]| (log.last().map_or(0, |entry| entry.0), log.len());
    end(log) >= end(other)
}
