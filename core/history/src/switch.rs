//! Switches that each break one part of the checker, so that its tests can prove that they would notice.
//!
//! They exist in the tests of this package alone; in every other build [`broken`] is a constant `false`.

/// A part, and the way in which it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Switch {
    /// An operation may be placed before one that had returned when it was called.
    RealTime,
    /// Configurations are tried again and again.
    Memo,
    /// Configurations with the same operations placed count as one, whatever the state is.
    MemoOfState,
    /// Configurations count as one, whatever unknown outcomes they have used up.
    MemoOfUnknown,
    /// Any operation that may be next is placed without looking at others, not only what changes nothing.
    Greed,
    /// Unknown outcomes are taken for failures.
    UnknownNever,
    /// An unknown outcome is used before its call.
    UnknownEarly,
    /// One unknown outcome is used many times.
    UnknownTwice,
    /// No two unknown outcomes are used in a row.
    ChainsOfOne,
    /// Unknown outcomes on several keys don't make their keys matter to each other.
    Near,
    /// A chain is given up when it has passed what it aims at, even if it could come back.
    Aims,
    /// A value that is needed counts as lost although somebody may write it again.
    Foresight,
    /// An operation on many keys belongs to the first alone.
    Ties,
    /// What was under way at the ends of a window must be placed in it.
    Cut,
    /// The shrinker takes out what it likes.
    Removal,
}

#[cfg(test)]
impl Switch {
    pub(crate) const ALL: [Self; 15] = [
        Self::RealTime,
        Self::Memo,
        Self::MemoOfState,
        Self::MemoOfUnknown,
        Self::Greed,
        Self::UnknownNever,
        Self::UnknownEarly,
        Self::UnknownTwice,
        Self::ChainsOfOne,
        Self::Near,
        Self::Aims,
        Self::Foresight,
        Self::Ties,
        Self::Cut,
        Self::Removal,
    ];
}

#[cfg(not(test))]
#[inline]
pub(crate) const fn broken(_: Switch) -> bool {
    false
}

#[cfg(test)]
pub(crate) use thread::{broken, with};

#[cfg(test)]
mod thread {
    use super::Switch;
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<Option<Switch>> = const { Cell::new(None) };
    }

    /// True if this thread's checker is broken so.
    pub(crate) fn broken(switch: Switch) -> bool {
        BROKEN.get() == Some(switch)
    }

    /// Breaks this thread's checker while `run` runs.
    pub(crate) fn with<T>(switch: Option<Switch>, run: impl FnOnce() -> T) -> T {
        BROKEN.set(switch);
        let result = run();
        BROKEN.set(None);
        result
    }
}
