//! Errors as scripts meet them.
//!
//! What native functions raise travels through the interpreter as a value of its own kind; where a script can lay its hands on it
//! (`pcall`, `xpcall`, `coroutine.resume`) it becomes what it would be in Redis: a string, or a table with `err` in it.

use crate::guard::Halt;
use mlua::{Error, Lua, Value};

/// What a native function raises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Raised {
    /// A message, with the place where it was raised before it.
    Text(Vec<u8>),
    /// An error of Redis: a table with `err`.
    Table(Vec<u8>),
    /// The script ends.
    Halt(Halt),
}

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) | Self::Table(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Halt(why) => write!(f, "ended: {why:?}"),
        }
    }
}

impl std::error::Error for Raised {}

/// As the interpreter carries it.
pub(crate) fn raise(raised: Raised) -> Error {
    Error::external(raised)
}

/// An error of Redis.
pub(crate) fn table(message: impl AsRef<[u8]>) -> Error {
    raise(Raised::Table(message.as_ref().to_vec()))
}

/// A message at the place of whoever called the native function that raises it.
pub(crate) fn text(lua: &Lua, message: impl AsRef<[u8]>) -> Error {
    let mut all = place(lua, 1).into_bytes();
    all.extend_from_slice(message.as_ref());
    raise(Raised::Text(all))
}

/// A wrong argument of the native function that raises it.
pub(crate) fn argument(lua: &Lua, at: usize, function: &str, why: impl std::fmt::Display) -> Error {
    text(lua, format!("bad argument #{at} to '{function}' ({why})"))
}

/// A wrong type of an argument.
pub(crate) fn wrong_type(lua: &Lua, at: usize, function: &str, wanted: &str, got: Option<&Value>) -> Error {
    let got = got.map_or("no value", Value::type_name);
    let got = if got == "integer" { "number" } else { got };
    argument(lua, at, function, format_args!("{wanted} expected, got {got}"))
}

/// What was raised, if it was raised by a native function.
pub(crate) fn raised(error: &Error) -> Option<&Raised> {
    match error {
        Error::CallbackError { cause, .. } => raised(cause),
        Error::ExternalError(external) => external.downcast_ref(),
        _ => None,
    }
}

/// True if memory was lacking.
pub(crate) fn is_memory(error: &Error) -> bool {
    match error {
        Error::CallbackError { cause, .. } => is_memory(cause),
        Error::MemoryError(_) => true,
        _ => false,
    }
}

/// The text of an error that no function here has raised.
pub(crate) fn plain(error: &Error) -> String {
    match error {
        Error::CallbackError { cause, .. } => plain(cause),
        Error::RuntimeError(text) | Error::SyntaxError { message: text, .. } => {
            text.split("\nstack traceback:").next().unwrap_or_default().to_owned()
        }
        other => other.to_string(),
    }
}

/// Where the function at a level of the stack is, as it stands before messages.
pub(crate) fn place(lua: &Lua, level: usize) -> String {
    at(lua, level).map_or_else(String::new, |(source, line)| format!("{}:{line}: ", source.trim_start_matches('@')))
}

/// The chunk and line at a level of the stack, if it is a script's.
pub(crate) fn at(lua: &Lua, level: usize) -> Option<(String, usize)> {
    lua.inspect_stack(level, |debug| {
        let source = debug.source();
        let line = debug.current_line()?;
        Some((source.source?.into_owned(), line))
    })?
}
