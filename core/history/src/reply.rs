//! What a client was told: the results that a history holds.

use crate::text::{Text, integer, shown};
use std::fmt;

/// A result. Numbers and texts of the same digits are equal to the model: protocols differ in which one they send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// There is no value.
    Nil,
    Int(i64),
    Text(Text),
    /// An error with its code in front, as in `ERR value is not an integer or out of range`.
    Error(String),
    /// One for each key of MGET, or for each command of a transaction.
    List(Vec<Reply>),
}

impl Reply {
    /// A text.
    #[must_use]
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::Text(text.as_ref().into())
    }

    /// What a write answers that has no more to say.
    #[must_use]
    pub fn ok() -> Self {
        Self::text("OK")
    }

    /// The number that stands here, as number or as digits.
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => integer(text),
            Self::Nil | Self::Error(_) | Self::List(_) => None,
        }
    }
}

/// Numbers bare, texts in quotes.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nil"),
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => f.write_str(&shown(text)),
            Self::Error(text) => write!(f, "error {text}"),
            Self::List(replies) => {
                f.write_str("[")?;
                for (at, reply) in replies.iter().enumerate() {
                    write!(f, "{}{reply}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}

/// What the model answers; it has no lists, since each command of a transaction and each key is compared by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Nil,
    /// The reply of a command that can say nothing else.
    Done,
    Int(i64),
    Text(Text),
    NotAnInteger,
    Overflow,
}

impl Answer {
    /// True if a client may have been told `reply` for it.
    pub(crate) fn is(&self, reply: &Reply) -> bool {
        match (self, reply) {
            (Self::Nil, Reply::Nil) => true,
            // Protocols spell it as OK, as true or as the value that was written: it is no news in any of them.
            (Self::Done, Reply::Int(_) | Reply::Text(_)) => true,
            (Self::Int(number), reply) => reply.integer() == Some(*number),
            (Self::Text(text), Reply::Text(reply)) => text == reply,
            (Self::Text(text), Reply::Int(number)) => integer(text) == Some(*number),
            (Self::NotAnInteger, Reply::Error(text)) => text.contains(NOT_AN_INTEGER),
            (Self::Overflow, Reply::Error(text)) => text.contains(OVERFLOW),
            _ => false,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => Reply::Nil.fmt(f),
            Self::Done => Reply::ok().fmt(f),
            Self::Int(number) => number.fmt(f),
            Self::Text(text) => f.write_str(&shown(text)),
            Self::NotAnInteger => write!(f, "error ERR value is {NOT_AN_INTEGER} or out of range"),
            Self::Overflow => write!(f, "error ERR increment or decrement {OVERFLOW}"),
        }
    }
}

/// What an error says of the command that got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It was not carried out, whatever the state was.
    Refused,
    /// It had no effect, and the state was such that it could have none: that is checked.
    Seen,
    /// Nobody knows whether it was or will be carried out.
    InDoubt,
}

/// The meaning of an error, by its text.
pub(crate) fn meaning(error: &str) -> Meaning {
    if error.starts_with("INDOUBT") {
        Meaning::InDoubt
    } else if [NOT_AN_INTEGER, OVERFLOW, WRONG_TYPE].iter().any(|text| error.contains(text)) {
        Meaning::Seen
    } else {
        Meaning::Refused
    }
}

const NOT_AN_INTEGER: &str = "not an integer";
const OVERFLOW: &str = "would overflow";
/// Every value here is a string: a server that says otherwise is wrong.
const WRONG_TYPE: &str = "WRONGTYPE";
