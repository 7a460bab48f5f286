//! What no replica that keeps the rules would say. Links are proved and frames are summed, but a peer may be of another
//! version, have a broken memory, or be somebody who stole the secret: what would break this replica's own invariants is
//! refused at the door, and the node goes on. A lie that the rules allow (a vote given twice, an answer for what isn't
//! durable) can't be seen here: Raft trusts its members.

use super::message::{Entry, Message, Position};
use super::{Group, Role};
use base::{Index, NodeId, Term};

/// A message that a replica of this group can't have sent; nothing was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerMisbehaved {
    /// A term further from the known one than all elections of the world.
    TermLeaps(Term),
    /// Two leaders in one term: this replica leads in it, or another was followed.
    SecondLeader(Term),
    /// Entries that differ from committed ones.
    ContradictsCommitted(Index),
    /// It answers for an index that this term's leader doesn't have.
    AcknowledgesUnsent(Index),
    /// It answers a heartbeat that was never sent.
    AnswersUnsentHeartbeat(u64),
    /// What a replica tells only itself.
    NotForOthers,
}

impl std::fmt::Display for PeerMisbehaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TermLeaps(term) => write!(f, "a message of term {term}, which is impossibly far ahead"),
            Self::SecondLeader(term) => write!(f, "a message of a second leader of term {term}"),
            Self::ContradictsCommitted(index) => write!(f, "an entry that contradicts the committed one at {index}"),
            Self::AcknowledgesUnsent(index) => write!(f, "an answer for entry {index}, which was never sent"),
            Self::AnswersUnsentHeartbeat(probe) => write!(f, "an answer to heartbeat {probe}, which was never sent"),
            Self::NotForOthers => f.write_str("a notice that a replica gives only itself"),
        }
    }
}

/// More elections than any group holds between two messages that a node gets.
const TERM_LEAP_MAX: u64 = 1 << 32;

impl Group {
    /// Whether `message` may come from a peer that keeps the rules. Give messages of other nodes to
    /// [`Group::on_message`] only if so.
    pub fn judge(&self, from: NodeId, message: &Message) -> Result<(), PeerMisbehaved> {
        let term = message.term().ok_or(PeerMisbehaved::NotForOthers)?;
        if term.0.saturating_sub(self.term.0) > TERM_LEAP_MAX {
            return Err(PeerMisbehaved::TermLeaps(term));
        }
        match message {
            Message::Append { prev, entries, .. } => {
                self.judge_leader(from, term)?;
                if term >= self.term { self.judge_entries(*prev, entries) } else { Ok(()) }
            }
            Message::Heartbeat { .. } => self.judge_leader(from, term),
            Message::AppendReply { matched, .. } => self.judge_answer(term, *matched),
            Message::AppendRejected { asked, .. } => self.judge_answer(term, *asked),
            Message::HeartbeatReply { probe, matched, .. } => {
                self.judge_answer(term, *matched)?;
                match &self.role {
                    Role::Leader(leader) if term == self.term && *probe > leader.probe => {
                        Err(PeerMisbehaved::AnswersUnsentHeartbeat(*probe))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Whether `from` may be the leader of `term`.
    pub fn judge_leader(&self, from: NodeId, term: Term) -> Result<(), PeerMisbehaved> {
        let other = self.leads() || self.leader.is_some_and(|known| known != from);
        if term == self.term && other { Err(PeerMisbehaved::SecondLeader(term)) } else { Ok(()) }
    }

    /// A leader's log holds all that is committed.
    fn judge_entries(&self, prev: Position, entries: &[Entry]) -> Result<(), PeerMisbehaved> {
        let first = prev.index.0 + 1;
        let known = |at: usize| Some(first + at as u64).filter(|index| *index <= self.commit.0);
        let terms = entries.iter().enumerate().map_while(|(at, entry)| Some((Index(known(at)?), entry.term)));
        let before = Some((prev.index, prev.term)).filter(|(index, _)| *index <= self.commit);
        for (index, term) in before.into_iter().chain(terms) {
            if self.log.term_at(index).is_some_and(|here| here != term) {
                return Err(PeerMisbehaved::ContradictsCommitted(index));
            }
        }
        Ok(())
    }

    /// A follower of this term has nothing that its leader lacks.
    fn judge_answer(&self, term: Term, index: Index) -> Result<(), PeerMisbehaved> {
        let beyond = self.leads() && term == self.term && index > self.log.last().index;
        if beyond { Err(PeerMisbehaved::AcknowledgesUnsent(index)) } else { Ok(()) }
    }
}
