//! From a line to an operation, or to words that say what is wrong with it.

use crate::command::{BadCommand, Command, Dialect, Word};
use crate::record::{History, Operation, Returned};
use crate::reply::{Meaning, Reply, meaning};
use crate::text::Text;
use serde_json::{Map, Value};
use std::fmt;

/// Why a line is no operation.
#[derive(Debug)]
pub enum BadLine {
    /// It is no JSON.
    Json(serde_json::Error),
    /// It is JSON, but no object.
    NoObject(&'static str),
    /// A field isn't there; what to write in it.
    Missing { field: &'static str, write: &'static str },
    /// A field has something else in it than it may have.
    Field { field: &'static str, value: String, write: &'static str },
    /// An argument is nothing that an argument may be.
    Argument { value: String },
    /// The operation isn't one.
    Command(BadCommand),
    /// It ends before it begins.
    Times { invoke_ns: u64, return_ns: u64 },
    /// It has a result, but did not return.
    ResultOfNothing { result: String },
}

/// Adds the operation of a line to a history. A blank line is none; one that was refused counts as such, known or not.
///
/// # Errors
/// The line is no operation; nothing is added.
pub fn read(line: &[u8], number: u64, dialect: Dialect, history: &mut History) -> Result<(), BadLine> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let value: Value = serde_json::from_slice(line).map_err(BadLine::Json)?;
    let Value::Object(fields) = &value else { return Err(BadLine::NoObject(kind(&value))) };
    let client = client(fields)?;
    let (invoke_ns, returned) = outcome(fields)?;
    let command = match Command::new(dialect, words(fields)?) {
        Err(_) if returned.as_ref().is_some_and(is_refused) => {
            history.refuse();
            return Ok(());
        }
        command => command.map_err(BadLine::Command)?,
    };
    // A nil from a command that has none is how some recorders write that no reply came.
    let returned = returned.filter(|returned| returned.reply != Reply::Nil || command.may_answer_nil());
    history.push(Operation { client, command, invoke_ns, returned, line: number });
    Ok(())
}

fn is_refused(returned: &Returned) -> bool {
    matches!(&returned.reply, Reply::Error(error) if meaning(error) != Meaning::InDoubt)
}

fn client(fields: &Map<String, Value>) -> Result<Box<str>, BadLine> {
    const WRITE: &str = "write the client's name or number";
    match fields.get("client") {
        Some(Value::String(name)) => Ok(name.as_str().into()),
        Some(Value::Number(number)) => Ok(number.to_string().into()),
        Some(value) => Err(BadLine::Field { field: "client", value: value.to_string(), write: WRITE }),
        None => Err(BadLine::Missing { field: "client", write: WRITE }),
    }
}

/// The words of the operation: its name, its key if it has one, and its arguments.
fn words(fields: &Map<String, Value>) -> Result<Vec<Word>, BadLine> {
    const OP: &str = "write the name of the operation as a string";
    const KEY: &str = "write a string, {\"hex\":\"..\"} for other bytes, or null if all keys stand in args";
    const ARGS: &str = "write an array of the words behind the key";
    let bad = |field, value: &Value, write| BadLine::Field { field, value: value.to_string(), write };
    let mut words = match fields.get("op") {
        Some(Value::String(name)) => vec![Word::Text(name.as_bytes().into())],
        Some(value) => return Err(bad("op", value, OP)),
        None => return Err(BadLine::Missing { field: "op", write: OP }),
    };
    match fields.get("key") {
        None | Some(Value::Null) => {}
        Some(value) => words.push(Word::Text(text(value).ok_or_else(|| bad("key", value, KEY))?)),
    }
    match fields.get("args") {
        None | Some(Value::Null) => {}
        Some(Value::Array(args)) => {
            for arg in args {
                words.push(word(arg)?);
            }
        }
        Some(value) => return Err(bad("args", value, ARGS)),
    }
    Ok(words)
}

fn word(value: &Value) -> Result<Word, BadLine> {
    match value {
        Value::Null => Ok(Word::Nil),
        Value::Array(words) => words.iter().map(word).collect::<Result<_, _>>().map(Word::List),
        value => text(value).map(Word::Text).ok_or_else(|| BadLine::Argument { value: value.to_string() }),
    }
}

/// A string, an integer by its digits, or bytes as `{"hex":".."}`.
fn text(value: &Value) -> Option<Text> {
    match value {
        Value::String(text) => Some(text.as_bytes().into()),
        Value::Number(number) => number.as_i64().map(|number| number.to_string().as_bytes().into()),
        Value::Object(fields) if fields.len() == 1 => bytes(fields.get("hex")?.as_str()?),
        _ => None,
    }
}

fn bytes(hex: &str) -> Option<Text> {
    let digits: Option<Vec<u8>> =
        hex.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let pairs = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(pairs.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// When the operation was called, and how it ended, if that is known.
fn outcome(fields: &Map<String, Value>) -> Result<(u64, Option<Returned>), BadLine> {
    let invoke_ns = time("invoke_ns", fields)?.ok_or(BadLine::Missing { field: "invoke_ns", write: TIME })?;
    let return_ns = time("return_ns", fields)?;
    let result = fields.get("result");
    if result.and_then(Value::as_str) == Some("INDOUBT") {
        return Ok((invoke_ns, None));
    }
    let Some(at_ns) = return_ns else {
        return match result {
            None | Some(Value::Null) => Ok((invoke_ns, None)),
            Some(result) => Err(BadLine::ResultOfNothing { result: result.to_string() }),
        };
    };
    if at_ns < invoke_ns {
        return Err(BadLine::Times { invoke_ns, return_ns: at_ns });
    }
    let result = result.ok_or(BadLine::Missing { field: "result", write: RESULT })?;
    let bad = || BadLine::Field { field: "result", value: result.to_string(), write: RESULT };
    Ok((invoke_ns, Some(Returned { reply: reply(result).ok_or_else(bad)?, at_ns })))
}

fn time(field: &'static str, fields: &Map<String, Value>) -> Result<Option<u64>, BadLine> {
    match fields.get(field) {
        Some(Value::Null) => Ok(None),
        Some(value) => {
            let bad = || BadLine::Field { field, value: value.to_string(), write: TIME };
            value.as_u64().map(Some).ok_or_else(bad)
        }
        None => Err(BadLine::Missing { field, write: TIME }),
    }
}

fn reply(value: &Value) -> Option<Reply> {
    Some(match value {
        Value::Null => Reply::Nil,
        Value::Bool(yes) => Reply::Int(i64::from(*yes)),
        Value::Number(number) => Reply::Int(number.as_i64()?),
        Value::String(text) => Reply::text(text),
        Value::Array(values) => Reply::List(values.iter().map(reply).collect::<Option<_>>()?),
        Value::Object(fields) => match fields.get("error") {
            Some(error) => Reply::Error(error.as_str()?.to_owned()),
            None => Reply::Text(text(value)?),
        },
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a JSON truth value",
        Value::Number(_) => "a JSON number",
        Value::String(_) => "a JSON string",
        Value::Array(_) => "a JSON array",
        Value::Object(_) => "a JSON object",
    }
}

const TIME: &str = "write whole nanoseconds since any one moment, and null in return_ns where no reply came";
const RESULT: &str = "write a string, an integer, true or false, null for nil, {\"hex\":\"..\"} for other bytes, \
                      {\"error\":\"..\"} or an array of these; where no reply came, null here and in return_ns";

/// What is wrong, why, and what to do.
impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => {
                write!(f, "the line is no JSON: {error}; write one object to a line, in UTF-8")
            }
            Self::NoObject(kind) => write!(
                f,
                "the line is {kind}: write one object with client, op, key, args, result, invoke_ns and return_ns"
            ),
            Self::Missing { field, write } => write!(f, "`{field}` is missing: {write}"),
            Self::Field { field, value, write } => write!(f, "`{field}` is {}: {write}", short(value)),
            Self::Argument { value } => write!(
                f,
                "`args` has {} in it: an argument is a string, an integer, {{\"hex\":\"..\"}} for other bytes, or, in a \
                 transaction, an array of these",
                short(value)
            ),
            Self::Command(command) => command.fmt(f),
            Self::Times { invoke_ns, return_ns } => write!(
                f,
                "the operation returns at {return_ns} ns, before it is called, at {invoke_ns} ns: take both times from one \
                 monotonic clock"
            ),
            Self::ResultOfNothing { result } => write!(
                f,
                "`result` is {}, but `return_ns` is null: write when the reply came, or null as result if none did",
                short(result)
            ),
        }
    }
}

impl std::error::Error for BadLine {}

fn short(value: &str) -> String {
    if value.chars().count() <= SHORT_CHARACTERS {
        return value.to_owned();
    }
    value.chars().take(SHORT_CHARACTERS).chain("..".chars()).collect()
}

/// More of a value isn't repeated.
const SHORT_CHARACTERS: usize = 60;
