//! The scenes: who asks for what, what is let happen, and how far it goes.

/// What an owner does next, when the last thing was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    Acquire,
    /// With what it was granted, if it was.
    Renew,
    Release,
}

#[derive(Clone, Debug)]
pub struct Scene {
    pub name: &'static str,
    /// The first so many nodes vote.
    pub voters: u64,
    /// What each owner does, one after the other, each at the node of its number, which is its home too: all links are known
    /// as lost, so nobody waits for who is slow.
    pub owners: &'static [&'static [Step]],
    /// Requests to a voter may arrive behind later ones of the same proposer; else they are lost then.
    pub late: bool,
    /// Writes become durable when the checker says so, not at once.
    pub late_syncs: bool,
    pub crashes: u8,
    /// Times that all leases pass.
    pub ticks: u8,
    /// Times that a proposer who lost its ballot tries again.
    pub timers: u8,
}

const SCENE: Scene =
    Scene { name: "", voters: 3, owners: &[], late: false, late_syncs: false, crashes: 0, ticks: 0, timers: 0 };

/// All of them.
pub fn scenes() -> Vec<Scene> {
    use Step::{Acquire, Release, Renew};
    vec![
        Scene { name: "races", owners: &[&[Acquire, Release], &[Acquire]], ..SCENE },
        Scene { name: "late", owners: &[&[Acquire, Release], &[Acquire]], voters: 2, timers: 1, late: true, ..SCENE },
        Scene { name: "steals", owners: &[&[Acquire, Renew], &[Acquire]], ticks: 1, ..SCENE },
        Scene {
            name: "crashes",
            owners: &[&[Acquire], &[Acquire]],
            voters: 2,
            late_syncs: true,
            crashes: 1,
            ticks: 1,
            timers: 1,
            ..SCENE
        },
    ]
}
