//! From an operation to a line.

use crate::command::Word;
use crate::record::{Operation, Returned};
use crate::reply::Reply;
use serde_json::{Value, json};
use std::fmt::Write;

/// The line of an operation, without its end.
#[must_use]
pub fn write(operation: &Operation) -> String {
    let (op, key, args) = words(operation);
    let (result, return_ns) = match &operation.returned {
        Some(Returned { reply, at_ns }) => (result(reply), json!(at_ns)),
        None => (Value::Null, Value::Null),
    };
    // Spelled out for the order of the fields.
    format!(
        "{{\"client\":{},\"op\":{op},\"key\":{key},\"args\":{args},\"result\":{result},\"invoke_ns\":{},\"return_ns\":{return_ns}}}",
        json!(operation.client),
        operation.invoke_ns
    )
}

/// The same as a value.
pub(crate) fn operation(operation: &Operation) -> Value {
    serde_json::from_str(&write(operation)).expect("a line is JSON")
}

fn words(operation: &Operation) -> (Value, Value, Value) {
    let words = operation.command.words();
    let (key, args) = match words {
        [_, Word::Text(key), args @ ..] => (text(key), args),
        [_, args @ ..] => (Value::Null, args),
        [] => (Value::Null, words),
    };
    let op = words.first().map_or(Value::Null, word);
    (op, key, args.iter().map(word).collect())
}

fn word(word: &Word) -> Value {
    match word {
        Word::Text(bytes) => text(bytes),
        Word::Nil => Value::Null,
        Word::List(words) => words.iter().map(self::word).collect(),
    }
}

fn result(reply: &Reply) -> Value {
    match reply {
        Reply::Nil => Value::Null,
        Reply::Int(number) => json!(number),
        // The bare word would mean that nobody knows.
        Reply::Text(bytes) if **bytes == *b"INDOUBT" => hex(bytes),
        Reply::Text(bytes) => text(bytes),
        Reply::Error(text) => json!({ "error": text }),
        Reply::List(replies) => replies.iter().map(result).collect(),
    }
}

/// A string, or `{"hex":".."}` for bytes that are none.
pub(crate) fn text(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), |text| json!(text))
}

fn hex(bytes: &[u8]) -> Value {
    let digits = bytes.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a string takes all");
        digits
    });
    json!({ "hex": digits })
}
