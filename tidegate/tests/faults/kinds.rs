//! The faults, and how each is brought about and ended.

use crate::nodes::{NODES, Nodes, resp};
use crate::pace::Pace;
use crate::support::Client;
use base::rng::Rng;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Kill,
    KillLeader,
    KillAll,
    Pause,
    Partition,
    LongPartition,
    Partial,
    OneWay,
    Rolling,
    FullDisk,
    Clock,
    /// On a cluster whose links can be delayed.
    Slow,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Kill,
        Self::KillLeader,
        Self::KillAll,
        Self::Pause,
        Self::Partition,
        Self::LongPartition,
        Self::Partial,
        Self::OneWay,
        Self::Rolling,
        Self::FullDisk,
        Self::Clock,
    ];

    /// Those that locks are tried under.
    pub const OF_LOCKS: [Self; 8] = [
        Self::Kill,
        Self::KillAll,
        Self::Pause,
        Self::Partition,
        Self::Partial,
        Self::OneWay,
        Self::Rolling,
        Self::Clock,
    ];

    /// As a table has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9 of a node",
            Self::KillLeader => "kill -9 of the leader of most shards",
            Self::KillAll => "kill -9 of all nodes",
            Self::Pause => "SIGSTOP for 0.5 to 3 s",
            Self::Partition => "a node cut off from the others",
            Self::LongPartition => "the same for 10 s",
            Self::Partial => "two nodes cut from each other",
            Self::OneWay => "a node that hears and isn't heard, or the reverse",
            Self::Rolling => "SIGTERM and restart, one by one",
            Self::FullDisk => "a full disk",
            Self::Clock => "wall clocks that jump by up to an hour",
            Self::Slow => "links slow by 5 to 150 ms, each way",
        }
    }

    /// Brings it about, keeps it for a while, and ends it.
    pub fn happen(self, nodes: &mut Nodes, rng: &mut Rng, pace: &Pace) {
        let any = usize::try_from(rng.below(NODES as u64)).expect("a node's number is small");
        let hold = Duration::from_millis(500 + rng.below(2500));
        match self {
            Self::Kill => dead_for(nodes, &[any], hold, pace),
            Self::KillLeader => dead_for(nodes, &[nodes.leader()], hold, pace),
            Self::KillAll => dead_for(nodes, &[0, 1, 2], Duration::from_millis(100), pace),
            Self::Pause => {
                nodes.signal(any, "STOP");
                pace.wait(hold);
                nodes.signal(any, "CONT");
            }
            Self::LongPartition => {
                self.cut(nodes, any, rng);
                pace.wait(Duration::from_secs(10));
                nodes.network.heal();
            }
            Self::Partition | Self::Partial | Self::OneWay => {
                self.cut(nodes, any, rng);
                pace.wait(hold + Duration::from_secs(1));
                nodes.network.heal();
            }
            Self::Rolling => {
                for at in 0..NODES {
                    nodes.terminate(at, pace);
                    nodes.restart(at);
                    nodes.await_service();
                }
            }
            Self::FullDisk => {
                nodes.disk.fill();
                press(nodes, pace);
                // The others have room: they lead now, and the full node's clients write through them.
                nodes.await_service();
                pace.wait(hold);
                nodes.disk.free();
            }
            Self::Clock => jump(nodes, rng, pace),
            Self::Slow => {
                for _ in 0..6 {
                    nodes.delay(Duration::from_millis(5 + rng.below(145)));
                    pace.wait(Duration::from_millis(500));
                }
                nodes.delay(Duration::ZERO);
            }
        }
    }

    fn cut(self, nodes: &Nodes, one: usize, rng: &mut Rng) {
        let others = (0..NODES).filter(|at| *at != one);
        match self {
            Self::Partial => nodes.network.cut_both(one, (one + 1) % NODES),
            Self::OneWay if rng.one_in(2) => others.for_each(|other| nodes.network.cut(one, other)),
            Self::OneWay => others.for_each(|other| nodes.network.cut(other, one)),
            _ => others.for_each(|other| nodes.network.cut_both(one, other)),
        }
    }
}

fn dead_for(nodes: &mut Nodes, victims: &[usize], hold: Duration, pace: &Pace) {
    victims.iter().for_each(|at| nodes.kill(*at));
    pace.wait(hold);
    victims.iter().for_each(|at| nodes.restart(*at));
}

/// Writes large values until the node on the full disk says that its log has no room.
fn press(nodes: &Nodes, pace: &Pace) {
    let value = "p".repeat(200_000);
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut clients: Vec<Client> = (0..NODES)
        .map(|at| Client::connect_within(&resp(at), Duration::from_secs(5)).expect("a node takes connections"))
        .collect();
    for number in 0.. {
        if nodes.is_full() {
            return;
        }
        assert!(Instant::now() < deadline && !pace.is_over(), "the disk does not fill up");
        // Refused or not: what counts is that the log wants room.
        let reply = clients[number % NODES].ask(&["SET", &format!("press:{}", number % 50), &value]);
        reply.expect("a full disk stops nothing");
    }
}

/// Clocks of all nodes jump by up to an hour, there and back, and shards come to be led by nodes whose clocks are an hour ahead.
fn jump(nodes: &mut Nodes, rng: &mut Rng, pace: &Pace) {
    for _ in 0..6 {
        let at = usize::try_from(rng.below(NODES as u64)).expect("a node's number is small");
        let reach_ms = [1_000, 60_000, 3_600_000][at];
        let offset_ms = i64::try_from(rng.below(2_000)).expect("it is small") - 1_000;
        nodes.set_clock(at, offset_ms * reach_ms / 1_000);
        pace.wait(Duration::from_millis(300));
    }
    let leader = nodes.leader();
    (0..NODES).for_each(|at| nodes.set_clock(at, if at == leader { 0 } else { 3_600_000 }));
    dead_for(nodes, &[leader], Duration::from_secs(1), pace);
    (0..NODES).for_each(|at| nodes.set_clock(at, 0));
}
