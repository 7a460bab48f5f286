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
    let mut all = place(lua).into_bytes();
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

/// The sandbox's own chunk. It looks like a script's in messages of the interpreter, but for the sign before it.
pub(crate) const SANDBOX: &str = "=user_script";
/// Frames of the sandbox above a script's.
const LEVELS_MAX: usize = 12;

/// Where the caller of a native function is, as it stands before messages: nothing if that is native too.
fn place(lua: &Lua) -> String {
    let frames = (1..LEVELS_MAX).map(|level| frame(lua, level));
    let mut callers = frames.skip_while(|frame| matches!(frame, Some(Some((source, ..))) if source == SANDBOX));
    match callers.next().flatten().flatten() {
        Some((_, shown, line)) => format!("{shown}:{line}: "),
        None => String::new(),
    }
}

/// The nearest place in a script: its chunk and line.
pub(crate) fn nearest(lua: &Lua) -> Option<(String, usize)> {
    let frames = (1..LEVELS_MAX).filter_map(|level| frame(lua, level)?);
    frames.map(|(source, _, line)| (source, line)).find(|(source, _)| source != SANDBOX)
}

/// What is at a level of the stack, if there is one: the chunk, how it is shown, and the line; nothing inside if it is native.
fn frame(lua: &Lua, level: usize) -> Option<Option<(String, String, usize)>> {
    lua.inspect_stack(level, |debug| {
        let line = debug.current_line()?;
        let source = debug.source();
        Some((source.source?.into_owned(), source.short_src?.into_owned(), line))
    })
}
