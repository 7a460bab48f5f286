//! Newtypes for everything that has a number, so that no two can be mixed up.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A node: one process, one machine's share of the cluster. Random, made at its first start.
    NodeId, u64);
id!(
    /// A lane: one thread of a node with its own loop, counted from 0.
    LaneId, u16);
id!(
    /// A shard: one replicated state machine, counted from 0.
    ShardId, u16);
id!(
    /// A client connection, unique on its node for the life of the process.
    ClientId, u64);
id!(
    /// A Raft term.
    Term, u64);
id!(
    /// A Raft log index; the first entry has index 1.
    Index, u64);
id!(
    /// The number of a placement; the first one has epoch 1.
    Epoch, u64);

impl Epoch {
    /// No cluster changes so often; what claims more is damage.
    pub const MAX: Self = Self(u64::MAX / 2);

    /// The epoch behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Index {
    /// The index behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
