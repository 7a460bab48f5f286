//! What the checker says of a history.

use crate::record::{Fate, History, OpId, Start};
use crate::reply::Answer;
use crate::state::Val;
use crate::text::{Text, shown};
use std::fmt;

/// Whether a history has an order that explains it.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It has one.
    Linearizable(Counts),
    /// It has none.
    Violation(Box<Violation>, Counts),
    /// Nobody knows, and no violation was found in the pieces that were decided.
    Undecided(Vec<Hard>, Counts),
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All operations of the history.
    pub operations: u64,
    /// Those whose outcome nobody knows.
    pub unknown: u64,
    /// Those that had no effect, by their error.
    pub refused: u64,
    /// Pieces that share no key and were checked apart.
    pub pieces: u64,
    /// Configurations that were tried.
    pub configurations: u64,
}

/// Operations that no order explains. That they have none proves that the whole history has none.
#[derive(Clone, Debug)]
pub struct Violation {
    /// In the order of their calls.
    pub operations: Vec<Evidence>,
    /// What their keys held before; unknown if earlier operations were left out.
    pub start: Start,
    /// The longest order that was found: it explains all that returned before the stuck operation did, and perhaps more.
    pub order: Vec<OpId>,
    /// What could not be placed behind it.
    pub stuck: Stuck,
    pub extent: Extent,
}

/// An operation of a counterexample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub op: OpId,
    pub outcome: Outcome,
}

/// What of an operation's outcome a counterexample needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its reply, and when it returned.
    Known,
    /// Nothing: it is unknown, or was under way when the counterexample begins and counts as if it were.
    Open,
}

/// How far a counterexample was shrunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// No operation can be taken out by a step that is known to be right.
    Minimal,
    /// The budget ended before.
    Stopped,
}

/// The operation that returned before any order explains it.
#[derive(Clone, Debug)]
pub struct Stuck {
    pub op: OpId,
    /// What its keys hold after the longest order.
    pub(crate) held: Vec<(Text, Val)>,
    /// What it would answer there, command by command, where that is sure.
    pub(crate) answers: Vec<Option<Answer>>,
}

/// A piece that was not decided.
#[derive(Clone, Debug)]
pub struct Hard {
    /// Some of its keys.
    pub keys: Vec<Text>,
    pub keys_count: usize,
    pub operations: usize,
    /// Of these as many were in the longest order.
    pub placed: usize,
    pub why: Why,
}

/// Why a piece was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Budget,
    /// `base::limits::CHECK_BYTES_MAX` was reached.
    Memory,
}

impl Verdict {
    /// What was checked.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        match self {
            Self::Linearizable(counts) | Self::Violation(_, counts) | Self::Undecided(_, counts) => counts,
        }
    }

    /// In one word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linearizable(_) => "linearizable",
            Self::Violation(..) => "violation",
            Self::Undecided(..) => "undecided",
        }
    }
}

impl Counts {
    pub(crate) fn of(history: &History) -> Self {
        let refused = history.refused();
        let mut counts = Self { operations: refused, refused, ..Self::default() };
        for operation in history.operations() {
            counts.operations += 1;
            match operation.fate() {
                Fate::Done { .. } => {}
                Fate::Unknown => counts.unknown += 1,
                Fate::Void => counts.refused += 1,
            }
        }
        counts
    }
}

/// As in "x holds 2, so it would answer 2".
impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.held.iter().enumerate() {
            write!(f, "{}{} holds {value}", if at == 0 { "" } else { ", " }, shown(key))?;
        }
        if self.answers.iter().all(Option::is_none) {
            return Ok(());
        }
        let answers = self.answers.iter().map(|answer| answer.as_ref().map_or("?".to_owned(), ToString::to_string));
        write!(f, ": it would answer {}", answers.collect::<Vec<_>>().join(", "))
    }
}
