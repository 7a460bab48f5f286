//! What replicas of a group tell each other, in pairs, and what durable writes tell their own replica.
//!
//! Every message between replicas carries its sender's term. Any of them may be lost, doubled, delayed or overtaken.

use super::fresh::Fresh;
use base::record::Payload;
use base::{Index, Term};

/// A message; see the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// To itself: the term and vote written as the `serial`th are durable, and all before them.
    HardStateStored {
        serial: u64,
    },
    /// To itself: the log is durable up to `index`, unless it was cut back since: `generation` counts the cuts.
    AppendStored {
        generation: u64,
        index: Index,
    },
    /// Would you vote for me in `term`? Nothing changes by asking or by answering.
    PreVote {
        term: Term,
        last: Position,
    },
    /// `term` is the one asked about if granted, else the answerer's own.
    PreVoteReply {
        term: Term,
        answer: Answer,
    },
    /// Vote for me in `term`.
    Vote {
        term: Term,
        last: Position,
        why: Why,
    },
    VoteReply {
        term: Term,
        answer: Answer,
    },
    /// Entries behind `prev`, and how far the leader has committed.
    Append {
        term: Term,
        prev: Position,
        entries: Vec<Entry>,
        commit: Index,
    },
    /// Durable here and equal to the leader's log, up to `matched`.
    AppendReply {
        term: Term,
        matched: Index,
    },
    /// What stands at `asked` here is not what the leader has there; try at `hint`, or before it.
    AppendRejected {
        term: Term,
        asked: Index,
        hint: Position,
    },
    /// I lead. `probe` numbers the leader's heartbeats of a term.
    Heartbeat {
        term: Term,
        probe: u64,
        commit: Index,
        fresh: Fresh,
    },
    /// `matched` as in [`Message::AppendReply`].
    HeartbeatReply {
        term: Term,
        probe: u64,
        matched: Index,
    },
    /// Campaign at once: the leader steps back for you.
    TimeoutNow {
        term: Term,
    },
}

/// The index and term of an entry: how logs are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    pub index: Index,
    pub term: Term,
}

impl Position {
    /// True if a log that ends here holds at least what one that ends at `other` does.
    #[must_use]
    pub fn is_up_to_date_with(self, other: Self) -> bool {
        (self.term, self.index) >= (other.term, other.index)
    }
}

/// One log entry; its index stands in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    pub term: Term,
    pub payload: Payload,
}

impl Entry {
    /// The bytes of its payload.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let (Payload::Data(bytes) | Payload::Members(bytes)) = &self.payload;
        bytes.len()
    }
}

/// The answer to a request for a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Granted,
    Refused,
}

/// Why somebody campaigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// No leader is heard of: voters that hear one refuse.
    Silence,
    /// The leader asked for it, and holds no lease any more.
    Transfer,
}

impl Message {
    /// The sender's term; nothing for what a replica tells itself.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        match self {
            Self::HardStateStored { .. } | Self::AppendStored { .. } => None,
            Self::PreVote { term, .. }
            | Self::PreVoteReply { term, .. }
            | Self::Vote { term, .. }
            | Self::VoteReply { term, .. }
            | Self::Append { term, .. }
            | Self::AppendReply { term, .. }
            | Self::AppendRejected { term, .. }
            | Self::Heartbeat { term, .. }
            | Self::HeartbeatReply { term, .. }
            | Self::TimeoutNow { term } => Some(*term),
        }
    }
}
