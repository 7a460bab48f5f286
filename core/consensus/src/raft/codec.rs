//! Messages between replicas as bytes; FORMAT.md draws them.
//!
//! A message that a replica tells itself is never sent, and is refused when it comes from outside.

use super::fresh::Fresh;
use super::message::{Answer, Entry, Message, Position, Why};
use base::codec::{DecodeError, Reader, put_bytes, put_varint};
use base::record::Payload;
use base::{Index, Term};
use bytes::Bytes;

const PRE_VOTE: u8 = 1;
const PRE_VOTE_REPLY: u8 = 2;
const VOTE: u8 = 3;
const VOTE_REPLY: u8 = 4;
const APPEND: u8 = 5;
const APPEND_REPLY: u8 = 6;
const APPEND_REJECTED: u8 = 7;
const HEARTBEAT: u8 = 8;
const HEARTBEAT_REPLY: u8 = 9;
const TIMEOUT_NOW: u8 = 10;

const ENTRY_DATA: u8 = 1;
const ENTRY_MEMBERS: u8 = 2;
/// A message with more entries than this is refused: a leader sends at most a mebibyte of small ones.
const ENTRIES_COUNT_MAX: u64 = 1 << 20;
/// Centuries; times may be added to it.
const AGE_MS_MAX: u64 = 1 << 42;
/// No group comes to such a term or index: the next ones are numbers too.
const NUMBER_MAX: u64 = 1 << 62;

impl Message {
    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::HardStateStored { .. } | Self::AppendStored { .. } => {
                unreachable!("what a replica tells itself stays on its node")
            }
            Self::PreVote { term, last } => {
                head(out, PRE_VOTE, *term);
                put_position(out, *last);
            }
            Self::PreVoteReply { term, answer } => {
                head(out, PRE_VOTE_REPLY, *term);
                out.push(u8::from(*answer == Answer::Granted));
            }
            Self::Vote { term, last, why } => {
                head(out, VOTE, *term);
                put_position(out, *last);
                out.push(u8::from(*why == Why::Transfer));
            }
            Self::VoteReply { term, answer } => {
                head(out, VOTE_REPLY, *term);
                out.push(u8::from(*answer == Answer::Granted));
            }
            Self::Append { term, prev, entries, commit } => {
                head(out, APPEND, *term);
                put_position(out, *prev);
                put_varint(out, commit.0);
                put_varint(out, entries.len() as u64);
                entries.iter().for_each(|entry| put_entry(out, entry));
            }
            Self::AppendReply { term, matched } => {
                head(out, APPEND_REPLY, *term);
                put_varint(out, matched.0);
            }
            Self::AppendRejected { term, asked, hint } => {
                head(out, APPEND_REJECTED, *term);
                put_varint(out, asked.0);
                put_position(out, *hint);
            }
            Self::Heartbeat { term, probe, commit, fresh } => {
                head(out, HEARTBEAT, *term);
                let Fresh { answered, age_ms, commit: latest } = fresh;
                [*probe, commit.0, *answered, *age_ms, latest.0].into_iter().for_each(|number| put_varint(out, number));
            }
            Self::HeartbeatReply { term, probe, matched } => {
                head(out, HEARTBEAT_REPLY, *term);
                put_varint(out, *probe);
                put_varint(out, matched.0);
            }
            Self::TimeoutNow { term } => head(out, TIMEOUT_NOW, *term),
        }
    }

    /// Takes a message off the front of `reader`, which reads in `frame`: entries share its bytes.
    pub fn decode(reader: &mut Reader<'_>, frame: &Bytes) -> Result<Self, DecodeError> {
        let (kind, term) = (reader.u8()?, term(reader)?);
        Ok(match kind {
            PRE_VOTE => Self::PreVote { term, last: position(reader)? },
            PRE_VOTE_REPLY => Self::PreVoteReply { term, answer: answer(reader)? },
            VOTE => {
                let last = position(reader)?;
                let why = if flag(reader)? { Why::Transfer } else { Why::Silence };
                Self::Vote { term, last, why }
            }
            VOTE_REPLY => Self::VoteReply { term, answer: answer(reader)? },
            APPEND => {
                let (prev, commit, count) = (position(reader)?, index(reader)?, reader.varint()?);
                if count > ENTRIES_COUNT_MAX {
                    return Err(DecodeError::Overlong);
                }
                let mut entries = Vec::new();
                let mut before = prev.term;
                for _ in 0..count {
                    let entry = entry(reader, frame)?;
                    if entry.term < before || entry.term > term {
                        return Err(DecodeError::Unknown(entry.term.0));
                    }
                    before = entry.term;
                    entries.push(entry);
                }
                Self::Append { term, prev, entries, commit }
            }
            APPEND_REPLY => Self::AppendReply { term, matched: index(reader)? },
            APPEND_REJECTED => {
                let asked = index(reader)?;
                if asked == Index(0) {
                    return Err(DecodeError::Unknown(0));
                }
                Self::AppendRejected { term, asked, hint: position(reader)? }
            }
            HEARTBEAT => {
                let (probe, commit) = (reader.varint()?, index(reader)?);
                let (answered, age_ms) = (reader.varint()?, reader.varint()?);
                if age_ms > AGE_MS_MAX {
                    return Err(DecodeError::Overlong);
                }
                let fresh = Fresh { answered, age_ms, commit: index(reader)? };
                Self::Heartbeat { term, probe, commit, fresh }
            }
            HEARTBEAT_REPLY => Self::HeartbeatReply { term, probe: reader.varint()?, matched: index(reader)? },
            TIMEOUT_NOW => Self::TimeoutNow { term },
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }
}

fn head(out: &mut Vec<u8>, kind: u8, term: Term) {
    out.push(kind);
    put_varint(out, term.0);
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    put_varint(out, position.index.0);
    put_varint(out, position.term.0);
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    let (kind, bytes) = match &entry.payload {
        Payload::Data(bytes) => (ENTRY_DATA, bytes),
        Payload::Members(bytes) => (ENTRY_MEMBERS, bytes),
    };
    out.push(kind);
    put_varint(out, entry.term.0);
    put_bytes(out, bytes);
}

fn position(reader: &mut Reader<'_>) -> Result<Position, DecodeError> {
    let position = Position { index: index(reader)?, term: term(reader)? };
    // Before the first entry stands nothing, of no term.
    if position.index == Index(0) && position.term != Term(0) {
        return Err(DecodeError::Unknown(position.term.0));
    }
    Ok(position)
}

fn index(reader: &mut Reader<'_>) -> Result<Index, DecodeError> {
    Some(Index(reader.varint()?)).filter(|index| index.0 <= NUMBER_MAX).ok_or(DecodeError::Overlong)
}

fn term(reader: &mut Reader<'_>) -> Result<Term, DecodeError> {
    Some(Term(reader.varint()?)).filter(|term| term.0 <= NUMBER_MAX).ok_or(DecodeError::Overlong)
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(DecodeError::Unknown(u64::from(other))),
    }
}

fn answer(reader: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    Ok(if flag(reader)? { Answer::Granted } else { Answer::Refused })
}

fn entry(reader: &mut Reader<'_>, frame: &Bytes) -> Result<Entry, DecodeError> {
    let kind = reader.u8()?;
    let term = term(reader)?;
    let bytes = reader.bytes()?;
    let payload = match kind {
        ENTRY_DATA => Payload::Data(frame.slice_ref(bytes)),
        ENTRY_MEMBERS => {
            super::Membership::decode(bytes)?;
            Payload::Members(Bytes::copy_from_slice(bytes))
        }
        other => return Err(DecodeError::Unknown(u64::from(other))),
    };
    Ok(Entry { term, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::Membership;
    use base::NodeId;

    fn all() -> Vec<Message> {
        let term = Term(7);
        let at = Position { index: Index(300), term: Term(6) };
        let members = Membership::of_voters([NodeId(1), NodeId(u64::MAX)]).encode();
        let entries = vec![
            Entry { term: Term(6), payload: Payload::Data(Bytes::from_static(b"data")) },
            Entry { term, payload: Payload::Members(members) },
        ];
        vec![
            Message::PreVote { term, last: at },
            Message::PreVoteReply { term, answer: Answer::Granted },
            Message::Vote { term, last: at, why: Why::Transfer },
            Message::VoteReply { term, answer: Answer::Refused },
            Message::Append { term, prev: at, entries, commit: Index(299) },
            Message::AppendReply { term, matched: Index(NUMBER_MAX) },
            Message::AppendRejected { term, asked: Index(9), hint: at },
            Message::Heartbeat {
                term,
                probe: 1 << 40,
                commit: Index(3),
                fresh: Fresh { answered: 7, age_ms: 300, commit: Index(9) },
            },
            Message::HeartbeatReply { term, probe: 0, matched: Index(3) },
            Message::TimeoutNow { term },
        ]
    }

    fn decoded(bytes: &[u8]) -> Result<Message, DecodeError> {
        let frame = Bytes::copy_from_slice(bytes);
        let mut reader = Reader::new(&frame);
        let message = Message::decode(&mut reader, &frame)?;
        if reader.is_empty() { Ok(message) } else { Err(DecodeError::Overlong) }
    }

    #[test]
    fn what_is_sent_is_what_arrives() {
        for message in all() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(decoded(&bytes), Ok(message));
        }
    }

    #[test]
    fn a_message_that_is_cut_is_refused() {
        for message in all() {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            for cut in 0..bytes.len() {
                assert!(decoded(&bytes[..cut]).is_err(), "{message:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn entries_whose_terms_make_no_sense_are_refused() {
        let entry = |term| Entry { term: Term(term), payload: Payload::Data(Bytes::new()) };
        for terms in [[5, 4], [4, 9]] {
            let entries = terms.into_iter().map(entry).collect();
            let prev = Position { index: Index(1), term: Term(4) };
            let mut bytes = Vec::new();
            Message::Append { term: Term(8), prev, entries, commit: Index(0) }.encode(&mut bytes);
            assert!(decoded(&bytes).is_err(), "{terms:?}");
        }
    }
}
