//! What a script may ask of a cluster of three replicas, and what it sees of them.

/// Three replicas, numbered from 1, whose disks sync at once. Nothing happens unless it is asked for.
pub trait Cluster {
    /// Every promise that a follower gave a leader runs out; nobody's timer fires.
    fn forget_promises(&mut self);
    /// The election timer of a replica fires.
    fn campaign(&mut self, node: u64);
    fn propose(&mut self, node: u64, data: u8);
    /// A leader sends a round of heartbeats.
    fn beat(&mut self, node: u64);
    /// A leader hears nobody for longer than it may.
    fn hear_nobody(&mut self, node: u64);
    fn transfer(&mut self, node: u64, to: u64);
    /// The process ends and begins anew with what is durable.
    fn restart(&mut self, node: u64);

    /// Where the messages on their way go, as (from, to).
    fn on_their_way(&self) -> Vec<(u64, u64)>;
    /// Delivers one of them; it comes again if it is doubled.
    fn deliver(&mut self, at: usize, copies: Copies);
    fn lose(&mut self, at: usize);
    fn lose_all(&mut self);

    fn view(&self, node: u64) -> View;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    One,
    Two,
}

/// How a replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub leads: bool,
    pub term: u64,
    pub vote: Option<u64>,
    pub commit: u64,
    /// Term and data of each entry; the first one of a term has no data.
    pub log: Vec<(u64, Option<u8>)>,
}

pub const NODES: std::ops::RangeInclusive<u64> = 1..=3;
