//! The scenes: where the search begins, what is let happen, and how far it goes.
//!
//! No single search covers everything: states multiply. Each scene lets in the kinds of trouble that its rules are
//! about, and is searched to its end. What a scene leaves out is a subset of schedules, never a change of the code:
//! a lost heartbeat, a write that is durable at once, a message of a former term that never arrives.

use crate::raft::Raft;
use crate::state::State;
use base::NodeId;
use consensus::raft::{Change, Tuning};

#[derive(Clone, Debug)]
pub struct Scene {
    pub name: &'static str,
    pub bounds: Bounds,
    pub tuning: Tuning,
    pub pre_votes: PreVotes,
    pub heartbeats: Heartbeats,
    pub stale: Stale,
    pub syncs: Syncs,
    pub notices: Notices,
    /// Replicas that have done nothing yet are alike, and named in the order in which they begin to.
    pub alike: bool,
    /// Changes of members, proposed one after the other.
    pub changes: &'static [&'static [Change]],
    /// Brings the scene about.
    pub opening: fn(&Raft, &mut State),
}

/// How much may happen in a scene.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub nodes: u64,
    /// The first so many nodes vote.
    pub voters: u64,
    /// Nobody campaigns beyond this term.
    pub terms: u64,
    /// Nobody proposes beyond so many entries, but for the first of a term.
    pub entries: u64,
    pub proposals: u8,
    pub crashes: u8,
    /// Messages that arrive twice.
    pub doubles: u8,
    /// Reads by a round of heartbeats.
    pub rounds: u8,
    pub transfers: u8,
    pub snapshots: u8,
    /// Timers that fire; without a clock they may at any time.
    pub timers: u8,
    /// Milliseconds that pass.
    pub ticks: u8,
    /// Milliseconds by which clocks drift apart.
    pub slow_ticks: u8,
    /// Leaders do their regular work; without a clock they have heard of nobody in time, and step down.
    pub leaders_time_out: bool,
}

/// Safety may not rest on pre-votes: those who campaign may be given all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreVotes {
    Given,
    Carried,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeats {
    Lost,
    Carried,
}

/// Requests of a term that is durably over at their receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    Lost,
    Carried,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    AtOnce,
    Late,
}

/// Notices of durable writes: in order and at once, or late and in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notices {
    AtOnce,
    Late,
}

/// How much is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// In every test run.
    Short,
    /// By a command of its own.
    Long,
}

impl Tier {
    fn pick<T>(self, short: T, long: T) -> T {
        if self == Self::Short { short } else { long }
    }
}

const BOUNDS: Bounds = Bounds {
    nodes: 3,
    voters: 3,
    terms: 2,
    entries: 2,
    proposals: 0,
    crashes: 0,
    doubles: 0,
    rounds: 0,
    transfers: 0,
    snapshots: 0,
    timers: u8::MAX,
    ticks: 0,
    slow_ticks: 0,
    leaders_time_out: false,
};

/// Every promise has run out and every timer is due, always: that allows all that clocks could.
const TIMELESS: Tuning = Tuning {
    heartbeat_ms: 0,
    election_ms: 0,
    election_spread_ms: 0,
    drift_ms: 0,
    kept_bytes_max: usize::MAX,
    held_bytes_max: usize::MAX,
};
/// A lease lasts two milliseconds, a promise three.
const TIMED: Tuning = Tuning {
    heartbeat_ms: 2,
    election_ms: 3,
    election_spread_ms: 0,
    drift_ms: 1,
    kept_bytes_max: usize::MAX,
    held_bytes_max: usize::MAX,
};

const SCENE: Scene = Scene {
    name: "",
    bounds: BOUNDS,
    tuning: TIMELESS,
    pre_votes: PreVotes::Given,
    heartbeats: Heartbeats::Lost,
    stale: Stale::Lost,
    syncs: Syncs::AtOnce,
    notices: Notices::AtOnce,
    alike: true,
    changes: &[],
    opening: |_, _| {},
};

pub fn scenes(tier: Tier) -> Vec<Scene> {
    vec![
        elections(tier),
        two_voters(tier),
        pre_votes(tier),
        replication(tier),
        overwritten(tier),
        notices(tier),
        rounds(tier),
        members(tier),
        snapshots(tier),
        leases(tier),
        late_answers(tier),
        hand_over(tier),
        last_voter(tier),
    ]
}

/// From nothing: votes, first entries, and crashes that lose what is not durable.
pub fn elections(tier: Tier) -> Scene {
    let bounds = Bounds { crashes: tier.pick(0, 1), ..BOUNDS };
    Scene { name: "elections", bounds, syncs: Syncs::Late, ..SCENE }
}

/// Two voters, with everything that can go wrong between them.
pub fn two_voters(tier: Tier) -> Scene {
    let bounds = Bounds {
        nodes: 2,
        voters: 2,
        entries: tier.pick(2, 3),
        proposals: tier.pick(0, 1),
        crashes: 1,
        doubles: tier.pick(0, 1),
        leaders_time_out: true,
        ..BOUNDS
    };
    Scene {
        name: "two voters",
        bounds,
        syncs: Syncs::Late,
        stale: Stale::Carried,
        heartbeats: Heartbeats::Carried,
        ..SCENE
    }
}

/// Pre-votes are messages like others.
pub fn pre_votes(tier: Tier) -> Scene {
    let bounds = Bounds { terms: tier.pick(1, 2), timers: tier.pick(2, 3), ..BOUNDS };
    Scene { name: "pre-votes", bounds, pre_votes: PreVotes::Carried, ..SCENE }
}

/// A leader with proposals, and others who take over.
pub fn replication(tier: Tier) -> Scene {
    let bounds = Bounds { entries: 3, proposals: 1, crashes: 1, terms: tier.pick(2, 3), ..BOUNDS };
    let opening = |raft: &Raft, state: &mut State| lead_and_settle(raft, state, NodeId(1));
    Scene { name: "replication", bounds, syncs: tier.pick(Syncs::AtOnce, Syncs::Late), opening, ..SCENE }
}

/// Figure 8 of the Raft paper: an entry of an earlier term that a majority holds, and one that will overwrite it.
pub fn overwritten(tier: Tier) -> Scene {
    let bounds = Bounds {
        terms: 4,
        entries: tier.pick(2, 3),
        crashes: 1,
        timers: tier.pick(1, 2),
        leaders_time_out: true,
        ..BOUNDS
    };
    let opening = |raft: &Raft, state: &mut State| {
        // Both led, with the vote of 2, and nobody got their entries.
        lead(raft, state, NodeId(1), NodeId(2));
        // 3 doesn't know of the first term: its first campaign is lost.
        raft.time_out(state, NodeId(3));
        raft.lose_all(state);
        lead(raft, state, NodeId(3), NodeId(2));
        raft.lose_all(state);
        // 1 gives up, and nor does it know of the second term.
        raft.time_out(state, NodeId(1));
        raft.time_out(state, NodeId(1));
        raft.lose_all(state);
        lead(raft, state, NodeId(1), NodeId(2));
        // 3 gives up too, and will campaign in the fourth term.
        raft.time_out(state, NodeId(3));
        raft.time_out(state, NodeId(3));
        raft.sync_all(state);
        for sent in state.wire().to_vec().iter().filter(|sent| (sent.from, sent.to) != (NodeId(1), NodeId(2))) {
            state.take(sent);
        }
    };
    Scene { name: "overwritten", bounds, alike: false, syncs: Syncs::Late, opening, ..SCENE }
}

/// Notices of durable writes come late and overtake each other.
pub fn notices(tier: Tier) -> Scene {
    let bounds = Bounds {
        nodes: tier.pick(2, 3),
        voters: tier.pick(2, 3),
        terms: 2,
        entries: 3,
        proposals: tier.pick(1, 2),
        ..BOUNDS
    };
    Scene { name: "notices", bounds, notices: Notices::Late, syncs: Syncs::Late, ..SCENE }
}

/// Reads by rounds of heartbeats.
pub fn rounds(tier: Tier) -> Scene {
    let bounds = Bounds { rounds: tier.pick(1, 2), crashes: tier.pick(0, 1), ..BOUNDS };
    let opening = |raft: &Raft, state: &mut State| lead_and_settle(raft, state, NodeId(1));
    Scene { name: "rounds", bounds, heartbeats: Heartbeats::Carried, opening, ..SCENE }
}

/// Two of three voters leave, and one comes back to learn.
pub fn members(tier: Tier) -> Scene {
    const CHANGES: &[&[Change]] =
        &[&[Change::Remove(NodeId(2)), Change::Remove(NodeId(3))], &[Change::AddLearner(NodeId(2))]];
    let bounds = Bounds { entries: 5, crashes: tier.pick(0, 1), ..BOUNDS };
    let opening = |raft: &Raft, state: &mut State| lead_and_settle(raft, state, NodeId(1));
    Scene { name: "members", bounds, alike: false, changes: CHANGES, opening, ..SCENE }
}

/// Snapshots arrive at any time, whether they are needed or not.
pub fn snapshots(tier: Tier) -> Scene {
    let bounds = Bounds { entries: 2, proposals: 1, snapshots: tier.pick(1, 2), crashes: tier.pick(0, 1), ..BOUNDS };
    let opening = |raft: &Raft, state: &mut State| lead_and_settle(raft, state, NodeId(1));
    Scene { name: "snapshots", bounds, opening, syncs: tier.pick(Syncs::AtOnce, Syncs::Late), ..SCENE }
}

/// Clocks that drift, leases, and all that may take them over: elections, restarts, transfers.
pub fn leases(tier: Tier) -> Scene {
    let bounds = Bounds {
        ticks: tier.pick(3, 4),
        slow_ticks: 1,
        crashes: 1,
        transfers: tier.pick(0, 1),
        leaders_time_out: true,
        ..BOUNDS
    };
    let opening = |raft: &Raft, state: &mut State| {
        raft.pass(state, TIMED.election_ms);
        lead_and_settle(raft, state, NodeId(1));
    };
    let (tuning, heartbeats, stale) = (TIMED, Heartbeats::Carried, Stale::Carried);
    Scene { name: "leases", bounds, tuning, heartbeats, stale, opening, ..SCENE }
}

/// Heartbeats for reads, whose answers come late.
pub fn late_answers(tier: Tier) -> Scene {
    let bounds = Bounds { ticks: 3, slow_ticks: tier.pick(0, 1), rounds: tier.pick(1, 2), ..BOUNDS };
    let opening = |raft: &Raft, state: &mut State| {
        raft.pass(state, TIMED.election_ms);
        lead_and_settle(raft, state, NodeId(1));
    };
    let (tuning, heartbeats) = (TIMED, Heartbeats::Carried);
    Scene { name: "late answers", bounds, tuning, heartbeats, opening, ..SCENE }
}

/// A leader hands over, and reads.
pub fn hand_over(tier: Tier) -> Scene {
    let bounds =
        Bounds { ticks: tier.pick(1, 3), transfers: tier.pick(1, 2), entries: 3, proposals: tier.pick(0, 1), ..BOUNDS };
    let opening = |raft: &Raft, state: &mut State| {
        raft.pass(state, TIMED.election_ms);
        lead_and_settle(raft, state, NodeId(1));
    };
    let (tuning, heartbeats) = (TIMED, Heartbeats::Carried);
    Scene { name: "hand-over", bounds, tuning, heartbeats, opening, ..SCENE }
}

/// A leader leaves the only other voter behind, which restarts.
pub fn last_voter(tier: Tier) -> Scene {
    const CHANGES: &[&[Change]] = &[&[Change::Remove(NodeId(1))]];
    let bounds = Bounds {
        nodes: 2,
        voters: 2,
        entries: 4,
        ticks: tier.pick(3, 5),
        slow_ticks: 1,
        crashes: tier.pick(1, 2),
        leaders_time_out: true,
        ..BOUNDS
    };
    let opening = |raft: &Raft, state: &mut State| {
        raft.pass(state, TIMED.election_ms);
        lead_and_settle(raft, state, NodeId(1));
    };
    let heartbeats = Heartbeats::Carried;
    Scene { name: "last voter", bounds, tuning: TIMED, heartbeats, alike: false, changes: CHANGES, opening, ..SCENE }
}

/// `id` leads by the vote of `by`, and its first entry is durable at home.
fn lead(raft: &Raft, state: &mut State, id: NodeId, by: NodeId) {
    raft.time_out(state, id);
    raft.sync_all(state);
    raft.deliver_all(state, |sent| (sent.from, sent.to) == (id, by));
    raft.sync_all(state);
    raft.deliver_all(state, |sent| (sent.from, sent.to) == (by, id));
    raft.sync_all(state);
    assert!(state.replica(id).group.leads(), "the opening is told right");
}

/// `id` leads, and all is quiet.
fn lead_and_settle(raft: &Raft, state: &mut State, id: NodeId) {
    raft.time_out(state, id);
    while !state.is_quiet() {
        raft.sync_all(state);
        raft.deliver_all(state, |_| true);
    }
    assert!(state.replica(id).group.has_settled(), "the opening is told right");
}
