//! The faults, and how each is brought about and ended.

use crate::nodes::{NODES, Nodes, SMALL, resp};
use crate::pace::Pace;
use crate::support::{Client, Reply};
use base::rng::Rng;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Kill,
    KillLeader,
    KillAll,
    Pause,
    Partition,
    Partial,
    OneWay,
    Rolling,
    FullDisk,
    Clock,
}

impl Kind {
    pub const ALL: [Self; 10] = [
        Self::Kill,
        Self::KillLeader,
        Self::KillAll,
        Self::Pause,
        Self::Partition,
        Self::Partial,
        Self::OneWay,
        Self::Rolling,
        Self::FullDisk,
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
            Self::Partial => "two nodes cut from each other",
            Self::OneWay => "a node that hears and isn't heard, or the reverse",
            Self::Rolling => "SIGTERM and restart, one by one",
            Self::FullDisk => "a full disk",
            Self::Clock => "a wall clock that jumps",
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
                press(Duration::from_secs(2), pace);
                nodes.disk.free();
            }
            Self::Clock => jump(nodes, rng, pace),
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

/// Writes large values through the node whose disk is full, so that its log wants room.
fn press(time: Duration, pace: &Pace) {
    let value = "p".repeat(100_000);
    let (begun, mut at) = (std::time::Instant::now(), 0);
    let mut client = None;
    while begun.elapsed() < time && !pace.is_over() {
        at += 1;
        let link = client.take().or_else(|| Client::connect_within(&resp(SMALL), Duration::from_secs(1)).ok());
        let Some(mut link) = link else { continue };
        match link.ask(&["SET", &format!("press:{}", at % 50), &value]) {
            Ok(Reply::Error(_)) => _ = pace.wait(Duration::from_millis(20)),
            Ok(_) => {}
            Err(_) => continue,
        }
        client = Some(link);
    }
}

/// Clocks of all nodes jump by up to an hour, there and back.
fn jump(nodes: &Nodes, rng: &mut Rng, pace: &Pace) {
    for _ in 0..6 {
        let at = usize::try_from(rng.below(NODES as u64)).expect("a node's number is small");
        let reach_ms = [1_000, 60_000, 3_600_000][at];
        let offset_ms = i64::try_from(rng.below(2_000)).expect("it is small") - 1_000;
        nodes.set_clock(at, offset_ms * reach_ms / 1_000);
        pace.wait(Duration::from_millis(400));
    }
    (0..NODES).for_each(|at| nodes.set_clock(at, 0));
}
